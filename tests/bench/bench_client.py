"""A client that asks a daemon until its standard input ends, then tells how long each answer took.

A process of its own: what else a measurement has to do would be in its times.
"""

import asyncio
import json
import sys
import time

import aiohttp

_PING_EVERY_S, _ASK_EVERY_S = 0.01, 0.1


async def _asked(
    session: aiohttp.ClientSession, path: str, every_s: float, until: asyncio.Event
) -> list[float]:
    """Milliseconds of each answer."""
    took_ms = []
    while not until.is_set():
        began = time.perf_counter()
        async with session.get(path) as answer:
            await answer.read()
        took_ms.append(1000 * (time.perf_counter() - began))
        await asyncio.sleep(every_s)
    return took_ms


async def _main(socket: str) -> None:
    until = asyncio.Event()
    connector = aiohttp.UnixConnector(path=socket)
    async with (
        aiohttp.ClientSession("http://autopipecd", connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        pings = group.create_task(_asked(session, "/v1/info", _PING_EVERY_S, until))
        answers = group.create_task(_asked(session, "/v1/status", _ASK_EVERY_S, until))
        print("asking", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        until.set()
    print(json.dumps([pings.result(), answers.result()]))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
