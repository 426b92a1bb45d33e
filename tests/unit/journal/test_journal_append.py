"""Appending: order, durability, group commit, segments, and the end after a failure."""

import asyncio
import errno
import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.journals import CREATED, NOW, memory_folder, no_sync, note, open_journal, segments, story

from mlip_autopipec.data_models.events import DaemonStopped, Event, JournalRepaired
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import BugError, OperatorError
from mlip_autopipec.journal.durable import write_all
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.replay import fold, read, replay, verify
from mlip_autopipec.ports import Journal

WAIT_S = 10.0


class Disk:
    """Syncs that are counted, remember what they made durable, and can be held or made to fail."""

    def __init__(self) -> None:
        self.syncs = 0
        self.durable_bytes = 0
        self.failure: OSError | None = None
        self.free = threading.Event()
        self.free.set()
        self.reached = threading.Event()

    def sync(self, fd: int) -> None:
        self.reached.set()
        assert self.free.wait(WAIT_S)
        if self.failure is not None:
            raise self.failure
        os.fdatasync(fd)
        self.syncs += 1
        self.durable_bytes = os.fstat(fd).st_size

    def hold(self) -> None:
        self.free.clear()
        self.reached.clear()

    async def held(self) -> None:
        """Wait until a sync has begun."""
        assert await asyncio.to_thread(self.reached.wait, WAIT_S)


def events_of(folder: Path) -> list[Event]:
    return [record.event for record in read(folder)]


async def test_a_new_journal_is_private_and_empty(tmp_path: Path) -> None:
    """Folder 0700, file 0600, a header and no record; the state is that before everything."""
    folder = tmp_path / "deep" / "journal"
    journal, state = FileJournal.open(folder, now=NOW)
    port: Journal = journal
    assert await port.append([]) == 0
    await journal.close()
    assert WorkflowState() == state
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(folder.parent.stat().st_mode)) == (
        0o700,
        0o700,
    )
    (path,) = segments(folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (0, path.stat().st_size) == (verify(folder).records, verify(folder).bytes)


async def test_append_gives_the_number_of_the_last(tmp_path: Path) -> None:
    """Numbers go on over several events at once, and over a restart."""
    journal, _ = open_journal(tmp_path)
    assert await journal.append(story()[:4]) == 4
    assert await journal.append(story()[4:5]) == 5
    assert await journal.append([]) == 5
    await journal.close()
    journal, state = open_journal(tmp_path)
    assert state.seq == 5
    assert await journal.append(story()[5:]) == len(story())
    await journal.close()
    assert list(story()) == events_of(tmp_path)


async def test_what_append_has_confirmed_is_durable(tmp_path: Path) -> None:
    """When append returns, cutting the file to what was synced leaves every event.

    A power cut then loses nothing.
    """
    disk = Disk()
    journal, _ = FileJournal.open(tmp_path / "live", now=NOW, sync=disk.sync)
    copy = tmp_path / "copy"
    copy.mkdir()
    for event in story():
        seq = await journal.append([event])
        durable = segments(tmp_path / "live")[0].read_bytes()[: disk.durable_bytes]
        (copy / "journal-000001.jsonl").write_bytes(durable)
        assert list(story()[:seq]) == events_of(copy)
    await journal.close()


async def test_everything_that_waits_goes_with_one_sync(tmp_path: Path) -> None:
    """Appends that arrive during a sync share the next one, in order, each with its own number."""
    disk = Disk()
    journal, _ = FileJournal.open(tmp_path, now=NOW, sync=disk.sync)
    await journal.append([CREATED])
    begun = disk.syncs
    disk.hold()
    first = asyncio.create_task(journal.append([note(0)]))
    await disk.held()
    others = [
        asyncio.create_task(journal.append([note(2 * n), note(2 * n + 1)])) for n in range(1, 51)
    ]
    await asyncio.sleep(0)
    disk.free.set()
    assert [2, *range(4, 104, 2)] == await asyncio.gather(first, *others)
    assert begun + 2 == disk.syncs
    await journal.close()
    assert [CREATED, note(0), *(note(n) for n in range(2, 102))] == events_of(tmp_path)


async def test_a_cancelled_wait_does_not_cancel_the_write(tmp_path: Path) -> None:
    """Neither for an append that is on its way to the disk nor for one that waits behind it."""
    disk = Disk()
    journal, _ = FileJournal.open(tmp_path, now=NOW, sync=disk.sync)
    disk.hold()
    appends = [
        asyncio.create_task(journal.append([event])) for event in (CREATED, note(1), note(2))
    ]
    await disk.held()
    for task in appends[:2]:
        task.cancel()
    gathered = asyncio.gather(*appends, return_exceptions=True)
    await asyncio.sleep(0)
    disk.free.set()
    outcomes = await gathered
    assert [asyncio.CancelledError, asyncio.CancelledError, int] == [
        type(outcome) for outcome in outcomes
    ]
    assert outcomes[2] == 3
    await journal.close()
    assert [CREATED, note(1), note(2)] == events_of(tmp_path)


async def test_close_waits_for_what_was_handed_in(tmp_path: Path) -> None:
    """Waiting events are written; then the journal takes none. A second close does nothing."""
    disk = Disk()
    journal, _ = FileJournal.open(tmp_path, now=NOW, sync=disk.sync)
    disk.hold()
    appends = [asyncio.create_task(journal.append([event])) for event in (CREATED, note(1))]
    await disk.held()
    closing = asyncio.create_task(journal.close())
    await asyncio.sleep(0)
    disk.free.set()
    await closing
    await journal.close()
    assert [task.result() for task in appends] == [1, 2]
    with pytest.raises(BugError, match="closed"):
        await journal.append([note(2)])
    assert [CREATED, note(1)] == events_of(tmp_path)


async def test_a_new_segment_begins_above_the_limit(tmp_path: Path) -> None:
    """No segment but the last is below the limit.

    None is longer than it by more than one append, and all are read.
    """
    journal, _ = FileJournal.open(tmp_path, now=NOW, sync=no_sync, segment_bytes_max=1000)
    await journal.append([CREATED])
    for number in range(40):
        await journal.append([note(number)])
    await journal.close()
    sizes = [path.stat().st_size for path in segments(tmp_path)]
    assert len(sizes) > 3
    assert all(1000 <= size < 1200 for size in sizes[:-1])
    assert sizes[-1] < 1200
    assert [CREATED, *map(note, range(40))] == events_of(tmp_path)


@settings(max_examples=30)
@given(st.lists(st.lists(st.text(), max_size=4), max_size=6), st.integers(1, 2000))
def test_any_appends_in_any_segments_are_read_back(
    groups: list[list[str]], segment_bytes_max: int
) -> None:
    """Wherever groups and segments end, events come back in order, with restarts between."""

    async def run(folder: Path) -> None:
        events: list[Event] = [CREATED]
        for number, group in enumerate([[], *groups]):
            journal, state = FileJournal.open(
                folder, now=NOW, sync=no_sync, segment_bytes_max=segment_bytes_max
            )
            assert state == fold(WorkflowState(), list(read(folder)))
            more = [DaemonStopped(at=NOW, why=text) for text in group]
            assert await journal.append(more if number else [CREATED]) == len(events) + len(more)
            events += more
            await journal.close()
        assert events == events_of(folder)

    with memory_folder() as folder:
        asyncio.run(run(Path(folder)))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
async def test_a_failed_sync_is_the_end(tmp_path: Path, number: int) -> None:
    """That append and all after it fail, though the disk is well again; nothing more is written."""
    disk = Disk()
    journal, _ = FileJournal.open(tmp_path, now=NOW, sync=disk.sync)
    await journal.append([CREATED, note(1)])
    disk.hold()
    appends = [asyncio.create_task(journal.append([note(n)])) for n in (2, 3, 4)]
    await disk.held()
    disk.failure = OSError(number, os.strerror(number))
    appends[1].cancel()
    disk.free.set()
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert [OperatorError, asyncio.CancelledError, OperatorError] == [
        type(outcome) for outcome in outcomes
    ]
    disk.failure = None
    for _ in range(2):
        with pytest.raises(OperatorError, match=os.strerror(number)):
            await journal.append([note(5)])
    await journal.close()
    assert [CREATED, note(1)] == events_of(tmp_path)[:2]
    assert set(events_of(tmp_path)[2:]) <= {note(2)}


async def test_a_full_disk_is_the_end_and_the_next_open_repairs_it(tmp_path: Path) -> None:
    """A write that stops half-way (a real short kernel write) leaves a torn tail and a way on."""
    journal, _ = FileJournal.open(tmp_path, now=NOW)
    await journal.append([CREATED])
    (path,) = segments(tmp_path)
    with (
        file_size_limit(path.stat().st_size + 50),
        pytest.raises(OperatorError, match=r"File too large.*start the"),
    ):
        await journal.append([note(1)])
    with pytest.raises(OperatorError, match="takes nothing"):
        await journal.append([note(2)])
    await journal.close()
    assert verify(tmp_path).torn_bytes == 50
    journal, state = FileJournal.open(tmp_path, now=NOW)
    assert (state.stage, state.seq) == (Stage.BETWEEN, 2)
    assert await journal.append([note(3)]) == 3
    await journal.close()
    assert [CREATED, JournalRepaired, note(3)] == [
        type(event) if isinstance(event, JournalRepaired) else event
        for event in events_of(tmp_path)
    ]


async def test_a_segment_that_cannot_be_begun_is_the_end(tmp_path: Path) -> None:
    """A failure between two segments poisons as any other.

    The half-begun segment is mended at the next open.
    """
    disk = Disk()
    journal, _ = FileJournal.open(tmp_path, now=NOW, sync=disk.sync, segment_bytes_max=1)
    await journal.append([CREATED])
    before = len(segments(tmp_path))
    with file_size_limit(10), pytest.raises(OperatorError):
        await journal.append([note(1)])
    await journal.close()
    assert before + 1 == len(segments(tmp_path))
    journal, state = open_journal(tmp_path)
    await journal.append([note(2)])
    await journal.close()
    assert [event.type for event in events_of(tmp_path)] == [
        "CampaignCreated",
        "JournalRepaired",
        "DaemonStopped",
    ]
    assert replay(tmp_path).seq == state.seq + 1


async def test_an_event_that_is_no_json_is_a_bug_and_the_end(tmp_path: Path) -> None:
    """Nothing of its group is written, and nothing after it.

    The disk holds a beginning of what was handed in.
    """
    journal, _ = open_journal(tmp_path)
    await journal.append([CREATED])
    with pytest.raises(BugError, match="surrogates"):
        await journal.append([note(1), DaemonStopped(at=NOW, why="\udcff")])
    with pytest.raises(OperatorError):
        await journal.append([note(2)])
    await journal.close()
    assert events_of(tmp_path) == [CREATED]


def test_a_folder_that_cannot_be_opened_is_for_the_operator(tmp_path: Path) -> None:
    """Not a traceback but a sentence with the folder in it."""
    (tmp_path / "journal").write_bytes(b"a file where the folder should be")
    with pytest.raises(OperatorError, match=f"{tmp_path}/journal cannot be opened"):
        open_journal(tmp_path / "journal")


def test_what_open_has_read_is_synced_before_it_is_believed(tmp_path: Path) -> None:
    """A record a killed daemon wrote but did not sync is on disk before anything is built on it."""
    journal, _ = open_journal(tmp_path)
    asyncio.run(journal.append([CREATED]))
    asyncio.run(journal.close())
    disk = Disk()
    journal, _ = FileJournal.open(tmp_path, now=NOW, sync=disk.sync)
    asyncio.run(journal.close())
    assert segments(tmp_path)[0].stat().st_size == disk.durable_bytes


@pytest.mark.parametrize("portion", [1, 3, 1000])
def test_short_writes_are_gone_on_with(portion: int) -> None:
    """However few bytes one call takes, all are written once and in order."""
    written = bytearray()
    write_all(0, bytes(range(100)), stingy(written, portion))
    assert bytes(range(100)) == bytes(written)


def stingy(written: bytearray, portion: int) -> Callable[[int, memoryview], int]:
    """A write(2) that takes at most `portion` bytes."""

    def write(_: int, data: memoryview) -> int:
        written.extend(data[:portion])
        return len(data[:portion])

    return write


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes.

    There comes the kernel's own short write, then an error.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
