"""Rounds of Calculation: when they close, what becomes of late labels, and what is brought back."""

from datetime import timedelta

import pytest
from kit.stages import ADA, given_up, late_round, walk

from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.data_models.state import Stage, TaskStatus
from mlip_autopipec.errors import IllegalTransition
from mlip_autopipec.orchestration.decide import decide, next_deadline
from mlip_autopipec.orchestration.explain import explain
from mlip_autopipec.orchestration.machine import is_stale
from mlip_autopipec.orchestration.strategies import verdict_of
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk


def has_closed(campaign: Walk) -> bool:
    """Whether the round is to be digested now."""
    return any(isinstance(command, cm.DigestPhase) for command in campaign.commands())


def digest(campaign: Walk) -> CalculationDigest:
    """Of the last round that has closed."""
    found = [event.digest for event in campaign.events if isinstance(event, ev.PhaseEnded)]
    return next(each for each in reversed(found) if isinstance(each, CalculationDigest))


def test_by_default_a_round_waits_for_all() -> None:
    """Two of three labels close nothing, however long it takes."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.tell(campaign.ended(batch.job_name, 0), campaign.ended(batch.job_name, 1))
    campaign.now += timedelta(days=30)
    assert not has_closed(campaign)
    campaign.tell(campaign.ended(batch.job_name, 2))
    assert has_closed(campaign)


def test_a_round_closes_at_its_quorum() -> None:
    """With two thirds asked for, at the second of three labels."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.policy = campaign.policy.model_copy(update={"round_quorum": 0.66})
    campaign.tell(campaign.ended(batch.job_name, 0))
    assert not has_closed(campaign)
    campaign.tell(campaign.ended(batch.job_name, 1))
    assert has_closed(campaign)


def test_a_round_closes_at_its_deadline_with_at_least_one_label() -> None:
    """The deadline wakes the daemon; with nothing to learn from it goes on waiting."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.policy = campaign.policy.model_copy(update={"round_deadline": timedelta(hours=6)})
    closes_at = campaign.state.phase_started_at
    assert closes_at is not None
    closes_at += timedelta(hours=6)
    assert next_deadline(campaign.state, campaign.policy, campaign.now) == closes_at
    early = campaign.state
    campaign.now = closes_at
    assert not has_closed(campaign)
    campaign.tell(campaign.ended(batch.job_name, 0))
    assert has_closed(campaign)
    assert not any(
        isinstance(each, cm.DigestPhase) for each in decide(early, campaign.policy, closes_at)
    )


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1)])
def test_a_clock_that_is_set_closes_no_round_and_keeps_none_open(step: timedelta) -> None:
    """The deadline is so many hours from the begin, whatever the clock says in between."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.policy = campaign.policy.model_copy(update={"round_deadline": timedelta(hours=6)})
    closes_at = next_deadline(campaign.state, campaign.policy, campaign.now)
    assert closes_at is not None
    campaign.tell(campaign.ended(batch.job_name, 0))
    campaign.now += timedelta(hours=2) + step
    campaign.tell(ev.ClockStepped(at=campaign.now, by_s=step.total_seconds()))
    assert not has_closed(campaign)
    assert next_deadline(campaign.state, campaign.policy, campaign.now) == closes_at + step
    campaign.now = closes_at + step
    assert has_closed(campaign)


def test_a_clock_set_back_while_no_daemon_ran_lengthens_a_round_by_itself_at_most() -> None:
    """A phase that began in the future is known for that."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.policy = campaign.policy.model_copy(update={"round_deadline": timedelta(hours=6)})
    campaign.tell(campaign.ended(batch.job_name, 0))
    campaign.now -= timedelta(days=1)
    started = ev.DaemonStarted(
        at=campaign.now, version="0", host="h", pid=1, config_sha256="0", payload_sha256="0"
    )
    campaign.tell(started)
    assert next_deadline(campaign.state, campaign.policy, started.at) == started.at + timedelta(
        hours=6
    )


def with_isolated_atom() -> tuple[Walk, str]:
    """Three structures and an atom alone are being labelled, and one label is as good as all.

    Gives the batch's uid.
    """
    config = copper_config(training={"reference_energies_ev": "isolated_atoms"})
    campaign = Walk(config, phase_runners(config))
    job_name = campaign.submitted(Phase.CALCULATION).job_name
    campaign.policy = campaign.policy.model_copy(
        update={"round_quorum": 0.25, "round_deadline": timedelta(0), "grace": timedelta(days=1)}
    )
    return campaign, job_name


def test_no_round_closes_without_its_isolated_atoms() -> None:
    """Quorum and deadline are reached, but the first fit begins from their energies."""
    campaign, job_name = with_isolated_atom()
    campaign.tell(campaign.ended(job_name, 0), campaign.ended(job_name, 1))
    campaign.now += timedelta(hours=1)
    assert not has_closed(campaign)
    campaign.tell(campaign.ended(job_name, 3))
    assert has_closed(campaign)


def test_an_isolated_atom_that_fails_for_good_ends_the_campaign_in_its_own_words() -> None:
    """Whatever the quorum: fitted energies instead would be another campaign."""
    campaign, job_name = with_isolated_atom()
    campaign.tell(*(campaign.ended(job_name, index) for index in range(3)))
    campaign.tell(campaign.ended(job_name, 3, Reason.NUMERICAL))
    over = campaign.until(lambda state: state.verdict is not None)
    assert over.verdict is Verdict.FAILED
    reason = campaign.events[-1]
    assert isinstance(reason, ev.VerdictReached)
    assert (
        "(isolated atom: Cu) failed for good, and every fit needs its energy: simulated: numerical"
        in reason.reason
    )


def test_a_late_label_enters_the_next_training_once() -> None:
    """It is followed through the phases between, first in the next digest, and gone after it."""
    campaign = late_round()
    (job_name,) = campaign.state.batches
    first = digest(campaign)
    assert (len(first.labels), first.late, first.awaited) == (1, 0, 2)
    late = campaign.ended(job_name, 1)
    campaign.until(
        lambda state: state.current_phase is Phase.TRAINING and state.stage is Stage.WORKING
    )
    campaign.tell(late)
    assert any(
        "Late labels: 1 submitted, 1 done" in line
        for line in explain(campaign.state, campaign.policy, campaign.now)
    )
    campaign.until(lambda state: state.current_phase is Phase.TRAINING and state.cycle_index == 1)
    second = digest(campaign)
    names = [label.task for label in second.labels]
    assert late.outcome.task in names[:2]
    assert not set(names) & {label.task for label in first.labels}
    assert campaign.state.tasks.keys().isdisjoint(names)


def test_a_campaign_does_not_converge_before_its_late_labels() -> None:
    """They may change the potential; a budget that is spent does not wait."""
    campaign = walk()
    over = campaign.until(lambda state: state.verdict is not None)
    rules = campaign.policy.convergence
    assert over.verdict is Verdict.CONVERGED
    assert verdict_of(over, rules) is not None
    awaited = late_round().state.tasks
    assert verdict_of(over.model_copy(update={"tasks": awaited}), rules) is None
    spent = rules.model_copy(update={"cycles_max": len(over.cycles) - 1})
    answer = verdict_of(over.model_copy(update={"tasks": awaited}), spent)
    assert answer is not None
    assert answer[0] is Verdict.BUDGET_EXHAUSTED


def test_what_was_given_up_is_kept_with_its_reason_and_can_be_brought_back() -> None:
    """In a later phase it is ready again, with its attempts counted anew, and its label is late."""
    campaign = given_up()
    ((task, record),) = campaign.state.quarantine.items()
    assert record.failures[-1].reason is Reason.NUMERICAL
    assert record.task.inputs
    assert any(
        f"the last is {task}" in line
        for line in explain(campaign.state, campaign.policy, campaign.now)
    )
    campaign.tell(ev.TaskRetried(at=campaign.now, task=task, by=ADA, reason="another mixing"))
    assert campaign.state.quarantine == {}
    assert (campaign.state.tasks[task].status, campaign.state.tasks[task].failures) == (
        TaskStatus.READY,
        (),
    )
    campaign.until(lambda state: state.current_phase is Phase.TRAINING and state.cycle_index == 1)
    assert digest(campaign).labels[0].task == task
    assert digest(campaign).late == 1


def test_only_calculations_that_were_given_up_are_brought_back() -> None:
    """Not one that is at work, not one that nobody knows, and none after the verdict."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    for task in (batch.tasks[0], "nobody"):
        with pytest.raises(IllegalTransition, match="TaskRetried is not allowed here"):
            campaign.tell(ev.TaskRetried(at=campaign.now, task=task, by=ADA))
    ended = given_up()
    (task,) = ended.state.quarantine
    ended.tell(ev.VerdictReached(at=ended.now, verdict=Verdict.FAILED, reason="enough"))
    retried = ev.TaskRetried(at=ended.now, task=task, by=ADA)
    with pytest.raises(IllegalTransition, match="ended"):
        ended.tell(retried)
    assert is_stale(ended.state, retried)  # it was asked for just before the verdict


def test_a_submission_that_an_outcome_has_overtaken_is_looked_up() -> None:
    """Its answer went down with a daemon; the scheduler has it.

    Of its tasks some may have left the state.
    """
    campaign = walk()
    campaign.planned(Phase.CALCULATION)
    campaign.until(lambda state: bool(state.batches))
    (batch,) = campaign.state.batches.values()
    assert [type(command) for command in campaign.commands()] == [cm.SubmitBatch]
    campaign.tell(campaign.ended(batch.job_name, 0))
    assert [type(command) for command in campaign.commands()] == [cm.LocateBatch]


def test_a_submission_without_an_answer_is_looked_up_where_settings_have_changed() -> None:
    """It may have got through as tasks were asked for then.

    Staged again, its task.json would say something else.
    """
    campaign = walk()
    campaign.planned(Phase.CALCULATION)
    campaign.until(lambda state: bool(state.batches))
    (batch,) = campaign.state.batches.values()
    campaign.tell(ev.SettingsTaken(at=campaign.now, by=ADA, config_sha256="1", settings={}))
    assert [
        command for command in campaign.commands() if command.subject == f"batch:{batch.job_name}"
    ] == [cm.LocateBatch(job_name=batch.job_name)]
    campaign.tell(
        ev.SubmissionVoided(at=campaign.now, job_name=batch.job_name, message="never was")
    )
    (again,) = (command for command in campaign.commands() if isinstance(command, cm.BeginBatch))
    assert again.tasks == batch.tasks
    assert again.job_name != batch.job_name
