"""The process that the crash test kills: appends numbered events and says which are durable."""

import asyncio
from multiprocessing.connection import Connection
from pathlib import Path

from kit.journals import CREATED, NOW, note
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.lock import CampaignLock

PRODUCERS = 4


def append_until_killed(folder: Path, confirmed: Connection) -> None:
    """Append note(seq) as record `seq` until killed.

    Send each number once it is durable, and 0 when ready.
    """
    with CampaignLock(folder, now=NOW):
        asyncio.run(_append(folder, confirmed))


async def _append(folder: Path, confirmed: Connection) -> None:
    journal, state = FileJournal.open(folder, now=NOW, segment_bytes_max=20_000)
    seq = state.seq or await journal.append([CREATED])
    confirmed.send(0)

    async def produce() -> None:
        nonlocal seq
        while True:
            seq += 1
            confirmed.send(await journal.append([note(seq)]))

    async with asyncio.TaskGroup() as producers:
        for _ in range(PRODUCERS):
            producers.create_task(produce())
