"""How a process is begun, so that whoever stops waiting for its begin leaves none behind."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def begun(starting: Coroutine[Any, Any, T], end: Callable[[T], Awaitable[object]]) -> T:
    """Await the begin of a process. Raises what `starting` raises.

    Cancelled itself, asyncio kills that one process, not its children, and then waits for pipes
    that it has not connected yet, and which the children may hold open for as long as they live. So
    the begin is waited for, a few turns of the loop, and `end` is called with what has begun.
    """
    task = asyncio.ensure_future(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is None:
            await end(task.result())
        raise
