"""The pace of the remote watcher, in virtual time, over a far side that answers as it is told."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

from mlip_autopipec.errors import TransientError
from mlip_autopipec.testing.clock import SimulatedClock, run_simulated
from mlip_autopipec.watch.remote import LineDialogue, RemoteWatcher


class FarSide:
    """A far side with an outbox; `down` makes it unreachable, `listing_s` slow."""

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.outbox: list[str] = []
        self.down = self.silent = self.killed = False
        self.listing_s = 0.0
        self.begun = 0
        self.questions: list[tuple[float, str]] = []
        self.listings: list[float] = []
        self.notices: list[str] = []  # what others write into its answers

    @asynccontextmanager
    async def converse(self, argv: Sequence[str]) -> AsyncIterator[LineDialogue]:
        assert argv[-1] == "outbox"
        self.begun += 1
        if self.down:
            raise TransientError("no connection")
        yield _Answers(self)

    async def names(self, folder: str) -> tuple[str, ...]:
        assert folder == "outbox"
        self.listings.append(self.clock.elapsed_s)
        if self.down:
            raise TransientError("no connection")
        return (".hidden", *self.outbox)


class _Answers:
    def __init__(self, far: FarSide) -> None:
        self._far = far
        self._seen: set[str] = set()
        self._lines: list[str] = []

    def say(self, line: str) -> None:
        asked, _, mark = line.partition(" ")
        self._far.questions.append((self._far.clock.elapsed_s, asked))
        seen = set[str]() if asked == "all" else self._seen
        new = (name for name in self._far.outbox if name not in seen)
        self._lines += [*self._far.notices, *new, *self._far.notices, mark]
        self._seen = set(self._far.outbox)

    async def hear(self) -> bytes:
        if self._far.down or self._far.killed:
            self._far.killed = False
            raise TransientError("connection lost")
        if self._far.silent:
            await self._far.clock.sleep(1e6)
        line = self._lines.pop(0)
        if not self._lines:
            await self._far.clock.sleep(self._far.listing_s)
        return line.encode()


def watcher(far: FarSide, *, long_lived: bool = True) -> RemoteWatcher:
    """With its usual pace."""
    return RemoteWatcher(far, clock=far.clock, rng=random.Random(2), long_lived=long_lived)  # noqa: S311 - jitter


async def told(
    names: AsyncGenerator[frozenset[str], None], far: FarSide, for_s: float
) -> list[frozenset[str]]:
    """What is told in so much virtual time, at least one set."""
    until, sets = far.clock.elapsed_s + for_s, []
    async with aclosing(names):
        async for each in names:
            sets.append(each)
            if far.clock.elapsed_s >= until:
                break
    return sets


def test_it_asks_for_what_is_new_and_now_and_then_for_all() -> None:
    """Listed every second, and every half minute the whole outbox.

    That is told also if it is empty.
    """
    clock = SimulatedClock()
    far = FarSide(clock)
    sets = run_simulated(told(watcher(far).names(), far, 60), clock, limit_s=1e3)
    assert sets == [frozenset()] * 3
    assert [at for at, asked in far.questions if asked == "all"] == [0, 30, 60]
    assert [at for at, asked in far.questions if asked != "glance"] == list(range(61))
    assert far.begun == 1
    assert far.listings == []


def test_each_name_is_told_once_between_whole_listings() -> None:
    """As soon as it is there, alone."""
    clock = SimulatedClock()
    far = FarSide(clock)

    async def main() -> None:
        async with aclosing(watcher(far).names()) as names:
            assert await anext(names) == set()
            for name in ("a.json", "b.json", "c.json"):
                far.outbox.append(name)
                assert await anext(names) == {name}
            assert clock.elapsed_s < 1
            assert await anext(names) == {"a.json", "b.json", "c.json"}
            assert clock.elapsed_s == 30

    run_simulated(main(), clock, limit_s=1e3)


def test_lines_of_others_shift_no_answer() -> None:
    """Blank ones among them: each name comes with the question that it answers.

    Nothing is left for the next.
    """
    clock = SimulatedClock()
    far = FarSide(clock)
    far.notices = ["", "Notice: /scratch is purged on Sunday", ""]

    async def main() -> None:
        async with aclosing(watcher(far).names()) as names:
            assert await anext(names) == {far.notices[1]}
            far.outbox.append("a.json")
            assert await anext(names) == {"a.json", far.notices[1]}
            assert clock.elapsed_s < 1

    run_simulated(main(), clock, limit_s=1e3)


def test_between_two_listings_it_glances() -> None:
    """Every fifth of a second, and what has come by then is told."""
    clock = SimulatedClock()
    far = FarSide(clock)

    async def main() -> None:
        async with aclosing(watcher(far).names()) as names:
            assert await anext(names) == set()
            asyncio.get_running_loop().call_later(10.3, far.outbox.append, "a.json")
            assert await anext(names) == {"a.json"}
            assert 10.3 < clock.elapsed_s < 10.5

    run_simulated(main(), clock, limit_s=1e3)
    assert 40 <= sum(asked == "glance" for at, asked in far.questions if at < 10) <= 50


def test_a_slow_folder_is_listed_less_often() -> None:
    """Two thirds of the time at least it is left alone, and it is not glanced at in between."""
    clock = SimulatedClock()
    far = FarSide(clock)
    far.listing_s = 3.0
    run_simulated(told(watcher(far).names(), far, 300), clock, limit_s=1e3)
    assert 30 <= len(far.questions) <= 40


def test_a_far_side_that_keeps_silent_is_left() -> None:
    """After half a minute without an answer a plain listing replaces it, and it is begun again."""
    clock = SimulatedClock()
    far = FarSide(clock)
    far.silent, far.outbox = True, ["a.json"]

    async def main() -> None:
        item = watcher(far)
        async with aclosing(item.names()) as names:
            assert await anext(names) == {"a.json"}
            assert clock.elapsed_s == 30
            assert "30 s" in item.trouble
            far.silent = False
            assert await anext(names) == {"a.json"}
            assert (item.trouble, far.begun) == ("", 2)

    run_simulated(main(), clock, limit_s=1e3)


@pytest.mark.slow
def test_a_site_that_is_away_for_weeks_is_found_again() -> None:
    """Tried about every half minute, never given up; what came meanwhile is told on its return."""
    clock = SimulatedClock()
    far = FarSide(clock)

    async def main() -> None:
        item = watcher(far)
        async with aclosing(item.names()) as names:
            await anext(names)
            far.down, far.outbox = True, ["a.json"]
            begun = clock.elapsed_s
            asyncio.get_running_loop().call_later(20 * 86400, setattr, far, "down", False)
            assert await anext(names) == {"a.json"}
            assert clock.elapsed_s - begun < 20 * 86400 + 65
            assert item.trouble == ""

    run_simulated(main(), clock, limit_s=1e7)
    assert 20 * 86400 / 64 < far.begun < 20 * 86400 / 25


def test_without_a_long_lived_process_it_is_one_listing_each_time() -> None:
    """Whole sets at the same pace, without what is hidden; faults are waited out."""
    clock = SimulatedClock()
    far = FarSide(clock)
    far.outbox = ["a.json"]
    sets = run_simulated(told(watcher(far, long_lived=False).names(), far, 10), clock, limit_s=1e3)
    assert sets == [frozenset({"a.json"})] * 11
    assert far.begun == 0


def test_a_process_that_never_lives_long_is_started_seldom() -> None:
    """On a site that kills it after each answer, listings take its place at a growing distance."""
    clock = SimulatedClock()
    far = FarSide(clock)

    async def main() -> None:
        async with aclosing(watcher(far).names()) as names:
            while clock.elapsed_s < 3600:
                await anext(names)
                far.killed = True

    run_simulated(main(), clock, limit_s=1e5)
    assert far.begun < 200
