"""One daemon per campaign, on one machine."""

import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mlip_autopipec.errors import CampaignLocked, OperatorError
from mlip_autopipec.journal.durable import make_folder, write_all

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CONTENT_BYTES_MAX = 4096
_LOOK_EVERY_S = 0.02
_REMEDY = "Keep the folder on a local disk, where you may write"


class CampaignLock:
    """Holds `folder/lock` while entered. The kernel lets go of it however the process ends.

    The file stays when the lock is released: removing it would let two daemons lock two files of
    one name. A child that was forked, and has not yet become the program that it is to run, holds
    the lock beyond the death of its parent.
    """

    def __init__(self, folder: Path, *, now: datetime, patience_s: float = 10.0) -> None:
        """`now` is written into the file, for the message that the next one gets.

        A dead holder is waited for.
        """
        self._path = folder / "lock"
        self._now = now
        self._patience_s = patience_s
        self._fd = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises CampaignLocked with the holder, OperatorError where the file system cannot lock.
        """
        try:
            make_folder(self._path.parent)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            self._take()
            self._sign()
        except BlockingIOError:
            raise self._locked() from None
        except OSError as error:
            # systemd makes this folder for a unit, and may leave nothing else open to it.
            own = os.environ.get("STATE_DIRECTORY")
            remedy = (
                f"Let campaign.folder be {own}, which systemd opens to this service"
                if own
                else _REMEDY
            )
            raise OperatorError(f"{self._path} cannot be locked: {error}. {remedy}.") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)

    def _take(self) -> None:
        """Take the lock.

        Raises BlockingIOError at once if the holder lives, and when patience is over if it is dead.
        """
        until_s = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not self._holder_is_dead() or time.monotonic() >= until_s:
                    raise
                time.sleep(_LOOK_EVERY_S)
            else:
                return

    def _holder_is_dead(self) -> bool:
        """Whether the process that signed last was on this machine since boot, and is no more."""
        try:
            holder = json.loads(os.pread(self._fd, _CONTENT_BYTES_MAX, 0))
            here = (holder["host"], holder["boot_id"]) == (socket.gethostname(), _boot_id())
            return here and not _lives(int(holder["pid"]))
        except (ValueError, LookupError, TypeError):  # not signed, or not to the end
            return False

    def _sign(self) -> None:
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "boot_id": _boot_id(),
            "since": self._now.isoformat(),
        }
        os.ftruncate(self._fd, 0)
        write_all(self._fd, json.dumps(holder).encode())

    def _locked(self) -> CampaignLocked:
        content = os.read(self._fd, _CONTENT_BYTES_MAX).decode(errors="replace")
        os.close(self._fd)
        return CampaignLocked(
            f"Another daemon holds {self._path}: {content or 'it has not signed yet'}. "
            "Stop that one first, or use it: one campaign has one daemon."
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Who signed a campaign's lock and has not given it back.

    Another machine's may be dead for all that is known.
    """

    pid: int
    host: str
    is_here: bool


def read_holder(folder: Path) -> Holder | None:
    """The live holder of a campaign's lock as it signed; None if there is none.

    The lock is not touched.
    """
    try:
        signed = json.loads((folder / "lock").read_bytes()[:_CONTENT_BYTES_MAX])
        holder = Holder(
            int(signed["pid"]), str(signed["host"]), signed["host"] == socket.gethostname()
        )
        dead = holder.is_here and (signed["boot_id"] != _boot_id() or not _lives(holder.pid))
    except (OSError, ValueError, LookupError, TypeError):  # no lock, or not signed to the end
        return None
    return None if dead else holder


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def _lives(pid: int) -> bool:
    """Whether there is such a process; one that is dead and not yet reaped is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
