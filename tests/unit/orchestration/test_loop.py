"""WorkflowManager: one inbox, one fold, one fsync, and nothing in flight twice."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import reduce

import pytest
from kit.stages import ADA, walk

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Batch, Stage, WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.orchestration.effects import Effects
from mlip_autopipec.orchestration.loop import WorkflowManager
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import Answer, Limited
from mlip_autopipec.testing.clock import SimulatedClock, run_simulated
from mlip_autopipec.testing.cluster import SimulatedCluster
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.memory import MemoryJournal, MemoryTransport
from mlip_autopipec.testing.weather import FaultRates, Weather

DAY_S = 86400.0


class Site(SimulatedCluster):
    """A perfect cluster that can be told to be full for a while, or not to answer."""

    full_times = 0
    silent_times = 0
    strangers: tuple[ev.QueuedJob, ...] = ()
    submissions = 0
    watches = 0
    blind_until: datetime | None = None

    async def names(self) -> AsyncGenerator[frozenset[str], None]:
        if self.blind_until is not None and self._clock.now() < self.blind_until:
            raise TransientError("the outbox is a pipe")
        self.watches += 1
        try:
            async with aclosing(super().names()) as sets:
                async for names in sets:
                    yield names
        finally:
            await self._clock.sleep(1)  # a connection is not closed in no time
            self.watches -= 1

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Answer:
        self.submissions += 1
        if self.full_times > 0:
            self.full_times -= 1
            return Limited("QOSMaxSubmitJobPerUserLimit")
        return await super().submit(batch, tasks, exclude)

    async def roll(self, campaign: str) -> tuple[ev.QueuedJob, ...] | None:
        known = await super().roll(campaign)
        return None if known is None else (*known, *self.strangers)

    async def sight(self, batches: Sequence[Batch]) -> dict[tuple[str, int], ev.Sighting] | None:
        if self.silent_times > 0:
            self.silent_times -= 1
            return None
        return dict(await super().sight(batches) or {})


class Disk(MemoryJournal):
    """A journal whose disk may be full."""

    is_full = False

    async def append(self, events: Sequence[ev.Event]) -> int:
        if self.is_full:
            raise OperatorError("no space left on device")
        return await super().append(events)


class Stand:
    """A daemon on a perfect site, in virtual time."""

    def __init__(self, config: WorkflowConfig | None = None) -> None:
        self.clock = SimulatedClock()
        self.read_lock = asyncio.Event()
        self.read_lock.set()
        chance = random.Random(1)  # noqa: S311 - the same in every run is the point
        self.transport = MemoryTransport(disturb=self._wire)
        self.site = Site(
            self.transport, self.clock, Weather(self.clock, chance, FaultRates()), chance
        )
        self.journal = Disk()
        self.seen: list[ev.Event] = []
        self.saved: list[WorkflowState] = []
        self.save_s = 0.0
        self.cuts = 0
        self.called: list[str] = []
        config = config or copper_config()
        effects = Effects(
            phase_runners(config), self.site, self.transport, self.clock, prepare=self._prepare
        )
        self.manager = WorkflowManager(
            state=WorkflowState(),
            policy=Policy.from_config(config),
            journal=self.journal,
            effects=effects,
            scheduler=self.site,
            transport=self.transport,
            watcher=self.site,
            clock=self.clock,
            poll_interval_s=30,
            observers=(lambda event, _: self.seen.append(event),),
            save=self._save,
            since=(self.clock.now(), 0.0),
        )

    def run(self, doing: Callable[[], Awaitable[None]]) -> None:
        """Create the campaign and let the daemon work until `doing` is over, then stop it."""

        async def both() -> None:
            main = asyncio.create_task(self.manager.run())
            side = asyncio.create_task(self._create_and(doing))
            await asyncio.wait({main, side}, return_when=asyncio.FIRST_COMPLETED)
            main.cancel()
            side.cancel()
            for ended in await asyncio.gather(main, side, return_exceptions=True):
                if isinstance(ended, BaseException) and not isinstance(
                    ended, asyncio.CancelledError
                ):
                    raise ended

        run_simulated(both(), self.clock, limit_s=DAY_S)
        assert self.manager.state.check() == ()

    async def until(self, reached: Callable[[], bool], *, within_s: float = DAY_S / 2) -> None:
        """Look every half second."""
        async with asyncio.timeout(within_s):
            while not reached():
                await self.clock.sleep(0.5)

    async def _create_and(self, doing: Callable[[], Awaitable[None]]) -> None:
        created = walk().events[0]
        assert await self.manager.record(created)
        await doing()

    async def _prepare(self) -> int | None:
        await self.transport.write({".ap/payload": b"work half"})
        return None

    async def _wire(self, operation: str) -> None:
        self.called.append(operation)
        await asyncio.sleep(0)
        if operation == "read_many":
            await self.read_lock.wait()
            if self.cuts > 0:
                self.cuts -= 1
                raise TransientError("connection reset")

    def _save(self, state: WorkflowState) -> None:
        self.clock.advance(self.save_s)
        self.saved.append(state)

    def kinds(self) -> list[str]:
        """Types of all events, in order."""
        return [type(event).__name__ for event in self.seen]


def test_a_campaign_runs_to_its_verdict() -> None:
    """Append, evolve, decide, carry out, from nothing to the end.

    The journal holds every event once.
    """
    stand = Stand(copper_config(convergence={"cycles_max": 20}))

    async def watch() -> None:
        await stand.until(lambda: stand.manager.state.verdict is not None)

    stand.run(watch)
    assert stand.manager.state.verdict is Verdict.CONVERGED
    assert list(stand.journal.events()) == stand.seen
    assert stand.site.violations == []


def test_a_daemon_that_is_stopped_as_it_reads_outcomes_has_closed_its_watch() -> None:
    """The watch may hold a connection: it is not left for the collector of garbage to close."""
    stand = Stand()

    async def main() -> None:
        daemon = asyncio.create_task(stand.manager.run())
        stand.read_lock.clear()
        assert await stand.manager.record(walk().events[0])
        await stand.until(lambda: "read_many" in stand.called)
        assert stand.site.watches == 1
        daemon.cancel()
        await asyncio.wait([daemon])
        assert stand.site.watches == 0

    run_simulated(main(), stand.clock, limit_s=DAY_S)


def test_nothing_is_taken_behind_the_last_event() -> None:
    """What came in the turn of DaemonStopped is not written, and whoever handed it in is told."""
    stand = Stand()
    answers: list[bool] = []

    async def stop() -> None:
        stopped = ev.DaemonStopped(at=stand.clock.now(), why="SIGTERM")
        paused = ev.Paused(at=stand.clock.now(), by=ADA)
        answers.extend(
            await asyncio.gather(
                *(stand.manager.record(event) for event in (stopped, paused, stopped))
            )
        )

    stand.run(stop)
    assert answers == [True, False, False]
    assert isinstance(stand.journal.events()[-1], ev.DaemonStopped)
    assert "Paused" not in stand.kinds()


def test_the_state_is_saved_after_every_transition() -> None:
    """The last saved state is the last that a phase transition, a pause or the verdict led to."""
    stand = Stand()

    async def watch() -> None:
        await stand.until(lambda: stand.manager.state.verdict is not None)
        await stand.clock.sleep(1)

    stand.run(watch)
    assert stand.saved[-1].verdict is not None
    assert {state.current_phase for state in stand.saved} >= set(Phase)


def test_a_state_that_has_been_saved_is_not_saved_again() -> None:
    """Turns in which nothing changes write no file."""
    stand = Stand()

    async def watch() -> None:
        await stand.manager.record(ev.Paused(at=stand.clock.now(), by=ADA))
        await stand.clock.sleep(1)
        before = len(stand.saved)
        for _ in range(3):
            await stand.manager.turned()
        assert len(stand.saved) == before > 0

    stand.run(watch)


def test_an_outcome_is_taken_when_its_name_is_there() -> None:
    """Not only when its job is missed in the queue, and asked after."""
    stand = Stand()

    async def watch() -> None:
        await stand.until(lambda: any(path.startswith("outbox/") for path in stand.transport.files))
        await stand.until(lambda: "TaskEnded" in stand.kinds(), within_s=40)

    stand.run(watch)


def test_stale_news_is_answered_and_not_written() -> None:
    """The answer is False, and the journal does not grow."""
    stand = Stand()

    async def steer() -> None:
        before = stand.manager.state.seq
        late = ev.SubmissionAccepted(
            at=stand.clock.now(), job_name="copper-3f9a1c.c000.generation.b09", job_id="1"
        )
        assert await stand.manager.record(late) is False
        assert not any(
            isinstance(event, ev.SubmissionAccepted) and event.job_id == "1" for event in stand.seen
        )
        assert await stand.manager.record(ev.Paused(at=stand.clock.now(), by=ADA)) is True
        assert stand.manager.state.seq > before

    stand.run(steer)


def test_record_returns_when_the_event_is_on_the_disk_and_folded_in() -> None:
    """Whoever steers is answered by a state that has heard of it."""
    stand = Stand()

    async def steer() -> None:
        await stand.manager.record(ev.Paused(at=stand.clock.now(), by=ADA))
        assert stand.manager.state.status == "paused"
        assert any(isinstance(event, ev.Paused) for event in stand.journal.events())

    stand.run(steer)


def test_a_pause_stops_submission_and_resume_lets_it_go_on() -> None:
    """While paused the cluster is handed nothing new."""
    stand = Stand()

    async def steer() -> None:
        await stand.manager.record(ev.Paused(at=stand.clock.now(), by=ADA))
        await stand.clock.sleep(3600)
        before = stand.site.submissions
        await stand.clock.sleep(3600)
        assert stand.site.submissions == before
        await stand.manager.record(ev.Resumed(at=stand.clock.now(), by=ADA))
        await stand.until(lambda: stand.manager.state.verdict is not None)

    stand.run(steer)


def test_a_site_that_is_well_and_has_no_jobs_is_let_be() -> None:
    """Where there is nothing to wait for, nothing is asked."""
    stand = Stand()

    async def watch() -> None:
        await stand.manager.record(ev.Paused(at=stand.clock.now(), by=ADA))
        await stand.clock.sleep(60)
        assert stand.manager.state.site_prepared
        stand.called.clear()
        await stand.clock.sleep(600)
        assert stand.called == []

    stand.run(watch)


def test_a_silent_scheduler_degrades_the_site_and_fails_nothing() -> None:
    """No information is told once, and taken back once it answers; no attempt is lost by it."""
    stand = Stand()
    stand.site.silent_times = 3

    async def watch() -> None:
        await stand.until(lambda: stand.manager.state.verdict is not None)

    stand.run(watch)
    changes = [event.health for event in stand.seen if isinstance(event, ev.SiteChanged)]
    assert changes == [ev.SiteHealth.DEGRADED, ev.SiteHealth.OK]
    assert "AttemptLost" not in stand.kinds()


def test_an_outbox_that_cannot_be_listed_is_told_once_and_waited_for() -> None:
    """Whatever the scheduler answers meanwhile.

    Then the outcomes are there, and the campaign reaches its verdict.
    """
    stand = Stand()
    stand.site.blind_until = stand.clock.now() + timedelta(minutes=5)

    async def watch() -> None:
        await stand.until(lambda: stand.manager.state.verdict is not None)

    stand.run(watch)
    changes = [
        (event.health, event.message) for event in stand.seen if isinstance(event, ev.SiteChanged)
    ]
    assert changes == [(ev.SiteHealth.DEGRADED, "the outbox is a pipe"), (ev.SiteHealth.OK, "")]


def test_a_cut_while_outcomes_are_read_loses_none() -> None:
    """The names come again, the site is degraded meanwhile and the campaign reaches its verdict."""
    stand = Stand()
    stand.cuts = 5

    async def watch() -> None:
        await stand.until(lambda: stand.manager.state.verdict is not None)

    stand.run(watch)
    degraded = [
        event.message for event in stand.seen if isinstance(event, ev.SiteChanged) and event.message
    ]
    assert set(degraded) == {"connection reset"}
    assert "AttemptLost" not in stand.kinds()


def test_what_has_not_changed_is_not_written_again() -> None:
    """Every JobsSighted tells something new about each attempt it names."""
    stand = Stand()

    async def watch() -> None:
        await stand.until(lambda: stand.manager.state.verdict is not None)

    stand.run(watch)
    found: dict[tuple[str, int], ev.JobState] = {}
    for event in stand.seen:
        for sighting in event.sightings if isinstance(event, ev.JobsSighted) else ():
            assert found.get((sighting.job_name, sighting.index)) is not sighting.state
            found[sighting.job_name, sighting.index] = sighting.state
    assert found


def test_a_journal_that_fails_ends_the_daemon_before_anything_is_published() -> None:
    """What is not on the disk has not happened: no observer hears of it, and the state stays."""
    stand = Stand()

    async def steer() -> None:
        stand.journal.is_full = True
        heard = len(stand.seen)
        seq = stand.manager.state.seq
        try:
            async with asyncio.timeout(60):
                await stand.manager.record(ev.Paused(at=stand.clock.now(), by=ADA))
        finally:
            assert (len(stand.seen), stand.manager.state.seq) == (heard, seq)

    with pytest.raises(ExceptionGroup) as caught:
        stand.run(steer)
    assert caught.value.subgroup(OperatorError) is not None


def test_an_outcome_that_is_read_after_its_phase_has_ended_is_old_news() -> None:
    """While the outbox is read, the same attempt may end by an inquiry, and its phase with it."""
    stand = Stand()
    stand.read_lock.clear()

    async def overtake() -> None:
        await stand.until(lambda: any(path.startswith("outbox/") for path in stand.transport.files))
        await stand.clock.sleep(60)  # by now the watcher waits for the content
        (content,) = (
            content for path, content in stand.transport.files.items() if path.startswith("outbox/")
        )
        ended = ev.TaskEnded(at=stand.clock.now(), outcome=Outcome.model_validate_json(content))
        assert await stand.manager.record(ended)
        await stand.until(
            lambda: stand.manager.state.current_phase is Phase.CALCULATION, within_s=60
        )
        stand.read_lock.set()
        await stand.until(lambda: stand.manager.state.stage is Stage.ENDED)

    stand.run(overtake)
    assert stand.manager.state.verdict is not None


def test_a_deadline_that_passes_while_the_state_is_saved_is_not_missed() -> None:
    """A deferral that runs out during a slow save is taken up right after it."""
    stand = Stand()
    stand.site.full_times = 1

    async def steer() -> None:
        await stand.until(lambda: "EffectDeferred" in stand.kinds())
        stand.save_s = 3.0
        await stand.manager.record(ev.Resumed(at=stand.clock.now(), by=ADA))
        await stand.until(lambda: stand.site.submissions == 2, within_s=60)

    stand.run(steer)
    deferred = next(event for event in stand.seen if isinstance(event, ev.EffectDeferred))
    assert deferred.until - deferred.at == timedelta(seconds=2)


def test_a_turn_is_through_only_when_the_journal_has_taken_what_there_was() -> None:
    """Without events it comes at once; with a disk that hangs it does not come."""
    stand = Stand()

    async def doing() -> None:
        await stand.manager.turned()
        hangs = asyncio.Event()
        append = stand.journal.append

        async def hanging(events: Sequence[ev.Event]) -> int:
            await hangs.wait()
            return await append(events)

        stand.journal.append = hanging  # type: ignore[method-assign]
        recording = asyncio.create_task(
            stand.manager.record(ev.Paused(at=stand.clock.now(), by=ADA))
        )
        turned = asyncio.create_task(stand.manager.turned())
        await stand.clock.sleep(600)
        assert not turned.done()
        hangs.set()
        await turned
        assert await recording

    stand.run(doing)


def test_a_site_that_answers_again_is_told_from_one_that_does_not() -> None:
    """With no job to ask about it is knocked at, until it answers.

    Nothing is submitted before it is prepared.
    """
    stand = Stand()

    async def doing() -> None:
        await stand.manager.record(
            ev.DaemonStarted(
                at=stand.clock.now(),
                version="0",
                host="login1",
                pid=1,
                config_sha256="0",
                payload_sha256="0",
            )
        )
        await stand.until(lambda: stand.manager.state.site_prepared)
        await stand.manager.record(ev.Paused(at=stand.clock.now(), by=ADA))
        await stand.until(lambda: not stand.manager.state.batches)
        cut = ev.SiteChanged(at=stand.clock.now(), health=ev.SiteHealth.DEGRADED, message="cut")
        await stand.manager.record(cut)
        await stand.until(lambda: stand.manager.state.site is ev.SiteHealth.OK)

    stand.run(doing)
    kinds = stand.kinds()
    assert "SubmissionBegun" not in kinds[: kinds.index("SitePrepared")]


def test_a_clock_that_is_set_is_noticed_before_anything_is_decided_by_it() -> None:
    """The daemon writes down by how much; a clock that only runs is no news."""
    stand = Stand()

    async def doing() -> None:
        await stand.until(lambda: bool(stand.manager.state.batches))
        assert not any(isinstance(event, ev.ClockStepped) for event in stand.seen)
        stand.clock.jump(-7200)
        await stand.until(lambda: any(isinstance(event, ev.ClockStepped) for event in stand.seen))

    stand.run(doing)
    (stepped,) = (event for event in stand.seen if isinstance(event, ev.ClockStepped))
    assert stepped.by_s == -7200


def test_a_clock_that_is_set_as_the_daemon_starts_is_noticed() -> None:
    """Between DaemonStarted, from which graces are counted anew, and the first turn.

    Otherwise they would all be over.
    """
    stand = Stand()
    stand.manager.state = evolve(WorkflowState(), walk().events[0])
    stand.clock.jump(120)

    async def main() -> None:
        running = asyncio.create_task(stand.manager.run())
        await stand.until(lambda: bool(stand.seen))
        running.cancel()
        await asyncio.wait({running})

    run_simulated(main(), stand.clock, limit_s=DAY_S)
    (stepped, *_) = stand.seen
    assert isinstance(stepped, ev.ClockStepped)
    assert stepped.by_s == 120


def test_what_was_dated_by_the_clock_of_before_is_folded_in_before_its_step() -> None:
    """Else a grace that begins with it is over at once.

    An end was seen, and the clock set forward as it was told.
    """
    stand = Stand()

    def stepped() -> list[ev.Event]:
        return [event for event in stand.seen if isinstance(event, ev.ClockStepped)]

    async def doing() -> None:
        await stand.until(
            lambda: any(batch.job_id for batch in stand.manager.state.batches.values())
        )
        (batch,) = stand.manager.state.batches.values()
        at, healths = stand.clock.now(), 15 * (ev.SiteHealth.DEGRADED, ev.SiteHealth.OK)
        found: list[ev.Event] = [
            ev.SiteChanged(at=at, health=health, message="") for health in healths
        ]
        over = ev.Sighting(
            job_name=batch.job_name, index=0, state=ev.JobState.ENDED, detail="COMPLETED on n1"
        )
        found.append(ev.JobsSighted(at=at, sightings=(over,)))
        async with asyncio.TaskGroup() as tasks:  # more than one turn takes
            for event in found:
                tasks.create_task(stand.manager.record(event))
            await asyncio.sleep(0)
            stand.clock.jump(7200)
            await stand.until(lambda: bool(stepped()))
        until = stand.seen[: stand.seen.index(stepped()[0]) + 1]
        record = reduce(evolve, until, WorkflowState()).tasks[batch.tasks[0]]
        assert (record.job_state, record.missing_since) == (ev.JobState.ENDED, stepped()[0].at)

    stand.run(doing)
    assert "AttemptLost" not in stand.kinds()


def test_jobs_that_nobody_waits_for_are_told_and_left_alone() -> None:
    """At the start and then hourly, once what has just ended has had time to go.

    That they are gone is told too.
    """
    stand = Stand()
    stale, other = (
        ev.QueuedJob(job_name="copper-3f9a1c.c000.training.b07", job_id=job_id)
        for job_id in ("41", "42")
    )
    stand.site.strangers = (stale,)

    def told() -> list[ev.OrphansSeen]:
        return [event for event in stand.seen if isinstance(event, ev.OrphansSeen)]

    async def doing() -> None:
        await stand.until(lambda: stand.manager.state.site_prepared)
        await stand.until(lambda: bool(told()))
        stand.site.strangers = (stale, other)
        await stand.until(lambda: len(told()) == 2)
        stand.site.strangers = ()
        await stand.until(lambda: len(told()) == 3)

    stand.run(doing)
    assert [event.jobs for event in told()] == [(stale,), (stale, other), ()]
    assert told()[2].at - told()[1].at >= timedelta(hours=0.9)
    assert "41" not in [job.job_id for job in stand.site.jobs.values()]


def test_another_job_of_a_live_name_is_an_orphan() -> None:
    """The batch is one job; a copy under the same name is told, the job itself is not."""
    stand = Stand()

    async def doing() -> None:
        await stand.until(
            lambda: any(batch.job_id for batch in stand.manager.state.batches.values())
        )
        batch = next(iter(stand.manager.state.batches.values()))
        mine = ev.QueuedJob(job_name=batch.job_name, job_id=batch.job_id or "")
        assert stand.manager._is_waited_for(mine)
        assert not stand.manager._is_waited_for(mine.model_copy(update={"job_id": "9999"}))

    stand.run(doing)
