"""The daemon's log as a person reads it.

JSON lines become words; the tail is of a file that may be rotated.
"""

import json
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import aiofiles
import aiofiles.os
from aiofiles.threadpool.binary import AsyncBufferedReader

from mlip_autopipec.data_models.text import printable

#: Shown first, in this order; every other key follows as `key=value`.
_FIRST = ("timestamp", "level", "event")
#: Shown below the line, as it is.
_BELOW = "exception"
#: Each read is a hop to a thread; line by line a log of 32 MiB would take a quarter of a minute.
_BLOCK_BYTES = 2**20


def render_line(line: str) -> str:
    """`2026-01-31T12:00:00Z warning  words  key=value …`; what is no JSON object stays as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    timestamp, level, message = (str(entry.pop(key, "")) for key in _FIRST)
    below = entry.pop(_BELOW, None)
    head = f"{timestamp[:19]} {level:<8} {message}"
    fields = "  ".join(f"{key}={value}" for key, value in entry.items())
    return printable("\n".join(part for part in (f"{head}  {fields}".rstrip(), below) if part))


async def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` whole lines; from the log before, too, where this one is young."""
    lines = await _tail(path, count)
    earlier = path.with_name(f"{path.name}.1")
    if len(lines) < count and await aiofiles.os.path.isfile(earlier):
        lines = [*await _tail(earlier, count - len(lines)), *lines]
    return lines


async def follow(
    path: Path, count: int, wait: Callable[[], Awaitable[None]]
) -> AsyncGenerator[str, None]:
    """The last `count` lines, then every new one, for ever; `wait` is awaited when there is none.

    A file that was replaced or cut short (rotation) is read from its beginning.
    """
    last: int | None = count
    while True:
        async with aiofiles.open(path, "rb") as stream:
            growing = _Growing(stream)
            for line in await growing.lines(last):
                yield line
            last = None
            while not await _replaced(path, stream):
                for line in await growing.lines():
                    yield line
                await wait()
            for line in await growing.lines():
                yield line


class _Growing:
    """Lines of a file that is still written; a last line without its end is left for next time."""

    def __init__(self, stream: AsyncBufferedReader) -> None:
        self._stream = stream
        self._begun = b""

    async def lines(self, last: int | None = None) -> list[str]:
        """The whole lines from where the reader is; only the `last` ones, if so asked."""
        lines: deque[bytes] = deque(maxlen=last)
        while block := await self._stream.read(_BLOCK_BYTES):
            *whole, self._begun = (self._begun + block).split(b"\n")
            lines.extend(whole)
        return [line.decode(errors="replace") for line in lines]


async def _tail(path: Path, count: int) -> list[str]:
    async with aiofiles.open(path, "rb") as stream:
        return await _Growing(stream).lines(count)


async def _replaced(path: Path, stream: AsyncBufferedReader) -> bool:
    ours = os.fstat(stream.fileno())
    try:
        theirs = await aiofiles.os.stat(path)
    except FileNotFoundError:  # between the two steps of a rotation
        return False
    return theirs.st_ino != ours.st_ino or theirs.st_size < await stream.tell()
