"""Writing in folders where anybody may write.

No link is followed, no pipe waited for, nothing of others changed.
"""

import contextlib
import errno
import os
import stat
from itertools import chain, count
from pathlib import Path
from typing import BinaryIO

#: No link is followed, and no pipe waited for.
_CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
#: A link or a loop of them, a socket, no right to write: no wait mends that.
_STAYS_SO = frozenset({errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM})


def open_regular(path: Path) -> int:
    """A descriptor to read and append, of a file made where there is none.

    Raises ValueError for what is no file.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _CAREFUL, 0o666)
    except OSError as error:
        if error.errno in _STAYS_SO | {errno.EISDIR}:
            raise ValueError(
                f"{path} is no regular file that can be written: {error.strerror}"
            ) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} is no regular file")
    return descriptor


def create_beside(path: Path) -> tuple[BinaryIO, Path]:
    """A new file of that name or, where that is taken, with `.2`, `.3` … before its suffix."""
    names = (path.with_name(f"{path.stem}.{number}{path.suffix}") for number in count(2))
    for name in chain([path], names):
        with contextlib.suppress(FileExistsError):
            return name.open("xb"), name
    raise AssertionError("there are endlessly many names")
