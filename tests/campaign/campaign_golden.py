"""Write the golden journals of this version into tests/data/journal: see the README there."""

import asyncio
import itertools
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import get_args

from kit.daemons import Campaign
from kit.golden import GOLDEN, facts
from kit.random_walk import eventful_journal

from mlip_autopipec.control.address import socket_path
from mlip_autopipec.daemon.service import VERDICT_EXIT_CODES
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.replay import replay
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.process import VERSION

#: So that each journal has several segments.
_SEGMENT_BYTES_MAX = 32 * 2**10
#: What no walk tells, or none so short: three come of the campaign, two are added to the walk.
_NOT_WALKED = {
    ev.DaemonStopped,
    ev.VerdictReached,
    ev.CampaignReopened,
    ev.JournalRebuilt,
    ev.JournalRepaired,
}
_WALK_EVENTS = 300


def main() -> None:
    """Both, in place of those that are there."""
    folder = GOLDEN / VERSION
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as location:
        _write(folder / "campaign", _campaign(Path(location)))
    _write(folder / "walk", walk := _walk())
    _tear(folder / "walk", walk[-1].at + timedelta(minutes=1))
    for journal in folder.iterdir():
        (journal / "expected.json").write_text(
            json.dumps(facts(replay(journal)), indent=2) + "\n", encoding="utf-8"
        )


def _campaign(folder: Path) -> list[ev.Event]:
    """A few cycles of small.yaml with real codes, paused and resumed, stopped and gone on with."""
    campaign = Campaign.small(folder)
    whole = campaign.config.read_text(encoding="utf-8")
    campaign.config.write_text(whole.replace("cycles_max: 6", "cycles_max: 1"), encoding="utf-8")
    daemon = campaign.start()
    while not socket_path(campaign.folder).exists():
        if daemon.poll() is not None:
            raise SystemExit(campaign.output())
        time.sleep(0.1)
    for message in (
        ("pause", "--reason", "to look at the labels"),
        ("resume",),
        ("stop", "--reason", "a new kernel"),
    ):
        done = campaign.ctl(*message)
        if done.returncode:
            raise SystemExit(done.stderr)
    daemon.wait()
    if campaign.start("--exit-on-verdict").wait() != VERDICT_EXIT_CODES[Verdict.BUDGET_EXHAUSTED]:
        raise SystemExit(campaign.output())
    done = campaign.ctl("reopen", "--reason", "one more cycle")
    if done.returncode:
        raise SystemExit(done.stderr)
    return [_elsewhere(event) for event in campaign.events()]


def _elsewhere(event: ev.Event) -> ev.Event:
    """The same on a host whose name says nothing."""
    said, named = event.model_dump_json(), json.dumps(socket.gethostname())
    return type(event).model_validate_json(said.replace(named, '"login1"'))


def _walk() -> Sequence[ev.Event]:
    """The first random walk on which everything happens that may."""
    wanted = {*get_args(ev.Event)} - _NOT_WALKED
    for seed in itertools.count():
        events = eventful_journal(seed, _WALK_EVENTS)
        if wanted <= {type(event) for event in events} and _has_late_label(events):
            at = events[-1].at + timedelta(minutes=1)
            return (
                *events,
                ev.JournalRebuilt(
                    at=at, events=len(events), kept_as="journal.damaged-20300101T000000"
                ),
            )
    raise AssertionError("counting has no end")


def _has_late_label(events: Sequence[ev.Event]) -> bool:
    """Whether one came after its round had closed."""
    state = WorkflowState()
    for event in events:
        if isinstance(event, ev.TaskEnded) and event.outcome.status == "done":
            late = {record.task.id for record in state.late_tasks}
            if event.outcome.task in late:
                return True
        state = evolve(state, event)
    return False


def _write(folder: Path, events: Sequence[ev.Event]) -> None:
    async def write() -> None:
        journal, _ = FileJournal.open(
            folder, now=events[0].at, segment_bytes_max=_SEGMENT_BYTES_MAX
        )
        for event in events:
            await journal.append([event])
        await journal.close()

    folder.parent.mkdir(parents=True, exist_ok=True)
    asyncio.run(write())


def _tear(folder: Path, now: datetime) -> None:
    """Leave half a record at the end, as a killed daemon does, and let the next one repair it."""
    with max(folder.glob("journal-*.jsonl")).open("ab") as file:
        file.write(b'0123abcd {"seq":')
    journal, _ = FileJournal.open(folder, now=now)
    asyncio.run(journal.close())


if __name__ == "__main__":
    main()
