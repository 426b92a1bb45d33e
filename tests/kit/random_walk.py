"""Random legal journals: a campaign on a perfect site for a while.

Then comes whatever else may happen, in any order.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cache

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase as Work
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.orchestration.changing import change_to, taking
from mlip_autopipec.orchestration.machine import can_cancel, can_retry, is_stale
from mlip_autopipec.orchestration.strategies import summarise
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

_ROUND = {"quorum": 0.6, "deadline": "300 s"}
_CONFIG = copper_config(calculation={"round": _ROUND})
_RUNNERS = phase_runners(_CONFIG)
_ADA = ev.Actor(uid=1000, pid=77, name="ada")
_REASONS = tuple(Reason)
_JOB_STATES = tuple(ev.JobState)

#: What the core decides, and answers to its commands, of which each subject awaits one at a time.
_IN_TURN = (
    ev.PhaseStarted,
    ev.PhaseEnded,
    ev.CycleClosed,
    ev.VerdictReached,
    ev.SubmissionBegun,
    ev.SubmissionAccepted,
    ev.SubmissionRejected,
    ev.SubmissionUnclear,
    ev.SubmissionVoided,
    ev.TaskQuarantined,
)
#: What is held against every state of a walk.
Check = Callable[[Walk], None]


@cache
def perfect_journal() -> tuple[ev.Event, ...]:
    """Every event of a campaign without faults."""
    campaign = Walk(_CONFIG, _RUNNERS)
    while campaign.step():
        pass
    return tuple(campaign.events)


@cache
def perfect_states() -> tuple[WorkflowState, ...]:
    campaign = Walk(_CONFIG, _RUNNERS)
    states = [campaign.state]
    while campaign.step():
        states.append(campaign.state)
    return tuple(states)


def holds(check: Check, *, examples: int | None = None) -> None:
    """Run `check` on all states of random walks, as many as hypothesis's profile or `examples` say.

    Raises what it raises, for the shortest walk found.
    """

    @settings(
        max_examples=examples or settings().max_examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        begin=st.integers(0, len(perfect_states()) - 10),
        picks=st.lists(st.integers(0, 2**16), min_size=20, max_size=80),
    )
    def walk(begin: int, picks: Sequence[int]) -> None:
        campaign = Walk(_CONFIG, _RUNNERS)
        campaign.state = perfect_states()[begin]
        for pick in picks:
            check(campaign)
            if campaign.state.stage is Stage.ENDED and not campaign.state.batches:
                return
            _go_on(campaign, pick)

    walk()


def eventful_journal(seed: int, events: int) -> tuple[ev.Event, ...]:
    """So many random events from the beginning of a campaign."""
    chance = random.Random(seed)  # noqa: S311 - the same every time is the point
    campaign = Walk(_CONFIG, _RUNNERS)
    while len(campaign.events) < events:
        _go_on(campaign, chance.randrange(2**16))
    return tuple(campaign.events)


def random_steps(seeds: int) -> Iterator[tuple[WorkflowState, ev.Event, WorkflowState]]:
    """Every step of so many walks, the same in every run: what was, what happened, what is."""
    for seed in range(seeds):
        chance = random.Random(seed)  # noqa: S311 - the same every time is the point
        campaign = Walk(_CONFIG, _RUNNERS)
        campaign.state = perfect_states()[chance.randrange(len(perfect_states()) - 10)]
        for _ in range(80):
            before, found = campaign.state, len(campaign.events)
            if before.stage is Stage.ENDED and not before.batches:
                break
            _go_on(campaign, chance.randrange(2**16))
            if len(campaign.events) > found:
                yield before, campaign.events[-1], campaign.state


def late_news(seeds: int) -> Iterator[tuple[WorkflowState, ev.Event]]:
    """What people and the site had to say up to ten steps ago, and the state in which it comes."""
    for seed in range(seeds):
        chance = random.Random(seed)  # noqa: S311 - the same every time is the point
        campaign, said = Walk(_CONFIG, _RUNNERS), deque[Sequence[ev.Event]](maxlen=10)
        campaign.state = perfect_states()[chance.randrange(len(perfect_states()) - 10)]
        for _ in range(80):
            pick = chance.randrange(2**16)
            options = [
                event for event in _options(campaign, pick) if not isinstance(event, _IN_TURN)
            ]
            said.append([event for event in options if not is_stale(campaign.state, event)])
            _go_on(campaign, pick)
            yield from ((campaign.state, event) for events in said for event in events)


def _go_on(campaign: Walk, pick: int) -> None:
    """Seconds or minutes later, one of all the things that may happen now."""
    campaign.now += timedelta(seconds=(0.5, 3.0, 70.0, 400.0)[pick % 4])
    options = [event for event in _options(campaign, pick) if not is_stale(campaign.state, event)]
    if options:
        # of its own, so that every option can be met
        campaign.tell(options[pick // 64 % len(options)])


def _options(campaign: Walk, pick: int) -> Iterator[ev.Event]:
    """What may happen now.

    Ends, failures and people are rarer than sightings, or no walk would come far.
    """
    at, reason = campaign.now, _REASONS[pick % len(_REASONS)]
    for command in campaign.commands():
        yield from _answers(campaign, command, pick)
    for batch, index in campaign.live():
        if batch.job_id is not None:
            sighting = ev.Sighting(
                job_name=batch.job_name, index=index, state=_JOB_STATES[pick % len(_JOB_STATES)]
            )
            yield ev.JobsSighted(at=at, sightings=(sighting,))
    for batch, index in tuple(campaign.live())[:1]:
        yield campaign.ended(batch.job_name, index, reason if pick % 5 == 0 else None)
    yield from _by_people(campaign, pick)
    if pick % 9 == 0:
        orphan = ev.QueuedJob(
            job_name=f"copper-3f9a1c.c000.training.b{pick % 3:02d}", job_id=str(5000 + pick % 50)
        )
        yield ev.OrphansSeen(at=at, jobs=(orphan,) if pick % 2 else ())
    yield ev.SiteChanged(at=at, health=ev.SiteHealth.DEGRADED, message=f"cut {pick}")


def _by_people(campaign: Walk, pick: int) -> Iterator[ev.Event]:
    """What people do: pause, resume, bring back what was given up, set the clock."""
    state, at = campaign.state, campaign.now
    if state.pause is not None:
        yield ev.Resumed(at=at, by=_ADA)
    elif pick % 7 == 0:
        yield ev.Paused(at=at, by=_ADA, reason="to see")
    given_up = [name for name in (*state.quarantine, *state.tasks) if can_retry(state, name)]
    if state.stage is Stage.ENDED and pick % 3 == 0:
        yield ev.CampaignReopened(at=at, by=_ADA, reason="mended", first_cycle=len(state.cycles))
    if given_up and state.stage is not Stage.ENDED:
        yield ev.TaskRetried(at=at, task=given_up[pick % len(given_up)], by=_ADA)
    yield from _changing_their_minds(campaign, pick)
    open_ = [name for name in state.tasks if can_cancel(state, name)]
    if open_ and pick % 17 == 0:
        yield ev.TasksCancelled(at=at, tasks=(open_[pick % len(open_)],), by=_ADA, reason="enough")
    if pick % 11 == 0:
        yield ev.ClockStepped(at=at, by_s=-400.0)
        yield ev.DaemonStarted(
            at=at, version="0", host="login1", pid=1, config_sha256="0", payload_sha256="0"
        )


def _changing_their_minds(campaign: Walk, pick: int) -> Iterator[ev.Event]:
    """What people do once they see how it goes: bring structures, go back, edit the site file."""
    state, at = campaign.state, campaign.now
    if pick % 59 == 0 and state.stage is not Stage.ENDED:
        file = FileRef(path=f"inputs/{pick % 5}-mine.extxyz", sha256=f"{pick % 5}" * 64)
        mine = Structure(
            file=file, role=Role.TRAIN, origin="added: mine.cif frame 1", n_atoms=4, why="added"
        )
        yield ev.StructuresAdded(at=at, by=_ADA, structures=(mine,))
    if pick % 97 == 0 and not state.batches:
        yield ev.PhaseRedone(
            at=at,
            by=_ADA,
            cycle=state.cycle_index,
            phase=Work.EXPLORATION if state.potential is not None else Work.GENERATION,
            summary=summarise(state) if state.current_phase is not None else None,
            digests=(),
            potential=state.potential,
            datasets=state.datasets,
            measured=state.measured,
            halted=dict(state.halted),
            ladders=state.ladders,
        )
    if pick % 53 == 0:
        edited = copper_config(
            calculation={"round": _ROUND}, convergence={"cycles_max": 4 + pick % 5}
        )
        change = change_to(state, edited, starting=False)
        if change is not None and change.is_news(state):
            yield from taking(state, change, "1", at, _ADA)


def _answers(campaign: Walk, command: cm.Command, pick: int) -> Iterator[ev.Event]:
    at = campaign.now
    match command:
        case cm.SubmitBatch():
            if pick % 13 == 0:
                yield ev.SubmissionRejected(
                    at=at, job_name=command.job_name, message="Invalid account"
                )
            yield ev.SubmissionUnclear(at=at, job_name=command.job_name, message="timed out")
        case cm.LocateBatch():
            yield ev.SubmissionVoided(at=at, job_name=command.job_name, message="never was")
        case cm.InquireAttempt():
            reason = _REASONS[pick % len(_REASONS)]
            yield ev.AttemptLost(
                at=at, job_name=command.job_name, index=command.index, reason=reason, message="died"
            )
        case _:
            pass
    if isinstance(command, (cm.PrepareSite, cm.SubmitBatch, cm.LocateBatch, cm.InquireAttempt)):
        until, health = at + timedelta(seconds=5), (*ev.SiteHealth, None)[pick % 4]
        yield ev.EffectDeferred(
            at=at, subject=command.subject, message="cut", until=until, health=health
        )
    if not isinstance(command, cm.InquireAttempt):
        yield campaign.follow(command)
