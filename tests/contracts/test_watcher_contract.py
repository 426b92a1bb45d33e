"""What every ports.Watcher keeps.

This holds on a shared file system, by a process over SSH, and by plain listings over SSH.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from kit.far_sites import over_asyncssh, over_openssh
from kit.sshd import FarMachine
from kit.waiting import until

from mlip_autopipec.ports import Watcher
from mlip_autopipec.process import SystemClock
from mlip_autopipec.watch.local import LocalWatcher
from mlip_autopipec.watch.remote import Far, RemoteWatcher

#: Of waiting for something that comes soon, on a busy machine.
PATIENCE_S = 30.0
#: In which a new name must be told, on a busy machine; on a quiet one it takes half a second in the
#: mean.
SOON_S = 3.0


@dataclass(frozen=True)
class Watched:
    """A watcher, and the folder that it watches, as this machine sees it."""

    watcher: Watcher
    outbox: Path

    def place(self, name: str) -> None:
        """As the work half does: hidden at first, then renamed."""
        hidden = self.outbox / f".{name}.17"
        hidden.write_bytes(b"{}")
        hidden.rename(self.outbox / name)


def remote_watcher(far: Far, **settings: float) -> RemoteWatcher:
    """One with the clock of the world."""
    return RemoteWatcher(far, clock=SystemClock(), rng=random.Random(1), **settings)  # type: ignore[arg-type] # noqa: S311


@pytest.fixture(params=["local", "asyncssh", "openssh", "listings"])
async def watched(
    request: pytest.FixtureRequest, tmp_path: Path, quiet_machine: FarMachine, control_path: str
) -> AsyncIterator[Watched]:
    """Every implementation of ports.Watcher, on an outbox that is not there yet."""
    if request.param == "local":
        yield Watched(LocalWatcher(tmp_path / "outbox", rescan_s=2), tmp_path / "outbox")
        return
    openssh = request.param == "openssh"
    far = (
        over_openssh(quiet_machine, tmp_path, control_path)
        if openssh
        else over_asyncssh(quiet_machine, tmp_path)
    )
    watcher = remote_watcher(far, rescan_s=2, long_lived=request.param != "listings")
    yield Watched(watcher, tmp_path / "outbox")
    await far.close()


@asynccontextmanager
async def watching(watcher: Watcher) -> AsyncIterator[AsyncIterator[frozenset[str]]]:
    """The watcher's names, ended in good order."""
    async with aclosing(watcher.names()) as names:
        yield names


async def seen_until(
    names: AsyncIterator[frozenset[str]],
    enough: Callable[[set[str]], bool],
    within_s: float = PATIENCE_S,
) -> set[str]:
    """All that is told up to the set that makes it enough."""
    seen: set[str] = set()
    async with asyncio.timeout(within_s):
        while not enough(seen):
            seen |= await anext(names)
    return seen


async def test_what_lay_there_before_is_told(watched: Watched) -> None:
    """Without waiting for anything to change."""
    watched.outbox.mkdir()
    watched.place("a.0.json")
    watched.place("b.0.json")
    async with watching(watched.watcher) as names:
        assert await anext(names) == {"a.0.json", "b.0.json"}


async def test_a_new_name_is_told_soon(watched: Watched) -> None:
    """The folder is made if it is not there; each name comes within a second or so."""
    async with watching(watched.watcher) as names:
        assert await anext(names) == frozenset()
        watched.outbox.mkdir(exist_ok=True)  # plain listings make nothing
        for number in range(3):
            name = f"a.{number}.json"
            watched.place(name)
            await seen_until(names, lambda seen, name=name: name in seen, SOON_S)  # type: ignore[misc]


async def test_none_of_many_names_is_lost(watched: Watched) -> None:
    """In bursts, one by one, and while it is being listed; none that is hidden is ever told."""
    watched.outbox.mkdir()
    expected = {f"{batch:026}.{index}.json" for batch in range(20) for index in range(50)}

    async def place() -> None:
        for position, name in enumerate(sorted(expected)):
            watched.place(name)
            if position % 50 == 0:
                await asyncio.sleep(0.1)

    async with watching(watched.watcher) as names, asyncio.TaskGroup() as tasks:
        tasks.create_task(place())
        assert await seen_until(names, lambda seen: seen >= expected) == expected


async def test_names_are_told_again(watched: Watched) -> None:
    """Whoever could not use one the first time gets it again, by a whole listing every so often."""
    watched.outbox.mkdir()
    watched.place("a.0.json")
    async with watching(watched.watcher) as names:
        for _ in range(3):
            await seen_until(names, lambda seen: "a.0.json" in seen)


@pytest.fixture(params=["asyncssh", "openssh"])
async def far_watched(
    request: pytest.FixtureRequest, tmp_path: Path, machine: FarMachine, control_path: str
) -> AsyncIterator[Watched]:
    """Over SSH, to a machine that may be harmed. No rescan helps it."""
    openssh = request.param == "openssh"
    far = (
        over_openssh(machine, tmp_path, control_path)
        if openssh
        else over_asyncssh(machine, tmp_path)
    )
    (tmp_path / "outbox").mkdir()
    yield Watched(remote_watcher(far, rescan_s=3600), tmp_path / "outbox")
    await far.close()


async def test_a_machine_that_falls_over_and_comes_back(
    far_watched: Watched, machine: FarMachine
) -> None:
    """What came meanwhile is told, and what comes then; the trouble is told while it lasts."""
    watcher = cast("RemoteWatcher", far_watched.watcher)
    async with watching(watcher) as names:
        await anext(names)
        machine.stop()
        far_watched.place("meanwhile.json")
        waiting = asyncio.ensure_future(anext(names))
        await until(lambda: watcher.trouble)
        machine.start()
        assert "meanwhile.json" in await waiting
        far_watched.place("then.json")
        await seen_until(names, lambda seen: "then.json" in seen)
        await seen_until(names, lambda _: not watcher.trouble)


async def test_a_process_that_is_killed_is_started_again(far_watched: Watched) -> None:
    """As on a login node where long processes are not welcome; names are told even so."""
    async with watching(far_watched.watcher) as names:
        await anext(names)
        for number in range(3):
            for pid in listing_shells(far_watched.outbox.parent):
                os.kill(pid, 9)
            far_watched.place(f"{number}.json")
            await seen_until(names, lambda seen, number=number: f"{number}.json" in seen)  # type: ignore[misc]


async def test_a_folder_that_is_removed_is_made_again(far_watched: Watched) -> None:
    """A person has cleared up; the next outcome is told."""
    async with watching(far_watched.watcher) as names:
        await anext(names)
        far_watched.outbox.rmdir()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(seen_until(names, lambda seen: "a.json" in seen))
            await until(far_watched.outbox.exists)
            far_watched.place("a.json")
        assert "a.json" in waiting.result()


async def test_nothing_is_left_behind(far_watched: Watched, machine: FarMachine) -> None:
    """No process on the far side outlives the watcher, nor the connection."""
    root = far_watched.outbox.parent
    async with watching(far_watched.watcher) as names:
        await anext(names)
        assert listing_shells(root)
    await until(lambda: not listing_shells(root))
    async with watching(far_watched.watcher) as names:
        await anext(names)
        machine.stop()
        await until(lambda: not listing_shells(root))


async def test_a_glance_shows_what_is_new(quiet_machine: FarMachine, tmp_path: Path) -> None:
    """Long before the next listing.

    That would show it too, and would be what is left for a name of the same tick.
    """
    far = over_asyncssh(quiet_machine, tmp_path)
    watcher = remote_watcher(far, interval_s=30, glance_s=0.1, rescan_s=3600)
    watched = Watched(watcher, tmp_path / "outbox")
    async with watching(watcher) as names:
        assert await anext(names) == frozenset()
        async with asyncio.timeout(90):  # five listings would take 150 s
            for number in range(5):
                await asyncio.sleep(0.05)
                watched.place(f"{number}.json")
                assert await anext(names) == {f"{number}.json"}
    await far.close()


async def test_a_login_that_a_person_must_make_is_waited_for(
    quiet_machine: FarMachine, tmp_path: Path, control_path: str
) -> None:
    """The watcher says what it waits for, and goes on when the person has logged in."""
    far = over_openssh(quiet_machine, tmp_path, control_path, require_master=True)
    watcher = remote_watcher(far)
    async with watching(watcher) as names:
        waiting = asyncio.ensure_future(anext(names))
        await until(lambda: "Log in" in watcher.trouble)
        users = over_openssh(quiet_machine, tmp_path, control_path)
        await users.run(["true"])
        assert await waiting == frozenset()
    await users.close()


def listing_shells(root: Path) -> list[int]:
    """Pids of the processes that list the outbox of this root."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _lists(entry, root)
    ]


def _lists(process: Path, root: Path) -> bool:
    try:
        return (
            b"comm -13" in (process / "cmdline").read_bytes()
            and (process / "cwd").readlink() == root
        )
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False
