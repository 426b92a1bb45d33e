"""Going back to a phase's begin: what is kept or set aside, and what can never be used twice."""

import pytest
from kit.stages import ADA, added, walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import IllegalTransition, OperatorError
from mlip_autopipec.orchestration.machine import evolve, is_stale
from mlip_autopipec.orchestration.redoing import redone, same_work
from mlip_autopipec.testing.walk import Walk


def ended() -> Walk:
    """A campaign that has converged after some cycles with labels."""
    campaign = walk()
    campaign.until(lambda state: state.stage is Stage.ENDED)
    return campaign


def back(campaign: Walk, cycle: int, phase: Phase) -> tuple[ev.PhaseRedone, tuple[str, ...]]:
    return redone(campaign.events, cycle, phase, at=campaign.now, by=ADA, reason="once more")


def standing(campaign: Walk, cycle: int, phase: Phase) -> WorkflowState:
    """The state in which this phase began."""
    state = WorkflowState()
    for event in campaign.events:
        if isinstance(event, ev.PhaseStarted) and (event.cycle, event.phase) == (cycle, phase):
            return state
        state = evolve(state, event)
    raise AssertionError("it never began")


@pytest.mark.parametrize(
    "phase", [Phase.EXPLORATION, Phase.SELECTION, Phase.CALCULATION, Phase.TRAINING]
)
def test_a_phase_is_done_again_from_what_there_was(phase: Phase) -> None:
    """Data sets, potential and digests of then; tasks and folders of a cycle that never was."""
    campaign = ended()
    then, cycles = standing(campaign, 1, phase), len(campaign.state.cycles)
    before = {
        task.id
        for event in campaign.events
        if isinstance(event, ev.PhaseStarted)
        for task in event.tasks
    }
    event, _ = back(campaign, 1, phase)
    state = campaign.tell(event)
    assert (state.verdict, state.stage, state.cycle_index) == (None, Stage.BETWEEN, cycles)
    assert (state.datasets, state.potential, dict(state.digests)) == (
        then.datasets,
        then.potential,
        dict(then.digests),
    )
    assert state.check() == ()
    again = campaign.planned(phase, cycle=cycles)
    assert not before & {record.task.id for record in again.own_tasks}
    end = campaign.until(lambda state: state.stage is Stage.ENDED)
    assert end.verdict in {Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED}
    assert len(set(end.datasets)) == len(end.datasets)


def test_the_bootstrap_is_done_again_too() -> None:
    """With no potential and no data set, in a bootstrap cycle of its own."""
    campaign = ended()
    event, _ = back(campaign, 0, Phase.GENERATION)
    state = campaign.tell(event)
    assert (state.potential, state.datasets) == (None, ())
    campaign.planned(Phase.GENERATION, cycle=state.cycle_index)
    assert (
        campaign.until(lambda state: state.potential is not None).cycles[-1].cycle
        < campaign.state.cycle_index + 1
    )


def test_what_it_means_is_told_before() -> None:
    """What is done again, kept, and set aside with its cost."""
    campaign = ended()
    _, lines = back(campaign, 1, Phase.TRAINING)
    text = "\n".join(lines)
    assert "training of cycle 1 and what follows it, as cycle " in text
    assert "kept: 1 data sets, the potential of cycle 0" in text
    assert "core-hours" in text


def test_a_phase_that_never_began_is_refused_with_those_that_did() -> None:
    """By their names."""
    with pytest.raises(
        OperatorError, match=r"no selection of cycle 7 has begun; .*training of cycle"
    ):
        back(ended(), 7, Phase.SELECTION)


def test_nothing_may_be_at_work() -> None:
    """Told in words before, stale where an attempt began meanwhile, and never folded in."""
    campaign = ended()
    event, _ = back(campaign, 1, Phase.TRAINING)
    busy = walk()
    batch = busy.submitted(Phase.CALCULATION)
    assert batch.live
    with pytest.raises(OperatorError, match="cancel --all"):
        back(busy, 0, Phase.GENERATION)
    assert is_stale(busy.state, event)
    with pytest.raises(IllegalTransition, match="at work"):
        evolve(busy.state, event)


def test_an_unfinished_cycle_is_closed_by_it() -> None:
    """So that the numbers of cycles have no gap."""
    campaign = walk()
    state = campaign.planned(Phase.EXPLORATION, cycle=1)
    event, _ = back(campaign, 0, Phase.TRAINING)
    assert event.summary is not None
    state = campaign.tell(event)
    assert [cycle.cycle for cycle in state.cycles] == [0, 1]
    assert state.cycle_index == 2
    assert state.check() == ()


def test_what_people_have_added_since_is_labelled_again() -> None:
    """Its label is set aside with the rest, and it is wanted still."""
    campaign = walk()
    campaign.planned(Phase.EXPLORATION, cycle=1)
    structure = added(campaign)
    campaign.tell(structure)
    campaign.until(lambda state: state.stage is Stage.ENDED)
    assert campaign.state.to_label == ()
    event, lines = back(campaign, 1, Phase.EXPLORATION)
    assert event.to_label == structure.structures
    assert "1 structures that people have added" in lines[-1]
    later, _ = back(campaign, len(campaign.state.cycles) - 1, Phase.EXPLORATION)
    assert later.to_label == ()


def test_what_a_second_way_back_restores_is_not_labelled_again() -> None:
    """The first way back set its label aside.

    The second goes back to where that label had been learned from.
    """
    campaign = walk()
    campaign.planned(Phase.EXPLORATION, cycle=1)
    campaign.tell(added(campaign))
    campaign.until(
        lambda state: state.cycle_index == 2 and state.current_phase is Phase.EXPLORATION
    )
    campaign.until(lambda state: state.stage is Stage.ENDED)
    first, _ = back(campaign, 1, Phase.EXPLORATION)
    assert len(campaign.tell(first).to_label) == 1
    second, _ = back(campaign, 2, Phase.EXPLORATION)
    assert second.to_label == ()
    state = campaign.tell(second)
    assert state.to_label == ()
    assert state.datasets == standing(campaign, 2, Phase.EXPLORATION).datasets


def test_what_is_added_while_a_way_back_is_worked_out_is_wanted_too() -> None:
    """The event was made before; the state has it."""
    campaign = walk()
    campaign.until(lambda state: state.stage is Stage.ENDED)
    event, _ = back(campaign, 1, Phase.EXPLORATION)
    structure = added(campaign)
    again = len(campaign.state.cycles)
    campaign.tell(ev.CampaignReopened(at=campaign.now, by=ADA, reason="more", first_cycle=again))
    campaign.tell(structure)
    assert campaign.tell(event).to_label == structure.structures


def test_what_was_added_and_gave_no_label_yet_is_wanted_still() -> None:
    """Its calculation was late, and had failed, as the phase began.

    A way back leaves that task out.
    """
    campaign = walk()
    campaign.planned(Phase.EXPLORATION, cycle=1)
    structure = added(campaign)
    campaign.tell(structure)
    batch = campaign.submitted(Phase.CALCULATION, cycle=1)
    wanted = structure.structures[0].file.sha256
    records = campaign.state.tasks
    (own,) = (
        i
        for i, name in enumerate(batch.tasks)
        if records[name].task.inputs[0].file.sha256 == wanted
    )
    campaign.policy = campaign.policy.model_copy(update={"round_quorum": 0.3})
    for index in sorted(batch.live - {own}):
        campaign.tell(campaign.ended(batch.job_name, index))
    campaign.until(lambda state: state.current_phase is Phase.TRAINING)
    campaign.tell(
        ev.AttemptLost(
            at=campaign.now,
            job_name=batch.job_name,
            index=own,
            reason=Reason.PREEMPTED,
            message="gone",
        )
    )
    event, _ = back(campaign, 1, Phase.TRAINING)
    assert [each.file.sha256 for each in event.to_label] == [wanted]


def test_work_that_went_on_meanwhile_is_seen() -> None:
    """A way back is worked out aside; it holds for the state that it was worked out for."""
    campaign = walk()
    before = campaign.state
    assert same_work(before, campaign.state)
    campaign.planned(Phase.GENERATION)
    assert not same_work(before, campaign.state)
    before = campaign.state
    campaign.tell(added(campaign))
    assert not same_work(before, campaign.state)


def test_a_way_back_that_was_made_for_another_cycle_is_stale() -> None:
    """The cycle closed while it was worked out: it would be folded twice."""
    campaign = walk()
    state = campaign.until(lambda state: Phase.TRAINING in state.digests)
    event, _ = back(campaign, 0, Phase.TRAINING)
    assert not is_stale(state, event)
    state = campaign.until(lambda state: len(state.cycles) == 1)
    assert is_stale(state, event)
    with pytest.raises(IllegalTransition, match="gone on"):
        evolve(state, event)


def test_an_exploration_of_before_more_was_asked_for_is_no_quiet_one() -> None:
    """Its digest is kept, and the cycle that goes on from it counts for nothing."""
    campaign = ended()
    event, _ = back(campaign, 1, Phase.TRAINING)
    fresh = evolve(campaign.state, event)
    asked = campaign.state.model_copy(update={"quiet_from": 2})
    assert (fresh.quiet_from, evolve(asked, event).quiet_from) == (
        fresh.cycle_index,
        fresh.cycle_index + 1,
    )
    explored, _ = back(campaign, 1, Phase.EXPLORATION)
    assert evolve(asked, explored).quiet_from == fresh.cycle_index
