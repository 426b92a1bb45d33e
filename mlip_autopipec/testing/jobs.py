"""Jobs of a simulated cluster wait, run, write outcomes, die, and their scheduler takes them back.

Jobs live on the loop's own timers, so they go on while no daemon is there. `violations` holds what
no daemon may ever bring about, as sentences.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.data_models.ids import attempt_file
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.ports import PostMortem
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.testing.physics import Attempt, done_outcome, failed_outcome, written
from mlip_autopipec.testing.weather import Weather, chance_aside

#: After this long nothing of a submission can be on the wire any more.
QUIET_S = 150.0
#: What Slurm says of a submission that it does not take.
DRAINED = "Required partition not available (inactive or drain)"
MIAN = "invalid partition specified: mian"
REFUSED = "Invalid account or account/partition combination specified"
UNKNOWN = "The moon is in the wrong phase"
BROKEN = "job.sh: line 7: mpirunn: command not found"
NO_NODE = "Requested node configuration is not available"
_QUEUE_S = (1.0, 60.0)
_RUN_S = (5.0, 120.0)
#: How long a job may go on whose node was called lost, and how often it writes.
_HAUNTS_S, _HAUNTS = (1.0, 900.0), 3
_WATCH_S = (0.05, 20.0)
#: How long a file system may hide an outcome, and how soon one is written a second time.
_LATE_S, _AGAIN_S = (1.0, 90.0), (1.0, 300.0)
#: The scheduler forgets an ended job after this long.
_FORGET_S = 300.0
_NODES = 3
#: Every n-th listing of the outbox is whole; those between show only what is new.
_WHOLE_EVERY = 4
#: Why attempts die without an outcome.
_DEATHS = (
    Reason.TIMEOUT,
    Reason.OUT_OF_MEMORY,
    Reason.NODE_FAILURE,
    Reason.PREEMPTED,
    Reason.CRASHED,
    Reason.CANCELLED,
    Reason.LOST,
)
#: This part of garbled outcomes reads well, and of these this part is another campaign's.
_SOILED, _OTHERS = 0.6, 0.5
_GARBAGE = (b"", b"{", b"\xff\xfe", b"[]", b'{"version": 1}', b'{"version": 99, "status": "done"}')


@dataclass(slots=True)
class PretendedJob:
    """One array element as the cluster has it."""

    job_name: str
    index: int
    job_id: str
    task: Task
    state: JobState = JobState.WAITING
    node: int = 0
    exclude: frozenset[str] = frozenset()
    starts: list[datetime] = field(default_factory=list)
    starts_s: list[float] = field(default_factory=list)  # by a clock that nobody sets
    end: PostMortem | None = None
    ended_at_s: float | None = None
    done: bool = False
    run: str = ""  # the folder of its life, relative to the root
    idle: bool = False  # its guard stood back: it did nothing


class SimulatedJobs:
    """Jobs and the outbox; ports.Watcher over the latter.

    What they are submitted by is a subclass's.
    """

    def __init__(
        self,
        transport: MemoryTransport,
        clock: SimulatedClock,
        weather: Weather,
        chance: random.Random,
    ) -> None:
        self.jobs: dict[tuple[str, int], PretendedJob] = {}
        self.violations: list[str] = []
        self._transport = transport
        self._clock = clock
        self._weather = weather
        self._chance = chance
        self._listed: frozenset[str] = frozenset()
        self._aside = chance_aside(chance)
        self._runs: Counter[str] = Counter()
        self._sick = 0
        #: Nodes that each batch is kept from, and when it was handed over.
        self.exclusions: dict[str, frozenset[str]] = {}
        self.handed_over_s: dict[str, float] = {}
        #: Whether the site file names a partition that is not there.
        self.mistyped = False

    # --- ports.Watcher ----------------------------------------------------------------------------

    async def names(self) -> AsyncGenerator[frozenset[str], None]:
        """Listings of the outbox: every fourth is whole, the others show what is new.

        Some come late.
        """
        looks = 0
        while True:
            if not self._weather.strikes("listing_empty"):
                whole = frozenset(
                    path.removeprefix("outbox/")
                    for path in self._transport.files
                    if "outbox/" in path
                )
                yield whole if looks % _WHOLE_EVERY == 0 else whole - self._listed
                self._listed = whole
                looks += 1
            await self._clock.sleep(self._chance.uniform(*_WATCH_S))

    # --- the life of a job ------------------------------------------------------------------------

    def _queue(self, job_name: str, job_id: str, tasks: Sequence[Task]) -> list[PretendedJob]:
        """An array waits for its nodes."""
        exclude = self.exclusions.get(job_name, frozenset())
        jobs = [
            PretendedJob(job_name=job_name, index=index, job_id=job_id, task=task, exclude=exclude)
            for index, task in enumerate(tasks)
        ]
        for job in jobs:
            self._later(_QUEUE_S, self._start, job)
        return jobs

    def _may_work(self, job: PretendedJob) -> bool:
        """Whether the guards in the job let it do anything."""
        del job
        return True

    def _start(self, job: PretendedJob) -> None:
        job.starts.append(self._clock.now())
        job.starts_s.append(self._clock.elapsed_s)
        job.idle = not self._may_work(job)
        if job.idle:
            self._end(job, PostMortem(Reason.LOST, "ended with exit code 0"))
            return
        self._judge_start(job)
        job.run = self._run_folder(job.task)
        job.state = JobState.RUNNING
        job.node = self._chance.randrange(_NODES)
        allowed = [node for node in range(_NODES) if node_name(node) not in job.exclude]
        if job.node not in allowed:
            job.node = allowed[job.node % len(allowed)]
        if self._is_sick(job.node):
            message = f"it ended before the work half began: FAILED on {node_name(job.node)}"
            self._end(job, PostMortem(Reason.NODE_UNFIT, message, node_name(job.node)))
            return
        self._later(_RUN_S, self._fate(), job)

    def _is_sick(self, node: int) -> bool:
        """Whether this node ends whatever begins there.

        The first that it befalls is sick for the whole spell.
        """
        if not self._weather.lasts("sick_node", begins=False):
            self._sick = node
        return self._weather.lasts("sick_node") and node == self._sick

    def ends_of(self, job_name: str, index: int) -> frozenset[Reason]:
        """Why attempts of this name have ended, as the cluster knows it."""
        ends = [job.end for job in self._all() if (job.job_name, job.index) == (job_name, index)]
        return frozenset(end.reason for end in ends if end is not None)

    def nodes_of(self, job_name: str, index: int) -> frozenset[str]:
        """Where attempts of this name were ended at once by their nodes."""
        mine = (job.end for job in self._all() if (job.job_name, job.index) == (job_name, index))
        return frozenset(
            end.node for end in mine if end is not None and end.reason is Reason.NODE_UNFIT
        )

    def _excluded(self, job_name: str, exclude: Collection[str]) -> frozenset[str]:
        """Note what a batch is kept from as it is handed over."""
        self.exclusions[job_name], self.handed_over_s[job_name] = (
            frozenset(exclude),
            self._clock.elapsed_s,
        )
        return self.exclusions[job_name]

    def _run_folder(self, task: Task) -> str:
        """A folder that no other life of the task writes into."""
        self._runs[task.id] += 1
        return f"{task.workdir}/run-{self._runs[task.id]}"

    def _judge_start(self, job: PretendedJob) -> None:
        """What no daemon may ever bring about."""
        for other in self._all():
            if other is job or other.task.id != job.task.id:
                continue
            if other.state is JobState.RUNNING:
                self.violations.append(
                    f"{job.task.id} runs twice at once: as {other.job_name} and as {job.job_name}"
                )
            if other.done:
                self.violations.append(
                    f"{job.task.id} was done by {other.job_name} and runs again as {job.job_name}"
                )
        if self._staged(job) != job.task:
            self.violations.append(
                f"{job.job_name}.{job.index} starts and its task.json is not what was submitted"
            )

    def _all(self) -> Sequence[PretendedJob]:
        """Every job that ever was."""
        return tuple(self.jobs.values())

    def _staged(self, job: PretendedJob) -> Task | None:
        content = self._transport.files.get(f"{job.task.workdir}/task.json")
        if content is None:
            return None
        staged = TaskFile.model_validate_json(content)
        return Task(**{name: getattr(staged, name) for name in Task.model_fields})

    def _fate(self) -> Callable[[PretendedJob], None]:
        fates: dict[str, Callable[[PretendedJob], None]] = {
            "preempted": self._requeue,
            "dies": self._die,
            "node_dies": self._lose_node,
            "cancelled": self._cancel_batch,
            "fails": self._fail,
            "garbled": self._garble,
            "outcome_late": self._finish_unseen,
        }
        return next(
            (fate for fault, fate in fates.items() if self._weather.strikes(fault)), self._finish
        )

    def _requeue(self, job: PretendedJob) -> None:
        job.state = JobState.WAITING
        self._later(_QUEUE_S, self._start, job)

    def _die(self, job: PretendedJob) -> None:
        reason = self._chance.choice(_DEATHS)
        self._end(job, PostMortem(reason, f"simulated: {reason}"))
        self._outlive(job)

    def _lose_node(self, job: PretendedJob) -> None:
        for other in self._all():
            if other.state is JobState.RUNNING and other.node == job.node:
                self._end(other, PostMortem(Reason.NODE_FAILURE, f"node {job.node} failed"))
                self._outlive(other)

    def _outlive(self, job: PretendedJob) -> None:
        """What the scheduler says is over may go on for a while."""
        if self._weather.strikes("lives_on"):
            for _ in range(_HAUNTS):
                asyncio.get_running_loop().call_later(
                    self._aside.uniform(*_HAUNTS_S), self._haunt, job
                )

    def _haunt(self, job: PretendedJob) -> None:
        """What was given up lives.

        It writes its files once more, and its outcome if its claim still holds.
        """
        outcome = self._result(job, self._aside)
        if job.done or not self._has_claim(job) or outbox_file(job) in self._transport.files:
            return
        for other in self._all():
            later = bool(other.starts_s) and other.starts_s[0] > job.starts_s[-1]
            # A copy of the same attempt meets the claim that this one holds, and does nothing.
            if other.job_name != job.job_name and other.task.id == job.task.id and later:
                self.violations.append(
                    f"{job.job_name} was given up and leaves an outcome of {job.task.id} beside"
                    " others"
                )
        job.done = True
        self._write(job, outcome)

    def _has_claim(self, job: PretendedJob) -> bool:
        """Whether a life that was given up would still be let leave its outcome."""
        raise NotImplementedError

    def _cancel_batch(self, job: PretendedJob) -> None:
        for other in self._all():
            if other.job_name == job.job_name and other.end is None:
                self._end(other, PostMortem(Reason.CANCELLED, "CANCELLED by 1000"))

    def _fail(self, job: PretendedJob) -> None:
        self._write(job, failed_outcome(self._attempt(job), self._chance.choice(tuple(Reason))))
        self._end(job, PostMortem(Reason.CRASHED, "ended with exit code 1"))

    def _garble(self, job: PretendedJob) -> None:
        whole = self._result(job, self._chance).model_dump_json().encode()
        half = whole[: self._chance.randrange(len(whole))]
        garbage = self._chance.choice((*_GARBAGE, half))
        aside = chance_aside(self._chance)
        self._transport.files[outbox_file(job)] = (
            _soiled(whole, aside) if aside.random() < _SOILED else garbage
        )
        self._end(job, PostMortem(Reason.CRASHED, "ended with exit code 1"))

    def _finish(self, job: PretendedJob) -> None:
        if self._weather.lasts("storage_full"):
            self._end(job, PostMortem(Reason.STORAGE, "No space left on device"))
            return
        if self._weather.lasts("broken"):
            self._end(job, PostMortem(Reason.CRASHED, f"its last words: {BROKEN}"))
            return
        self._write(job, self._result(job, self._chance))
        job.done = True
        self._end(job, PostMortem(Reason.LOST, "ended with exit code 0"))

    def _finish_unseen(self, job: PretendedJob) -> None:
        """Done; but the file system shows the outcome later than the scheduler shows the end."""
        outcome = self._result(job, self._chance)
        job.done = True
        self._end(job, PostMortem(Reason.LOST, "ended with exit code 0"))
        delay_s = self._chance.uniform(*_LATE_S)
        asyncio.get_running_loop().call_later(delay_s, self._write, job, outcome)

    def _result(self, job: PretendedJob, chance: random.Random) -> Outcome:
        """The outcome of a job that is done, whose files are in place."""
        life = f"{job.job_name}.{job.index}, life {len(job.starts)}"
        outcome, contents = written(
            done_outcome(self._attempt(job), chance), lambda path: self._placed(path, job), life
        )
        self._transport.files |= contents
        return outcome

    def _placed(self, path: str, job: PretendedJob) -> str:
        """Where a life puts a file.

        That is its own folder, or where the campaign keeps such, under a name that is free.
        """
        if path.startswith(job.task.workdir):
            return f"{job.run}{path.removeprefix(job.task.workdir)}"
        folder, _, name = path.rpartition("/")
        run = job.run.removeprefix(job.task.workdir)
        return path if run in {"", "/run-1"} else f"{folder}{run}/{name}"

    def _attempt(self, job: PretendedJob) -> Attempt:
        return Attempt(
            campaign=job.job_name.partition(".")[0],
            task=job.task,
            job_name=job.job_name,
            index=job.index,
            job_id=job.job_id,
            started_at=job.starts[-1],
            ended_at=max(self._clock.now(), job.starts[-1]),
        )

    def _write(self, job: PretendedJob, outcome: Outcome) -> None:
        name, content = outbox_file(job), outcome.model_dump_json().encode()
        self._transport.files[name] = content
        if self._weather.strikes("outcome_twice"):
            delay_s = self._chance.uniform(*_AGAIN_S)
            asyncio.get_running_loop().call_later(delay_s, self._write_again, name, content)

    def _write_again(self, name: str, content: bytes) -> None:
        self._transport.files[name] = content
        self._listed -= {name.removeprefix("outbox/")}

    def _end(self, job: PretendedJob, end: PostMortem) -> None:
        job.state, job.end, job.ended_at_s = JobState.ENDED, end, self._clock.elapsed_s

    def _forgotten(self, job: PretendedJob) -> bool:
        """Whether the scheduler has purged it."""
        return job.ended_at_s is not None and self._clock.elapsed_s - job.ended_at_s > _FORGET_S

    def _later(
        self,
        span_s: tuple[float, float],
        happening: Callable[[PretendedJob], None],
        job: PretendedJob,
    ) -> None:
        """Let something happen to a job in some time from `span_s`, unless it has ended by then."""
        delay_s = self._chance.uniform(*span_s)
        asyncio.get_running_loop().call_later(delay_s, lambda: None if job.end else happening(job))


def node_name(node: int) -> str:
    """As the scheduler calls it."""
    return f"n{node}"


def none_is_left(exclude: Collection[str]) -> bool:
    """Whether every node is excluded."""
    return {node_name(node) for node in range(_NODES)} <= set(exclude)


def _soiled(whole: bytes, chance: random.Random) -> bytes:
    """An outcome that reads well and must not be believed.

    It is another campaign's, or done without what was asked for.
    """
    lie: dict[str, object] = (
        {"campaign": "other-0a1b2c"} if chance.random() < _OTHERS else {"artefacts": {}}
    )
    return json.dumps({**json.loads(whole), **lie}).encode()


def outbox_file(job: PretendedJob) -> str:
    """Where a job's outcome goes."""
    return f"outbox/{attempt_file(job.job_name, job.index)}"
