"""The unit files: accepted by systemd, confined, and true to what the daemon does."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlip_autopipec.errors import ConfigurationError, OperatorError

UNITS = Path(__file__).parents[2] / "systemd"
SYSTEM, USER = UNITS / "autopipecd@.service", UNITS / "autopipecd-user@.service"
EXPOSURE_MAX = 2.0


def service(path: Path) -> configparser.SectionProxy:
    """The [Service] section; of repeated keys, the last."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # keys are case-sensitive
    parser.read(path)
    return parser["Service"]


@pytest.mark.parametrize("path", [SYSTEM, USER])
def test_a_stop_leaves_jobs_alone_and_what_needs_a_person_is_not_restarted(path: Path) -> None:
    """Only the daemon gets the signal; errors that do not heal by themselves stay ended."""
    section = service(path)
    assert section["KillMode"] == "process"
    assert section["Type"] == "notify"
    codes = {int(code) for code in section["RestartPreventExitStatus"].split()}
    assert codes == {ConfigurationError.exit_code, OperatorError.exit_code}


@pytest.mark.lab
@pytest.mark.parametrize("path", [SYSTEM, USER])
def test_systemd_accepts_it(path: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, given an executable that exists."""
    need_systemd_analyze()
    copy = tmp_path / path.name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", path.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.lab
def test_the_system_unit_is_confined() -> None:
    """`systemd-analyze security` scores it at 2.0 or better (0 is best)."""
    need_systemd_analyze()
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", SYSTEM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE_MAX


def need_systemd_analyze() -> None:
    """It comes with Debian's systemd."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")


def test_local_jobs_may_run_what_they_compile() -> None:
    """Their drop-in takes back the one confinement under which numba and JAX die, and no other."""
    lines = (UNITS / "local-jobs.conf").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith(("#", "["))] == [
        "MemoryDenyWriteExecute=no"
    ]


@pytest.mark.slow
def test_a_daemon_knows_whether_its_jobs_may_run_what_they_compile() -> None:
    """Under the confinement itself, which the kernel gives to a process as systemd would."""
    confine = "import ctypes; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0);"  # PR_SET_MDWE
    ask = (
        "from mlip_autopipec.daemon.confinement import may_run_what_it_wrote;"
        " print(may_run_what_it_wrote())"
    )
    said = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
        for program in (ask, f"{ask.partition(';')[0]}; {confine} {ask.partition(';')[2]}")
    ]
    assert said == [b"True\n", b"False\n"]
