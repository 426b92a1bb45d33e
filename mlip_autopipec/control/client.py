"""ControlClient: the other end of the control socket, for autopipecctl and whoever scripts it.

What goes wrong is told by who must act: DaemonUnreachable if nothing answers, Refused with its code
if the daemon (or the file system on the way to it) refuses.
"""

import asyncio
import errno
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlencode

import aiohttp
from pydantic import BaseModel, ValidationError

from mlip_autopipec.control.address import require_own
from mlip_autopipec.control.api import (
    Add,
    Cancel,
    ErrorAnswer,
    ErrorCode,
    Explanation,
    Info,
    Redo,
    Refused,
    Reload,
    Reloaded,
    Retry,
    SetValue,
    Status,
    Steer,
    Steered,
)
from mlip_autopipec.control.task_files import FilePart, TaskListing
from mlip_autopipec.data_models.events import EVENT_ADAPTER, Event
from mlip_autopipec.errors import DaemonUnreachable, OperatorError

M = TypeVar("M", bound=BaseModel)
#: The daemon says something on a stream every five seconds; after so long a silence it hangs.
_SILENCE_MAX_S = 30.0
#: A daemon that asks the site for it answers within half a minute, or says that the site does not.
_SITE_TIMEOUT_S = 35.0
#: A daemon that reads the site file anew, and every file that it names, takes so long at most.
_SLOW_S = 90.0
#: The host in a request's first line means nothing on a Unix socket.
_BASE = "http://autopipecd"


class ControlClient:
    """Asks one daemon; every call is a connection of its own and takes at most `timeout_s`."""

    def __init__(self, socket: Path, timeout_s: float = 10.0) -> None:
        self._socket = socket
        self._timeout_s = timeout_s

    async def info(self) -> Info:
        return await self._ask(Info, "GET", "/v1/info")

    async def status(self) -> Status:
        return await self._ask(Status, "GET", "/v1/status")

    async def explain(self) -> Explanation:
        return await self._ask(Explanation, "GET", "/v1/explain")

    async def pause(self, reason: str = "") -> Steered:
        return await self._ask(Steered, "POST", "/v1/pause", Steer(reason=reason))

    async def resume(self, reason: str = "") -> Steered:
        return await self._ask(Steered, "POST", "/v1/resume", Steer(reason=reason))

    async def reopen(self, reason: str = "") -> Steered:
        return await self._ask(Steered, "POST", "/v1/reopen", Steer(reason=reason))

    async def retry(self, task: str, reason: str = "") -> Steered:
        return await self._ask(Steered, "POST", "/v1/retry", Retry(task=task, reason=reason))

    async def cancel(self, asked: Cancel) -> Steered:
        return await self._ask(Steered, "POST", "/v1/cancel", asked)

    async def reload(self, reason: str = "", *, dry_run: bool = False) -> Reloaded:
        return await self._ask(
            Reloaded,
            "POST",
            "/v1/reload",
            Reload(reason=reason, dry_run=dry_run),
            timeout_s=_SLOW_S,
        )

    async def add(self, asked: Add) -> Reloaded:
        return await self._ask(Reloaded, "POST", "/v1/add", asked, timeout_s=_SLOW_S)

    async def restart(self, asked: Redo) -> Reloaded:
        return await self._ask(Reloaded, "POST", "/v1/restart", asked, timeout_s=_SLOW_S)

    async def set_value(self, key: str, value: str, reason: str = "") -> Reloaded:
        return await self._ask(
            Reloaded,
            "POST",
            "/v1/set",
            SetValue(key=key, value=value, reason=reason),
            timeout_s=_SLOW_S,
        )

    async def stop(self, reason: str = "") -> Steered:
        return await self._ask(Steered, "POST", "/v1/stop", Steer(reason=reason))

    async def task_files(self, task: str) -> TaskListing:
        return await self._ask(
            TaskListing, "GET", f"/v1/tasks/{quote(task, safe='')}/files", timeout_s=_SITE_TIMEOUT_S
        )

    async def task_file(self, task: str, name: str, begin: int | None = None) -> FilePart:
        asked = urlencode({"name": name} | ({} if begin is None else {"begin": begin}))
        path = f"/v1/tasks/{quote(task, safe='')}/file?{asked}"
        return await self._ask(FilePart, "GET", path, timeout_s=_SITE_TIMEOUT_S)

    async def events(
        self, after: int = 0, *, follow: bool = False
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """Events behind sequence number `after`, in order and without gap.

        Without `follow` it ends with the journal. With it, it goes on until it is closed; when the
        daemon ends the stream (it stops, or this reader was too slow), DaemonUnreachable says where
        to go on.
        """
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=self._timeout_s, sock_read=_SILENCE_MAX_S
        )
        path = f"/v1/events?after={after}&follow={int(follow)}"
        async with self._exchange("GET", path, limits=limits) as response:
            try:
                async for frame in _frames(response.content.iter_any()):
                    after, event = _event(frame)
                    yield after, event
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise DaemonUnreachable(
                    f"the stream of events broke after event {after}: {_message(error)}",
                    streamed=True,
                ) from error
            if follow:
                raise DaemonUnreachable(
                    f"the daemon ended the stream of events after event {after}", streamed=True
                )

    async def _ask(
        self,
        answer: type[M],
        method: str,
        path: str,
        body: BaseModel | None = None,
        *,
        timeout_s: float = 0.0,
    ) -> M:
        limits = aiohttp.ClientTimeout(total=max(timeout_s, self._timeout_s))
        async with self._exchange(method, path, limits=limits, body=body) as response:
            return _read(answer, await response.read())

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        limits: aiohttp.ClientTimeout,
        body: BaseModel | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request over one connection.

        Raises DaemonUnreachable, or Refused for any answer but 200.
        """
        data = body.model_dump_json().encode() if body else None
        try:
            await asyncio.to_thread(self._require_own)
            connector = aiohttp.UnixConnector(str(self._socket))
            async with (
                aiohttp.ClientSession(connector=connector, timeout=limits) as session,
                session.request(method, _BASE + path, data=data) as response,
            ):
                if response.status != HTTPStatus.OK:
                    raise _refusal(response.status, await response.read())
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM}:
                raise Refused(
                    ErrorCode.DENIED, f"the control socket {self._socket} is not yours to use"
                ) from error
            raise DaemonUnreachable(
                f"no daemon answers on {self._socket}: {_message(error)}"
            ) from error

    def _require_own(self) -> None:
        try:
            require_own(self._socket.parent)
        except OperatorError as error:
            raise Refused(ErrorCode.DENIED, str(error)) from error


def _message(error: Exception) -> str:
    found = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(found, FileNotFoundError):
        return "there is no such socket; `autopipecd --config site.yaml` starts a daemon"
    if isinstance(found, ConnectionRefusedError):
        return "the daemon that made it has ended; `autopipecd --config site.yaml` goes on"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientConnectorError):  # whose own text is of hosts and ssl
        return error.strerror or type(error.os_error).__name__
    return str(error) or type(error).__name__


def _refusal(status: int, body: bytes) -> OperatorError:
    try:
        error = ErrorAnswer.model_validate_json(body).error
    except ValidationError:
        return OperatorError(f"the daemon answered {status}: {body[:200].decode(errors='replace')}")
    return Refused(error.code, error.message)


def _read(answer: type[M], body: bytes) -> M:
    try:
        return answer.model_validate_json(body)
    except ValidationError as error:
        raise OperatorError(
            f"the daemon's answer is of another version than this program: {error}"
        ) from error


async def _frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, bytes]]:
    """Frames of server-sent events, by field; comments are left out.

    A frame may be many megabytes.
    """
    buffer = bytearray()
    async for chunk in chunks:
        searched = max(len(buffer) - 1, 0)
        buffer += chunk
        while (end := buffer.find(b"\n\n", searched)) >= 0:
            lines = bytes(buffer[:end]).split(b"\n")
            del buffer[: end + 2]
            searched = 0
            fields = (line.partition(b": ") for line in lines)
            if frame := {name.decode(): value for name, _, value in fields if name}:
                yield frame


def _event(frame: dict[str, bytes]) -> tuple[int, Event]:
    """What one frame says. Raises Refused if it says that reading failed."""
    if frame.get("event") == b"error":
        raise _refusal(HTTPStatus.OK, frame["data"])
    try:
        return int(frame["id"]), EVENT_ADAPTER.validate_json(frame["data"])
    except (KeyError, ValueError) as error:
        raise OperatorError(f"an event is of another version than this program: {error}") from error
