"""evolve: what each stage allows, what it refuses, and that it changes nothing but its answer."""

from collections.abc import Callable
from typing import get_args

import pytest
from kit.stages import legal, walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import IllegalTransition
from mlip_autopipec.orchestration.machine import FLOW, STAGES, evolve, is_stale
from mlip_autopipec.testing.walk import Walk

EVENT_TYPES: tuple[type[ev.Event], ...] = get_args(ev.Event)
LEGAL: dict[tuple[Stage, type[ev.Event]], tuple[WorkflowState, ev.Event]] = {
    (state.stage, type(event)): (state, event) for state, event in legal()
}
STATES = {stage: state for (stage, _), (state, _) in LEGAL.items()}
SAMPLES = {kind: event for (_, kind), (_, event) in LEGAL.items()}


def sample(kind: type[ev.Event]) -> ev.Event:
    """Any event of that kind."""
    return SAMPLES[kind]


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("stage", Stage)
def test_a_stage_takes_what_its_row_names_and_refuses_the_rest(
    stage: Stage, kind: type[ev.Event]
) -> None:
    """Every stage against every kind of event: the next state, or IllegalTransition.

    The old state is untouched.
    """
    if kind in STAGES[stage]:
        state, event = LEGAL[stage, kind]
        before = state.model_dump_json()
        after = evolve(state, event)
        assert (after.seq, after.stage) == (state.seq + 1, STAGES[stage][kind] or stage)
    else:
        state = STATES[stage]
        before = state.model_dump_json()
        with pytest.raises(
            IllegalTransition, match=f"{kind.__name__} is not allowed here .*stage {stage}"
        ):
            evolve(state, sample(kind))
    assert state.model_dump_json() == before


def test_the_rows_name_every_event() -> None:
    """No kind of event is forbidden everywhere, and every stage has its row."""
    assert set().union(*STAGES.values()) == set(EVENT_TYPES)
    assert STAGES.keys() == set(Stage)


def test_every_phase_lies_on_the_way_round_a_cycle() -> None:
    """Both kinds of cycle begin and end with None, pass no phase twice, and together all five."""
    passed = []
    for flow in FLOW.values():
        phase = flow[None]
        while phase is not None:
            passed.append((id(flow), phase))
            phase = flow[phase]
    assert len(set(passed)) == len(passed)
    assert {phase for _, phase in passed} == set(Phase)


Refusal = Callable[[Walk], ev.Event]


def _begun(campaign: Walk, *tasks: str, number: int = 0) -> ev.SubmissionBegun:
    state = campaign.state
    job_name = f"{state.campaign}.c{state.cycle_index:03d}.{state.current_phase}.b{number:02d}"
    return ev.SubmissionBegun(at=campaign.now, job_name=job_name, tasks=tasks)


def _phase_started(campaign: Walk, **changes: object) -> ev.Event:
    return campaign.follow(campaign.commands()[0]).model_copy(update=changes)


def _phase_started_twin(campaign: Walk) -> ev.Event:
    started = campaign.follow(campaign.commands()[0])
    assert isinstance(started, ev.PhaseStarted)
    return started.model_copy(update={"tasks": started.tasks * 2})


def _in_calculation(campaign: Walk) -> str:
    return campaign.submitted(Phase.CALCULATION).job_name


def _twice_accepted(campaign: Walk) -> ev.Event:
    return ev.SubmissionAccepted(at=campaign.now, job_name=_in_calculation(campaign), job_id="2")


def _unclear_after_accepted(campaign: Walk) -> ev.Event:
    return ev.SubmissionUnclear(at=campaign.now, job_name=_in_calculation(campaign), message="?")


def _voided_after_accepted(campaign: Walk) -> ev.Event:
    return ev.SubmissionVoided(at=campaign.now, job_name=_in_calculation(campaign), message="?")


def _unknown_batch(campaign: Walk) -> ev.Event:
    _in_calculation(campaign)
    return ev.SubmissionRejected(
        at=campaign.now, job_name="copper-3f9a1c.c000.calculation.b09", message="?"
    )


def _outcome_of_another_task(campaign: Walk) -> ev.Event:
    job_name = _in_calculation(campaign)
    return ev.TaskEnded(
        at=campaign.now, outcome=campaign.outcome(job_name, 0).model_copy(update={"index": 1})
    )


def _outcome_twice(campaign: Walk) -> ev.Event:
    job_name = _in_calculation(campaign)
    ended = campaign.ended(job_name, 0)
    campaign.tell(ended)
    return ended


def _lost_after_done(campaign: Walk) -> ev.Event:
    job_name = _in_calculation(campaign)
    campaign.tell(campaign.ended(job_name, 0))
    return ev.AttemptLost(
        at=campaign.now, job_name=job_name, index=0, reason=Reason.LOST, message="?"
    )


def _sighted_after_done(campaign: Walk) -> ev.Event:
    job_name = _in_calculation(campaign)
    campaign.tell(campaign.ended(job_name, 0))
    return ev.JobsSighted(
        at=campaign.now,
        sightings=(ev.Sighting(job_name=job_name, index=0, state=ev.JobState.RUNNING),),
    )


def _begun_twice(campaign: Walk) -> ev.Event:
    batch = campaign.submitted(Phase.CALCULATION)
    return _begun(campaign, batch.tasks[0], number=1)


def _begun_unknown_task(campaign: Walk) -> ev.Event:
    campaign.planned(Phase.CALCULATION)
    return _begun(campaign, "c000.calculation.0009-000000")


def _begun_wrong_number(campaign: Walk) -> ev.Event:
    return _begun(campaign, *campaign.planned(Phase.CALCULATION).tasks, number=1)


def _begun_task_twice(campaign: Walk) -> ev.Event:
    name = next(iter(campaign.planned(Phase.CALCULATION).tasks))
    return _begun(campaign, name, name)


def _quarantined_though_ready(campaign: Walk) -> ev.Event:
    name = next(iter(campaign.planned(Phase.CALCULATION).tasks))
    return ev.TaskQuarantined(at=campaign.now, task=name, message="?")


def _quarantined_unknown(campaign: Walk) -> ev.Event:
    campaign.planned(Phase.CALCULATION)
    return ev.TaskQuarantined(at=campaign.now, task="c000.calculation.0009-000000", message="?")


def _phase_ended_early(campaign: Walk) -> ev.Event:
    ended = next(event for event in legal_of(ev.PhaseEnded) if isinstance(event, ev.PhaseEnded))
    campaign.submitted(Phase.GENERATION)
    return ended


def _phase_ended_of_another(campaign: Walk) -> ev.Event:
    ended = next(event for event in legal_of(ev.PhaseEnded) if isinstance(event, ev.PhaseEnded))
    campaign.submitted(Phase.CALCULATION)
    return ended


def _phase_ended_of_another_cycle(campaign: Walk) -> ev.Event:
    ended = next(event for event in legal_of(ev.PhaseEnded) if isinstance(event, ev.PhaseEnded))
    campaign.submitted(Phase.GENERATION)
    return ended.model_copy(update={"cycle": 7})


def _cycle_closed_of_another(campaign: Walk) -> ev.Event:
    return ev.CycleClosed(at=campaign.now, summary=CycleSummary(cycle=7, bootstrap=False))


def legal_of(kind: type[ev.Event]) -> list[ev.Event]:
    """The sample events of one kind."""
    return [event for (_, found), (_, event) in LEGAL.items() if found is kind]


REFUSALS: dict[str, tuple[Refusal, str]] = {
    "PhaseStarted of another cycle": (lambda c: _phase_started(c, cycle=1), "the cycle is 0"),
    "PhaseStarted of another phase": (
        lambda c: _phase_started(c, phase=Phase.TRAINING),
        "the next phase is generation",
    ),
    "PhaseStarted with a task twice": (_phase_started_twin, "task ids must differ"),
    "SubmissionBegun of a submitted task": (_begun_twice, "is submitted"),
    "SubmissionBegun of an unknown task": (_begun_unknown_task, "is unknown"),
    "SubmissionBegun with another number": (_begun_wrong_number, r"the next job name is .*\.b00"),
    "SubmissionBegun with a task twice": (_begun_task_twice, "is submitted"),
    "SubmissionAccepted twice": (_twice_accepted, "it was accepted as"),
    "SubmissionUnclear after Accepted": (_unclear_after_accepted, "the batch is accepted"),
    "SubmissionVoided after Accepted": (_voided_after_accepted, "it was accepted as"),
    "SubmissionRejected of an unknown batch": (_unknown_batch, "no live batch"),
    "TaskEnded twice": (_outcome_twice, "is not live"),
    "TaskEnded of another task": (_outcome_of_another_task, "index 1 of .* is task"),
    "AttemptLost after TaskEnded": (_lost_after_done, "is not live"),
    "JobsSighted after TaskEnded": (_sighted_after_done, "is not live"),
    "TaskQuarantined of a ready task": (_quarantined_though_ready, "is ready"),
    "TaskQuarantined of an unknown task": (_quarantined_unknown, "is unknown"),
    "PhaseEnded with open tasks": (_phase_ended_early, "tasks have not ended"),
    "PhaseEnded of another phase": (_phase_ended_of_another, "the phase is calculation"),
    "PhaseEnded of another cycle": (_phase_ended_of_another_cycle, "the cycle is 0"),
    "CycleClosed of another cycle": (_cycle_closed_of_another, "the cycle is 0"),
}


@pytest.mark.parametrize(("make", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_an_event_that_contradicts_the_state_is_refused(make: Refusal, message: str) -> None:
    """Events of an allowed kind whose content can't be true here raise IllegalTransition.

    They change nothing.
    """
    campaign = walk()
    event = make(campaign)
    before = campaign.state.model_dump_json()
    with pytest.raises(IllegalTransition, match=message):
        evolve(campaign.state, event)
    assert campaign.state.model_dump_json() == before


@pytest.mark.parametrize(
    "kind", [ev.SubmissionAccepted, ev.SubmissionUnclear, ev.SubmissionRejected]
)
def test_news_of_a_forgotten_batch_is_stale(kind: type[ev.Event]) -> None:
    """What would be illegal because it comes late is recognised before it is written down."""
    assert is_stale(STATES[Stage.BETWEEN], sample(kind))


def test_news_of_what_is_live_is_fresh() -> None:
    """No event that its state takes is stale, except news that says nothing new."""
    stale = {key for key, (state, event) in LEGAL.items() if is_stale(state, event)}
    assert stale == set()
