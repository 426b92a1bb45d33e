"""ports.Watcher over watchfiles, on real folders."""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path

import pytest

from mlip_autopipec.errors import TransientError
from mlip_autopipec.watch.local import LocalWatcher

#: Far beyond any test: what is seen before it was seen by inotify.
NEVER_S = 3600.0
#: Of waiting for something that should come at once, on a busy machine.
PATIENCE_S = 30.0


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    folder = tmp_path / "outbox"
    folder.mkdir()
    return folder


def place(outbox: Path, name: str) -> None:
    """Place a file as the work half does: hidden at first, then renamed."""
    hidden = outbox / f".{name}.17"
    hidden.write_bytes(b"{}")
    hidden.rename(outbox / name)


async def sets_until(
    names: AsyncIterator[frozenset[str]], enough: Callable[[frozenset[str]], bool]
) -> list[frozenset[str]]:
    """Every set up to the first that is enough."""
    seen = []
    async with asyncio.timeout(PATIENCE_S):
        async for each in names:
            seen.append(each)
            if enough(each):
                break
    return seen


@contextlib.asynccontextmanager
async def watching(watcher: LocalWatcher) -> AsyncIterator[AsyncIterator[frozenset[str]]]:
    """The watcher's names, ended in good order."""
    names = watcher.names()
    assert isinstance(names, AsyncGenerator)
    async with contextlib.aclosing(names):
        yield names


@pytest.mark.parametrize("poll", [False, True])
async def test_what_lay_there_before_is_told_at_once(outbox: Path, *, poll: bool) -> None:
    """The first set is the whole folder, without waiting for a change."""
    place(outbox, "a.0.json")
    async with watching(LocalWatcher(outbox, rescan_s=NEVER_S, poll=poll)) as names:
        assert await anext(names) == {"a.0.json"}


async def test_a_rename_is_seen_without_a_rescan(outbox: Path) -> None:
    """A file renamed into the folder is told of, though the next rescan is far away."""

    async def place_now_and_then() -> None:
        for number in itertools.count():
            await asyncio.sleep(0.1)  # the first ones may come before inotify listens
            place(outbox, f"a.{number}.json")

    placing = asyncio.create_task(place_now_and_then())
    try:
        async with watching(LocalWatcher(outbox, rescan_s=NEVER_S)) as names:
            seen = await sets_until(names, bool)
    finally:
        placing.cancel()
    assert "a.0.json" in seen[-1]


async def test_a_hidden_name_is_no_outcome(outbox: Path) -> None:
    """A file under its temporary name is not told of; it may be half."""
    (outbox / ".a.0.json.17").write_bytes(b"{")
    place(outbox, "b.0.json")
    async with watching(LocalWatcher(outbox, rescan_s=NEVER_S)) as names:
        assert await anext(names) == {"b.0.json"}


async def test_the_folder_is_made_where_it_is_missing(tmp_path: Path) -> None:
    """A watch may begin before the first task has ended."""
    outbox = tmp_path / "root" / "outbox"
    async with watching(LocalWatcher(outbox, rescan_s=0.1)) as names:
        assert await anext(names) == frozenset()
        place(outbox, "a.0.json")
        assert (await sets_until(names, bool))[-1] == {"a.0.json"}


async def test_what_comes_between_the_first_look_and_the_watch_is_not_lost(outbox: Path) -> None:
    """A file placed while nobody watches is in the next set: sets are whole, one every rescan."""
    async with watching(LocalWatcher(outbox, rescan_s=0.1)) as names:
        assert await anext(names) == frozenset()
        place(outbox, "a.0.json")  # inotify begins only when the next set is asked for
        assert (await sets_until(names, bool))[-1] == {"a.0.json"}


async def test_a_rescan_comes_without_any_change(outbox: Path) -> None:
    """Sets go on coming in a folder where nothing happens."""
    place(outbox, "a.0.json")
    async with watching(LocalWatcher(outbox, rescan_s=0.05)) as names, asyncio.timeout(PATIENCE_S):
        assert [await anext(names) for _ in range(4)] == [{"a.0.json"}] * 4


async def test_polling_sees_a_rename(outbox: Path) -> None:
    """Where inotify is blind, looking every rescan_s finds it."""
    async with watching(LocalWatcher(outbox, rescan_s=0.2, poll=True)) as names:
        assert await anext(names) == frozenset()
        place(outbox, "a.0.json")
        assert (await sets_until(names, bool))[-1] == {"a.0.json"}


async def test_many_at_once_are_all_told(outbox: Path) -> None:
    """However the changes are gathered, the sets end up with every name."""
    async with watching(LocalWatcher(outbox, rescan_s=0.2)) as names:
        assert await anext(names) == frozenset()
        for number in range(300):
            place(outbox, f"a.{number}.json")
        seen = await sets_until(names, lambda each: len(each) == 300)
    assert seen[-1] == {f"a.{number}.json" for number in range(300)}


@pytest.mark.parametrize("poll", [False, True])
async def test_a_cancelled_watch_ends_promptly(outbox: Path, *, poll: bool) -> None:
    """Whatever the rescan, a watch that waits for changes ends soon after it is cancelled."""
    first = asyncio.Event()

    async def watch() -> None:
        async for _ in LocalWatcher(outbox, rescan_s=NEVER_S, poll=poll).names():
            first.set()

    task = asyncio.create_task(watch())
    async with asyncio.timeout(PATIENCE_S):
        await first.wait()
        await asyncio.sleep(0.2)  # into its thread
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("make", [Path.touch, os.mkfifo, lambda path: path.symlink_to(path)])
async def test_an_outbox_that_is_no_folder_is_told(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """As what passes: somebody moves it away, and the next watch finds the folder."""
    outbox = tmp_path / "outbox"
    make(outbox)
    with pytest.raises(TransientError, match="outbox must be a folder that can be listed"):
        async with watching(LocalWatcher(outbox, rescan_s=0.1)) as names:
            await anext(names)
    outbox.unlink()
    async with watching(LocalWatcher(outbox, rescan_s=0.1)) as names:
        assert await anext(names) == frozenset()


async def test_a_folder_that_goes_while_it_is_watched_is_told(outbox: Path) -> None:
    """No listing is made up."""
    async with watching(LocalWatcher(outbox, rescan_s=0.05)) as names:
        await anext(names)
        await asyncio.to_thread(outbox.rmdir)
        with pytest.raises(TransientError, match="outbox"):
            await sets_until(names, lambda _: False)


@pytest.mark.parametrize("poll", [False, True])
async def test_a_name_that_is_no_text_costs_no_other(outbox: Path, *, poll: bool) -> None:
    """Neither one that was there, nor one that comes while it is watched."""
    place(outbox, "before\udcff")
    async with watching(LocalWatcher(outbox, rescan_s=0.1, poll=poll)) as names:
        assert await anext(names) == {"before\udcff"}
        await anext(names)
        for name in ("later\udcfe", "a.0.json"):
            place(outbox, name)
            assert name in (await sets_until(names, lambda seen, name=name: name in seen))[-1]  # type: ignore[misc]
