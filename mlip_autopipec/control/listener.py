"""The listening end of the control socket: who may reach it, and who is behind a connection."""

import os
import pwd
import socket
import stat
import struct
from pathlib import Path

from mlip_autopipec.control.address import make_private
from mlip_autopipec.errors import CampaignLocked, OperatorError

#: struct ucred of unix(7): pid, uid, gid of who called connect(2).
_UCRED = struct.Struct("3i")
_PROBE_TIMEOUT_S = 2.0


def open_listener(path: Path, backlog: int) -> socket.socket:
    """A listening socket at `path`, mode 0600 in a folder of mode 0700.

    Raises CampaignLocked if a daemon answers there already, OperatorError if something that is no
    socket is in the way. Blocks for at most two seconds. To end, remove the name first and close
    then: while it listens, it is ours.
    """
    make_private(path.parent)
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)  # bind takes no mode; until here the folder's 0700 kept everyone out
        listener.listen(backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def peer(connection: socket.socket) -> tuple[int, int]:
    """Uid and pid of who connected, as the kernel tells it."""
    pid, uid, _ = _UCRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return uid, pid


def is_admitted(uid: int) -> bool:
    """Root, and the user whose daemon this is."""
    return uid in {0, os.geteuid()}


def user_name(uid: int) -> str:
    """Its name, empty where it has none. May ask a directory service, and take its time."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _clear(path: Path) -> None:
    """Take away what a killed daemon left. Only what is a socket and answers nobody is stale."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OperatorError(
            f"{path} is in the way of the control socket and is no socket. Move it away."
        )
    if _answers(path):
        raise CampaignLocked(f"another daemon answers on {path}")
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (TimeoutError, BlockingIOError):  # its queue is full: someone has it open
            return True
    return True
