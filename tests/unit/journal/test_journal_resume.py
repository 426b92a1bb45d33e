"""Snapshots: a start folds only what came after one, and believes none that it should not."""

import asyncio
from pathlib import Path

import pytest
from kit.journals import NOW, append_each, no_sync, note, open_and_close, story

from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import JournalDamaged
from mlip_autopipec.journal.journal import SNAPSHOT_EVENTS, FileJournal
from mlip_autopipec.journal.replay import replay
from mlip_autopipec.journal.segments import Scan
from mlip_autopipec.journal.snapshot import load_snapshot, program, save_snapshot
from mlip_autopipec.orchestration.machine import evolve

SMALL_SEGMENT = 400


def written(folder: Path, *, segment_bytes_max: int = 2**20) -> list[WorkflowState]:
    """A journal with the story, and the state after each of its events, and before the first."""
    asyncio.run(append_each(folder, story(), segment_bytes_max=segment_bytes_max))
    states = [WorkflowState()]
    for event in story():
        states.append(evolve(states[-1], event))
    return states


def crc_of(folder: Path, seq: int) -> int:
    """The crc of one record."""
    scan = Scan(folder, seq, whole=True)
    list(scan)
    assert scan.crc_at_after is not None
    return scan.crc_at_after


def opened(folder: Path) -> WorkflowState:
    """The state that a start finds."""
    return asyncio.run(open_and_close(folder))


@pytest.mark.parametrize("segment_bytes_max", [2**20, SMALL_SEGMENT])
def test_from_any_snapshot_the_state_is_that_of_the_whole_journal(
    tmp_path: Path, segment_bytes_max: int
) -> None:
    """Whichever record it is of, in one segment or in many."""
    states = written(tmp_path, segment_bytes_max=segment_bytes_max)
    for seq in range(1, len(states)):
        save_snapshot(tmp_path, states[seq], crc_of(tmp_path, seq))
        assert opened(tmp_path) == states[-1] == replay(tmp_path)


def test_a_snapshot_is_what_a_start_goes_on_from(tmp_path: Path) -> None:
    """One told apart by what no event says shows in the state: its past was not folded anew."""
    states = written(tmp_path)
    marked = states[5].model_copy(update={"site_message": "from the snapshot"})
    save_snapshot(tmp_path, marked, crc_of(tmp_path, 5))
    cut(tmp_path, 8)
    assert opened(tmp_path).site_message == "from the snapshot"


def cut(folder: Path, records: int) -> None:
    """Leave only the first records of a journal of one segment."""
    (segment,) = folder.glob("journal-*.jsonl")
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[: records + 1]))


@pytest.mark.parametrize(
    "spoil", ["crc", "sha256", "cut", "program", "future", "other state", "no json"]
)
def test_a_snapshot_that_cannot_be_believed_is_passed_over(tmp_path: Path, spoil: str) -> None:
    """Of another journal or program, torn, or ahead of the journal: everything is folded anew."""
    states = written(tmp_path)
    marked = states[9].model_copy(update={"site_message": "wrong"})
    save_snapshot(tmp_path, marked, crc_of(tmp_path, 9) ^ (spoil == "crc"))
    path = tmp_path / "snapshot.json"
    content = path.read_bytes()
    match spoil:
        case "sha256":
            path.write_bytes(content.replace(b"wrong", b"wrung"))
        case "cut":
            path.write_bytes(content[:-40])
        case "program":
            path.write_bytes(content.replace(program().encode(), b"0" * 64))
        case "future":
            save_snapshot(tmp_path, marked.model_copy(update={"seq": 99}), crc_of(tmp_path, 9))
        case "other state":
            save_snapshot(
                tmp_path, states[3].model_copy(update={"seq": 9, "site_message": "wrong"}), 0
            )
        case "no json":
            path.write_bytes(b"\xff\x00")
        case _:
            assert spoil == "crc"
    assert opened(tmp_path) == states[-1]


def test_damage_before_the_snapshot_is_refused_all_the_same(tmp_path: Path) -> None:
    """Every line is checked at every start, whether or not it is folded."""
    states = written(tmp_path, segment_bytes_max=SMALL_SEGMENT)
    save_snapshot(tmp_path, states[-1], crc_of(tmp_path, len(states) - 1))
    first = min(tmp_path.glob("journal-*.jsonl"))
    content = bytearray(first.read_bytes())
    content[-20] ^= 1
    first.write_bytes(content)
    with pytest.raises(JournalDamaged):
        opened(tmp_path)


def test_a_snapshot_that_the_disk_refuses_is_let_go(tmp_path: Path) -> None:
    """It is a cache: the journal goes on, and the next start folds everything."""
    events = [story()[0], *(note(number) for number in range(SNAPSHOT_EVENTS))]
    (tmp_path / "snapshot.json").mkdir()

    async def live() -> WorkflowState:
        journal, state = FileJournal.open(tmp_path, now=NOW, sync=no_sync)
        for event in events:
            state = evolve(state, event)
        await journal.append(events)
        journal.snapshot(state)
        await journal.append([note(0)])
        await journal.close()
        return evolve(state, note(0))

    assert asyncio.run(live()) == opened(tmp_path)


def test_a_snapshot_is_taken_now_and_then(tmp_path: Path) -> None:
    """Of the last record only, and not again before many more have come."""

    async def live() -> None:
        journal, state = FileJournal.open(tmp_path, now=NOW, sync=no_sync)
        for event in (story()[0], *(note(number) for number in range(SNAPSHOT_EVENTS))):
            state = evolve(state, event)
        behind = state.model_copy(update={"seq": state.seq - 1})
        await journal.append([story()[0], *(note(number) for number in range(SNAPSHOT_EVENTS))])
        journal.snapshot(behind)
        assert load_snapshot(tmp_path) is None
        journal.snapshot(state)
        kept = load_snapshot(tmp_path)
        assert kept is not None
        assert kept.state == state
        await journal.append([note(0)])
        journal.snapshot(evolve(state, note(0)))
        assert load_snapshot(tmp_path) == kept
        await journal.close()

    asyncio.run(live())
    assert opened(tmp_path) == replay(tmp_path)
