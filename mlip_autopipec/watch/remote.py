"""The outbox on a site behind a connection: one long-lived process there lists it whenever asked.

It is asked by one short line and answers with the names that are new, then a line with the mark of
the question, which is its heartbeat: whatever others write into an answer, none is taken for that
of another question. So the pace is set here, nothing is left behind there when the connection goes,
and what is quiet costs next to nothing. Between two listings it only glances at the folder's time,
which starts no process and reads no names. Where it cannot run, or is lost, a plain listing takes
its place until it can be started again.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Protocol

from mlip_autopipec.errors import TooFewSessions, TransientError
from mlip_autopipec.ports import Clock

#: No listing takes longer, not even on a tired file system.
_ANSWER_TIMEOUT_S = 30.0
_DELAY_FIRST_S = 1.0
_DOUBLINGS_MAX = 6  # of the delay before it is started again: 64 s
#: A process that lived so long was a good one; the next is started soon.
_GOOD_AFTER_S = 60.0
#: Pause at least so many times as long as an answer took: a big folder on a slow disk is listed
#: less often. No more than that, as the way there and back is part of it.
_PAUSE_PER_ANSWER = 2.0
#: And before a glance so many times: where something ends all the time, each becomes a listing.
_PAUSE_PER_GLANCE = 9.0

#: One line, as login shells want it. Sorted by ls, so that comm can compare; names that begin with
#: a dot are not done. A newline in a name would break the dialogue: -q shows it as a question mark,
#: and no name of ours has one. The folder's own time is kept, not this host's: their clocks differ.
#: What is placed in the same tick, or not shown yet by the file system's cache, is missed by a
#: glance, and found by the next listing.
_PROGRAM = (
    'export LC_ALL=C; mkdir -p -- "$1" && d=$(mktemp -d) || exit 1; a=$d/a; b=$d/b; t=$d/t;'
    " trap 'rm -rf -- \"$d\"' EXIT; trap 'exit 1' HUP INT TERM; : >\"$a\";"
    " while read -r asked mark; do"
    ' if [ "$asked" = glance ] && ! [ "$1" -nt "$t" ]; then echo "$mark"; continue; fi;'
    ' if [ "$asked" = all ]; then : >"$a"; fi; touch -r "$1" "$t";'
    ' ls -1q -- "$1/" >"$b" && comm -13 "$a" "$b" && echo "$mark" || exit 1; c=$a; a=$b; b=$c; done'
)


class LineDialogue(Protocol):
    """A far process that answers lines with lines."""

    def say(self, line: str) -> None:
        """Send one line."""

    async def hear(self) -> bytes:
        """The next line. Raises TransientError when there will be none."""


class Far(Protocol):
    """What the watcher needs of a transport.

    Every call raises TransientError on a passing fault.
    """

    def converse(self, argv: Sequence[str]) -> AbstractAsyncContextManager[LineDialogue]:
        """Keep a command running that ends with its input."""

    async def names(self, folder: str) -> tuple[str, ...]:
        """Names in a folder."""


class RemoteWatcher:
    """ports.Watcher over a transport that can converse.

    Lists every `interval_s`, and glances every `glance_s`. Every `rescan_s` the names are told
    whole, so that none is lost for good. With `long_lived` false, for sites that end such
    processes, it is one plain listing each `interval_s`. `trouble` is what keeps it from being told
    by that process; empty if nothing does.
    """

    def __init__(
        self,
        transport: Far,
        *,
        clock: Clock,
        rng: random.Random,
        outbox: str = "outbox",
        interval_s: float = 1.0,
        glance_s: float = 0.2,
        rescan_s: float = 30.0,
        long_lived: bool = True,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._outbox = outbox
        self._interval_s = interval_s
        self._glance_s = glance_s
        self._rescan_s = rescan_s
        self._long_lived = long_lived
        self.trouble = ""

    async def names(self) -> AsyncGenerator[frozenset[str], None]:
        """The whole outbox at once and every `rescan_s`, and in between what is new."""
        failures = 0
        while True:
            began_s = _monotonic_s()
            try:
                async with aclosing(
                    self._streamed() if self._long_lived else self._polled()
                ) as sets:
                    async for names in sets:
                        self.trouble = ""
                        yield names
            except TooFewSessions as error:
                self.trouble, self._long_lived = str(error), False
            except TransientError as error:
                self.trouble = str(error)
            failures = 1 if _monotonic_s() - began_s > _GOOD_AFTER_S else failures + 1
            if self._long_lived and (substitute := await self._listing_if_any()) is not None:
                yield substitute
            cap_s = _DELAY_FIRST_S * 2 ** min(failures - 1, _DOUBLINGS_MAX)
            await self._clock.sleep(self._rng.uniform(0, cap_s))

    async def _streamed(self) -> AsyncGenerator[frozenset[str], None]:
        """By the long-lived process, until it or the connection ends with a TransientError."""
        whole_at_s = listing_at_s = _monotonic_s()
        async with self._transport.converse(["sh", "-c", _PROGRAM, "sh", self._outbox]) as dialogue:
            while True:
                asked_at_s = _monotonic_s()
                whole, listing = asked_at_s >= whole_at_s, asked_at_s >= listing_at_s
                question = "all" if whole else "new" if listing else "glance"
                names = await _ask(dialogue, question, f"AP-{self._rng.getrandbits(64):016x}")
                took_s = _monotonic_s() - asked_at_s
                if whole:
                    whole_at_s = asked_at_s + self._rescan_s
                if whole or listing:
                    listing_at_s = asked_at_s + max(
                        self._interval_s, (1 + _PAUSE_PER_ANSWER) * took_s
                    )
                if whole or names:
                    yield names
                glance_at_s = asked_at_s + max(self._glance_s, (1 + _PAUSE_PER_GLANCE) * took_s)
                await self._clock.sleep(max(min(glance_at_s, listing_at_s) - _monotonic_s(), 0))

    async def _polled(self) -> AsyncGenerator[frozenset[str], None]:
        """By plain listings, until one fails."""
        while True:
            asked_at_s = _monotonic_s()
            names = await self._listing()
            took_s = _monotonic_s() - asked_at_s
            yield names
            due_s = asked_at_s + max(self._interval_s, (1 + _PAUSE_PER_ANSWER) * took_s)
            await self._clock.sleep(max(due_s - _monotonic_s(), 0))

    async def _listing_if_any(self) -> frozenset[str] | None:
        """One plain listing, or None where that cannot be had either."""
        try:
            return await self._listing()
        except TransientError as error:
            self.trouble = str(error)
            return None

    async def _listing(self) -> frozenset[str]:
        return frozenset(
            name for name in await self._transport.names(self._outbox) if not name.startswith(".")
        )


def _monotonic_s() -> float:
    """Time that is never set."""
    return asyncio.get_running_loop().time()


async def _ask(dialogue: LineDialogue, question: str, mark: str) -> frozenset[str]:
    """One question and its whole answer, which ends with the mark."""
    names = set()
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            dialogue.say(f"{question} {mark}")
            while not (line := await dialogue.hear()).endswith(mark.encode()):
                names.add(line.decode("utf-8", "surrogateescape"))
    except TimeoutError:
        raise TransientError(f"no listing of the outbox within {_ANSWER_TIMEOUT_S:g} s") from None
    return frozenset(names - {""})
