"""What every task of the work half shares: its job, its result, and how files are written and proved.

The work half knows nothing of the daemon. It reads `task.json`, writes `outcome.json`, and leaves every file that a
code read or wrote in the task's folder. Standard library only; physics is imported by the module that needs it.
"""

import hashlib
import json
import os
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Above this many characters a message says nothing more to a person; the log has the rest.
MESSAGE_MAX = 4000


class TaskFailed(Exception):  # noqa: N818 - the name is the fact
    """The task ends without its result; `reason` is one of the words of the control half's Reason.

    `reached`, in 0 … 1, is the part of the task that its folder now holds for the next attempt to go on from.
    """

    def __init__(self, reason: str, message: str, reached: float = 0.0) -> None:
        self.reason = reason
        self.reached = reached
        super().__init__(message)


@dataclass(frozen=True)
class Job:
    """One attempt at one task, as the task's module sees it."""

    root: Path
    workdir: Path
    task: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, list[Path]]
    cores: int
    #: What the scheduler grants, from the job's start; None: nobody says.
    walltime_s: int | None = None
    #: Words before the command of a code that runs under MPI, and how many processes it has there.
    launcher: tuple[str, ...] = ()
    ranks: int = 1
    #: Set when the job is to end soon: write what the next attempt can go on from, and stop.
    stopping: threading.Event = field(default_factory=threading.Event)

    def one(self, name: str) -> Path:
        """The only input of that name. Raises TaskFailed (bad_input) unless there is exactly one."""
        paths = self.inputs.get(name, [])
        if len(paths) != 1:
            raise TaskFailed("bad_input", f"{self.task} needs one input named {name!r}, it has {len(paths)}")
        return paths[0]

    def ref(self, path: Path) -> dict[str, str]:
        """A file under the root by path and content, as the outcome names it; it is durable before that promises it."""
        sync(path)
        sync(path.parent)
        return {"path": self._below_the_root(path).as_posix(), "sha256": sha256_of(path)}

    def _below_the_root(self, path: Path) -> Path:
        """Its way from the root, also where a folder on it is a link that leads out of the root."""
        folder = self.root.absolute()
        if path.absolute().is_relative_to(folder):
            return path.absolute().relative_to(folder)
        for begin in (self.workdir, folder):  # a code may tell where the file really is
            if path.resolve().is_relative_to(begin.resolve()):
                return begin.absolute().relative_to(folder) / path.resolve().relative_to(begin.resolve())
        raise TaskFailed("crashed", f"{path} is not below the site's root {folder}")

    def progress(self, done: float, words: str) -> None:
        """Tell whoever looks into the folder how far the task is; `done` is in 0 … 1."""
        write_atomic(self.workdir / "progress.json", as_json({"done": round(done, 4), "words": words}), durable=False)


@dataclass(frozen=True)
class Result:
    """What a task was asked for: numbers, and files by name."""

    metrics: dict[str, Any]
    artefacts: dict[str, Path] = field(default_factory=dict)


def as_json(content: Mapping[str, Any]) -> bytes:
    """JSON that any reader takes: NaN and infinities are refused with ValueError."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def write_atomic(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Place a file whole: temporary name (hidden, in the same folder), fsync, rename, fsync of the folder."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        if durable:
            os.fsync(stream.fileno())
    temporary.rename(path)
    if durable:
        sync(path.parent)


def write_once(path: Path, content: bytes) -> bool:
    """Place a file whole, unless there is one of that name already; whether it was placed. Atomic also over NFS."""
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    sync(path.parent)
    return True


def identity(pid: int) -> dict[str, Any]:
    """A process, named so that no other can be taken for it: pid, its start in clock ticks, this boot, this host."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return {"pid": pid, "start_time": int(fields[19]), "boot_id": boot, "host": socket.gethostname()}


def sync(path: Path) -> None:
    """Make durable what a file holds, or which names a folder has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
