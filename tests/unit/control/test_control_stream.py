"""The stream of events: history, then live, without gap or duplicate, whoever is slow."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import pytest
from kit.control import BEGIN, CREATED, SmallWorkflow, Stand, deferred, running, tasks
from kit.waiting import until

from mlip_autopipec.control.api import Refused
from mlip_autopipec.control.client import ControlClient
from mlip_autopipec.control.limits import Limits
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import DaemonUnreachable, JournalDamaged


async def read(stand: Stand, query: str) -> bytes:
    """A whole stream, as it comes over the wire."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(stand.socket))) as session,
        session.get(f"http://any/v1/events?{query}") as response,
    ):
        assert response.content_type == "text/event-stream"
        return await response.read()


async def collect(stand: Stand, after: int, last: int) -> list[tuple[int, ev.Event]]:
    """What a follower sees, up to event `last`."""
    seen = []
    async with aclosing(ControlClient(stand.socket).events(after, follow=True)) as stream:
        async for seq, event in stream:
            seen.append((seq, event))
            if seq >= last:
                break
    return seen


async def followed(stand: Stand, count: int) -> None:
    """Wait until `count` followers have read the journal and are live."""
    await until(lambda: len(stand.server._feed._subscriptions) == count)


async def test_history_comes_as_server_sent_events(tmp_path: Path) -> None:
    """Each frame has the number and the event as JSON.

    Without follow the stream ends with the journal.
    """
    workflow = SmallWorkflow((CREATED, deferred(1), deferred(2)))
    async with running(tmp_path, workflow) as stand:
        body = await read(stand, "after=1")
    frames = [frame.split("\n") for frame in body.decode().removesuffix("\n\n").split("\n\n")]
    assert [number for number, _ in frames] == ["id: 2", "id: 3"]
    expected = [json.loads(event.model_dump_json()) for event in (deferred(1), deferred(2))]
    assert expected == [json.loads(data.removeprefix("data: ")) for _, data in frames]


async def test_a_cursor_at_the_end_reads_nothing(tmp_path: Path) -> None:
    """Neither the end of the journal nor a number beyond it is an error."""
    async with running(tmp_path) as stand:
        assert [await read(stand, "after=1"), await read(stand, "after=1000")] == [b"", b""]


@pytest.mark.parametrize("seed", range(25))
async def test_no_gap_and_no_duplicate_under_concurrent_appends(tmp_path: Path, seed: int) -> None:
    """Whenever a follower comes and wherever it begins, it sees each later event once, in order."""
    chance = random.Random(seed)  # noqa: S311 - a seed that reproduces a failure
    workflow = SmallWorkflow(
        (CREATED, *(deferred(number) for number in range(chance.randrange(60))))
    )
    last = workflow.state.seq + 60

    async def append(stand: Stand) -> None:
        while stand.workflow.state.seq < last:
            await stand.workflow.record(deferred(stand.workflow.state.seq))
            for _ in range(chance.choice((0, 0, 1, 5))):
                await asyncio.sleep(chance.choice((0, 0, 0.001)))

    async def come(stand: Stand) -> None:
        await asyncio.sleep(chance.random() * 0.05)
        after = chance.randrange(last)
        seen = await collect(stand, after, last)
        assert list(range(after + 1, last + 1)) == [seq for seq, _ in seen]
        assert [event for seq, event in stand.workflow.journal if seq > after] == [
            event for _, event in seen
        ]

    async with running(tmp_path, workflow) as stand, asyncio.TaskGroup() as group:
        group.create_task(append(stand))
        for _ in range(4):
            group.create_task(come(stand))


async def test_history_larger_than_one_piece_is_whole(tmp_path: Path) -> None:
    """Megabytes of journal come in pieces, nothing lost; an event larger than a piece comes too."""
    huge = ev.EffectDeferred(at=BEGIN, subject="s", message="x" * 1_000_000, until=BEGIN)
    workflow = SmallWorkflow(
        (CREATED, *(deferred(number, "y" * 3000) for number in range(300)), huge, deferred(1))
    )
    async with running(tmp_path, workflow) as stand:
        seen = [item async for item in ControlClient(stand.socket).events()]
    assert workflow.journal == seen


async def test_a_slow_reader_is_dropped_and_stalls_nobody(tmp_path: Path) -> None:
    """One that does not read is cut off once it is too far behind.

    The loop and another reader never notice.
    """
    async with running(tmp_path, limits=Limits(queue_max=100, heartbeat_s=0.05)) as stand:
        _, writer = await asyncio.open_unix_connection(str(stand.socket), limit=1)
        writer.write(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: any\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined] # a ReadTransport as well
        await followed(stand, 1)
        good = asyncio.create_task(collect(stand, 0, 501))
        await followed(stand, 2)
        for number in range(500):
            await stand.workflow.record(deferred(number, "z" * 4000))
            await asyncio.sleep(0)
        assert list(range(1, 502)) == [seq for seq, _ in await good]
        await followed(stand, 0)
        writer.close()


async def test_a_client_that_takes_no_history_is_dropped(tmp_path: Path) -> None:
    """The same while it is still being sent the journal."""
    workflow = SmallWorkflow((CREATED, *(deferred(number, "y" * 50_000) for number in range(100))))
    async with running(tmp_path, workflow, Limits(write_timeout_s=0.05)) as stand:
        reader, writer = await asyncio.open_unix_connection(str(stand.socket), limit=1)
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: any\r\n\r\n")
        await until(lambda: bool(stand.connections()))
        await until(lambda: not stand.connections())
        body = await reader.read()
        writer.close()
    assert 0 < len(body) < 100 * 50_000
    assert not body.endswith(b"0\r\n\r\n")  # a stream in good order ends so


async def test_a_follower_that_has_gone_is_noticed(tmp_path: Path) -> None:
    """A quiet stream has a heartbeat; the first that cannot be delivered ends the subscription."""
    async with running(tmp_path, limits=Limits(heartbeat_s=0.02)) as stand:
        reader, writer = await asyncio.open_unix_connection(str(stand.socket))
        writer.write(b"GET /v1/events?after=1&follow=1 HTTP/1.1\r\nHost: any\r\n\r\n")
        await reader.readuntil(b": quiet\n\n")
        writer.close()
        await followed(stand, 0)


async def test_a_stopping_daemon_ends_its_streams_in_good_order(tmp_path: Path) -> None:
    """Followers get what was published, then the end, and are told where to go on."""
    async with running(tmp_path) as stand:
        follower = asyncio.create_task(collect(stand, 0, 99))
        await followed(stand, 1)
        await stand.workflow.record(deferred(1))
    with pytest.raises(DaemonUnreachable, match="ended the stream of events after event 2"):
        await follower


async def test_a_journal_that_cannot_be_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error behind the first events reaches the client with its words; the server goes on."""

    class Damaged(SmallWorkflow):
        def history(self, after: int) -> Iterator[tuple[int, ev.Event]]:
            yield from super().history(after)
            raise JournalDamaged(Path("journal"), 17, "a record is torn", "Restore it from a copy.")

    async with running(tmp_path, Damaged()) as stand:
        async with aclosing(ControlClient(stand.socket).events()) as stream:
            assert await anext(stream) == (1, CREATED)
            with pytest.raises(Refused, match="journal is damaged at byte 17"):
                await anext(stream)
        assert (await ControlClient(stand.socket).info()).pid
    assert len(caplog.records) == 1


async def test_a_journal_that_ends_too_early_is_a_bug_and_no_endless_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """State that the journal does not account for is told, not waited for."""
    workflow = SmallWorkflow()
    workflow.journal.clear()
    async with running(tmp_path, workflow) as stand:
        with pytest.raises(Refused, match="the journal ends at 0"):
            _ = [item async for item in ControlClient(stand.socket).events(follow=True)]
    assert len(caplog.records) == 1


@pytest.mark.slow
def test_an_event_of_ten_thousand_tasks_fits_a_frame(tmp_path: Path) -> None:
    """The largest event there is goes through unharmed."""
    started = ev.PhaseStarted(at=BEGIN, cycle=0, phase=Phase.GENERATION, tasks=tasks(10_000))

    async def ask() -> list[tuple[int, ev.Event]]:
        async with running(tmp_path, SmallWorkflow((CREATED, started))) as stand:
            return [item async for item in ControlClient(stand.socket).events()]

    assert [(1, CREATED), (2, started)] == asyncio.run(ask())


def test_observe_costs_nothing_without_subscribers(tmp_path: Path) -> None:
    """The observer is callable before anything is served, and outside any loop."""
    Stand(tmp_path / "socket", SmallWorkflow()).server.observe(CREATED, WorkflowState(seq=1))
