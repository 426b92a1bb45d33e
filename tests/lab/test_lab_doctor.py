"""autopipecctl doctor on the one-host cluster over SSH."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aluminium_stand import aluminium_site
from lab_stand import running_lab

pytestmark = [pytest.mark.lab, pytest.mark.codes, pytest.mark.timeout(600)]

AUTOPIPECCTL = Path(sys.executable).with_name("autopipecctl")


@pytest.fixture(scope="module")
def lab() -> Iterator[dict[str, str]]:
    """A lab that runs."""
    with running_lab() as environment:
        yield environment


@pytest.fixture
def site_root(lab: dict[str, str]) -> Iterator[Path]:
    """A root in the lab user's home that does not exist yet."""
    root = Path(lab["AUTOPIPEC_LAB_HOME"]) / f"doctor-{uuid.uuid4().hex[:8]}"
    yield root
    shutil.rmtree(root, ignore_errors=True)


def findings_of(
    lab: dict[str, str], root: Path, folder: Path, *changes: tuple[str, str]
) -> tuple[int, dict[str, dict[str, str]]]:
    """What the doctor says of the aluminium campaign: exit code, and findings by what they are about."""
    path = aluminium_site(lab, root, folder, *changes)
    done = subprocess.run(
        [AUTOPIPECCTL, "doctor", "--config", path, "--json"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr == ""
    return done.returncode, {finding["about"]: finding for finding in json.loads(done.stdout)}


def test_the_lab_is_fit_and_a_wrong_partition_is_not(lab: dict[str, str], site_root: Path, tmp_path: Path) -> None:
    """Slurm is asked for real: its version, its limits, and whether it would take each phase's jobs; so is pw.x.

    A code is tried behind its own phase's preparations: no other path leads to this pw.x.
    """
    programs = site_root.with_name(f"{site_root.name}-bin")
    programs.mkdir()
    (programs / "mine.x").symlink_to("/usr/bin/pw.x")
    loaded = ("calculation: {memory: 1 GiB,", f"calculation: {{prologue: ['PATH={programs}:$PATH'], memory: 1 GiB,")
    wrong = ("training: {memory: 2 GiB,", "training: {partition: nope, memory: 2 GiB,")
    code, findings = findings_of(lab, site_root, tmp_path, ("command: pw.x", "command: mine.x -nk 1"), loaded, wrong)
    shutil.rmtree(programs)
    assert code == 1
    red = {about: finding for about, finding in findings.items() if finding["colour"] == "red"}
    assert red.keys() == {"sbatch: training"}, red
    assert "nvalid partition" in findings["sbatch: training"]["seen"]
    assert findings["sbatch: generation, exploration, selection, calculation"]["colour"] == "green"
    assert findings["slurm"]["seen"].startswith("Slurm 2")
    assert findings["arrays"]["colour"] == "green"
    assert findings["gamma"]["colour"] == "green"
    assert findings["connection"]["seen"] == "lab by ssh, host key known"
    sha256 = hashlib.sha256(Path("/usr/share/espresso/pseudo/Al.pz-vbc.UPF").read_bytes()).hexdigest()
    seen = rf"pw\.x \d\.\S+; pseudopotentials by sha256: Al {sha256[:8]}"
    assert re.fullmatch(seen, findings["espresso"]["seen"])


def test_a_pw_that_is_not_there_is_red(lab: dict[str, str], site_root: Path, tmp_path: Path) -> None:
    """It is the only one, and the line says what to do."""
    code, findings = findings_of(lab, site_root, tmp_path, ("command: pw.x", "command: mine.x -nk 2"))
    assert code == 1
    red = {about: finding for about, finding in findings.items() if finding["colour"] == "red"}
    assert red.keys() == {"espresso"}, red
    assert red["espresso"]["seen"] == "mine.x cannot be run: No such file or directory"
    assert "site.resources.calculation.prologue" in red["espresso"]["remedy"]
