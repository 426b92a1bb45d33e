"""Small files that anybody may have written: regular ones alone, without following a link, waiting, or much memory."""

import errno
import os
import stat
from pathlib import Path

#: A link or a loop of them, a socket, no right to read: no wait mends that.
_STAYS_SO = frozenset({errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM})


def read_small(path: Path, size_max: int) -> bytes | None:
    """The content; None if there is no such name.

    Raises ValueError for what is no small regular file that can be read, and OSError for faults that may pass.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in _STAYS_SO:
            raise ValueError(f"{path} is no regular file that can be read: {error.strerror}") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"{path} is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(size_max + 1)
    finally:
        os.close(descriptor)
    if len(content) > size_max:
        raise ValueError(f"{path} is larger than {size_max} bytes")
    return content
