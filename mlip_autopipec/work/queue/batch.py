"""The local array runner: a detached process per batch, a child per task, as many at once as cores.

Cores are slots (see `cores`). A core stays taken until the last process of its task is gone: what a
task has started may outlive it, as where its Python was killed, and would run beside whoever has
the core next. So what is left of a task is ended, and only then is its end told. A child inherits
the locks of its slots, so they also hold when the runner has died. A runner runs its batch once:
where `runner.json` exists already, whoever made it, nothing is started.

A task whose processes together hold more memory than it asked for is ended as `out_of_memory`.

Beside the spec (`submit/JOB_NAME/batch.json`) it leaves `runner.json`, `INDEX.running` and
`INDEX.end`, each whole by rename; the daemon reads nothing else of it. A file named `cancel` there
ends the batch, `cancel.INDEX` one task.
"""

import contextlib
import fcntl
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlip_autopipec.contract.local_queue import BatchSpec, TaskSpec
from mlip_autopipec.contract.values import excerpt, read
from mlip_autopipec.work.job import (
    EXIT_CODES,
    Identity,
    as_json,
    identity,
    write_atomic,
    write_once,
)
from mlip_autopipec.work.queue.cores import Cores, release
from mlip_autopipec.work.queue.processes import (
    ATTEMPT_VARIABLE,
    Process,
    ProcessTable,
    attempt_name,
    end_processes,
    of_attempt,
    own_mib,
)
from mlip_autopipec.work.small_files import create_beside, open_regular

#: Between looks at freed cores of other runners, the cancel file and walltimes; the end of a child
#: is seen at once.
_TICK_S = 0.2
#: Between the word that its time is over and SIGKILL: what a task has to write what it knows.
_KILL_AFTER_S = 10.0
#: Between looks at the memory of tasks.
_MEMORY_TICK_S = 1.0
_TAIL_BYTES = 1500
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_batch(root: Path, job_name: str) -> int:
    """Run every task of the batch to its end. 0 also when another runner has or had the batch."""
    folder = root / ".ap" / "submit" / job_name
    # Where that is no file nothing runs, as `is_locked` takes it.
    with os.fdopen(open_regular(folder / "runner.lock"), "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        if not write_once(folder / "runner.json", as_json(identity(os.getpid()))):
            return 0
        spec = read(BatchSpec, json.loads((folder / "batch.json").read_bytes()))
        _Runner(root, folder, spec).run()
    return 0


def cores_of(spec: BatchSpec) -> int:
    """How many may be at work at a time; one of three or more is for whoever sits there."""
    there = len(os.sched_getaffinity(0))
    return spec.cores or max(there - 1, min(there, 2))


def is_locked(folder: Path) -> bool:
    """Whether a runner of the batch in `folder` is about to begin, or at work."""
    try:
        with os.fdopen(open_regular(folder / "runner.lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except ValueError:  # no runner can lock it either
        return False
    return False


@excerpt
class End:
    """How a task ended, as `INDEX.end` tells."""

    reason: str = "lost"
    message: str | None = None


@dataclass
class _Child:
    index: int
    name: str
    process: "subprocess.Popen[bytes]"
    output: Path
    deadline: float
    memory_mib: float
    slots: list[IO[str]]
    reason: str = ""
    message: str = ""


class _Runner:
    def __init__(self, root: Path, folder: Path, spec: BatchSpec) -> None:
        self._root = root
        self._folder = folder
        self._spec = spec
        self._waiting = list(spec.tasks)
        self._children: list[_Child] = []
        self._table = ProcessTable()
        self._cores_max = cores_of(spec)
        self._cores = Cores(root, self._cores_max, self._table)
        self._memory_at = 0.0

    def run(self) -> None:
        with _wake_on_child() as woken:
            while self._waiting or self._children:
                self._reap()
                self._cancel()
                self._enforce_walltimes()
                self._enforce_memory()
                while self._waiting and self._start(self._waiting[0]):
                    self._waiting.pop(0)
                if self._waiting or self._children:
                    woken(_TICK_S)

    def _start(self, task: TaskSpec) -> bool:
        """Start a task if its cores are free."""
        name = attempt_name(self._root, self._spec.job_name, task.index)
        slots = self._cores.take(min(task.cores, self._cores_max), name)
        if slots is None:
            return False
        workdir = self._root / task.workdir
        try:
            stream, output = create_beside(workdir / f"job-{self._spec.job_name}.out")
        except OSError as error:  # the folder is gone, or none: the other tasks run all the same
            self._tell_end(task.index, "lost", f"it cannot begin: {error}")
            release(slots)
            return True
        with stream:
            process = subprocess.Popen(
                self._command(task),
                cwd=workdir,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**_environment(task.threads), ATTEMPT_VARIABLE: name},
                pass_fds=[slot.fileno() for slot in slots],
            )
        self._tell(f"{task.index}.running", identity(process.pid))
        until = time.monotonic() + task.walltime_s
        memory_mib = math.inf if task.memory_mib is None else task.memory_mib
        self._children.append(_Child(task.index, name, process, output, until, memory_mib, slots))
        return True

    def _command(self, task: TaskSpec) -> list[str]:
        options = {"--root": self._root, "--workdir": task.workdir, "--uid": self._spec.job_name}
        flat = [str(word) for pair in options.items() for word in pair]
        index = str(task.index)
        payload = str(self._root / self._spec.payload)
        return [
            self._spec.python,
            payload,
            "task",
            *flat,
            "--index",
            index,
            "--job-id",
            str(os.getpid()),
        ]

    def _reap(self) -> None:
        """Tell the end of every task that is gone with all it has started; end what outlives it."""
        for child in list(self._children):
            if not _has_exited(child.process):
                continue
            if left := self._processes_of(child):
                end_processes(left)
                continue
            # only now: until it is waited for, nobody else gets its number
            status = child.process.wait()
            self._children.remove(child)
            self._tell_end(child.index, _reason(child, status), _message(child, status))
            release(child.slots)

    def _processes_of(self, child: _Child) -> list[Process]:
        return of_attempt(self._table.look(), child.name, child.process.pid)

    def _tell_end(self, index: int, reason: str, message: str) -> None:
        self._tell(f"{index}.end", End(reason=reason, message=message))

    def _tell(self, name: str, content: End | Identity) -> None:
        """Place a file for the daemon; where its name is taken, the others' tasks still go on."""
        try:
            write_atomic(self._folder / name, as_json(content))
        except (IsADirectoryError, PermissionError) as error:
            sys.stderr.write(f"{name} can't be told: {error}\n")

    def _enforce_walltimes(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if now < child.deadline:
                continue
            if not child.reason:
                child.reason = "timeout"
                child.deadline = now + _KILL_AFTER_S
                # to the task alone: the codes that it runs know none
                child.process.send_signal(signal.SIGUSR1)
            else:
                end_processes(self._processes_of(child))

    def _enforce_memory(self) -> None:
        """End what holds more than it asked for. Memory that processes share is counted once."""
        now = time.monotonic()
        if not self._children or now < self._memory_at:
            return
        self._memory_at = now + _MEMORY_TICK_S
        processes = self._table.look()
        for child in self._children:
            mine = of_attempt(processes, child.name, child.process.pid)
            if child.reason or sum(each.resident_mib for each in mine) <= child.memory_mib:
                continue
            held_mib = sum(own_mib(each) for each in mine)
            if held_mib > child.memory_mib:
                child.reason = "out_of_memory"
                child.message = (
                    f"its processes held {held_mib:.0f} MiB, it had asked for"
                    f" {child.memory_mib:.0f} MiB"
                )
                end_processes(mine)

    def _cancel(self) -> None:
        """End the tasks that a person, or the daemon, wants no more."""
        asked = {path.name.removeprefix("cancel.") for path in self._folder.glob("cancel*")}
        if not asked:
            return
        unwanted = [task for task in self._waiting if {"cancel", str(task.index)} & asked]
        for task in unwanted:
            self._waiting.remove(task)
            self._tell_end(task.index, "cancelled", "cancelled before it began")
        for child in self._children:
            if not child.reason and {"cancel", str(child.index)} & asked:
                child.reason = "cancelled"
                child.deadline = time.monotonic() + _KILL_AFTER_S
                end_processes(self._processes_of(child), signal.SIGTERM)


def _has_exited(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it has ended; it is not waited for."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _reason(child: _Child, status: int) -> str:
    """Why the attempt ended, for the case that it left no outcome."""
    ends = {0: "lost", **{code: reason for reason, code in EXIT_CODES.items()}}
    return child.reason or ends.get(status, "crashed")


def _message(child: _Child, status: int) -> str:
    if child.reason == "timeout":
        return "its walltime was over"
    if child.message:
        return child.message
    ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return f"{ended}; its last words: {_tail(child.output)}"


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return stream.read().decode("utf-8", "replace").strip()


def _environment(threads: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return {**kept, **dict.fromkeys(_THREADS, str(threads)), "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def _wake_on_child() -> Iterator[Callable[[float], None]]:
    """A wait that ends early when a child has ended."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)

        def wait(timeout_s: float) -> None:
            if selector.select(timeout_s):
                os.read(reader, 4096)

        yield wait
    signal.set_wakeup_fd(-1)
    os.close(reader)
    os.close(writer)
