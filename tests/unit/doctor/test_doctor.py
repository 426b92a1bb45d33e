"""autopipecctl doctor as a process, on this machine, with the real codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kit.files import SMALL

pytestmark = [pytest.mark.codes, pytest.mark.timeout(180)]

AUTOPIPECCTL = Path(sys.executable).with_name("autopipecctl")


def doctor(site_file: Path) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and findings by what they are about."""
    done = subprocess.run(
        [AUTOPIPECCTL, "doctor", "--config", site_file, "--json"],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    return done.returncode, {finding["about"]: finding for finding in json.loads(done.stdout)}


def test_this_machine_is_fit(tmp_path: Path) -> None:
    """Every code was run, γ rises outside of the training set, and nothing is left of the trial."""
    path = tmp_path / "site.yaml"
    path.write_text(SMALL.read_text())
    code, findings = doctor(path)
    assert code == 0, findings
    assert {"connection", "clock", "root", "python", "lammps", "gamma"} <= findings.keys()
    assert findings["lammps"]["seen"].startswith("LAMMPS 20")
    assert "γ of a distorted cell is" in findings["gamma"]["seen"]
    assert not list((tmp_path / "site" / ".ap").glob("doctor*"))


def test_the_teacher_is_tried_in_its_own_python(tmp_path: Path) -> None:
    """It makes a few steps from the crystal there; what a structure will cost is told."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >>"$0.log"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    path = tmp_path / "site.yaml"
    teacher = (
        f"{{calculator: ase.calculators.emt.EMT, temperatures_kelvin: [300], python: {python}}}"
    )
    path.write_text(
        SMALL.read_text().replace("generation:\n", f"generation:\n  teacher: {teacher}\n")
    )
    code, findings = doctor(path)
    assert code == 0, findings
    assert findings["teacher"]["colour"] == "green"
    assert "ase.calculators.emt.EMT walks Cu fcc: a structure of " in findings["teacher"]["seen"]
    assert len(python.with_name("python.log").read_text().splitlines()) == 1


def test_a_python_without_the_codes_is_red(tmp_path: Path) -> None:
    """The exit code says so too, the line what to do; codes that it cannot have are not tried."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    path = tmp_path / "site.yaml"
    path.write_text(
        SMALL.read_text().replace("  root: site\n", f"  root: site\n  python: {bare}\n")
    )
    code, findings = doctor(path)
    assert code == 1
    assert findings["python"]["colour"] == "red"
    assert "python-ace" in findings["python"]["seen"]
    assert "site.python" in findings["python"]["remedy"]
    assert "gamma" not in findings
