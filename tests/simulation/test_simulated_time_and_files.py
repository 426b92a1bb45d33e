"""The fakes for time, files and the journal keep their ports' promises.

Their faults happen where they say.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.errors import BugError, OperatorError, TransientError
from mlip_autopipec.testing.clock import SimulatedClock, SimulationStuck, run_simulated
from mlip_autopipec.testing.memory import Crash, MemoryJournal, MemoryTransport

DAY_S = 86400.0
ADA = ev.Actor(uid=1000, pid=77, name="ada")


def events(count: int) -> list[ev.Event]:
    """So many resumptions."""
    return [
        ev.Resumed(at=SimulatedClock().now(), by=ADA, reason=str(number)) for number in range(count)
    ]


# --- time -----------------------------------------------------------------------------------------


def test_time_jumps_from_waker_to_waker() -> None:
    """Three sleepers wake in order of their delays, exactly on time, and hours pass in no time."""
    clock = SimulatedClock()
    began = clock.now()
    woken: list[tuple[str, timedelta]] = []

    async def sleeper(name: str, delay_s: float) -> None:
        await clock.sleep(delay_s)
        woken.append((name, clock.now() - began))

    async def main() -> None:
        await asyncio.gather(sleeper("late", 7200), sleeper("early", 5), sleeper("between", 60))

    run_simulated(main(), clock, limit_s=DAY_S)
    assert woken == [
        ("early", timedelta(seconds=5)),
        ("between", timedelta(seconds=60)),
        ("late", timedelta(hours=2)),
    ]


def test_timeouts_run_in_virtual_time() -> None:
    """The bounds of asyncio itself are exercised, not waited for."""
    clock = SimulatedClock()

    async def main() -> None:
        async with asyncio.timeout(600):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run_simulated(main(), clock, limit_s=DAY_S)
    assert clock.elapsed_s == 600


def test_a_deadlock_is_told_at_once() -> None:
    """With every task waiting for another and no timer set, nothing would ever happen again."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(SimulationStuck, match="every task waits for another"):
        run_simulated(main(), SimulatedClock(), limit_s=DAY_S)


def test_virtual_time_is_bounded() -> None:
    """Whoever polls for ever is stopped at the limit."""
    clock = SimulatedClock()

    async def main() -> None:
        while True:
            await clock.sleep(60)

    with pytest.raises(SimulationStuck, match="the limit of 3600 s"):
        run_simulated(main(), clock, limit_s=3600)
    assert clock.elapsed_s == 3600


def test_a_circle_in_no_time_is_told() -> None:
    """A loop that turns without time passing is a bug, not a long wait."""

    async def main() -> None:
        while True:  # noqa: ASYNC110 - the bug itself
            await asyncio.sleep(0)

    with pytest.raises(SimulationStuck, match="time does not pass"):
        run_simulated(main(), SimulatedClock(), limit_s=DAY_S)


def test_threads_run_inline() -> None:
    """What goes to a thread is done before anything else happens, errors included."""

    async def main() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(divmod, 1, 0)
        return await asyncio.to_thread(pow, 2, 5)

    assert run_simulated(main(), SimulatedClock(), limit_s=DAY_S) == 32


def test_the_world_goes_on_while_a_thread_works() -> None:
    """As long as the simulation says; who has stopped waiting hears nothing of it."""

    async def main() -> list[str]:
        found: list[str] = []
        working = asyncio.create_task(asyncio.to_thread(found.append, "done"))
        working.add_done_callback(lambda _: found.append(f"heard at {clock.elapsed_s:g} s"))
        await asyncio.sleep(4)
        found.append("four")
        await working
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(found.append, "done again"), 3)
        await asyncio.sleep(10)
        return found

    clock = SimulatedClock()
    found = run_simulated(main(), clock, limit_s=DAY_S, thread_s=lambda: 5.0)
    assert found == ["done", "four", "heard at 5 s", "done again"]


def test_an_error_in_a_callback_is_not_lost() -> None:
    """It would only be logged."""

    async def main() -> None:
        asyncio.get_running_loop().call_later(1, divmod, 1, 0)
        await asyncio.sleep(2)

    with pytest.raises(ZeroDivisionError):
        run_simulated(main(), SimulatedClock(), limit_s=DAY_S)


async def test_a_simulated_clock_refuses_a_real_loop() -> None:
    """There, nobody would let its time pass."""
    with pytest.raises(BugError, match="its own SimulatedLoop"):
        await SimulatedClock().sleep(1)


def test_time_does_not_run_backwards() -> None:
    """It may be moved by hand, forwards."""
    clock = SimulatedClock()
    began = clock.now()
    clock.advance(90)
    assert clock.now() - began == timedelta(seconds=90)
    with pytest.raises(BugError, match="cannot pass by -1"):
        clock.advance(-1)


# --- files ----------------------------------------------------------------------------------------


def failing_at(call: int) -> Callable[[str], Awaitable[None]]:
    """A wire that is cut at its n-th wait, counted from 1."""
    waits = 0

    async def disturb(operation: str) -> None:
        nonlocal waits
        waits += 1
        if waits == call:
            raise TransientError(f"cut in {operation}")

    return disturb


async def test_files_are_read_as_they_were_written() -> None:
    """Whole, by path, and None or left out where there is none."""
    transport = MemoryTransport()
    await transport.write({"a/b/c.json": b"{}", "a/d.txt": b"d", "ab.txt": b""})
    assert await transport.read("a/b/c.json") == b"{}"
    assert await transport.read("a/b") is None
    assert await transport.read_many(["a/d.txt", "nowhere", "ab.txt"]) == {
        "a/d.txt": b"d",
        "ab.txt": b"",
    }
    assert await transport.names("a") == ("b", "d.txt")
    assert await transport.names("nowhere") == ()


async def test_a_file_that_is_too_large_is_refused() -> None:
    """Nothing of ours writes such files."""
    transport = MemoryTransport()
    await transport.write({"large": b"12345"})
    assert await transport.read("large", size_max=5) == b"12345"
    with pytest.raises(OperatorError, match="larger than 4 bytes"):
        await transport.read("large", size_max=4)


@pytest.mark.parametrize(("call", "written"), [(1, []), (2, ["a"]), (3, ["a", "b"])])
async def test_a_cut_in_a_write_leaves_whole_files_or_none(call: int, written: list[str]) -> None:
    """Before a file, between two, or after the last, when only the answer is lost."""
    transport = MemoryTransport(disturb=failing_at(call))
    with pytest.raises(TransientError, match="cut in write"):
        await transport.write({"a": b"1", "b": b"2"})
    assert list(transport.files) == written


async def test_commands_are_answered_by_whoever_plays_the_shell() -> None:
    """Without one there is no command."""
    assert (await MemoryTransport().run(["squeue"])).exit_status == 127
    transport = MemoryTransport(disturb=failing_at(2))
    with pytest.raises(TransientError, match="cut in run"):
        await transport.run(["true"])


# --- the journal ----------------------------------------------------------------------------------


async def test_a_journal_gives_back_what_it_took() -> None:
    """In order, across lives, with the sequence number of the last."""
    first = MemoryJournal()
    assert await first.append(events(2)) == 2
    again = MemoryJournal(first.lines)
    assert await again.append(events(1)) == 3
    assert list(again.events()) == [*events(2), *events(1)]
    assert len(first.lines) == 2


@pytest.mark.parametrize("durable", [0, 1, 3])
async def test_a_journal_may_die_before_amid_or_after_durability(durable: int) -> None:
    """What was durable stays, and a dead journal takes nothing."""
    journal = MemoryJournal(crash=lambda _: durable)
    with pytest.raises(Crash, match=f"killed with {durable} of 3"):
        await journal.append(events(3))
    assert list(journal.events()) == events(3)[:durable]
    with pytest.raises(BugError, match="takes nothing any more"):
        await journal.append(events(1))


@pytest.mark.parametrize(("killed_after_s", "durable"), [(0.5, 0), (1.5, 2)])
def test_a_killed_append_is_lost_or_durable_and_unacknowledged(
    killed_after_s: float, durable: int
) -> None:
    """Which of the two is decided by the moment, as on a real disk."""
    clock = SimulatedClock()
    journal = MemoryJournal(latency=lambda: clock.sleep(1))

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(killed_after_s):
                await journal.append(events(2))

    run_simulated(main(), clock, limit_s=DAY_S)
    assert len(journal.lines) == durable
