"""No verdict is a grave: a campaign goes on from all of them, and nothing is lost."""

import pytest
from kit.stages import ADA, walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.state import Stage, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.machine import can_reopen, is_stale
from mlip_autopipec.orchestration.restart import after_change, onward_text, reopened
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.testing.walk import Walk


def failed() -> Walk:
    """One label is there, the others were given up: no quorum."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.tell(campaign.ended(batch.job_name, 0))
    for index in (1, 2):
        campaign.tell(campaign.ended(batch.job_name, index, Reason.NUMERICAL))
    campaign.until(lambda state: state.stage is Stage.ENDED)
    assert campaign.state.verdict is Verdict.FAILED
    return campaign


def spent() -> Walk:
    """A campaign whose cycles are used up."""
    campaign = walk()
    campaign.policy = campaign.policy.model_copy(
        update={
            "convergence": campaign.policy.convergence.model_copy(
                update={"cycles_max": 1, "quiet_cycles": 9}
            )
        }
    )
    campaign.until(lambda state: state.stage is Stage.ENDED)
    assert campaign.state.verdict is Verdict.BUDGET_EXHAUSTED
    return campaign


def allow(campaign: Walk, cycles: int) -> None:
    rules = campaign.policy.convergence.model_copy(update={"cycles_max": cycles})
    campaign.policy = campaign.policy.model_copy(update={"convergence": rules})


def reopen(campaign: Walk) -> WorkflowState:
    return campaign.tell(reopened(campaign.state, campaign.now, ADA, "mended"))


def test_after_a_lost_quorum_what_was_given_up_is_tried_again_and_labels_stay() -> None:
    """Its attempts are counted anew, and the campaign runs to its end."""
    campaign = failed()
    state = reopen(campaign)
    assert (state.stage, state.verdict, state.verdict_reason) == (Stage.WORKING, None, "")
    counts = [record.status for record in state.own_tasks]
    assert sorted(counts) == [TaskStatus.DONE, TaskStatus.READY, TaskStatus.READY]
    assert [command.type for command in campaign.commands()] == ["BeginBatch"]
    end = campaign.until(lambda state: state.stage is Stage.ENDED)
    assert end.verdict in {Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED}
    assert len(
        {event.job_name for event in campaign.events if isinstance(event, ev.SubmissionBegun)}
    ) == sum(isinstance(event, ev.SubmissionBegun) for event in campaign.events)


def test_a_budget_counts_from_where_it_was_reopened() -> None:
    """As often as a person says so, without a word in the site file."""
    campaign = spent()
    for _ in range(2):
        before = len(campaign.state.cycles)
        assert reopen(campaign).stage is Stage.BETWEEN
        campaign.until(lambda state: state.stage is Stage.ENDED)
        assert len(campaign.state.cycles) == before + 1


def test_a_larger_file_goes_on_by_itself_and_bounds_count_from_the_beginning() -> None:
    """One cycle was run, three are allowed now: two more."""
    campaign = spent()
    assert list(after_change(campaign.state, "mended", campaign.policy, campaign.now, ADA)) == []
    allow(campaign, 3)
    assert list(after_change(campaign.state, "0", campaign.policy, campaign.now, ADA)) == []
    campaign.tell(*after_change(campaign.state, "larger", campaign.policy, campaign.now, ADA))
    assert campaign.state.stage is Stage.BETWEEN
    campaign.until(lambda state: state.stage is Stage.ENDED)
    assert sum(not cycle.bootstrap for cycle in campaign.state.cycles) == 3


def test_a_mended_file_goes_on_from_a_failure() -> None:
    """Whatever was mended in it."""
    campaign = failed()
    (event,) = after_change(campaign.state, "mended", campaign.policy, campaign.now, ADA)
    assert isinstance(event, ev.CampaignReopened)
    assert "site file" in describe(event)


def test_a_bootstrap_that_gave_no_potential_is_made_again() -> None:
    """In a cycle of its own, with Generation first."""
    campaign = walk()
    campaign.tell(
        ev.CycleClosed(at=campaign.now, summary=CycleSummary(cycle=0, bootstrap=True)),
    )
    campaign.until(lambda state: state.stage is Stage.ENDED)
    assert campaign.state.verdict is Verdict.FAILED
    reopen(campaign)
    campaign.planned(Phase.GENERATION, cycle=1)
    campaign.until(lambda state: len(state.cycles) == 2)
    assert campaign.state.potential is not None
    assert campaign.state.cycles[1].bootstrap
    campaign.planned(Phase.EXPLORATION, cycle=2)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_gone_on_from_and_says_how(verdict: Verdict) -> None:
    """A verdict that is added to the list goes on by itself.

    A converged campaign says so only where it is asked.
    """
    campaign = walk()
    said = ev.VerdictReached(at=campaign.now, verdict=verdict, reason="so it is")
    state = campaign.tell(said)
    event = reopened(state, campaign.now, ADA, "mended")
    assert can_reopen(state)
    assert not is_stale(state, event)
    assert ("autopipecctl reopen" in onward_text(verdict)) is (verdict is not Verdict.CONVERGED)
    assert ("autopipecctl reopen" in describe(said)) is (verdict is not Verdict.CONVERGED)
    assert campaign.tell(event).status == "running"


def test_a_converged_campaign_that_is_reopened_shows_it_anew() -> None:
    """Labels, data sets and potential stay.

    Two further quiet cycles are walked before it converges again.
    """
    campaign = walk()
    before = campaign.until(lambda state: state.stage is Stage.ENDED)
    assert before.verdict is Verdict.CONVERGED
    reopen(campaign)
    after = campaign.until(lambda state: state.stage is Stage.ENDED)
    assert after.verdict is Verdict.CONVERGED
    assert len(after.cycles) == len(before.cycles) + 2
    assert after.datasets[: len(before.datasets)] == before.datasets
    assert after.potential is not None
