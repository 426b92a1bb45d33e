"""The paths of a site file: relative to the folder that it is in, and fit for use.

A Path in a section is a file of this machine. Only `site.root`, and what stands under it, may be
another machine's.
"""

import os.path
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mlip_autopipec.config.schemas.site import AnyTransport
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, shown


def anchored(config: WorkflowConfig, base: Path) -> WorkflowConfig:
    """The same with every path absolute, but the root of a site whose files are elsewhere."""
    absolute: WorkflowConfig = _anchored(config, base)
    changes: dict[str, object] = {}
    if not is_here(config.site.transport):
        changes["root"] = config.site.root
    # else a command, looked up where jobs run
    elif config.site.python and "/" in config.site.python:
        changes["python"] = str(absolute_path(config.site.python, base))
    return absolute.model_copy(update={"site": absolute.site.model_copy(update=changes)})


def unusable_folders(right: Mapping[str, Any], base: Path) -> Iterator[Mistake]:
    """Folders of this machine that could not be made.

    Values are keyed `section.key`. Looks at the file system.
    """
    folders: dict[KeyPath, Path] = {}
    if "campaign.folder" in right:
        folders["campaign", "folder"] = right["campaign.folder"]
    if "site.root" in right and "site.transport" in right and is_here(right["site.transport"]):
        folders["site", "root"] = right["site.root"]
    for path, folder in folders.items():
        if expected := _objection(str(folder), base):
            yield Mistake(path, shown(str(folder)), expected)


def missing_files(right: Mapping[str, Any], base: Path) -> Iterator[Mistake]:
    """Files of this machine that tasks are to read, and that are not there.

    Looks at the file system.
    """
    asked: dict[KeyPath, Path] = {
        (
            "exploration",
            "walkers",
            index,
            "file" if walkers.file is not None else "pool",
        ): walkers.source
        for index, walkers in enumerate(right.get("exploration.walkers", ()))
        if walkers.source is not None
    }
    asked |= {
        ("generation", "files", index): file
        for index, file in enumerate(right.get("generation.files", ()))
    }
    dataset = right.get("dataset")
    asked |= {
        ("dataset", "files", index): file
        for index, file in enumerate(dataset.files if dataset else ())
    }
    if (start := right.get("start")) is not None:
        asked["start", "potential"] = start.potential
        if start.active_set is not None:
            asked["start", "active_set"] = start.active_set
    for path, file in asked.items():
        if not (there := absolute_path(str(file), base)).is_file():
            yield Mistake(path, shown(str(file)), f"expected a file; there is none at {there}")


def is_here(transport: AnyTransport) -> bool:
    """Whether the site's files are this machine's."""
    return transport.kind == "local"


def _objection(folder: str, base: Path) -> str | None:
    """Why this cannot be a folder; None if it is one, or can be made."""
    if "$" in folder or not folder.isprintable():
        return "expected a plain path; variables are not filled in"
    if _expanded(folder).startswith("~"):
        return "expected a path; there is no such home folder"
    whole = absolute_path(folder, base)
    there = next(part for part in (whole, *whole.parents) if os.path.lexists(part))
    # Path.is_dir would raise where it may not look.
    return None if os.path.isdir(there) else f"expected a folder; {there} is none"  # noqa: PTH112


def _anchored(value: Any, base: Path) -> Any:
    if isinstance(value, Path):
        return absolute_path(str(value), base)
    if isinstance(value, BaseModel):
        # What stays as it is counts as given no more than before.
        now = {
            name: (getattr(value, name), _anchored(getattr(value, name), base))
            for name in type(value).model_fields
        }
        return value.model_copy(
            update={name: after for name, (before, after) in now.items() if after != before}
        )
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value,
            **{each.name: _anchored(getattr(value, each.name), base) for each in fields(value)},
        )
    if isinstance(value, tuple):
        return tuple(_anchored(item, base) for item in value)
    if isinstance(value, dict):
        return {key: _anchored(item, base) for key, item in value.items()}
    return value


def absolute_path(path: str, base: Path) -> Path:
    """Without `..`, and without following links: a virtual environment's Python is one."""
    return Path(os.path.normpath(base / _expanded(path)))


def _expanded(path: str) -> str:
    return os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises for a home that is not known
