"""census: the tasks of one state, counted in one pass.

With 10,000 tasks a pass takes milliseconds, and all of decide, next_deadline, explain and the answer to a status call
ask of one and the same state.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.data_models.state import TaskRecord, TaskStatus, WorkflowState


@dataclass(frozen=True, slots=True)
class Census:
    """What there is to be known of all tasks together. Records stand in the order of `state.tasks`."""

    own: Mapping[TaskStatus, int]  # of the current phase of this cycle
    late: Mapping[TaskStatus, int]  # calculations of earlier rounds
    open: tuple[TaskRecord, ...]  # ready or failed
    given_up: tuple[TaskRecord, ...]  # of the current phase
    missing: tuple[TaskRecord, ...]  # submitted, and the scheduler shows them ended or not at all
    held: tuple[TaskRecord, ...]  # submitted, and will not start by themselves
    seen: Mapping[str | None, Mapping[JobState | None, int]]  # batch → how the scheduler shows its live attempts


#: The last state that was counted: a state never changes, and many ask of the current one.
_last: tuple[WorkflowState, Census] | None = None


def census(state: WorkflowState) -> Census:
    """The census of a state. Pure, but for remembering the last one."""
    global _last  # noqa: PLW0603 - a cache of one; two threads at worst both count
    last = _last
    if last is not None and last[0] is state:
        return last[1]
    counted = _count(state)
    _last = (state, counted)
    return counted


def _count(state: WorkflowState) -> Census:
    cycle, phase = state.cycle_index, state.current_phase
    done, submitted, quarantined = TaskStatus.DONE, TaskStatus.SUBMITTED, TaskStatus.QUARANTINED
    own = dict.fromkeys(TaskStatus, 0)
    late = own.copy()
    seen: dict[str | None, dict[JobState | None, int]] = {}
    begin: list[TaskRecord] = []
    given_up: list[TaskRecord] = []
    missing: list[TaskRecord] = []
    held: list[TaskRecord] = []
    for record in state.tasks.values():
        status, task = record.status, record.task
        is_own = task.cycle == cycle and task.phase is phase
        (own if is_own else late)[status] += 1
        if status is submitted:
            job_state = record.job_state
            counts = seen.get(record.uid) or seen.setdefault(record.uid, {})
            counts[job_state] = counts.get(job_state, 0) + 1
            if record.missing_since is not None:
                missing.append(record)
            elif job_state is JobState.HELD:
                held.append(record)
        elif status is quarantined:
            if is_own:
                given_up.append(record)
        elif status is not done:
            begin.append(record)
    return Census(own, late, tuple(begin), tuple(given_up), tuple(missing), tuple(held), seen)
