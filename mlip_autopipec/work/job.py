"""What every task of the work half shares: its job, result, and how files are written and proved.

The work half knows nothing of the daemon. It reads `task.json`, writes `outcome.json`, and leaves
every file that a code read or wrote in a folder of that run alone: `run-1`, `run-2` … in the task's
folder. Standard library only; physics is imported by the module that needs it.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.values import about, excerpt, plain

if TYPE_CHECKING:  # the local queue is asked each second, and does without
    from mlip_autopipec.contract.results import AnyMetrics

#: What the kind of task is asked for, as the contract has it.
P_co = TypeVar("P_co", covariant=True)
#: What it has found.
M_co = TypeVar("M_co", bound="AnyMetrics", covariant=True)

#: Above this many characters a message says nothing more to a person; the log has the rest.
MESSAGE_MAX = 4000
#: What the process ends with where no outcome could be written, by the reason (EX_IOERR, EX_NOPERM
#: of sysexits.h).
EXIT_CODES = {"storage": 74, "access": 77}
#: Stands in a run's folder while it copies from an earlier one: what is there then may be half of
#: it.
_COPYING = ".copying"


class TaskFailed(Exception):  # noqa: N818 - the name is the fact
    """The task ends without its result; `reason` is one of the words of the control half's Reason.

    `reached`, in 0 … 1, is the part of the task that its folder now holds for the next attempt to
    go on from.
    """

    def __init__(self, reason: str, message: str, reached: float = 0.0) -> None:
        self.reason = reason
        self.reached = reached
        super().__init__(message)


@dataclass(frozen=True)
class Job(Generic[P_co]):
    """One attempt at one task, as the task's module sees it."""

    root: Path
    #: This run's own folder: no other life of this task, dead or alive, writes there.
    workdir: Path
    task: str
    parameters: P_co
    inputs: Mapping[str, list[Path]]
    cores: int
    #: What the scheduler grants, from the job's start; None: nobody says.
    walltime_s: int | None = None
    #: Words before the command of a code that runs under MPI, and how many processes it has there.
    launcher: tuple[str, ...] = ()
    ranks: int = 1
    #: Set when the job is to end soon: write what the next attempt can go on from, and stop.
    stopping: threading.Event = field(default_factory=threading.Event)
    #: The folders of earlier runs of this task, newest first.
    before: tuple[Path, ...] = ()
    #: The task's folder, where whoever looks finds how far it is; None: in the run's own.
    task_folder: Path | None = None
    #: Whether this run still has the claim to the attempt: its node may have been given up, and
    #: live.
    has_claim: Callable[[], bool] = lambda: True

    def only_input(self, name: str) -> Path:
        """The one input of that name. Raises TaskFailed (bad_input) unless there is exactly one."""
        paths = self.inputs.get(name, [])
        if len(paths) != 1:
            raise TaskFailed(
                "bad_input", f"{self.task} needs one input named {name!r}, it has {len(paths)}"
            )
        return paths[0]

    def ref(self, path: Path) -> FileRef:
        """A file under the root by path and content, as the outcome names it.

        It is durable before the outcome promises it.
        """
        sync(path)
        sync(path.parent)
        return FileRef(path=self._below_the_root(path).as_posix(), sha256=sha256_of(path))

    def _below_the_root(self, path: Path) -> Path:
        """Its way from the root, also where a folder on it is a link that leads out of the root."""
        folder = self.root.absolute()
        if path.absolute().is_relative_to(folder):
            return path.absolute().relative_to(folder)
        for begin in (self.workdir, folder):  # a code may tell where the file really is
            if path.resolve().is_relative_to(begin.resolve()):
                return begin.absolute().relative_to(folder) / path.resolve().relative_to(
                    begin.resolve()
                )
        raise TaskFailed("crashed", f"{path} is not below the site's root {folder}")

    def progress(self, done: float, message: str, gamma_max: float | None = None) -> None:
        """Tell whoever looks into the folder how far the task is; `done` is in 0 … 1.

        `gamma_max`: the largest γ so far, of a walker.

        A run that has lost its claim says nothing, and is asked to stop: another has its place.
        """
        if not self.has_claim():
            self.stopping.set()
            return
        folder = self.task_folder or self.workdir
        content = as_json(Progress(done=round(done, 4), message=message, gamma_max=gamma_max))
        # something else has the name: no task ends by what is not told
        with contextlib.suppress(IsADirectoryError):
            write_atomic(folder / "progress.json", content, durable=False)

    def carry_over(self, find: Callable[[Path], Sequence[str]]) -> bool:
        """Copy here what the newest earlier run has left to go on from; False if none has left any.

        `find` names files and folders of a run, relative to it; none, if that run left nothing of
        use. It is a copy, because that run may be a life that was given up and still writes: one
        that changes meanwhile is passed over.
        """
        for run in self.before:
            if (
                not (run / _COPYING).exists()
                and (names := find(run))
                and _copied(run, self.workdir, names)
            ):
                return True
        return False


#: A job to whom it is nothing what was asked for.
AnyJob = Job[object]


@dataclass(frozen=True)
class Result(Generic[M_co]):
    """What a task was asked for: numbers, and files by name."""

    metrics: M_co
    artefacts: dict[str, Path] = field(default_factory=dict)


def _copied(source: Path, target: Path, names: Sequence[str]) -> bool:
    """Copy files and folders with their times.

    False, and nothing is left of them, if the source is written to.
    """
    (target / _COPYING).touch()
    before = _stamps(source, names)
    try:
        for name in before:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name, follow_symlinks=False)
        whole = _stamps(source, names) == before
    except FileNotFoundError:  # it was there a moment ago
        whole = False
    if not whole:
        for name in before:
            (target / name).unlink(missing_ok=True)
    (target / _COPYING).unlink()
    return whole


def _stamps(folder: Path, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file that is named, or lies in a folder that is.

    They are in the order of the names.
    """
    named = (folder / name for name in names)
    paths = [path for top in named for path in (sorted(top.rglob("*")) if top.is_dir() else [top])]
    stats = {
        path.relative_to(folder).as_posix(): path.lstat() for path in paths if not path.is_dir()
    }
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def as_json(content: object) -> bytes:
    """A value as JSON that any reader takes: NaN and infinities are refused with ValueError."""
    return (json.dumps(plain(content), indent=1, allow_nan=False) + "\n").encode()


def write_atomic(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Place a file whole.

    By a temporary name (hidden, in the same folder), fsync, rename, fsync of the folder.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        # no link that somebody has placed is followed, no pipe waited for
        with temporary.open("xb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def write_once(path: Path, content: bytes) -> bool:
    """Place a file whole, unless there is one of that name already; whether it was placed.

    It is atomic also over NFS.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with temporary.open("xb") as stream:
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


def place_new(source: Path, target: Path) -> Path:
    """Move a file or a folder to `target`; nothing is replaced.

    Where that is taken, it goes to its name with `.2`, `.3` … in it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    names = (target.with_name(f"{target.stem}.{number}{target.suffix}") for number in count(2))
    for name in chain([target], names):
        try:
            if source.is_dir():
                source.rename(name)  # onto a folder with anything in it, it fails
            else:
                name.hardlink_to(source)
                source.unlink()
        except OSError as error:
            # the last: of a folder onto a file
            if error.errno not in {
                errno.EEXIST,
                errno.ENOTEMPTY,
                errno.ENOTDIR,
            }:
                raise
        else:
            return name
    raise AssertionError("there are endlessly many names")


@excerpt
class Identity:
    """A process, named so that no other can be taken for it."""

    pid: int
    start_time: int = field(metadata=about("in clock ticks since the boot"))
    boot_id: str
    host: str


def identity(pid: int) -> Identity:
    """That of a process of this machine."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return Identity(pid=pid, start_time=int(fields[19]), boot_id=boot, host=socket.gethostname())


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
