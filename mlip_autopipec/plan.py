"""`autopipecctl plan`: labels, jobs, core-hours and disk, before a start and while a campaign runs.

What is counted, what is bounded and what is estimated are kept apart, and each figure says which it
is. A campaign ends when it is right, so nobody knows the number of its cycles beforehand: the
bounds of `convergence` are told.
"""

from collections.abc import Iterator, Sequence
from math import ceil
from statistics import median
from textwrap import wrap
from typing import Literal

from pydantic import AwareDatetime, Field

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.oracle import oracle_code
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.control.task_screen import asked_text
from mlip_autopipec.control.tasks import TaskBook
from mlip_autopipec.data_models.base import Model, Phase
from mlip_autopipec.data_models.state import TaskStatus
from mlip_autopipec.orchestration.needs import RANDOM_MAX
from mlip_autopipec.preview import FOR_PROPERTIES, Sizes
from mlip_autopipec.telling.words import count, figures3

_HOUR_S = 3600.0
_MIB = 2**20
#: Bytes of an atom in a dump of LAMMPS (id, type, positions, velocities, γ), of which there is one
#: at each look at γ.
_DUMP_BYTES = 95
#: Of an atom in a frame that Selection reads, of which there are `pool_frames`.
_FRAME_BYTES = 140
#: A task's folder with all that lies in it beside trajectories: script, outcome, log.
_TASK_MIB = 0.04
#: Durations that an estimate rests on: the latest of their phase.
_MEASURED_MAX = 200
#: Cycles that one to come is taken to be like.
_CYCLES_LIKE = 3


class PlannedPhase(Model):
    """One phase of a cycle."""

    phase: Phase
    tasks: int = Field(ge=0, description="a bound in cycles to come")
    jobs: int = Field(
        ge=0, description="submissions, if none is made again; more where a queue is kept short"
    )
    asked: Resources = Field(description="by each task")
    core_hours_max: float = Field(ge=0, description="all tasks for the whole of their walltime")
    disk_mib: float = Field(ge=0, description="rough, by formula")
    description: str = Field(alias="words", default="", description="what the tasks are")


class PhaseSoFar(Model):
    """What a phase has taken in all cycles so far, by the journal, and what is due of it now."""

    phase: Phase
    done: int = Field(ge=0)
    due: int = Field(ge=0, description="tasks that are planned and not over")
    attempts: int = Field(ge=0, description="that ran")
    core_hours: float = Field(
        ge=0, description="measured: wall time of attempts by their cores; lost ones left none"
    )
    core_hours_vain: float = Field(ge=0, description="of those, by attempts that gave no result")
    task_s: float | None = Field(
        description="median wall time of the latest tasks; null: none is done"
    )
    measured: int = Field(ge=0, description="tasks that the median is of")
    core_hours_due: float | None = Field(
        description="estimated: what is due, at the median; null: nothing to go by"
    )


class Plan(Model):
    """What `autopipecctl plan` answers."""

    version: Literal[1] = 1
    campaign: str
    started: bool
    bootstrap: tuple[PlannedPhase, ...]
    cycle: tuple[PlannedPhase, ...] = Field(description="each later cycle, at most")
    cycles_min: int = Field(description="later cycles, if everything is quiet at once")
    cycles_max: int = Field(description="later cycles until the budget is exhausted")
    labels_max: int = Field(description="in all, at most")
    so_far: tuple[PhaseSoFar, ...] = Field(default=(), description="empty before a start")
    cycles_done: int = Field(default=0, description="later cycles that have closed")
    labels_done: int = 0
    cycle_core_hours: float | None = Field(
        default=None,
        description="estimated: of a cycle to come, as the last ones were; null: none has closed",
    )
    cycle_labels: float | None = Field(default=None, description="the same")
    disk_used_mib: float | None = Field(
        default=None, description="measured; null: the site is not this machine"
    )
    notes: tuple[str, ...] = Field(
        description="what is counted, bounded and estimated, and from what"
    )
    seq: int | None = Field(default=None, description="journal sequence number that this shows")
    at: AwareDatetime | None = None


def plan_of(
    config: WorkflowConfig,
    sizes: Sizes,
    book: TaskBook | None = None,
    disk_used_mib: float | None = None,
) -> Plan:
    """The plan of a site file; with what its journal tells, where there is one. Pure."""
    bootstrap = tuple(_bootstrap(config, sizes))
    cycle = tuple(_cycle(config, sizes))
    rules = config.convergence
    labels = {part.phase: part.tasks for part in bootstrap}[Phase.CALCULATION]
    each = {part.phase: part.tasks for part in cycle}[Phase.CALCULATION]
    labels_max = labels + each * rules.cycles_max
    if rules.labels_max is not None:  # the cycle that reaches it is ended first
        labels_max = min(labels_max, max(labels, rules.labels_max - 1 + each))
    plan = Plan(
        campaign=config.campaign.name,
        started=False,
        bootstrap=bootstrap,
        cycle=cycle,
        cycles_min=rules.quiet_cycles,
        cycles_max=rules.cycles_max,
        labels_max=labels_max,
        disk_used_mib=disk_used_mib,
        notes=_notes(config, None),
    )
    if book is None or book.at is None:
        return plan
    so_far = tuple(_so_far(book))
    closed = [summary for summary in book.state.cycles if not summary.bootstrap]
    like = closed[-_CYCLES_LIKE:]
    update: dict[str, object] = {
        "campaign": book.state.campaign,
        "started": True,
        "so_far": so_far,
        "cycles_done": len(closed),
        "labels_done": sum(cycle.labels_train + cycle.labels_test for cycle in book.state.cycles),
        "notes": _notes(config, len(like)),
        "seq": book.state.seq,
        "at": book.at,
    }
    if like:
        hours = [sum(spent for _, spent in _spent(book, cycle=summary.cycle)) for summary in like]
        update["cycle_core_hours"] = sum(hours) / len(hours)
        update["cycle_labels"] = sum(
            summary.labels_train + summary.labels_test for summary in like
        ) / len(like)
    return plan.model_copy(update=update)


# --- before ---------------------------------------------------------------------------------------


def _bootstrap(config: WorkflowConfig, sizes: Sizes) -> Iterator[PlannedPhase]:
    text = ", ".join(f"{number} {what}" for what, number in sizes.labels.items() if number)
    yield _phase(config, Phase.GENERATION, 1, "structures to begin with")
    labels, first = sum(sizes.labels.values()), sizes.labels.get(FOR_PROPERTIES, 0)
    # they are waited for before the others begin
    first = first if config.calculation.first_labels.check else 0
    part = _phase(config, Phase.CALCULATION, labels, text)
    yield part.model_copy(update={"jobs": _jobs(config, first) + _jobs(config, labels - first)})
    yield _phase(config, Phase.TRAINING, 1, "the first fit")


def _cycle(config: WorkflowConfig, sizes: Sizes) -> Iterator[PlannedPhase]:
    """At most: every stage is open, the batch is full, and each condition lacks all its audits."""
    section, needs = config.selection, config.convergence.needs
    walkers, conditions, disk_mib = 0, 0, 0.0
    for group, atoms in zip(config.exploration.walkers, sizes.walker_atoms, strict=True):
        for stage in group.ladder():
            number = len(stage.conditions)
            walkers += number
            conditions += number // stage.replicas
            looks = stage.steps / config.exploration.stride
            frames = config.exploration.pool_frames
            disk_mib += number * atoms * (looks * _DUMP_BYTES + frames * _FRAME_BYTES) / _MIB
    audits = max(section.audit, conditions * needs.audits_min if needs is not None else 0)
    yield _phase(
        config, Phase.EXPLORATION, walkers, f"walkers in {count(conditions, 'condition')}", disk_mib
    )
    yield _phase(config, Phase.SELECTION, 1, "choice of frames")
    more = RANDOM_MAX if needs is not None else 0
    text = f"{section.candidates_max} to train on, {audits} to test" + (
        f", {more} at random where exploration is quiet and a need is missed" if more else ""
    )
    yield _phase(config, Phase.CALCULATION, section.candidates_max + audits + more, text)
    yield _phase(config, Phase.TRAINING, 1, "a fit, and the gate")


def _phase(
    config: WorkflowConfig, phase: Phase, tasks: int, description: str, disk_mib: float = 0.0
) -> PlannedPhase:
    asked = config.site.resources_of(phase)
    if phase is Phase.CALCULATION:
        disk_mib += tasks * oracle_code(config.calculation.oracle.kind).disk_mib
    return PlannedPhase(
        phase=phase,
        tasks=tasks,
        jobs=_jobs(config, tasks),
        asked=asked,
        core_hours_max=tasks * _cores(asked) * asked.walltime_s / _HOUR_S,
        disk_mib=disk_mib + tasks * _TASK_MIB,
        description=description,
    )


def _jobs(config: WorkflowConfig, tasks: int) -> int:
    """Submissions of so many tasks that are ready together; with `queued_max`, at the least."""
    scheduler = config.site.scheduler
    bounds = [
        bound for bound in (scheduler.batch_tasks_max(), scheduler.tasks_max()) if bound is not None
    ]
    return ceil(tasks / max(min([*bounds, tasks]), 1))


def _cores(asked: Resources) -> int:
    return asked.cores * asked.ranks


# --- while it runs --------------------------------------------------------------------------------


def _so_far(book: TaskBook) -> Iterator[PhaseSoFar]:
    for phase in Phase:
        names = [name for name, record in book.records.items() if record.task.phase is phase]
        if not names:
            continue
        ran = [
            attempt
            for name in names
            for attempt in book.attempts.get(name, ())
            if attempt.wall_s is not None
        ]
        spent = [
            (attempt.ending, attempt.wall_s * _cores(attempt.asked) / _HOUR_S)
            for attempt in ran
            if attempt.wall_s
        ]
        took = [
            attempt.wall_s
            for attempt in ran
            if attempt.ending == "done" and attempt.wall_s is not None
        ]
        due = [book.record(name) for name in names if name in book.state.tasks]
        due = [
            record
            for record in due
            if record.status not in {TaskStatus.DONE, TaskStatus.QUARANTINED}
        ]
        task_s = median(took[-_MEASURED_MAX:]) if took else None
        hours_due = [(task_s or 0.0) * _cores(record.task.resources) / _HOUR_S for record in due]
        yield PhaseSoFar(
            phase=phase,
            done=sum(book.record(name).status is TaskStatus.DONE for name in names),
            due=len(due),
            attempts=len(ran),
            core_hours=sum(hours for _, hours in spent),
            core_hours_vain=sum(hours for ending, hours in spent if ending != "done"),
            task_s=task_s,
            measured=min(len(took), _MEASURED_MAX),
            core_hours_due=sum(hours_due) if task_s is not None or not due else None,
        )


def _spent(book: TaskBook, cycle: int) -> Iterator[tuple[str, float]]:
    for name, record in book.records.items():
        if record.task.cycle == cycle:
            for attempt in book.attempts.get(name, ()):
                if attempt.wall_s is not None:
                    yield name, attempt.wall_s * _cores(attempt.asked) / _HOUR_S


# --- as a person reads it -------------------------------------------------------------------------


def _notes(config: WorkflowConfig, like: int | None) -> tuple[str, ...]:
    rules = config.convergence
    notes = [
        "Tasks of the bootstrap are counted; those of later cycles are bounds.",
        (
            "Core-hours 'at most' are what jobs may use: their cores for the whole of their"
            " walltime. That is a bound."
        ),
        (
            "Disk is rough, by formula: γ's dumps of the walkers, and small files for each task."
            " Nothing is deleted."
        ),
    ]
    if rules.labels_max is None:
        notes.append("convergence.labels_max would be a fuse; there is none.")
    if like is None:
        notes.append("Nothing has been measured yet: no core-hours are estimated.")
    else:
        notes.append(
            "Core-hours 'used' are measured; attempts that left no outcome are not in them. What"
            f" is due is estimated at the median of the latest {_MEASURED_MAX} tasks of its phase."
        )
        notes.append(
            f"A cycle to come is taken to be as the last {like} were, which later ones need not be."
            if like
            else "No later cycle has closed: there is nothing to estimate a cycle by."
        )
    return tuple(notes)


def plan_lines(plan: Plan, width: int | None) -> Iterator[str]:
    """Plain lines, folded to `width` columns; None: not folded."""
    if plan.at is not None:
        yield f"{plan.campaign}, as of event {plan.seq}, {plan.at:%Y-%m-%d %H:%M:%S} UTC"
        yield from _so_far_lines(plan, width)
        yield ""
    else:
        yield f"{plan.campaign}: before a start"
    yield from _planned_lines(
        "the bootstrap" + (" (as planned)" if plan.started else ""), plan.bootstrap, width
    )
    yield from _planned_lines("each later cycle, at most", plan.cycle, width)
    bounds = (
        f"later cycles: {plan.cycles_min} at the least, {plan.cycles_max} at most;"
        f" labels in all: at most {plan.labels_max}"
    )
    yield from _folded(bounds, width)
    yield ""
    for note in plan.notes:
        yield from _folded(f"- {note}", width)


def _so_far_lines(plan: Plan, width: int | None) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("phase", "done", "due", "each", "used", "in vain", "to come")]
    rows += [
        (
            str(part.phase),
            str(part.done),
            str(part.due),
            f"{figures3(part.task_s)} s" if part.task_s is not None else "–",
            _hours(part.core_hours),
            _hours(part.core_hours_vain),
            _hours(part.core_hours_due)
            if part.due and part.core_hours_due is not None
            else "?"
            if part.due
            else "–",
        )
        for part in plan.so_far
    ]
    yield from _table(rows)
    yield "(used, in vain, to come: core-hours; to come is estimated)"
    disk = (
        f"; {figures3(plan.disk_used_mib)} MiB on disk (measured)"
        if plan.disk_used_mib is not None
        else ""
    )
    yield from _folded(
        f"{plan.cycles_done} later cycles, {plan.labels_done} labels learned from{disk}", width
    )
    if plan.cycle_core_hours is not None and plan.cycle_labels is not None:
        each = (
            f"about {_hours(plan.cycle_core_hours)} core-hours and {plan.cycle_labels:.0f} labels"
            " (estimated)"
        )
        yield from _folded(f"another cycle: {each}", width)


def _planned_lines(title: str, parts: Sequence[PlannedPhase], width: int | None) -> Iterator[str]:
    yield f"{title}:"
    rows: list[tuple[str, ...]] = [("phase", "tasks", "jobs", "core-hours at most", "disk")]
    rows += [
        (
            str(part.phase),
            str(part.tasks),
            str(part.jobs),
            _hours(part.core_hours_max),
            f"{figures3(part.disk_mib)} MiB",
        )
        for part in parts
    ]
    hours, disk = sum(part.core_hours_max for part in parts), sum(part.disk_mib for part in parts)
    rows.append(
        (
            "together",
            str(sum(part.tasks for part in parts)),
            str(sum(part.jobs for part in parts)),
            _hours(hours),
            f"{figures3(disk)} MiB",
        )
    )
    yield from _table(rows)
    for part in parts:
        yield from _folded(
            f"  {part.phase}: {part.description}; each asks for {asked_text(part.asked)}", width, 4
        )


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"  {'  '.join([first, *rest])}"


def _folded(text: str, width: int | None, margin: int = 2) -> Iterator[str]:
    if width is None:
        yield text
    else:
        yield from wrap(
            text, max(width, 20), subsequent_indent=" " * margin, break_on_hyphens=False
        )


def _hours(hours: float) -> str:
    return figures3(hours)
