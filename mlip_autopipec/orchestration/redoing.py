"""redoing: a campaign goes back to the begin of a phase, and does it again. Pure.

The past stays in the journal, and every file on the site. What is done again gets a cycle of its
own, with the data sets, the potential and the digests that were there before that phase; what came
of it and after it is set aside. So no task, job name or folder is ever used twice.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.machine import evolve, new_in
from mlip_autopipec.orchestration.strategies import summarise

_HOUR_S = 3600.0


@dataclass(slots=True)
class _Past:
    """What a journal says of the time before a phase, and after it."""

    then: WorkflowState | None = None
    now: WorkflowState = field(default_factory=WorkflowState)
    phases: list[tuple[int, Phase]] = field(default_factory=list)
    # by content: wanted then, or brought since
    added: dict[str, Structure] = field(default_factory=dict)
    ever_added: dict[str, Structure] = field(default_factory=dict)
    planned: set[str] = field(default_factory=set)  # of these, what had its calculation by then
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    after: list[Outcome] = field(default_factory=list)
    cpu_s: float = 0.0


def redone(
    events: Iterable[ev.Event], cycle: int, phase: Phase, *, at: datetime, by: ev.Actor, reason: str
) -> tuple[ev.PhaseRedone, tuple[str, ...]]:
    """The event that leads back to the begin of this phase, and what it means in words.

    Raises OperatorError if there was no such phase, or while jobs live.
    """
    past = _read(events, cycle, phase)
    now, then = past.now, past.then
    if then is None:
        begun = ", ".join(f"{each} of cycle {number}" for number, each in past.phases[-4:])
        raise OperatorError(
            f"no {phase} of cycle {cycle} has begun; the last ones were {begun or 'none'}"
        )
    if now.batches:
        live = sum(len(batch.live) for batch in now.batches.values())
        raise OperatorError(
            f"{live} attempts are at work: wait for them, or end them by autopipecctl cancel"
            " --all, then try again"
        )
    awaiting = [
        record.task for record in then.tasks.values() if record.task.phase is Phase.CALCULATION
    ]
    labels = tuple(
        ev.LateLabel(task=task, outcome=past.outcomes[task.id])
        for task in awaiting
        if task.id in past.outcomes
    )
    without = [
        item.file.sha256
        for task in awaiting
        if task.id not in past.outcomes
        for item in task.inputs
    ]
    unlabelled = {
        sha256: past.ever_added[sha256] for sha256 in without if sha256 in past.ever_added
    }
    event = ev.PhaseRedone(
        at=at,
        by=by,
        reason=reason,
        cycle=cycle,
        phase=phase,
        summary=summarise(now) if now.current_phase is not None else None,
        digests=tuple(then.digests.values()),
        potential=then.potential,
        datasets=then.datasets,
        measured=then.measured,
        halted=dict(then.halted),
        ladders=then.ladders,
        labels=labels,
        to_label=tuple((unlabelled | past.added).values()),
        labelled=tuple(sorted(past.planned - unlabelled.keys())),
    )
    return event, tuple(_lines(past, then, event))


def _read(events: Iterable[ev.Event], cycle: int, phase: Phase) -> _Past:
    past = _Past()
    for event in events:
        match event:
            case ev.StructuresAdded():
                brought = {each.file.sha256: each for each in new_in(past.now, event)[0]}
                past.added |= brought
                past.ever_added |= brought
            case ev.PhaseStarted():
                past.phases.append((event.cycle, event.phase))
                if (event.cycle, event.phase) == (cycle, phase):
                    past.then = past.now
                    past.added = {each.file.sha256: each for each in past.now.to_label}
                    past.planned = past.ever_added.keys() - past.added.keys()
            case ev.TaskEnded(outcome=Outcome(status="done") as outcome):
                past.outcomes[outcome.task] = outcome
                if past.then is not None:
                    past.after.append(outcome)
                    past.cpu_s += outcome.cpu_s
            case _:
                pass
        past.now = evolve(past.now, event)
    return past


def _lines(past: _Past, then: WorkflowState, event: ev.PhaseRedone) -> Iterable[str]:
    labels = sum(isinstance(outcome.metrics, CalculateMetrics) for outcome in past.after)
    last = past.now.cycle_index
    number = len(past.now.cycles) + (event.summary is not None)
    yield f"done again: {event.phase} of cycle {event.cycle} and what follows it, as cycle {number}"
    kept = f"{len(then.datasets)} data sets"
    promoted = (
        f"the potential of cycle {then.potential.cycle}" if then.potential else "no potential"
    )
    yield (
        f"kept: {kept}, {promoted}, {len(event.labels)} labels that no fit has read, and all files"
        " and events"
    )
    yield (
        f"set aside: what cycles {event.cycle} to {last} did from there on: {len(past.after)}"
        f" tasks, {labels} of them labels, {past.cpu_s / _HOUR_S:.2f} core-hours"
    )
    if event.to_label:
        yield f"labelled again: {len(event.to_label)} structures that people have added"


def same_work(before: WorkflowState, now: WorkflowState) -> bool:
    """Whether nothing has come between two looks that a way back would have to know of."""

    def mark(state: WorkflowState) -> tuple[object, ...]:
        ends = tuple(record.status for record in state.tasks.values())
        where = (
            state.cycle_index,
            state.current_phase,
            state.stage,
            state.era,
            state.batches_begun,
        )
        return *where, ends, state.to_label

    return mark(before) == mark(now)
