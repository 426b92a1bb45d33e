"""decide: what is asked for, when, and what a pause, a deferral or a verdict keeps back."""

from datetime import timedelta

import pytest
from kit.stages import ADA, walk

from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, RunsOn, Verdict
from mlip_autopipec.data_models.state import Failure, Stage, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.decide import decide, next_deadline
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.testing.walk import Walk

MOMENT = timedelta(microseconds=1)


def asked(campaign: Walk) -> list[tuple[str, str]]:
    """Type and subject of every command that is due."""
    return [(command.type, command.subject) for command in campaign.commands()]


def test_nothing_is_asked_before_the_campaign_exists() -> None:
    """An empty journal asks for nothing."""
    campaign = walk()
    assert decide(WorkflowState(), campaign.policy, campaign.now) == ()


def test_a_new_campaign_plans_its_generation() -> None:
    """The first command of every campaign."""
    assert walk().commands() == (cm.PlanPhase(cycle=0, phase=Phase.GENERATION),)


def test_intent_comes_before_submission() -> None:
    """Tasks are begun under the next job name, and only a batch that is begun is submitted."""
    campaign = walk()
    state = campaign.planned(Phase.CALCULATION)
    (begin,) = campaign.commands()
    assert begin == cm.BeginBatch(
        job_name="copper-3f9a1c.c000.calculation.b00", tasks=tuple(state.tasks)
    )
    campaign.tell(campaign.follow(begin))
    assert campaign.commands() == (cm.SubmitBatch(job_name=begin.job_name),)


def test_an_unclear_batch_is_looked_up_and_never_submitted_again() -> None:
    """Ambiguity is resolved by looking."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    job_name = next(iter(campaign.state.batches))
    campaign.tell(ev.SubmissionUnclear(at=campaign.now, job_name=job_name, message="timed out"))
    assert campaign.commands() == (cm.LocateBatch(job_name=job_name),)


def test_a_missing_attempt_is_asked_after_when_its_grace_is_over() -> None:
    """Not a moment earlier, and next_deadline names that moment."""
    campaign = walk()
    job_name = campaign.submitted(Phase.GENERATION).job_name
    absent = ev.Sighting(job_name=job_name, index=0, state=ev.JobState.ABSENT)
    state = campaign.tell(ev.JobsSighted(at=campaign.now, sightings=(absent,)))
    over = campaign.now + campaign.policy.grace
    assert next_deadline(state, campaign.policy, campaign.now) == over
    assert decide(state, campaign.policy, over - MOMENT) == ()
    assert decide(state, campaign.policy, over) == (cm.InquireAttempt(job_name=job_name, index=0),)
    assert next_deadline(state, campaign.policy, over) is None


def test_a_deferred_subject_is_left_alone_until_its_time() -> None:
    """Other subjects go on meanwhile."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    job_name = next(iter(campaign.state.batches))
    until = campaign.now + timedelta(seconds=2)
    state = campaign.tell(
        ev.EffectDeferred(
            at=campaign.now, subject=f"batch:{job_name}", message="limit", until=until
        )
    )
    assert decide(state, campaign.policy, until - MOMENT) == ()
    assert decide(state, campaign.policy, until) == (cm.SubmitBatch(job_name=job_name),)
    assert next_deadline(state, campaign.policy, campaign.now) == until


def test_a_pause_keeps_back_new_batches() -> None:
    """No intent is written while paused."""
    campaign = walk()
    campaign.planned(Phase.CALCULATION)
    campaign.tell(ev.Paused(at=campaign.now, by=ADA))
    assert campaign.commands() == ()
    campaign.tell(ev.Resumed(at=campaign.now, by=ADA))
    assert [command.type for command in campaign.commands()] == ["BeginBatch"]


def test_a_pause_keeps_back_a_batch_that_is_begun() -> None:
    """Intent alone sends nothing; the submission waits for Resumed."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    campaign.tell(ev.Paused(at=campaign.now, by=ADA))
    assert campaign.commands() == ()


def test_a_pause_keeps_back_nothing_else() -> None:
    """While paused, unclear batches are looked up and missing attempts asked after.

    Phases are digested and planned too.
    """
    campaign = walk()
    job_name = campaign.submitted(Phase.GENERATION).job_name
    campaign.tell(ev.Paused(at=campaign.now, by=ADA), campaign.ended(job_name, 0))
    seen = []
    while command := next(iter(campaign.commands()), None):
        seen.append(command.type)
        campaign.tell(campaign.follow(command))
    assert seen == ["DigestPhase", "PlanPhase"]


def test_a_failed_task_is_tried_again_in_a_batch_of_its_own_kind() -> None:
    """Tasks that ask for other resources than the first open one wait for the next batch."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    reasons = (Reason.NODE_FAILURE, Reason.OUT_OF_MEMORY, Reason.NODE_FAILURE)
    for index, reason in enumerate(reasons):
        campaign.tell(
            ev.AttemptLost(
                at=campaign.now, job_name=batch.job_name, index=index, reason=reason, message="died"
            )
        )
    (begin,) = campaign.commands()
    assert begin == cm.BeginBatch(
        job_name="copper-3f9a1c.c000.calculation.b01", tasks=(batch.tasks[0], batch.tasks[2])
    )
    campaign.tell(campaign.follow(begin))
    assert (
        cm.BeginBatch(job_name="copper-3f9a1c.c000.calculation.b02", tasks=(batch.tasks[1],))
        in campaign.commands()
    )


def test_a_batch_holds_no_more_tasks_than_the_site_takes() -> None:
    """batch_tasks_max cuts the array; the rest follows under the next name."""
    campaign = walk()
    campaign.policy = campaign.policy.model_copy(update={"batch_tasks_max": 2})
    names = tuple(campaign.planned(Phase.CALCULATION).tasks)
    (begin,) = campaign.commands()
    assert isinstance(begin, cm.BeginBatch)
    assert begin.tasks == names[:2]
    campaign.tell(campaign.follow(begin))
    rest = [command for command in campaign.commands() if isinstance(command, cm.BeginBatch)]
    assert [command.tasks for command in rest] == [names[2:]]


def test_the_sites_own_array_limit_counts_where_it_is_smaller() -> None:
    """What SitePrepared says bounds a batch too."""
    campaign = walk()
    campaign.tell(ev.SitePrepared(at=campaign.now, array_tasks_max=3))
    names = tuple(campaign.planned(Phase.CALCULATION).tasks)
    (begin,) = campaign.commands()
    assert begin == cm.BeginBatch(job_name="copper-3f9a1c.c000.calculation.b00", tasks=names[:3])


def test_no_more_tasks_are_queued_than_the_user_allows() -> None:
    """The rest waits until a quarter of the queue is free, and goes in one array then."""
    campaign = walk()
    campaign.policy = campaign.policy.model_copy(update={"queued_max": 2})
    names = tuple(campaign.planned(Phase.CALCULATION).tasks)
    batch = campaign.submitted(Phase.CALCULATION)
    assert batch.tasks == names[:2]
    assert campaign.commands() == ()
    campaign.tell(campaign.ended(batch.job_name, 0))
    (begin,) = campaign.commands()
    assert begin == cm.BeginBatch(job_name="copper-3f9a1c.c000.calculation.b01", tasks=names[2:3])


def test_a_phase_that_runs_on_the_login_node_says_so_in_its_intent() -> None:
    """There the queue's bounds do not count.

    The batch keeps its place whatever the site file says later.
    """
    campaign = walk()
    update = {"login": frozenset({Phase.CALCULATION}), "queued_max": 1}
    campaign.policy = campaign.policy.model_copy(update=update)
    names = tuple(campaign.planned(Phase.CALCULATION).tasks)
    (begin,) = campaign.commands()
    assert begin == cm.BeginBatch(
        job_name="copper-3f9a1c.c000.calculation.b00", tasks=names, runs_on=RunsOn.LOGIN
    )
    campaign.tell(campaign.follow(begin))
    assert campaign.state.batches[begin.job_name].runs_on is RunsOn.LOGIN


def test_nothing_is_submitted_before_the_site_is_prepared() -> None:
    """Each daemon prepares it anew; a batch that its predecessor has begun waits too."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    (job_name,) = campaign.state.batches
    campaign.tell(
        ev.DaemonStarted(
            at=campaign.now,
            version="0",
            host="login1",
            pid=1,
            config_sha256="0",
            payload_sha256="0",
        )
    )
    assert campaign.commands() == (cm.PrepareSite(),)
    campaign.tell(ev.SitePrepared(at=campaign.now))
    assert campaign.commands() == (cm.SubmitBatch(job_name=job_name),)


def test_a_person_who_resumes_makes_everything_due_that_was_put_off() -> None:
    """What was mended need not wait for the back-off."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    (job_name,) = campaign.state.batches
    health, until = ev.SiteHealth.AUTH_REQUIRED, campaign.now + timedelta(hours=1)
    campaign.tell(
        ev.EffectDeferred(
            at=campaign.now,
            subject=f"batch:{job_name}",
            message="denied",
            until=until,
            health=health,
        )
    )
    assert (campaign.state.site, campaign.state.site_message) == (health, "denied")
    assert campaign.commands() == ()
    campaign.tell(ev.Resumed(at=campaign.now, by=ADA))
    assert campaign.commands() == (cm.SubmitBatch(job_name=job_name),)


def test_a_task_that_may_not_be_tried_again_is_quarantined_and_the_cycle_goes_on() -> None:
    """One structure that gives no label costs one label."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.tell(campaign.ended(batch.job_name, 0, Reason.NUMERICAL))
    assert asked(campaign) == [("QuarantineTask", f"task:{batch.tasks[0]}")]
    campaign.until(lambda state: state.stage is Stage.BETWEEN)
    assert campaign.state.current_phase is Phase.CALCULATION


def test_thousands_are_given_up_a_few_at_a_time() -> None:
    """What is not asked for yet is due when the first are over, and nothing else begins before."""
    campaign = walk()
    campaign.planned(Phase.CALCULATION)
    record = next(iter(campaign.state.tasks.values()))
    failure = Failure(job_name="u", reason=Reason.NUMERICAL, message="no convergence")
    failed = record.model_copy(update={"status": TaskStatus.FAILED, "failures": (failure,)})
    names = [f"{record.task.id}{number}" for number in range(250)]
    records = {
        name: failed.model_copy(update={"task": record.task.model_copy(update={"id": name})})
        for name in names
    }
    policy = campaign.policy.model_copy(
        update={"convergence": campaign.policy.convergence.model_copy(update={"quorum": 0.0})}
    )
    state = campaign.state.model_copy(update={"tasks": records})
    given_up = []
    while commands := [
        change
        for change in decide(state, policy, campaign.now)
        if isinstance(change, cm.QuarantineTask)
    ]:
        assert len(commands) <= 100
        for command in commands:
            given_up.append(command.task)
            state = evolve(state, campaign.follow(command))
    assert given_up == names


def test_a_lost_quorum_ends_the_campaign() -> None:
    """Where too few tasks can still succeed, more jobs are a waste."""
    campaign = walk()
    job_name = campaign.submitted(Phase.GENERATION).job_name
    campaign.tell(campaign.ended(job_name, 0, Reason.BAD_INPUT))
    campaign.until(lambda state: state.stage is Stage.ENDED)
    assert campaign.state.verdict is Verdict.FAILED
    assert "1 of 1 tasks of generation in cycle 0 failed for good" in campaign.state.verdict_reason


def test_after_the_verdict_only_what_runs_is_looked_after() -> None:
    """Jobs that outlive the verdict are followed to their end; nothing new begins."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.tell(
        ev.AttemptLost(
            at=campaign.now, job_name=batch.job_name, index=0, reason=Reason.LOST, message="gone"
        ),
        ev.JobsSighted(
            at=campaign.now,
            sightings=(ev.Sighting(job_name=batch.job_name, index=1, state=ev.JobState.ENDED),),
        ),
        ev.VerdictReached(at=campaign.now, verdict=Verdict.FAILED, reason="quorum"),
    )
    campaign.now += campaign.policy.grace
    assert asked(campaign) == [("InquireAttempt", f"attempt:{batch.job_name}.1")]


def test_a_submission_cut_off_by_the_verdict_is_looked_up() -> None:
    """Whether the scheduler has it must still be found out; it is not submitted."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    (job_name,) = campaign.state.batches
    campaign.tell(ev.VerdictReached(at=campaign.now, verdict=Verdict.FAILED, reason="by hand"))
    assert asked(campaign) == [("LocateBatch", f"batch:{job_name}")]


def test_a_cycle_without_anything_to_label_is_closed_at_once() -> None:
    """An empty selection needs no Calculation and no Training."""
    campaign = walk()
    campaign.until(lambda state: (state.cycle_index, state.current_phase) == (1, Phase.SELECTION))
    campaign.until(lambda state: all(record.outcome for record in state.tasks.values()))
    ended = campaign.follow(campaign.commands()[0])
    assert isinstance(ended, ev.PhaseEnded)
    nothing = ended.digest.model_copy(update={"structures": ()})
    campaign.tell(ended.model_copy(update={"digest": nothing}))
    assert [command.type for command in campaign.commands()] == ["CloseCycle"]


@pytest.mark.parametrize(
    "phase", [Phase.EXPLORATION, Phase.SELECTION, Phase.CALCULATION, Phase.TRAINING]
)
def test_a_learning_cycle_passes_every_phase(phase: Phase) -> None:
    """From its second cycle on a campaign explores, selects, calculates and trains."""
    assert walk().planned(phase, cycle=1).current_phase is phase
