"""Campaigns of config/campaigns made short enough for tests.

Each is the same file but for some numbers, in another folder.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from kit.files import CAMPAIGNS


def shortened(name: str, folder: Path, changes: Mapping[str, Any]) -> Path:
    """The site file, with its journal in `folder`/campaign.

    `changes` are merged key by key; lists are replaced.
    """
    path = moved(CAMPAIGNS / f"{name}.yaml", folder)
    yaml = YAML()
    content = yaml.load(path.read_text(encoding="utf-8"))
    _merge(content, changes)
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return path


def moved(site_file: Path, folder: Path) -> Path:
    """A copy of the site file in a folder, with the campaign's own files there.

    Its jobs are there too, if they run here.
    """
    yaml = YAML()
    content = yaml.load(site_file.read_text(encoding="utf-8"))
    content["campaign"]["folder"] = str(folder / "campaign")
    if content["site"].get("transport", {"kind": "local"})["kind"] == "local":
        content["site"]["root"] = str(folder / "root")
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / site_file.name
    with copy.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return copy


def _merge(content: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = value
