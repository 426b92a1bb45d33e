"""A whole set of the user's files, read and judged.

It is what `config check` and the task of Generation ask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from mlip_autopipec.contract.dataset import AdoptParameters
from mlip_autopipec.work.adopting.frames import OfferedFrame, Unreadable, read_files, shown_names
from mlip_autopipec.work.adopting.judging import judge, listed


@dataclass(frozen=True)
class SetOfFiles:
    """`refused` is empty if the sound frames may be adopted; `left_out` has the others in words."""

    sound: list[OfferedFrame]
    refused: str
    left_out: str = ""
    names: str = ""


def read_and_judge(
    paths: Mapping[str, Path],
    asked: AdoptParameters,
    elements: Sequence[str],
    distance_min_angstrom: float,
    tests: Mapping[str, Atoms],
) -> SetOfFiles:
    """`paths` by the names that the user gave the files; `tests` are structures no fit may see."""
    try:
        frames = read_files(paths, asked)
    except Unreadable as error:
        return SetOfFiles([], str(error))
    judged, refused = judge(frames, asked, elements, distance_min_angstrom, tests)
    return SetOfFiles(
        judged.sound,
        refused,
        listed(judged.faulty) if judged.faulty else "",
        shown_names(judged.sound),
    )
