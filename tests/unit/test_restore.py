"""A journal made again from what the site holds: whole or not at all, wherever it is cut off."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from kit.restored import NOW, Place
from pydantic import JsonValue

from mlip_autopipec.config.changes import settings_of
from mlip_autopipec.daemon.restore import restore
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.errors import JournalDamaged, OperatorError
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.mend import find_damage
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.journal.snapshot import saved_seq
from mlip_autopipec.orchestration.deeds import contents_of, deed_files


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "place")
    place.damage()
    return place


def test_a_damaged_journal_is_made_again_and_the_old_one_is_kept(place: Place) -> None:
    """It has what the site tells, its last event's state is saved, and the old one is as it was."""
    before = {
        name.removeprefix("journal/"): content
        for name, content in place.files().items()
        if "journal/" in name
    }
    found = asyncio.run(restore(place.loaded))
    kept = place.folder / found.kept_as
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    events = [record.event for record in read(place.journal)]
    assert [event.job_name for event in events if isinstance(event, ev.SubmissionBegun)] == [
        place.job_name
    ]
    assert events[-1] == found
    assert saved_seq(place.folder / "state.json") == len(events) == replay(place.journal).seq
    with pytest.raises(OperatorError, match="is in order"):
        asyncio.run(restore(place.loaded))


def test_what_cannot_be_made_again_is_left_as_it_was(place: Place) -> None:
    """The site speaks of a task that this site file does not ask for: refused, no byte is cut."""
    place.intend("c000.generation.0007-ffffff")
    before = place.files()
    for _ in range(2):
        with pytest.raises(OperatorError, match="which this site file does not ask for"):
            asyncio.run(restore(place.loaded))
        assert place.files() == before
    place.intend(*place.tasks)
    assert asyncio.run(restore(place.loaded)).kept_as.startswith("journal.damaged-")


def test_a_journal_of_another_campaign_is_left_as_it_was(tmp_path: Path) -> None:
    """Damaged behind the event that says whose it is."""
    place = Place(tmp_path / "place")
    place.damage(record=2)
    place.campaign = f"{place.campaign[:-1]}d"
    place.intend(*place.tasks)
    before = place.files()
    with pytest.raises(
        OperatorError, match=f"is of .*0a1b2c, and site.root holds {place.campaign}"
    ):
        asyncio.run(restore(place.loaded))
    assert place.files() == before


def test_a_campaign_that_was_moved_is_where_it_is_found(place: Place) -> None:
    """Its settings on the site name the root of before; the next daemon would refuse to go on."""
    settings = settings_of(place.loaded.config)
    before = {
        **settings,
        "site": {**cast("dict[str, JsonValue]", settings["site"]), "root": "/elsewhere"},
    }
    taken = ev.SettingsTaken(
        at=NOW, by=ev.DAEMON, config_sha256=place.loaded.sha256, settings=before
    )
    for path, content in contents_of(deed_files(place.campaign, [(2, taken)]), 0).items():
        (place.root / path).parent.mkdir(parents=True)
        (place.root / path).write_bytes(content)
    asyncio.run(restore(place.loaded))
    (found,) = [
        record.event for record in read(place.journal) if isinstance(record.event, ev.SettingsTaken)
    ]
    assert found.settings == settings


def killed_at(place: Place, step: int) -> bool:
    """Mend in a process killed at its so many-th change of a file; whether it came to its end."""
    child = os.fork()
    if child == 0:
        left = iter(range(step))

        def count(event: str, arguments: tuple[object, ...]) -> None:
            writes = (
                event == "open"
                and isinstance(arguments[2], int)
                and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            )
            changes = event in {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
            if (writes or changes) and next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        asyncio.run(restore(place.loaded))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def cut_off_anywhere(tmp_path: Path) -> Iterator[Place]:
    """Campaigns with a damaged journal whose mending was killed, once at each of its steps."""
    for step in range(200):
        place = Place(tmp_path / str(step))
        place.damage()
        done = killed_at(place, step)
        yield place
        if done:
            return
    pytest.fail("it has no end")


@pytest.mark.slow
def test_killed_anywhere_it_is_as_before_or_done(tmp_path: Path) -> None:
    """The next daemon opens the damaged journal as it was, or the mended one.

    That has its saved state.
    """
    outcomes = []
    for place in cut_off_anywhere(tmp_path):
        try:
            journal, state = FileJournal.open(place.journal, now=NOW)
        except JournalDamaged:
            outcomes.append("as before")
            assert find_damage(place.journal) is not None
            assert saved_seq(place.folder / "state.json") == 99
            asyncio.run(restore(place.loaded))
        else:
            outcomes.append("done")
            asyncio.run(journal.close())
            assert saved_seq(place.folder / "state.json") == state.seq == replay(place.journal).seq
        events = [record.event for record in read(place.journal)]
        assert isinstance(events[-1], ev.JournalRebuilt)
        assert (place.folder / events[-1].kept_as).is_dir()
        assert not list(place.folder.glob("journal.mended*"))
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {"as before", "done"}
