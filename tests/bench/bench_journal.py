"""How fast the journal takes events, and how fast it gives the state back."""

import asyncio
import gc
import resource
import tempfile
import time
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from bench_events import campaign
from kit.table import Row, median, percentile

from mlip_autopipec.data_models.events import Event
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.journal.journal import SNAPSHOT_EVENTS, FileJournal
from mlip_autopipec.journal.replay import fold, read, replay
from mlip_autopipec.journal.segments import Scan
from mlip_autopipec.journal.snapshot import save_snapshot

REPLAY_TARGET_S, APPEND_TARGET_MS = 5.0, 10.0
_PRODUCERS = 64
_NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def appends(folder: Path, events: list[Event]) -> list[float]:
    """Milliseconds of each append, one event at a time, each synced."""
    journal, _ = FileJournal.open(folder, now=_NOW)
    took_ms = []
    for event in events:
        began = time.perf_counter()
        await journal.append([event])
        took_ms.append(1000 * (time.perf_counter() - began))
    await journal.close()
    return took_ms


async def grouped(folder: Path, events: list[Event]) -> float:
    """Events per second where 64 wait at a time, each for its own."""
    journal, _ = FileJournal.open(folder, now=_NOW)
    waiting = iter(events)

    async def produce() -> None:
        for event in waiting:
            await journal.append([event])

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(_PRODUCERS):
            group.create_task(produce())
    took_s = time.perf_counter() - began
    await journal.close()
    return len(events) / took_s


async def fill(folder: Path, number: int, tasks_per_phase: int) -> None:
    """A journal of so many events, written in large groups."""
    journal, _ = FileJournal.open(folder, now=_NOW)
    events = islice(campaign(tasks_per_phase), number)
    while group := list(islice(events, 10_000)):
        await journal.append(group)
    await journal.close()


def measure(
    *, events: int, appended: int, folder: Path | None = None, tasks_per_phase: int = 1000
) -> list[Row]:
    """Appends and group commit on the disk of `folder`, then replay of so many events."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name)
        sample = list(islice(campaign(tasks_per_phase), appended))
        took_ms = asyncio.run(appends(root / "append", sample))
        rate = asyncio.run(grouped(root / "group", sample * 4))
        rows = [
            Row("append of one event, fsync, p99", percentile(took_ms, 99), "ms", APPEND_TARGET_MS),
            Row(
                "append of one event, fsync, median",
                median(took_ms),
                "ms",
                note=f"{appended} appends",
            ),
            Row(f"group commit, {_PRODUCERS} producers", rate, "events/s"),
        ]
        del sample
        gc.collect()
        asyncio.run(fill(root / "long", events, tasks_per_phase))
        size_mib = sum(path.stat().st_size for path in (root / "long").iterdir()) / 2**20
        began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        state = replay(root / "long")
        took_s = time.perf_counter() - began
        cpu_s = resource.getrusage(resource.RUSAGE_SELF).ru_utime - used.ru_utime
        note = f"{state.seq} events, {size_mib:.0f} MiB, {cpu_s:.2f} s of CPU"
        rows.append(Row("replay without a snapshot", took_s, "s", note=note))
        behind = keep_snapshot(root / "long", state.seq)
        began = time.perf_counter()
        journal, again = FileJournal.open(root / "long", now=_NOW)
        took_s = time.perf_counter() - began
        asyncio.run(journal.close())
        if again != state:
            raise AssertionError("a start from the snapshot gives another state")
        note = f"every line checked, {behind} events folded behind the snapshot"
        rows.append(Row("replay as a daemon starts", took_s, "s", REPLAY_TARGET_S, note))
    return rows


def keep_snapshot(folder: Path, last: int) -> int:
    """A snapshot as far behind the last event as it may become; how many events that is."""
    behind = min(SNAPSHOT_EVENTS, last // 2)
    at = Scan(folder, last - behind, whole=True)
    for _ in at:
        pass
    if at.crc_at_after is None:
        raise AssertionError("the journal is shorter than it was")
    save_snapshot(
        folder, fold(WorkflowState(), islice(read(folder), last - behind)), at.crc_at_after
    )
    return behind
