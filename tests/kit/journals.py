"""What the journal's tests share: a short legal story, and ways to write it down."""

import asyncio
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.ids import batch_name
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.task import make_task
from mlip_autopipec.journal.journal import FileJournal

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CAMPAIGN = "copper-3f9a1c"
CREATED = ev.CampaignCreated(
    at=NOW, campaign=CAMPAIGN, name="copper", version="0.1.0", config_sha256="c" * 64
)
ACTOR = ev.Actor(uid=1000, pid=4242, name="ada")


@cache
def story() -> tuple[ev.Event, ...]:
    """Two tasks from submission to end, with a pause and a site that went away between."""
    tasks = tuple(
        make_task(0, Phase.GENERATION, index, _generate(seed=index)) for index in range(2)
    )
    job_name = batch_name(CAMPAIGN, 0, Phase.GENERATION, 0)
    sighting = ev.Sighting(job_name=job_name, index=0, state=ev.JobState.RUNNING, detail="n01")
    return (
        CREATED,
        ev.DaemonStarted(
            at=NOW,
            version="0.1.0",
            host="login",
            pid=7,
            config_sha256="c" * 64,
            payload_sha256="d" * 64,
        ),
        ev.SitePrepared(at=NOW, array_tasks_max=1000),
        ev.PhaseStarted(at=NOW, cycle=0, phase=Phase.GENERATION, tasks=tasks),
        ev.SubmissionBegun(at=NOW, job_name=job_name, tasks=tuple(task.id for task in tasks)),
        ev.SubmissionUnclear(
            at=NOW, job_name=job_name, message="Socket timed out\non send/recv operation"
        ),
        ev.EffectDeferred(
            at=NOW, subject=f"batch:{job_name}", message="γ ≥ 1", until=NOW + timedelta(seconds=30)
        ),
        ev.SubmissionAccepted(at=NOW, job_name=job_name, job_id="1234", adopted=True),
        ev.JobsSighted(at=NOW, sightings=(sighting,)),
        ev.Paused(at=NOW, by=ACTOR, reason="lunch"),
        ev.TaskEnded(at=NOW, outcome=_outcome(tasks[0].id, job_name)),
        ev.SiteChanged(at=NOW, health=ev.SiteHealth.DEGRADED, message="no route to host"),
        ev.AttemptLost(
            at=NOW, job_name=job_name, index=1, reason=Reason.NODE_FAILURE, message="n02 is down"
        ),
        ev.ClockStepped(at=NOW, by_s=-1.5),
        ev.OrphansSeen(
            at=NOW,
            jobs=(
                ev.QueuedJob(job_name="cu-1.c000.training.b00", job_id="9", detail="RUNNING on n1"),
            ),
        ),
        ev.Resumed(at=NOW, by=ACTOR),
    )


def memory_folder() -> tempfile.TemporaryDirectory[str]:
    """A new folder, in memory if the machine has such a file system, for thousands of journals."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - only through tempfile
    return tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None)


def note(number: int) -> ev.DaemonStopped:
    """An event that every state but the empty one allows, with a number to know it by."""
    return ev.DaemonStopped(at=NOW, why=str(number))


def no_sync(_: int) -> None:
    """Leave the disk alone: for tests that are about bytes only."""


def open_journal(folder: Path) -> tuple[FileJournal, WorkflowState]:
    """Open without syncing records."""
    return FileJournal.open(folder, now=NOW, sync=no_sync)


async def open_and_close(folder: Path) -> WorkflowState:
    """Open, repair if need be, close; the state."""
    journal, state = open_journal(folder)
    await journal.close()
    return state


async def append_each(
    folder: Path, events: Iterable[ev.Event], *, segment_bytes_max: int = 2**20
) -> None:
    """A journal with these events, each appended by itself."""
    journal, _ = FileJournal.open(
        folder, now=NOW, sync=no_sync, segment_bytes_max=segment_bytes_max
    )
    for event in events:
        await journal.append([event])
    await journal.close()


def reopen(folder: Path) -> WorkflowState:
    """`open_and_close` for a test without a loop."""
    return asyncio.run(open_and_close(folder))


def write_journal(
    folder: Path, events: Iterable[ev.Event], *, segment_bytes_max: int = 2**20
) -> None:
    """`append_each` for a test without a loop."""
    asyncio.run(append_each(folder, events, segment_bytes_max=segment_bytes_max))


def segments(folder: Path) -> list[Path]:
    """The segment files in order."""
    return sorted(folder.glob("journal-*.jsonl"))


def _generate(seed: int) -> GenerateParameters:
    return GenerateParameters(
        prototypes=(),
        structures=1,
        test_structures=0,
        strain_max=0.05,
        rattle_angstrom=(0.1,),
        distance_min_angstrom=1.5,
        seed=seed,
    )


def _outcome(task: str, job_name: str) -> Outcome:
    return Outcome(
        campaign=CAMPAIGN,
        task=task,
        job_name=job_name,
        index=0,
        job_id="1234",
        host="n01",
        kind="generate",
        status="done",
        metrics=GenerateMetrics(structures=(), environments={"Cu": 108}, redrawn=0),
        artefacts={"log": FileRef(path="cycles/000/log", sha256="e" * 64)},
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=2),
        wall_s=2.0,
        cpu_s=0.1 + 0.2,
    )
