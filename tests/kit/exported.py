"""A small campaign on disk: the journal of kit.campaign, and on the site every file it names."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from kit.campaign import Campaign
from kit.files import DEMO
from mlip_autopipec.config.loader import LoadedConfig, load_config
from mlip_autopipec.data_models.events import EVENT_ADAPTER, Event
from mlip_autopipec.journal.journal import FileJournal


def frame(name: str, role: str, cycle: int) -> str:
    """A label of two atoms of copper, as the work half writes it."""
    return f"""\
2
Lattice="4.0 0.0 0.0 0.0 4.0 0.0 0.0 0.0 4.0" Properties=species:S:1:pos:R:3:forces:R:3 task={name} role={role} \
origin="generated: by hand" settings="emt /home/ada/secret/Cu.upf" energy=-7.{cycle} pbc="T T T"
Cu 0.0 0.0 0.0 0.1 0.0 0.0
Cu 1.9 1.9 0.1 -0.1 0.0 0.0
"""  # noqa: E501 - text for another program


def dataset(cycle: int) -> str:
    """Two labels to train on and one to test on."""
    roles = ("train", "train", "test")
    return "".join(
        frame(f"c{cycle:03d}.{number}", role, cycle) for number, role in enumerate(roles)
    )


@dataclass(frozen=True)
class RunsOn:
    """A site file, its campaign's folder and its root."""

    loaded: LoadedConfig

    @property
    def config(self) -> Path:
        return self.loaded.path

    @property
    def root(self) -> Path:
        return self.loaded.config.site.root


def placed(
    folder: Path,
    campaign: Campaign,
    contents: Mapping[str, bytes],
    *,
    edit: Callable[[str], str] = str,
) -> RunsOn:
    """Write site file, journal and site; `contents` by path, `edit` alters the site file's text."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "site.yaml"
    config.write_text(edit(DEMO.read_text().replace("../campaigns/copper", "copper")))
    loaded = load_config(config)
    root = loaded.config.site.root
    events = [with_files(event, root, contents) for event in campaign.events]
    asyncio.run(_write(loaded.config.campaign.folder / "journal", events))
    return RunsOn(loaded)


def with_files(event: Event, root: Path, contents: Mapping[str, bytes]) -> Event:
    """The event with the checksums of files that are there."""

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == {"path", "sha256"}:
            content = contents.get(value["path"], _content(value["path"]))
            (root / value["path"]).parent.mkdir(parents=True, exist_ok=True)
            (root / value["path"]).write_bytes(content)
            return {"path": value["path"], "sha256": sha256(content).hexdigest()}
        return {name: walk(item) for name, item in value.items()}

    return EVENT_ADAPTER.validate_json(json.dumps(walk(event.model_dump(mode="json"))))


def _content(path: str) -> bytes:
    if path.startswith("dataset/"):
        return dataset(int(path[8:11])).encode()
    if path.endswith("label.xyz"):
        return frame(path.split("/")[-2], "train", 9).encode()
    if path.endswith("parity.json"):
        return b"{}"
    return f"content of {path}".encode()


async def _write(folder: Path, events: list[Event]) -> None:
    journal, _ = FileJournal.open(folder, now=events[0].at)
    try:
        await journal.append(events)
    finally:
        await journal.close()


def text_of(folder: Path) -> dict[str, str]:
    """Every file of a folder by path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}
