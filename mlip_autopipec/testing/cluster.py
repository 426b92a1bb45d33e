"""A cluster in memory: it loses replies, lands jobs late, kills and requeues them, and remembers every start.

Jobs live on the loop's own timers, so they go on while no daemon is there. What the cluster shows is what Scheduler
and Watcher promise and no more; `violations` holds what no daemon may ever cause, as sentences.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState, Sighting
from mlip_autopipec.data_models.ids import attempt_file
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.ports import Accepted, Limited, PostMortem, Rejected, Unclear, Void
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.testing.physics import Attempt, done_outcome, failed_outcome
from mlip_autopipec.testing.weather import Weather

#: After this long nothing of a submission can be on the wire any more.
QUIET_S = 150.0
_QUEUE_S = (1.0, 60.0)
_RUN_S = (5.0, 120.0)
_WATCH_S = (0.05, 20.0)
#: The scheduler forgets an ended job after this long.
_FORGET_S = 300.0
#: Every n-th listing of the outbox is whole; those between show only what is new.
_WHOLE_EVERY = 4
#: What the scheduler says of attempts that die without an outcome.
_DEATHS = (
    Reason.TIMEOUT,
    Reason.OUT_OF_MEMORY,
    Reason.NODE_FAILURE,
    Reason.PREEMPTED,
    Reason.CRASHED,
    Reason.CANCELLED,
    Reason.LOST,
)
_GARBAGE = (b"", b"{", b"\xff\xfe", b"[]", b'{"version": 1}', b'{"version": 99, "status": "done"}')


@dataclass(slots=True)
class Job:
    """One array element as the cluster has it."""

    uid: str
    index: int
    job_id: str
    task: Task
    state: JobState = JobState.WAITING
    starts: list[datetime] = field(default_factory=list)
    end: PostMortem | None = None
    ended_at: datetime | None = None
    done: bool = False


@dataclass(slots=True)
class _Submission:
    """What became of one uid that was handed over."""

    quiet_at_s: float
    closed_at: datetime | None = None  # rejected or void: nothing lands any more
    job_id: str | None = None


class SimulatedCluster:
    """ports.Scheduler and ports.Watcher over a MemoryTransport."""

    def __init__(
        self, transport: MemoryTransport, clock: SimulatedClock, weather: Weather, chance: random.Random
    ) -> None:
        self.jobs: dict[tuple[str, int], Job] = {}
        self.violations: list[str] = []
        self._transport = transport
        self._clock = clock
        self._weather = weather
        self._chance = chance
        self._submissions: dict[str, _Submission] = {}
        self._shown: Mapping[tuple[str, int], JobState] = {}
        self._listed: frozenset[str] = frozenset()

    # --- ports.Scheduler -----------------------------------------------------------------------------------------

    async def submit(self, batch: Batch, tasks: Sequence[Task]) -> Accepted | Rejected | Limited | Unclear:
        """Hand over once; later calls for the same uid only report."""
        await self._weather.pass_by("submit")
        submission = self._submissions.get(batch.uid)
        if submission is None:
            if self._weather.strikes(self._weather.rates.limited):
                return Limited("QOSMaxSubmitJobPerUserLimit")
            submission = self._hand_over(batch.uid, tasks)
        await self._weather.pass_by("submit")
        if submission.job_id is None or self._weather.strikes(self._weather.rates.reply_lost):
            if submission.closed_at is not None:
                return Rejected("Invalid account or account/partition combination specified")
            return Unclear("Socket timed out on send/recv operation")
        return Accepted(submission.job_id)

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Void only after QUIET_S: until then something may still be on the wire."""
        await self._weather.pass_by("locate")
        submission = self._submissions.setdefault(batch.uid, _Submission(quiet_at_s=self._clock.elapsed_s))
        if self._weather.strikes(self._weather.rates.locate_unclear):
            return Unclear("slurm_load_jobs error: Unable to contact slurm controller")
        if submission.job_id is not None:
            return Accepted(submission.job_id)
        if self._clock.elapsed_s < submission.quiet_at_s:
            return Unclear("not found, but it may still be on the wire")
        submission.closed_at = submission.closed_at or self._clock.now()
        return Void("not found, and nothing can be on the wire")

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """What squeue shows: sometimes nothing, sometimes the past, sometimes not all."""
        await self._weather.pass_by("sight")
        if self._weather.strikes(self._weather.rates.sight_none):
            return None
        if not self._weather.holds("frozen", self._weather.rates.sight_frozen):
            self._shown = {key: self._visible_state(job) for key, job in self.jobs.items()}
        asked = [(batch.uid, index) for batch in batches for index in sorted(batch.live)]
        return {
            key: Sighting(uid=key[0], index=key[1], state=self._shown.get(key, JobState.ABSENT))
            for key in asked
            if not self._weather.strikes(self._weather.rates.left_out)
        }

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """The truth about one attempt, or None."""
        await self._weather.pass_by("post_mortem")
        job = self.jobs.get((batch.uid, index))
        if job is None or self._weather.strikes(self._weather.rates.post_mortem_none):
            return None
        return job.end or Sighting(uid=job.uid, index=job.index, state=job.state)

    async def cancel(self, batch: Batch) -> None:
        """End every attempt of the batch that has not ended."""
        await self._weather.pass_by("cancel")
        for job in self.jobs.values():
            if job.uid == batch.uid:
                self._end(job, PostMortem(Reason.CANCELLED, "CANCELLED by 0"))

    # --- ports.Watcher -------------------------------------------------------------------------------------------

    async def names(self) -> AsyncIterator[frozenset[str]]:
        """Listings of the outbox: every fourth is whole, the others show what is new; some come late."""
        looks = 0
        while True:
            if not self._weather.strikes(self._weather.rates.listing_empty):
                whole = frozenset(path.removeprefix("outbox/") for path in self._transport.files if "outbox/" in path)
                yield whole if looks % _WHOLE_EVERY == 0 else whole - self._listed
                self._listed = whole
                looks += 1
            await self._clock.sleep(self._chance.uniform(*_WATCH_S))

    # --- for tests -----------------------------------------------------------------------------------------------

    def over_since(self, uid: str, index: int) -> datetime | None:
        """Since when this attempt can't run any more; None while it may, or may yet begin to."""
        job = self.jobs.get((uid, index))
        if job is not None:
            return job.ended_at
        submission = self._submissions.get(uid)
        return submission.closed_at if submission else None

    # --- the cluster's own life ----------------------------------------------------------------------------------

    def _hand_over(self, uid: str, tasks: Sequence[Task]) -> _Submission:
        rates, strikes = self._weather.rates, self._weather.strikes
        submission = self._submissions[uid] = _Submission(quiet_at_s=self._clock.elapsed_s + QUIET_S)
        if strikes(rates.rejected):
            submission.closed_at = self._clock.now()
        elif strikes(rates.landing_late):
            delay_s = self._chance.uniform(0.0, QUIET_S)
            asyncio.get_running_loop().call_later(delay_s, self._land, uid, tuple(tasks))
        elif not strikes(rates.submit_lost):
            self._land(uid, tuple(tasks))
        return submission

    def _land(self, uid: str, tasks: tuple[Task, ...]) -> None:
        submission = self._submissions[uid]
        if submission.closed_at is not None or submission.job_id is not None:
            self.violations.append(f"{uid} landed twice, or after it was said to be void")
        submission.job_id = str(1000 + len(self._submissions))
        for index, task in enumerate(tasks):
            job = Job(uid=uid, index=index, job_id=submission.job_id, task=task)
            self.jobs[uid, index] = job
            self._later(_QUEUE_S, self._start, job)

    def _start(self, job: Job) -> None:
        self._judge_start(job)
        job.state = JobState.RUNNING
        job.starts.append(self._clock.now())
        self._later(_RUN_S, self._fate(), job)

    def _judge_start(self, job: Job) -> None:
        """What no daemon may ever bring about."""
        for other in self.jobs.values():
            if other is job or other.task.id != job.task.id:
                continue
            if other.state is JobState.RUNNING:
                self.violations.append(f"{job.task.id} runs twice at once: as {other.uid} and as {job.uid}")
            if other.done:
                self.violations.append(f"{job.task.id} was done by {other.uid} and runs again as {job.uid}")
        if self._staged(job) != job.task:
            self.violations.append(f"{job.uid}.{job.index} starts and its task.json is not what was submitted")

    def _staged(self, job: Job) -> Task | None:
        content = self._transport.files.get(f"{job.task.workdir}/task.json")
        if content is None:
            return None
        staged = TaskFile.model_validate_json(content)
        return Task(**{name: getattr(staged, name) for name in Task.model_fields})

    def _fate(self) -> Callable[[Job], None]:
        rates, strikes = self._weather.rates, self._weather.strikes
        fates: tuple[tuple[float, Callable[[Job], None]], ...] = (
            (rates.preempted, self._requeue),
            (rates.dies, self._die),
            (rates.fails, self._fail),
            (rates.garbled, self._garble),
        )
        return next((fate for rate, fate in fates if strikes(rate)), self._finish)

    def _requeue(self, job: Job) -> None:
        job.state = JobState.WAITING
        self._later(_QUEUE_S, self._start, job)

    def _die(self, job: Job) -> None:
        reason = self._chance.choice(_DEATHS)
        self._end(job, PostMortem(reason, f"simulated: {reason}"))

    def _fail(self, job: Job) -> None:
        self._write(job, failed_outcome(self._attempt(job), self._chance.choice(tuple(Reason))))
        self._end(job, PostMortem(Reason.CRASHED, "ended with exit code 1"))

    def _garble(self, job: Job) -> None:
        self._transport.files[_outbox(job)] = self._chance.choice(_GARBAGE)
        self._end(job, PostMortem(Reason.CRASHED, "ended with exit code 1"))

    def _finish(self, job: Job) -> None:
        self._write(job, done_outcome(self._attempt(job), self._chance))
        job.done = True
        self._end(job, PostMortem(Reason.LOST, "ended with exit code 0"))

    def _attempt(self, job: Job) -> Attempt:
        return Attempt(
            campaign=job.uid.partition(".")[0],
            task=job.task,
            uid=job.uid,
            index=job.index,
            job_id=job.job_id,
            started_at=job.starts[-1],
            ended_at=self._clock.now(),
        )

    def _write(self, job: Job, outcome: Outcome) -> None:
        self._transport.files[_outbox(job)] = outcome.model_dump_json().encode()

    def _end(self, job: Job, end: PostMortem) -> None:
        job.state, job.end, job.ended_at = JobState.ENDED, end, self._clock.now()

    def _visible_state(self, job: Job) -> JobState:
        forgotten = job.ended_at is not None and (self._clock.now() - job.ended_at).total_seconds() > _FORGET_S
        return JobState.ABSENT if forgotten else job.state

    def _later(self, span_s: tuple[float, float], happening: Callable[[Job], None], job: Job) -> None:
        """Let something happen to a job in some time from `span_s`, unless it has ended by then."""
        delay_s = self._chance.uniform(*span_s)
        asyncio.get_running_loop().call_later(delay_s, lambda: None if job.end else happening(job))


def _outbox(job: Job) -> str:
    return f"outbox/{attempt_file(job.uid, job.index)}"
