"""A stream of server-sent events: first the journal's, then live ones, without gap or duplicate.

The journal is read until it has caught up with the published state; then, with no await in between,
the stream subscribes. So every event is either in what was read or comes live. The journal may be a
little ahead of the state (an event is durable before it is published): what was sent from there is
skipped when it comes.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from aiohttp import web

from mlip_autopipec.control.api import ErrorCode, Refused
from mlip_autopipec.control.feed import Feed
from mlip_autopipec.control.limits import Limits
from mlip_autopipec.data_models.events import Event
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.writing import holds_many, json_of
from mlip_autopipec.errors import BugError

#: The journal is read and sent in pieces of about this size; one event may be larger.
_CHUNK_BYTES = 256 * 1024
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
_LOG = logging.getLogger(__name__)


class Published(Protocol):
    """Who has the current state."""

    @property
    def state(self) -> WorkflowState:
        """The state after the last event that was handed to the feed."""


class EventStream:
    """Answers one `GET /v1/events`."""

    def __init__(
        self,
        request: web.Request,
        published: Published,
        history: Callable[[int], Iterator[tuple[int, Event]]],
        feed: Feed,
        limits: Limits,
    ) -> None:
        self._request = request
        self._published = published
        self._history = history
        self._feed = feed
        self._limits = limits
        self._response = web.StreamResponse(headers=_HEADERS)
        self._cursor = 0

    async def send(self, *, after: int, follow: bool) -> web.StreamResponse:
        """Send events numbered above `after`; with `follow`, until the client or the daemon goes.

        An error while reading the journal ends the stream with an `error` event: its head has been
        sent by then.
        """
        self._cursor = after
        await self._response.prepare(self._request)
        try:
            await self._send_all(follow=follow)
            async with asyncio.timeout(self._limits.write_timeout_s):
                await self._response.write_eof()
        # the client is too slow, or gone: nothing of ours is wrong
        except (
            TimeoutError,
            ConnectionError,
        ):
            self._abort()
        return self._response

    async def _send_all(self, *, follow: bool) -> None:
        try:
            await self._catch_up()
            if follow:
                await self._follow()
        except (TimeoutError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - told and logged; an unreadable record is no reason to end a campaign
            _LOG.exception("the stream of events failed after event %d", self._cursor)
            answer = Refused(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}").answer()
            await self._write(b"event: error\ndata: %s\n\n" % answer.model_dump_json().encode())

    async def _catch_up(self) -> None:
        """Send the journal up to the published state, and what it holds beyond."""
        while self._cursor < self._published.state.seq:
            before = self._cursor
            pieces = _pieces(await asyncio.to_thread(self._history, before))
            while piece := await asyncio.to_thread(next, pieces, None):
                await self._write(piece[0])
                self._cursor = piece[1]
            if self._cursor == before:
                raise BugError(
                    f"the journal ends at {before}, before the state it gave"
                    f" ({self._published.state.seq})"
                )

    async def _follow(self) -> None:
        with self._feed.subscribe(self._abort) as subscription:
            while True:
                try:
                    async with asyncio.timeout(self._limits.heartbeat_s):
                        events = await subscription.take()
                except TimeoutError:
                    await self._write(b": quiet\n\n")
                    continue
                if not events:  # ended, and all that was published is sent
                    return
                fresh = [item for item in events if item[0] > self._cursor]
                made: Iterable[tuple[bytes, int]] = _pieces(fresh)
                # the plan of 10,000 tasks takes a tenth of a second
                if any(holds_many(event) for _, event in fresh):
                    made = await asyncio.to_thread(list, made)
                for frames, seq in made:
                    await self._write(frames)
                    self._cursor = seq

    async def _write(self, data: bytes) -> None:
        """Raises TimeoutError if the client takes nothing, ConnectionResetError if it has gone."""
        async with asyncio.timeout(self._limits.write_timeout_s):
            await self._response.write(data)

    def _abort(self) -> None:
        """Cut the connection, with whatever is still on its way."""
        if self._request.transport is not None:
            self._request.transport.abort()


def _pieces(records: Iterable[tuple[int, Event]]) -> Iterator[tuple[bytes, int]]:
    """Frames of events in pieces of about _CHUNK_BYTES, each with the number of its last event.

    If reading fails, what was read before comes first.
    """
    frames: list[bytes] = []
    size = last = 0
    try:
        for seq, event in records:
            frames.append(b"id: %d\ndata: %b\n\n" % (seq, json_of(event)))
            size, last = size + len(frames[-1]), seq
            if size >= _CHUNK_BYTES:
                yield b"".join(frames), last
                frames, size = [], 0
    except Exception:
        if frames:
            yield b"".join(frames), last
        raise
    if frames:
        yield b"".join(frames), last
