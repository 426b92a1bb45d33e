"""decide: what to do now, from what is. Level-triggered: how things stand, not what just happened.

The shell runs each command whose subject has nothing in flight, so decide may ask for the same
thing again and again until the event arrives that ends it. It reads no clock: `now` comes in, and
`next_deadline` says until when nothing would change by waiting.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from mlip_autopipec.data_models.base import Phase, RunsOn, Verdict
from mlip_autopipec.data_models.commands import (
    BeginBatch,
    CancelAttempts,
    CloseCycle,
    Command,
    DigestPhase,
    DoubtOracle,
    InquireAttempt,
    LocateBatch,
    PauseCampaign,
    PlanPhase,
    PrepareSite,
    QuarantineTask,
    ReachVerdict,
    RefuseDataset,
    SubmitBatch,
)
from mlip_autopipec.data_models.ids import batch_name
from mlip_autopipec.data_models.state import (
    Batch,
    BatchStatus,
    Stage,
    TaskRecord,
    TaskStatus,
    WorkflowState,
)
from mlip_autopipec.orchestration.adoption import check_tasks, refusal
from mlip_autopipec.orchestration.census import census
from mlip_autopipec.orchestration.first_labels import check, contradiction, property_tasks
from mlip_autopipec.orchestration.machine import (
    ENDED,
    ROW_MAX,
    alone,
    complaint_of,
    unknown_attempts,
)
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.strategies import (
    closed,
    is_phase_over,
    may_try_again,
    next_phase,
    quorum_lost,
    resources_for,
    round_deadline,
    verdict_of,
)

#: A queue that is full is filled up again when this part of it is free: not with an sbatch for each
#: task that ends.
_ROOM_PARTS = 4
#: So many tasks are given up at a time; the rest is due when these are.
_GIVEN_UP_AT_A_TIME_MAX = 100
#: What becomes of such a task is still to come.
_UNDECIDED = frozenset({TaskStatus.READY, TaskStatus.SUBMITTED})


def decide(state: WorkflowState, policy: Policy, now: datetime) -> tuple[Command, ...]:
    """Every command that is due. Pure; deferred subjects are left out."""
    commands = (*_follow_up(state, policy, now), *_go_on(state, policy, now))
    return tuple(command for command in commands if not _deferred(state, command.subject, now))


def next_deadline(state: WorkflowState, policy: Policy, now: datetime) -> datetime | None:
    """The first moment after `now` at which decide may answer otherwise; None: never.

    This is with no event in between.
    """
    moments = [deferral.until for deferral in state.deferrals.values()]
    moments += [
        record.missing_since + policy.grace
        for record in census(state).missing
        if record.missing_since is not None
    ]
    if closes_at := round_deadline(state, policy):
        moments.append(closes_at)
    if state.trouble is not None:
        moments.append(state.trouble.until)
    return min((moment for moment in moments if moment > now), default=None)


def _follow_up(state: WorkflowState, policy: Policy, now: datetime) -> Iterator[Command]:
    """See to what has been submitted, also after the verdict and while paused.

    Looking is always allowed.
    """
    if not state.site_prepared and state.stage in {Stage.BETWEEN, Stage.WORKING}:
        yield PrepareSite()
    complaint = complaint_of(state)
    if complaint and state.pause is None and state.stage in {Stage.BETWEEN, Stage.WORKING}:
        yield PauseCampaign(reason=complaint)
    missing: dict[str | None, list[TaskRecord]] = {}
    for record in census(state).missing:
        missing.setdefault(record.job_name, []).append(record)
    for batch in state.batches.values():
        # an outcome proves that the scheduler has it
        overtaken = len(batch.live) < len(batch.tasks)
        if batch.status is BatchStatus.UNCLEAR or (batch.status is BatchStatus.BEGUN and overtaken):
            yield LocateBatch(job_name=batch.job_name)
        elif batch.status is BatchStatus.BEGUN and _may_submit(state, now):
            yield SubmitBatch(job_name=batch.job_name)
        elif batch.status is BatchStatus.BEGUN and state.stage is Stage.ENDED:
            # its answer went down with a daemon, and nothing is submitted any more
            yield LocateBatch(job_name=batch.job_name)
        yield from _inquire(batch, missing.get(batch.job_name, []), policy, now)
    yield from _cancel(state)


def _cancel(state: WorkflowState) -> Iterator[Command]:
    """End what a person wants no more, as soon as the scheduler is known to have it."""
    unwanted: dict[str, list[int]] = {}
    for record in census(state).cancelled:
        if record.job_name is not None and record.index is not None:
            unwanted.setdefault(record.job_name, []).append(record.index)
    for job_name, indices in unwanted.items():
        batch = state.batches.get(job_name)
        if batch is not None and batch.status is BatchStatus.ACCEPTED:
            yield CancelAttempts(job_name=job_name, indices=tuple(sorted(indices)))


def _inquire(
    batch: Batch, missing: list[TaskRecord], policy: Policy, now: datetime
) -> Iterator[Command]:
    """Ask after the attempts of this batch that have been missing for too long."""
    due = {
        record.index
        for record in missing
        if record.missing_since and now >= record.missing_since + policy.grace
    }
    for index in sorted(batch.live & due):
        yield InquireAttempt(job_name=batch.job_name, index=index)


def _go_on(state: WorkflowState, policy: Policy, now: datetime) -> Iterator[Command]:
    match state.stage:
        case Stage.WORKING:
            yield from _work(state, policy, now)
        case Stage.BETWEEN:
            yield _between(state, policy)
        case Stage.EMPTY | Stage.ENDED:
            return


def _work(state: WorkflowState, policy: Policy, now: datetime) -> Iterator[Command]:
    attempts_max, failed = policy.convergence.attempts_max, TaskStatus.FAILED
    open_tasks: list[TaskRecord] = []
    given_up: list[TaskRecord] = []
    again = _tried_all_the_same(state)
    for record in census(state).open:
        is_over = (
            record.status is failed
            and not may_try_again(record, attempts_max)
            and record.task.id not in again
        )
        (given_up if is_over else open_tasks).append(record)
    doubtful = _in_doubt(state)
    for record in given_up[:_GIVEN_UP_AT_A_TIME_MAX]:
        if record.task.id in doubtful and not record.cancelled:
            continue
        yield QuarantineTask(task=record.task.id, message=record.failures[-1].message)
    if lost := quorum_lost(state, policy.convergence.quorum):
        yield ReachVerdict(verdict=Verdict.FAILED, reason=lost)
    elif refused := refusal(state, policy.dataset):
        if state.pause is None:
            yield RefuseDataset(reason=refused)
    elif is_phase_over(state, policy, now):
        yield DigestPhase(cycle=state.cycle_index, phase=_phase(state))
    elif open_tasks:
        yield from _begin_open(state, open_tasks, policy, now)


def _begin_open(
    state: WorkflowState, open_tasks: list[TaskRecord], policy: Policy, now: datetime
) -> Iterator[Command]:
    """The next batch.

    The first labels check the oracle, and the user's; what they say comes before the rest.
    """
    section = policy.first_labels
    first = property_tasks(state) if section.check and state.doubt is None else {}
    before = {**first, **check_tasks(state)}
    if any(record.status not in ENDED for record in before.values()):
        open_tasks = [record for record in open_tasks if record.task.id in before]
    elif first:
        checked = check(state, section)
        if reason := contradiction(checked):
            yield DoubtOracle(reason=reason, oracle=checked)
            return
    if open_tasks and _may_submit(state, now):
        yield from _begin(state, open_tasks, policy)


def _in_doubt(state: WorkflowState) -> frozenset[str]:
    """Tasks whose failures may be no fault of theirs.

    The failures are equal ones in a row, while others may still show whose fault it is.
    """
    lonely = frozenset(record.task.id for record in alone(state))
    if state.row is None:
        return lonely
    tasks = frozenset(state.row.tasks)
    others = (record for record in state.tasks.values() if record.task.id not in tasks)
    undecided = complaint_of(state) or any(record.status in _UNDECIDED for record in others)
    return lonely | (tasks if undecided else frozenset())


def _tried_all_the_same(state: WorkflowState) -> frozenset[str]:
    """Tasks beyond their bounds that are all of a phase.

    A person is asked after as many attempts as of a whole row.
    """
    if unknown_attempts(state) >= ROW_MAX:
        return frozenset()
    return frozenset(record.task.id for record in alone(state))


def _begin(
    state: WorkflowState, open_tasks: list[TaskRecord], policy: Policy
) -> Iterator[BeginBatch]:
    """One array for tasks of one phase that ask for the same resources.

    They are in the order of the plan; late ones come first.
    """
    today = policy.resources
    kind = (open_tasks[0].task.phase, resources_for(open_tasks[0], today))
    of_this_kind = (
        record.task.id
        for record in open_tasks
        if (record.task.phase, resources_for(record, today)) == kind
    )
    alike = tuple(islice(of_this_kind, policy.batch_tasks_max))
    job_name = batch_name(state.campaign, state.cycle_index, _phase(state), state.batches_begun)
    if open_tasks[0].task.phase in policy.login:
        yield BeginBatch(job_name=job_name, tasks=alike, runs_on=RunsOn.LOGIN)
    elif size := _size(state, len(alike), policy):
        yield BeginBatch(job_name=job_name, tasks=alike[:size])


def _size(state: WorkflowState, wanted: int, policy: Policy) -> int:
    """Elements of the next array.

    They are cut to what the site takes at once, and to the room that is left in the queue.
    """
    size = min(wanted, state.array_tasks_max or wanted)
    if policy.queued_max is None:
        return size
    room = policy.queued_max - sum(
        len(batch.live) for batch in state.batches.values() if batch.runs_on is RunsOn.QUEUE
    )
    return min(size, room) if room >= min(size, -(-policy.queued_max // _ROOM_PARTS)) else 0


def _between(state: WorkflowState, policy: Policy) -> Command:
    if (
        state.current_phase is None
        and (answer := verdict_of(state, policy.convergence)) is not None
    ):
        verdict, reason = answer
        return ReachVerdict(verdict=verdict, reason=reason)
    phase = next_phase(state)
    if phase is None:
        return CloseCycle(summary=closed(state, policy))
    return PlanPhase(cycle=state.cycle_index, phase=phase)


def _may_submit(state: WorkflowState, now: datetime) -> bool:
    if (
        state.pause is not None
        or complaint_of(state)
        or state.stage is not Stage.WORKING
        or not state.site_prepared
    ):
        return False
    return state.trouble is None or now >= state.trouble.until


def _deferred(state: WorkflowState, subject: str, now: datetime) -> bool:
    deferral = state.deferrals.get(subject)
    return deferral is not None and now < deferral.until


def _phase(state: WorkflowState) -> Phase:
    if state.current_phase is None:
        raise AssertionError("a campaign that is working has a phase")
    return state.current_phase
