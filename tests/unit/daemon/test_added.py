"""Structures that people add: judged by file and frame and kept by content.

The next daemon finds them again.
"""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.doctor import FramesQuestion
from mlip_autopipec.daemon.added import keep, kept
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import ConfigurationError, OperatorError
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.work.doctor.user_files import frames_of


def config(folder: Path) -> WorkflowConfig:
    return copper_config(campaign={"folder": str(folder / "campaign")})


def good() -> Atoms:
    return bulk("Cu", cubic=True)


def moved() -> Atoms:
    atoms = good()
    atoms.positions[0] += 0.1
    return atoms


def flat() -> Atoms:
    atoms = good()
    atoms.pbc = [True, True, False]
    return atoms


def close() -> Atoms:
    atoms = good()
    atoms.positions[1] = atoms.positions[0] + 0.5
    return atoms


def nowhere() -> Atoms:
    atoms = good()
    atoms.positions[2] = np.nan
    return atoms


WRONG = {
    "not periodic along z": flat,
    "two atoms 0.866 Å apart": close,
    "no finite number": nowhere,
    "Au, which is not in campaign.elements": lambda: bulk("Au", cubic=True),
    "no cell of three vectors": lambda: Atoms(["Cu", "Cu"], [[0, 0, 0], [0, 0, 2.5]]),
}


@pytest.mark.parametrize(("message", "frame"), WRONG.items(), ids=WRONG.keys())
def test_a_frame_that_cannot_be_used_is_named_with_its_file(
    tmp_path: Path, message: str, frame: object
) -> None:
    """And why; the good ones around it are of no help."""
    path = tmp_path / "mine.extxyz"
    write(path, [good(), frame(), good()], format="extxyz")  # type: ignore[operator] # one of the functions above
    asked = FramesQuestion(
        elements=("Cu",), distance_min_angstrom=1.5, files=(str(path),), frames_max=9
    )
    seen = frames_of(asked)
    assert len(seen.frames) == 2
    (line,) = seen.wrong
    assert line.startswith("mine.extxyz, frame 2: ")
    assert message in line


def test_what_is_no_structure_file_is_told(tmp_path: Path) -> None:
    """As are too many frames at a time."""
    (tmp_path / "notes.txt").write_text("to do\n")
    many = tmp_path / "many.extxyz"
    write(many, [good()] * 4, format="extxyz")
    asked = FramesQuestion(
        elements=("Cu",),
        distance_min_angstrom=1.5,
        files=(str(tmp_path / "notes.txt"), str(many)),
        frames_max=3,
    )
    wrong = frames_of(asked).wrong
    assert wrong[0].startswith("notes.txt: ASE cannot read it")
    assert "more than 3 frames at a time" in wrong[1]


def test_frames_are_kept_by_their_content(tmp_path: Path) -> None:
    """A frame that comes twice is one file, whatever else its file says.

    What goes to the site is what is kept.
    """
    labelled = good()
    labelled.info["energy"] = -3.0
    write(tmp_path / "a.extxyz", [good(), moved()], format="extxyz")
    write(tmp_path / "b.extxyz", [labelled], format="extxyz")
    mine = config(tmp_path)
    structures, walks, brought = keep(
        mine, [str(tmp_path / "a.extxyz"), str(tmp_path / "b.extxyz")], "label"
    )
    hashes = [each.file.sha256 for each in structures]
    assert (hashes[0] == hashes[2], hashes[0] == hashes[1], walks) == (True, False, ())
    assert [each.origin for each in structures] == [
        "added: a.extxyz frame 1",
        "added: a.extxyz frame 2",
        "added: b.extxyz frame 1",
    ]
    assert {supply.ref.sha256 for supply in brought.values()} == set(hashes)
    state = WorkflowState(to_label=structures)
    assert {supply.ref.sha256 for supply in kept(mine, state).values()} == set(hashes)


def test_nothing_is_kept_where_one_frame_is_wrong(tmp_path: Path) -> None:
    """Nor of a file that is not there, or holds a molecule."""
    write(tmp_path / "a.extxyz", good(), format="extxyz")
    write(tmp_path / "h2.xyz", molecule("H2"))
    for files, message in (
        (("a.extxyz", "h2.xyz"), "h2.xyz, frame 1: it has no cell"),
        (("gone.cif",), "no such file"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            keep(config(tmp_path), [str(tmp_path / name) for name in files], "walk")
    assert not (tmp_path / "campaign" / "added").exists()


def test_a_kept_file_that_was_changed_stops_the_next_daemon(tmp_path: Path) -> None:
    """A label of something else would bear its name."""
    write(tmp_path / "a.extxyz", good(), format="extxyz")
    mine = config(tmp_path)
    structures, _, brought = keep(mine, [str(tmp_path / "a.extxyz")], "label")
    (path,) = brought
    path.write_text(path.read_text().replace("Cu", "Au"))
    with pytest.raises(OperatorError, match="bring the file back"):
        kept(mine, WorkflowState(to_label=structures))
