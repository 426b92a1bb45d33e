"""People change their minds while their daemon is killed: every answered deed is there, none twice.

They are a process of their own, which speaks to whatever daemon lives. What they ask for bears a
number in its reason; a ledger says which were asked for, and which were answered. A deed whose
answer was lost may be there or not.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kit.daemons import Campaign
from kit.simulated import Begin, Judge

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.control.address import socket_path
from mlip_autopipec.control.api import Add, Cancel, Redo
from mlip_autopipec.control.client import ControlClient
from mlip_autopipec.daemon.restore import restore
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.errors import AutopipecError
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.reopen import reopen
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.physics import SHIFTED

_LEDGER, _SITE_FILE = "deeds.txt", "soak.yaml"
_REST_S = (0.02, 0.4)
_KELVIN = ("[300, 900]", "[300, 900, 1200]", "[300, 600, 900]")
_ENOUGH = 40
_DEEDS = (
    ev.SettingsTaken,
    ev.StructuresAdded,
    ev.PhaseRedone,
    ev.CampaignReopened,
    ev.TasksCancelled,
    ev.TaskRetried,
    ev.Paused,
    ev.Resumed,
)
#: Two frames of a crystal, one of them rattled, as a person brings them.
_FRAME = """4
Lattice="{a} 0 0 0 {a} 0 0 0 {a}" Properties=species:S:1:pos:R:3 pbc="T T T"
Cu 0 0 0
Cu {h} {h} 0
Cu {h} 0 {h}
Cu 0 {h} {h}
"""


@contextmanager
def people(campaign: Campaign, seed: int) -> Iterator[None]:
    """Somebody who changes his mind, until the end of the block."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            asyncio.run(_People(campaign, seed).live())
        os._exit(0)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class _People:
    """One process, one campaign."""

    def __init__(self, campaign: Campaign, seed: int) -> None:
        self._campaign = campaign
        self._chance = random.Random(seed)  # noqa: S311 - moments, not secrets
        self._client = ControlClient(socket_path(campaign.folder), timeout_s=60.0)
        self._number = 0

    async def live(self) -> None:
        """So many deeds, then pauses alone are seen to.

        A refusal is an answer; if no daemon answers nobody knows.
        """
        while True:
            await asyncio.sleep(self._chance.uniform(*_REST_S))
            if not socket_path(self._campaign.folder).exists():
                continue
            if self._number < _ENOUGH:
                await self._do_something()
            with contextlib.suppress(AutopipecError):  # a daemon that was killed left it paused
                await self._look_after_the_data_set()

    async def _do_something(self) -> None:
        self._number += 1
        what = self._chance.choice(
            (self._reload, self._set, self._add, self._restart, self._skip, self._retry)
        )
        reason = f"deed {self._number} of {os.getpid()}"
        self._note("asked", reason)
        try:
            changed = await what(reason)
        except AutopipecError as error:
            self._note("unknown", f"{reason}: {error}")
        else:
            self._note("answered" if changed else "nothing", reason)

    def _note(self, word: str, message: str) -> None:
        with (self._campaign.config.parent / _LEDGER).open("a", encoding="utf-8") as file:
            file.write(f"{word} {message}\n".replace("\n", " ").strip() + "\n")

    async def _reload(self, reason: str) -> bool:
        rewrite(self._campaign.config, self._chance.choice(_KELVIN), self._chance.choice((4, 5)))
        return (await self._client.reload(reason)).changed

    async def _set(self, reason: str) -> bool:
        return (
            await self._client.set_value(
                "convergence.cycles_max", self._chance.choice("345"), reason
            )
        ).changed

    async def _add(self, reason: str) -> bool:
        path = self._campaign.config.parent / f"mine-{self._number}.extxyz"
        a = 3.5 + 0.02 * self._chance.randrange(6)
        path.write_text(_FRAME.format(a=a, h=a / 2))
        purpose = self._chance.choice(("label", "label", "walk"))
        return (
            await self._client.add(Add(files=(str(path),), purpose=purpose, reason=reason))
        ).changed

    async def _restart(self, reason: str) -> bool:
        """When nothing is at work, or nearly."""
        status = await self._client.status()
        phase = self._chance.choice([Phase.CALCULATION, Phase.TRAINING])
        await self._client.pause(f"{reason}, before it")
        try:
            for _ in range(20):
                if not (await self._client.status()).active_tasks_count:
                    break
                await asyncio.sleep(0.1)
            asked = Redo(
                cycle=max(status.cycle - self._chance.randrange(2), 0), phase=phase, reason=reason
            )
            return (await self._client.restart(asked)).changed
        finally:
            await self._client.resume(f"{reason}, after it")

    async def _skip(self, reason: str) -> bool:
        names = [task for task in self._tasks() if ".calculation." in task]
        if not names:
            return False
        return (await self._client.cancel(Cancel(tasks=(names[-1],), reason=reason))).changed

    async def _retry(self, reason: str) -> bool:
        names = [event.task for event in self._events() if isinstance(event, ev.TaskQuarantined)]
        return (
            bool(names) and (await self._client.retry(self._chance.choice(names), reason)).changed
        )

    async def _look_after_the_data_set(self) -> None:
        """Have its zeros fitted, once the oracle has refused it."""
        said = self._campaign.config.read_text(encoding="utf-8")
        pause = next(
            (
                each
                for each in reversed(list(self._events()))
                if isinstance(each, ev.Paused | ev.Resumed)
            ),
            None,
        )
        if not isinstance(pause, ev.Paused):
            return
        if "the data set disagrees" in pause.reason:
            if "offsets" not in said:
                _replaced(
                    self._campaign.config,
                    said.replace(f"[{SHIFTED}]", f"[{SHIFTED}], offsets: fit"),
                )
            await self._client.reload("its zeros are fitted")
        await self._client.resume("mended")

    def _events(self) -> Iterable[ev.Event]:
        return [record.event for record in read(self._campaign.folder / "journal")]

    def _tasks(self) -> list[str]:
        return [
            task.id
            for event in self._events()
            if isinstance(event, ev.PhaseStarted)
            for task in event.tasks
        ]


def rewrite(config: Path, kelvin: str, cycles_max: int) -> None:
    """The site file with other temperatures and another budget.

    Whoever reads it sees the old one or the new.
    """
    lines = config.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.strip().startswith("temperatures_kelvin"):
            lines[number] = f"{line.partition(':')[0]}: {kelvin}"
        elif line.startswith("convergence"):
            lines[number] = f"convergence: {{quiet_cycles: 1, cycles_max: {cycles_max}}}"
    _replaced(config, "\n".join(lines) + "\n")


def _replaced(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def give_data_set(campaign: Campaign) -> None:
    """Let the campaign begin with labels of a person's, whose zeros are not the oracle's."""
    from ase.build import bulk  # noqa: PLC0415 - of the campaigns that begin so
    from ase.calculators.emt import EMT  # noqa: PLC0415
    from ase.io import write  # noqa: PLC0415

    frames = []
    for number in range(6):
        frame = bulk("Cu", "fcc", a=3.55 + 0.02 * number, cubic=True)
        frame.rattle(0.03, seed=number)
        frame.calc = EMT()
        frame.get_potential_energy(), frame.get_forces(), frame.get_stress()
        frames.append(frame)
    write(campaign.config.parent / SHIFTED, frames, format="extxyz")
    said = campaign.config.read_text(encoding="utf-8")
    _replaced(
        campaign.config,
        said.replace("\ngeneration:", f"\ndataset: {{files: [{SHIFTED}]}}\n\ngeneration:", 1),
    )


def reopen_perhaps(campaign: Campaign, chance: random.Random) -> bool:
    """Go on from the verdict; killed amid it, now and then. Whether it has been asked for."""
    if chance.random() < 0.5:
        return False
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            asyncio.run(reopen(load_config(campaign.config), "once more"))
        os._exit(0)
    with contextlib.suppress(ProcessLookupError):
        if chance.random() < 0.5:
            asyncio.run(asyncio.sleep(chance.uniform(0.0, 0.3)))
            os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def complaints(campaign: Campaign, begin: Begin) -> Iterator[str]:
    """What is wrong with a campaign that has come to its end."""
    events = campaign.events()
    judge = Judge(
        _NoJobs(), SimulatedClock(datetime(2030, 1, 1, tzinfo=UTC)), steady=False, begin=begin
    )
    for event in events:
        judge.see(event)
    yield from judge.violations
    yield from _of_ledger(campaign, events)
    if broken := replay(campaign.folder / "journal").check():
        yield f"the state contradicts itself: {broken}"
    yield from _of_rebuild(campaign)


def _of_ledger(campaign: Campaign, events: Iterable[ev.Event]) -> Iterator[str]:
    """Each deed that was answered is in the journal once, and none is twice."""
    reasons = [event.reason for event in events if isinstance(event, _DEEDS)]
    ledger = campaign.config.parent / _LEDGER
    for line in ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else ():
        word, _, reason = line.partition(" ")
        number = reasons.count(reason)
        if word == "answered" and number != 1:
            yield f"{reason} was answered, and is {number} times in the journal"
        elif word in {"asked", "nothing"} and number > (word == "asked"):
            yield f"{reason} is {number} times in the journal ({word})"


def _of_rebuild(campaign: Campaign) -> Iterator[str]:
    """A journal that is gone is made again with all that people did."""
    live, journal = replay(campaign.folder / "journal"), campaign.folder / "journal"
    journal.rename(campaign.folder / "journal.before")
    try:
        asyncio.run(restore(load_config(campaign.config)))
    except AutopipecError as error:
        yield f"it cannot be rebuilt: {error}"
        return
    state = replay(journal)
    for name in ("datasets", "potential", "verdict", "settings", "overrides", "added"):
        if getattr(state, name) != getattr(live, name):
            yield (
                f"rebuilt, it has another {name}: {getattr(state, name)!r}, and it had"
                f" {getattr(live, name)!r}"
            )


class _NoJobs:
    """What a judge of journals alone is told of the cluster: nothing that could be wrong."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.exclusions: dict[str, frozenset[str]] = {}
        self.handed_over_s: dict[str, float] = {}
        self.mistyped = False

    def is_over(self, job_name: str, index: int) -> bool:
        """Who claims a task twice is found by its claims."""
        del job_name, index
        return True

    def ends_of(self, job_name: str, index: int) -> frozenset[Reason]:
        """Nobody knows."""
        del job_name, index
        return frozenset()

    def nodes_of(self, job_name: str, index: int) -> frozenset[str]:
        """Nobody knows."""
        del job_name, index
        return frozenset()
