"""A real journal, cut at every byte and flipped at thousands of bits.

It is repaired, refused or clean, and never another.
"""

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kit.random_walk import perfect_journal
from soak_table import Row, Tell

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import JournalDamaged, StateUnreadable
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.segments import Scan, segment_path
from mlip_autopipec.journal.writer import SegmentWriter
from mlip_autopipec.orchestration.machine import evolve

_NOW = datetime(2030, 1, 1, tzinfo=UTC)
#: Enough for the bootstrap cycle; every byte of it is cut at.
_EVENTS = 24


def soak_journal(flips: int, seed: int, tell: Tell) -> Row:
    """Every prefix, then so many flips of one bit."""
    row, began_s = Row("journals cut and flipped"), time.monotonic()
    events = perfect_journal()[:_EVENTS]
    with _folder() as folder:
        content = _write(folder / "whole", events)
        states = _states(events)
        for spoiled, kind in _spoiled(content, flips, random.Random(seed)):  # noqa: S311
            row.runs += 1
            row.faults[_open(folder / "spoiled", spoiled, states, row, kind)] += 1
            tell(f"{row.runs} of {len(content) + flips} journals opened")
    row.took_s = time.monotonic() - began_s
    return row


@contextmanager
def _folder() -> Iterator[Path]:
    """In memory where there is such a place: nothing here is about the disk."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of its own there
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def _write(folder: Path, events: Sequence[ev.Event]) -> bytes:
    folder.mkdir()
    scan = Scan(folder)
    list(scan)
    writer = SegmentWriter(scan, sync=lambda _: None, segment_bytes_max=2**30)
    for event in events:
        writer.write([event])
    writer.close()
    return segment_path(folder, 1).read_bytes()


def _states(events: Sequence[ev.Event]) -> list[WorkflowState]:
    """By the number of events."""
    states = [WorkflowState()]
    for event in events:
        states.append(evolve(states[-1], event))
    return states


def _spoiled(content: bytes, flips: int, rng: random.Random) -> Iterator[tuple[bytes, str]]:
    for length in range(len(content)):
        yield content[:length], "cut"
    for _ in range(flips):
        bit = rng.randrange(8 * len(content))
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped), "flip"


def _open(
    folder: Path, content: bytes, states: Sequence[WorkflowState], row: Row, kind: str
) -> str:
    """Open it as a daemon would: the state must be of what was written, to the last whole record.

    Of a flip the last record may be the victim, for it looks torn; any other is refused.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    segment_path(folder, 1).write_bytes(content)
    last = len(states) - 1
    allowed = {max(content.count(b"\n") - 1, 0)} if kind == "cut" else {last, last - 1}
    try:
        journal, state = FileJournal.open(folder, now=_NOW, sync=lambda _: None)
    except (JournalDamaged, StateUnreadable) as error:
        if kind == "cut":
            row.complain(f"a journal cut at byte {len(content)} was refused: {error}")
        return f"{kind}: refused"
    asyncio.run(journal.close())
    repaired = any(folder.glob("torn-*"))
    found = state.seq - repaired  # the repair is an event too
    if found not in allowed or state.model_copy(update={"seq": found}) != states[found]:
        row.lost += 1
        row.complain(
            f"a journal ({kind}, {len(content)} bytes) gives another state, at event {state.seq}"
        )
        return f"{kind}: wrong"
    return f"{kind}: {'repaired' if repaired else 'clean'}"
