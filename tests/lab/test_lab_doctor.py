"""autopipecctl doctor and a phase on the login node, on the one-host cluster over SSH."""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_stand import TOP, running_lab

pytestmark = [pytest.mark.lab, pytest.mark.codes, pytest.mark.timeout(600)]

AUTOPIPECCTL = Path(sys.executable).with_name("autopipecctl")
SMALL = TOP / "tests" / "campaign" / "small.yaml"


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


def findings_of(lab: dict[str, str], root: Path, folder: Path, training: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and findings by what they are about."""
    way = {
        "kind": "ssh",
        "host": "127.0.0.1",
        "port": lab["AUTOPIPEC_LAB_SSH_PORT"],
        "user": lab["AUTOPIPEC_LAB_USER"],
        "identity_file": lab["AUTOPIPEC_LAB_SSH_KEY"],
        "known_hosts": lab["AUTOPIPEC_LAB_KNOWN_HOSTS"],
    }
    lines = [
        f"  root: {root}",
        f"  python: {lab['AUTOPIPEC_LAB_PYTHON']}",
        "  transport: {" + ", ".join(f"{key}: {value}" for key, value in way.items()) + "}",
        "  scheduler: {kind: slurm}",
        "  resources:",
        *(f"    {phase}: {{memory: 500 MiB}}" for phase in ("generation", "exploration", "selection", "calculation")),
        f"    training: {training}",
    ]
    path = folder / "site.yaml"
    path.write_text(SMALL.read_text().replace("  root: site", "\n".join(lines)))
    done = subprocess.run(
        [AUTOPIPECCTL, "doctor", "--config", path, "--json"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr == ""
    return done.returncode, {finding["about"]: finding for finding in json.loads(done.stdout)}


def test_the_lab_is_fit_and_a_wrong_partition_is_not(lab: dict[str, str], site_root: Path, tmp_path: Path) -> None:
    """Slurm is asked for real: its version, its limits, and whether it would take each phase's jobs."""
    training = "{memory: 500 MiB, partition: nope}"
    code, findings = findings_of(lab, site_root, tmp_path, training)
    assert code == 1
    red = {about for about, finding in findings.items() if finding["colour"] == "red"}
    assert red == {"sbatch: training"}
    assert "nvalid partition" in findings["sbatch: training"]["seen"]
    assert findings["sbatch: generation, exploration, selection, calculation"]["colour"] == "green"
    assert findings["slurm"]["seen"].startswith("Slurm 2")
    assert findings["arrays"]["colour"] == "green"
    assert findings["gamma"]["colour"] == "green"
    assert findings["connection"]["seen"] == "127.0.0.1 by ssh, host key known"
