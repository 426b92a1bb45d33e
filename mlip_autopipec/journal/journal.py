"""FileJournal: the event log in a folder.

One thread writes; everything that waits when it is free goes to the disk with one write and one
sync. What is on the disk is always a beginning of what was handed in: the first failure, of
whatever kind, is the end of a FileJournal, and only a new scan, at the next start, tells how far
the disk has come.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from mlip_autopipec.data_models.events import Event, JournalRepaired
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import AutopipecError, BugError, OperatorError
from mlip_autopipec.journal.durable import make_folder
from mlip_autopipec.journal.mend import complete_mending
from mlip_autopipec.journal.records import Record
from mlip_autopipec.journal.replay import fold
from mlip_autopipec.journal.segments import Scan
from mlip_autopipec.journal.snapshot import load_snapshot, save_snapshot
from mlip_autopipec.journal.upcast import UPCASTERS, Upcaster
from mlip_autopipec.journal.writer import SegmentWriter, cut_torn_tail

SEGMENT_BYTES_MAX = 32 * 2**20
#: Between two snapshots. So many are folded in about a second.
SNAPSHOT_EVENTS = 10_000


@dataclass(frozen=True, slots=True)
class _Request:
    events: tuple[Event, ...]
    seq: asyncio.Future[int]


class FileJournal:
    """ports.Journal over segments in a folder. Whoever opens it holds that folder's CampaignLock.

    Used from one event loop. Only the writer runs in the thread, one call at a time.
    """

    def __init__(self, folder: Path, writer: SegmentWriter) -> None:
        self._folder = folder
        self._writer = writer
        self._waiting: list[_Request] = []
        self._writing: asyncio.Future[int] | None = None
        self._failure: AutopipecError | None = None
        self._closed = False
        self._snapshot_seq = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        now: datetime,
        sync: Callable[[int], None] = os.fdatasync,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        upcasters: Sequence[Upcaster] = UPCASTERS,
    ) -> "tuple[FileJournal, WorkflowState]":
        """Open or begin the journal in `folder`; give it with the state that it holds.

        A torn tail is kept aside, cut off and told of in an event at `now`. Raises JournalDamaged
        and StateUnreadable, changing nothing, for what cannot be read, and OperatorError if the
        disk refuses. Blocks: a few seconds for a million events with a snapshot near their end, a
        minute without.
        """
        try:
            complete_mending(folder)
            make_folder(folder)
            scan, state = _replayed(folder, upcasters)
            repairs = _repair(scan, now)
            writer = SegmentWriter(scan, sync=sync, segment_bytes_max=segment_bytes_max)
            for seq, event in enumerate(repairs, start=scan.seq + 1):
                writer.write([event])
                state = fold(state, [Record(seq, event)])
        except OSError as error:
            raise OperatorError(f"The journal in {folder} cannot be opened: {error}.") from error
        return cls(folder, writer), state

    async def append(self, events: Sequence[Event]) -> int:
        """Make events durable, in order; the number of the last.

        Cancelling the wait does not cancel the write: the events are in the journal, or will be.
        Raises OperatorError if the disk refuses, BugError for an event that is no JSON; after
        either, only OperatorError.
        """
        if self._closed:
            raise BugError("append to a closed journal")
        if self._failure is not None:
            raise OperatorError(f"The journal takes nothing since it failed. {self._failure}")
        request = _Request(tuple(events), asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._writing is None:
            self._write()
        # Without a bound: nothing may go on before the disk has answered, and giving up would not
        # stop the write.
        return await request.seq

    def snapshot(self, state: WorkflowState) -> None:
        """Keep a state of the last record for the next start if the snapshot before is old. Blocks.

        Not while an append is under way. What the disk refuses is let go: the journal has it all.
        """
        if state.seq == self._writer.seq and state.seq >= self._snapshot_seq + SNAPSHOT_EVENTS:
            with contextlib.suppress(OSError):
                save_snapshot(self._folder, state, self._writer.crc)
                self._snapshot_seq = state.seq

    async def close(self) -> None:
        """Write what still waits, then give the file back. May be called twice."""
        if self._closed:
            return
        self._closed = True
        while self._writing is not None:
            await asyncio.wait([self._writing])
        self._thread.shutdown(wait=False)
        self._writer.close()

    def _write(self) -> None:
        """Hand everything that waits to the thread.

        What arrives meanwhile goes together the next time.
        """
        requests, self._waiting = self._waiting, []
        events = [event for request in requests for event in request.events]
        self._writing = asyncio.get_running_loop().run_in_executor(
            self._thread, self._writer.write, events
        )
        self._writing.add_done_callback(partial(self._written, requests))

    def _written(self, requests: Sequence[_Request], writing: asyncio.Future[int]) -> None:
        self._writing = None
        error = writing.exception()
        if error is None:
            _resolve(requests, writing.result())
        else:
            self._failure = self._explain(error)
            _refuse([*requests, *self._waiting], self._failure)
            self._waiting = []
        if self._waiting:
            self._write()

    def _explain(self, error: BaseException) -> AutopipecError:
        if not isinstance(error, OSError):
            return BugError(f"an event cannot be written down: {error}")
        return OperatorError(
            f"The journal in {self._folder} cannot be written: {error}. Mend the disk (space,"
            " quota, mount) and start the daemon again: it cuts off what was left unfinished and"
            " goes on. Running jobs are not affected."
        )


def _replayed(folder: Path, upcasters: Sequence[Upcaster]) -> tuple[Scan, WorkflowState]:
    """A finished scan of the whole journal, and the state that it holds."""
    kept = load_snapshot(folder)
    if kept is not None:
        scan = Scan(folder, kept.state.seq, whole=True, upcasters=upcasters)
        with contextlib.suppress(BugError):  # of another journal: the crc tells below
            state = fold(kept.state, scan)
            if scan.crc_at_after == int(kept.crc, 16):
                return scan, state
    scan = Scan(folder, upcasters=upcasters)
    return scan, fold(WorkflowState(), scan)


def _repair(scan: Scan, now: datetime) -> tuple[Event, ...]:
    """Cut off the torn tail of a finished scan, if there is one; what there is to tell of it."""
    if not scan.torn_bytes:
        return ()
    return (JournalRepaired(at=now, kept_as=cut_torn_tail(scan), bytes_cut=scan.torn_bytes),)


def _resolve(requests: Sequence[_Request], last_seq: int) -> None:
    """Tell everyone who still waits the number of their last event."""
    for request in reversed(requests):
        if not request.seq.done():
            request.seq.set_result(last_seq)
        last_seq -= len(request.events)


def _refuse(requests: Sequence[_Request], error: AutopipecError) -> None:
    for request in requests:
        if not request.seq.done():
            request.seq.set_exception(error)
