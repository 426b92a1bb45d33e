"""The one-host cluster of scripts/lab, for tests.

It is brought up for a run, and taken down by whoever brought it up.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kit.files import TOP

LAB = TOP / "scripts" / "lab"
UP_TIMEOUT_S = 600


@contextmanager
def running_lab() -> Iterator[dict[str, str]]:
    """What `scripts/lab env` says of a lab that runs. Skips where there can be none."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("the lab needs root on Debian")
    ran_before = _lab("status").returncode == 0
    up = _lab("up")
    if up.returncode != 0 and shutil.which("slurmctld") is None:
        pytest.skip(f"Debian's Slurm could not be installed: {up.stderr.strip()[-300:]}")
    assert up.returncode == 0, up.stderr
    try:
        lines = _lab("env").stdout.splitlines()
        yield dict(line.removeprefix("export ").split("=", 1) for line in lines)
    finally:
        if not ran_before:
            _lab("down")


def _lab(verb: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [LAB, verb], capture_output=True, text=True, timeout=UP_TIMEOUT_S, check=False
    )
