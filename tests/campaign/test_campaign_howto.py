"""docs/how-to/change-your-mind.md, command by command, on a running campaign."""

import asyncio
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ase.build import bulk, fcc111
from ase.io import write
from kit.daemons import Campaign, assert_replays
from kit.pages import HOW_TO, Reader, blocks_of, put_into
from kit.waiting import DAEMON_PATIENCE_S

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.control.address import socket_path
from mlip_autopipec.control.api import Add
from mlip_autopipec.control.client import ControlClient
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.digest import TrainingDigest
from mlip_autopipec.data_models.task import Task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = "change-your-mind.md"
#: What the soak's site file says, and what this campaign's does: the page's element, and a verdict
#: after a quiet cycle.
CHANGES = {
    "elements: [Cu]": "elements: [Al]",
    "3.61": "4.05",
    "[300, 900]": "[300]",
    "{quiet_cycles: 1,": "{needs: null, quiet_cycles: 1, force_change_max: 1,",
}
#: Behind the soak's physics: walks and labels wait while a file is there, so that the campaign does
#: not run ahead of the page.
WAITING = """

import time
from pathlib import Path


def _waits(run, held):
    def waiting(job):
        while held.exists():
            time.sleep(0.05)
        return run(job)

    return waiting


explore = _waits(explore, Path(__file__).with_name("hold-walks"))
calculate = _waits(calculate, Path(__file__).with_name("hold-labels"))
"""
#: The edit that the first reload takes: "hotter, and a larger budget".
EDIT = {"[300]": "[300, 600]", "cycles_max: 4": "cycles_max: 6"}
T = TypeVar("T")
E = TypeVar("E", bound=ev.Event)


@dataclass
class Running:
    """A campaign and its daemon."""

    campaign: Campaign
    daemon: "subprocess.Popen[str]"

    def until(self, look: Callable[[list[ev.Event]], T | None]) -> T:
        """The first thing that is seen in the journal."""
        ends_s = time.monotonic() + DAEMON_PATIENCE_S
        while (found := look(self.campaign.events())) is None:
            assert self.daemon.poll() is None, self.campaign.output()[-3000:]
            assert time.monotonic() < ends_s, self.campaign.output()[-3000:]
            time.sleep(0.1)
        return found

    def last(self, kind: type[E]) -> E:
        """The last event of this kind, which is there."""
        return [event for event in self.campaign.events() if isinstance(event, kind)][-1]

    def number(self, kind: type[ev.Event]) -> int:
        """How many events of this kind there are."""
        return sum(isinstance(event, kind) for event in self.campaign.events())

    def do(self, deed: Callable[[ControlClient], Coroutine[Any, Any, T]]) -> T:
        """What the page has in a sentence alone."""
        return asyncio.run(
            deed(ControlClient(socket_path(self.campaign.folder), timeout_s=DAEMON_PATIENCE_S))
        )


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """A campaign of quick physics whose daemon is at work."""
    campaign = Campaign.quick(folder, "site.yaml")
    changed(campaign.config, CHANGES)
    with (folder / "quick_physics.py").open("a") as physics:
        physics.write(WAITING)
    daemon = campaign.start()
    try:
        yield Running(campaign, daemon)
        daemon.terminate()
        daemon.wait(timeout=DAEMON_PATIENCE_S)
    finally:
        daemon.kill()
        daemon.wait()
        for held in folder.glob("hold-*"):  # no job outlives a test that failed
            held.unlink()


def changed(path: Path, edits: dict[str, str]) -> None:
    """The site file, edited; each old text is there."""
    text = path.read_text()
    for old, new in edits.items():
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def structures(folder: Path) -> None:
    """The files that the page names."""
    write(folder / "surface.cif", fcc111("Al", (1, 1, 4), a=4.05, vacuum=6.0, periodic=True))
    frames = [bulk("Al", "fcc", a=4.05 + 0.05 * number, cubic=True) for number in range(3)]
    for number, frame in enumerate(frames):
        frame.rattle(0.1, seed=number)
    write(folder / "steps.extxyz", frames[:2])
    write(folder / "melt.extxyz", frames[2])


def planned(events: list[ev.Event], phase: Phase) -> list[Task]:
    """The tasks of the last round of a phase."""
    rounds = [each for each in events if isinstance(each, ev.PhaseStarted) and each.phase is phase]
    return list(rounds[-1].tasks) if rounds else []


def test_every_command_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    """In the page's order, on one campaign from its bootstrap on; each leaves its event."""
    structures(tmp_path)
    walks, labels = tmp_path / "hold-walks", tmp_path / "hold-labels"
    walks.touch()
    page = Reader.of(PAGE, tmp_path)
    with running(tmp_path) as campaign:
        campaign.until(lambda events: planned(events, Phase.EXPLORATION) or None)
        settings(campaign, page)
        bring(campaign, page)
        campaign.do(lambda client: client.pause("something is to be done again"))
        walks.unlink()
        go_back(campaign, page)
        labels.touch()
        campaign.do(lambda client: client.resume("it is done again"))
        campaign.until(lambda events: labels_after_way_back(events) or None)
        skip(campaign, page)
        labels.unlink()
        assert campaign.until(lambda events: verdicts(events, 1)).verdict is Verdict.CONVERGED
        ask_for_more(campaign, page)
    assert page.commands == []
    assert_replays(campaign.campaign)
    assert_added(campaign.campaign.events())


def settings(campaign: Running, page: Reader) -> None:
    """The site file is taken, and two keys by hand."""
    changed(campaign.campaign.config, EDIT)
    lines = page.run("reload --dry-run").splitlines()
    keys = ("convergence.cycles_max: 4 → 6", "exploration.walkers[0].temperatures_kelvin")
    assert [any(line.startswith(key) for line in lines) for key in keys] == [True, True], lines
    assert campaign.number(ev.SettingsTaken) == 1  # that of the start
    assert page.run("reload").splitlines()[: len(lines)] == lines
    taken = campaign.last(ev.SettingsTaken)
    assert taken.reason == "hotter, and a larger budget"
    for key, value in (("convergence.cycles_max", 40), ("site.resources.training.walltime", "4 h")):
        page.run(f"set {key}")
        assert campaign.last(ev.SettingsTaken).overrides[key] == value
    for command in ("status", "explain"):
        shown = campaign.campaign.ctl(command).stdout
        assert "convergence.cycles_max" in shown, shown
        assert "by hand" in shown


def bring(campaign: Running, page: Reader) -> None:
    """Structures to label and to walk from; the files may go, and come again under another name."""
    page.run("add surface.cif steps.extxyz")
    added = campaign.last(ev.StructuresAdded)
    assert (len(added.structures), len(added.walks)) == (3, 0)
    page.run("add melt.extxyz --walk")
    added = campaign.last(ev.StructuresAdded)
    assert (len(added.structures), len(added.walks)) == (0, 1)
    assert len(list((campaign.campaign.folder / "added").glob("*.extxyz"))) == 4
    (page.folder / "steps.extxyz").rename(page.folder / "again.extxyz")
    again = Add(files=(str(page.folder / "again.extxyz"),), reason="once more")
    assert not campaign.do(lambda client: client.add(again)).changed
    for name in ("surface.cif", "again.extxyz", "melt.extxyz"):
        (page.folder / name).unlink()


def fits_ended(events: list[ev.Event]) -> list[int]:
    """Cycles whose potential is there."""
    ended = (event for event in events if isinstance(event, ev.PhaseEnded))
    return [event.cycle for event in ended if isinstance(event.digest, TrainingDigest)]


def go_back(campaign: Running, page: Reader) -> None:
    """Nothing is at work, and Training of a cycle is done again."""
    campaign.until(lambda _: not campaign.do(ControlClient.status).active_tasks_count or None)
    names = {"--cycle 3": f"--cycle {fits_ended(campaign.campaign.events())[-1]}"}
    said = page.run("restart --cycle 3 --from training --dry-run", names)
    assert [line.partition(":")[0] for line in said.splitlines()[:3]] == [
        "done again",
        "kept",
        "set aside",
    ]
    assert "core-hours" in said
    assert campaign.number(ev.PhaseRedone) == 0
    assert page.run("restart --cycle 3 --from training", names).startswith(said)
    redone = campaign.last(ev.PhaseRedone)
    assert (redone.phase, redone.reason) == (Phase.TRAINING, "with another trainer")


def labels_after_way_back(events: list[ev.Event]) -> list[Task]:
    """What waits to be labelled, once the campaign has gone on from where it went back to."""
    back = next(index for index, event in enumerate(events) if isinstance(event, ev.PhaseRedone))
    return planned(events[back:], Phase.CALCULATION)


def skip(campaign: Running, page: Reader) -> None:
    """One label is not waited for any more; and brought back."""
    task = labels_after_way_back(campaign.campaign.events())[-1].id
    page.run("skip", {"c002.calculation.0007-d39461": task})
    cancelled = campaign.last(ev.TasksCancelled)
    assert (cancelled.tasks, cancelled.reason) == ((task,), "it will never converge")
    campaign.until(lambda events: ev.TaskQuarantined in map(type, events) or None)
    assert campaign.do(lambda client: client.retry(task, "it may after all")).changed
    assert campaign.last(ev.TaskRetried).task == task


def verdicts(events: list[ev.Event], number: int) -> ev.VerdictReached | None:
    """The last, once there are so many."""
    found = [event for event in events if isinstance(event, ev.VerdictReached)]
    return found[-1] if len(found) == number else None


def ask_for_more(campaign: Running, page: Reader) -> None:
    """By the site file, and once more without a change of it."""
    (block,) = blocks_of(HOW_TO / PAGE)
    put_into(campaign.campaign.config, block)
    datasets = campaign.campaign.datasets()
    assert campaign.do(lambda client: client.reload("more")).changed
    assert campaign.number(ev.CampaignReopened) == 1
    assert campaign.last(ev.SettingsTaken).quiet_from is not None
    campaign.until(lambda events: verdicts(events, 2))
    assert datasets.items() < campaign.campaign.datasets().items()
    walked = [
        each.parameters.walker.temperature_kelvin
        for each in planned(campaign.campaign.events(), Phase.EXPLORATION)
        if isinstance(each.parameters, ExploreParameters)
    ]
    assert {300, 600, 900, 1200} == set(walked)
    page.run("reopen")
    again = campaign.last(ev.CampaignReopened)
    assert again.reason == "once more, with other seeds"
    campaign.until(lambda events: started_since(events, again) or None)


def started_since(events: list[ev.Event], begin: ev.Event) -> list[ev.Event]:
    """Phases that have begun after this event."""
    return [each for each in events[events.index(begin) :] if isinstance(each, ev.PhaseStarted)]


def assert_added(events: list[ev.Event]) -> None:
    """What people have brought was labelled, and walked from."""
    tasks = [task for event in events if isinstance(event, ev.PhaseStarted) for task in event.tasks]
    labelled = {
        each.parameters.origin for each in tasks if isinstance(each.parameters, CalculateParameters)
    }
    frames = ("surface.cif frame 1", "steps.extxyz frame 1", "steps.extxyz frame 2")
    assert {f"added: {frame}" for frame in frames} <= labelled
    walked = [
        each.parameters.walker for each in tasks if isinstance(each.parameters, ExploreParameters)
    ]
    assert any("melt" in str(each.file) for each in walked)
