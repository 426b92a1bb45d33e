"""The tables of a task's and of a batch's life: what they forbid is refused.

The refusal tells the story.
"""

from collections.abc import Callable, Iterator

import pytest
from kit.stages import ADA, given_up, late_round, walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason, Verdict
from mlip_autopipec.data_models.ids import batch_name
from mlip_autopipec.data_models.state import BatchStatus, TaskStatus, WorkflowState
from mlip_autopipec.errors import IllegalTransition
from mlip_autopipec.orchestration.lives import BATCH_LIFE, TASK_LIFE
from mlip_autopipec.orchestration.machine import ENDED, evolve, is_stale
from mlip_autopipec.orchestration.strategies import summarise
from mlip_autopipec.testing.walk import Walk

JOB_NAME = "copper-3f9a1c.c000.calculation.b00"


def batch_of(status: BatchStatus) -> Walk:
    """A campaign whose one batch has that status."""
    campaign = walk()
    if status is BatchStatus.ACCEPTED:
        campaign.submitted(Phase.CALCULATION)
        return campaign
    campaign.planned(Phase.CALCULATION)
    campaign.until(lambda state: bool(state.batches))
    if status is BatchStatus.UNCLEAR:
        campaign.tell(ev.SubmissionUnclear(at=campaign.now, job_name=JOB_NAME, message="timed out"))
    return campaign


def answers(campaign: Walk) -> Iterator[ev.Event]:
    """Everything that may be said of the batch."""
    at = campaign.now
    yield ev.SubmissionAccepted(at=at, job_name=JOB_NAME, job_id="1")
    yield ev.SubmissionRejected(at=at, job_name=JOB_NAME, message="Invalid account")
    yield ev.SubmissionUnclear(at=at, job_name=JOB_NAME, message="timed out")
    yield ev.SubmissionVoided(at=at, job_name=JOB_NAME, message="never was")
    yield ev.JobsSighted(
        at=at, sightings=(ev.Sighting(job_name=JOB_NAME, index=0, state=ev.JobState.ABSENT),)
    )
    yield campaign.ended(JOB_NAME, 0)
    yield ev.AttemptLost(at=at, job_name=JOB_NAME, index=0, reason=Reason.LOST, message="gone")


@pytest.mark.parametrize("status", BatchStatus)
def test_a_batch_takes_what_its_row_names_and_refuses_the_rest(status: BatchStatus) -> None:
    """Every status against every answer: a status that the table has, or IllegalTransition."""
    campaign = batch_of(status)
    for event in answers(campaign):
        allowed = BATCH_LIFE[status].get(type(event))
        if allowed is None:
            with pytest.raises(
                IllegalTransition, match=f"the batch is {status}.*Batch {JOB_NAME} is {status}"
            ):
                evolve(campaign.state, event)
            continue
        after = evolve(campaign.state, event).batches.get(JOB_NAME)
        assert (after.status if after is not None else None) in allowed


def task_of(status: TaskStatus) -> tuple[WorkflowState, str]:
    """A state in which a calculation has that status, and its name."""
    campaign = walk()
    if status is TaskStatus.READY:
        return campaign.planned(Phase.CALCULATION), next(iter(campaign.state.tasks))
    batch = campaign.submitted(Phase.CALCULATION)
    name = batch.tasks[0]
    if status is TaskStatus.DONE:
        campaign.tell(campaign.ended(batch.job_name, 0))
    if status in {TaskStatus.FAILED, TaskStatus.QUARANTINED}:
        campaign.tell(campaign.ended(batch.job_name, 0, Reason.NUMERICAL))
    if status is TaskStatus.QUARANTINED:
        campaign.tell(ev.TaskQuarantined(at=campaign.now, task=name, message="SCF"))
    return campaign.state, name


@pytest.mark.parametrize("status", TaskStatus)
def test_a_task_takes_what_its_row_names_and_refuses_the_rest(status: TaskStatus) -> None:
    """Every status against what may be done to a task: what the table has, or IllegalTransition."""
    state, name = task_of(status)
    at = walk().now
    job_name = batch_name(state.campaign, 0, Phase.CALCULATION, state.batches_begun)
    for event in (
        ev.SubmissionBegun(at=at, job_name=job_name, tasks=(name,)),
        ev.TaskQuarantined(at=at, task=name, message="SCF"),
        ev.TaskRetried(at=at, task=name, by=ADA),
    ):
        allowed = TASK_LIFE[status].get(type(event))
        if allowed is None:
            with pytest.raises(
                IllegalTransition, match=f"task {name} is {status}.*Task {name} is {status}"
            ):
                evolve(state, event)
        else:
            assert evolve(state, event).tasks[name].status in allowed


def rare_steps() -> Iterator[
    tuple[TaskStatus | BatchStatus | None, ev.Event, TaskStatus | BatchStatus | None]
]:
    """Steps a random walk comes by too seldom: the status before, the event, the status after."""
    at = walk().now
    over = ev.VerdictReached(at=at, verdict=Verdict.FAILED, reason="quorum")
    reopened = ev.CampaignReopened(at=at, by=ADA, reason="mended", first_cycle=0)
    refused = ev.SubmissionRejected(
        at=at, job_name=JOB_NAME, message="QOSMaxJobs", mender=Mender.SITE
    )
    lost = ev.AttemptLost(at=at, job_name=JOB_NAME, index=0, reason=Reason.LOST, message="gone")
    yield _step_of_task(batch_of(BatchStatus.BEGUN), refused)
    done = batch_of(BatchStatus.ACCEPTED)
    name = done.state.batches[JOB_NAME].tasks[0]
    done.tell(done.ended(JOB_NAME, 0))
    yield _step_of_task(
        done, ev.TaskQuarantined(at=at, task=name, message="nothing can be made of it")
    )
    for cancelled in (False, True):
        crashed = batch_of(BatchStatus.ACCEPTED)
        crashed.tell(
            ev.AttemptLost(
                at=at,
                job_name=JOB_NAME,
                index=0,
                reason=Reason.CRASHED,
                message="segmentation fault",
            )
        )
        if cancelled:
            crashed.tell(
                crashed.follow(
                    next(each for each in crashed.commands() if each.type == "BeginBatch")
                )
            )
            second = list(crashed.state.batches)[-1]
            crashed.tell(ev.TasksCancelled(at=at, tasks=(name,), by=ADA, reason="enough"))
            again = ev.AttemptLost(
                at=at, job_name=second, index=0, reason=Reason.CRASHED, message="segmentation fault"
            )
            crashed.tell(again)
        yield _step_of_task(crashed, ev.Resumed(at=at, by=ADA))
    hopeless = batch_of(BatchStatus.ACCEPTED)
    hopeless.tell(hopeless.ended(JOB_NAME, 0, Reason.NUMERICAL))
    hopeless.tell(ev.TaskQuarantined(at=at, task=name, message="SCF"), over)
    yield _step_of_task(hopeless, reopened)
    yield _step_of_batch(batch_of(BatchStatus.UNCLEAR), refused)
    yield _step_of_batch(batch_of(BatchStatus.UNCLEAR), lost)
    for status in (BatchStatus.BEGUN, BatchStatus.UNCLEAR):
        small = batch_of(status)
        for index in (1, 2):
            small.tell(small.ended(JOB_NAME, index))
        yield _step_of_batch(small, lost)
    for forgotten in (False, True):
        yield _label_brought_back(forgotten=forgotten)


def _label_brought_back(
    *, forgotten: bool
) -> tuple[TaskStatus | None, ev.Event, TaskStatus | None]:
    """A way back to when a label awaited its fit.

    The label has been given up since, or a way back before has dropped it.
    """
    campaign = batch_of(BatchStatus.ACCEPTED)
    for index in range(3):
        campaign.tell(campaign.ended(JOB_NAME, index))
    name, record = next(iter(campaign.state.tasks.items()))
    assert record.outcome is not None
    label = ev.LateLabel(task=record.task, outcome=record.outcome)
    if forgotten:
        campaign.tell(_back(campaign))
    else:
        campaign.tell(
            ev.TaskQuarantined(at=campaign.now, task=name, message="nothing can be made of it")
        )
    before, event = campaign.state.tasks.get(name), _back(campaign, label)
    return (
        before.status if before is not None else None,
        event,
        campaign.tell(event).tasks[name].status,
    )


def _back(campaign: Walk, *labels: ev.LateLabel) -> ev.PhaseRedone:
    """To the begin of Calculation in the first cycle."""
    state = campaign.state
    return ev.PhaseRedone(
        at=campaign.now,
        by=ADA,
        cycle=0,
        phase=Phase.CALCULATION,
        summary=summarise(state) if state.current_phase is not None else None,
        digests=(state.digests[Phase.GENERATION],),
        potential=None,
        datasets=(),
        measured=(),
        halted={},
        ladders=(),
        labels=labels,
    )


def _step_of_task(campaign: Walk, event: ev.Event) -> tuple[TaskStatus, ev.Event, TaskStatus]:
    name = next(iter(campaign.state.tasks))
    return campaign.state.tasks[name].status, event, campaign.tell(event).tasks[name].status


def _step_of_batch(
    campaign: Walk, event: ev.Event
) -> tuple[BatchStatus, ev.Event, BatchStatus | None]:
    before = campaign.state.batches[JOB_NAME].status
    after = campaign.tell(event).batches.get(JOB_NAME)
    return before, event, after.status if after is not None else None


@pytest.mark.parametrize("number", range(11))
def test_rare_steps_are_as_the_tables_have_them(number: int) -> None:
    """With those that random walks meet, these are all."""
    before, event, after = list(rare_steps())[number]
    row = BATCH_LIFE[before] if isinstance(before, BatchStatus) else TASK_LIFE[before]
    assert after in row[type(event)]


def test_what_has_ended_is_what_a_phase_may_end_with() -> None:
    """The one row that names PhaseEnded is that of a task which nothing more is awaited of."""
    assert {TaskStatus.DONE, TaskStatus.QUARANTINED} == ENDED


def test_a_refusal_that_comes_after_the_acceptance_ends_no_live_job() -> None:
    """The tasks of an accepted batch would be submitted again while their jobs run."""
    campaign = batch_of(BatchStatus.ACCEPTED)
    refused = ev.SubmissionRejected(at=campaign.now, job_name=JOB_NAME, message="Invalid account")
    with pytest.raises(IllegalTransition, match="it was accepted as 4711"):
        evolve(campaign.state, refused)


@pytest.mark.parametrize("mender", [Mender.TASK, Mender.SITE])
@pytest.mark.parametrize("kind", [ev.SubmissionRejected, ev.SubmissionVoided])
def test_a_batch_that_is_gone_leaves_nothing_that_is_put_off(
    kind: type[ev.SubmissionRejected | ev.SubmissionVoided], mender: Mender
) -> None:
    """Nor what was said of its jobs: a task that waits again has none."""
    campaign = batch_of(BatchStatus.UNCLEAR)
    sighting = ev.Sighting(job_name=JOB_NAME, index=0, state=ev.JobState.ABSENT)
    campaign.tell(ev.JobsSighted(at=campaign.now, sightings=(sighting,)))
    for subject in (f"batch:{JOB_NAME}", f"cancel:{JOB_NAME}", f"attempt:{JOB_NAME}.0"):
        campaign.tell(
            ev.EffectDeferred(at=campaign.now, subject=subject, message="cut", until=campaign.now)
        )
    more = {"mender": mender} if kind is ev.SubmissionRejected else {}
    after = campaign.tell(
        kind.model_validate({"at": campaign.now, "uid": JOB_NAME, "message": "no", **more})
    )
    assert after.deferrals == {}
    assert {record.job_state for record in after.tasks.values()} == {None}
    assert after.check() == ()


def _quarantined_twice() -> tuple[Walk, ev.Event]:
    campaign = given_up()
    return campaign, ev.TaskQuarantined(
        at=campaign.now, task=next(iter(campaign.state.quarantine)), message="SCF"
    )


def _ended_twice() -> tuple[Walk, ev.Event]:
    campaign = late_round()
    (batch,) = campaign.state.batches.values()
    ended = campaign.ended(batch.job_name, 1)
    campaign.tell(ended)
    return campaign, ended


def _of_a_batch_that_is_over() -> tuple[Walk, ev.Event]:
    campaign = batch_of(BatchStatus.ACCEPTED)
    for index in range(3):
        campaign.tell(campaign.ended(JOB_NAME, index, Reason.NUMERICAL if index == 1 else None))
    return campaign, ev.SubmissionVoided(at=campaign.now, job_name=JOB_NAME, message="never was")


def _of_the_campaign() -> tuple[Walk, ev.Event]:
    campaign = batch_of(BatchStatus.ACCEPTED)
    return campaign, campaign.events[0]


STORIES: dict[str, tuple[Callable[[], tuple[Walk, ev.Event]], tuple[str, ...]]] = {
    "a task of an earlier round": (_quarantined_twice, ("stage between",)),
    "an attempt that has ended": (
        _ended_twice,
        ("is done; its last attempt is copper-3f9a1c.c000.calculation.b00.1",),
    ),
    "a batch that is over": (
        _of_a_batch_that_is_over,
        (f"Batch {JOB_NAME} is over: c000.calculation.0000", "failed"),
    ),
    "the campaign": (
        _of_the_campaign,
        ("Campaign copper-3f9a1c has closed 0 cycles", "3 submitted", "batches: 1"),
    ),
}


@pytest.mark.parametrize(("make", "expected"), STORIES.values(), ids=STORIES.keys())
def test_a_refusal_tells_the_story_of_its_subject(
    make: Callable[[], tuple[Walk, ev.Event]], expected: tuple[str, ...]
) -> None:
    """What has become of the task, the batch or the campaign that the event is about."""
    campaign, event = make()
    with pytest.raises(IllegalTransition) as refused:
        evolve(campaign.state, event)
    for message in expected:
        assert message in str(refused.value)


def test_the_failures_of_a_task_are_a_part_of_its_story() -> None:
    """How often and why, last of all."""
    state, name = task_of(TaskStatus.FAILED)
    retried = ev.TaskRetried(at=walk().now, task=name, by=ADA)
    assert is_stale(state, retried)
    with pytest.raises(
        IllegalTransition, match=f"failures so far: 1, last of all {Reason.NUMERICAL}"
    ):
        evolve(state, retried)
