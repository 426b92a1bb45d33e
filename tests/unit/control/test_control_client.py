"""The client tells apart: nobody there, not allowed, refused, and not understood."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from kit.control import BEGIN, CREATED, POLICY, SmallWorkflow, deferred, running, working
from kit.waiting import until

from mlip_autopipec.control.api import ErrorCode, Refused, Steered
from mlip_autopipec.control.client import ControlClient
from mlip_autopipec.control.documents import view
from mlip_autopipec.errors import DaemonUnreachable, OperatorError


@asynccontextmanager
async def impostor(folder: Path, answer: bytes | None) -> AsyncIterator[ControlClient]:
    """Something that listens and gives one answer to everything; None: it is silent."""
    callers = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.add(writer)
        if answer is not None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        else:
            await reader.read(-1)
        writer.close()
        await writer.wait_closed()
        callers.discard(writer)

    server = await asyncio.start_unix_server(connected, folder / "socket")
    async with server:
        yield ControlClient(folder / "socket", timeout_s=0.5)
        await until(lambda: not callers)


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


async def test_it_reads_what_the_server_says(tmp_path: Path) -> None:
    """Every call gives the server's document."""
    workflow = SmallWorkflow(working(3))
    async with running(tmp_path, workflow) as stand:
        client = ControlClient(stand.socket)
        assert (await client.info()).pid == os.getpid()
        assert view(workflow.state, POLICY, BEGIN).status == await client.status()
        assert view(workflow.state, POLICY, BEGIN).explanation == await client.explain()
        assert Steered(changed=True, status="paused", seq=5) == await client.pause("budget")
        assert Steered(changed=True, status="running", seq=6) == await client.resume()
        assert Steered(changed=True, status="running", seq=6) == await client.stop("update")
        assert [reason for reason, _ in stand.stopped] == ["update"]


async def test_events_begin_behind_the_cursor(tmp_path: Path) -> None:
    """`after` is the last event that was seen."""
    workflow = SmallWorkflow((CREATED, deferred(1), deferred(2)))
    async with running(tmp_path, workflow) as stand:
        seen = [item async for item in ControlClient(stand.socket).events(2)]
    assert [(3, deferred(2))] == seen


async def test_nobody_there(tmp_path: Path) -> None:
    """No folder, no socket, or a socket that nobody holds: no daemon answers."""
    (tmp_path / "stale").mkdir()
    server = await asyncio.start_unix_server(lambda *_: None, tmp_path / "stale" / "socket")
    server.close()
    for path in (tmp_path / "none" / "socket", tmp_path / "socket", tmp_path / "stale" / "socket"):
        with pytest.raises(DaemonUnreachable, match=f"no daemon answers on {path}") as caught:
            await ControlClient(path).status()
        assert caught.value.exit_code == 3


async def test_silence_is_nobody(tmp_path: Path) -> None:
    """A daemon that hangs is given up after the timeout."""
    async with impostor(tmp_path, None) as client:
        with pytest.raises(DaemonUnreachable, match="it took too long"):
            await client.info()


async def test_a_refusal_keeps_its_code(tmp_path: Path) -> None:
    """The exit code of a conflict is 5, that of a denial 4."""
    async with running(tmp_path, SmallWorkflow(())) as stand:
        with pytest.raises(Refused, match="no campaign has been created yet") as caught:
            await ControlClient(stand.socket).pause()
    assert (caught.value.code, caught.value.exit_code) == (ErrorCode.CONFLICT, 5)
    denial = http(b'{"error": {"code": "denied", "message": "not you"}}', b"403 Forbidden")
    async with impostor(tmp_path, denial) as client:
        with pytest.raises(Refused, match="not you") as caught:
            await client.info()
    assert (caught.value.code, caught.value.exit_code) == (ErrorCode.DENIED, 4)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (http(b"{}"), "of another version"),
        (http(b"{}", b"500 Oh"), "answered 500: {}"),
        (http(b'{"error": {"code": "new", "message": "words"}}', b"418 Tea"), "answered 418"),
    ],
)
async def test_what_is_not_understood_is_told(tmp_path: Path, answer: bytes, message: str) -> None:
    """An answer of another version is an operator's matter, not a traceback."""
    async with impostor(tmp_path, answer) as client:
        with pytest.raises(OperatorError, match=message):
            await client.info()


@pytest.mark.parametrize("body", [b"id: 1\ndata: {}\n\n", b"id: x\ndata: {}\n\n", b"data: 1\n\n"])
async def test_an_event_that_is_not_understood_is_told(tmp_path: Path, body: bytes) -> None:
    """The same for a frame of the stream."""
    async with impostor(tmp_path, http(body)) as client:
        with pytest.raises(OperatorError, match="an event is of another version"):
            _ = [item async for item in client.events()]


async def test_a_broken_stream_says_where_to_go_on(tmp_path: Path) -> None:
    """What came whole is given; the cut names the last event."""
    frame = b"id: 7\ndata: %s\n\n" % CREATED.model_dump_json().encode()
    whole = http(frame + b"id: 8\nda" + b" " * 1000)
    async with impostor(tmp_path, whole[:-900]) as client, aclosing(client.events()) as stream:
        assert await anext(stream) == (7, CREATED)
        with pytest.raises(DaemonUnreachable, match="broke after event 7"):
            await anext(stream)
