"""One daemon per campaign, on one machine."""

import fcntl
import json
import os
import socket
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from mlip_autopipec.errors import CampaignLocked, OperatorError
from mlip_autopipec.journal.durable import make_folder, write_all

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CONTENT_BYTES_MAX = 4096


class CampaignLock:
    """Holds `folder/lock` while entered. The kernel lets go of it when the process ends, however it ends.

    The file stays when the lock is released: removing it would let two daemons lock two files of one name.
    """

    def __init__(self, folder: Path, *, now: datetime) -> None:
        """`now` is written into the file, for the message that the next one gets."""
        self._path = folder / "lock"
        self._now = now
        self._fd = -1

    def __enter__(self) -> Self:
        """Take the lock. Raises CampaignLocked with the holder, OperatorError where the file system cannot lock."""
        try:
            make_folder(self._path.parent)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sign()
        except BlockingIOError:
            raise self._locked() from None
        except OSError as error:
            raise OperatorError(f"{self._path} cannot be locked: {error}. Keep the folder on a local disk.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)

    def _sign(self) -> None:
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "boot_id": _BOOT_ID.read_text().strip(),
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
