"""Waiting for what other processes do, of which no event tells."""

import asyncio
import time
from collections.abc import Callable

#: For what should come within a second or two, on a busy machine.
PATIENCE_S = 60.0
#: For a daemon: a report has a low priority, and others use the machine.
DAEMON_PATIENCE_S = 240.0


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until the condition holds. Raises TimeoutError after a minute."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.005)


def wait_for(condition: Callable[[], object]) -> None:
    """Block until the condition holds. Raises TimeoutError after four minutes."""
    ends_s = time.monotonic() + DAEMON_PATIENCE_S
    while not condition():
        if time.monotonic() > ends_s:
            raise TimeoutError(f"not within {DAEMON_PATIENCE_S:g} s")
        time.sleep(0.02)
