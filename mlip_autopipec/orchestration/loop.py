"""WorkflowManager: append an event, evolve, decide, carry out. Short enough to read aloud.

Events come from four sides (effects, the outbox, the reconciler, people) into one inbox. One turn
takes what is there, folds it, makes it durable with one fsync, publishes the new state, and starts
every command that is due and whose subject has nothing in flight. Nothing leaves the daemon for an
event that is not on the disk.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.commands import (
    CancelAttempts,
    Command,
    InquireAttempt,
    LocateBatch,
    SubmitBatch,
)
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.orchestration.decide import decide, next_deadline
from mlip_autopipec.orchestration.effects import Effects, health_after
from mlip_autopipec.orchestration.machine import evolve, is_in_trouble, is_live, is_stale
from mlip_autopipec.orchestration.outcomes import judge_outcome, live_attempts
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.reading import read_pages
from mlip_autopipec.ports import Clock, Journal, Scheduler, Transport, Watcher

T = TypeVar("T")


class Observer(Protocol):
    """Whoever wants to know: logs, progress, subscribers. Must be quick and must not raise."""

    def __call__(self, event: ev.Event, state: WorkflowState, /) -> None:
        """`state` is the one after `event`."""


#: Events after which the state is saved as JSON for people and tools to read.
_TRANSITIONS = (
    ev.CampaignCreated,
    ev.SettingsTaken,
    ev.PhaseStarted,
    ev.PhaseEnded,
    ev.CycleClosed,
    ev.VerdictReached,
    ev.CampaignReopened,
    ev.PhaseRedone,
    ev.Paused,
    ev.Resumed,
)


#: What is about a submission goes on to its end, whatever else is asked for meanwhile.
_OF_BATCHES = (SubmitBatch, LocateBatch, InquireAttempt, CancelAttempts)


#: Between two turns the clocks may differ by so much; more is a step.
_STEP_S = 5.0


#: Between looks for jobs that nobody waits for; and after one that showed nothing at all.
_ROLL_EVERY_S = 3600.0
_ROLL_AGAIN_S = 60.0
#: One turn takes no more, so that the socket is answered between two turns, and no more states are
#: held at a time: with 10,000 tasks each costs a tenth of a millisecond and a third of a megabyte.
_EVENTS_PER_TURN_MAX = 20
#: Outcomes read at a time, and attempts of one JobsSighted: some milliseconds of work.
_OUTCOMES_PER_READ_MAX = 200
_SIGHTINGS_PER_EVENT_MAX = 500


@dataclass(slots=True)
class _Posted:
    event: ev.Event
    subject: str | None  # of the command that ends with it
    durable: asyncio.Future[bool]


class _Stopped(Exception):  # noqa: N818 - no error: it takes the task group down
    """The last event of this daemon is on the disk."""


class WorkflowManager:
    """Owns the state of one campaign; every task it starts lives in its task group."""

    def __init__(
        self,
        *,
        state: WorkflowState,
        policy: Policy,
        journal: Journal,
        effects: Effects,
        scheduler: Scheduler,
        transport: Transport,
        watcher: Watcher,
        clock: Clock,
        poll_interval_s: float,
        observers: Sequence[Observer] = (),
        save: Callable[[WorkflowState], None],
        since: tuple[datetime, float] | None = None,
        configure: Callable[[WorkflowState], Policy] | None = None,
    ) -> None:
        """`since`: the clock and the loop's at DaemonStarted: a step right after it is one, too.

        `configure` makes effects follow the settings of a state that has taken others, and gives
        their policy.
        """
        self.state = state
        self.policy = policy
        self._journal = journal
        self._effects = effects
        self._scheduler = scheduler
        self._transport = transport
        self._watcher = watcher
        self._clock = clock
        self._poll_interval_s = poll_interval_s
        self._observers = observers
        self._save = save
        self._configure = configure
        self._inbox: list[_Posted] = []
        self._arrived = asyncio.Event()
        self._awaited: list[asyncio.Future[None]] = []
        # subject → era in which it was decided, where that matters
        self._in_flight: dict[str, int | None] = {}
        self._unsaved = False
        self._stopped = False
        self._clocks = since
        self._is_blind = False  # the outbox can't be listed

    async def record(self, event: ev.Event, subject: str | None = None) -> bool:
        """Hand in an event; wait until it is durable and folded in; False if stale and not written.

        DaemonStopped is the last event that is taken.
        """
        posted = _Posted(event, subject, asyncio.get_running_loop().create_future())
        self._inbox.append(posted)
        self._arrived.set()
        return await posted.durable

    async def turned(self) -> None:
        """Wait until one more turn is through: all that had arrived is folded in, and durable."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append(turn)
        self._arrived.set()
        await turn

    async def run(self) -> None:
        """Work until DaemonStopped is recorded, cancellation, or an error nobody here can heal."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(), name="watch")
                tasks.create_task(self._reconcile(), name="reconcile")
                tasks.create_task(self._call_the_roll(), name="roll")
                while not self._stopped:
                    now = self._clock.now()
                    if step := self._clock_step(now):
                        await self._fold_in(step)
                        continue
                    self._start_due(tasks, now)
                    if self._unsaved:
                        await asyncio.to_thread(self._save, self.state)
                        self._unsaved = False
                    await self._wait(now)
                    await self._fold()
                raise _Stopped  # noqa: TRY301 - the way out of a task group
        except* _Stopped:
            await asyncio.to_thread(self._save, self.state)

    def _clock_step(self, now: datetime) -> ev.ClockStepped | None:
        """By how much the clock was set since the last turn, if it was.

        The loop's own clock never jumps.
        """
        steady_s = asyncio.get_running_loop().time()
        then, then_s = self._clocks or (now, steady_s)
        self._clocks = (now, steady_s)
        by_s = (now - then).total_seconds() - (steady_s - then_s)
        return ev.ClockStepped(at=now, by_s=round(by_s, 3)) if abs(by_s) > _STEP_S else None

    async def _fold_in(self, step: ev.ClockStepped) -> None:
        """Decide nothing before it.

        Let nothing that was dated by the clock of before come behind it.
        """
        posted = _Posted(step, None, asyncio.get_running_loop().create_future())
        self._inbox.append(posted)
        while not posted.durable.done():
            await self._fold()

    def _start_due(self, tasks: asyncio.TaskGroup, now: datetime) -> None:
        for command in decide(self.state, self.policy, now):
            if command.subject not in self._in_flight:
                self._in_flight[command.subject] = (
                    None if isinstance(command, _OF_BATCHES) else self.state.era
                )
                tasks.create_task(self._carry_out(command), name=command.subject)

    async def _carry_out(self, command: Command) -> None:
        await self.record(await self._effects.carry_out(command, self.state), command.subject)

    async def _wait(self, decided_at: datetime) -> None:
        """Until something has arrived, or decide might answer otherwise than at `decided_at`."""
        deadline = next_deadline(self.state, self.policy, decided_at)
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._arrived.wait())]
        if deadline is not None:
            delay_s = max((deadline - self._clock.now()).total_seconds(), 0.0)
            waits.append(asyncio.ensure_future(self._clock.sleep(delay_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _fold(self) -> None:
        """Evolve over the inbox, make it durable with one fsync, publish.

        What is too much is left to the next turn.
        """
        posted, self._inbox = self._inbox[:_EVENTS_PER_TURN_MAX], self._inbox[_EVENTS_PER_TURN_MAX:]
        awaited: list[asyncio.Future[None]] = []
        if not self._inbox:
            awaited, self._awaited = self._awaited, []
            self._arrived.clear()
        state, fresh = self.state, []
        for item in posted:
            if self._stopped or is_stale(state, item.event) or self._is_of_before(item, state):
                continue
            self._stopped = isinstance(item.event, ev.DaemonStopped)
            state = evolve(state, item.event)
            fresh.append((item, state))
        if self._stopped:  # nothing is taken behind the last event
            posted, self._inbox = [*posted, *self._inbox], []
        if fresh:
            await self._journal.append([item.event for item, _ in fresh])
        if state.era != self.state.era and self._configure is not None:
            self.policy = self._configure(state)
        self.state = state
        self._publish(posted, fresh)
        for turn in awaited:
            if not turn.done():
                turn.set_result(None)

    def _is_of_before(self, item: _Posted, state: WorkflowState) -> bool:
        """Whether it was decided under settings that are in force no more.

        What it does is decided anew.
        """
        era = self._in_flight.get(item.subject) if item.subject is not None else None
        return era is not None and era != state.era

    def _publish(
        self, posted: Sequence[_Posted], fresh: Sequence[tuple[_Posted, WorkflowState]]
    ) -> None:
        """Tell the observers what is new, and everyone who waits what has become of his event."""
        for item in posted:
            if item.subject is not None:
                self._in_flight.pop(item.subject, None)
        for item, after in fresh:
            self._unsaved |= isinstance(item.event, _TRANSITIONS)
            for observe in self._observers:
                observe(item.event, after)
        written = {id(item) for item, _ in fresh}
        for item in posted:
            if not item.durable.done():
                item.durable.set_result(id(item) in written)

    async def _watch(self) -> None:
        """Turn names in the outbox into events. Names that end no live attempt are old news.

        Where the outbox can't be listed now, it is told, and tried again.
        """
        while True:
            try:
                async with aclosing(self._watcher.names()) as sets:  # it may hold a connection
                    async for names in sets:
                        self._is_blind = False
                        state = self.state
                        live = live_attempts(state)
                        for wanted in _pieces(sorted(names & live.keys()), _OUTCOMES_PER_READ_MAX):
                            await self._take(wanted, live, state)
            except TransientError as error:
                self._is_blind = True
                await self._site(health_after(error), str(error))
            await self._clock.sleep(self._poll_interval_s)

    async def _take(
        self, wanted: Sequence[str], live: Mapping[str, tuple[Batch, int]], state: WorkflowState
    ) -> None:
        """Read outcomes, and hand in what they mean.

        `live` is of `state`, which may be old news by now.
        """
        try:
            async for contents in read_pages(
                self._transport, [f"outbox/{name}" for name in wanted]
            ):
                await self._hand_in(contents, wanted, live, state)
        # the names come again with the next rescan
        except (
            TransientError,
            OperatorError,
        ) as error:
            await self._site(health_after(error), str(error))

    async def _hand_in(
        self,
        contents: Mapping[str, bytes],
        wanted: Sequence[str],
        live: Mapping[str, tuple[Batch, int]],
        state: WorkflowState,
    ) -> None:
        now = self._clock.now()
        for names in _pieces(
            [name for name in wanted if f"outbox/{name}" in contents], _EVENTS_PER_TURN_MAX
        ):
            found = [(contents[f"outbox/{name}"], *live[name]) for name in names]
            events = await asyncio.to_thread(_judged, found, state, now)
            await asyncio.gather(*(self.record(event) for event in events))

    async def _reconcile(self) -> None:
        """Ask the scheduler, slowly, about all live attempts at once.

        Write down only what has changed.
        """
        while True:
            batches = [batch for batch in self.state.batches.values() if batch.job_id is not None]
            if batches:
                await self._sight(batches)
            elif self.state.site is not ev.SiteHealth.OK and self.state.site_prepared:
                await self._knock()
            await self._clock.sleep(self._poll_interval_s)

    async def _sight(self, batches: Sequence[Batch]) -> None:
        try:
            sightings = await self._scheduler.sight(batches)
        except TransientError as error:
            await self._site(health_after(error), str(error))
            return
        if sightings is None:
            await self._site(ev.SiteHealth.DEGRADED, "the scheduler gave no usable answer")
            return
        await self._site(ev.SiteHealth.OK, "")
        changed: list[ev.Sighting] = []
        for some in _pieces(tuple(sightings.values()), _SIGHTINGS_PER_EVENT_MAX):
            changed += [sighting for sighting in some if self._is_news(sighting)]
            await asyncio.sleep(0)  # others have their turn
        for some in _pieces(changed, _SIGHTINGS_PER_EVENT_MAX):
            if still := tuple(sighting for sighting in some if self._is_news(sighting)):
                await self.record(ev.JobsSighted(at=self._clock.now(), sightings=still))

    async def _knock(self) -> None:
        """With nothing to ask the scheduler, any answer tells that the site is there again."""
        try:
            await self._transport.names("outbox")
        except (TransientError, OperatorError) as error:
            await self._site(health_after(error), str(error))
            return
        await self._site(ev.SiteHealth.OK, "")

    async def _call_the_roll(self) -> None:
        """What is in the queue under the campaign's name, and nobody waits for.

        This is asked at the start and then hourly.
        """
        while True:
            orphans = await self._orphans()
            if orphans:  # what has just ended may be shown for a while
                await self._clock.sleep(self.policy.grace.total_seconds())
                again = await self._orphans()
                still = {(job.job_name, job.job_id) for job in orphans}
                orphans = (
                    None
                    if again is None
                    else tuple(job for job in again if (job.job_name, job.job_id) in still)
                )
            if orphans is not None:
                await self.record(ev.OrphansSeen(at=self._clock.now(), jobs=orphans))
            await self._clock.sleep(_ROLL_AGAIN_S if orphans is None else _ROLL_EVERY_S)

    async def _orphans(self) -> tuple[ev.QueuedJob, ...] | None:
        """Jobs that bear the campaign's name and are of no live batch.

        None where that cannot be known now.
        """
        if not self.state.site_prepared:
            return None
        try:
            jobs = await self._scheduler.roll(self.state.campaign)
        except TransientError:  # the reconciler tells that the site is in trouble
            return None
        return None if jobs is None else tuple(job for job in jobs if not self._is_waited_for(job))

    def _is_waited_for(self, job: ev.QueuedJob) -> bool:
        batch = self.state.batches.get(job.job_name)
        return batch is not None and batch.job_id in {None, job.job_id}

    def _is_news(self, sighting: ev.Sighting) -> bool:
        if sighting.state is ev.JobState.UNKNOWN or not is_live(
            self.state, sighting.job_name, sighting.index
        ):
            return False
        record = self.state.tasks[self.state.batches[sighting.job_name].tasks[sighting.index]]
        if (record.job_state, sighting.state) == (ev.JobState.ENDED, ev.JobState.ABSENT):
            return False  # once over, it is forgotten some time
        return (record.job_state, record.detail) != (sighting.state, sighting.detail)

    async def _site(self, health: ev.SiteHealth, message: str) -> None:
        if health is ev.SiteHealth.OK and (is_in_trouble(self.state) or self._is_blind):
            return  # it answers, and is in trouble all the same
        if health is not self.state.site:
            await self.record(ev.SiteChanged(at=self._clock.now(), health=health, message=message))


def _judged(
    found: Sequence[tuple[bytes, Batch, int]], state: WorkflowState, now: datetime
) -> list[ev.TaskEnded | ev.AttemptLost]:
    """What outcomes mean.

    A Selection of 10,000 structures takes a tenth of a second to read: not in the loop.
    """
    return [judge_outcome(content, batch, index, state, now) for content, batch, index in found]


def _pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """All of them, in order, so many at a time."""
    return (items[first : first + size] for first in range(0, len(items), size))
