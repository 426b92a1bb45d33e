"""Aluminium on the cluster, to the verdict.

There are real pw.x labels of what real walkers met, over SSH and Slurm.
"""

import json
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase import Atoms
from kit.files import newest_run
from kit.lab import running_lab
from kit.lab_aluminium import aluminium_site

from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.journal.snapshot import load_state
from mlip_autopipec.work.structures import read_frames

pytestmark = [pytest.mark.lab, pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(1800)]

AUTOPIPECD = Path(sys.executable).with_name("autopipecd")
#: On two idle cores it takes three minutes.
CAMPAIGN_TIMEOUT_S = 1500


class Ran:
    """The campaign when it is over."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self.events = [record.event for record in read(folder / "journal")]
        self.tasks = {
            task.id: task
            for event in self.events
            if isinstance(event, ev.PhaseStarted)
            for task in event.tasks
        }
        self.outcomes = [event.outcome for event in self.events if isinstance(event, ev.TaskEnded)]

    def folder_of(self, task: Task) -> Path:
        """What the task left on the cluster."""
        return self.root / task.workdir

    def labels(self) -> list[Atoms]:
        """Every label of every data set."""
        return [
            label
            for path in sorted((self.root / "dataset").iterdir())
            for label in read_frames(path)
        ]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """The whole campaign, run once for every test here."""
    folder = tmp_path_factory.mktemp("aluminium")
    with running_lab() as lab:
        root = Path(lab["AUTOPIPEC_LAB_HOME"]) / f"aluminium-{uuid.uuid4().hex[:8]}"
        command: list[str | Path] = [
            AUTOPIPECD,
            "--config",
            aluminium_site(lab, root, folder),
            "--exit-on-verdict",
        ]
        daemon = subprocess.run(
            command, capture_output=True, text=True, timeout=CAMPAIGN_TIMEOUT_S, check=False
        )
        try:
            assert daemon.returncode == 0, daemon.stdout[-3000:] + daemon.stderr[-3000:]
            yield Ran(root, folder / "campaign")
        finally:
            shutil.rmtree(root, ignore_errors=True)


def test_it_converges(ran: Ran) -> None:
    """The verdict is in the journal, which replays to the state that the daemon left."""
    verdicts = [event.verdict for event in ran.events if isinstance(event, ev.VerdictReached)]
    assert verdicts == [Verdict.CONVERGED]
    state = replay(ran.folder / "journal")
    assert (state, state.check()) == (load_state(ran.folder / "state.json"), ())


def test_what_walkers_met_was_labelled(ran: Ran) -> None:
    """A walk of the first cycle met more γ than is quiet, and none of the last did.

    What was met is in the training set.
    """
    highest: dict[int, float] = {}
    endings: dict[int, list[Ending]] = {}
    for outcome in ran.outcomes:
        if isinstance(outcome.metrics, ExploreMetrics):
            cycle = ran.tasks[outcome.task].cycle
            endings.setdefault(cycle, []).append(outcome.metrics.ending)
            highest[cycle] = max(highest.get(cycle, 0.0), outcome.metrics.gamma_max)
    assert highest[max(highest)] < highest[min(highest)]
    assert set(endings[max(endings)]) == {Ending.COMPLETED}
    trained = [label.info["origin"] for label in ran.labels() if label.info["role"] == "train"]
    assert [origin for origin in trained if not origin.startswith("generated")]


def test_every_label_is_one_run_of_pw_that_a_person_can_look_at(ran: Ran) -> None:
    """Each says what pw.x was told, has its input and output beside it, and left no scratch."""
    labels = {label.info["task"]: label for label in ran.labels()}
    for outcome in ran.outcomes:
        if not isinstance(outcome.metrics, CalculateMetrics):
            continue
        folder = newest_run(ran.folder_of(ran.tasks[outcome.task]))
        assert outcome.metrics.tries[-1].ending == "converged"
        assert "JOB DONE" in (folder / "pw.out").read_text()
        assert "Al.pz-vbc.UPF" in (folder / "pw.in").read_text()
        assert not (folder / "scratch").exists()
        assert labels[outcome.task].get_potential_energy() == pytest.approx(
            outcome.metrics.energy_ev, abs=1e-6
        )
        assert labels[outcome.task].info["settings"] == outcome.metrics.settings


def test_all_labels_have_one_meaning(ran: Ran) -> None:
    """One fingerprint of the oracle's settings in the whole data set.

    It says pw.x and the pseudopotential.
    """
    (settings,) = {label.info["settings"] for label in ran.labels()}
    assert settings.startswith("pw.x ")
    assert "Al.pz-vbc.UPF" in settings


def test_the_report_has_what_the_tasks_left_on_the_cluster(ran: Ran) -> None:
    """Every frame's word and the parity of the fits were brought over SSH."""
    until = time.monotonic() + 300  # it may be drawn by a process that outlives the daemon
    while not (ran.folder / "report.html").exists():
        assert time.monotonic() < until
        time.sleep(1)
    page = (ran.folder / "report.html").read_text(encoding="utf-8")
    assert "Every frame of cycle" in page
    assert "Predicted against labelled energies" in page
    assert "The parity data of" not in page


def test_nothing_is_doubled_or_lost(ran: Ran) -> None:
    """Every task ended once and ran again for each attempt known to be lost; each batch is one job.

    Every candidate is in the data set once.
    """
    assert Counter(outcome.task for outcome in ran.outcomes) == Counter(list(ran.tasks))
    lost = [event for event in ran.events if isinstance(event, ev.AttemptLost)]
    batches = {
        event.job_name: event.tasks for event in ran.events if isinstance(event, ev.SubmissionBegun)
    }
    again = {f"{batches[event.job_name][event.index]} {event.job_name}" for event in lost}
    for task in ran.tasks.values():
        job_names = {
            claim.name.removeprefix("claim.") for claim in ran.folder_of(task).glob("claim.*")
        }
        assert (
            len([job_name for job_name in job_names if f"{task.id} {job_name}" not in again]) == 1
        ), (
            sorted(job_names),
            lost,
        )
        assert (
            json.loads((newest_run(ran.folder_of(task)) / "outcome.json").read_bytes())["task"]
            == task.id
        )
    jobs = [event.job_id for event in ran.events if isinstance(event, ev.SubmissionAccepted)]
    assert len(set(jobs)) == len(jobs)
    asked = [
        task.id for task in ran.tasks.values() if isinstance(task.parameters, CalculateParameters)
    ]
    assert Counter(label.info["task"] for label in ran.labels()) == Counter(asked)


def test_every_phase_was_a_job_of_the_cluster(ran: Ran) -> None:
    """All five phases ran in jobs that slurmctld gave a number."""
    phases = {ran.tasks[outcome.task].phase for outcome in ran.outcomes if outcome.job_id.isdigit()}
    assert phases == set(Phase)
