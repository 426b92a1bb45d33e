"""A scheduler in memory: it loses replies, lands jobs late, shows the past, and forgets.

What it shows is what Scheduler promises and no more.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlip_autopipec.data_models.base import Mender, Reason
from mlip_autopipec.data_models.events import JobState, QueuedJob, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.ports import Accepted, Answer, Limited, PostMortem, Rejected, Unclear, Void
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.jobs import (
    DRAINED,
    MIAN,
    NO_NODE,
    QUIET_S,
    REFUSED,
    UNKNOWN,
    PretendedJob,
    SimulatedJobs,
    none_is_left,
)
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.testing.weather import Weather

__all__ = ["QUIET_S", "SimulatedCluster"]

#: Ids begin again after so many: a new job may have the id of an old one.
_JOB_IDS = 5


@dataclass(slots=True)
class _Submission:
    """What became of one job name that was handed over."""

    quiet_at_s: float
    closed: bool = False  # rejected or void: nothing lands any more
    job_id: str | None = None


class SimulatedCluster(SimulatedJobs):
    """ports.Scheduler and ports.Watcher over a MemoryTransport."""

    def __init__(
        self,
        transport: MemoryTransport,
        clock: SimulatedClock,
        weather: Weather,
        chance: random.Random,
    ) -> None:
        super().__init__(transport, clock, weather, chance)
        self._submissions: dict[str, _Submission] = {}
        self._shown: Mapping[tuple[str, int], JobState] = {}
        self._refusals: dict[str, Rejected] = {}
        self._sealed: set[tuple[str, int]] = set()

    # --- ports.Scheduler --------------------------------------------------------------------------

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Answer:
        """Hand over once; later calls for the same job name only report."""
        await self._weather.pass_by("submit")
        submission = self._submissions.get(batch.job_name)
        if submission is None:
            if self._weather.strikes("limited"):
                return Limited("QOSMaxSubmitJobPerUserLimit")
            if self._weather.lasts("drained"):
                return Limited(DRAINED, degraded=True)
            if self._weather.lasts("unknown"):
                return Limited(UNKNOWN, degraded=True, known=False)
            self._excluded(batch.job_name, exclude)
            submission = self._hand_over(batch.job_name, tasks)
        await self._weather.pass_by("submit")
        if submission.job_id is None or self._weather.strikes("reply_lost"):
            if submission.closed:
                return self._refusals.get(batch.job_name, Unclear("it was given up"))
            return Unclear("Socket timed out on send/recv operation")
        return Accepted(submission.job_id)

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Void only after QUIET_S: until then something may still be on the wire."""
        await self._weather.pass_by("locate")
        submission = self._submissions.setdefault(
            batch.job_name, _Submission(quiet_at_s=self._clock.elapsed_s)
        )
        if self._weather.strikes("locate_unclear"):
            return Unclear("slurm_load_jobs error: Unable to contact slurm controller")
        if submission.job_id is not None:
            return Accepted(submission.job_id)
        if self._clock.elapsed_s < submission.quiet_at_s:
            return Unclear("not found, but it may still be on the wire")
        submission.closed = True
        return Void("not found, and nothing can be on the wire")

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """What squeue shows: sometimes nothing, sometimes the past, sometimes not all."""
        await self._weather.pass_by("sight")
        if self._weather.strikes("sight_none"):
            return None
        if not self._weather.holds("sight_frozen"):
            self._shown = {key: self._visible_state(job) for key, job in self.jobs.items()}
        shown = {} if self._weather.strikes("sight_empty") else self._shown
        asked = [(batch.job_name, index) for batch in batches for index in sorted(batch.live)]
        return {
            key: Sighting(job_name=key[0], index=key[1], state=shown.get(key, JobState.ABSENT))
            for key in asked
            if not self._weather.strikes("left_out")
        }

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """The truth about one attempt, or None."""
        await self._weather.pass_by("post_mortem")
        job = self.jobs.get((batch.job_name, index))
        if job is None or self._weather.strikes("post_mortem_none"):
            return None
        if job.end is not None:
            self._sealed.add((job.job_name, job.index))
        return job.end or Sighting(job_name=job.job_name, index=job.index, state=job.state)

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        """Every array with an element that has not ended."""
        await self._weather.pass_by("roll")
        if self._weather.strikes("sight_none"):
            return None
        names = {(job.job_name, job.job_id) for job in self.jobs.values() if job.end is None}
        return tuple(
            QueuedJob(job_name=job_name, job_id=job_id)
            for job_name, job_id in sorted(names)
            if job_name.startswith(f"{campaign}.")
        )

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        """End every attempt of the batch, or of those, that has not ended."""
        await self._weather.pass_by("cancel")
        for job in self.jobs.values():
            if (
                job.job_name == batch.job_name
                and job.end is None
                and (only is None or job.index in only)
            ):
                self._end(job, PostMortem(Reason.CANCELLED, "CANCELLED by 0"))

    # --- for tests --------------------------------------------------------------------------------

    def is_over(self, job_name: str, index: int) -> bool:
        """Whether this attempt can't run any more, nor yet begin to."""
        job = self.jobs.get((job_name, index))
        if job is not None:
            return job.end is not None
        submission = self._submissions.get(job_name)
        return submission is not None and submission.closed

    # --- the cluster's own life -------------------------------------------------------------------

    def _hand_over(self, job_name: str, tasks: Sequence[Task]) -> _Submission:
        strikes = self._weather.strikes
        submission = self._submissions[job_name] = _Submission(
            quiet_at_s=self._clock.elapsed_s + QUIET_S
        )
        if strikes("rejected") or self.mistyped:
            submission.closed = True
            self._refusals[job_name] = Rejected(
                MIAN if self.mistyped else REFUSED, Mender.PERSON, "Mend the site file"
            )
        elif none_is_left(self.exclusions[job_name]):
            submission.closed = True
            self._refusals[job_name] = Rejected(
                NO_NODE, Mender.PERSON, "Ask for less", by_size=True
            )
        elif strikes("landing_late"):
            delay_s = self._chance.uniform(0.0, QUIET_S)
            asyncio.get_running_loop().call_later(delay_s, self._land, job_name, tuple(tasks))
        elif not strikes("submit_lost"):
            self._land(job_name, tuple(tasks))
        return submission

    def _land(self, job_name: str, tasks: tuple[Task, ...]) -> None:
        submission = self._submissions[job_name]
        if submission.closed or submission.job_id is not None:
            self.violations.append(f"{job_name} landed twice, or after it was said to be void")
        submission.job_id = str(1000 + len(self._submissions) % _JOB_IDS)
        self.jobs |= {
            (job.job_name, job.index): job
            for job in self._queue(job_name, submission.job_id, tasks)
        }

    def _has_claim(self, job: PretendedJob) -> bool:
        return (job.job_name, job.index) not in self._sealed

    def _visible_state(self, job: PretendedJob) -> JobState:
        return JobState.ABSENT if self._forgotten(job) else job.state
