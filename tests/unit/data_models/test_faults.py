"""The table of faults: each row is reached by its own words, and documented; none hides another."""

from pathlib import Path

import pytest

from mlip_autopipec.data_models.base import Mender, Reason
from mlip_autopipec.data_models.faults import (
    FAULTS,
    MENDERS,
    Effect,
    Fault,
    Heard,
    document,
    fault_of,
    signature,
)

DOCS = Path(__file__).parents[3] / "docs" / "failures.md"
EXAMPLES = [(fault, message) for fault in FAULTS for message in fault.examples]
P, S, T, N = Mender.PERSON, Mender.SITE, Mender.TASK, Mender.NODE
#: Texts of slurm_errno.c and of sbatch itself, by who can mend them.
SBATCH = {
    S: """
Required partition not available (inactive or drain)
Partition in DOWN state
Requested partition configuration not available now
Required node not available (down, drained or reserved)
Requested nodes are busy
Licenses currently unavailable
Requested reservation is in use
Requested reservation not usable now
Job can not start due to maintenance reservation.
System submissions disabled
Slurm backup controller in standby mode
Controller is in standby mode, try a different controller
Slurm internal error, contact system administrator
PrologSlurmctld is still running
Requested operation is presently disabled
I/O error writing script/environment to file
Unable to connect to database
Incompatible versions of client and server code
Protocol authentication error
Invalid authentication credential
Authentication credential expired
Error generating job credential
Token Generation failed.
Waiting for burst buffer
Burst Buffer resource limit exceeded
Immediate execution impossible, insufficient priority
Job can not start immediately
Max powered up nodes reached
Unable to resolve user ID to user name
Spank plugin failure, node failed
MaxJobCount limit reached
Rate limit exceeded, please retry later
Resource temporarily unavailable
QOSMaxSubmitJobPerUserLimit
AssocGrpSubmitJobsLimit
Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)
Socket timed out on send/recv operation
Unable to contact slurm controller (connect failure)
Unable to contact slurm controller (shutdown failure)
Zero Bytes were transmitted or received
Header lengths are longer than data received
Communication connection failure
Message receive failure
Connection timed out reading
Connection forced closed by quiesce timeout
Read would block
Process is shutting down and closing all communications
""",
    P: """
Invalid partition name specified
No partition specified or system default partition
Access/permission denied
User's group not permitted to use this partition
Requested nodes not in this partition
More processors requested than permitted
Node count specification invalid
Requested node configuration is not available
Task count specification invalid
Task distribution specification invalid
CPU count specification invalid
Memory required by task is not available
Requested time limit is invalid (missing or exceeds some limit)
Invalid time-min specification (exceeds job's time or other limits)
Requested topology configuration is not available
Invalid account or account/partition combination specified
Invalid qos specification
Invalid wckey specification
Invalid feature specification
Invalid preferred feature specification
Invalid generic resource (gres) specification
Duplicate generic resource (gres) specification
Invalid GRES specification (with and without type identification)
Requested GRES option unsupported by configured SelectType plugin
Invalid license specification
Access denied to requested reservation
Requested reservation is invalid
Invalid node name specified
Invalid or unknown association
Invalid user id
Invalid Trackable RESource (TRES) specification
Invalid mcs_label specified
Burst Buffer permission denied
Burst Buffer request invalid
Invalid job array specification
Job dependency problem
Requested account has breached requested QOS usage threshold
Requested operation not supported on this system
Only batch jobs are accepted or processed
Multiple partition job request not supported when a partition is set in the association
Pathname of a file, directory or other parameter too long
Cannot request more threads per core than the job allocation
Job --batch option is invalid or not a subset of --constraint
X11 forwarding not available
Invalid time specified
QOSMaxWallDurationPerJobLimit
AssocMaxCpuPerJobLimit
AssocMaxCpuMinutesPerJobLimit
AssocGrpCPUMinutesLimit
RestrictedCoresPerGPU: Not enough unique cores per GPU
Your account has expired; please contact your system administrator
""",
}
#: Last words of attempts, by the reason that they must have.
JOB = {
    Reason.OUT_OF_MEMORY: """
===   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES ===   KILLED BY SIGNAL: 9 (Killed)
=   EXIT CODE: 9
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)
mpirun noticed that process rank 3 with PID 0 on node n1 exited on signal 9 (Killed).
prterun noticed that process rank 1 with PID 4711 on node n1 exited on signal 9 (Killed).
slurmstepd: error: Detected 1 oom-kill event(s) in StepId=12.0 cgroup. Some of your processes may have been killed
slurmstepd: error: Detected 1 oom_kill event in StepId=12.batch
srun: error: n1: task 0: Out Of Memory
srun: error: n1: task 2: Killed
pw.x gave no label: run 1 as asked: crashed (exit status 9)
/opt/bin/lmp ended with status 137: nothing
/opt/bin/lmp ended with status -9: nothing
ERROR: Failed to allocate 12345 bytes; Cannot allocate memory
terminate called after throwing an instance of 'std::bad_alloc'
""",  # noqa: E501 - text for another program
    Reason.NODE_UNFIT: """
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Illegal instruction (signal 4)
KILLED BY SIGNAL: 4 (Illegal instruction)
mpirun noticed that process rank 0 with PID 9 on node n1 exited on signal 4 (Illegal instruction).
pw.x: error while loading shared libraries: libmpi.so.12: cannot open shared object file: No such file or directory
/lib64/libm.so.6: version `GLIBC_2.29' not found (required by pw.x)
bash: ./pw.x: cannot execute binary file: Exec format error
ModuleCmd_Load.c(213):ERROR:105: Unable to locate a modulefile for 'qe/7.2'
OSError: [Errno 28] No space left on device: '/tmp/x'
""",  # noqa: E501 - text for another program
    Reason.STORAGE: """
OSError: [Errno 28] No space left on device: 'outcome.json'
OSError: [Errno 122] Disk quota exceeded
OSError: [Errno 116] Stale file handle
cat: x: Stale NFS file handle
OSError: [Errno 30] Read-only file system: 'log.txt'
OSError: [Errno 5] Input/output error
OSError: [Errno 107] Transport endpoint is not connected
OSError: [Errno 108] Cannot send after transport endpoint shutdown
OSError: [Errno 121] Remote I/O error
""",
    Reason.ACCESS: """
OSError: [Errno 127] Key has expired: 'claim'
OSError: [Errno 126] Required key not available
klist: No credentials cache found
PermissionError: [Errno 13] Permission denied: 'outbox'
afs: Tokens for user of AFS id 1000 for cell site.org have expired
""",
    Reason.NUMERICAL: """
Program received signal SIGFPE: Floating-point exception - erroneous arithmetic operation.
mpirun noticed that process rank 0 with PID 9 on node n1 exited on signal 8 (Floating point exception).
KILLED BY SIGNAL: 8 (Floating point exception)
""",  # noqa: E501 - text for another program
    Reason.CRASHED: """
Program received signal SIGSEGV: Segmentation fault - invalid memory reference.
mpirun noticed that process rank 0 with PID 9 on node n1 exited on signal 11 (Segmentation fault).
=   EXIT CODE: 139
KILLED BY SIGNAL: 11 (Segmentation fault)
exited on signal 7 (Bus error)
KILLED BY SIGNAL: 15 (Terminated)
MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD with errorcode 1.
""",
}


def lines(table: dict[Mender, str] | dict[Reason, str]) -> list[tuple[object, str]]:
    """One case per line."""
    return [(key, line) for key, text in table.items() for line in text.strip().splitlines()]


@pytest.mark.parametrize(("fault", "message"), EXAMPLES, ids=[message for _, message in EXAMPLES])
def test_each_example_reaches_its_own_row(fault: Fault, message: str) -> None:
    """What the documentation shows is what the program does; no row hides another."""
    assert fault_of(fault.heard, message) is fault


@pytest.mark.parametrize(("mender", "message"), lines(SBATCH))
def test_every_refusal_of_slurm_has_its_mender(mender: Mender, message: str) -> None:
    """None of them is a task's at first sight."""
    fault = fault_of(Heard.SBATCH, f"sbatch: error: Batch job submission failed: {message}")

    assert fault is not None
    assert fault.mender is mender


@pytest.mark.parametrize(("reason", "message"), lines(JOB))
def test_every_end_of_ranks_and_file_systems_has_its_reason(reason: Reason, message: str) -> None:
    """Open MPI, MPICH, Intel MPI, srun, loaders, and errno."""
    fault = fault_of(Heard.JOB, message)

    assert fault is not None
    assert fault.reason is reason


@pytest.mark.parametrize(
    "message", ["the weather is bad", "", "SCF not converged after 100 steps", "exit status 1"]
)
@pytest.mark.parametrize("heard", Heard)
def test_what_nobody_knows_has_no_row(heard: Heard, message: str) -> None:
    """It is sorted by how often it happens instead."""
    assert fault_of(heard, message) is None


def test_every_reason_has_its_mender_and_every_remedy_its_person() -> None:
    """A person is told what to do, and nobody else is."""
    assert MENDERS.keys() == set(Reason)
    asking = [fault for fault in FAULTS if fault.mender is Mender.PERSON]
    assert all(fault.remedy for fault in asking)
    assert not any(fault.remedy for fault in FAULTS if fault.mender is not Mender.PERSON)
    assert all(fault.effect is not Effect.LIMITED for fault in asking)


def test_the_documentation_is_the_table() -> None:
    """docs/failures.md is made by `python -m mlip_autopipec.data_models.faults`."""
    assert DOCS.read_text(encoding="utf-8") == document()


def test_equal_failures_differ_in_numbers_paths_and_nodes_alone() -> None:
    """Two jobs that die of the same thing say the same, but for where and when."""
    first = signature(
        "FAILED on lab1; its last words: AP_LIFE 0 of job 41, /a/b/0001-a3f9c1: no module named foo"
    )
    second = signature(
        "FAILED on lab2; its last words: AP_LIFE 0 of job 42, /a/b/0002-b4e8d2: no module named foo"
    )

    assert first == second
    assert first != signature("FAILED on lab1; its last words: something else")
