"""Opening what a crash left: every cut of a real journal, and what file systems put behind it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.journals import (
    CREATED,
    NOW,
    append_each,
    memory_folder,
    note,
    open_and_close,
    reopen,
    segments,
    story,
    write_journal,
)

from mlip_autopipec.data_models.events import Event, JournalRepaired
from mlip_autopipec.errors import JournalDamaged
from mlip_autopipec.journal.replay import read

GARBAGE = {
    "NULs": b"\0" * 512,
    "binary": bytes(range(256)),
    "lines": b"kernel: Oops\n" * 3,
    "half a record": b'0badcafe {"seq":14,"event":{"type":"Resu',
}


@pytest.fixture
def memory_path() -> Iterator[Path]:
    with memory_folder() as folder:
        yield Path(folder)


def events_of(folder: Path) -> list[Event]:
    return [record.event for record in read(folder)]


@pytest.mark.slow
async def test_every_cut_of_a_journal_is_clean_or_repaired(memory_path: Path) -> None:
    """Every whole record is replayed and nothing else.

    What was cut is kept, and the repair is told, once.
    """
    await append_each(memory_path / "whole", story(), segment_bytes_max=1000)
    contents = [path.read_bytes() for path in segments(memory_path / "whole")]
    assert len(contents) > 2
    before: list[Event] = []
    for number in range(len(contents)):
        lines = contents[number].splitlines(keepends=True)
        for cut in range(len(contents[number]) + 1):
            # alone in its folder, as a campaign's is
            folder = memory_path / f"{number}-{cut}" / "journal"
            whole, torn = _whole_lines(lines, cut)
            _lay_out(folder, [*contents[:number], contents[number][:cut]])
            state = await open_and_close(folder)
            expected = [*story()[: len(before) + max(whole - 1, 0)], *_repaired(folder, torn)]
            assert expected == events_of(folder)
            assert state == await open_and_close(folder)
        before += story()[len(before) : len(before) + len(lines) - 1]
    assert len(story()) == len(before)


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_behind_any_cut_of_the_last_segment_is_cut_off(
    memory_path: Path, garbage: bytes
) -> None:
    """What stands behind the last whole record goes with it, and the journal goes on from there."""
    write_journal(memory_path / "whole", story()[:5])
    (path,) = segments(memory_path / "whole")
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    for cut in range(len(lines[0]), len(content), 7):
        folder = memory_path / str(cut) / "journal"
        whole, torn = _whole_lines(lines, cut)
        _lay_out(folder, [content[:cut] + garbage])
        reopen(folder)
        assert [*story()[: whole - 1], *_repaired(folder, torn + garbage)] == events_of(folder)


@pytest.mark.parametrize("behind", [b"", b"\0" * 99, b'0badcafe {"seq":'])
def test_a_spoiled_last_record_is_cut_off(tmp_path: Path, behind: bytes) -> None:
    """A complete last line with a wrong crc counts as torn, alone or with garbage behind it."""
    write_journal(tmp_path, story())
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    torn = content[last:].replace(b"Resumed", b"Rezumed") + behind
    path.write_bytes(content[:last] + torn)
    reopen(tmp_path)
    assert [*story()[:-1], *_repaired(tmp_path, torn)] == events_of(tmp_path)


def test_appending_goes_on_after_a_repair(tmp_path: Path) -> None:
    """The repair and what follows it are ordinary records; a second tear leaves a second file."""
    write_journal(tmp_path, [CREATED, note(1)])
    for torn in (b"torn", b"torn again"):
        with segments(tmp_path)[0].open("ab") as file:
            file.write(torn)
        write_journal(tmp_path, [note(2)])
    kinds = [event.type for event in events_of(tmp_path)]
    assert [
        "CampaignCreated",
        *["DaemonStopped"],
        *["JournalRepaired", "DaemonStopped"] * 2,
    ] == kinds
    assert sorted(path.read_bytes() for path in tmp_path.glob("torn-*")) == [b"torn", b"torn again"]


def test_a_repair_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    """A crash between keeping the torn bytes and cutting them off leaves nothing double."""
    write_journal(tmp_path, [CREATED, note(1)])
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b"torn")
    torn = segments(tmp_path)[0].read_bytes()
    reopen(tmp_path)
    (kept,) = tmp_path.glob("torn-*")
    segments(tmp_path)[0].write_bytes(torn)
    kept.write_bytes(b"to")
    reopen(tmp_path)
    assert {kept: b"torn"} == {path: path.read_bytes() for path in tmp_path.glob("torn-*")}


@pytest.mark.parametrize("header", [b"", b"1234abcd {", b"\0" * 130])
def test_a_torn_header_of_the_newest_segment_is_written_again(
    tmp_path: Path, header: bytes
) -> None:
    """The segment was being begun; nothing can have been in it."""
    write_journal(tmp_path, [CREATED, note(1)])
    (tmp_path / "journal-000002.jsonl").write_bytes(header)
    reopen(tmp_path)
    assert [CREATED, note(1), *_repaired(tmp_path, header)] == events_of(tmp_path)
    write_journal(tmp_path, [note(2)])
    assert note(2) == events_of(tmp_path)[-1]
    assert len(segments(tmp_path)) == 2


def test_a_torn_header_with_records_behind_it_is_refused(tmp_path: Path) -> None:
    """It was whole once, or there would be no records."""
    write_journal(tmp_path, [CREATED, note(1)])
    (path,) = segments(tmp_path)
    content = path.read_bytes()
    path.write_bytes(b"\0" * 9 + content[9:])
    with pytest.raises(JournalDamaged):
        reopen(tmp_path)


def test_damage_is_left_as_it_is(tmp_path: Path) -> None:
    """Refusing changes no byte and leaves no file, so that a person can look."""
    write_journal(tmp_path, story())
    (path,) = segments(tmp_path)
    spoiled = path.read_bytes().replace(b"lunch", b"brunch")
    path.write_bytes(spoiled)
    with pytest.raises(
        JournalDamaged, match=r"journal-000001.jsonl is damaged at byte \d+.*journal repair"
    ):
        reopen(tmp_path)
    assert {path: spoiled} == {item: item.read_bytes() for item in tmp_path.iterdir()}


def _whole_lines(lines: list[bytes], cut: int) -> tuple[int, bytes]:
    """How many lines a cut leaves whole, and what it leaves of the next."""
    whole = 0
    while whole < len(lines) and cut >= len(lines[whole]):
        cut -= len(lines[whole])
        whole += 1
    return whole, lines[whole][:cut] if cut else b""


def _lay_out(folder: Path, contents: list[bytes]) -> None:
    folder.mkdir(parents=True)
    for number, content in enumerate(contents, start=1):
        (folder / f"journal-{number:06d}.jsonl").write_bytes(content)


def _repaired(folder: Path, torn: bytes) -> list[Event]:
    """The events that tell of a repair, once the kept file is seen to hold what was torn."""
    kept = sorted(folder.glob("torn-*.bin"))
    assert ([torn] if torn else []) == [path.read_bytes() for path in kept]
    return [JournalRepaired(at=NOW, kept_as=path.name, bytes_cut=len(torn)) for path in kept]
