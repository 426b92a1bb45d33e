"""Another site file or `set` while a campaign goes on: compared, taken in one event, followed."""

from typing import Any

import pytest
from kit.stages import ADA, added, walk

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import ConfigurationError
from mlip_autopipec.orchestration.changing import (
    change_by_hand,
    change_to,
    in_force,
    override_lines,
    taking,
)
from mlip_autopipec.orchestration.explain import explain
from mlip_autopipec.orchestration.machine import is_stale, unexplored
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.restart import reopened
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

#: A file that keeps its own rules, to which `set` is held.
TRAINING = {"functions_per_element": 8}
_FCC = {"structure": "fcc", "elements": ["Cu"], "lattice_constant_angstrom": 3.61}


def file(*kelvin: int, **sections: Any) -> WorkflowConfig:
    """The campaign's site file with these temperatures."""
    walkers = {
        "prototype": _FCC,
        "temperatures_kelvin": list(kelvin) or [300, 900, 1500],
        "steps": 1500,
    }
    training = {**TRAINING, **sections.pop("training", {})}
    return copper_config(exploration={"walkers": [walkers]}, training=training, **sections)


def begun(until: str = "exploration") -> Walk:
    """A campaign whose file is in force, in its first exploration, or at its end."""
    campaign = walk()
    take(campaign, file())
    if until == "end":
        campaign.until(lambda state: state.stage is Stage.ENDED)
    else:
        campaign.planned(Phase.EXPLORATION, cycle=1)
    return campaign


def take(campaign: Walk, config: WorkflowConfig) -> WorkflowState:
    """As a running daemon does it."""
    change = change_to(campaign.state, config, starting=False)
    assert change is not None
    assert change.refusal("site.yaml") is None
    campaign.tell(*taking(campaign.state, change, "1", campaign.now, ADA, "more"))
    return follow(campaign)


def follow(campaign: Walk) -> WorkflowState:
    config = in_force(campaign.state)
    campaign.policy, campaign.runners = Policy.from_config(config), phase_runners(config)
    return campaign.state


def put(campaign: Walk, key: str, value: int | str | list[int]) -> WorkflowState:
    change = change_by_hand(campaign.state, key, value)  # type: ignore[arg-type] # JSON
    assert change is not None
    campaign.tell(*taking(campaign.state, change, "1", campaign.now, ADA))
    return follow(campaign)


def test_the_same_file_is_no_change() -> None:
    """Nor is one whose defaults are spelled out."""
    campaign = begun()
    assert change_to(campaign.state, file(), starting=False) is None
    spelled = change_to(campaign.state, file(convergence={"quorum": 0.5}), starting=False)
    assert spelled is not None
    assert spelled.changes == ()


def test_a_change_is_told_by_key_before_and_after() -> None:
    """In words that a person would use."""
    campaign = begun()
    change = change_to(campaign.state, file(convergence={"cycles_max": 9}), starting=False)
    assert change is not None
    assert change.lines() == ("convergence.cycles_max: 4 → 9",)


def test_tasks_that_are_planned_already_are_told_with_what_they_keep() -> None:
    """By phase and name, of the keys that they carry.

    Resources and bounds reach them, and what is planned is new.
    """
    campaign = begun()
    names = [record.task.id for record in campaign.state.own_tasks]
    hotter = file(300, 1800, convergence={"cycles_max": 9}, selection={"candidates_max": 2})
    change = change_to(campaign.state, hotter, starting=False)
    assert change is not None
    (note,) = change.notes
    assert note == (
        (
            "3 tasks of exploration planned before this will keep"
            " exploration.walkers[0].temperatures_kelvin as of then: "
        )
        + ", ".join(names)
    )
    assert note in change.lines()
    by_hand = change_by_hand(campaign.state, "exploration.stride", 7)
    assert by_hand is not None
    assert "will keep exploration.stride as of then" in by_hand.lines()[-1]
    for harmless in (
        file(site={"resources": {"exploration": {"walltime": "3 h"}}}),
        file(training={"ridge": 1e-7}),
    ):
        found = change_to(campaign.state, harmless, starting=False)
        assert found is not None
        assert found.notes == ()


def test_what_may_not_change_is_refused_by_name_and_nothing_is_taken() -> None:
    """However right the rest of the file is."""
    campaign = begun()
    other = {"oracle": {"kind": "ase", "calculator": "ase.calculators.lj.LennardJones"}}
    change = change_to(
        campaign.state, file(calculation=other, convergence={"cycles_max": 9}), starting=True
    )
    assert change is not None
    error = change.refusal("site.yaml")
    assert error is not None
    assert "calculation.oracle.calculator" in str(error)
    assert "another oracle are never trained on together" in str(error)
    assert "cycles_max" not in str(error)


def test_an_oracle_may_change_before_the_first_labels_are_planned() -> None:
    """And not after."""
    campaign = walk()
    take(campaign, file())
    other = file(
        calculation={"oracle": {"kind": "ase", "calculator": "ase.calculators.lj.LennardJones"}}
    )
    change = change_to(campaign.state, other, starting=False)
    assert change is not None
    assert not change.refused
    campaign.planned(Phase.CALCULATION)
    change = change_to(campaign.state, other, starting=False)
    assert change is not None
    assert change.refused


def test_what_waits_for_a_start_is_left_as_it_is_and_taken_then() -> None:
    """The rest of the file is taken meanwhile."""
    campaign = begun()
    new = file(site={"poll_interval": "10 s", "grace": "300 s"})
    state = take(campaign, new)
    config = in_force(state)
    assert (config.site.poll_interval, config.site.grace) == (30, 300)
    again = change_to(state, new, starting=False)
    assert again is not None
    assert not again.is_news(state)
    assert any(
        "waits for the next start: site.poll_interval: 30 s → 10 s" in line
        for line in again.lines()
    )
    later = change_to(state, new, starting=True)
    assert later is not None
    assert [change.key for change in later.changes] == ["site.poll_interval"]


def test_walkers_of_the_next_plan_are_those_in_force() -> None:
    """Those that walk already go on."""
    campaign = begun()
    before = [task.id for task in (record.task for record in campaign.state.own_tasks)]
    state = take(campaign, file(300, 1800))
    assert [record.task.id for record in state.own_tasks] == before
    state = campaign.planned(Phase.EXPLORATION, cycle=2)
    asked = [record.task.parameters for record in state.own_tasks]
    walks = [each.walker for each in asked if isinstance(each, ExploreParameters)]
    assert {walker.temperature_kelvin for walker in walks} == {300, 1800}


def test_places_of_another_structure_are_not_gone_on_from() -> None:
    """A group that starts from another crystal begins anew; one with more temperatures goes on."""
    campaign = begun()
    campaign.until(lambda state: bool(state.halted))
    kept = take(campaign, file(300, 900, 1500, 1800)).halted
    assert kept
    walkers = {
        "prototype": {**_FCC, "lattice_constant_angstrom": 3.7},
        "temperatures_kelvin": [300],
        "steps": 9,
    }
    other = copper_config(exploration={"walkers": [walkers]}, training=TRAINING)
    assert not take(campaign, other).halted


def test_a_converged_campaign_goes_on_where_more_is_asked_for() -> None:
    """New walkers are walked in as many quiet cycles as ever, before it is converged again."""
    campaign = begun("end")
    ended = campaign.state
    assert ended.verdict is Verdict.CONVERGED
    state = take(campaign, file(300, 900, 1500, 1800, convergence={"cycles_max": 9}))
    assert (state.verdict, state.quiet_from) == (None, len(ended.cycles))
    end = campaign.until(lambda state: state.stage is Stage.ENDED)
    assert end.verdict is Verdict.CONVERGED
    assert [cycle.walkers for cycle in end.cycles[len(ended.cycles) :]] == [4, 4]
    assert end.datasets[: len(ended.datasets)] == ended.datasets


def test_a_converged_campaign_stays_so_where_nothing_more_is_asked_for() -> None:
    """A larger budget alone is no reason to walk again."""
    campaign = begun("end")
    assert take(campaign, file(convergence={"cycles_max": 9})).verdict is Verdict.CONVERGED
    assert (
        take(campaign, file(300, 900, convergence={"cycles_max": 9})).verdict is Verdict.CONVERGED
    )


def test_walkers_that_were_planned_meanwhile_do_not_count_as_asked() -> None:
    """A change is worked out for one state, and folded into a later one.

    In that one the old walkers walk already.
    """
    campaign = begun("end")
    campaign.tell(reopened(campaign.state, campaign.now, ADA, "more"))
    change = change_to(
        campaign.state, file(300, 900, 1500, 1800, convergence={"cycles_max": 9}), starting=False
    )
    assert change is not None
    events = taking(campaign.state, change, "1", campaign.now, ADA)
    cycle = campaign.state.cycle_index
    campaign.planned(Phase.EXPLORATION, cycle=cycle)
    assert campaign.tell(*events).quiet_from == cycle + 1


def test_tighter_needs_reopen_a_converged_campaign() -> None:
    """Bounds count as before."""
    campaign = begun("end")
    state = take(campaign, file(convergence={"quiet_cycles": 5, "cycles_max": 9}))
    assert state.verdict is None
    assert state.first_cycle == 0


def test_what_is_set_by_hand_is_shown_until_the_file_says_otherwise() -> None:
    """A file that has not changed there leaves it; one that has wins, and that is told."""
    campaign = begun()
    state = put(campaign, "convergence.cycles_max", 7)
    assert campaign.policy.convergence.cycles_max == 7
    (message,) = override_lines(state)
    assert message == "convergence.cycles_max is 7 by hand (the site file says 4)"
    assert any("by hand" in line for line in explain(state, campaign.policy, campaign.now))
    assert change_to(state, file(), starting=True) is None
    kept = take(campaign, file(convergence={"attempts_max": 5}))
    assert in_force(kept).convergence.cycles_max == 7
    change = change_to(kept, file(convergence={"cycles_max": 6}), starting=False)
    assert change is not None
    assert change.given_way == ("convergence.cycles_max",)
    assert "follows the site file again" in " ".join(change.lines())
    assert in_force(take(campaign, file(convergence={"cycles_max": 6}))).convergence.cycles_max == 6


def test_set_to_what_the_file_says_takes_the_hand_away() -> None:
    """There is nothing left to show."""
    campaign = begun()
    put(campaign, "convergence.cycles_max", 7)
    assert put(campaign, "convergence.cycles_max", 4).overrides == {}
    assert change_by_hand(campaign.state, "convergence.cycles_max", 4) is None


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("convergence.cycles_mux", 7, "cycles_max"),
        ("convergence.cycles_max", "many", "whole number"),
        ("convergence.cycles_max", 0, "1 or more"),
        ("campaign.elements", ["Cu", "Au"], "begin another campaign"),
        ("site.poll_interval", "10 s", "a new start"),
        ("exploration.walkers[4].steps", 10, "no item 4"),
        ("exploration..walkers", 10, "is no key"),
        ("exploration.gamma_halt", 1.5, "gamma"),
    ],
)
def test_set_refuses_in_words(key: str, value: object, message: str) -> None:
    """Unknown keys with the nearest, wrong values with the expected, fixed keys with the reason."""
    campaign = begun()
    with pytest.raises(ConfigurationError, match=message):
        change_by_hand(campaign.state, key, value)  # type: ignore[arg-type] # JSON, or not


def test_an_added_structure_is_labelled_once_in_the_next_round() -> None:
    """Whatever its file is called the second time; and no campaign converges before it is."""
    campaign = begun()
    event = added(campaign)
    state = campaign.tell(event)
    assert is_stale(state, event)
    assert not state.site_prepared
    assert [each.origin for each in state.to_label] == ["added: mine.cif frame 1"]
    state = campaign.planned(Phase.CALCULATION, cycle=1)
    asked = [
        record.task
        for record in state.own_tasks
        if isinstance(record.task.parameters, CalculateParameters)
        and "added" in record.task.parameters.origin
    ]
    assert [task.inputs[0].file for task in asked] == [event.structures[0].file]
    assert state.to_label == ()
    assert campaign.tell(event.model_copy(update={"at": campaign.now})).to_label == ()


def test_a_round_is_made_for_added_structures_alone() -> None:
    """A cycle that has selected nothing passes no label over that a person wants."""
    campaign = begun("end")
    campaign.tell(reopened(campaign.state, campaign.now, ADA, "a surface"))
    campaign.tell(added(campaign))
    state = campaign.until(lambda state: state.current_phase is Phase.CALCULATION)
    assert any("added" in record.task.parameters.origin for record in state.own_tasks)  # type: ignore[union-attr]


def test_an_added_structure_is_walked_from_beside_those_of_the_file() -> None:
    """Under the conditions of the first walkers; the campaign shows anew that it is quiet."""
    campaign = begun("end")
    campaign.tell(reopened(campaign.state, campaign.now, ADA, "from the melt"))
    file = FileRef(path="inputs/abc-melt.extxyz", sha256="b" * 64)
    walks = (ev.AddedWalk(file=file, name="abc-melt.extxyz"),)
    state = campaign.tell(
        ev.StructuresAdded(
            at=campaign.now, by=ADA, walks=walks, quiet_from=unexplored(campaign.state)
        )
    )
    config = in_force(state)
    last = config.exploration.walkers[-1]
    assert last.file == config.campaign.folder / "added" / "abc-melt.extxyz"
    assert last.temperatures_kelvin == config.exploration.walkers[0].temperatures_kelvin
    assert last.prototype is None
    assert change_to(state, file_in_force(), starting=True) is None
    assert last.file is not None
    campaign.policy = Policy.from_config(config)
    campaign.runners = phase_runners(config, {last.file: file})
    state = campaign.planned(Phase.EXPLORATION, cycle=len(state.cycles))
    assert len(state.own_tasks) == 6


def file_in_force() -> WorkflowConfig:
    """The site file as it was when the campaign began."""
    return file()


def test_settings_of_an_earlier_schema_stop_no_daemon() -> None:
    """A key that is gone since, in the file of then or set by hand then, gives way and is told."""
    campaign = begun()
    put(campaign, "convergence.cycles_max", 7)
    old = {**campaign.state.settings, "selektion": {"cloud": 3}}
    hand = {**campaign.state.overrides, "convergence.cycles_least": 2}
    state = campaign.state.model_copy(update={"settings": old, "overrides": hand})
    change = change_to(state, file(), starting=True)
    assert change is not None
    assert not change.more
    assert change.given_way == ("convergence.cycles_least",)
    assert dict(change.overrides) == {"convergence.cycles_max": 7}


def test_a_campaign_of_before_takes_whatever_its_file_says() -> None:
    """There is nothing to compare with; from then on there is."""
    campaign = walk()
    campaign.planned(Phase.EXPLORATION, cycle=1)
    change = change_to(campaign.state, file(300), starting=True)
    assert change is not None
    assert change.changes == ()
    state = take(campaign, file(300))
    assert change_to(state, file(300), starting=True) is None
    assert isinstance(campaign.events[-1], ev.SettingsTaken)


def test_a_reload_of_an_ended_campaign_is_complete_whatever_a_torn_append_leaves() -> None:
    """Killed between its events, the next daemon finds the file as new as it was."""
    campaign = begun("end")
    larger = file(300, 900, 1500, 1800, convergence={"cycles_max": 9})
    change = change_to(campaign.state, larger, starting=False)
    assert change is not None
    events = taking(campaign.state, change, "1", campaign.now, ADA)
    assert [event.type for event in events] == ["CampaignReopened", "SettingsTaken"]
    campaign.tell(events[0])
    again = change_to(campaign.state, larger, starting=True)
    assert again is not None
    campaign.tell(*taking(campaign.state, again, "1", campaign.now, ADA))
    assert in_force(campaign.state) == larger
    assert campaign.state.verdict is None


def test_a_campaign_keeps_the_evaluator_of_its_potentials() -> None:
    """γ of two evaluators have no scale in common.

    Another trainer may take over if its potentials are of the same evaluator.
    """
    campaign = begun()
    fixed = {"functions_per_element": 8, "cutoff_angstrom": 5.0}
    other = file().model_copy(
        update={"training": copper_config(training={**fixed, "trainer": "pacemaker"}).training}
    )
    change = change_to(campaign.state, other, starting=False)
    assert change is not None
    assert "training.trainer" in {each.key for each in change.changes}
    potential = campaign.state.potential
    assert potential is not None
    update = {"potential": potential.model_copy(update={"evaluator": "another"})}
    change = change_to(campaign.state.model_copy(update=update), other, starting=False)
    assert change is not None
    assert [(each.key, "begin another campaign" in why) for each, why in change.refused] == [
        ("training.trainer", True)
    ]
