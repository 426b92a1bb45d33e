"""Slurm in memory, as its scheduler meets it: framed answers to scripts, arrays behind their gate.

What the scripts do on a real site (see schedulers.slurm_script) is told here in a few lines each: a
try is made once, the gate is made once ever, squeue forgets, and its answers may be torn, empty or
old. Lies have bounds, since against endless ones nothing helps: an empty or an old answer is shown
for a minute at most, and not again for ten.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from mlip_autopipec import framing
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.errors import BugError
from mlip_autopipec.ports import Completed, PostMortem
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.jobs import (
    BROKEN,
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

_FOLDERS = ".ap/submit/"
#: How long sbatch takes, and how long a script waits for it.
_ANSWER_S, _PATIENCE_S = (0.01, 5.0), 20.0
_LIE_S, _TRUTH_S = (1.0, 60.0), 600.0
#: The database hears of an end so much later.
_LAG_S = 30.0
_PARTITIONS = ("main", "short")
_HEADING = "ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|REASON|NODELIST|NAME"
#: Exit status of what SIGKILL has ended.
_KILLED = 137
#: What a site file names that has a typing error.
MIAN_PARTITION = "mian"
#: Ids begin again after so many: a new array may have the id of an old one.
_JOB_IDS = 5
_STATE_NAMES: Mapping[Reason, str] = {
    Reason.TIMEOUT: "TIMEOUT",
    Reason.OUT_OF_MEMORY: "OUT_OF_MEMORY",
    Reason.NODE_FAILURE: "NODE_FAIL",
    Reason.PREEMPTED: "PREEMPTED",
    Reason.CRASHED: "FAILED",
    Reason.CANCELLED: "CANCELLED",
    Reason.LOST: "COMPLETED",
    Reason.STORAGE: "FAILED",
    Reason.NODE_UNFIT: "FAILED",
}
_LIMITED = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed:"
    " PretendedJob violates accounting/QOS policy (job submit limit, user's size and/or time"
    " limits)\n"
)
_FAILED = "sbatch: error: Batch job submission failed: "
_LOST = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"


@dataclass(slots=True)
class _Try:
    """One call of sbatch."""

    answered_at_s: float
    status: int | None = None  # None: it was killed, and nothing was written
    out: str = ""
    err: str = ""


@dataclass(slots=True)
class _Folder:
    """`.ap/submit/JOB_NAME/`."""

    tries: list[_Try] = field(default_factory=list)
    gate: str = ""
    claims: dict[int, str] = field(default_factory=dict)  # index → job id
    sealed: set[int] = field(default_factory=set)
    on_the_wire: int = 0


class AnswerSection(NamedTuple):
    """One section of an answer."""

    section: str
    text: str = ""
    status: int = 0


class SimulatedSlurm(SimulatedJobs):
    """A controller, its database in every second simulation, its nodes, and the site's shell."""

    def __init__(
        self,
        transport: MemoryTransport,
        clock: SimulatedClock,
        weather: Weather,
        chance: random.Random,
    ) -> None:
        super().__init__(transport, clock, weather, chance)
        self._folders: dict[str, _Folder] = {}
        self._arrays: list[list[PretendedJob]] = []
        self._has_database = chance.random() < 0.5  # noqa: PLR2004 - every second
        self._shown: list[tuple[PretendedJob, JobState]] = []
        self._lie = ""
        self._lie_until_s = self._lie_next_s = 0.0

    def is_over(self, job_name: str, index: int) -> bool:
        """Whether this attempt can't run any more, nor yet begin to."""
        folder = self._folders.get(job_name, _Folder())
        if folder.gate == "void":
            return True
        if folder.on_the_wire:
            return False
        mine = [job for job in self._all() if (job.job_name, job.index) == (job_name, index)]
        if folder.gate:
            mine = [job for job in mine if folder.gate == f"begun.{job.job_id}"]
        return bool(mine) and all(job.end is not None for job in mine)

    # --- the shell --------------------------------------------------------------------------------

    async def answer(self, verb: str, arguments: Sequence[str]) -> Iterable[AnswerSection]:  # noqa: PLR0911 - one per script
        """What one of the daemon's scripts tells."""
        match verb, *arguments:
            case "submit", folder, after, _:
                return await self._submit(folder.removeprefix(_FOLDERS), after)
            case "locate", _, job_name:
                return self._locate(job_name)
            case "close", folder:
                return self._close(folder.removeprefix(_FOLDERS))
            case "sight", job_names:
                return (self._squeue(job_names.split(",")),)
            case "autopsy", _, job_name, index, _:
                return (
                    self._squeue([job_name]),
                    *self._sacct(job_name),
                    *self._traces(job_name, int(index)),
                )
            case "seal", folder, _, index:
                self._folders[folder.removeprefix(_FOLDERS)].sealed.add(int(index))
                return ()
            case ("roll",):
                return (self._squeue({job.job_name for job in self._all()}, ended=False),)
            case ("partitions",):
                return (AnswerSection("partitions", "\n".join(_PARTITIONS)),)
            case "cancel", job_name, *elements:
                self._scancel(job_name, elements)
                return ()
            case _:
                raise BugError(f"no such script: {verb} {arguments}")

    async def _submit(self, job_name: str, after: str) -> Iterable[AnswerSection]:
        folder = self._folders.setdefault(job_name, _Folder())
        begun = (
            str(len(folder.tries) - 1) if folder.tries else "none"
        ) == after and not folder.gate
        if begun:
            folder.tries.append(self._sbatch(job_name, folder))
        if folder.tries and not folder.gate:
            wait_s = folder.tries[-1].answered_at_s - self._clock.elapsed_s
            await self._clock.sleep(min(max(wait_s, 0.0), _PATIENCE_S))
        return (AnswerSection("begun", "yes" if begun else "no"), *self._report(folder))

    def _traces(self, job_name: str, index: int) -> Iterator[AnswerSection]:
        """What an element has left beside its state."""
        ends = self.ends_of(job_name, index)
        yield AnswerSection("claimed", "no" if Reason.NODE_UNFIT in ends else "yes")
        yield AnswerSection(
            "record", f"JobState=FAILED ExitCode={74 if Reason.STORAGE in ends else 1}:0"
        )
        mine = (job.end for job in self._all() if (job.job_name, job.index) == (job_name, index))
        broke = any(end is not None and BROKEN in end.message for end in mine)
        yield from (AnswerSection("slurm"), AnswerSection("job", f"{BROKEN}\n" if broke else ""))

    def _locate(self, job_name: str) -> Iterator[AnswerSection]:
        folder = self._folders.setdefault(job_name, _Folder())
        yield from self._report(folder)
        if folder.tries:
            yield self._squeue([job_name])
            yield from self._sacct(job_name)
            yield AnswerSection("config", "MessageTimeout          = 10 sec")

    def _close(self, job_name: str) -> Iterable[AnswerSection]:
        folder = self._folders[job_name]
        folder.gate = folder.gate or "void"
        return (AnswerSection("gate", folder.gate),)

    def _scancel(self, job_name: str, elements: Sequence[str]) -> None:
        for job in self._all():
            if (
                job.job_name == job_name
                and job.end is None
                and (not elements or f"{job.job_id}_{job.index}" in elements)
            ):
                self._end(job, PostMortem(Reason.CANCELLED, "scancel"))

    def _report(self, folder: _Folder) -> Iterator[AnswerSection]:
        tried = folder.tries[-1] if folder.tries else None
        answered = (
            tried is not None
            and tried.status is not None
            and self._clock.elapsed_s >= tried.answered_at_s
        )
        yield AnswerSection("gate", folder.gate, 0 if folder.gate else 1)
        yield AnswerSection("try", str(len(folder.tries) - 1) if folder.tries else "")
        yield AnswerSection(
            "rc", str(tried.status) if tried and answered else "", 0 if answered else 1
        )
        yield AnswerSection("out", tried.out if tried and answered else "")
        yield AnswerSection("err", tried.err if tried and answered else "")

    # --- the controller ---------------------------------------------------------------------------

    def _sbatch(self, job_name: str, folder: _Folder) -> _Try:
        strikes = self._weather.strikes
        tried = _Try(self._clock.elapsed_s + self._chance.uniform(*_ANSWER_S))
        if strikes("limited"):
            tried.status, tried.err = 1, _LIMITED
        elif self._weather.lasts("drained"):
            tried.status, tried.err = 1, f"{_FAILED}{DRAINED}\n"
        elif self._weather.lasts("unknown"):
            tried.status, tried.err = 1, f"{_FAILED}{UNKNOWN}\n"
        elif strikes("rejected") or self._is_mistyped(job_name):
            tried.status, tried.err = (
                1,
                f"{_FAILED}{MIAN if self._is_mistyped(job_name) else REFUSED}\n",
            )
        elif none_is_left(self._excluded(job_name, self._asked(job_name, "exclude"))):
            tried.status, tried.err = 1, f"{_FAILED}{NO_NODE}\n"
        elif strikes("submit_lost"):
            tried.status, tried.err = self._chance.choice(((1, _LOST), (None, "")))
        elif strikes("landing_late"):
            tried.status, tried.err = self._chance.choice(((1, _LOST), (None, "")))
            folder.on_the_wire += 1
            delay_s = self._chance.uniform(0.0, QUIET_S)
            asyncio.get_running_loop().call_later(delay_s, self._land, job_name, folder)
        else:
            folder.on_the_wire += 1
            job_id = self._land(job_name, folder)
            if strikes("doubled"):
                folder.on_the_wire += 1
                self._land(job_name, folder)
            tried.status, tried.out = 0, f"{self._weather.notices()}{job_id}\n"
            if strikes("reply_lost"):
                tried.status, tried.out, tried.err = self._chance.choice(
                    ((1, "", _LOST), (None, "", ""))
                )
        return tried

    def _asked(self, job_name: str, option: str) -> list[str]:
        """What the job script says of an option when sbatch reads it."""
        lines = self._transport.files[f"{_FOLDERS}{job_name}/job.sh"].decode().splitlines()
        said = [line.partition("=")[2] for line in lines if line.startswith(f"#SBATCH --{option}=")]
        return [name for line in said for name in line.split(",")]

    def _is_mistyped(self, job_name: str) -> bool:
        """Whether the job script names the partition that is not there."""
        named = self._asked(job_name, "partition")
        mistyped = named == [MIAN_PARTITION]
        if mistyped and not self.mistyped:
            self.violations.append(
                f"{job_name} names the partition {MIAN_PARTITION}, and the site file was mended"
                " before"
            )
        return mistyped or (self.mistyped and not named)

    def _land(self, job_name: str, folder: _Folder) -> str:
        folder.on_the_wire -= 1
        taken = {array[0].job_id for array in self._arrays if not all(map(self._forgotten, array))}
        ids = (str(1000 + number) for number in range(_JOB_IDS, 1000))
        first = str(1000 + len(self._arrays) % _JOB_IDS)
        job_id = (
            first if first not in taken else next(number for number in ids if number not in taken)
        )
        self._arrays.append(self._queue(job_name, job_id, self._tasks(job_name)))
        return job_id

    def _tasks(self, job_name: str) -> list[Task]:
        """What the job script will find: folders by index, and the task.json in each."""
        lines = self._transport.files[f"{_FOLDERS}{job_name}/tasks.tsv"].decode().splitlines()
        files = [f"{line.partition(chr(9))[2]}/task.json" for line in lines]
        staged = [TaskFile.model_validate_json(self._transport.files[name]) for name in files]
        return [
            Task(**{name: getattr(each, name) for name in Task.model_fields}) for each in staged
        ]

    def _all(self) -> list[PretendedJob]:
        return [job for array in self._arrays for job in array]

    def _may_work(self, job: PretendedJob) -> bool:
        """The gate, then the claim."""
        folder = self._folders[job.job_name]
        me = f"begun.{job.job_id}"
        folder.gate = folder.gate or me
        if job.index in folder.sealed:
            return False
        return folder.gate == me and folder.claims.setdefault(job.index, job.job_id) == job.job_id

    def _has_claim(self, job: PretendedJob) -> bool:
        return job.index not in self._folders[job.job_name].sealed

    def _squeue(self, job_names: Collection[str], *, ended: bool = True) -> AnswerSection:
        if self._weather.strikes("sight_none"):
            return AnswerSection("squeue", "", 1)
        killed = self._weather.lasts("helper_killed")
        if not self._lies("sight_frozen"):
            self._shown = [(job, job.state) for job in self._all() if not self._forgotten(job)]
        notices = self._weather.notices()
        heading = f"{notices}{_HEADING}\n" if notices else ""
        if self._lies("sight_empty"):
            return AnswerSection("squeue", heading)
        arrays: dict[tuple[str, str], list[tuple[PretendedJob, JobState]]] = {}
        for job, state in self._shown:
            if job.job_name in job_names and (ended or state is not JobState.ENDED):
                arrays.setdefault((job.job_name, job.job_id), []).append((job, state))
        lines = [line for array in arrays.values() for line in _queue_lines(array)]
        if killed:
            return AnswerSection("squeue", heading + "\n".join(lines[: len(lines) // 2]), _KILLED)
        return AnswerSection("squeue", heading + "\n".join(lines))

    def _lies(self, fault: str) -> bool:
        """Whether this answer is no truth.

        One lie lasts at most a minute, and then there is none for ten.
        """
        now_s = self._clock.elapsed_s
        if now_s >= self._lie_next_s and self._weather.strikes(fault):
            self._lie, self._lie_until_s = fault, now_s + self._chance.uniform(*_LIE_S)
            self._lie_next_s = self._lie_until_s + _TRUTH_S
        return self._lie == fault and now_s < self._lie_until_s and not self._weather.is_calm

    def _sacct(self, job_name: str) -> Iterable[AnswerSection]:
        if not self._has_database:
            return ()
        lines = []
        for job in self._all():
            if job.job_name == job_name:
                heard = (
                    job.ended_at_s is not None and self._clock.elapsed_s - job.ended_at_s > _LAG_S
                )
                word = _word(job) if heard else "RUNNING" if job.starts else "PENDING"
                lines.append(f"{job.job_id}_{job.index}|{word}|0:0|n{job.node}|{job.job_name}")
        return (AnswerSection("sacct", self._weather.notices() + "\n".join(lines)),)


class SlurmTransport(MemoryTransport):
    """The way to a SimulatedSlurm. `verbs` names the scripts by their text."""

    def __init__(self, weather: Weather, chance: random.Random, verbs: Mapping[str, str]) -> None:
        super().__init__(disturb=weather.pass_by)
        self.slurm: SimulatedSlurm | None = None
        self._weather = weather
        self._chance = chance
        self._verbs = verbs

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run one script. What was begun is done, whether or not its answer comes through."""
        del timeout_s
        if self.slurm is None:
            raise BugError("nobody is at the other end")
        await self._disturb("run")
        first, _, script = stdin.decode().partition("\n")
        answer = await self.slurm.answer(self._verbs[script], argv[len(framing.SHELL) :])
        said = "".join(framing.framed(first.removeprefix("nonce="), *section) for section in answer)
        said = self._weather.notices() + said
        await self._disturb("run")
        if self._weather.strikes("torn"):
            said = said[: self._chance.randrange(len(said) + 1)]
        return Completed(0, said.encode(), b"")


def _queue_lines(array: Sequence[tuple[PretendedJob, JobState]]) -> Iterator[str]:
    """The lines of one array.

    There is one per element that has begun, one for those that wait, and one for those that never
    began.
    """
    waiting = [
        str(job.index) for job, state in array if state is JobState.WAITING and not job.starts
    ]
    counts = Counter(state for _, state in array)
    job_id, job_name = array[0][0].job_id, array[0][0].job_name
    if waiting:
        yield f"{job_id}|{','.join(waiting)}|PENDING|Priority||{job_name}"
    for job, state in array:
        if state is JobState.WAITING and job.starts:
            yield f"{job_id}|{job.index}|PENDING|BeginTime||{job_name}"
        elif state is JobState.RUNNING:
            yield f"{job_id}|{job.index}|RUNNING|None|n{job.node}|{job_name}"
        elif state is JobState.ENDED and (job.starts or counts[JobState.ENDED] < len(array)):
            yield f"{job_id}|{job.index}|{_word(job)}|None|n{job.node}|{job_name}"
    if not waiting and all(state is JobState.ENDED and not job.starts for job, state in array):
        yield f"{job_id}|N/A|CANCELLED|None||{job_name}"


def _word(job: PretendedJob) -> str:
    return _STATE_NAMES[job.end.reason] if job.end else "RUNNING"
