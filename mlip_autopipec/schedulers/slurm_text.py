"""What Slurm says, as values. Pure: text in, facts out.

Answers have three values: a thing is known, proved absent, or there is no information. Every command on the site is
framed by marks (see slurm_script), so that a torn answer can't pass for a short one, nor a login banner for an answer.
States and flags are those of Slurm 25.11; a word that is not among them ends nothing.
"""

import re
from collections.abc import Mapping

from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState

#: One line per array element that has begun, and one per range of those that have not.
SQUEUE_FORMAT = "%F|%K|%T|%r|%N|%j"
SACCT_FORMAT = "JobID,State,ExitCode,NodeList,JobName"

_STATES: Mapping[JobState, frozenset[str]] = {
    JobState.WAITING: frozenset(
        {"PENDING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_FED", "EXPEDITING"},
    ),
    JobState.HELD: frozenset({"REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}),
    JobState.RUNNING: frozenset(
        {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT", "UPDATE_DB"},
    ),
}
_ENDS: Mapping[str, Reason] = {
    "COMPLETED": Reason.LOST,  # it says that it is done, and has left no outcome
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
#: Pending jobs with one of these reasons never start by themselves.
_STUCK = re.compile(
    r"JobHeld|held|BadConstraints|DependencyNeverSatisfied|Partition(Time|Node|Config)\w*|Partition(Down|Inactive)"
    r"|Invalid(Account|QOS)|\w*Max(Wall|Cpu|Node|Mem|GRES)\w*Per(Job|Node)\w*|AccountNotAllowed|QOSNotAllowed"
)
#: What slurmstepd writes into a job's output as it ends it, in the order in which one outweighs another.
_LAST_WORDS: tuple[tuple[re.Pattern[str], Reason], ...] = (
    (re.compile(r"oom[-_ ]kill|out[ -]of[ -]memory|exceeded (job |step )?memory limit", re.IGNORECASE),
     Reason.OUT_OF_MEMORY),
    (re.compile(r"DUE TO TIME LIMIT"), Reason.TIMEOUT),
    (re.compile(r"DUE TO PREEMPTION"), Reason.PREEMPTED),
    (re.compile(r"DUE TO NODE FAIL"), Reason.NODE_FAILURE),
    (re.compile(r"\*\*\* (JOB|STEP) \S+ .*CANCELLED AT"), Reason.CANCELLED),
)  # fmt: skip
