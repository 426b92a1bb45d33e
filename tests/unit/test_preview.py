"""What a site file leads to is known before a submission: its files are read, its sizes counted."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from kit.files import DEMO

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.preview import Preview, preview

CELL = 'Lattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3'
#: Content of a file, and what is wrong with it.
WRONG = {
    "words.xyz": ("nonsense\n", "ASE cannot read words.xyz"),
    "empty.cif": ("", "ASE cannot read empty.cif"),
    "gold.xyz": (f"1\n{CELL}\nAu 0 0 0\n", "gold.xyz has Au, which is not in campaign.elements"),
    "open.xyz": ("1\n\nCu 0 0 0\n", "open.xyz has no atoms, or no cell of three vectors"),
    "nan.xyz": (f"1\n{CELL}\nCu nan 0 0\n", "nan.xyz has no atoms, or no cell of three vectors"),
    "close.xyz": (
        f"2\n{CELL}\nCu 0 0 0\nCu 0.1 0 0\n",
        "close.xyz has two atoms 0.1 Å apart; distance_min_angstrom is",
    ),
    "later.xyz": (
        f"1\n{CELL}\nCu 0 0 0\n2\n{CELL}\nCu 0 0 0\nCu 0 0 3.9\n",
        "structure 2 of later.xyz has two atoms 0.1 Å apart",
    ),
}


def seen(folder: Path, *changes: tuple[str, str]) -> Preview:
    """Of the demo's site file with these changes."""
    text = DEMO.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "site.yaml").write_text(text)
    return preview(load_config(folder / "site.yaml").config)


def walkers(names: Sequence[str], more: str = "") -> tuple[str, str]:
    """The demo with more walkers, from these files."""
    begin = "  walkers:\n"
    groups = "".join(
        f"    - {{file: {name}, temperatures_kelvin: [300], steps: 100{more}}}\n" for name in names
    )
    return begin, begin + groups


@pytest.mark.slow
def test_every_file_is_read_and_every_mistake_told_at_once(tmp_path: Path) -> None:
    """Under the key that names the file, for walkers and for structures to train on."""
    for name, (content, _) in WRONG.items():
        (tmp_path / name).write_text(content)
    names = list(WRONG)
    found = seen(
        tmp_path, walkers(names), ("generation:\n", f"generation:\n  files: [{', '.join(names)}]\n")
    )
    shown = {
        (mistake.path, mistake.expected.partition(": ")[0]): mistake.expected
        for mistake in found.mistakes
    }
    assert len(found.mistakes) == 2 * len(WRONG)
    for index, (_, message) in enumerate(WRONG.values()):
        for path in (("exploration", "walkers", index, "file"), ("generation", "files", index)):
            (expected,) = [mistake.expected for mistake in found.mistakes if mistake.path == path]
            assert expected.startswith(message), shown


@pytest.mark.slow
def test_atoms_and_memory_of_every_walker_are_counted(tmp_path: Path) -> None:
    """A repeat that no memory holds is refused, with what it would need."""
    write(tmp_path / "one.extxyz", bulk("Cu", cubic=True))
    found = seen(tmp_path, walkers(["one.extxyz"], ", repeat: [200, 200, 200]"))
    (mistake,) = found.mistakes
    assert mistake.path == ("exploration", "walkers", 0, "repeat")
    assert mistake.given == "one.extxyz, 32000000 atoms"
    assert mistake.expected.endswith("these need 61036 MiB at least")
    by_prototype = seen(tmp_path, ("repeat: [3, 3, 3]", "repeat: [200, 200, 200]"))
    assert ("exploration", "walkers", 0, "prototype", "repeat") in {
        mistake.path for mistake in by_prototype.mistakes
    }
    usual = seen(tmp_path, ("repeat: [3, 3, 3]", "repeat: [40, 40, 40]"))
    assert usual.mistakes == ()
    assert any("256000 atoms may need more than the memory" in note for note in usual.notes)


@pytest.mark.slow
def test_small_cells_with_free_sides_are_told(tmp_path: Path) -> None:
    """Under pressure control the shape of eight atoms swings further than any crystal's."""
    write(tmp_path / "small.extxyz", bulk("Cu", cubic=True))
    free = (
        "ensemble: npt",
        "ensemble: npt, barostat: triclinic",
        "stages: [{ensemble: npt}]",
        "ensemble: npt, barostat: isotropic, stages: [{barostat: anisotropic}]",
    )
    kept = (
        "ensemble: nvt",
        "ensemble: npt, barostat: isotropic",
        "ensemble: npt, repeat: [2, 2, 2]",
    )
    found = seen(tmp_path, *(walkers(["small.extxyz"], f", {keys}") for keys in (*kept, *free)))
    assert found.mistakes == ()
    notes = [note for note in found.notes if "barostat: isotropic" in note]
    assert len(notes) == len(free)
    assert all("small.extxyz: the sides of a cell of 4 atoms" in note for note in notes)


@pytest.mark.slow
def test_labels_and_tasks_of_the_bootstrap_are_counted(tmp_path: Path) -> None:
    """The user's structures among them; a walker starts from the last of its file."""
    write(tmp_path / "two.extxyz", [bulk("Cu", cubic=True)] * 2)
    found = seen(
        tmp_path, walkers(["two.extxyz"]), ("generation:\n", "generation:\n  files: [two.extxyz]\n")
    )
    assert found.mistakes == ()
    assert found.notes == (
        "two.extxyz: 2 structures, Cu4; walkers start from the last",
        "two.extxyz: 2 structures, Cu4",
        (
            "the bootstrap asks for 33 labels (14 train, 6 test, 13 for the gate's properties) and"
            " 35 tasks in all"
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["-c", "from mlip_autopipec.cli import main; main()", "config", "check", "--config"],
        ["-m", "mlip_autopipec.daemon", "--config"],
    ],
)
def test_a_wrong_file_is_refused_before_there_is_a_campaign(
    tmp_path: Path, command: list[str]
) -> None:
    """By `config check` and by a start, with the line of the site file."""
    (tmp_path / "words.xyz").write_text("nonsense\n")
    begin, groups = walkers(["words.xyz"])
    (tmp_path / "site.yaml").write_text(
        DEMO.read_text().replace(begin, groups).replace("../campaigns/copper", "copper")
    )
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path / "site.yaml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert (
        "site.yaml:34  exploration.walkers[0].file  'words.xyz' → ASE cannot read words.xyz"
        in done.stderr
    )
    assert "read" not in [path.name for path in (tmp_path / "copper").glob("*/journal/*")]


@pytest.mark.codes
def test_a_calculator_that_does_not_exist_is_refused_by_a_start(tmp_path: Path) -> None:
    """A person must mend it: no task is spent on it."""
    text = DEMO.read_text().replace("../campaigns/copper", "copper").replace("emt.EMT", "emt.EMTT")
    (tmp_path / "site.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "mlip_autopipec.daemon", "--config", str(tmp_path / "site.yaml")],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 78, done.stderr
    assert "did you mean ase.calculators.emt.EMT?" in done.stderr
    assert not list(tmp_path.glob("copper/**/task.json"))
