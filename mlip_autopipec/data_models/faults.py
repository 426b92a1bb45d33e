"""The one table that sorts each failure by who can mend it. Pure; docs/failures.md is made from it.

A row has the words by which a fault is known. The words of Slurm are those of its source
(`src/common/slurm_errno.c`, `src/common/slurm_protocol_defs.c`), those of file systems are
`strerror(3)`'s, and those of ended ranks are what Open MPI, MPICH, Intel MPI and srun print. What
no row knows is nobody's at first: three equal failures in a row are for a person (see
`orchestration.machine`).

`python -m mlip_autopipec.data_models.faults` prints docs/failures.md; a test compares.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from mlip_autopipec.data_models.base import Mender, Reason


class Heard(StrEnum):
    """Where the words of a fault are heard."""

    SBATCH = "sbatch"  # the answer to a submission
    PENDING = "pending"  # squeue's reason of a job that does not start
    JOB = "job"  # the last words of an attempt without a result


class Effect(StrEnum):
    """What is known of a submission that was answered so."""

    REFUSED = "refused"  # nothing was submitted
    LIMITED = "limited"  # nothing was submitted: the user has as many jobs as allowed
    LOST = "lost"  # it may have been submitted: looked up, never tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row: whoever speaks these words has this fault."""

    heard: Heard
    what: str
    mender: Mender
    pattern: str  # a regular expression, searched for without regard to case
    examples: tuple[str, ...]
    remedy: str = ""  # what a person does
    reason: Reason | None = None  # of attempts that end so
    effect: Effect = Effect.REFUSED
    # refused for how much it asks for: an attempt that asks for more than the first is the task's
    by_size: bool = False


#: Who can mend an attempt that ended for this reason.
MENDERS: Mapping[Reason, Mender] = {
    Reason.NUMERICAL: Mender.TASK,
    Reason.BAD_INPUT: Mender.TASK,
    Reason.CRASHED: Mender.TASK,
    Reason.TIMEOUT: Mender.TASK,
    Reason.OUT_OF_MEMORY: Mender.TASK,
    Reason.BAD_OUTCOME: Mender.TASK,
    Reason.REJECTED: Mender.TASK,
    Reason.CANCELLED: Mender.TASK,
    Reason.LOST: Mender.TASK,
    Reason.NODE_FAILURE: Mender.NODE,
    Reason.NODE_UNFIT: Mender.NODE,
    Reason.PREEMPTED: Mender.SITE,
    Reason.STORAGE: Mender.SITE,
    Reason.ACCESS: Mender.PERSON,
}
#: Reasons that name no cause: three equal failures of these in a row are no task's.
SUSPECT = frozenset(
    {Reason.CRASHED, Reason.BAD_INPUT, Reason.BAD_OUTCOME, Reason.LOST, Reason.NODE_UNFIT}
)
_MENDED_FILE = "Mend the site file and start the daemon again with it"

_SBATCH: tuple[Fault, ...] = (
    Fault(
        heard=Heard.SBATCH,
        what="the controller's answer was lost",
        mender=Mender.SITE,
        effect=Effect.LOST,
        pattern=(
            r"timed out|unable to contact|unexpected message|zero bytes were transmitted|insane"
            r" message length|connection (failure|refused|reset|rejected|forced closed)|connect"
            r" failure|not connected|broken pipe|(send|receive|shutdown) failure|send/recv|header"
            r" lengths|would block|missing socket error|incoming file desc|outgoing file desc"
            r"|delayed socket error|closing all communications"
        ),
        examples=(
            "Socket timed out on send/recv operation",
            "Unable to contact slurm controller (connect failure)",
            "Zero Bytes were transmitted or received",
            "Unexpected message received",
        ),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="the user has as many jobs as allowed",
        mender=Mender.SITE,
        effect=Effect.LIMITED,
        pattern=r"\w*Submit\w*Limit\b|MaxJobCount limit reached|temporarily unable to accept"
        r"|resource temporarily unavailable|rate limit exceeded",
        examples=(
            "QOSMaxSubmitJobPerUserLimit",
            "AssocMaxSubmitJobLimit",
            "MaxJobCount limit reached",
            "Rate limit exceeded, please retry momentarily",
        ),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="the account's hours are used up",
        mender=Mender.PERSON,
        pattern=r"(Assoc|QOS)Grp(?!\w*RunMin)\w*Minutes\w*|usage threshold",
        examples=(
            "AssocGrpCPUMinutesLimit",
            "Requested account has breached requested QOS usage threshold",
        ),
        remedy="Ask for more hours, or name another account or qos in the site file",
    ),
    Fault(
        heard=Heard.SBATCH,
        what="a job asks for more than it may",
        mender=Mender.PERSON,
        by_size=True,
        pattern=(
            r"\w*(PerJob|PerNode|Wall\w*Limit|MinCpu\w*|MinGRES\w*)\w*|requested node"
            r" configuration is not available|memory specification can not be satisfied|memory"
            r" required by task|requested time limit is invalid|more processors requested|(node"
            r"|cpu|core|task) count specification invalid|core count for|task distribution"
            r" specification|job size specification|invalid time-min|topology"
            r"|RestrictedCoresPerGPU|insufficient gres|insufficient resources"
        ),
        examples=(
            "Requested node configuration is not available",
            "Requested time limit is invalid (missing or exceeds some limit)",
            "QOSMaxWallDurationPerJobLimit",
            "Memory required by task is not available",
            "More processors requested than permitted",
        ),
        remedy=(
            f"Ask for less in site.resources, or name a partition that has as much. {_MENDED_FILE}"
        ),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="the limit of a policy is reached",
        mender=Mender.SITE,
        effect=Effect.LIMITED,
        pattern=r"accounting/QOS policy",
        examples=(
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        ),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="the partition, nodes, reservation or licences are not there now",
        mender=Mender.SITE,
        pattern=(
            r"required partition not available|partition in down state|partition configuration not"
            r" available now|required node not available|requested nodes are busy|licenses"
            r" currently unavailable|reservation (is in use|not usable now)|maintenance"
            r" reservation|max powered up nodes|can not start immediately|immediate execution"
            r" impossible|ports are in use|burst buffer resource limit|waiting for burst buffer"
            r"|reboot already in progress|partition is in use"
        ),
        examples=(
            "Required partition not available (inactive or drain)",
            "Partition in DOWN state",
            "Requested partition configuration not available now",
            "Required node not available (down, drained or reserved)",
            "Licenses currently unavailable",
            "Requested reservation not usable now",
        ),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="Slurm itself is in trouble",
        mender=Mender.SITE,
        pattern=(
            r"submissions disabled|standby mode|presently disabled|slurmctld .*(busy|shut)|slurm"
            r" internal error|prologslurmctld|connect to database|database connection|error"
            r" configuring interconnect|incompatible versions|i/o error writing script|could not"
            r" establish a configuration|unable to process configuration file|fetch remote configs"
            r"|check slurm\.conf|plugin initialization failed|(resolve|find) (user|group)"
            r"|heartbeat file|spank plugin failure"
        ),
        examples=(
            "System submissions disabled",
            "Slurm backup controller in standby mode",
            "I/O error writing script/environment to file",
            "Unable to connect to database",
            "Unable to resolve user ID to user name",
        ),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="the site's authentication (munge) is in trouble",
        mender=Mender.SITE,
        pattern=r"authenticat|auth plugin|credential|munge|token generation failed",
        examples=(
            "Protocol authentication error",
            "Munge encode failed",
            "Error generating job credential",
        ),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="a file system of the login node is in trouble",
        mender=Mender.SITE,
        pattern=(
            r"no space left on device|disk quota exceeded|stale (nfs )?file handle|read-only file"
            r" system|input/output error|cannot allocate memory|transport endpoint|too many open"
            r" files"
        ),
        examples=("No space left on device", "Stale file handle"),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="the user may not",
        mender=Mender.PERSON,
        pattern=(
            r"access/permission denied|access denied|permission denied|group not permitted|account"
            r" .*expired|expired account|password has expired|burst buffer permission|operation"
            r" not permitted|rejecting authentication of user nobody"
        ),
        examples=(
            "Access/permission denied",
            "User's group not permitted to use this partition",
            "Access denied to requested reservation",
        ),
        remedy=(
            "Ask the site for access, or name another partition, account or reservation in the"
            " site file"
        ),
    ),
    Fault(
        heard=Heard.SBATCH,
        what="the site file names what the site does not have",
        mender=Mender.PERSON,
        pattern=(
            r"invalid partition|no partition specified|nodes not in this partition|invalid account"
            r"|invalid qos|invalid parent account|invalid wckey|invalid (preferred )?feature"
            r"|active features|invalid generic resource|invalid gres|duplicate generic resource"
            r"|gres option unsupported|invalid licen[sc]e|reservation is invalid|invalid node name"
            r"|unknown association|invalid (user|group) id|trackable resource|invalid mcs_label"
            r"|invalid extra|burst buffer request|invalid cluster|no eligible clusters|multiple"
            r" partition|invalid mpi plugin|knl numa|container"
        ),
        examples=(
            "invalid partition specified: mian",
            "Invalid partition name specified",
            "Invalid account or account/partition combination specified",
            "Invalid qos specification",
            "Invalid feature specification",
            "Invalid generic resource (gres) specification",
            "Requested reservation is invalid",
            "Invalid license specification",
        ),
        remedy=f"{_MENDED_FILE}, or resume once the site has it",
    ),
    Fault(
        heard=Heard.SBATCH,
        what="sbatch does not take what the site file has it asked",
        mender=Mender.PERSON,
        pattern=(
            r"unrecognized option|invalid option|requires an argument|unable to open file|error:"
            r" invalid |look like a batch script|dos line breaks|not found|invalid job array"
            r"|dependency problem|circular job|not supported on this system|only batch jobs"
            r"|environment is missing|job script not specified|parameter too long|invalid --"
            r"|invalid time specified|threads per core|--batch option|x11|working directory"
            r" specified"
        ),
        examples=(
            "unrecognized option '--wrong'",
            "Invalid --time specification",
            "Invalid job array specification",
            "sbatch: command not found",
            "Requested operation not supported on this system",
        ),
        remedy=f"Look at site.scheduler and site.resources. {_MENDED_FILE}",
    ),
)

_PENDING: tuple[Fault, ...] = (
    Fault(
        heard=Heard.PENDING,
        what="the partition or its nodes are not there now",
        mender=Mender.SITE,
        pattern=r"Partition(Inactive|Down)|ReqNodeNotAvail|FrontEndDown|SystemFailure",
        examples=("PartitionDown", "PartitionInactive"),
    ),
    Fault(
        heard=Heard.PENDING,
        what="it is held, or asks for what it may not",
        mender=Mender.PERSON,
        pattern=(
            r"JobHeld|\bheld\b|BadConstraints|DependencyNeverSatisfied|Partition(TimeLimit"
            r"|NodeLimit|Config)|Invalid(Account|QOS)|Max(Wall|Cpu|Node|Mem|GRES)\w*Per(Job|Node)"
            r"|NotAllowed|NotInPartitionAllowed"
        ),
        examples=("JobHeldUser", "PartitionTimeLimit", "launch failed requeued held"),
        remedy=(
            "Change what holds it (release, limits of the partition), or scancel it to have it"
            " submitted again"
        ),
    ),
)

_JOB: tuple[Fault, ...] = (
    Fault(
        heard=Heard.JOB,
        what="a disk of the node is full",
        mender=Mender.NODE,
        reason=Reason.NODE_UNFIT,
        pattern=r"(/tmp|/var|/dev/shm|/local)\b.{0,200}no space left"
        r"|no space left on device:? '?(/tmp|/var|/dev/shm|/local)",
        examples=("OSError: [Errno 28] No space left on device: '/tmp/ompi.n7'",),
    ),
    Fault(
        heard=Heard.JOB,
        what="the site's file system is full, over quota, read-only, stale or failing",
        mender=Mender.SITE,
        reason=Reason.STORAGE,
        pattern=(
            r"no space left on device|\bENOSPC\b|quota exceeded|\bEDQUOT\b|stale (nfs )?file"
            r" handle|\bESTALE\b|read-only file system|\bEROFS\b|input/output error|\bEIO\b|remote"
            r" i/o error|transport endpoint|file system is full|disk is full|exit 74:"
        ),
        examples=(
            "OSError: [Errno 28] No space left on device",
            "OSError: [Errno 122] Disk quota exceeded",
            "OSError: [Errno 116] Stale file handle",
            "OSError: [Errno 30] Read-only file system",
            "OSError: [Errno 5] Input/output error",
            "Transport endpoint is not connected",
        ),
    ),
    Fault(
        heard=Heard.JOB,
        what="a ticket, token or permission is missing or has expired",
        mender=Mender.PERSON,
        reason=Reason.ACCESS,
        pattern=(
            r"key has expired|required key not available|key was rejected|ticket (has )?expired"
            r"|tokens? (for .* )?(has |have )?expired|no credentials cache|PermissionError"
            r"|licen[sc]e .*(expired|denied)"
        ),
        examples=(
            "OSError: [Errno 127] Key has expired",
            "PermissionError: [Errno 13] Permission denied: '/home/ada/root/outbox'",
            "Ticket expired",
        ),
        remedy=(
            "Renew the ticket or token (kinit, aklog), or give the user the right to write under"
            " site.root"
        ),
    ),
    Fault(
        heard=Heard.JOB,
        what="a process was killed for its memory, or could get none",
        mender=Mender.TASK,
        reason=Reason.OUT_OF_MEMORY,
        pattern=(
            r"oom[-_ ]?kill|out[- ]of[- ]memory|exceeded (\w+ )?memory limit|cannot allocate"
            r" memory|bad_alloc|killed by signal: 9\b|signal 9\b|\(signal 9\)|exit (code|status):?"
            r" 9\b|ended with status 9\b|ended with status (-9|137)\b|exit status 137\b|exit"
            r" code:? 137\b|SIGKILL|task \d+: killed|insufficient virtual memory|memory limit"
            r" exceeded|could not allocate memory"
        ),
        examples=(
            "KILLED BY SIGNAL: 9 (Killed)",
            "YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)",
            "EXIT CODE: 9",
            (
                "mpirun noticed that process rank 1 with PID 4242 on node n7 exited on signal 9"
                " (Killed)."
            ),
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0",
            "srun: error: n7: task 1: Killed",
            "terminate called after throwing an instance of 'std::bad_alloc'",
        ),
    ),
    Fault(
        heard=Heard.JOB,
        what=(
            "the node cannot run the code: another architecture, a library, module or program that"
            " is not there"
        ),
        mender=Mender.NODE,
        reason=Reason.NODE_UNFIT,
        pattern=(
            r"illegal instruction|\bSIGILL\b|killed by signal: 4\b|signal 4\b|exit (code|status):?"
            r" 132\b|exec format error|cannot execute binary file|error while loading shared"
            r" libraries|version .?GLIBC\w*_[\d.]+.? not found|unable to locate a modulefile|lmod"
            r" has detected|could not load the module|job prolog failed|launch failed"
        ),
        examples=(
            "Illegal instruction (signal 4)",
            "KILLED BY SIGNAL: 4 (Illegal instruction)",
            "/opt/qe/bin/pw.x: cannot execute binary file: Exec format error",
            "error while loading shared libraries: libmpi.so.12: cannot open shared object file",
            "Lmod has detected the following error: The following module(s) are unknown",
        ),
    ),
    Fault(
        heard=Heard.JOB,
        what="an arithmetic exception",
        mender=Mender.TASK,
        reason=Reason.NUMERICAL,
        pattern=(
            r"floating[- ]point exception|\bSIGFPE\b|killed by signal: 8\b|signal 8\b|exit (code"
            r"|status):? 136\b"
        ),
        examples=(
            "Floating point exception (signal 8)",
            "KILLED BY SIGNAL: 8 (Floating point exception)",
        ),
    ),
    Fault(
        heard=Heard.JOB,
        what="the code died by itself",
        mender=Mender.TASK,
        reason=Reason.CRASHED,
        pattern=(
            r"segmentation fault|\bSIGSEGV\b|killed by signal: (6|7|11|15)\b|signal (6|7|11|15)\b"
            r"|bus error|\bSIG(BUS|ABRT|TERM)\b|exit (code|status):? (134|135|139|143)\b|MPI_ABORT"
            r"|terminated"
        ),
        examples=(
            "Segmentation fault (signal 11)",
            "KILLED BY SIGNAL: 11 (Segmentation fault)",
            "Bus error (signal 7)",
            "KILLED BY SIGNAL: 15 (Terminated)",
            "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD",
        ),
    ),
)

FAULTS: tuple[Fault, ...] = (*_SBATCH, *_PENDING, *_JOB)
_COMPILED = tuple((fault, re.compile(fault.pattern, re.IGNORECASE)) for fault in FAULTS)


def fault_of(heard: Heard, said: str) -> Fault | None:
    """The first row that knows these words; None if nobody does."""
    return next(
        (fault for fault, pattern in _COMPILED if fault.heard is heard and pattern.search(said)),
        None,
    )


_DIFFERS = re.compile(
    r"0x[0-9a-f]+|[\w.+-]*/[\w./+-]+|\b[0-9a-f]{6,}\b|\d+|\bon \S+", re.IGNORECASE
)
_SIGNATURE_MAX = 300


def signature(message: str) -> str:
    """What is left of words without numbers, paths and ids: failures with the same are equal."""
    return " ".join(_DIFFERS.sub("#", message).lower().split())[:_SIGNATURE_MAX]


# --- docs/failures.md -----------------------------------------------------------------------------

_TITLES: Mapping[Heard, str] = {
    Heard.SBATCH: "When Slurm refuses a submission",
    Heard.PENDING: "When a job does not start",
    Heard.JOB: "When an attempt ends without a result",
}
_INTRODUCTION = """# Failures

Made by `python -m mlip_autopipec.data_models.faults` from the table that the program itself uses.

Every failure is sorted by who can mend it.

| who | what happens |
|---|---|
| site | It passes. The site is shown as degraded, in its own words; the daemon waits with growing \
delays and goes on by itself. It counts against no task. |
| node | The node is excluded from new submissions for a while (`--exclude`), which `status` \
tells, and then tried again. It counts against no task. |
| person | The campaign is paused with the reason and the remedy. `autopipecctl resume`, or a \
start with a mended site file, goes on. |
| task | The task is tried a bounded number of times, then given up; its cycle goes on if enough \
others are done. |
| program | A bug: the daemon ends with 70, and its journal is whole. |

A cause that no row names is blamed on no task at first. An unknown refusal is tried three times. \
Three equal failures in a row, of different tasks, pause the campaign for a person before any of \
these tasks is given up. Where all tasks of a phase die so (training and selection have one task \
only), no other task can tell whose fault it is; three attempts count as a row then, beyond the \
task's own bound. What is refused as `bad_input` the work half has explained in its own words, \
and the task is given up.
"""


def document() -> str:
    """docs/failures.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    for heard, title in _TITLES.items():
        yield f"## {title}\n"
        yield "| what | who | words such as | what happens |"
        yield "|---|---|---|---|"
        for fault in FAULTS:
            if fault.heard is heard:
                examples = "<br>".join(
                    f"`{example}`".replace("|", "\\|") for example in fault.examples
                )
                yield f"| {fault.what} | {fault.mender} | {examples} | {_happens(fault)} |"
        yield ""
    yield "## Reasons of ended attempts\n"
    yield "| reason | who |"
    yield "|---|---|"
    for reason, mender in MENDERS.items():
        yield f"| {reason} | {mender} |"


def _happens(fault: Fault) -> str:
    if fault.heard is Heard.SBATCH and fault.effect is Effect.LOST:
        return "The job is looked up by its name, and never submitted twice."
    if fault.heard is Heard.SBATCH and fault.effect is Effect.LIMITED:
        return "Waits until there is room."
    if fault.by_size:
        return (
            f"{fault.remedy}. Where an attempt asks for more than the first did, the task is given"
            " up instead."
        )
    if fault.remedy:
        return f"{fault.remedy}."
    return f"The attempt ends as `{fault.reason}`." if fault.reason else "Waits, degraded."


if __name__ == "__main__":
    print(document(), end="")
