"""Versions: what an earlier one wrote is read in today's words.

It is gone on with in a segment of today's.
"""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from kit.journals import CREATED, NOW, no_sync, note, segments

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.errors import JournalDamaged, StateUnreadable
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.records import Header, encode_header, frame
from mlip_autopipec.journal.segments import Scan
from mlip_autopipec.journal.upcast import Upcaster


def renamed(event: dict[str, Any]) -> dict[str, Any]:
    """Of version 1 into 2: why a daemon stopped was once called its reason."""
    if event["type"] != "DaemonStopped":
        return event
    return {"why" if key == "reason" else key: value for key, value in event.items()}


def quoted(event: dict[str, Any]) -> dict[str, Any]:
    """Of version 2 into 3: it has stood in quotes since."""
    return {**event, "why": f"“{event['why']}”"} if event["type"] == "DaemonStopped" else event


def write_first_version(folder: Path) -> bytes:
    """A journal of version 1 with two records, the second of which today's model does not take."""
    header, crc = frame(encode_header(1, 1, 1, 0), 0)
    created, crc = frame(b'{"seq":1,"event":%b}' % CREATED.model_dump_json().encode(), crc)
    stopped = (
        b'{"seq":2,"event":{"at":"%b","type":"DaemonStopped","reason":"once"}}'
        % NOW.isoformat().encode()
    )
    content = header + created + frame(stopped, crc)[0]
    folder.mkdir(exist_ok=True)
    (folder / "journal-000001.jsonl").write_bytes(content)
    return content


def go_on(folder: Path, upcasters: Sequence[Upcaster], events: Iterable[ev.Event] = ()) -> int:
    """Open as the program with these upcasters would, and append.

    Gives the number of the last event before.
    """

    async def live() -> int:
        journal, state = FileJournal.open(folder, now=NOW, sync=no_sync, upcasters=upcasters)
        await journal.append(list(events))
        await journal.close()
        return state.seq

    return asyncio.run(live())


def told(folder: Path, upcasters: Sequence[Upcaster], after: int = 1) -> list[str]:
    """Why each daemon stopped."""
    events = [record.event for record in Scan(folder, after, upcasters=upcasters)]
    return [event.why if isinstance(event, ev.DaemonStopped) else event.type for event in events]


def versions(folder: Path) -> list[int]:
    """Of each segment."""
    lines = [path.read_bytes().splitlines()[0] for path in segments(folder)]
    return [Header.model_validate_json(line[9:]).version for line in lines]


def test_what_an_earlier_version_wrote_is_read_in_todays_words(tmp_path: Path) -> None:
    """Through every version that has come since; without its upcaster it could not be read."""
    write_first_version(tmp_path)
    assert told(tmp_path, (renamed,)) == ["once"]
    assert told(tmp_path, (renamed, quoted)) == ["“once”"]
    with pytest.raises(StateUnreadable, match="record 2 is whole, but this program cannot read it"):
        told(tmp_path, ())


def test_an_older_journal_is_gone_on_with_in_a_new_segment(tmp_path: Path) -> None:
    """Not a byte of what stood there changes.

    Each segment is of one version, and each event is read by its own.
    """
    content = write_first_version(tmp_path)
    assert go_on(tmp_path, (renamed,), [note(3)]) == 2
    assert go_on(tmp_path, (renamed,), [note(4)]) == 3
    assert go_on(tmp_path, (renamed, quoted), [note(5)]) == 4
    assert versions(tmp_path) == [1, 2, 3]
    assert segments(tmp_path)[0].read_bytes() == content
    assert told(tmp_path, (renamed, quoted)) == ["“once”", "“3”", "“4”", "5"]
    assert told(tmp_path, (renamed, quoted), after=3) == ["“4”", "5"]


def test_a_torn_older_journal_is_cut_and_told_of_in_the_new_segment(tmp_path: Path) -> None:
    """A segment that is not the newest must end in a whole record."""
    content = write_first_version(tmp_path)
    segments(tmp_path)[0].write_bytes(content + b"01234567 {")
    assert go_on(tmp_path, (renamed,), [note(4)]) == 3
    assert versions(tmp_path) == [1, 2]
    assert segments(tmp_path)[0].read_bytes() == content
    assert told(tmp_path, (renamed,)) == ["once", "JournalRepaired", "4"]


def test_a_daemon_that_died_while_it_began_the_new_segment_loses_nothing(tmp_path: Path) -> None:
    """Cut anywhere in the new segment's header, the next start begins it again."""
    write_first_version(tmp_path)
    go_on(tmp_path, (renamed,))
    newest = segments(tmp_path)[-1]
    header = newest.read_bytes()
    for length in (0, 1, 40, len(header) - 1):
        newest.write_bytes(header[:length])
        go_on(tmp_path, (renamed,))
        assert versions(tmp_path) == [1, 2]
        assert told(tmp_path, (renamed,))[0] == "once"


def test_a_later_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    """By the program that wrote its first segment."""
    write_first_version(tmp_path)
    go_on(tmp_path, (renamed, quoted))
    before = [path.read_bytes() for path in segments(tmp_path)]
    with pytest.raises(StateUnreadable, match="version 3; this program reads no later one than 2"):
        go_on(tmp_path, (renamed,))
    assert [path.read_bytes() for path in segments(tmp_path)] == before


@pytest.mark.parametrize("flipped", range(8 * len(b'"version":1')))
def test_a_flipped_version_is_damage(tmp_path: Path, flipped: int) -> None:
    """A header that says another version than was written is never believed."""
    content = bytearray(write_first_version(tmp_path))
    content[content.index(b'"version":1') + flipped // 8] ^= 1 << flipped % 8
    segments(tmp_path)[0].write_bytes(content)
    with pytest.raises(JournalDamaged):
        go_on(tmp_path, (renamed,))
