"""Projections of a hand-made campaign, with exact numbers."""

from datetime import datetime, timedelta

import pytest
from kit.campaign import (
    BEGAN,
    Campaign,
    calculate,
    errors,
    structure,
    walk,
    whole_campaign,
)

from mlip_autopipec.contract.results.explore import Ending
from mlip_autopipec.contract.results.train import PastErrors
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.report.durations import PhaseTime, phase_times
from mlip_autopipec.report.overview import overview
from mlip_autopipec.report.projections import (
    LabelOrigin,
    LineFit,
    attempts,
    closed_cycles,
    gamma_traces,
    label_origins,
    learning_curve,
    on_last_test_set,
    potentials,
)


@pytest.fixture(scope="module")
def events() -> tuple[ev.Event, ...]:
    """Bootstrap and two more cycles: the second is quiet, one task of the first failed twice."""
    return tuple(whole_campaign(learning_cycles=2).events)


def calculating(labels: int) -> tuple[Campaign, str]:
    """A bootstrap campaign whose calculations have just been submitted, and their batch.

    The phase began at 10 s.
    """
    campaign = Campaign()
    campaign.create()
    campaign.generation()
    campaign.at_s = 10
    asked = [
        calculate(structure(f"g/{number}.xyz", Role.TRAIN, "generated")) for number in range(labels)
    ]
    tasks = campaign.start(Phase.CALCULATION, [(parameters, ()) for parameters in asked])
    return campaign, campaign.submit(tasks)


def sighted(campaign: Campaign, job_name: str, at_s: float, *indices: int) -> None:
    """The scheduler shows these attempts running."""
    campaign.at_s = at_s
    sightings = tuple(
        ev.Sighting(job_name=job_name, index=index, state=ev.JobState.RUNNING) for index in indices
    )
    campaign.add(ev.JobsSighted(at=campaign.now, sightings=sightings))


def lost(
    campaign: Campaign, job_name: str, at_s: float, index: int, reason: Reason = Reason.TIMEOUT
) -> None:
    """An attempt is gone."""
    campaign.at_s = at_s
    campaign.add(
        ev.AttemptLost(
            at=campaign.now, job_name=job_name, index=index, reason=reason, message="gone"
        )
    )


def test_learning_curve(events: tuple[ev.Event, ...]) -> None:
    """Labels add up over the cycles.

    Each fit stands beside the current potential on the same test set.
    """
    past = (PastErrors(cycle=0, errors=errors(88)), PastErrors(cycle=1, errors=errors(44)))
    fits = learning_curve(events)
    assert fits == (
        LineFit(0, 4, 2, errors(40), errors(80), None, promoted=True),
        LineFit(1, 6, 3, errors(20), errors(40), errors(90), promoted=True, history=past[:1]),
        LineFit(2, 8, 4, errors(10), errors(20), errors(45), promoted=True, history=past),
    )
    assert on_last_test_set(fits) == (
        (fits[0], errors(88)),
        (fits[1], errors(44)),
        (fits[2], errors(20)),
    )
    assert on_last_test_set(fits[:1]) == ((fits[0], errors(80)),)


def test_gamma_traces(events: tuple[ev.Event, ...]) -> None:
    """Every walker with its condition, its bounds, how it ended, and where it halted."""
    traces = gamma_traces(events)
    assert [(trace.cycle, trace.label, trace.ending, trace.halted_at) for trace in traces] == [
        (1, "Cu fcc 300 K nvt", Ending.COMPLETED, None),
        (1, "Cu fcc 900 K nvt", Ending.HALTED, 148),
        (2, "Cu fcc 300 K nvt", Ending.COMPLETED, None),
        (2, "Cu fcc 900 K nvt", Ending.COMPLETED, None),
    ]
    halted = traces[1]
    assert (halted.gamma_select, halted.gamma_halt, halted.gamma_max) == (2.0, 10.0, 12.3)
    assert (halted.points[-1], len(halted.points), halted.steps_planned) == ((148, 12.3), 9, 2000)


def test_label_origins(events: tuple[ev.Event, ...]) -> None:
    """Labels are counted by cycle, what their origin begins with, and role."""
    assert label_origins(events) == (
        LabelOrigin(0, "generated", Role.TEST, 2),
        LabelOrigin(0, "generated", Role.TRAIN, 4),
        LabelOrigin(1, "audit", Role.TEST, 1),
        LabelOrigin(1, "collected", Role.TRAIN, 1),
        LabelOrigin(1, "halt", Role.TRAIN, 1),
        LabelOrigin(2, "audit", Role.TEST, 1),
        LabelOrigin(2, "collected", Role.TRAIN, 1),
        LabelOrigin(2, "halt", Role.TRAIN, 1),
    )


def test_closed_cycles(events: tuple[ev.Event, ...]) -> None:
    """The summaries, in order."""
    assert [(cycle.cycle, cycle.bootstrap, cycle.halts) for cycle in closed_cycles(events)] == [
        (0, True, 0),
        (1, False, 1),
        (2, False, 0),
    ]


def test_potentials_are_those_that_were_promoted() -> None:
    """A fit that was not promoted has parity data, but is no potential of the campaign."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    campaign.learn(halts=True, promoted=False)
    found = potentials(campaign.events)
    assert found.promoted == (0,)
    assert {cycle: file.path.rsplit("/", 1)[1] for cycle, file in found.parity.items()} == {
        0: "parity.json",
        1: "parity.json",
    }


def test_phase_times(events: tuple[ev.Event, ...]) -> None:
    """Acceptance takes 1 s, the queue 2 s, and the phase ends 1 s after its last task's end."""
    times = phase_times(events)
    assert times[0] == PhaseTime(
        cycle=0,
        phase=Phase.GENERATION,
        ended=True,
        wall_s=9,
        running_s=5,
        queued_s=2,
        overhead_s=2,
        task_wall_s=5,
        task_cpu_s=10,
    )
    labels = times[1]
    assert (labels.wall_s, labels.running_s, labels.task_wall_s, labels.task_cpu_s) == (
        24,
        20,
        6 * 20,
        6 * 40,
    )
    tried_again = next(time for time in times if (time.cycle, time.phase) == (1, Phase.CALCULATION))
    assert (tried_again.wall_s, tried_again.running_s, tried_again.queued_s) == (
        24 + 2 * 6,
        20 + 2 * 2,
        2 + 2 * 2,
    )
    assert all(time.wall_s == time.running_s + time.queued_s + time.overhead_s for time in times)


def test_time_without_an_outcome_is_taken_from_what_was_seen() -> None:
    """An attempt seen running and then lost ran in between; one never seen running only waited."""
    campaign, job_name = calculating(labels=2)  # accepted at 11 s
    sighted(campaign, job_name, 20, 0)
    sighted(campaign, job_name, 30, 0)
    lost(campaign, job_name, 50, 0)
    lost(campaign, job_name, 60, 1)
    campaign.at_s = 61
    campaign.add(ev.VerdictReached(at=campaign.now, verdict=Verdict.FAILED, reason="quorum"))
    (_, time) = phase_times(campaign.events)
    assert (time.ended, time.wall_s, time.running_s, time.queued_s, time.overhead_s) == (
        True,
        51,
        30,
        19,
        2,
    )
    assert (time.task_wall_s, time.task_cpu_s) == (0, 0)


def test_an_open_phase_is_counted_up_to_the_last_event() -> None:
    """What still runs has run until now."""
    campaign, job_name = calculating(labels=1)
    sighted(campaign, job_name, 20, 0)
    campaign.at_s = 40
    campaign.add(ev.SiteChanged(at=campaign.now, health=ev.SiteHealth.DEGRADED))
    (_, time) = phase_times(campaign.events)
    assert (time.ended, time.wall_s, time.running_s, time.queued_s, time.overhead_s) == (
        False,
        30,
        20,
        9,
        1,
    )


def test_a_host_with_a_wrong_clock_breaks_nothing() -> None:
    """Intervals are cut to their phase: no task can have run before or after it."""
    campaign = Campaign()
    campaign.create()
    campaign.generation()
    shifted: list[ev.Event] = []
    for event in campaign.events:
        if isinstance(event, ev.TaskEnded):
            early = {
                "started_at": BEGAN - timedelta(hours=1),
                "ended_at": BEGAN + timedelta(seconds=4),
            }
            shifted.append(
                event.model_copy(update={"outcome": event.outcome.model_copy(update=early)})
            )
        else:
            shifted.append(event)
    (time,) = phase_times(shifted)
    assert (time.wall_s, time.running_s, time.queued_s, time.overhead_s) == (9, 4, 0, 5)


@pytest.mark.parametrize("answer", [ev.SubmissionVoided, ev.SubmissionRejected])
def test_what_the_scheduler_never_took_did_not_wait(
    answer: type[ev.SubmissionVoided] | type[ev.SubmissionRejected],
) -> None:
    """A submission that came to nothing is the daemon's time."""
    campaign = Campaign()
    campaign.create()
    campaign.generation()
    campaign.at_s = 10
    item = structure("g/0.xyz", Role.TRAIN, "generated")
    (task,) = campaign.start(Phase.CALCULATION, [(calculate(item), ())])
    job_name = "copper-3f9a1c.c000.calculation.b00"
    campaign.add(ev.SubmissionBegun(at=campaign.now, job_name=job_name, tasks=(task.id,)))
    campaign.at_s = 15
    campaign.add(answer(at=campaign.now, job_name=job_name, message="no"))
    (_, time) = phase_times(campaign.events)
    assert (time.wall_s, time.overhead_s) == (5, 5)


def test_attempts(events: tuple[ev.Event, ...]) -> None:
    """Attempts and failures by reason, and the task that came through at its third attempt."""
    tries = attempts(events)
    assert (tries.begun, tries.done, dict(tries.failed)) == (
        8 + 9 + 7,
        8 + 7 + 7,
        {Reason.CRASHED: 2},
    )
    (task,) = tries.tasks
    assert (task.fate, [failure.message for failure in task.attempts]) == (
        "done later",
        ["it broke"] * 2,
    )
    assert [failure.job_name[-3:] for failure in task.attempts] == ["b00", "b01"]


def test_attempts_that_left_no_outcome() -> None:
    """Lost, rejected and voided submissions each count as what they are.

    The most frequent reason comes first.
    """
    campaign, job_name = calculating(labels=3)
    lost(campaign, job_name, 20, 0, Reason.TIMEOUT)
    lost(campaign, job_name, 21, 1, Reason.LOST)
    lost(campaign, job_name, 22, 2, Reason.LOST)
    tasks = [record.task for record in campaign.state.tasks.values()]
    campaign.add(ev.TaskQuarantined(at=campaign.now, task=tasks[0].id, message="gone"))
    for number, answer in ((1, ev.SubmissionVoided), (2, ev.SubmissionRejected)):
        again = f"{job_name[:-1]}{number}"
        campaign.add(
            ev.SubmissionBegun(at=campaign.now, job_name=again, tasks=(tasks[1].id, tasks[2].id))
        )
        campaign.add(answer(at=campaign.now, job_name=again, message="no"))
    tries = attempts(campaign.events)
    assert (tries.begun, tries.done) == (1 + 3 + 2, 1)
    assert list(tries.failed.items()) == [
        (Reason.LOST, 2),
        (Reason.REJECTED, 2),
        (Reason.TIMEOUT, 1),
    ]
    assert [(task.task, len(task.attempts), task.fate) for task in tries.tasks] == [
        (tasks[0].id, 1, "given up"),
        (tasks[1].id, 2, "open"),
        (tasks[2].id, 2, "open"),
    ]


def test_overview(events: tuple[ev.Event, ...]) -> None:
    """Standing and provenance at the end; what is named twice is listed once."""
    again = ev.DaemonStarted(
        at=events[-1].at,
        version="0.2.0",
        host="login1",
        pid=43,
        config_sha256="e" * 64,
        payload_sha256="d" * 64,
    )
    about = overview((*events, again))
    assert (about.campaign, about.verdict, about.verdict_reason) == (
        "copper-3f9a1c",
        Verdict.CONVERGED,
        "all walkers <completed>",
    )
    assert (about.cycle, about.phase, about.paused, about.daemon_starts) == (
        2,
        Phase.TRAINING,
        False,
        2,
    )
    assert (about.versions, about.hosts) == (("0.1.0", "0.2.0"), ("login1",))
    assert (about.config_sha256s, about.payload_sha256s) == (("c" * 64, "e" * 64), ("d" * 64,))
    assert about.label_settings == ("emt",)
    assert about.potential is not None
    assert about.potential.folder == "potentials/002"
    assert (about.began_at, about.wall_s) == (BEGAN, (events[-1].at - BEGAN).total_seconds())


def test_nothing_has_happened_yet() -> None:
    """An empty journal gives empty projections."""
    assert not any(
        [
            learning_curve([]),
            gamma_traces([]),
            label_origins([]),
            closed_cycles([]),
            phase_times([]),
        ]
    )
    assert (attempts([]).begun, potentials([]).promoted) == (0, ())
    about = overview([])
    assert (about.campaign, about.began_at, about.wall_s, about.phase) == ("", None, 0.0, None)


def test_projections_take_any_iterable(events: tuple[ev.Event, ...]) -> None:
    """A journal is read once, from a generator if need be."""
    assert overview(iter(events)) == overview(events)
    assert phase_times(iter(events)) == phase_times(events)
    assert isinstance(overview(iter(events)).began_at, datetime)


def test_a_walker_without_a_result_has_no_trace() -> None:
    """A lost walker is a failed attempt, not a trace."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    tasks = campaign.start(Phase.EXPLORATION, [(walk(300, 1), ())])
    lost(campaign, campaign.submit(tasks), campaign.at_s + 5, 0)
    assert gamma_traces(campaign.events) == ()
