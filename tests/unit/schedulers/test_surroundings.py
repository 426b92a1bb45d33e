"""Whoever tries a code does it where tasks run: the same shell, environment and preparations."""

import os
import subprocess
from pathlib import Path

import pytest

from mlip_autopipec.config.schemas.schedulers import LocalQueue, SlurmQueue
from mlip_autopipec.config.schemas.site import ResourcesSection, SiteSection
from mlip_autopipec.data_models.base import Phase, RunsOn
from mlip_autopipec.schedulers.surroundings import as_a_task


def said(site: SiteSection, phase: Phase, command: list[str], home: Path) -> str:
    """What a command prints there; the session has a variable that its profile does not set."""
    done = subprocess.run(
        as_a_task(site, phase, command),
        env={**os.environ, "HOME": str(home), "OF_SESSION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a profile that loads a module for Python."""
    (tmp_path / ".bash_profile").write_text(
        "export PYTHONHOME=/no/such/python\necho Loading python/3.9\n"
    )
    return tmp_path


def test_a_code_of_a_slurm_job_meets_the_profile_and_not_the_session(home: Path) -> None:
    """A profile that exports PYTHONHOME breaks every job: the doctor must meet it, too."""
    site = SiteSection(root=home, scheduler=SlurmQueue(prologue=("export PREPARED=1",)))
    out = said(
        site,
        Phase.TRAINING,
        ["sh", "-c", "echo $PWD,$PYTHONHOME,$PREPARED,$OMP_NUM_THREADS,$OF_SESSION"],
        home,
    )
    assert out.splitlines() == ["Loading python/3.9", f"{home},/no/such/python,1,1,"]


def test_words_come_through_as_they_are(home: Path) -> None:
    """Spaces, quotes and dollars are words of the command, and none of the shells'."""
    site = SiteSection(root=home, scheduler=SlurmQueue())
    out = said(site, Phase.TRAINING, ["printf", "%s|", "a b", "$HOME", "it's", ""], home)
    assert out.splitlines()[-1] == "a b|$HOME|it's||"


def test_tasks_without_a_job_run_as_the_queue_of_this_machine_runs_them(home: Path) -> None:
    """A login shell where there are preparations, and else none."""
    plain = SiteSection(root=home, scheduler=LocalQueue())
    assert as_a_task(plain, Phase.TRAINING, ["true"]) == ["true"]
    resources = {Phase.TRAINING: ResourcesSection(where=RunsOn.LOGIN)}
    login = SiteSection(root=home, scheduler=SlurmQueue(), resources=resources)
    assert as_a_task(login, Phase.TRAINING, ["true"]) == ["true"]
    prepared = SiteSection(root=home, scheduler=LocalQueue(prologue=("export PREPARED=1",)))
    assert (
        said(
            prepared, Phase.TRAINING, ["sh", "-c", "echo $PREPARED$OF_SESSION"], home
        ).splitlines()[-1]
        == "11"
    )
