"""Pages of the documents as a reader takes them: commands to paste, and YAML for a site file."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from kit.files import TOP

HOW_TO = TOP / "docs" / "how-to"
#: What stands for one thing or another: a page that names it means all of it.
_CHOICES = {"oracle", "transport", "scheduler", "engine"}
_TIMEOUT_S = 200


def blocks_of(page: Path) -> list[str]:
    """Its blocks of YAML."""
    return re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands_of(page: Path) -> list[str]:
    """Lines that it shows by themselves: indented, and outside of blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def merged(base: Any, asked: Any, key: str = "") -> Any:
    """The base with what is asked in its place."""
    if key in _CHOICES or not isinstance(base, dict) or not isinstance(asked, dict):
        return asked
    return {**base, **{name: merged(base.get(name), value, name) for name, value in asked.items()}}


def put_into(site_file: Path, block: str) -> None:
    """Edit a site file as a block of a page says."""
    yaml = YAML(typ="safe")
    base = yaml.load(site_file.read_text())
    with site_file.open("w") as stream:
        yaml.dump(merged(base, yaml.load(block)), stream)


def with_names(text: str, names: Mapping[str, str]) -> str:
    """The text of a page with what is there in the place of what only its example has."""
    for example, real in names.items():
        text = text.replace(example, real)
    return text


def paste(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run lines of a page in a shell, in this folder."""
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )


@dataclass
class Reader:
    """Somebody who pastes the commands of a page one after another, in a folder."""

    commands: list[str]
    folder: Path

    @classmethod
    def of(cls, page: str, folder: Path, without: Mapping[str, str] | None = None) -> "Reader":
        """All commands of a page of docs/how-to, but those left out, each with its reason."""
        commands, left_out = commands_of(HOW_TO / page), without or {}
        assert left_out.keys() <= set(commands), "what is left out is on the page"
        return cls([line for line in commands if line not in left_out], folder)

    def run(self, begin: str, names: Mapping[str, str] | None = None) -> str:
        """Run the next command, which begins so and succeeds; what it prints."""
        line = self.commands.pop(0)
        assert line.startswith(f"autopipecctl {begin}"), line
        done = paste(with_names(line, names or {}), self.folder)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout
