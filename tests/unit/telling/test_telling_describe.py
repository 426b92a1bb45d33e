"""describe: every event in one line of plain words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from kit.campaign import ACTOR, Campaign, calculate, structure, walk, whole_campaign
from kit.judged import judged_value

from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics, OracleRun
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import digest as dg
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.telling.describe import _label, describe

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGHTINGS = (
    ev.Sighting(job_name="u", index=0, state=ev.JobState.RUNNING),
    ev.Sighting(job_name="u", index=1, state=ev.JobState.WAITING),
    ev.Sighting(job_name="u", index=2, state=ev.JobState.RUNNING),
)
OTHERS: list[tuple[ev.Event, str]] = [
    (ev.DaemonStopped(at=AT, why="SIGTERM"), "daemon stopped: SIGTERM"),
    (ev.DaemonStopped(at=AT, why="asked", by=ACTOR), "daemon stopped by ada: asked"),
    (
        ev.SubmissionAccepted(at=AT, job_name="u", job_id="9", adopted=True),
        "u is job 9 (found in the queue)",
    ),
    (
        ev.SubmissionRejected(at=AT, job_name="u", message="bad QOS"),
        "u was refused for good: bad QOS",
    ),
    (
        ev.SubmissionUnclear(at=AT, job_name="u", message="cut"),
        "u may or may not have been submitted, it will be looked up: cut",
    ),
    (
        ev.SubmissionVoided(at=AT, job_name="u", message="no trace"),
        "u never reached the scheduler, its tasks are free again: no trace",
    ),
    (ev.JobsSighted(at=AT, sightings=SIGHTINGS), "seen in the queue: 1 waiting, 2 running"),
    (
        ev.AttemptLost(
            at=AT, job_name="u", index=3, reason=Reason.NODE_FAILURE, message="node7\nis down"
        ),
        "attempt u.3 was lost (node_failure): node7 is down",
    ),
    (ev.TaskQuarantined(at=AT, task="t", message="three times"), "t is given up: three times"),
    (
        ev.EffectDeferred(
            at=AT, subject="batch:u", message="limit", until=AT + timedelta(minutes=5)
        ),
        "batch:u is put off until 12:05:00 UTC: limit",
    ),
    (
        ev.PhaseRedone(
            at=AT,
            by=ACTOR,
            reason="another trainer",
            cycle=3,
            phase=Phase.TRAINING,
            digests=(),
            potential=None,
            datasets=(),
            measured=(),
            halted={},
            ladders=(),
        ),
        "going back by ada: another trainer: training of cycle 3 is done again, in a new cycle",
    ),
    (ev.StructuresAdded(at=AT, by=ACTOR, reason="a surface"), "added by ada: a surface: nothing"),
    (
        ev.SettingsTaken(at=AT, by=ACTOR, config_sha256="c", settings={}),
        "the site file's settings are in force",
    ),
    (
        ev.SettingsTaken(
            at=AT,
            by=ACTOR,
            reason="more",
            config_sha256="c",
            settings={},
            changes=(
                ev.SettingChange(key="convergence.cycles_max", before=30, after=40),
                ev.SettingChange(key="site.grace", before="1 min", after=None),
            ),
        ),
        (
            "settings changed by ada: more: convergence.cycles_max: 30 → 40; site.grace: 1 min →"
            " nothing"
        ),
    ),
    (ev.SiteChanged(at=AT, health=ev.SiteHealth.OK), "the site is ok"),
    (
        ev.SiteChanged(at=AT, health=ev.SiteHealth.DEGRADED, message="no route"),
        "the site is degraded: no route",
    ),
    (ev.SitePrepared(at=AT), "the site is prepared"),
    (ev.SitePrepared(at=AT, array_tasks_max=9), "the site is prepared, arrays of at most 9 tasks"),
    (ev.Paused(at=AT, by=ev.Actor(uid=5, pid=1)), "paused by uid 5"),
    (
        ev.CampaignReopened(
            at=AT, by=ev.Actor(uid=1, pid=2, name="ada"), reason="a larger budget", first_cycle=3
        ),
        "the campaign is reopened by ada: a larger budget",
    ),
    (ev.Resumed(at=AT, by=ACTOR, reason="go on"), "resumed by ada: go on"),
    (
        ev.OrphansSeen(
            at=AT,
            jobs=(
                ev.QueuedJob(job_name="cu-1.c000.training.b00", job_id="9", detail="RUNNING on n1"),
            ),
        ),
        (
            "in the queue, and the campaign does not wait for it: job 9 (cu-1.c000.training.b00:"
            " RUNNING on n1)"
        ),
    ),
    (
        ev.OrphansSeen(at=AT, jobs=()),
        "no job is in the queue any more that the campaign does not wait for",
    ),
    (
        ev.JobsSighted(
            at=AT,
            sightings=tuple(
                ev.Sighting(
                    job_name="cu-1.c000.training.b00",
                    index=index,
                    state=ev.JobState.HELD,
                    detail="PENDING (JobHeldUser)",
                )
                for index in range(2)
            ),
        ),
        "seen in the queue: 2 held; will not start by itself: PENDING (JobHeldUser)",
    ),
    (
        ev.PhaseEnded(
            at=AT,
            cycle=0,
            digest=dg.CalculationDigest(labels=(), failed=1, isolated_atoms_ev={"Al": -53.24361}),
        ),
        "cycle 0 calculation: 0 labels, 1 failed; isolated atoms: Al -53.2436 eV",
    ),
    (
        ev.TaskRetried(at=AT, by=ACTOR, task="t", reason="new cutoff"),
        "t is brought back by ada: new cutoff",
    ),
    (
        ev.TasksCancelled(at=AT, by=ACTOR, tasks=tuple("abcdefg"), reason="enough"),
        "cancelled by ada: enough: a, b, c, d, e and 2 more",
    ),
    (ev.ClockStepped(at=AT, by_s=-90), "the clock was set back by 1 min 30 s"),
    (
        ev.JournalRepaired(at=AT, kept_as="torn.1", bytes_cut=1),
        "the journal's torn end was cut off (1 byte, kept as torn.1)",
    ),
    (
        ev.JournalRebuilt(at=AT, events=2, kept_as="journal.damaged"),
        (
            "2 events made again from what the site holds, the journal of before is kept as"
            " journal.damaged"
        ),
    ),
]


@pytest.mark.parametrize(("event", "message"), OTHERS, ids=lambda value: getattr(value, "type", ""))
def test_events_without_a_context(event: ev.Event, message: str) -> None:
    """What needs no state is said in full."""
    assert message == describe(event)


def test_every_event_type_is_described_in_one_line() -> None:
    """No member of the union is left out, and none gives more or less than one line."""
    examples = [event for event, _ in OTHERS] + whole_campaign().events
    lines = {type(event): describe(event) for event in examples}
    assert set(get_args(ev.Event)) == set(lines)
    assert all(line and "\n" not in line for line in lines.values())


def test_a_campaign_tells_its_story() -> None:
    """The interesting events of a cycle, with the state after each, are what a person would say."""
    story = []
    state = WorkflowState()
    campaign = whole_campaign()
    replay = Campaign()
    for event in campaign.events:
        replay.add(event)
        state = replay.state
        story.append(describe(event, state))
    assert story[:8] == [
        "campaign copper-3f9a1c created by version 0.1.0",
        "daemon 0.1.0 started on login1, pid 42",
        "cycle 0 generation: 1 task planned",
        "copper-3f9a1c.c000.generation.b00: about to submit 1 task",
        "copper-3f9a1c.c000.generation.b00 is job 4711",
        "6 structures generated",
        "cycle 0 generation: 6 structures to label",
        "cycle 0 calculation: 6 tasks planned",
    ]
    assert "fit done in 30 s: test force error 80.0 meV/Å, energy error 16.00 meV/atom" in story
    assert "fit of cycle 1: test force error 40.0 meV/Å, promoted" in story
    assert "walker Cu fcc 900 K nvt halted at step 148, γ 12.3" in story
    assert "walker Cu fcc 300 K nvt completed 2000 steps, γ at most 2.3" in story
    assert "cycle 1 exploration: 1 of 2 walkers halted" in story
    assert "cycle 3 exploration: 0 of 2 walkers halted, quiet" in story
    assert "3 structures selected of 40 frames; 20 below window; 1 too short; 6 duplicates" in story
    assert "cycle 1 selection: 3 structures to label of 40 frames" in story
    assert "cycle 1 calculation: 3 labels" in story
    assert "cycle 1 closed: 3 labels, 1 of 2 walkers halted, test force error 40.0 meV/Å" in story
    assert any(line.endswith("labelled: -3.500 eV/atom, largest force 1.25 eV/Å") for line in story)
    assert any(line.endswith(" failed (crashed): it broke") for line in story)
    assert story[-1] == "verdict converged: all walkers <completed>"


def test_a_fit_that_is_not_promoted_says_why() -> None:
    """The gate's words are part of the line."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    campaign.learn(halts=True, promoted=False)
    lines = [describe(event) for event in campaign.events]
    assert "fit of cycle 1: test force error 40.0 meV/Å, not promoted: by hand" in lines


def test_an_exploded_walker_says_what_stopped_it() -> None:
    """The guard's words follow the ending; without a state the walker is called by its task."""
    campaign = whole_campaign(learning_cycles=1)
    ended = next(
        event
        for event in campaign.events
        if isinstance(event, ev.TaskEnded) and "expl" in event.outcome.task
    )
    assert isinstance(ended.outcome.metrics, ExploreMetrics)
    metrics = replace(ended.outcome.metrics, ending=Ending.EXPLODED, steps=30, detail="9999 K")
    exploded = ended.model_copy(
        update={"outcome": ended.outcome.model_copy(update={"metrics": metrics})}
    )
    assert (
        f"{ended.outcome.task} exploded at step 30, γ {metrics.gamma_max:.1f} (9999 K)"
        == describe(exploded)
    )


def test_a_lost_attempt_is_called_by_its_task() -> None:
    """The record still knows its task when the batch is forgotten.

    A walker is called by its condition.
    """
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    tasks = campaign.start(Phase.EXPLORATION, [(walk(300, 1), ())])
    job_name = campaign.submit(tasks)
    lost = campaign.add(
        ev.AttemptLost(
            at=campaign.now, job_name=job_name, index=0, reason=Reason.TIMEOUT, message="walltime"
        )
    )
    assert campaign.state.batches == {}
    assert describe(lost, campaign.state) == "walker Cu fcc 300 K nvt was lost (timeout): walltime"


def test_tasks_that_are_no_walkers_keep_their_id() -> None:
    """A calculation is found by its id in the journal and on disk, so that is what it is called."""
    campaign = Campaign()
    campaign.create()
    campaign.generation()
    item = structure("g/0.xyz", Role.TRAIN, "generated")
    (task,) = campaign.start(Phase.CALCULATION, [(calculate(item), ())])
    job_name = campaign.submit([task])
    lost = campaign.add(
        ev.AttemptLost(
            at=campaign.now, job_name=job_name, index=0, reason=Reason.LOST, message="gone"
        )
    )
    assert f"{task.id} was lost (lost): gone" == describe(lost, campaign.state)


def test_long_messages_are_cut() -> None:
    """A traceback does not flood a terminal."""
    line = describe(ev.TaskQuarantined(at=AT, task="t", message="x " * 4000))
    assert len(line) == 400
    assert line.endswith("…")


def test_a_healed_label_says_how_many_runs_it_took() -> None:
    """One that converged at once says nothing of it."""
    runs = (
        OracleRun(ending="not_converged", wall_s=1.0),
        OracleRun(ending="converged", wall_s=2.0),
    )
    settings = {
        "energy_ev": -2.0,
        "n_atoms": 1,
        "force_max_ev_per_angstrom": 0.5,
        "pressure_gpa": 0.0,
        "settings": "x",
    }
    found = [
        _label(judged_value(CalculateMetrics, {**settings, "tries": runs[first:]}))
        for first in (0, 1)
    ]
    assert found[0] == f"{found[1]}, healed in 2 runs"
