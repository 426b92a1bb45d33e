"""The outbox on a file system that this machine shares with the jobs.

inotify is a hint, never the truth: what counts is the listing of the folder, taken at the start,
after each hint, and every `rescan_s` in any case. Each set is whole, so nothing that was missed
once is missed for good.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import watchfiles

from mlip_autopipec.errors import TransientError

#: watchfiles gathers changes for at most this long before it tells; small, since outcomes come
#: alone and seldom.
_DEBOUNCE_MS = 50
_STEP_MS = 10


class LocalWatcher:
    """ports.Watcher by watchfiles. `poll` where inotify is blind: NFS, Lustre, GPFS."""

    def __init__(self, outbox: Path, *, rescan_s: float, poll: bool = False) -> None:
        self._outbox = outbox
        self._rescan_ms = round(rescan_s * 1000)
        self._poll = poll

    async def names(self) -> AsyncGenerator[frozenset[str], None]:
        """Whole listings of the outbox: at once, after every change, and at least every `rescan_s`.

        Raises TransientError where it can't be listed now: the disk fails, or something else has
        its name.
        """
        try:
            async with aclosing(self._listings()) as listings:
                async for names in listings:
                    yield names
        except OSError as error:
            raise TransientError(
                f"the outbox must be a folder that can be listed: {error}"
            ) from error

    async def _listings(self) -> AsyncGenerator[frozenset[str], None]:
        await asyncio.to_thread(self._outbox.mkdir, parents=True, exist_ok=True)
        yield await self._listing()
        while True:
            try:
                async with aclosing(self._changes()) as changes:
                    async for _ in changes:
                        yield await self._listing()
            # watchfiles takes no name that is not UTF-8: until it has gone, we look by ourselves
            except* RuntimeError:
                pass
            await asyncio.sleep(self._rescan_ms / 1000)
            yield await self._listing()

    def _changes(self) -> AsyncGenerator[object, None]:
        return watchfiles.awatch(
            self._outbox,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=self._rescan_ms,  # a cancelled watch does not wait for it
            yield_on_timeout=True,
            force_polling=self._poll,
            poll_delay_ms=self._rescan_ms,
            recursive=False,
        )

    async def _listing(self) -> frozenset[str]:
        return frozenset(await asyncio.to_thread(_names, self._outbox))


def _names(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208 - only names are asked for
