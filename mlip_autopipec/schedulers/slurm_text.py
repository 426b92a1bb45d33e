"""What Slurm says, as values. Pure: text in, facts out.

Every command on the site is framed (see framing), so that a torn answer can't pass for a short one, nor a login banner
or the output of a job for an answer. States and flags are those of Slurm 25.11; a word that is not among them ends
nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlip_autopipec import framing
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState, QueuedJob
from mlip_autopipec.ports import Accepted, Limited, PostMortem, Rejected, Unclear

#: squeue gives one line per element that has begun, and one per range of those that have not.
SQUEUE_FORMAT = "%F|%K|%T|%r|%N|%j"
SACCT_FORMAT = "JobID,State,ExitCode,NodeList,JobName"

_STATES: Mapping[str, JobState] = {
    **dict.fromkeys(
        ("PENDING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_FED", "EXPEDITING"), JobState.WAITING
    ),
    **dict.fromkeys(("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"), JobState.HELD),
    **dict.fromkeys(
        ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT", "UPDATE_DB"),
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
#: A pending job with one of these reasons never starts unless a person does something.
_STUCK = re.compile(
    r"JobHeld|\bheld\b|BadConstraints|DependencyNeverSatisfied|Partition(TimeLimit|NodeLimit|Config|Inactive|Down)"
    r"|Invalid(Account|QOS)|Max(Wall|Cpu|Node|Mem|GRES)\w*Per(Job|Node)|NotAllowed|NotInPartitionAllowed"
)
#: What slurmstepd writes into a job's output when it ends the job; the first that is found counts.
_LAST_WORDS: tuple[tuple[re.Pattern[str], Reason], ...] = (
    (re.compile(r"oom[-_ ]kill|out[- ]of[- ]memory|exceeded (\w+ )?memory limit", re.IGNORECASE), Reason.OUT_OF_MEMORY),
    (re.compile(r"DUE TO TIME LIMIT"), Reason.TIMEOUT),
    (re.compile(r"DUE TO PREEMPTION"), Reason.PREEMPTED),
    (re.compile(r"DUE TO NODE FAIL"), Reason.NODE_FAILURE),
    (re.compile(r"CANCELLED AT \S+ \*\*\*"), Reason.CANCELLED),
)
#: A job writes this at the begin of each of its lives; what was written before is an earlier life's.
LIFE_MARK = "AP_LIFE"


# --- framed answers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The commands that came to their end, by name, and what was said on standard error."""

    sections: Mapping[str, framing.Section]
    errors: str

    def whole(self, name: str) -> str | None:
        """What a command printed, if it is there and ended well."""
        section = self.sections.get(name)
        return section.text if section is not None and section.status == 0 else None

    def word(self, name: str) -> str:
        """The one word that a command printed; empty if it printed none, or failed."""
        return (self.whole(name) or "").strip()


_ERRORS_MAX = 500


def parse_answer(nonce: str, stdout: bytes, stderr: bytes) -> Answer:
    """Take an answer apart that was framed with this nonce."""
    errors = " ".join(stderr.decode("utf-8", "replace").split())[-_ERRORS_MAX:]
    return Answer(framing.sections(nonce, stdout), errors)


# --- the answer to sbatch -------------------------------------------------------------------------------------------

_JOB_ID = re.compile(r"^(\d+)(?:;\S+)?\n", re.MULTILINE)
#: The controller may have the job: its answer was lost, or it was asked and did not answer.
_LOST_ANSWER = re.compile(
    r"timed out|Unable to contact|Unexpected message|Zero Bytes were transmitted|[Cc]onnection (failure|refused|reset)"
    r"|connect failure|(send|receive|shutdown) failure|send/recv|not connected|Broken pipe|Header lengths",
)
#: The controller has refused it for now.
_LIMIT = re.compile(
    r"\w*Submit\w*Limit\b|temporarily unable to accept|standby mode|Resource temporarily unavailable"
    r"|I/O error writing script|[Aa]uthenticat|[Aa]uth plugin|credential|Slurmctld .*(busy|shut)",
)
#: Exit status of what a signal has ended; 255 is sbatch's own, for options that it does not take.
_KILLED = range(129, 129 + 64)
_POLICY = "accounting/QOS policy"
#: Reasons that Slurm prints above its policy message, when it is the request that breaks a limit, and not its number.
_PER_JOB = re.compile(r"\w*(PerJob|PerNode|Wall\w*Limit|MinCpu\w*|MinGRES\w*)\w*")
#: sbatch or the controller has said no to what was asked.
_REFUSAL = re.compile(
    r"Batch job submission failed: |sbatch: fatal|unrecognized option|invalid option|requires an argument"
    r"|error: Unable to open file|error: [Ii]nvalid |look like a batch script|not found|Permission denied",
)


def classify_answer(status: int | None, out: str, err: str) -> Accepted | Rejected | Limited | Unclear:
    """What sbatch's exit status, output and errors mean; `status` is None if it has not ended, or nobody knows how.

    An id counts whatever else was said. What can't be told for sure is Unclear, and has to be looked up.
    """
    words = " ".join(err.split()) or f"sbatch ended with status {status} and no word"
    if match := _JOB_ID.search(out):
        return Accepted(match[1])
    if status is None:
        return Unclear("sbatch has not answered yet")
    if status == 0 or status in _KILLED or _LOST_ANSWER.search(err):
        return Unclear(words)
    if _LIMIT.search(err) or (_POLICY in err and not _PER_JOB.search(err)):
        return Limited(words)
    return Rejected(words) if _REFUSAL.search(err) else Unclear(words)


# --- squeue, sacct, scontrol ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Element:
    """One array element, or those of a batch that have no line of their own (`index` None), as Slurm shows it."""

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
        return JobState.HELD if state is JobState.WAITING and _STUCK.search(self.reason) else state

    @property
    def end(self) -> Reason | None:
        """Why it has no outcome, by its state alone; None if it has not ended."""
        return _ENDS.get(self._base)

    @property
    def is_vague(self) -> bool:
        """Whether the job's own output may say more about its end than this state."""
        return self._base in _VAGUE

    @property
    def detail(self) -> str:
        """Slurm's words, for people."""
        return " ".join(word for word in (self.word, self._because, self.nodes and f"on {self.nodes}") if word)

    @property
    def _base(self) -> str:
        """`CANCELLED by 1000` and `CANCELLED+` are CANCELLED."""
        return re.split(r"[ +]", self.word, maxsplit=1)[0]

    @property
    def _because(self) -> str:
        return "" if self.reason in {"", "None"} else f"({self.reason})"


def parse_squeue(text: str) -> list[Element] | None:
    """Elements of a whole squeue answer in SQUEUE_FORMAT, ranges expanded; None if a line can't be read."""
    elements: list[Element] = []
    for line in filter(None, text.splitlines()):
        match line.split("|", maxsplit=5):
            case [job_id, indices, word, reason, nodes, name] if job_id.isdigit():
                try:
                    spread = expand(indices)
                except ValueError:
                    return None
                elements += [Element(job_id, index, name, word, reason, nodes) for index in spread]
            case _:
                return None
    return elements


def queued_jobs(elements: Iterable[Element], campaign: str) -> tuple[QueuedJob, ...]:
    """The jobs of a campaign, by the beginning of their names, that have not ended and are not about to."""
    jobs: dict[tuple[str, str], QueuedJob] = {}
    for element in elements:
        over = element.state is JobState.ENDED or element.word == "COMPLETING"
        if element.name.startswith(f"{campaign}.") and not over:
            job = QueuedJob(uid=element.name, job_id=element.job_id, detail=element.detail)
            jobs.setdefault((job.uid, job.job_id), job)
    return tuple(jobs[key] for key in sorted(jobs))


_SACCT_ID = re.compile(r"(\d+)(?:_(?:\[(.*)\]|(\d+)))?")


def parse_sacct(text: str) -> list[Element] | None:
    """Elements of a whole `sacct -X -P -n` answer in SACCT_FORMAT; None if a line can't be read."""
    elements: list[Element] = []
    for line in filter(None, text.splitlines()):
        match line.split("|", maxsplit=4):
            case [ids, word, exit_code, nodes, name] if match := _SACCT_ID.fullmatch(ids):
                try:
                    spread = expand(match[2] or match[3] or "N/A")
                except ValueError:
                    return None
                why = "" if exit_code in {"", "0:0"} else f"exit {exit_code}"
                where = "" if nodes == "None assigned" else nodes
                elements += [Element(match[1], index, name, word, why, where) for index in spread]
            case _:
                return None
    return elements


_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


def expand(indices: str) -> list[int | None]:
    """`4,7-9%2` as numbers, without the throttle; [None] for `N/A`, where an array shows no index any more.

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


def by_attempt(elements: Iterable[Element], sizes: Mapping[str, int]) -> dict[tuple[str, int], Element]:
    """(name, index) → its element, for batches of the given sizes; no entry where Slurm shows nothing of it.

    Should a batch be there twice, the copy that lives counts: a copy that comes late ends by itself and does nothing.
    """
    found: dict[tuple[str, int], Element] = {}
    for element in sorted(elements, key=lambda element: element.index is None):  # lines of their own come first
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


# --- the end of an attempt -------------------------------------------------------------------------------------------


def judge_end(element: Element | None, slurm_output: str, job_output: str) -> PostMortem:
    """Why an attempt has no outcome: by its state; where that says little, or is forgotten, by slurmstepd's words."""
    reason = element.end if element is not None else None
    if element is not None and reason is not None and not element.is_vague:
        return PostMortem(reason, element.detail)
    told, words = last_words(slurm_output)
    shown = element.detail if element is not None else "Slurm has forgotten it"
    if told is not None:
        return PostMortem(told, f"{shown}; {words}")
    tail = " ".join((life(slurm_output) + job_output).split())[-_WORDS_MAX:]
    said = f"its last words: {tail}" if tail else "it has written nothing"
    return PostMortem(reason or Reason.LOST, f"{shown}; {said}")


_WORDS_MAX = 1500


def life(output: str) -> str:
    """What a job has written since it last began: what stands before is of lives that Slurm took back."""
    return output.rpartition(f"{LIFE_MARK} ")[2].partition("\n")[2] if f"{LIFE_MARK} " in output else output


def last_words(slurm_output: str) -> tuple[Reason | None, str]:
    """Why slurmstepd ended the job, and in which words; None if it did not."""
    words = [line for line in life(slurm_output).splitlines() if line.startswith("slurmstepd")]
    for pattern, reason in _LAST_WORDS:
        for line in words:
            if pattern.search(line):
                return reason, line
    return None, ""
