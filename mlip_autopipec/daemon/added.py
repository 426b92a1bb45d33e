"""Structures that people add while a campaign goes on: read, judged and kept before the journal hears of them.

Each frame becomes a file of its own under the campaign's folder, named by its content. It lies there, durably, before
the event that names it: a daemon that is killed in between has kept a file that nobody names, and lost nothing.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.supplies import Supply, supply_of
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import FileRef
from mlip_autopipec.data_models.outcome import Structure
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.text import answer_in, first_lines
from mlip_autopipec.errors import ConfigurationError, OperatorError
from mlip_autopipec.journal.durable import make_folder, replace_file
from mlip_autopipec.orchestration.changing import ADDED

Purpose = Literal["label", "walk"]

#: Frames of one call: each is a label, or walkers of its own.
FRAMES_MAX = 500
_TIMEOUT_S = 60.0
_NAME_DIGITS = 12
_STEM_MAX = 40


def keep(
    config: WorkflowConfig, files: Sequence[str], purpose: Purpose
) -> tuple[tuple[Structure, ...], tuple[ev.AddedWalk, ...], Mapping[Path, Supply]]:
    """Read these files and keep their frames: to label or to walk from, and what goes to the site. Blocks.

    Raises ConfigurationError, with file and frame, if any cannot be used; nothing is kept then.
    """
    frames = _frames(config, files)
    folder = config.campaign.folder / ADDED
    make_folder(folder)
    structures: list[Structure] = []
    walks: list[ev.AddedWalk] = []
    brought: dict[Path, Supply] = {}
    for frame in frames:
        content = frame["text"].encode()
        source = Path(frame["file"])
        stem = "".join(letter if letter.isalnum() else "-" for letter in source.stem)[:_STEM_MAX]
        name = f"{hashlib.sha256(content).hexdigest()[:_NAME_DIGITS]}-{stem}.extxyz"
        path = folder / name
        replace_file(path, [content])
        brought[path] = supply_of(path)
        ref = brought[path].ref
        if purpose == "walk":
            walks.append(ev.AddedWalk(file=ref, name=name))
            continue
        origin = f"added: {source.name} frame {frame['frame']}"
        structures.append(Structure(file=ref, role=Role.TRAIN, origin=origin, n_atoms=frame["atoms"], why="added"))
    return tuple(structures), tuple(walks), brought


def kept(config: WorkflowConfig, state: WorkflowState) -> Mapping[Path, Supply]:
    """Everything that was kept, for a daemon that begins. Raises OperatorError if a file is gone or not as it was."""
    folder = config.campaign.folder / ADDED
    brought = {path: supply_of(path) for path in sorted(folder.glob("*.extxyz"))}
    there = {supply.ref.sha256 for supply in brought.values()}
    for ref in _needed(state):
        if ref.sha256 not in there:
            raise OperatorError(
                f"{folder} lacks a structure that was added ({ref.path}, sha256 {ref.sha256}), or it was changed there:"
                " bring the file back as it was"
            )
    return brought


def _needed(state: WorkflowState) -> Iterable[FileRef]:
    yield from (each.file for each in state.to_label)
    yield from (each.file for each in state.walks)


def _frames(config: WorkflowConfig, files: Sequence[str]) -> list[dict[str, Any]]:
    for file in files:
        if not Path(file).is_file():
            raise ConfigurationError(f"{file}: there is no such file on the daemon's machine")
    asked = {
        "elements": config.campaign.elements,
        "distance_min_angstrom": config.distance_min_angstrom,
        "files": list(files),
        "frames_max": FRAMES_MAX,
    }
    command = [sys.executable, "-m", "mlip_autopipec.work", "examine", "frames"]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked).encode(), capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"the files could not be read within {_TIMEOUT_S:g} s: add them in parts") from None
    answer = answer_in(done.stdout)
    if answer is None or "frames" not in answer:
        words = first_lines(done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
        raise ConfigurationError(f"the files could not be read: {words}")
    if answer["wrong"]:
        told = "\n".join(f"- {line}" for line in answer["wrong"][:20])
        raise ConfigurationError(f"nothing is added:\n{told}")
    frames: list[dict[str, Any]] = answer["frames"]
    return frames
