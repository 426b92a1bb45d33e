"""Whether the socket of an OpenSSH connection is the user's own.

Whoever answers there reads and runs everything.
"""

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def trouble_with(path: Path, uid: int) -> str | None:
    """Why user `uid` should distrust a control socket at `path`, now or later; None if all is well.

    Each folder on the way must belong to that user or to root, and be writable by nobody else. In
    one like /tmp, with the sticky bit, others can't take the socket away, and its owner is looked
    at.
    """
    for folder in path.absolute().parents:
        try:
            found = folder.stat()
        except FileNotFoundError:
            continue
        if found.st_uid not in {uid, 0}:
            return f"the folder {folder} belongs to user {found.st_uid}"
        if found.st_mode & _OTHERS_WRITE and not found.st_mode & stat.S_ISVTX:
            return (
                f"the folder {folder} may be written by others (mode"
                f" {stat.S_IMODE(found.st_mode):04o})"
            )
    try:
        socket = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISSOCK(socket.st_mode):
        return f"{path} is no socket"
    if socket.st_uid != uid:
        return f"{path} belongs to user {socket.st_uid}"
    return (
        f"{path} is open to others (mode {stat.S_IMODE(socket.st_mode):04o})"
        if socket.st_mode & _OTHERS
        else None
    )


def path_in(settings: str) -> Path | None:
    """Where `ssh -G` puts the socket, with every `%` filled in; None if it shares no connection."""
    for line in settings.splitlines():
        key, _, value = line.partition(" ")
        if key == "controlpath" and value not in {"", "none"}:
            return Path(os.path.expanduser(value))  # noqa: PTH111 - `ssh -G` may leave the ~ of a user
    return None
