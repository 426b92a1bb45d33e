"""autopipecctl doctor on the one-host cluster over SSH."""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kit.lab import running_lab
from kit.lab_aluminium import WRITTEN_LAB, aluminium_site

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
    """What the doctor says of the aluminium campaign: exit code, and findings by their subject."""
    path = aluminium_site(lab, root, folder, *changes)
    done = subprocess.run(
        [AUTOPIPECCTL, "doctor", "--config", path, "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, {finding["about"]: finding for finding in json.loads(done.stdout)}


def test_the_lab_is_fit_and_a_wrong_partition_is_not(
    lab: dict[str, str], site_root: Path, tmp_path: Path
) -> None:
    """A real Slurm is asked its version and limits, and if it takes each phase's jobs; so is pw.x.

    A code is tried behind its own phase's preparations: no other path leads to this pw.x.
    """
    programs = site_root.with_name(f"{site_root.name}-bin")
    programs.mkdir()
    (programs / "mine.x").symlink_to("/usr/bin/pw.x")
    loaded = (
        "calculation: {memory: 1 GiB,",
        f"calculation: {{prologue: ['PATH={programs}:$PATH'], memory: 1 GiB,",
    )
    wrong = ("training: {memory: 2 GiB,", "training: {partition: nope, memory: 2 GiB,")
    code, findings = findings_of(
        lab, site_root, tmp_path, ("command: pw.x", "command: mine.x -nk 1"), loaded, wrong
    )
    shutil.rmtree(programs)
    assert code == 1
    red = {about: finding for about, finding in findings.items() if finding["colour"] == "red"}
    assert red.keys() == {"sbatch: training"}, red
    assert "nvalid partition" in findings["sbatch: training"]["seen"]
    assert findings["sbatch: training"]["remedy"].startswith(
        "The partitions there are main, short. mend"
    )
    assert findings["sbatch: generation, exploration, selection, calculation"]["colour"] == "green"
    assert findings["slurm"]["seen"].startswith("Slurm 2")
    assert findings["arrays"]["colour"] == "green"
    assert findings["gamma"]["colour"] == "green"
    assert findings["connection"]["seen"] == "lab by ssh, host key known"
    sha256 = hashlib.sha256(
        Path("/usr/share/espresso/pseudo/Al.pz-vbc.UPF").read_bytes()
    ).hexdigest()
    seen = rf"pw\.x \d\.\S+; pseudopotentials by sha256: Al {sha256[:8]}"
    assert re.fullmatch(seen, findings["espresso"]["seen"])


@contextmanager
def narrow_way(lab: dict[str, str], folder: Path, sessions: int) -> Iterator[tuple[str, str]]:
    """An sshd into the cluster that allows so few sessions on a connection.

    It gives what leads there, as a change.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known_hosts = folder / "known_hosts"
    key = Path(lab["AUTOPIPEC_LAB_KNOWN_HOSTS"]).read_text(encoding="utf-8").partition(" ")[2]
    known_hosts.write_text(f"[127.0.0.1]:{port} {key}", encoding="utf-8")
    lines = (f"ListenAddress=127.0.0.1:{port}", "PidFile=none", f"MaxSessions={sessions}")
    options = [word for line in lines for word in ("-o", line)]
    command = [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f"]
    with (folder / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen(
            [*command, f"{lab['AUTOPIPEC_LAB']}/ssh/sshd_config", *options], stderr=log
        )
    way = (
        f"host: 127.0.0.1, port: {port}, user: {lab['AUTOPIPEC_LAB_USER']}, known_hosts:"
        f" {known_hosts}"
    )
    try:
        until = time.monotonic() + 60
        while "listening on" not in (folder / "sshd.log").read_text(encoding="utf-8"):
            assert time.monotonic() < until, "sshd does not begin"
            time.sleep(0.1)
        yield (
            f"host: lab, config_file: {WRITTEN_LAB}/ssh/config",
            f"{way}, identity_file: {lab['AUTOPIPEC_LAB_SSH_KEY']}, config_file: null",
        )
    finally:
        sshd.terminate()
        sshd.wait(timeout=60)


def test_a_pw_that_is_not_there_is_red(
    lab: dict[str, str], site_root: Path, tmp_path: Path
) -> None:
    """It is the only one, and the line says what to do.

    Few sessions are counted there, and asked with.
    """
    with narrow_way(lab, tmp_path, 2) as way:
        code, findings = findings_of(
            lab, site_root, tmp_path, way, ("command: pw.x", "command: mine.x -nk 2")
        )
    assert findings["sessions"]["colour"] == "yellow"
    assert findings["sessions"]["seen"].startswith("sshd allows 2 at a time on one connection")
    assert code == 1
    red = {about: finding for about, finding in findings.items() if finding["colour"] == "red"}
    assert red.keys() == {"espresso"}, red
    assert red["espresso"]["seen"] == "mine.x cannot be run: No such file or directory"
    assert "site.resources.calculation.prologue" in red["espresso"]["remedy"]
