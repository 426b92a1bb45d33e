"""Journals of every released version, read and gone on with by this one.

README.md beside them says how they are made.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import get_args

import pytest
from kit.golden import GOLDEN, facts
from kit.journals import NOW, no_sync, note, segments

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.replay import fold, read, replay, verify
from mlip_autopipec.process import VERSION
from mlip_autopipec.telling.describe import describe

JOURNALS = sorted(path.parent for path in GOLDEN.glob("*/*/expected.json"))
golden = pytest.mark.parametrize(
    "folder", JOURNALS, ids=lambda path: f"{path.parent.name}-{path.name}"
)


@golden
def test_it_ends_where_it_ended_when_it_was_written(folder: Path) -> None:
    """Every line is whole, and the campaign has the same labels, potential and verdict."""
    assert facts(replay(folder)) == json.loads(
        (folder / "expected.json").read_text(encoding="utf-8")
    )
    assert verify(folder).torn_bytes == 0


@golden
def test_each_of_its_events_has_its_words(folder: Path) -> None:
    """As `autopipecctl events` tells them, with the state after each."""
    state = WorkflowState()
    for record in read(folder):
        state = fold(state, [record])
        line = describe(record.event, state)
        assert line
        assert "\n" not in line


@golden
def test_it_is_gone_on_with(folder: Path, tmp_path: Path) -> None:
    """What is appended stands behind what was there, of which not a byte has changed."""
    copy = shutil.copytree(folder, tmp_path / "journal")

    async def live() -> WorkflowState:
        journal, state = FileJournal.open(copy, now=NOW, sync=no_sync)
        await journal.append([note(1)])
        await journal.close()
        return state

    before = asyncio.run(live())
    assert replay(copy) == fold(before, read(copy, before.seq))
    assert next(read(copy, before.seq)).event == note(1)
    for old, new in zip(segments(folder), segments(copy), strict=False):
        assert new.read_bytes().startswith(old.read_bytes())


def test_every_version_and_every_kind_of_event_has_its_place_in_one() -> None:
    """Whoever raises the version or adds a kind of event makes this version's journals again.

    See README.md.
    """
    assert VERSION in {folder.parent.name for folder in JOURNALS}
    found = {type(record.event) for folder in JOURNALS for record in read(folder)}
    assert {kind.__name__ for kind in get_args(ev.Event)} == {kind.__name__ for kind in found}
