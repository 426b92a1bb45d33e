"""A lost journal, made again from what a simulated site holds after a campaign full of faults.

What people did, and which labels a round left behind, lies on the site as well
(`orchestration/deeds.py`); of a campaign that an earlier program ran it does not, and those whom
nobody changed are made again all the same.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from kit.simulated import SUPPLIES, Begin, Parts, Simulation, replay

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.changing import ADDED, in_force
from mlip_autopipec.orchestration.deeds import is_deed
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.rebuild import Relics, rebuild, unearth
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import PhaseRunner
from mlip_autopipec.testing.memory import MemoryTransport

SEEDS = range(24)


def relics_of(simulation: Simulation) -> Relics:
    """What lies on the site when all is over."""
    transport = MemoryTransport()
    transport.files = dict(simulation._site.transport.files)
    return asyncio.run(unearth(transport, "copper"))


def rebuilt(simulation: Simulation, relics: Relics, kept: int = 0) -> list[ev.Event]:
    """The first `kept` events, and those that are made again."""
    events = list(simulation.findings.events)
    (created,) = (event for event in events if isinstance(event, ev.CampaignCreated))
    state = replay(events[:kept]) if kept else WorkflowState()

    def follow(now: WorkflowState) -> tuple[Mapping[Phase, PhaseRunner], Policy]:
        config = in_force(now) if now.settings else simulation._begun
        files = {Path(config.campaign.folder) / ADDED / walk.name: walk.file for walk in now.walks}
        return phase_runners(config, {**SUPPLIES, **files}), Policy.from_config(config)

    done = sum(map(is_deed, events[:kept]))
    return [*events[:kept], *rebuild(state, relics, follow, created, deeds_done=done)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_journal_that_is_gone_is_made_again(seed: int) -> None:
    """Every closed cycle, label, data set and potential is the same; so is the verdict.

    Only where attempts that left no file on the site brought it, the campaign stands just before
    it.
    """
    simulation = Simulation(seed, Parts())
    simulation.run()
    live = replay(simulation.findings.events)
    state = replay(rebuilt(simulation, relics_of(simulation)))
    assert state.campaign == live.campaign
    assert state.cycles == live.cycles
    assert state.datasets == live.datasets
    assert state.potential == live.potential
    assert state.verdict == live.verdict
    assert (state.settings, state.overrides, state.added) == (
        live.settings,
        live.overrides,
        live.added,
    )
    assert state.quarantine.keys() == live.quarantine.keys()


@pytest.mark.parametrize("seed", SEEDS[:8])
def test_one_of_before_deeds_were_kept_is_made_again(seed: int) -> None:
    """So it is where nobody changed anything.

    Only where attempts that left no file brought the verdict, it stands before it.
    """
    simulation = Simulation(seed, Parts(rounds=False, edits=False, begin=Begin()))
    simulation.run()
    live = replay(simulation.findings.events)
    state = replay(rebuilt(simulation, replace(relics_of(simulation), deeds=())))
    assert (state.cycles, state.datasets, state.potential) == (
        live.cycles,
        live.datasets,
        live.potential,
    )
    assert (state.verdict == live.verdict) or (
        live.verdict is Verdict.FAILED and stands_before(state, live)
    )


def stands_before(state: WorkflowState, live: WorkflowState) -> bool:
    """Whether the phase in which the other campaign failed has not ended."""
    index = (state.stage, state.cycle_index, state.current_phase)
    return index == (Stage.WORKING, live.cycle_index, live.current_phase)


@pytest.mark.parametrize("seed", SEEDS[:8])
def test_what_was_cut_off_is_made_again(seed: int) -> None:
    """From any place on, the rest of a journal gives the same campaign."""
    simulation = Simulation(seed, Parts())
    simulation.run()
    live, relics = replay(simulation.findings.events), relics_of(simulation)
    for kept in range(1, len(simulation.findings.events), 13):
        state = replay(rebuilt(simulation, relics, kept))
        assert (state.cycles, state.datasets) == (live.cycles, live.datasets)
        assert state.verdict == live.verdict


def test_a_submission_that_left_no_intent_is_passed_over() -> None:
    """The daemon gave it up before it could write anything: later ones were counted on from it."""
    voided = 0
    for seed in SEEDS[:8]:
        simulation = Simulation(seed, Parts())
        simulation.run()
        live, relics = replay(simulation.findings.events), relics_of(simulation)
        never = {
            event.job_name
            for event in simulation.findings.events
            if isinstance(event, ev.SubmissionVoided)
        }
        intents = {name: intent for name, intent in relics.intents.items() if name not in never}
        state = replay(rebuilt(simulation, replace(relics, intents=intents)))
        assert (state.cycles, state.datasets) == (live.cycles, live.datasets)
        voided += len(never)
    assert voided


def test_an_intent_that_is_gone_beside_its_outcomes_is_refused() -> None:
    """It was submitted: what it ran is not guessed."""
    simulation = Simulation(0, Parts())
    simulation.run()
    relics = relics_of(simulation)
    later = {name.rpartition(".")[0] for name in relics.intents if not name.endswith(".b00")}
    gone = next(
        name
        for name in relics.intents
        if name.endswith(".b00")
        and name.rpartition(".")[0] in later
        and any(file.startswith(f"{name}.") for file in relics.outcomes)
    )
    intents = {name: intent for name, intent in relics.intents.items() if name != gone}
    with pytest.raises(OperatorError, match=f"an outcome of {gone}, and .ap/submit no intent"):
        rebuilt(simulation, replace(relics, intents=intents))


def test_another_site_file_is_refused() -> None:
    """Tasks that it does not ask for are named; nothing is made up."""
    simulation = Simulation(1, Parts())
    simulation.run()
    relics = relics_of(simulation)
    campaign = simulation._begun.campaign
    simulation._begun = simulation._begun.model_copy(
        update={"campaign": campaign.model_copy(update={"seed": 99})}
    )
    with pytest.raises(OperatorError, match="which this site file does not ask for"):
        rebuilt(simulation, relics)


def test_an_empty_site_is_refused() -> None:
    """There is nothing to make a journal from."""
    with pytest.raises(OperatorError, match=r"site\.root holds no submission"):
        asyncio.run(unearth(MemoryTransport(), "copper"))


@pytest.mark.parametrize(
    ("twins", "rule"), [({}, "cell"), ({"twins": False}, "family"), ({"twins": True}, "family")]
)
def test_the_rule_for_k_meshes_is_that_of_the_first_task(twins: dict[str, bool], rule: str) -> None:
    """Else a campaign of before families would ask for its structures and labels by other names."""
    transport = MemoryTransport()
    intent = {"campaign": "copper-3f9a1c", "uid": "copper-3f9a1c.c000.generation.b00"}
    transport.files[f".ap/submit/{intent['uid']}/intent.json"] = json.dumps(
        {**intent, "tasks": ["c000.generation.0000-abcdef"]}
    ).encode()
    assert asyncio.run(unearth(transport, "copper")).k_mesh == "family"
    task = {"parameters": {"kind": "generate", **twins}}
    transport.files["cycles/000/generation/0000-abcdef/task.json"] = json.dumps(task).encode()
    assert asyncio.run(unearth(transport, "copper")).k_mesh == rule
