"""Requests that are none: answered or hung up on, and nobody else suffers."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from kit.control import running

from mlip_autopipec.control.limits import Limits
from mlip_autopipec.control.task_files import SiteFiles
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.testing.memory import MemoryTransport

FILES = (
    b"/v1/tasks/%2e%2e/files",
    b"/v1/tasks/c000.training.0000-abcdef/files",
    b"/v1/tasks/c000.training.0000-abcdef/file?name=%00&begin=9e9",
    b"/v1/tasks/c000.training.0000-abcdef/file?name=x&name=../y",
)
REQUESTS = st.binary(max_size=300) | st.builds(
    lambda method, path, headers, body: (
        method + b" " + path + b" HTTP/1.1\r\n" + headers + b"\r\n\r\n" + body
    ),
    st.sampled_from([b"GET", b"POST", b"PUT", b"\xff"]),
    st.sampled_from(
        [
            b"/v1/pause",
            b"/v1/status",
            b"/v1/events?after=-1",
            b"/v1/events?after=9e9",
            b"/" + b"x" * 9000,
            *FILES,
        ]
    ),
    st.sampled_from(
        [
            b"Host: x",
            b"Content-Length: 99999999999",
            b"Content-Length: -1",
            b"Transfer-Encoding: chunked",
        ]
    ),
    st.binary(max_size=100),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=5))
def test_no_request_stops_the_control_server(requests: list[bytes]) -> None:
    """Bytes that are no request are answered or hung up on.

    The next client is served, and nothing is written down.
    """
    with TemporaryDirectory(prefix="ap") as folder:
        asyncio.run(asked(Path(folder), requests))


async def asked(folder: Path, requests: list[bytes]) -> None:
    files = SiteFiles(MemoryTransport(), lambda: "n0nce")
    async with running(
        folder, limits=Limits(idle_timeout_s=0.5, answer_timeout_s=2), files=files
    ) as stand:
        before = list(stand.workflow.journal)
        for request in requests:
            reader, writer = await asyncio.open_unix_connection(stand.socket)
            writer.write(request)
            writer.write_eof()
            async with asyncio.timeout(30):
                await reader.read()
            writer.close()
        status, _, _ = await stand.request("GET", "/v1/info")
        assert status == 200
        assert all(
            isinstance(event, ev.Paused) for _, event in stand.workflow.journal[len(before) :]
        )
