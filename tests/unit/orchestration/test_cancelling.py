"""Tasks that a person wants no more: their jobs end, and they are given up.

Only a retry brings them back.
"""

from datetime import timedelta

import pytest
from kit.stages import ADA, walk

from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.state import TaskStatus
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.cancelling import cancelled
from mlip_autopipec.testing.walk import Walk


def cancel(campaign: Walk, *tasks: str) -> None:
    campaign.tell(ev.TasksCancelled(at=campaign.now, tasks=tasks, by=ADA, reason="enough"))


def begun(campaign: Walk) -> set[str]:
    """Tasks that a batch is to be begun with now."""
    return {
        task
        for command in campaign.commands()
        if isinstance(command, cm.BeginBatch)
        for task in command.tasks
    }


@pytest.mark.parametrize(
    "reason", [Reason.CANCELLED, Reason.NODE_FAILURE, Reason.STORAGE, Reason.LOST]
)
def test_what_runs_is_told_to_end_and_is_not_tried_again(reason: Reason) -> None:
    """However its end is told; and it tells nothing of the site, nor of other tasks."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    task = batch.tasks[1]
    cancel(campaign, task)
    assert cm.CancelAttempts(job_name=batch.job_name, indices=(1,)) in campaign.commands()
    health = campaign.state.site
    lost = ev.AttemptLost(
        at=campaign.now, job_name=batch.job_name, index=1, reason=reason, message="gone"
    )
    state = campaign.tell(lost)
    assert (state.site, state.row, state.trouble) == (health, None, None)
    assert [each.task for each in campaign.commands() if isinstance(each, cm.QuarantineTask)] == [
        task
    ]
    assert task not in begun(campaign)
    campaign.until(lambda state: state.tasks[task].status is TaskStatus.QUARANTINED)
    campaign.tell(ev.TaskRetried(at=campaign.now, task=task, by=ADA))
    assert begun(campaign) == {task}


def test_what_waits_to_be_submitted_is_given_up_at_once() -> None:
    """It has no job to end."""
    campaign = walk()
    state = campaign.planned(Phase.CALCULATION)
    unwanted, *others = state.tasks
    cancel(campaign, unwanted)
    assert not any(isinstance(command, cm.CancelAttempts) for command in campaign.commands())
    assert begun(campaign) == set(others)
    campaign.until(lambda state: state.tasks[unwanted].status is TaskStatus.QUARANTINED)


def test_what_was_done_before_it_could_be_ended_is_done() -> None:
    """A label is a label."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    cancel(campaign, batch.tasks[0])
    state = campaign.tell(campaign.ended(batch.job_name, 0))
    assert state.tasks[batch.tasks[0]].status is TaskStatus.DONE


def test_a_submission_that_never_was_frees_nothing_that_is_unwanted() -> None:
    """Nor is it ended before the scheduler is known to have it."""
    campaign = walk()
    state = campaign.until(
        lambda state: bool(state.batches) and state.current_phase is Phase.CALCULATION
    )
    (job_name,) = state.batches
    unwanted, *others = state.batches[job_name].tasks
    cancel(campaign, unwanted)
    assert not any(isinstance(command, cm.CancelAttempts) for command in campaign.commands())
    campaign.tell(
        ev.SubmissionUnclear(at=campaign.now, job_name=job_name, message="timed out"),
        ev.SubmissionVoided(at=campaign.now, job_name=job_name, message="never was"),
    )
    assert begun(campaign) == set(others)


def test_it_is_told_again_until_it_has_ended() -> None:
    """A word that was lost is said again; when the batch is over nothing is left to be said."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    cancel(campaign, *batch.tasks)
    command = next(each for each in campaign.commands() if isinstance(each, cm.CancelAttempts))
    until = campaign.now + timedelta(seconds=4)
    campaign.tell(
        ev.EffectDeferred(at=campaign.now, subject=command.subject, message="told", until=until)
    )
    assert command not in campaign.commands()
    campaign.now = until
    assert command in campaign.commands()
    for index in range(len(batch.tasks)):
        lost = ev.AttemptLost(
            at=campaign.now,
            job_name=batch.job_name,
            index=index,
            reason=Reason.CANCELLED,
            message="gone",
        )
        campaign.tell(lost)
    assert campaign.state.deferrals == {}


def test_names_that_are_not_at_work_are_told_with_those_that_are() -> None:
    """Nothing is cancelled by a slip of the pen."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    state = campaign.tell(campaign.ended(batch.job_name, 0))
    with pytest.raises(
        OperatorError, match=f"{batch.tasks[0]} is done; at work or waiting are {batch.tasks[1]}, "
    ):
        cancelled(state, [batch.tasks[0]], None, everything=False)
    with pytest.raises(OperatorError, match="name tasks to cancel, or --phase PHASE, or --all"):
        cancelled(state, [], None, everything=False)
    assert cancelled(state, [], Phase.CALCULATION, everything=False) == batch.tasks[1:]
    assert cancelled(state, [], Phase.TRAINING, everything=False) == ()
    assert cancelled(state, [batch.tasks[2]], None, everything=False) == (batch.tasks[2],)


def test_a_task_that_is_cancelled_already_is_no_slip_of_the_pen() -> None:
    """Nothing more is to be done; a name that nobody knows is one."""
    campaign = walk()
    state = campaign.planned(Phase.CALCULATION)
    unwanted, *_ = state.tasks
    cancel(campaign, unwanted)
    assert cancelled(campaign.state, [unwanted], None, everything=False) == ()
    with pytest.raises(
        OperatorError,
        match="c009 is no task of this campaign that is known now; at work or waiting",
    ):
        cancelled(campaign.state, ["c009"], None, everything=False)
