"""Structures people add during a campaign: read, judged and kept before the journal hears of them.

Each frame becomes a file of its own under the campaign's folder, named by its content. It lies
there, durably, before the event that names it: a daemon that is killed in between has kept a file
that nobody names, and lost nothing.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.supplies import Supply, supply_of
from mlip_autopipec.contract.doctor import FRAMES, Frame, FramesQuestion
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import ConfigurationError, OperatorError
from mlip_autopipec.examining import examined_here
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
    """Read files and keep their frames: to label or walk from, and what goes to the site. Blocks.

    Raises ConfigurationError, with file and frame, if any cannot be used; nothing is kept then.
    """
    frames = _frames(config, files)
    folder = config.campaign.folder / ADDED
    make_folder(folder)
    structures: list[Structure] = []
    walks: list[ev.AddedWalk] = []
    brought: dict[Path, Supply] = {}
    for frame in frames:
        content = frame.text.encode()
        source = Path(frame.file)
        stem = "".join(letter if letter.isalnum() else "-" for letter in source.stem)[:_STEM_MAX]
        name = f"{hashlib.sha256(content).hexdigest()[:_NAME_DIGITS]}-{stem}.extxyz"
        path = folder / name
        replace_file(path, [content])
        brought[path] = supply_of(path)
        ref = brought[path].ref
        if purpose == "walk":
            walks.append(ev.AddedWalk(file=ref, name=name))
            continue
        origin = f"added: {source.name} frame {frame.number}"
        structures.append(
            Structure(file=ref, role=Role.TRAIN, origin=origin, n_atoms=frame.atoms, why="added")
        )
    return tuple(structures), tuple(walks), brought


def kept(config: WorkflowConfig, state: WorkflowState) -> Mapping[Path, Supply]:
    """Everything that was kept, for a daemon that begins.

    Raises OperatorError if a file is gone or not as it was.
    """
    folder = config.campaign.folder / ADDED
    brought = {path: supply_of(path) for path in sorted(folder.glob("*.extxyz"))}
    there = {supply.ref.sha256 for supply in brought.values()}
    for ref in _needed(state):
        if ref.sha256 not in there:
            raise OperatorError(
                f"{folder} lacks a structure that was added ({ref.path}, sha256 {ref.sha256}), or"
                " it was changed there: bring the file back as it was"
            )
    return brought


def _needed(state: WorkflowState) -> Iterable[FileRef]:
    yield from (each.file for each in state.to_label)
    yield from (each.file for each in state.walks)


def _frames(config: WorkflowConfig, files: Sequence[str]) -> Sequence[Frame]:
    for file in files:
        if not Path(file).is_file():
            raise ConfigurationError(f"{file}: there is no such file on the daemon's machine")
    asked = FramesQuestion(
        elements=config.campaign.elements,
        distance_min_angstrom=config.distance_min_angstrom,
        files=tuple(files),
        frames_max=FRAMES_MAX,
    )
    seen = examined_here(FRAMES, asked, _TIMEOUT_S)
    if isinstance(seen, str):
        raise ConfigurationError(f"the files could not be read: {seen}; try fewer at a time")
    if seen.wrong:
        lines = "\n".join(f"- {line}" for line in seen.wrong[:20])
        raise ConfigurationError(f"nothing is added:\n{lines}")
    return seen.frames
