"""The lives of batches, tasks and potentials inside the machine, and what is stale."""

from datetime import timedelta

import pytest
from kit.stages import ADA, always, walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.data_models.state import BatchStatus, TaskStatus
from mlip_autopipec.orchestration.machine import is_stale
from mlip_autopipec.testing.walk import Walk


def test_a_voided_submission_frees_its_tasks_and_costs_no_attempt() -> None:
    """After SubmissionVoided tasks are as if nothing had been tried.

    Only the job name's number has moved on.
    """
    campaign = walk()
    campaign.planned(Phase.CALCULATION)
    tasks = dict(campaign.state.tasks)
    campaign.until(lambda state: bool(state.batches))
    job_name = next(iter(campaign.state.batches))
    after = campaign.tell(
        ev.SubmissionVoided(at=campaign.now, job_name=job_name, message="never was")
    )
    assert after.tasks == tasks
    assert (after.batches, after.batches_begun) == ({}, 1)


def test_a_rejected_submission_fails_every_task_in_it() -> None:
    """SubmissionRejected ends all attempts of the batch with the scheduler's words."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches) and state.current_phase is Phase.CALCULATION)
    job_name = next(iter(campaign.state.batches))
    after = campaign.tell(
        ev.SubmissionRejected(at=campaign.now, job_name=job_name, message="Invalid account")
    )
    assert {record.status for record in after.tasks.values()} == {TaskStatus.FAILED}
    assert {record.failures[-1].reason for record in after.tasks.values()} == {Reason.REJECTED}
    assert after.batches == {}


def test_an_outcome_may_overtake_the_answer_to_its_submission() -> None:
    """A task that ends while its batch is still begun is done, and the late answer is stale."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    job_name = next(iter(campaign.state.batches))
    after = campaign.tell(campaign.ended(job_name, 0))
    assert after.batches == {}
    assert is_stale(after, ev.SubmissionAccepted(at=campaign.now, job_name=job_name, job_id="1"))


def test_a_batch_is_known_until_its_last_attempt_has_ended() -> None:
    """Attempts leave their batch one by one; with the last of them the batch is forgotten."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    for index in range(len(batch.tasks)):
        assert campaign.state.batches[batch.job_name].live == frozenset(
            range(index, len(batch.tasks))
        )
        campaign.tell(campaign.ended(batch.job_name, index))
    assert campaign.state.batches == {}


def _sighted(campaign: Walk, job_name: str, state: ev.JobState) -> ev.JobsSighted:
    return ev.JobsSighted(
        at=campaign.now, sightings=(ev.Sighting(job_name=job_name, index=0, state=state),)
    )


def test_missing_since_is_the_first_sight_of_the_end_and_is_forgotten_when_the_job_shows_up() -> (
    None
):
    """An absence starts a grace, a known end starts its own.

    Any sign of life, such as a requeue, clears it.
    """
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    name = batch.tasks[0]
    absent, ended = campaign.now, campaign.now + timedelta(minutes=2)
    for state, since in ((ev.JobState.ABSENT, absent), (ev.JobState.ENDED, ended)):
        for _ in range(2):  # the second time it is no news
            campaign.tell(_sighted(campaign, batch.job_name, state))
            assert campaign.state.tasks[name].missing_since == since
            campaign.now += timedelta(minutes=1)
    campaign.tell(_sighted(campaign, batch.job_name, ev.JobState.WAITING))
    assert campaign.state.tasks[name].missing_since is None


def test_deferrals_count_and_are_cleared_by_the_answer() -> None:
    """Each EffectDeferred in a row adds one to `times`; SubmissionAccepted ends the row."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    job_name = next(iter(campaign.state.batches))
    deferred = ev.EffectDeferred(
        at=campaign.now, subject=f"batch:{job_name}", message="limit", until=campaign.now
    )
    assert campaign.tell(deferred, deferred).deferrals[f"batch:{job_name}"].times == 2
    assert (
        campaign.tell(
            ev.SubmissionAccepted(at=campaign.now, job_name=job_name, job_id="1")
        ).deferrals
        == {}
    )


def test_promotion_makes_the_fit_the_current_potential() -> None:
    """PhaseEnded of a promoted training sets the potential and adds the data set."""
    campaign = walk()
    after = campaign.until(lambda state: state.potential is not None)
    assert after.latest_potential_path == "potentials/000"
    assert [file.path for file in after.datasets] == ["dataset/000.extxyz"]


def test_a_fit_that_is_not_promoted_leaves_the_potential_and_still_adds_its_data() -> None:
    """The labels of a refused fit are kept for the next one."""
    campaign = walk()
    campaign.until(lambda state: state.current_phase is Phase.TRAINING and state.cycle_index == 1)
    campaign.until(lambda state: all(record.outcome for record in state.tasks.values()))
    ended = campaign.follow(campaign.commands()[0])
    assert isinstance(ended, ev.PhaseEnded)
    refused = ended.digest.model_copy(update={"promoted": False})
    after = campaign.tell(ended.model_copy(update={"digest": refused}))
    assert after.latest_potential_path == "potentials/000"
    assert len(after.datasets) == 2


def test_status_is_running_paused_or_the_verdict() -> None:
    """Pause shows while nothing is decided; a verdict outlasts it."""
    campaign = walk()
    assert campaign.state.status == "running"
    assert campaign.tell(ev.Paused(at=campaign.now, by=ADA)).status == "paused"
    over = ev.VerdictReached(at=campaign.now, verdict=Verdict.STALLED, reason="again and again")
    assert campaign.tell(over).status == "stalled"


def test_an_unclear_answer_after_acceptance_is_stale() -> None:
    """An accepted batch is accepted, whatever a slower answer says."""
    campaign = walk()
    job_name = campaign.submitted(Phase.CALCULATION).job_name
    assert campaign.state.batches[job_name].status is BatchStatus.ACCEPTED
    assert is_stale(
        campaign.state, ev.SubmissionUnclear(at=campaign.now, job_name=job_name, message="?")
    )


def test_the_same_health_twice_is_stale() -> None:
    """SiteChanged is written only when health or words change."""
    campaign = walk()
    changed = ev.SiteChanged(at=campaign.now, health=ev.SiteHealth.DEGRADED, message="cut")
    assert not is_stale(campaign.state, changed)
    assert is_stale(campaign.tell(changed), changed)


@pytest.mark.parametrize("subject", ["batch:{job_name}", "attempt:{job_name}.0"])
def test_a_deferral_of_what_is_over_is_stale(subject: str) -> None:
    """An effect that gives up after its subject has ended leaves no deferral behind.

    Nothing would ever clear that.
    """
    campaign = walk()
    batch = campaign.submitted(Phase.GENERATION)
    campaign.tell(campaign.ended(batch.job_name, 0))
    late = ev.EffectDeferred(
        at=campaign.now,
        subject=subject.format(job_name=batch.job_name),
        message="cut",
        until=campaign.now,
    )
    assert is_stale(campaign.state, late)


@pytest.mark.parametrize("kind", ["ClockStepped", "DaemonStarted"])
def test_where_the_clock_cannot_be_compared_every_wait_begins_anew(kind: str) -> None:
    """A grace starts again at the new time, and what was put off is due."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.tell(_sighted(campaign, batch.job_name, ev.JobState.ABSENT))
    subject, until = f"attempt:{batch.job_name}.0", campaign.now + timedelta(hours=1)
    campaign.tell(ev.EffectDeferred(at=campaign.now, subject=subject, message="cut", until=until))
    campaign.now -= timedelta(days=1)
    campaign.tell(next(event for event in always(campaign) if type(event).__name__ == kind))
    assert campaign.state.tasks[batch.tasks[0]].missing_since == campaign.now
    assert [campaign.state.tasks[name].missing_since for name in batch.tasks[1:]] == [None, None]
    assert campaign.state.deferrals == {}
