"""The daemon's log as a person reads it: JSON lines to words, and the tail of a file that may be rotated."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from mlip_autopipec.data_models.text import printable

#: Shown first, in this order; every other key follows as `key=value`.
_FIRST = ("timestamp", "level", "event")
#: Shown below the line, as it is.
_BELOW = "exception"


def render_line(line: str) -> str:
    """`2026-01-31T12:00:00Z warning  words  key=value …`; what is no JSON object is given back as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    timestamp, level, words = (str(entry.pop(key, "")) for key in _FIRST)
    below = entry.pop(_BELOW, None)
    head = f"{timestamp[:19]} {level:<8} {words}"
    fields = "  ".join(f"{key}={value}" for key, value in entry.items())
    return printable("\n".join(part for part in (f"{head}  {fields}".rstrip(), below) if part))


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` whole lines; from the log before, too, where this one is young."""
    lines = _tail(path, count)
    earlier = path.with_name(f"{path.name}.1")
    if len(lines) < count and earlier.is_file():
        lines = [*_tail(earlier, count - len(lines)), *lines]
    return _decoded(lines)


def follow(path: Path, count: int, wait: Callable[[], None]) -> Iterator[str]:
    """The last `count` lines, then every new one, for ever; `wait` is called when there is none.

    A file that was replaced or cut short (rotation) is read from its beginning.
    """
    first = True
    while True:
        with path.open("rb") as stream:
            lines = deque(_whole_lines(stream), maxlen=count if first else None)
            yield from _decoded(lines)
            first = False
            while not _replaced(path, stream):
                yield from _decoded(_whole_lines(stream))
                wait()
            yield from _decoded(_whole_lines(stream))


def _whole_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines up to the end; a last line without its end is left for the next time."""
    while line := stream.readline():
        if not line.endswith(b"\n"):
            stream.seek(-len(line), os.SEEK_CUR)
            return
        yield line


def _tail(path: Path, count: int) -> list[bytes]:
    with path.open("rb") as stream:
        return list(deque(_whole_lines(stream), maxlen=count))


def _decoded(lines: Iterable[bytes]) -> list[str]:
    return [line.decode(errors="replace").rstrip("\n") for line in lines]


def _replaced(path: Path, stream: BinaryIO) -> bool:
    ours = os.fstat(stream.fileno())
    try:
        theirs = path.stat()
    except FileNotFoundError:  # between the two steps of a rotation
        return False
    return theirs.st_ino != ours.st_ino or theirs.st_size < stream.tell()
