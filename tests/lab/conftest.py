"""One cluster for every test of a run."""

import os
import shutil
from collections.abc import Iterator

import pytest
from kit.lab import running_lab


@pytest.fixture(scope="session", autouse=True)
def lab_stays_up() -> Iterator[None]:
    """Bring it up before the first test here, and down when the run ends.

    Else each file would, for itself.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        yield  # who needs the lab says so, and is skipped
        return
    with running_lab():
        yield
