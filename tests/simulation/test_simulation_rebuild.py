"""A journal that is gone, made again from what a simulated site holds after a campaign full of faults.

Rounds that close early are left out: no file on the site tells which round an outcome came too late for. So are people
who change their minds: nothing there tells by which site file a task was planned, nor what was set aside.
"""

import asyncio
import json

import pytest
from simulated_campaign import Parts, Simulation, replay

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.rebuild import Relics, rebuild, unearth
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.memory import MemoryTransport

SEEDS = range(24)


def relics_of(simulation: Simulation) -> Relics:
    """What lies on the site when all is over."""
    transport = MemoryTransport()
    transport.files = dict(simulation._site.transport.files)
    return asyncio.run(unearth(transport, "copper"))


def rebuilt(simulation: Simulation, relics: Relics, kept: int = 0) -> list[ev.Event]:
    """The first `kept` events, and those that are made again."""
    config, events = simulation._config, list(simulation.findings.events)
    (created,) = (event for event in events if isinstance(event, ev.CampaignCreated))
    state = replay(events[:kept]) if kept else WorkflowState()
    made = rebuild(state, relics, phase_runners(config), Policy.from_config(config), created)
    return [*events[:kept], *made]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_journal_that_is_gone_is_made_again(seed: int) -> None:
    """Every closed cycle, label, data set and potential is the same; so is the verdict.

    Only where attempts that left no file on the site brought it, the campaign stands just before it.
    """
    simulation = Simulation(seed, Parts(rounds=False, edits=False))
    simulation.run()
    live = replay(simulation.findings.events)
    state = replay(rebuilt(simulation, relics_of(simulation)))
    assert state.campaign == live.campaign
    assert state.cycles == live.cycles
    assert state.datasets == live.datasets
    assert state.potential == live.potential
    assert (state.verdict == live.verdict) or (live.verdict is Verdict.FAILED and stands_before(state, live))


def stands_before(state: WorkflowState, live: WorkflowState) -> bool:
    """Whether the phase in which the other campaign failed has not ended."""
    place = (state.stage, state.cycle_index, state.current_phase)
    return place == (Stage.WORKING, live.cycle_index, live.current_phase)


@pytest.mark.parametrize("seed", SEEDS[:8])
def test_what_was_cut_off_is_made_again(seed: int) -> None:
    """From any place on, the rest of a journal gives the same campaign."""
    simulation = Simulation(seed, Parts(rounds=False, edits=False))
    simulation.run()
    live, relics = replay(simulation.findings.events), relics_of(simulation)
    for kept in range(1, len(simulation.findings.events), 7):
        state = replay(rebuilt(simulation, relics, kept))
        assert (state.cycles, state.datasets) == (live.cycles, live.datasets)
        assert (state.verdict == live.verdict) or (live.verdict is Verdict.FAILED and stands_before(state, live))


def test_another_site_file_is_refused() -> None:
    """Tasks that it does not ask for are named; nothing is made up."""
    simulation = Simulation(1, Parts())
    simulation.run()
    relics = relics_of(simulation)
    campaign = simulation._config.campaign
    simulation._config = simulation._config.model_copy(update={"campaign": campaign.model_copy(update={"seed": 99})})
    with pytest.raises(OperatorError, match="which this site file does not ask for"):
        rebuilt(simulation, relics)


def test_an_empty_site_is_refused() -> None:
    """There is nothing to make a journal from."""
    with pytest.raises(OperatorError, match=r"site\.root holds no submission"):
        asyncio.run(unearth(MemoryTransport(), "copper"))


@pytest.mark.parametrize(("twins", "rule"), [({}, "cell"), ({"twins": False}, "family"), ({"twins": True}, "family")])
def test_the_rule_for_k_meshes_is_that_of_the_first_task(twins: dict[str, bool], rule: str) -> None:
    """A campaign of before there were families would otherwise ask for its structures and labels under other names."""
    transport = MemoryTransport()
    intent = {"campaign": "copper-3f9a1c", "uid": "copper-3f9a1c.c000.generation.b00"}
    transport.files[f".ap/submit/{intent['uid']}/intent.json"] = json.dumps(
        {**intent, "tasks": ["c000.generation.0000-abcdef"]}
    ).encode()
    assert asyncio.run(unearth(transport, "copper")).k_mesh == "family"
    task = {"parameters": {"kind": "generate", **twins}}
    transport.files["cycles/000/generation/0000-abcdef/task.json"] = json.dumps(task).encode()
    assert asyncio.run(unearth(transport, "copper")).k_mesh == rule
