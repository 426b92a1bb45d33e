"""What Slurm says, as values. Pure: text in, facts out.

Every command on the site is framed (see framing), so that a torn answer can't pass for a short one,
nor a login banner or the output of a job for an answer. States and flags are those of Slurm 25.11;
a word that is not among them ends nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlip_autopipec import framing
from mlip_autopipec.contract.mistakes import nearest
from mlip_autopipec.data_models.base import Mender, Reason
from mlip_autopipec.data_models.events import JobState, QueuedJob
from mlip_autopipec.data_models.faults import Effect, Heard, fault_of
from mlip_autopipec.data_models.text import first_lines
from mlip_autopipec.ports import Accepted, Limited, PostMortem, Rejected, Unclear
from mlip_autopipec.ports import Answer as SubmitAnswer

#: squeue gives one line per element that has begun, and one per range of those that have not.
SQUEUE_FORMAT = "%F|%K|%T|%r|%N|%j"
SACCT_FORMAT = "JobID,State,ExitCode,NodeList,JobName"

_STATES: Mapping[str, JobState] = {
    **dict.fromkeys(
        ("PENDING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_FED", "EXPEDITING"),
        JobState.WAITING,
    ),
    **dict.fromkeys(("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"), JobState.HELD),
    **dict.fromkeys(
        (
            "RUNNING",
            "COMPLETING",
            "SUSPENDED",
            "STOPPED",
            "SIGNALING",
            "RESIZING",
            "STAGE_OUT",
            "UPDATE_DB",
        ),
        JobState.RUNNING,
    ),
}
#: Why an attempt in this state has no outcome.
_ENDS: Mapping[str, Reason] = {
    "COMPLETED": Reason.LOST,  # it says that it is done, and nothing is there
    "FAILED": Reason.CRASHED,
    "TIMEOUT": Reason.TIMEOUT,
    "DEADLINE": Reason.TIMEOUT,
    "OUT_OF_MEMORY": Reason.OUT_OF_MEMORY,
    "NODE_FAIL": Reason.NODE_FAILURE,
    "BOOT_FAIL": Reason.NODE_FAILURE,
    "LAUNCH_FAILED": Reason.NODE_FAILURE,
    "RECONFIG_FAIL": Reason.NODE_FAILURE,
    "PREEMPTED": Reason.PREEMPTED,
    "CANCELLED": Reason.CANCELLED,
    "REVOKED": Reason.LOST,
}
#: Ends that say little: there the words in the job's output may say more.
_VAGUE = frozenset({"COMPLETED", "FAILED", "CANCELLED", "REVOKED"})
#: What slurmstepd writes into a job's output when it ends the job; the first that is found counts.
_LAST_LINES: tuple[tuple[re.Pattern[str], Reason], ...] = (
    (
        re.compile(r"oom[-_ ]kill|out[- ]of[- ]memory|exceeded (\w+ )?memory limit", re.IGNORECASE),
        Reason.OUT_OF_MEMORY,
    ),
    (re.compile(r"execve\(\): .*(Stale file handle|Input/output error)"), Reason.STORAGE),
    (re.compile(r"execve\(\): "), Reason.NODE_UNFIT),
    (
        re.compile(
            r"couldn't chdir to|[Pp]rolog.*(fail|error)|TaskProlog|Could not open std(out|err) file"
        ),
        Reason.NODE_UNFIT,
    ),
    (re.compile(r"DUE TO TIME LIMIT"), Reason.TIMEOUT),
    (re.compile(r"DUE TO PREEMPTION"), Reason.PREEMPTED),
    (re.compile(r"DUE TO NODE FAIL"), Reason.NODE_FAILURE),
    (re.compile(r"CANCELLED AT \S+ \*\*\*"), Reason.CANCELLED),
)
#: A job writes this at the begin of each of its lives; what was written before is an earlier
#: life's.
LIFE_MARK = "AP_LIFE"


# --- framed answers -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FramedAnswer:
    """The commands that came to their end, by name, and what was said on standard error."""

    sections: Mapping[str, framing.CommandOutput]
    errors: str
    begin: str = ""  # the first lines of all that came, for messages

    def whole(self, name: str) -> str | None:
        """What a command printed, if it is there and ended well."""
        section = self.sections.get(name)
        return section.text if section is not None and section.status == 0 else None

    def word(self, name: str) -> str:
        """The one word that a command printed; empty if it printed none, or failed."""
        return (self.whole(name) or "").strip()


_ERRORS_MAX = 500
_BEGIN_BYTES = 2000


def parse_answer(nonce: str, stdout: bytes, stderr: bytes) -> FramedAnswer:
    """Take an answer apart that was framed with this nonce."""
    errors = " ".join(stderr.decode("utf-8", "replace").split())[-_ERRORS_MAX:]
    return FramedAnswer(
        framing.sections(nonce, stdout),
        errors,
        first_lines(stdout[:_BEGIN_BYTES].decode("utf-8", "replace")),
    )


# --- the answer to sbatch -------------------------------------------------------------------------

_JOB_ID = re.compile(r"^(\d+)(?:;\S+)?\n", re.MULTILINE)
#: Exit status of what a signal has ended; 255 is sbatch's own, for options that it does not take.
_KILLED = range(129, 129 + 64)
#: sbatch or the controller has said no to what was asked, in whatever words.
_REFUSAL = re.compile(r"Batch job submission failed: |sbatch: fatal")


def classify_answer(status: int | None, out: str, err: str) -> SubmitAnswer:
    """What sbatch's status, output and errors mean; `status` None: not ended, or nobody knows how.

    An id counts whatever else was said, and whatever lines stand around it; of several ids none is
    believed. What can't be told for sure is Unclear, and has to be looked up. Whose fault a refusal
    is stands in the table of faults.
    """
    message = (
        " ".join(err.split()) or f"sbatch ended with status {status} and wrote: {first_lines(out)}"
    )
    if ids := set(_JOB_ID.findall(out)):
        several = Unclear(f"sbatch's answer names several jobs: {first_lines(out)}")
        return several if len(ids) > 1 else Accepted(ids.pop())
    if status is None:
        return Unclear("sbatch has not answered yet")
    fault = fault_of(Heard.SBATCH, " ".join(err.split()))
    if status == 0 or status in _KILLED or (fault is not None and fault.effect is Effect.LOST):
        return Unclear(message)
    if fault is None:
        return (
            Limited(message, degraded=True, known=False)
            if _REFUSAL.search(err)
            else Unclear(message)
        )
    if fault.effect is Effect.LIMITED or fault.mender is Mender.SITE:
        return Limited(message, degraded=fault.effect is not Effect.LIMITED)
    return Rejected(message, fault.mender, fault.remedy, fault.by_size)


def is_of_partition(message: str) -> bool:
    """Whether a refusal says that there is no such partition."""
    return "invalid partition" in message.lower()


def partition_hint(asked: str, names: str) -> str:
    """What a person needs whose site file has partitions (with commas) not in `names`, one a line.

    Ends with a space; empty where nothing is known, or all of them are there.
    """
    known = sorted(set(names.split()))
    wrong = [name for name in asked.split(",") if name not in known]
    if not known or not wrong:
        return ""
    meant = [
        f" {name!r}: did you mean {close!r}?" for name in wrong if (close := nearest(name, known))
    ]
    return f"The partitions there are {', '.join(known)}.{''.join(meant)} "


# --- squeue, sacct, scontrol ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Element:
    """One array element as Slurm shows it.

    With `index` None, it is those of a batch that have no line of their own.
    """

    job_id: str  # of the whole array
    index: int | None
    name: str
    word: str  # the state, as Slurm wrote it
    reason: str = ""
    nodes: str = ""

    @property
    def state(self) -> JobState:
        """The portable state; UNKNOWN for a word that this program does not know."""
        state = JobState.ENDED if self._base in _ENDS else _STATES.get(self._base, JobState.UNKNOWN)
        is_held = state is JobState.WAITING and fault_of(Heard.PENDING, self.reason) is not None
        return JobState.HELD if is_held else state

    @property
    def end(self) -> Reason | None:
        """Why it has no outcome, by its state alone; None if it has not ended."""
        return _ENDS.get(self._base)

    @property
    def node(self) -> str:
        """The one node that it ran on; empty if there are several, or none is known."""
        return self.nodes if re.fullmatch(r"[\w.-]+", self.nodes) else ""

    @property
    def is_vague(self) -> bool:
        """Whether the job's own output may say more about its end than this state."""
        return self._base in _VAGUE

    @property
    def detail(self) -> str:
        """Slurm's words, for people."""
        return " ".join(
            word for word in (self.word, self._because, self.nodes and f"on {self.nodes}") if word
        )

    @property
    def _base(self) -> str:
        """`CANCELLED by 1000` and `CANCELLED+` are CANCELLED."""
        return re.split(r"[ +]", self.word, maxsplit=1)[0]

    @property
    def _because(self) -> str:
        return "" if self.reason in {"", "None"} else f"({self.reason})"


#: The heading of squeue's answer, which no other program prints: squeue itself has answered.
_SQUEUE_HEADING = re.compile(r"[A-Z_]+\|[A-Z_]+\|STATE\|REASON\|[A-Z_()]+\|NAME", re.ASCII)
_SQUEUE_LINE = re.compile(r"(\d+)\|([^|]*)\|([^|]*)\|([^|]*)\|([^|]*)\|(.*)", re.ASCII)
_SACCT_LINE = re.compile(
    r"(\d+)(?:_(?:\[(.*)\]|(\d+)))?\|([^|]*)\|([^|]*)\|([^|]*)\|(.*)", re.ASCII
)
#: What is left of such a line that was cut, or stands behind a notice with no newline; and Slurm's
#: own complaints.
_DAMAGED = re.compile(
    r"^\d[\w.,:%\[\]-]*\||\d[\]\d]*\|([^|]*\|)?[A-Z_]{2,}[^|]*\||^(slurm_\w+|squeue:|sacct:)"
    r" (error|fatal)\b",
    re.ASCII,
)


def parse_squeue(text: str) -> list[Element] | None:
    """Elements of a whole squeue answer in SQUEUE_FORMAT, ranges expanded; None if unreadable.

    Lines of others, such as a site's notice, are passed over. But an answer of such lines alone is
    none: without its heading, it may be of a wrapper whose squeue has failed.
    """
    elements: list[Element] = []
    ours, foreign = False, False
    for line in filter(None, text.splitlines()):
        if _SQUEUE_HEADING.fullmatch(line):
            ours = True
        elif match := _SQUEUE_LINE.fullmatch(line):
            job_id, indices, word, reason, nodes, name = match.groups()
            try:
                elements += [
                    Element(job_id, index, name, word, reason, nodes) for index in expand(indices)
                ]
            except ValueError:
                return None
            ours = True
        elif _DAMAGED.search(line):
            return None
        else:
            foreign = True
    return elements if ours or not foreign else None


def queued_jobs(elements: Iterable[Element], campaign: str) -> tuple[QueuedJob, ...]:
    """A campaign's jobs, by the start of their names, that have not ended and are not about to."""
    jobs: dict[tuple[str, str], QueuedJob] = {}
    for element in elements:
        over = element.state is JobState.ENDED or element.word == "COMPLETING"
        if element.name.startswith(f"{campaign}.") and not over:
            job = QueuedJob(job_name=element.name, job_id=element.job_id, detail=element.detail)
            jobs.setdefault((job.job_name, job.job_id), job)
    return tuple(jobs[key] for key in sorted(jobs))


def parse_sacct(text: str) -> list[Element] | None:
    """Elements of a whole `sacct -X -P -n` in SACCT_FORMAT; None if a line of sacct can't be read.

    Lines of others are passed over, as in `parse_squeue`.
    """
    elements: list[Element] = []
    for line in filter(None, text.splitlines()):
        if match := _SACCT_LINE.fullmatch(line):
            job_id, indices, index_alone, word, exit_code, nodes, name = match.groups()
            why = "" if exit_code in {"", "0:0"} else f"exit {exit_code}"
            where = "" if nodes == "None assigned" else nodes
            try:
                spread = expand(indices or index_alone or "N/A")
            except ValueError:
                return None
            elements += [Element(job_id, index, name, word, why, where) for index in spread]
        elif _DAMAGED.search(line):
            return None
    return elements


_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


def expand(indices: str) -> list[int | None]:
    """`4,7-9%2` as numbers, without the throttle; [None] for `N/A`, where no index shows any more.

    Slurm does that to the elements that were cancelled before they began. Raises ValueError.
    """
    if indices == "N/A":
        return [None]
    numbers: list[int | None] = []
    for part in indices.partition("%")[0].split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"no array indices: {indices!r}")
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        numbers += range(first, last + 1, step)
    return numbers


_LIVELIEST = (JobState.RUNNING, JobState.UNKNOWN, JobState.WAITING, JobState.HELD, JobState.ENDED)


def by_attempt(
    elements: Iterable[Element], sizes: Mapping[str, int]
) -> dict[tuple[str, int], Element]:
    """(name, index) → its element, for batches of the given sizes; none where Slurm shows nothing.

    Should a batch be there twice, the copy that lives counts: a copy that comes late ends by itself
    and does nothing.
    """
    found: dict[tuple[str, int], Element] = {}
    # lines of their own come first
    for element in sorted(elements, key=lambda element: element.index is None):
        for index in _indices(element, sizes):
            other = found.get((element.name, index))
            if other is None or _LIVELIEST.index(element.state) < _LIVELIEST.index(other.state):
                found[element.name, index] = element
    return found


def _indices(element: Element, sizes: Mapping[str, int]) -> Iterator[int]:
    size = sizes.get(element.name, 0)
    if element.index is None:
        yield from range(size)
    elif element.index < size:
        yield element.index


def message_timeout_s(config: str) -> int | None:
    """MessageTimeout of `scontrol show config`, in seconds; None if it is not said."""
    match = re.search(r"^MessageTimeout\s*=\s*(\d+)", config, re.MULTILINE)
    return int(match[1]) if match else None


# --- the end of an attempt ------------------------------------------------------------------------


#: Exit status of the work half where it could write no outcome: EX_IOERR and EX_NOPERM of
#: sysexits.h.
_EXITS: Mapping[str, tuple[Reason, str]] = {
    "74": (Reason.STORAGE, "the task could not write its files"),
    "77": (
        Reason.ACCESS,
        "the task may not write its files: renew the ticket or token, or the right to write there",
    ),
}
_EXIT_CODE = re.compile(r"\b(?:ExitCode=|exit )(\d+):\d+")


@dataclass(frozen=True, slots=True)
class Signs:
    """What else is known of an attempt that has ended."""

    claimed: bool | None = None  # whether the work half had begun; None: not known
    record: str = ""  # of `scontrol show job`
    disk: str = ""  # why nothing can be written to the task's folder now; empty if it can


_GONE = "No such file or directory"


def disk_message(said: str) -> str:
    """Why a file could not be written, in the file system's words.

    It is empty if it is no fault of a file system.
    """
    line = next((line for line in said.splitlines() if line.startswith("dd: ")), "")
    fault = fault_of(Heard.JOB, line)
    known = _GONE in line or (
        fault is not None and fault.reason in {Reason.STORAGE, Reason.NODE_UNFIT}
    )
    return line.removeprefix("dd: ") if known else ""


def judge_end(
    element: Element | None, slurm_output: str, job_output: str, signs: Signs | None = None
) -> PostMortem:
    """Why an attempt has no outcome.

    It is told by its state; where that says little, or is forgotten, by what it has left.
    """
    reason = element.end if element is not None else None
    node = element.node if element is not None else ""
    if element is not None and reason is not None and not element.is_vague:
        return PostMortem(reason, element.detail, node)
    cause, message = last_lines(slurm_output)
    shown = element.detail if element is not None else "Slurm has forgotten it"
    if cause is not None:
        return PostMortem(cause, f"{shown}; {message}", node)
    tail = " ".join((life(slurm_output) + job_output).split())[-_TEXT_MAX:]
    said = f"{shown}; its last words: {tail}" if tail else f"{shown}; it has written nothing"
    if reason is Reason.CANCELLED:
        return PostMortem(reason, said, node)
    return _judge_vague(reason, said, tail, signs or Signs(), node)


def _judge_vague(
    reason: Reason | None, said: str, tail: str, signs: Signs, node: str
) -> PostMortem:
    """By the disk, by what was said last, and by how far it had come."""
    status = _EXIT_CODE.search(signs.record) or _EXIT_CODE.search(said)
    if status is not None and status[1] in _EXITS:
        exit_reason, message = _EXITS[status[1]]
        return PostMortem(exit_reason, f"{signs.disk or message} ({said})", node)
    if signs.disk:
        return PostMortem(Reason.STORAGE, f"{signs.disk} ({said})", node)
    fault = fault_of(Heard.JOB, tail)
    if fault is not None and fault.reason is not None and fault.reason is not Reason.CRASHED:
        return PostMortem(fault.reason, said, node)
    if signs.claimed is False and reason is Reason.CRASHED:
        return PostMortem(Reason.NODE_UNFIT, f"it ended before the work half began: {said}", node)
    return PostMortem(reason or Reason.LOST, said, node)


_TEXT_MAX = 1500


def life(output: str) -> str:
    """What a job has written since it last began.

    What stands before is of lives that Slurm took back.
    """
    return (
        output.rpartition(f"{LIFE_MARK} ")[2].partition("\n")[2]
        if f"{LIFE_MARK} " in output
        else output
    )


def last_lines(slurm_output: str) -> tuple[Reason | None, str]:
    """Why slurmstepd ended the job, and in which words; None if it did not."""
    lines = [line for line in life(slurm_output).splitlines() if line.startswith("slurmstepd")]
    for pattern, reason in _LAST_LINES:
        for line in lines:
            if pattern.search(line):
                return reason, line
    return None, ""
