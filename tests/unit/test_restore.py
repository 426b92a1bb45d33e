"""A journal made again from what the site holds: whole or not at all, wherever it is cut off."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlip_autopipec.config.loader import LoadedConfig, load_config
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.ids import batch_uid
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.errors import JournalDamaged, OperatorError
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.mend import find_damage
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.journal.snapshot import save_state, saved_seq
from mlip_autopipec.orchestration.intents import intent_file, intent_path
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.rebuild import Relics, rebuild
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.restore import restore

SMALL = Path(__file__).parents[1] / "campaign" / "small.yaml"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Place:
    """A campaign whose first batch has been submitted, with its journal in three segments and its site."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        site_file = folder / "site.yaml"
        site_file.write_text(SMALL.read_text(encoding="utf-8"), encoding="utf-8")
        self.loaded: LoadedConfig = load_config(site_file)
        config = self.loaded.config
        name = config.campaign.name
        self.campaign, self.folder = f"{name}-0a1b2c", config.campaign.folder
        self.root, self.journal = Path(config.site.root), config.campaign.folder / "journal"
        created = ev.CampaignCreated(
            at=NOW, campaign=self.campaign, name=name, version="0", config_sha256=self.loaded.sha256
        )
        walk = rebuild(
            WorkflowState(), Relics(self.campaign, {}, {}), phase_runners(config), Policy.from_config(config), created
        )
        events = list(walk)
        (planned,) = [event for event in events if isinstance(event, ev.PhaseStarted)]
        self.tasks = tuple(task.id for task in planned.tasks)
        self.uid = batch_uid(self.campaign, 0, planned.phase, 0)
        events.append(ev.SubmissionBegun(at=NOW, uid=self.uid, tasks=self.tasks))
        events += [ev.DaemonStopped(at=NOW, why=str(number)) for number in range(6)]
        asyncio.run(self._write(events))
        self.intend(*self.tasks)
        save_state(self.folder / "state.json", replay(self.journal).model_copy(update={"seq": 99}))

    async def _write(self, events: list[ev.Event]) -> None:
        journal, _ = FileJournal.open(self.journal, now=NOW, segment_bytes_max=2000)
        for event in events:
            await journal.append([event])
        await journal.close()

    def intend(self, *tasks: str) -> None:
        """What the site says was submitted."""
        path = self.root / intent_path(self.uid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(intent_file(Batch(uid=self.uid, tasks=tasks, live=frozenset()), self.campaign))

    def damage(self, record: int = 1) -> None:
        """One bit of a record is another one."""
        first = min(self.journal.glob("journal-*.jsonl"))
        lines = first.read_bytes().splitlines(keepends=True)
        lines[record] = lines[record].replace(b'"', b"'", 1)
        first.write_bytes(b"".join(lines))

    def files(self) -> dict[str, bytes]:
        """Everything in the campaign's folder but the lock and what an attempt at mending leaves aside."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name != "lock" and "journal.mending" not in path.parts
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "place")
    place.damage()
    return place


def test_a_damaged_journal_is_made_again_and_the_old_one_is_kept(place: Place) -> None:
    """It has what the site tells, the saved state is of its last event, and the old one is as it was."""
    before = {name.removeprefix("journal/"): content for name, content in place.files().items() if "journal/" in name}
    told = asyncio.run(restore(place.loaded))
    kept = place.folder / told.kept_as
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    events = [record.event for record in read(place.journal)]
    assert [event.uid for event in events if isinstance(event, ev.SubmissionBegun)] == [place.uid]
    assert events[-1] == told
    assert saved_seq(place.folder / "state.json") == len(events) == replay(place.journal).seq
    with pytest.raises(OperatorError, match="is in order"):
        asyncio.run(restore(place.loaded))


def test_what_cannot_be_made_again_is_left_as_it_was(place: Place) -> None:
    """The site speaks of a task that this site file does not ask for: refused, and not a byte is cut."""
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
    with pytest.raises(OperatorError, match=f"is of .*0a1b2c, and site.root holds {place.campaign}"):
        asyncio.run(restore(place.loaded))
    assert place.files() == before


def killed_at(place: Place, step: int) -> bool:
    """Mend in a process that is killed at its so many-th change of a file; whether it came to its end."""
    child = os.fork()
    if child == 0:
        left = iter(range(step))

        def count(event: str, arguments: tuple[object, ...]) -> None:
            writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
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


def test_killed_anywhere_it_is_as_before_or_done(tmp_path: Path) -> None:
    """What the next daemon opens is the damaged journal as it was, or the mended one with its saved state."""
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
