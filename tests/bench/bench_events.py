"""Events of a long campaign of no physics, in legal order: phases of many tasks, cycle by cycle."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from bench_rig import NO_FILE, NoWork, trained

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import CycleSummary, ExplorationDigest
from mlip_autopipec.data_models.ids import batch_name
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.orchestration.machine import FLOW
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config

CAMPAIGN = "bench-000000"
_AT = datetime(2026, 1, 1, tzinfo=UTC)
_ARRAY = 1000
_METRICS = GenerateMetrics(structures=(), environments={"Cu": 4}, redrawn=0)
_LABEL = CalculateMetrics(
    energy_ev=-1.0, n_atoms=64, force_max_ev_per_angstrom=1.0, pressure_gpa=0.1, settings="0" * 64
)


def campaign(tasks_per_phase: int) -> Iterator[ev.Event]:
    """Without end; nearly all of them say that a task has ended."""
    yield ev.CampaignCreated(
        at=_AT, campaign=CAMPAIGN, name="bench", version="0", config_sha256="0" * 64
    )
    cycle = 0
    while True:
        phase = FLOW[cycle == 0][None]
        while phase is not None:
            yield from _phase_begun(cycle, phase, NoWork(phase, tasks_per_phase).plan(_of(cycle)))
            yield from _phase_ended(cycle, phase, tasks_per_phase)
            phase = FLOW[cycle == 0][phase]
        yield ev.CycleClosed(
            at=_AT, summary=CycleSummary(cycle=cycle, bootstrap=cycle == 0, promoted=True)
        )
        cycle += 1


def campaign_in_selection(events: int, tasks_per_phase: int = 1000) -> Iterator[ev.Event]:
    """At least so many events, after which a Selection runs that the daemon can go on from."""
    for number, event in enumerate(campaign(tasks_per_phase)):
        yield event
        if number >= events and isinstance(event, ev.CycleClosed):
            cycle = event.summary.cycle + 1
            yield from _phase_begun(
                cycle, Phase.EXPLORATION, NoWork(Phase.EXPLORATION, 1).plan(_of(cycle))
            )
            yield from _phase_ended(cycle, Phase.EXPLORATION, 1)
            yield from _phase_begun(cycle, Phase.SELECTION, (_selection(cycle),))
            return


def _of(cycle: int) -> WorkflowState:
    """As much of a state as a plan asks for."""
    frames = ExplorationDigest(walkers=(), frames=(NO_FILE,))
    return WorkflowState(
        cycle_index=cycle, potential=trained(cycle).potential, digests={Phase.EXPLORATION: frames}
    )


def _selection(cycle: int) -> Task:
    (task,) = phase_runners(copper_config())[Phase.SELECTION].plan(_of(cycle))
    return task


def _phase_begun(cycle: int, phase: Phase, tasks: tuple[Task, ...]) -> Iterator[ev.Event]:
    """A phase whose tasks are all submitted and seen to run."""
    yield ev.PhaseStarted(at=_AT, cycle=cycle, phase=phase, tasks=tasks)
    for job_name, chunk in _batches(cycle, phase, tasks):
        yield ev.SubmissionBegun(at=_AT, job_name=job_name, tasks=tuple(task.id for task in chunk))
        yield ev.SubmissionAccepted(at=_AT, job_name=job_name, job_id=str(1 + cycle))
        running = (
            ev.Sighting(job_name=job_name, index=index, state=ev.JobState.RUNNING)
            for index in range(len(chunk))
        )
        yield ev.JobsSighted(at=_AT, sightings=tuple(running))


def _phase_ended(cycle: int, phase: Phase, number: int) -> Iterator[ev.Event]:
    runner, state = NoWork(phase, number), _of(cycle)
    for job_name, chunk in _batches(cycle, phase, runner.plan(state)):
        for index, task in enumerate(chunk):
            yield ev.TaskEnded(at=_AT, outcome=outcome(task, job_name, index))
    yield ev.PhaseEnded(at=_AT, cycle=cycle, digest=runner.digest(state))


def outcome(task: Task, job_name: str, index: int, selected: int = 0) -> Outcome:
    """As a label's is: one artefact, a few numbers; a Selection's names so many structures."""
    metrics = _metrics(task, selected)
    return Outcome(
        campaign=CAMPAIGN,
        task=task.id,
        job_name=job_name,
        index=index,
        job_id="4711",
        host="node01",
        kind=metrics.kind,
        status="done",
        metrics=metrics,
        artefacts={"label": FileRef(path=f"{task.workdir}/label.extxyz", sha256="0" * 64)},
        started_at=_AT,
        ended_at=_AT,
        wall_s=60.0,
        cpu_s=60.0,
    )


def _metrics(task: Task, selected: int) -> GenerateMetrics | SelectMetrics | CalculateMetrics:
    match task.parameters.kind:
        case "select":
            structures = (
                Structure(
                    file=FileRef(path=f"{task.workdir}/{number:05d}.extxyz", sha256="0" * 64),
                    role=Role.TRAIN,
                    origin=f"Cu fcc 300 K nvt #{number}",
                    n_atoms=64,
                    why="d_optimal",
                )
                for number in range(selected)
            )
            return SelectMetrics(
                structures=tuple(structures),
                frames=selected,
                below_window=0,
                too_short=0,
                duplicates=0,
                not_chosen=0,
            )
        case "calculate":
            return _LABEL
        case _:
            return _METRICS


def _batches(
    cycle: int, phase: Phase, tasks: tuple[Task, ...]
) -> Iterator[tuple[str, tuple[Task, ...]]]:
    rest = iter(tasks)
    number = 0
    while chunk := tuple(islice(rest, _ARRAY)):
        yield batch_name(CAMPAIGN, cycle, phase, number), chunk
        number += 1
