"""Cores of this machine as slots: files that are locked, and say which attempt has them.

A task takes slots in two folders: `.ap/slots/HOST` under the root bounds one campaign, and a folder
of the user's own bounds all of that user's campaigns on this machine together, so that two of them
share its cores. Who locks a slot looks first whether the attempt that is written in it has left
processes, ends these, and leaves the core alone until they are gone: a task whose runner has died
can't do so itself.
"""

import fcntl
import os
import socket
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from mlip_autopipec.work.queue.processes import ProcessTable, end_processes, of_attempt
from mlip_autopipec.work.small_files import open_regular

#: Of an attempt's name in a slot; nothing of ours is longer.
_NAME_MAX = 8192


class Cores:
    """What one runner may take: at most `cores` of its campaign's, and of what the machine has."""

    def __init__(self, root: Path, cores: int, table: ProcessTable) -> None:
        self._table = table
        own = root / ".ap" / "slots" / socket.gethostname()
        own.mkdir(parents=True, exist_ok=True)
        self._folders = [(own, cores)]
        if (shared := shared_folder()) is not None:
            # Who asks for more cores than there are, has them.
            self._folders.append((shared, max(cores, len(os.sched_getaffinity(0)))))

    def take(self, wanted: int, attempt: str) -> list[IO[str]] | None:
        """Slots for an attempt, locked; None if there are not so many free now."""
        taken: list[IO[str]] = []
        for folder, number in self._folders:
            found = self._take_from(folder, number, wanted)
            taken += found
            if len(found) < wanted:
                release(taken)
                return None
        for slot in taken:
            slot.write(attempt)
            slot.flush()
        return taken

    def _take_from(self, folder: Path, number: int, wanted: int) -> list[IO[str]]:
        found: list[IO[str]] = []
        for name in map(str, range(number)):
            if len(found) == wanted:
                break
            try:
                descriptor = open_regular(folder / name)
            except ValueError as error:  # what is no file is no core
                sys.stderr.write(f"{error}\n")
                continue
            slot: IO[str] = os.fdopen(descriptor, "a+", encoding="utf-8", errors="replace")
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                slot.close()
                continue
            if self._is_left(slot):
                slot.close()
            else:
                found.append(slot)
        return found

    def _is_left(self, slot: IO[str]) -> bool:
        """Whether the attempt that had it before has processes yet; they are told to end."""
        slot.seek(0)
        before = slot.read(_NAME_MAX)
        left = of_attempt(self._table.look(), before) if before else []
        end_processes(left)
        if not left:
            slot.truncate(0)
        return bool(left)


def release(slots: Iterable[IO[str]]) -> None:
    """Give slots back whose attempt has left nothing."""
    for slot in slots:
        slot.truncate(0)
        slot.close()


def shared_folder() -> Path | None:
    """Where all runners of a user on this machine meet: the user's runtime folder, else under /tmp.

    None, and a word on standard error, if there is no such folder that others can't write to.
    """
    me = os.geteuid()
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{me}")
    tops = [runtime / "autopipec"] if _is_own(runtime) else []
    for top in (*tops, Path(f"/tmp/autopipec-{me}")):  # noqa: S108 - its owner and mode are looked at
        try:
            top.mkdir(mode=0o700, exist_ok=True)
            if _is_own(top):
                (top / "cores").mkdir(mode=0o700, exist_ok=True)
                return top / "cores"
        except OSError as error:
            sys.stderr.write(f"{top}: {error.strerror}\n")
    sys.stderr.write(
        "no folder is this user's alone: cores are not shared with other campaigns on this"
        " machine\n"
    )
    return None


def _is_own(folder: Path) -> bool:
    """Whether it is a folder that nobody but this user can write to."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    )
