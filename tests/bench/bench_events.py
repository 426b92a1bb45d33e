"""The events of a long campaign of no physics, in a legal order: phases of many tasks, cycle after cycle."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from bench_rig import NoWork

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import FileRef, Phase
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.ids import batch_uid
from mlip_autopipec.data_models.outcome import GenerateMetrics, Outcome
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.orchestration.machine import FLOW

CAMPAIGN = "bench-000000"
_AT = datetime(2026, 1, 1, tzinfo=UTC)
_ARRAY = 1000
_METRICS = GenerateMetrics(structures=(), environments={"Cu": 4}, redrawn=0)


def campaign(tasks_per_phase: int) -> Iterator[ev.Event]:
    """Without end; nearly all of them say that a task has ended."""
    yield ev.CampaignCreated(at=_AT, campaign=CAMPAIGN, name="bench", version="0", config_sha256="0" * 64)
    cycle = 0
    while True:
        phase = FLOW[cycle == 0][None]
        while phase is not None:
            yield from phase_begun(cycle, phase, tasks_per_phase)
            yield from _phase_ended(cycle, phase, tasks_per_phase)
            phase = FLOW[cycle == 0][phase]
        yield ev.CycleClosed(at=_AT, summary=CycleSummary(cycle=cycle, bootstrap=cycle == 0, promoted=True))
        cycle += 1


def campaign_with_live_tasks(events: int, live: int, tasks_per_phase: int = 1000) -> Iterator[ev.Event]:
    """At least so many events, the last of which begin a phase with so many running attempts."""
    for number, event in enumerate(campaign(tasks_per_phase)):
        yield event
        if number >= events and isinstance(event, ev.CycleClosed):
            yield from phase_begun(event.summary.cycle + 1, Phase.EXPLORATION, live)
            return


def phase_begun(cycle: int, phase: Phase, number: int) -> Iterator[ev.Event]:
    """A phase whose tasks are all submitted and seen to run."""
    tasks = NoWork(phase, number).plan(WorkflowState(cycle_index=cycle))
    yield ev.PhaseStarted(at=_AT, cycle=cycle, phase=phase, tasks=tasks)
    for uid, chunk in _batches(cycle, phase, tasks):
        yield ev.SubmissionBegun(at=_AT, uid=uid, tasks=tuple(task.id for task in chunk))
        yield ev.SubmissionAccepted(at=_AT, uid=uid, job_id=str(1 + cycle))
        running = (ev.Sighting(uid=uid, index=index, state=ev.JobState.RUNNING) for index in range(len(chunk)))
        yield ev.JobsSighted(at=_AT, sightings=tuple(running))


def _phase_ended(cycle: int, phase: Phase, number: int) -> Iterator[ev.Event]:
    runner = NoWork(phase, number)
    state = WorkflowState(cycle_index=cycle)
    for uid, chunk in _batches(cycle, phase, runner.plan(state)):
        for index, task in enumerate(chunk):
            yield ev.TaskEnded(at=_AT, outcome=outcome(task, uid, index))
    yield ev.PhaseEnded(at=_AT, cycle=cycle, digest=runner.digest(state))


def outcome(task: Task, uid: str, index: int) -> Outcome:
    """As a label's is: one artefact, a few numbers."""
    return Outcome(
        campaign=CAMPAIGN,
        task=task.id,
        uid=uid,
        index=index,
        job_id="4711",
        host="node01",
        kind="generate",
        status="done",
        metrics=_METRICS,
        artefacts={"label": FileRef(path=f"{task.workdir}/label.extxyz", sha256="0" * 64)},
        started_at=_AT,
        ended_at=_AT,
        wall_s=60.0,
        cpu_s=60.0,
    )


def _batches(cycle: int, phase: Phase, tasks: tuple[Task, ...]) -> Iterator[tuple[str, tuple[Task, ...]]]:
    rest = iter(tasks)
    number = 0
    while chunk := tuple(islice(rest, _ARRAY)):
        yield batch_uid(CAMPAIGN, cycle, phase, number), chunk
        number += 1
