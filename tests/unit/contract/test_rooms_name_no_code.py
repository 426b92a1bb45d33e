"""Rooms that serve every code name none: else the next one would have to be written into them."""

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

PACKAGE = Path(str(resources.files("mlip_autopipec")))
#: What no room that serves all of them may say, and in which rooms.
ROOMS = {
    r"espresso|pw\.x|phonopy": (
        *(
            "work/steps",
            "config/rules",
            "config/oracles.py",
            "config/loader.py",
            "doctor",
            "phases",
            "plan.py",
        ),
        *(
            "orchestration",
            "site.py",
            "starter.py",
            "daemon",
            "work/doctor/trial.py",
            "work/attempt.py",
            "report",
        ),
    ),
    r"codes\.linear|linear trainer": ("work/steps", "config/rules"),
    "pacemaker": (
        *(
            "work/steps",
            "work/doctor",
            "config/rules",
            "doctor",
            "orchestration",
            "daemon",
            "whatif.py",
        ),
        "export/citations.py",
    ),
    r"lammps|\"native\"": ("doctor", "orchestration", "daemon", "whatif.py", "export/citations.py"),
    r"NativeSettings|WheelSettings|WheelEngine|NativeEngine": ("work/steps",),
    "k_spacing|smearing": ("doctor", "work/doctor/trial.py", "starter.py"),
    r"\bkind [!=]= |\bkind in ": (
        "phases",
        "orchestration/gate.py",
        "orchestration/policy.py",
        "plan.py",
    ),
    r"SlurmQueue|slurm_|\"slurm\"": (
        "doctor",
        "daemon",
        "site.py",
        "phases",
        "orchestration",
        "plan.py",
        "export",
    ),
}


def lines_of(room: str) -> Iterator[tuple[str, str]]:
    """Where, and what stands there."""
    path = PACKAGE / room
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{file.relative_to(PACKAGE)}:{number}", line


@pytest.mark.parametrize(
    ("message", "room"), [(message, room) for message, rooms in ROOMS.items() for room in rooms]
)
def test_a_room_that_serves_every_code_names_none(message: str, room: str) -> None:
    """Neither in its code nor in its comments."""
    found = list(lines_of(room))
    assert found
    assert [
        f"{where}  {line}" for where, line in found if re.search(message, line, re.IGNORECASE)
    ] == []
