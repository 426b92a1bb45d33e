"""The outbox on a site behind a connection: one long-lived process there lists it whenever it is asked.

It is asked by one short line and answers with the names that are new, then an empty line, which is its heartbeat. So
the pace is set here, nothing is left behind there when the connection goes, and what is quiet costs next to nothing.
Where it cannot run, or is lost, a plain listing takes its place until it can be started again.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime, timedelta
from typing import Protocol

from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Clock

#: No listing takes longer, not even on a tired file system.
_ANSWER_TIMEOUT_S = 30.0
_DELAY_FIRST_S = 1.0
_DOUBLINGS_MAX = 6  # of the delay before it is started again: 64 s
#: Pause at least so many times as long as an answer took: a big folder on a slow disk is listed less often. No more
#: than that, as the way there and back is part of it.
_PAUSE_PER_ANSWER = 2.0

#: One line, as login shells want it. Sorted by ls, so that comm can compare; names that begin with a dot are not done.
_PROGRAM = (
    'export LC_ALL=C; mkdir -p -- "$1" && d=$(mktemp -d) || exit 1; a=$d/a; b=$d/b;'
    " trap 'rm -rf -- \"$d\"' EXIT; trap 'exit 1' HUP INT TERM; : >\"$a\"; while read -r asked; do"
    ' if [ "$asked" = all ]; then : >"$a"; fi;'
    ' ls -1 -- "$1/" >"$b" && comm -13 "$a" "$b" && echo || exit 1; c=$a; a=$b; b=$c; done'
)


class Dialogue(Protocol):
    """A far process that answers lines with lines."""

    def say(self, line: str) -> None:
        """Send one line."""

    async def hear(self) -> bytes:
        """The next line. Raises TransientError when there will be none."""


class Far(Protocol):
    """What the watcher needs of a transport. Every call raises TransientError on a passing fault."""

    def converse(self, argv: Sequence[str]) -> AbstractAsyncContextManager[Dialogue]:
        """Keep a command running that ends with its input."""

    async def names(self, folder: str) -> tuple[str, ...]:
        """Names in a folder."""


class RemoteWatcher:
    """ports.Watcher over a transport that can converse.

    Asks every `interval_s`, and every `hurried_interval_s` after `hurry`. Every `rescan_s` the names are told whole, so
    that none is lost for good. With `long_lived` false, for sites that end such processes, it is one listing each time.
    `trouble` is what keeps it from being told by that process; empty if nothing does.
    """

    def __init__(
        self,
        transport: Far,
        *,
        clock: Clock,
        rng: random.Random,
        outbox: str = "outbox",
        interval_s: float = 1.0,
        hurried_interval_s: float = 0.2,
        rescan_s: float = 30.0,
        long_lived: bool = True,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._outbox = outbox
        self._interval_s = interval_s
        self._hurried_interval_s = hurried_interval_s
        self._rescan = timedelta(seconds=rescan_s)
        self._long_lived = long_lived
        self._hurried_until = datetime.min.replace(tzinfo=UTC)
        self._hurried = asyncio.Event()
        self.trouble = ""

    def hurry(self, for_s: float) -> None:
        """Ask often for so long from now: something is about to end."""
        now = self._clock.now()
        if now >= self._hurried_until:
            self._hurried.set()
        self._hurried_until = max(self._hurried_until, now + timedelta(seconds=for_s))

    async def names(self) -> AsyncGenerator[frozenset[str], None]:
        """The whole outbox at once and every `rescan_s`, and in between what is new."""
        failures = 0
        while True:
            try:
                async with aclosing(self._told() if self._long_lived else self._polled()) as sets:
                    async for names in sets:
                        failures, self.trouble = 0, ""
                        yield names
            except TransientError as error:
                failures, self.trouble = failures + 1, str(error)
            if self._long_lived and (substitute := await self._listing_if_any()) is not None:
                yield substitute
            cap_s = _DELAY_FIRST_S * 2 ** min(failures - 1, _DOUBLINGS_MAX)
            await self._clock.sleep(self._rng.uniform(0, cap_s))

    async def _told(self) -> AsyncGenerator[frozenset[str], None]:
        """By the long-lived process, until it or the connection ends with a TransientError."""
        whole_at = self._clock.now()
        async with self._transport.converse(["sh", "-c", _PROGRAM, "sh", self._outbox]) as dialogue:
            while True:
                asked_at = self._clock.now()
                whole = asked_at >= whole_at
                names = await _ask(dialogue, "all" if whole else "new")
                if whole:
                    whole_at = asked_at + self._rescan
                took = self._clock.now() - asked_at
                if whole or names:
                    yield names
                await self._pause(took)

    async def _polled(self) -> AsyncGenerator[frozenset[str], None]:
        """By plain listings, until one fails."""
        while True:
            asked_at = self._clock.now()
            names = await self._listing()
            took = self._clock.now() - asked_at
            yield names
            await self._pause(took)

    async def _listing_if_any(self) -> frozenset[str] | None:
        """One plain listing, or None where that cannot be had either."""
        try:
            return await self._listing()
        except TransientError as error:
            self.trouble = str(error)
            return None

    async def _listing(self) -> frozenset[str]:
        return frozenset(name for name in await self._transport.names(self._outbox) if not name.startswith("."))

    async def _pause(self, took: timedelta) -> None:
        """Until the next question is due, or `hurry` is called."""
        self._hurried.clear()
        hurried = self._clock.now() < self._hurried_until
        delay_s = max(
            self._hurried_interval_s if hurried else self._interval_s, _PAUSE_PER_ANSWER * took.total_seconds()
        )
        waits = [asyncio.ensure_future(self._clock.sleep(delay_s)), asyncio.ensure_future(self._hurried.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def _ask(dialogue: Dialogue, question: str) -> frozenset[str]:
    """One question and its whole answer."""
    names = []
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            dialogue.say(question)
            while line := await dialogue.hear():
                names.append(line.decode("utf-8", "surrogateescape"))
    except TimeoutError:
        raise TransientError(f"no listing of the outbox within {_ANSWER_TIMEOUT_S:g} s") from None
    return frozenset(names)
