"""Which processes of this machine belong to an attempt, whatever became of the one that began them.

A task starts codes, these start ranks; some begin sessions of their own, and all may outlive the
Python that started them. So an attempt is known by its name in the environment, which every child
inherits, and by the session that its task began. Linux only; what belongs to other users is not
looked at.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: The variable in the environment of a task and of all that it starts.
ATTEMPT_VARIABLE = "AUTOPIPEC_ATTEMPT"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MIB = 2**20
#: The flag of a thread of the kernel's own (PF_KTHREAD in linux/sched.h), which has no environment.
_KERNEL_THREAD = 0x00200000
#: Between its exec and its first instruction a process has none yet, for microseconds; after so
#: many looks it was begun with none.
_LOOKS, _BETWEEN_LOOKS_S = 20, 0.0005


@dataclass(frozen=True)
class Process:
    """One that runs; a zombie does not."""

    pid: int
    start_time: int
    session: int
    resident_mib: float
    attempt: str


def attempt_name(root: Path, job_name: str, index: int) -> str:
    """The name of an attempt that no other on this machine has."""
    return f"{job_name}.{index}@{root}"


class ProcessTable:
    """The user's processes, looked at again and again."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[int, int], str] = {}
        #: Begun without an environment: not waited for again.
        self._bare: set[tuple[int, int]] = set()

    def look(self) -> list[Process]:
        """Every process of this user that runs now."""
        found, me = list[Process](), os.geteuid()
        for entry in os.scandir("/proc"):
            if not entry.name.isdecimal():
                continue
            # it may end as it is looked at, or be nobody's to look at
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if (
                    entry.stat().st_uid == me
                    and (process := self.read(int(entry.name))) is not None
                ):
                    found.append(process)
        running = {(process.pid, process.start_time) for process in found}
        self._attempts = {key: name for key, name in self._attempts.items() if key in running}
        self._bare &= running
        return found

    def read(self, pid: int) -> Process | None:
        """One of them; None if it runs no more. Raises OSError if it is gone, or another user's."""
        fields = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
        state, session, flags, start_time, pages = (
            fields[0],
            int(fields[3]),
            int(fields[6]),
            int(fields[19]),
            int(fields[21]),
        )
        if state in {"Z", "X"} or flags & _KERNEL_THREAD:
            return None
        attempt = self._attempts.get((pid, start_time)) or _attempt_in(
            self._environment(pid, start_time)
        )
        if attempt:  # one without a name may be about to become a task
            self._attempts[pid, start_time] = attempt
        return Process(pid, start_time, session, pages * _PAGE_BYTES / _MIB, attempt)

    def _environment(self, pid: int, start_time: int) -> bytes:
        path = Path(f"/proc/{pid}/environ")
        if (pid, start_time) in self._bare:
            return path.read_bytes()
        for _ in range(_LOOKS):
            if environment := path.read_bytes():
                return environment
            time.sleep(_BETWEEN_LOOKS_S)
        self._bare.add((pid, start_time))
        return b""


def _attempt_in(environment: bytes) -> str:
    prefix = f"{ATTEMPT_VARIABLE}=".encode()
    named = (word for word in environment.split(b"\0") if word.startswith(prefix))
    return next(named, prefix).removeprefix(prefix).decode("utf-8", "replace")


def of_attempt(
    processes: Iterable[Process], name: str, session: int | None = None
) -> list[Process]:
    """Those of an attempt.

    `session` is the one that its task began, for a caller who has not reaped that task yet.
    """
    return [
        each
        for each in processes
        if each.attempt == name or (session is not None and each.session == session)
    ]


def own_mib(process: Process) -> float:
    """What a process holds of memory, in MiB; what it shares with others counts by its part."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:  # it has just ended, or this kernel does not tell
        return process.resident_mib
    return next(
        (int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")),
        process.resident_mib,
    )


def end_processes(processes: Iterable[Process], number: signal.Signals = signal.SIGKILL) -> None:
    """Send them a signal, unless another process has got the number meanwhile."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
            if int(stat.rpartition(")")[2].split()[19]) == process.start_time:
                os.kill(process.pid, number)
