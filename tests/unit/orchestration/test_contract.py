"""Outcomes beyond their shape.

What got into the journal can be digested, described, replayed and reported.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.hostile import JSON, places, spoiled
from kit.stages import walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.commands import Command
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.orchestration.effects import settle
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.outcomes import judge_outcome
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.report.page import report_html
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

RUNNERS = phase_runners(copper_config())
CYCLES = {
    Phase.GENERATION: 0,
    Phase.EXPLORATION: 1,
    Phase.SELECTION: 1,
    Phase.CALCULATION: 1,
    Phase.TRAINING: 1,
}
NASTY: tuple[Any, ...] = (
    10**400, -(10**400), 10**18, 1e308, -1e308, 1e-320, 5e-324, (
        "\ud800"
    ), (
        "x"
    ) * 100_000, (
        "[/]"
    ), (
        "\x1b[2J\r\n\0"
    ),
    "$x_{$", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", {}, [], [[]], None,
)  # fmt: skip


def running(phase: Phase) -> tuple[Walk, Batch, Any]:
    """A campaign whose first attempt of `phase` is about to end, and its outcome as JSON."""
    campaign = walk()
    batch = campaign.submitted(phase, CYCLES[phase])
    return campaign, batch, campaign.outcome(batch.job_name, 0).model_dump(mode="json")


STANDS = {phase: running(phase) for phase in Phase}


def goes_on(phase: Phase, event: ev.TaskEnded | ev.AttemptLost) -> set[str]:
    """Everybody who reads the event can, and the campaign comes to the end of the phase.

    Gives what was quarantined.
    """
    campaign, _, _ = STANDS[phase]
    events: list[ev.Event] = [event]
    state = evolve(campaign.state, event)
    onward = Walk(copper_config(), RUNNERS)
    onward.state, onward.now = state, campaign.now
    for _ in range(100):
        command = next(iter(onward.commands()), None)
        if command is not None:
            onward.tell(settled := settle_or_follow(onward, command))
            events.append(settled)
            if isinstance(settled, ev.PhaseEnded | ev.VerdictReached):
                break
        else:
            events.append(
                ended := onward.ended(
                    *next((batch.job_name, index) for batch, index in onward.live())
                )
            )
            onward.tell(ended)
    assert isinstance(events[-1], ev.PhaseEnded | ev.VerdictReached)
    onward.commands()
    again = campaign.state
    for each in events:
        line = each.model_dump_json()
        back = ev.EVENT_ADAPTER.validate_json(line)
        assert back == each
        line.encode()
        again = evolve(again, back)
        describe(each, again).encode()
    assert again == state_after(campaign.state, events)
    return {each.task for each in events if isinstance(each, ev.TaskQuarantined)}


def state_after(state: WorkflowState, events: list[ev.Event]) -> WorkflowState:
    for event in events:
        state = evolve(state, event)
    return state


def settle_or_follow(campaign: Walk, command: Command) -> ev.Event:
    if command.type in {"PlanPhase", "DigestPhase"}:
        return settle(command, campaign.state, RUNNERS, campaign.now)
    return campaign.follow(command)


@pytest.mark.parametrize("phase", Phase)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_anything_anywhere_goes_on_through_everything(phase: Phase, data: st.DataObject) -> None:
    """Judged, folded, digested, planned upon, described and replayed."""
    campaign, batch, good = STANDS[phase]
    place = data.draw(st.sampled_from(places(good)))
    value = data.draw(st.sampled_from(NASTY) | JSON)
    goes_on(
        phase,
        judge_outcome(
            json.dumps(spoiled(good, place, value)).encode(), batch, 0, campaign.state, campaign.now
        ),
    )


@pytest.mark.parametrize("phase", Phase)
def test_every_field_may_hold_anything_nasty(phase: Phase) -> None:
    """The same with each in turn, for values that have broken a reader before."""
    _, _, good = STANDS[phase]
    fields = [
        place
        for place in places(good)
        if place and place[0] in {"metrics", "artefacts", "started_at", "wall_s"}
    ]
    for number, place in enumerate(fields[:: len(fields) // 30 + 1]):
        nasty: tuple[Any, ...] = (NASTY[number % len(NASTY)], NASTY[-number % 5], {})
        for value in nasty:
            goes_on(phase, judged(phase, place, value))


@pytest.mark.parametrize(
    ("phase", "names"),
    [
        (Phase.EXPLORATION, {"frames", "restart"}),
        (Phase.CALCULATION, {"label"}),
        (Phase.TRAINING, {"dataset", "potential_yaml", "potential_asi", "potential_yace"}),
    ],
)
def test_done_without_an_artefact_is_a_bad_outcome(phase: Phase, names: set[str]) -> None:
    """Before it is an event; one the journal has all the same is quarantined, told, and no end."""
    campaign, batch, good = STANDS[phase]
    assert set(good["artefacts"]) == names
    for name in names - ({"restart"} if good["metrics"].get("restart_step") is None else set()):
        lacking = {
            **good,
            "artefacts": {
                other: each for other, each in good["artefacts"].items() if other != name
            },
        }

        event = judge_outcome(json.dumps(lacking).encode(), batch, 0, campaign.state, campaign.now)

        assert isinstance(event, ev.AttemptLost)
        assert event.reason is Reason.BAD_OUTCOME
        assert f"{name!r} is missing" in event.message
        got_in = ev.TaskEnded(at=campaign.now, outcome=Outcome.model_validate(lacking))
        assert batch.tasks[0] in goes_on(phase, got_in)


@pytest.mark.parametrize("phase", Phase)
def test_a_good_outcome_is_done(phase: Phase) -> None:
    """The contract refuses none of them."""
    campaign, batch, good = STANDS[phase]
    assert isinstance(
        judge_outcome(json.dumps(good).encode(), batch, 0, campaign.state, campaign.now),
        ev.TaskEnded,
    )
    assert not goes_on(phase, ev.TaskEnded(at=campaign.now, outcome=Outcome.model_validate(good)))


def test_a_count_that_no_reader_can_divide_by_is_described_and_reported(tmp_path: Path) -> None:
    """As an earlier version may have journalled it; the report counts it as a bad outcome."""
    campaign = walk()
    campaign.planned(Phase.CALCULATION, 1)
    events = [beyond(event) for event in campaign.events]

    arguments = [describe(event) for event in events]
    page = report_html(events, tmp_path)

    assert not any(len(each) > 400 for each in arguments)
    assert "of no use: n_atoms is an integer beyond" in page


def beyond(event: ev.Event) -> ev.Event:
    """With the first label of 10^400 atoms, and steps beyond all bounds."""
    if not isinstance(event, ev.TaskEnded) or event.outcome.index:
        return event
    huge: dict[str, Any] = {
        name: 10**400 for name in ("n_atoms", "steps") if hasattr(event.outcome.metrics, name)
    }
    assert event.outcome.metrics is not None
    metrics = replace(event.outcome.metrics, **huge)
    return event.model_copy(
        update={"outcome": event.outcome.model_copy(update={"metrics": metrics})}
    )


def judged(phase: Phase, place: tuple[Any, ...], value: Any) -> ev.TaskEnded | ev.AttemptLost:
    campaign, batch, good = STANDS[phase]
    content = json.dumps(spoiled(good, place, value)).encode()
    return judge_outcome(content, batch, 0, campaign.state, campaign.now).model_copy(
        update={"at": campaign.now}
    )
