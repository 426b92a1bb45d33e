"""Reading a journal: order, cursors, segments, and damage that must be refused."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.journals import CREATED, memory_folder, note, reopen, segments, story, write_journal

from mlip_autopipec.data_models.events import Event
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import BugError, IllegalTransition, JournalDamaged, StateUnreadable
from mlip_autopipec.journal.records import Record, encode, encode_header, frame
from mlip_autopipec.journal.replay import Verification, fold, read, replay, verify
from mlip_autopipec.journal.segments import Scan
from mlip_autopipec.orchestration.machine import evolve


@pytest.fixture
def memory_path() -> Iterator[Path]:
    with memory_folder() as folder:
        yield Path(folder)


def events_of(folder: Path) -> tuple[Event, ...]:
    return tuple(record.event for record in read(folder))


def test_records_come_back_in_order(tmp_path: Path) -> None:
    """Numbers count from 1 without gaps and the events are equal to what was appended."""
    write_journal(tmp_path, story())
    assert [Record(seq, event) for seq, event in enumerate(story(), start=1)] == list(
        read(tmp_path)
    )


def test_replay_is_the_fold_over_the_events(tmp_path: Path) -> None:
    """The replayed state equals the one that evolved live, number included."""
    write_journal(tmp_path, story(), segment_bytes_max=800)
    state = WorkflowState()
    for event in story():
        state = evolve(state, event)
    assert state == replay(tmp_path)
    assert len(story()) == state.seq


def test_no_folder_is_no_records(tmp_path: Path) -> None:
    """Reading what does not exist gives nothing and creates nothing."""
    folder = tmp_path / "none"
    assert list(read(folder)) == []
    assert Stage.EMPTY is replay(folder).stage
    assert Verification(segments=0, records=0, bytes=0, torn_bytes=0) == verify(folder)
    assert not folder.exists()


@pytest.mark.parametrize("after", range(len(story()) + 2))
def test_read_goes_on_after_a_cursor(tmp_path: Path, after: int) -> None:
    """From any cursor, also past the end, exactly the later records come, in whatever segment."""
    write_journal(tmp_path, story(), segment_bytes_max=500)
    assert list(read(tmp_path))[after:] == list(read(tmp_path, after))


def test_segments_before_the_cursor_are_not_opened(tmp_path: Path) -> None:
    """A cursor in the last segment is served though the first is spoiled.

    Reading all of the journal is refused.
    """
    write_journal(tmp_path, story(), segment_bytes_max=500)
    flip(segments(tmp_path)[0], 300)
    assert [len(story())] == [record.seq for record in read(tmp_path, len(story()) - 1)]
    with pytest.raises(JournalDamaged):
        list(read(tmp_path))


def test_verify_counts(tmp_path: Path) -> None:
    """Segments, records and bytes are those on the disk; a torn tail is counted and left alone."""
    write_journal(tmp_path, story(), segment_bytes_max=800)
    size = sum(path.stat().st_size for path in segments(tmp_path))
    count = len(segments(tmp_path))
    assert count > 2
    assert Verification(count, len(story()), size, 0) == verify(tmp_path)
    with segments(tmp_path)[-1].open("ab") as file:
        file.write(b"torn")
    assert Verification(count, len(story()), size, 4) == verify(tmp_path)
    assert story() == events_of(tmp_path)


@pytest.mark.slow
def test_a_flipped_bit_in_the_middle_is_refused(memory_path: Path) -> None:
    """Whichever byte before the last record changes, reading stops, and opening too.

    They do so with the place and a remedy.
    """
    write_journal(memory_path, story())
    (path,) = segments(memory_path)
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for offset in range(last):
        path.write_bytes(content)
        flip(path, offset)
        with pytest.raises(JournalDamaged) as caught:
            verify(memory_path)
        assert content.rfind(b"\n", 0, offset) + 1 == caught.value.offset
        assert path == caught.value.path
        assert "backup" in caught.value.remedy
    with pytest.raises(JournalDamaged):
        reopen(memory_path)
    assert [path] == list(memory_path.iterdir())


def test_no_bit_of_a_newline_matters_less(memory_path: Path) -> None:
    """A spoiled newline joins two records; the second is not taken for the rest of a torn one."""
    write_journal(memory_path, story())
    (path,) = segments(memory_path)
    content = path.read_bytes()
    ends = [offset for offset in range(len(content) - 1) if content[offset : offset + 1] == b"\n"]
    for offset, bit in itertools.product(ends, range(8)):
        path.write_bytes(content)
        flip(path, offset, bit)
        with pytest.raises(JournalDamaged):
            verify(memory_path)


def test_a_flipped_bit_in_the_last_record_is_never_read(memory_path: Path) -> None:
    """The last record counts as torn, or is refused if the change gives it another number."""
    write_journal(memory_path, story())
    (path,) = segments(memory_path)
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    refused = 0
    for offset in range(last, len(content)):
        path.write_bytes(content)
        flip(path, offset)
        try:
            assert (len(story()) - 1, len(content) - last) == (
                verify(memory_path).records,
                verify(memory_path).torn_bytes,
            )
        except JournalDamaged:
            refused += 1
    assert refused <= len(str(len(story())))


def test_a_flipped_bit_in_an_earlier_segment_is_refused(memory_path: Path) -> None:
    """An earlier segment has no torn tail: it was whole before the next was begun."""
    write_journal(memory_path, story(), segment_bytes_max=800)
    path = segments(memory_path)[-2]
    content = path.read_bytes()
    for offset in range(len(content)):
        path.write_bytes(content)
        flip(path, offset)
        with pytest.raises(JournalDamaged):
            verify(memory_path)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_short_earlier_segment_is_refused(tmp_path: Path, kept: int) -> None:
    """Also where it is cut between two lines, or empty: the next one does not follow."""
    write_journal(tmp_path, story(), segment_bytes_max=800)
    path = segments(tmp_path)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) > 2
    path.write_bytes(b"".join(lines[:kept]))
    with pytest.raises(JournalDamaged):
        list(read(tmp_path))


def test_garbage_behind_an_earlier_segment_is_refused(tmp_path: Path) -> None:
    """Though all records are whole and the next segment follows: nothing may stand between them."""
    write_journal(tmp_path, story(), segment_bytes_max=800)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b"torn")
    with pytest.raises(JournalDamaged, match="not the newest"):
        list(read(tmp_path))


def test_a_removed_line_is_found(memory_path: Path) -> None:
    """Any line but the last can be missed.

    Without the last the journal is a shorter one, of which nobody can know.
    """
    write_journal(memory_path, story())
    (path,) = segments(memory_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for removed in range(len(lines) - 1):
        path.write_bytes(b"".join(lines[:removed] + lines[removed + 1 :]))
        with pytest.raises(JournalDamaged):
            verify(memory_path)


def test_reordered_and_repeated_lines_are_found(memory_path: Path) -> None:
    """Two lines that changed places, and a line that stands twice, are refused."""
    write_journal(memory_path, story())
    (path,) = segments(memory_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for index in range(len(lines) - 1):
        swapped = [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]]
        twice = [*lines[: index + 2], *lines[index + 1 :]]
        for changed in (swapped, twice):
            path.write_bytes(b"".join(changed))
            with pytest.raises(JournalDamaged):
                verify(memory_path)


def test_lines_of_another_journal_are_found(tmp_path: Path) -> None:
    """A record that is valid elsewhere, with the right number, does not follow here.

    That is what the chain is for.
    """
    write_journal(tmp_path / "a", [CREATED, note(1), note(2), note(3)])
    write_journal(tmp_path / "b", [CREATED, note(9), note(2), note(3)])
    ours, theirs = (segments(tmp_path / name)[0] for name in "ab")
    lines = ours.read_bytes().splitlines(keepends=True)
    others = theirs.read_bytes().splitlines(keepends=True)
    ours.write_bytes(b"".join([*lines[:2], others[2], *lines[3:]]))
    with pytest.raises(JournalDamaged):
        verify(tmp_path / "a")


def test_a_removed_record_is_found_though_numbers_were_mended(tmp_path: Path) -> None:
    """Numbers alone can be put right by hand; the chain cannot without all crcs behind."""
    write_journal(tmp_path, [CREATED, note(1), note(2), note(3)])
    (path,) = segments(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    mended = []
    crc = 0
    for line, number in ((lines[3], 2), (lines[4], 3)):
        body = line[9:-1].replace(b'"seq":%d' % (number + 1), b'"seq":%d' % number)
        mended_line, crc = frame(body, crc)
        mended.append(mended_line)
    path.write_bytes(b"".join([*lines[:2], *mended]))
    with pytest.raises(JournalDamaged):
        verify(tmp_path)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_segment_is_named(tmp_path: Path, missing: int) -> None:
    """The first or one in the middle; the message names the file."""
    write_journal(tmp_path, story(), segment_bytes_max=500)
    path = segments(tmp_path)[missing]
    path.unlink()
    with pytest.raises(JournalDamaged, match=rf"{path.name} is damaged.*missing"):
        list(read(tmp_path))


def test_a_segment_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    """A copy of segment 1 as segment 2 does not follow from segment 1."""
    write_journal(tmp_path, story())
    shutil.copy(tmp_path / "journal-000001.jsonl", tmp_path / "journal-000002.jsonl")
    with pytest.raises(JournalDamaged):
        list(read(tmp_path))


def test_other_files_in_the_folder_are_no_segments(tmp_path: Path) -> None:
    """Kept tails, the lock and copies made by people are left alone."""
    write_journal(tmp_path, story())
    for name in (
        "torn-17-000001-00000000.bin",
        "lock",
        "journal-000002.jsonl.bak",
        "journal-2.jsonl",
        "journal-copy",
    ):
        (tmp_path / name).write_bytes(b"anything")
    assert story() == events_of(tmp_path)


def test_an_unknown_version_is_refused_as_such(tmp_path: Path) -> None:
    """A journal of a later program is not damaged, and not repaired either."""
    path = tmp_path / "journal-000001.jsonl"
    content, _ = frame(
        encode_header(1, 1, 1, 0).replace(b'"version":1', b'"version":2,"codec":"zstd"'), 0
    )
    path.write_bytes(content)
    with pytest.raises(StateUnreadable, match="version 2; this program reads no later one than 1"):
        reopen(tmp_path)
    assert content == path.read_bytes()


def test_a_header_that_does_not_follow_is_refused(tmp_path: Path) -> None:
    """A header with a right crc but a wrong first number is damage."""
    line, _ = frame(encode_header(1, 1, 7, 0), 0)
    (tmp_path / "journal-000001.jsonl").write_bytes(line)
    with pytest.raises(JournalDamaged, match="does not follow"):
        list(read(tmp_path))


@pytest.mark.parametrize(
    "body",
    [
        b'{"seq":1,"event":{"type":"MoonLanded"}}',
        b'{"seq":1,"event":{"type":"Resumed"}}',
        encode(Record(2, CREATED)),
    ],
    ids=["unknown kind", "missing field", "wrong number"],
)
def test_a_whole_record_that_cannot_be_understood_is_no_torn_tail(
    tmp_path: Path, body: bytes
) -> None:
    """Its crc is right, so it was written like that, and is never cut off.

    The message says by whom it can be read.
    """
    header, crc = frame(encode_header(1, 1, 1, 0), 0)
    line, _ = frame(body, crc)
    path = tmp_path / "journal-000001.jsonl"
    path.write_bytes(header + line)
    with pytest.raises(StateUnreadable, match="program that wrote it"):
        reopen(tmp_path)
    assert header + line == path.read_bytes()


def test_records_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """The machine's own word ends the replay."""
    write_journal(tmp_path, [CREATED])
    scan = Scan(tmp_path)
    assert len(list(scan)) == 1
    line, _ = frame(encode(Record(2, CREATED)), scan.crc)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(line)
    with pytest.raises(IllegalTransition):
        replay(tmp_path)


def test_a_number_that_the_state_does_not_reach_is_a_bug() -> None:
    """Records and state count alike."""
    with pytest.raises(BugError, match="record 2 made a state with the number 1"):
        fold(WorkflowState(), [Record(2, CREATED)])


def test_reading_beside_a_writer_stops_at_what_is_whole(tmp_path: Path) -> None:
    """A half-written record ends reading without an error; the next reading goes on from there."""
    write_journal(tmp_path, [CREATED, note(1), note(2), note(3)])
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    reader = read(tmp_path)
    assert [record.seq for record in reader] == [1, 2, 3]
    path.write_bytes(content)
    assert [record.seq for record in read(tmp_path, 3)] == [4]


def test_a_reader_follows_a_writer_that_goes_on(tmp_path: Path) -> None:
    """Records appended while a reader is under way are read too.

    No moment of the writer looks like damage.
    """
    write_journal(tmp_path, [CREATED, note(1)])
    reader = read(tmp_path)
    assert next(reader).seq == 1
    write_journal(tmp_path, [note(2)])
    assert [record.seq for record in reader] == [2, 3]


def flip(path: Path, offset: int, bit: int | None = None) -> None:
    """Change one bit of a file; by default one that depends on the place."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << (offset % 8 if bit is None else bit)
    path.write_bytes(content)
