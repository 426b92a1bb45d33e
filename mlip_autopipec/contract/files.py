"""Files by name and content, and how to read what others may have placed.

Regular files alone are read, without following a link and without waiting: a name in the outbox may
be a folder, a pipe, a socket, a device or a loop of links. Opened as a file, a pipe without a
writer is waited for, for ever.
"""

import errno
import json
import os
import stat
from dataclasses import field
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

from mlip_autopipec.contract.values import Judged, about, read, value

T = TypeVar("T")


class NoRegularFile(ValueError):  # noqa: N818 - the name is the fact
    """A name is no regular file that can be read: a folder, a link, a pipe, or without rights.

    No wait mends that.
    """


class LargerThanAllowed(NoRegularFile):
    """A regular file is larger than anything that is expected under its name."""


def _below_the_root(path: str) -> str:
    """A path that leads nowhere else, whoever wrote it. Raises ValueError."""
    if (
        not path.isprintable()
        or path.startswith("/")
        or not {".", "..", ""}.isdisjoint(path.split("/"))
    ):
        raise ValueError("expected a plain path below the site's root")
    return path


@value
class FileRef:
    """One file under the site's root, by path and content."""

    path: Annotated[str, Judged(_below_the_root)] = field(
        metadata=about("POSIX path relative to the site's root")
    )
    sha256: str = field(metadata=about(pattern=r"^[0-9a-f]{64}$"))


#: There is no such file.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
#: What stays so until a person mends it: a link, a loop of links, a socket, no right to read, an
#: impossible name.
_UNUSABLE = frozenset(
    {errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ENODEV}
)


#: Asked for at a time: a buffer of the largest size that may be would be taken at once, whatever
#: there is to read.
_PIECE_BYTES = 16 * 2**20


def read_regular(path: Path, *, size_max: int) -> bytes | None:
    """The content of a regular file; None if there is no such name.

    Raises NoRegularFile for a name that is something else or can't be read, LargerThanAllowed above
    `size_max` bytes, and OSError for faults that may pass.
    """
    try:
        descriptor = os.open(
            path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        )
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        if error.errno in _UNUSABLE:
            raise NoRegularFile(
                f"{path} is no regular file that can be read: {error.strerror}"
            ) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NoRegularFile(f"{path} is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = _at_most(stream, size_max + 1)
    finally:
        os.close(descriptor)
    if len(content) > size_max:
        raise LargerThanAllowed(
            f"{path} is larger than {size_max} bytes, which nothing of ours writes there"
        )
    return content


def read_value(kind: type[T], path: Path, *, size_max: int) -> T | None:
    """The value in a file that is placed whole; None if there is no such name.

    Raises ValueError for whatever else has the name, and OSError for faults that may pass.
    """
    content = read_regular(path, size_max=size_max)
    try:
        return None if content is None else read(kind, json.loads(content))
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deep") from error


def _at_most(stream: BinaryIO, size_bytes: int) -> bytes:
    pieces = []
    while size_bytes and (piece := stream.read(min(size_bytes, _PIECE_BYTES))):
        pieces.append(piece)
        size_bytes -= len(piece)
    return b"".join(pieces)
