"""Campaigns of config/campaigns made short enough for tests: the same file but for some numbers, in another folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from campaign_main import CAMPAIGNS, moved
from ruamel.yaml import YAML


def shortened(name: str, folder: Path, changes: Mapping[str, Any]) -> Path:
    """The site file, with its journal in `folder`/campaign. `changes` are merged key by key; lists are replaced."""
    path = moved(CAMPAIGNS / f"{name}.yaml", folder)
    yaml = YAML()
    content = yaml.load(path.read_text(encoding="utf-8"))
    _merge(content, changes)
    with path.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return path


def _merge(content: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(content.get(key), dict):
            _merge(content[key], value)
        else:
            content[key] = value
