"""The local array runner: one detached process per batch, one child per task, as many at a time as there are cores.

Cores are slots: locked files under `.ap/slots/HOST`, shared by all runners of the root on that host. A child inherits
the locks of its slots, so a core stays taken for as long as its task lives, also when the runner has died. A runner
runs its batch once: where `runner.json` exists already, whoever made it, nothing is started.

Beside the spec (`.ap/submit/UID/batch.json`) it leaves `runner.json`, `INDEX.running` and `INDEX.end`, each whole by
rename; the daemon reads nothing else of it. A file named `cancel` there ends the batch.
"""

import contextlib
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mlip_autopipec.payload.frame import as_json, identity, write_atomic, write_once

#: Between looks at freed cores of other runners, the cancel file and walltimes; the end of a child is seen at once.
_TICK_S = 0.2
#: Between the word that its time is over and SIGKILL: what a task has to write what it knows.
_KILL_AFTER_S = 10.0
_TAIL_BYTES = 1500
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def run_batch(root: Path, uid: str) -> int:
    """Run every task of the batch to its end. 0 also when another runner has or had the batch."""
    folder = root / ".ap" / "submit" / uid
    with (folder / "runner.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        if not write_once(folder / "runner.json", as_json(identity(os.getpid()))):
            return 0
        _Runner(root, folder, json.loads((folder / "batch.json").read_bytes())).run()
    return 0


def is_locked(folder: Path) -> bool:
    """Whether a runner of the batch in `folder` is about to begin, or at work."""
    with (folder / "runner.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@dataclass
class _Child:
    index: int
    process: "subprocess.Popen[bytes]"
    output: Path
    deadline: float
    reason: str = ""


class _Runner:
    def __init__(self, root: Path, folder: Path, spec: dict[str, Any]) -> None:
        self._root = root
        self._folder = folder
        self._spec = spec
        self._waiting: list[dict[str, Any]] = list(spec["tasks"])
        self._children: list[_Child] = []
        self._slots = root / ".ap" / "slots" / socket.gethostname()
        self._slots.mkdir(parents=True, exist_ok=True)

    def run(self) -> None:
        with _wake_on_child() as woken:
            while self._waiting or self._children:
                self._reap()
                if (self._folder / "cancel").exists():
                    self._cancel()
                self._enforce_walltimes()
                while self._waiting and self._start(self._waiting[0]):
                    self._waiting.pop(0)
                if self._waiting or self._children:
                    woken(_TICK_S)

    def _start(self, task: dict[str, Any]) -> bool:
        """Start a task if its cores are free."""
        slots = self._take_slots(min(task["cores"], self._spec["cores"]))
        if slots is None:
            return False
        workdir = self._root / task["workdir"]
        output = workdir / f"job-{self._spec['uid']}.out"
        with output.open("wb") as stream:
            process = subprocess.Popen(
                self._command(task),
                cwd=workdir,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(task["threads"]),
                pass_fds=[slot.fileno() for slot in slots],
            )
        for slot in slots:
            slot.close()  # the child's copies hold the locks now
        write_atomic(self._folder / f"{task['index']}.running", as_json(identity(process.pid)))
        self._children.append(_Child(task["index"], process, output, time.monotonic() + task["walltime_s"]))
        return True

    def _command(self, task: dict[str, Any]) -> list[str]:
        words = {"--root": self._root, "--workdir": task["workdir"], "--uid": self._spec["uid"]}
        flat = [str(word) for pair in words.items() for word in pair]
        index = str(task["index"])
        payload = str(self._root / self._spec["payload"])
        return [self._spec["python"], payload, "task", *flat, "--index", index, "--job-id", str(os.getpid())]

    def _take_slots(self, wanted: int) -> list[IO[str]] | None:
        taken: list[IO[str]] = []
        for number in range(self._spec["cores"]):
            slot: IO[str] = (self._slots / str(number)).open("w")
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                slot.close()
                continue
            taken.append(slot)
            if len(taken) == wanted:
                return taken
        for slot in taken:
            slot.close()
        return None

    def _reap(self) -> None:
        for child in list(self._children):
            status = child.process.poll()
            if status is not None:
                self._children.remove(child)
                self._tell_end(child.index, _reason(child, status), _words(child, status))

    def _tell_end(self, index: int, reason: str, message: str) -> None:
        write_atomic(self._folder / f"{index}.end", as_json({"reason": reason, "message": message}))

    def _enforce_walltimes(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if now < child.deadline:
                continue
            if not child.reason:
                child.reason = "timeout"
                child.deadline = now + _KILL_AFTER_S
                child.process.send_signal(signal.SIGUSR1)  # to the task alone: the codes that it runs know none
            else:
                _signal_session(child, signal.SIGKILL)

    def _cancel(self) -> None:
        for task in self._waiting:
            self._tell_end(task["index"], "cancelled", "cancelled before it began")
        self._waiting.clear()
        for child in self._children:
            if not child.reason:
                child.reason = "cancelled"
                child.deadline = time.monotonic() + _KILL_AFTER_S
                _signal_session(child, signal.SIGTERM)


def _reason(child: _Child, status: int) -> str:
    """Why the attempt ended, for the case that it left no outcome."""
    return child.reason or ("lost" if status == 0 else "crashed")


def _words(child: _Child, status: int) -> str:
    if child.reason == "timeout":
        return "its walltime was over"
    ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return f"{ended}; its last words: {_tail(child.output)}"


def _tail(path: Path) -> str:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return stream.read().decode("utf-8", "replace").strip()


def _signal_session(child: _Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
        os.killpg(child.process.pid, number)


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
