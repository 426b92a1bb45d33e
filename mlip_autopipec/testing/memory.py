"""The site's files and the journal in memory, with faults where the real ones have them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache

from mlip_autopipec.data_models.events import EVENT_ADAPTER, Event
from mlip_autopipec.errors import BugError, FileTooLarge, OperatorError
from mlip_autopipec.ports import SMALL_FILE_BYTES_MAX, Completed

#: Called before and after everything that crosses the wire, with the name of the operation. May
#: wait, and may raise TransientError: before, nothing has been done; after, it has been done and
#: the answer is lost.
Disturbance = Callable[[str], Awaitable[None]]
Command = Callable[[Sequence[str], bytes], Completed]


async def _undisturbed(_: str) -> None:
    await asyncio.sleep(0)


def _no_command(argv: Sequence[str], _: bytes) -> Completed:
    return Completed(127, b"", f"{argv[0]}: command not found\n".encode())


class MemoryTransport:
    """ports.Transport over a dict from path to content.

    `files` is the site's own view, without faults.
    """

    def __init__(
        self, *, disturb: Disturbance = _undisturbed, command: Command = _no_command
    ) -> None:
        self.files: dict[str, bytes] = {}
        self._disturb = disturb
        self._command = command

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Ask `command`; there is no shell here."""
        del timeout_s
        await self._disturb("run")
        completed = self._command(argv, stdin)
        await self._disturb("run")
        return completed

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Place files one by one, each whole: a fault may leave some of them out."""
        for path, content in files.items():
            await self._disturb("write")
            self.files[path] = content
        await self._disturb("write")

    async def read(self, path: str, *, size_max: int = 64 * 2**20) -> bytes | None:
        """The content, as it was when the question arrived."""
        await self._disturb("read")
        content = self.files.get(path)
        if content is not None and len(content) > size_max:
            raise FileTooLarge(f"{path} is larger than {size_max} bytes")
        await self._disturb("read")
        return content

    async def read_many(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """The contents, as they were when the question arrived."""
        await self._disturb("read_many")
        there = {path: self.files[path] for path in paths if path in self.files}
        contents = {
            path: content for path, content in there.items() if len(content) <= SMALL_FILE_BYTES_MAX
        }
        await self._disturb("read_many")
        return contents

    async def names(self, folder: str) -> tuple[str, ...]:
        """Names of files and folders directly in `folder`, sorted."""
        await self._disturb("names")
        prefix = f"{folder.rstrip('/')}/"
        found = {
            path.removeprefix(prefix).partition("/")[0]
            for path in self.files
            if path.startswith(prefix)
        }
        await self._disturb("names")
        return tuple(sorted(found))


class Crash(BaseException):
    """The daemon is killed. No `except Exception` may survive it."""


#: How many of the `n` events of an append become durable before the daemon dies in it; None: it
#: lives.
CrashPlan = Callable[[int], int | None]


class MemoryJournal:
    """ports.Journal as a list of JSON lines. `lines` is what is on disk; a new life begins there.

    Cancelled before its first wait is over, an append is lost; after that it is durable, and nobody
    knows.
    """

    def __init__(
        self,
        lines: Sequence[bytes] = (),
        *,
        crash: CrashPlan = lambda _: None,
        full: CrashPlan = lambda _: None,
        latency: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
    ) -> None:
        self.lines = list(lines)
        self._crash = crash
        self._full = full
        self._latency = latency
        self._dead = False

    async def append(self, events: Sequence[Event]) -> int:
        """Keep events; raises Crash or OperatorError as planned, before, amid or after durability.

        After either it raises BugError.
        """
        if self._dead:
            raise BugError("a journal that has failed takes nothing any more")
        await self._latency()
        killed, full = self._crash(len(events)), self._full(len(events))
        durable = killed if killed is not None else full
        self.lines += [event.model_dump_json().encode() for event in events[:durable]]
        if durable is not None:
            self._dead = True
            message = f"with {durable} of {len(events)} events on the disk"
            raise (
                OperatorError(f"No space left on device, {message}")
                if killed is None
                else Crash(f"killed {message}")
            )
        await self._latency()
        return len(self.lines)

    def events(self) -> tuple[Event, ...]:
        """What a new life would read."""
        return tuple(map(_event, self.lines))


@lru_cache(maxsize=16_384)
def _event(line: bytes) -> Event:
    """Simulations read the same lines in each of their lives; events don't change."""
    return EVENT_ADAPTER.validate_json(line)
