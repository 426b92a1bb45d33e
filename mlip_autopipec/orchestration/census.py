"""census: the tasks of one state, counted in one pass.

With 10,000 tasks a pass takes milliseconds, and all of decide, next_deadline, explain and the
answer to a status call ask of one and the same state; the next state differs from it in a few
records.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import compress
from operator import is_, is_not

from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.data_models.state import TaskRecord, TaskStatus, WorkflowState


@dataclass(frozen=True, slots=True)
class Census:
    """What there is to be known of all tasks together.

    Records stand in the order of `state.tasks`.
    """

    own: Mapping[TaskStatus, int]  # of the current phase of this cycle
    late: Mapping[TaskStatus, int]  # calculations of earlier rounds
    open: tuple[TaskRecord, ...]  # ready or failed
    given_up: tuple[TaskRecord, ...]  # of the current phase
    missing: tuple[TaskRecord, ...]  # submitted, and the scheduler shows them ended or not at all
    held: tuple[TaskRecord, ...]  # submitted, and will not start by themselves
    cancelled: tuple[TaskRecord, ...]  # submitted, and wanted no more
    # batch, and how the scheduler shows live attempts of it
    seen: Mapping[tuple[str | None, JobState | None], int]


#: The last state that was counted: a state never changes, and many ask of the current one.
_last: tuple[WorkflowState, Census] | None = None


def census(state: WorkflowState) -> Census:
    """The census of a state. Pure, but for remembering the last one."""
    global _last  # noqa: PLW0603 - a cache of one; two threads at worst both count
    last = _last
    if last is not None and last[0] is state:
        return last[1]
    counted = (last and _recount(*last, state)) or _count(state)
    _last = (state, counted)
    return counted


def _count(state: WorkflowState) -> Census:
    cycle, phase = state.cycle_index, state.current_phase
    done, submitted, quarantined = TaskStatus.DONE, TaskStatus.SUBMITTED, TaskStatus.QUARANTINED
    own = dict.fromkeys(TaskStatus, 0)
    late = own.copy()
    seen: dict[tuple[str | None, JobState | None], int] = {}
    begin: list[TaskRecord] = []
    given_up: list[TaskRecord] = []
    missing: list[TaskRecord] = []
    held: list[TaskRecord] = []
    cancelled: list[TaskRecord] = []
    for record in state.tasks.values():
        status, task = record.status, record.task
        is_own = task.cycle == cycle and task.phase is phase
        (own if is_own else late)[status] += 1
        if status is submitted:
            job_state = record.job_state
            shown = (record.job_name, job_state)
            seen[shown] = seen.get(shown, 0) + 1
            if record.missing_since is not None:
                missing.append(record)
            if job_state is JobState.HELD:
                held.append(record)
            if record.cancelled:
                cancelled.append(record)
        elif status is quarantined:
            if is_own:
                given_up.append(record)
        elif status is not done:
            begin.append(record)
    return Census(
        own,
        late,
        tuple(begin),
        tuple(given_up),
        tuple(missing),
        tuple(held),
        tuple(cancelled),
        seen,
    )


def _recount(before: WorkflowState, counted: Census, state: WorkflowState) -> Census | None:
    """The census of a state with the same tasks, some of which now run or are done.

    None where more has changed.
    """
    if (state.cycle_index, state.current_phase) != (before.cycle_index, before.current_phase):
        return None
    if len(before.tasks) != len(state.tasks) or not all(map(is_, before.tasks, state.tasks)):
        return None
    own, late, seen = dict(counted.own), dict(counted.late), dict(counted.seen)
    old, new = before.tasks.values(), state.tasks.values()
    for was, now in compress(zip(old, new, strict=True), map(is_not, old, new)):
        if _is_listed(was) or _is_listed(now):
            return None
        is_own = (now.task.cycle, now.task.phase) == (state.cycle_index, state.current_phase)
        counts = own if is_own else late
        for record, number in ((was, -1), (now, 1)):
            counts[record.status] += number
            if record.status is TaskStatus.SUBMITTED:
                shown = (record.job_name, record.job_state)
                seen[shown] = seen.get(shown, 0) + number
    return replace(
        counted,
        own=own,
        late=late,
        seen={shown: number for shown, number in seen.items() if number},
    )


def _is_listed(record: TaskRecord) -> bool:
    """Whether it stands in one of the lists of a census, or would."""
    if record.status is TaskStatus.SUBMITTED:
        return (
            record.missing_since is not None
            or record.job_state is JobState.HELD
            or record.cancelled
        )
    return record.status is not TaskStatus.DONE
