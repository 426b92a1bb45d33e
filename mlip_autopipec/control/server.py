"""ControlServer: HTTP/1.1 over a Unix socket, versioned under `/v1`.

It reads the published state and hands events in; it owns nothing. Who may ask is decided by the
kernel's word on the peer, never by the message. A steering call is answered when its event is
durable. All steering goes one at a time, so that of two people who pause at once, one is told that
the other was first.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.control import listener
from mlip_autopipec.control.api import (
    HTTP_STATUS,
    Add,
    Cancel,
    ErrorCode,
    Info,
    Redo,
    Refused,
    Reload,
    Reloaded,
    Retry,
    SetValue,
    Steer,
    Steered,
)
from mlip_autopipec.control.documents import View, metrics_text, view
from mlip_autopipec.control.feed import Feed
from mlip_autopipec.control.limits import Limits
from mlip_autopipec.control.names import UserNames
from mlip_autopipec.control.stream import EventStream
from mlip_autopipec.control.task_files import SiteFiles, checked_name, folder_of
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import Stage, TaskStatus, WorkflowState
from mlip_autopipec.errors import ConfigurationError, OperatorError, TransientError
from mlip_autopipec.orchestration.cancelling import cancelled
from mlip_autopipec.orchestration.machine import can_retry, is_resumable
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.redoing import redone, same_work
from mlip_autopipec.orchestration.restart import onward_text, reopened
from mlip_autopipec.ports import Clock

S = TypeVar("S", bound=Steer)

_DIGITS_MAX = 15
#: So many tasks are named in a refusal.
_NAMES_MAX = 5
#: So much of what a client has sent is shown back.
_TEXT_MAX = 80

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: What aiohttp refuses by itself, in our words.
_HTTP_CODES: Mapping[int, ErrorCode] = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.TOO_LARGE,
}
_LOG = logging.getLogger(__name__)


class Workflow(Protocol):
    """What the server needs of WorkflowManager."""

    @property
    def state(self) -> WorkflowState:
        """The published state.

        It is replaced, and the observers are called, with no await in between.
        """

    @property
    def policy(self) -> Policy:
        """The numbers that decide needs."""

    async def record(self, event: ev.Event, subject: str | None = None) -> bool:
        """Hand an event in and wait until it is durable and folded in.

        Returns False if it was stale and not written.
        """


class SettingsPort(Protocol):
    """What the server needs of who reads the user's files.

    All raise ConfigurationError for what cannot be taken.
    """

    async def reload(
        self, by: ev.Actor, reason: str, *, dry_run: bool
    ) -> tuple[bool, tuple[str, ...]]:
        """Take the site file as it is now, or only compare.

        Returns whether anything was taken, and the difference in lines.
        """

    async def add(
        self, files: Sequence[str], purpose: Literal["label", "walk"], by: ev.Actor, reason: str
    ) -> tuple[bool, tuple[str, ...]]:
        """Take structures of these files."""

    async def set_value(
        self, key: str, value: str, by: ev.Actor, reason: str
    ) -> tuple[bool, tuple[str, ...]]:
        """Give one key another value."""


class ControlServer:
    """The control socket of one campaign. `observe` is an orchestration Observer.

    `history(after)` reads the journal's events behind sequence number `after`, in order; it is
    called and read in threads. `stop(reason, actor)` asks the daemon to stop and `progress()` tells
    of running tasks; neither may block. `files` reads what tasks have left on the site; without it
    such calls are refused.
    """

    def __init__(
        self,
        *,
        socket: Path,
        workflow: Workflow,
        history: Callable[[int], Iterator[tuple[int, ev.Event]]],
        clock: Clock,
        stop: Callable[[str, ev.Actor], None],
        version: str,
        progress: Callable[[], Mapping[str, Progress]] = dict,
        limits: Limits | None = None,
        names: UserNames | None = None,
        files: SiteFiles | None = None,
        settings: SettingsPort | None = None,
    ) -> None:
        self._files = files
        self._reading = asyncio.Lock()
        self._settings = settings
        self._names = names or UserNames()
        self._socket = socket
        self._workflow = workflow
        self._history = history
        self._clock = clock
        self._stop = stop
        self._version = version
        self._progress = progress
        self._limits = limits or Limits()
        self._feed = Feed(self._limits.queue_max)
        self._steering = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._view: View | None = None
        self._server: web.Server | None = None

    async def _actor(self, request: web.Request) -> ev.Actor:
        uid, pid = _peer(request)
        return ev.Actor(uid=uid, pid=pid, name=await self._names.name(uid))

    def observe(self, event: ev.Event, state: WorkflowState) -> None:
        """Hand an event on to live subscribers; never waits."""
        self._feed.observe(event, state)

    async def serve(self, started: asyncio.Event | None = None) -> None:
        """Answer until cancelled; `started` is set when the socket opens. Its name goes at the end.

        Raises CampaignLocked if another daemon answers on the socket, OperatorError if its place is
        not safe.
        """
        backlog = 4 * self._limits.clients_max
        listening = await asyncio.to_thread(listener.open_listener, self._socket, backlog)
        try:
            async with self._running() as runner:
                await web.SockSite(runner, listening).start()
                if started is not None:
                    started.set()
                await asyncio.Event().wait()
        finally:
            listening.close()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[web.AppRunner]:
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            keepalive_timeout=self._limits.idle_timeout_s,
            shutdown_timeout=self._limits.shutdown_timeout_s,
        )
        try:
            await runner.setup()
            self._server = runner.server
            yield runner
        finally:
            await asyncio.to_thread(self._socket.unlink, missing_ok=True)
            self._feed.close()
            await runner.cleanup()

    def _application(self) -> web.Application:
        application = web.Application(
            client_max_size=self._limits.request_bytes_max, middlewares=[_explained, self._admit]
        )
        application.add_routes(
            [
                web.get("/v1/info", self._bounded(self._info)),
                web.get("/v1/status", self._bounded(self._status)),
                web.get("/v1/explain", self._bounded(self._explain)),
                web.get("/v1/tasks/{task}/files", self._bounded(self._task_files)),
                web.get("/v1/tasks/{task}/file", self._bounded(self._task_file)),
                web.post("/v1/pause", self._bounded(self._pause)),
                web.post("/v1/resume", self._bounded(self._resume)),
                web.post("/v1/retry", self._bounded(self._retry)),
                web.post("/v1/cancel", self._bounded(self._cancel)),
                web.post("/v1/reopen", self._bounded(self._reopen)),
                web.post("/v1/add", self._bounded(self._add, self._limits.settings_timeout_s)),
                web.post(
                    "/v1/restart", self._bounded(self._restart, self._limits.settings_timeout_s)
                ),
                web.post(
                    "/v1/reload", self._bounded(self._reload, self._limits.settings_timeout_s)
                ),
                web.post(
                    "/v1/set", self._bounded(self._set_value, self._limits.settings_timeout_s)
                ),
                web.post("/v1/stop", self._bounded(self._stop_daemon)),
                web.get("/v1/events", self._events, allow_head=False),
                web.get("/metrics", self._bounded(self._metrics)),
            ]
        )
        return application

    def _bounded(self, handler: _Handler, limit_s: float | None = None) -> _Handler:
        limit_s = limit_s or self._limits.answer_timeout_s

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                async with asyncio.timeout(limit_s):
                    return await handler(request)
            except TimeoutError:
                message = (
                    f"no answer within {limit_s:g} s; a steering call may still take effect: look"
                    " at status"
                )
                raise Refused(ErrorCode.TIMEOUT, message) from None

        return answer

    @web.middleware
    async def _admit(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in whom the kernel vouches for, and no more than `clients_max` at a time."""
        uid, _ = _peer(request)
        if not listener.is_admitted(uid):
            raise Refused(
                ErrorCode.DENIED, f"uid {uid} may not use this socket: it is of uid {os.geteuid()}"
            )
        if self._server is not None and len(self._server.connections) > self._limits.clients_max:
            raise Refused(
                ErrorCode.BUSY,
                f"{self._limits.clients_max} clients are connected already; try again later",
            )
        return await handler(request)

    # --- looking ----------------------------------------------------------------------------------

    async def _info(self, _: web.Request) -> web.Response:
        return _json(
            Info(version=self._version, campaign=self._workflow.state.campaign, pid=os.getpid())
        )

    async def _status(self, _: web.Request) -> web.Response:
        now = self._clock.now()
        status = (await self._current(now)).status
        return _json(status.model_copy(update={"now": now, "progress": self._progress()}))

    async def _explain(self, _: web.Request) -> web.Response:
        return _json((await self._current(self._clock.now())).explanation)

    async def _task_files(self, request: web.Request) -> web.Response:
        task, folder, live = self._task(request)
        async with self._reading_site() as files:
            return _json(await files.listing(task, folder, live=live))

    async def _task_file(self, request: web.Request) -> web.Response:
        task, folder, live = self._task(request)
        begin = _number(request, "begin") if "begin" in request.query else None
        try:
            name = checked_name(request.query.get("name", ""))
        except ValueError as error:
            raise Refused(ErrorCode.BAD_REQUEST, f"name: {error}") from error
        async with self._reading_site() as files:
            part = await files.part(task, folder, name, begin, live=live)
        if part is None:
            raise Refused(ErrorCode.NOT_FOUND, f"{task} has no file {name}")
        return _json(part)

    def _task(self, request: web.Request) -> tuple[str, str, bool]:
        """Id and folder of a task of any cycle, and whether an attempt at it may still write."""
        task, state = request.match_info["task"], self._workflow.state
        record = state.tasks.get(task) or state.quarantine.get(task)
        folder = record.task.workdir if record is not None else folder_of(task)
        if folder is None:
            raise Refused(
                ErrorCode.NOT_FOUND,
                f"{task[:_TEXT_MAX]!r} is no id of a task; `autopipecctl tasks` lists them",
            )
        return task, folder, record is not None and record.status is TaskStatus.SUBMITTED

    @asynccontextmanager
    async def _reading_site(self) -> AsyncIterator[SiteFiles]:
        """One read at a time: most of the connection is for the campaign."""
        if self._files is None:
            raise Refused(ErrorCode.NOT_FOUND, "this daemon reads no files of tasks")
        async with self._reading:
            try:
                yield self._files
            except (TransientError, OSError) as error:
                raise Refused(ErrorCode.SITE, f"the site: {error}") from error
            except Refused:
                raise
            except OperatorError as error:
                raise Refused(ErrorCode.SITE, str(error)) from error

    async def _current(self, now: datetime) -> View:
        """The view of the published state, made once however many ask."""
        async with self._looking:
            state = self._workflow.state
            if self._view is None or not self._view.holds(state, now):
                self._view = await asyncio.to_thread(view, state, self._workflow.policy, now)
            return self._view

    async def _metrics(self, _: web.Request) -> web.Response:
        text = await asyncio.to_thread(metrics_text, self._workflow.state)
        return web.Response(
            body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        after, follow = _number(request, "after"), _number(request, "follow")
        stream = EventStream(request, self._workflow, self._history, self._feed, self._limits)
        return await stream.send(after=after, follow=bool(follow))

    # --- steering ---------------------------------------------------------------------------------

    async def _pause(self, request: web.Request) -> web.Response:
        actor, reason = await self._actor(request), await _reason(request)
        async with self._steering:
            if self._is_paused_so(reason):
                return self._steered(changed=False)
            event = ev.Paused(at=self._clock.now(), by=actor, reason=reason)
            return self._steered(changed=await self._workflow.record(event))

    def _is_paused_so(self, reason: str) -> bool:
        """Whether there is nothing to do.

        Raises Refused where a pause has no meaning, or would hide another's.
        """
        state = self._workflow.state
        if state.stage is Stage.EMPTY:
            raise Refused(ErrorCode.CONFLICT, "no campaign has been created yet")
        if state.verdict is not None:
            raise _ended(state)
        if state.pause is None:
            return False
        if reason not in {"", state.pause.reason}:
            who, since = (
                state.pause.by.name or f"uid {state.pause.by.uid}",
                f"{state.pause.at:%Y-%m-%d %H:%M:%S} UTC",
            )
            why = state.pause.reason or "none was given"
            raise Refused(
                ErrorCode.CONFLICT,
                f"already paused by {who} since {since} for another reason: {why}",
            )
        return True

    async def _resume(self, request: web.Request) -> web.Response:
        actor, reason = await self._actor(request), await _reason(request)
        async with self._steering:
            state = self._workflow.state
            if not is_resumable(state):
                if state.verdict is not None:
                    raise _ended(state)
                return self._steered(changed=False)
            event = ev.Resumed(at=self._clock.now(), by=actor, reason=reason)
            return self._steered(changed=await self._workflow.record(event))

    async def _retry(self, request: web.Request) -> web.Response:
        actor, body = await self._actor(request), await _body(request, Retry)
        async with self._steering:
            self._check_retry(body.task)
            event = ev.TaskRetried(
                at=self._clock.now(), task=body.task, by=actor, reason=body.reason
            )
            return self._steered(changed=await self._workflow.record(event))

    def _check_retry(self, task: str) -> None:
        """Raises Refused, with what there is to be retried, for a task that was not given up."""
        state = self._workflow.state
        if state.verdict is not None:
            raise _ended(state)
        if not can_retry(state, task):
            names = [name for name in (*state.quarantine, *state.tasks) if can_retry(state, name)]
            there = (
                f"; given up are {', '.join(names[:_NAMES_MAX])}"
                if names
                else "; nothing has been given up"
            )
            raise Refused(ErrorCode.CONFLICT, f"{task} is no calculation that was given up{there}")

    async def _cancel(self, request: web.Request) -> web.Response:
        actor, body = await self._actor(request), await _body(request, Cancel)
        async with self._steering:
            try:
                names = cancelled(
                    self._workflow.state, body.tasks, body.phase, everything=body.everything
                )
            except OperatorError as error:
                raise Refused(ErrorCode.CONFLICT, str(error)) from error
            if not names:
                return self._steered(changed=False)
            event = ev.TasksCancelled(
                at=self._clock.now(), tasks=names, by=actor, reason=body.reason
            )
            return self._steered(changed=await self._workflow.record(event))

    async def _reopen(self, request: web.Request) -> web.Response:
        actor, reason = await self._actor(request), await _reason(request)
        async with self._steering:
            state = self._workflow.state
            if state.verdict is None:
                return self._steered(changed=False)
            event = reopened(state, self._clock.now(), actor, reason)
            return self._steered(changed=await self._workflow.record(event))

    async def _reload(self, request: web.Request) -> web.Response:
        actor, body = await self._actor(request), await _body(request, Reload)
        settings = self._require_settings()
        return await self._taken(settings.reload(actor, body.reason, dry_run=body.dry_run))

    async def _add(self, request: web.Request) -> web.Response:
        actor, body = await self._actor(request), await _body(request, Add)
        if self._workflow.state.verdict is not None:
            raise _ended(self._workflow.state)
        return await self._taken(
            self._require_settings().add(body.files, body.purpose, actor, body.reason)
        )

    async def _restart(self, request: web.Request) -> web.Response:
        """Go back to the begin of a phase.

        Nothing may be steered meanwhile: what is set aside is counted once.
        """
        actor, body = await self._actor(request), await _body(request, Redo)
        async with self._steering:
            if self._workflow.state.batches and not body.dry_run:
                raise Refused(
                    ErrorCode.CONFLICT,
                    "attempts are at work: wait for them, or autopipecctl cancel --all",
                )

            def read() -> tuple[ev.PhaseRedone, tuple[str, ...]]:
                past = (event for _, event in self._history(0))
                now, reason = self._clock.now(), body.reason
                return redone(past, body.cycle, body.phase, at=now, by=actor, reason=reason)

            before = self._workflow.state
            try:
                event, lines = await asyncio.to_thread(read)
            except OperatorError as error:
                raise Refused(ErrorCode.CONFLICT, str(error)) from error
            if body.dry_run:
                return self._lines(lines, changed=False)
            if not same_work(before, self._workflow.state):
                raise Refused(
                    ErrorCode.CONFLICT, "the campaign went on meanwhile: pause it, then try again"
                )
            changed = await self._workflow.record(event)
            return self._lines(
                lines
                if changed
                else ("the campaign has gone on meanwhile: pause it, then try again",),
                changed=changed,
            )

    async def _set_value(self, request: web.Request) -> web.Response:
        actor, body = await self._actor(request), await _body(request, SetValue)
        settings = self._require_settings()
        return await self._taken(settings.set_value(body.key, body.value, actor, body.reason))

    def _require_settings(self) -> SettingsPort:
        if self._settings is None:
            raise Refused(ErrorCode.CONFLICT, "this daemon reads no site file")
        return self._settings

    async def _taken(self, taking: Awaitable[tuple[bool, tuple[str, ...]]]) -> web.Response:
        try:
            changed, lines = await taking
        except ConfigurationError as error:
            raise Refused(ErrorCode.CONFLICT, str(error)) from error
        return self._lines(lines, changed=changed)

    def _lines(self, lines: tuple[str, ...], *, changed: bool) -> web.Response:
        state = self._workflow.state
        return _json(Reloaded(changed=changed, lines=lines, status=state.status, seq=state.seq))

    async def _stop_daemon(self, request: web.Request) -> web.Response:
        actor, reason = await self._actor(request), await _reason(request)
        self._stop(reason, actor)
        return self._steered(changed=True)

    def _steered(self, *, changed: bool) -> web.Response:
        state = self._workflow.state
        return _json(Steered(changed=changed, status=state.status, seq=state.seq))


def _ended(state: WorkflowState) -> Refused:
    onward = onward_text(state.verdict)
    return Refused(
        ErrorCode.CONFLICT,
        f"the campaign has ended: {state.verdict}{'. ' if onward else ''}{onward}",
    )


@web.middleware
async def _explained(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Every refusal as the same JSON document."""
    try:
        return await handler(request)
    except Refused as refusal:
        return _refusal(refusal)
    except web.HTTPException as error:
        code = _HTTP_CODES.get(error.status, ErrorCode.BAD_REQUEST)
        answer = _refusal(Refused(code, f"{request.method} {request.path}: {error.reason}"))
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer
    except ConnectionError as error:  # the client left before it was answered: nobody reads this
        return _refusal(Refused(ErrorCode.BAD_REQUEST, str(error)))
    except Exception as error:  # noqa: BLE001 - told and logged; a fault in an answer is no reason to end a campaign
        _LOG.exception("%s %s failed", request.method, request.path)
        return _refusal(Refused(ErrorCode.INTERNAL, f"{type(error).__name__}: {error}"))


def _refusal(refusal: Refused) -> web.Response:
    return _json(refusal.answer(), status=HTTP_STATUS[refusal.code])


def _json(document: BaseModel, status: int = 200) -> web.Response:
    return web.Response(
        body=document.model_dump_json().encode(), status=status, content_type="application/json"
    )


def _peer(request: web.Request) -> tuple[int, int]:
    """Uid and pid of who connected."""
    connection = request.get_extra_info("socket")  # None once it is closed
    if connection is None:
        raise ConnectionResetError("the client has gone")
    return listener.peer(connection)


async def _reason(request: web.Request) -> str:
    """The reason in a steering call's body; a call without a body gives none."""
    return (await _body(request, Steer)).reason


async def _body(request: web.Request, kind: type[S]) -> S:
    """The body of a steering call."""
    body = await request.read()
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as error:
        message = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()
        )
        raise Refused(ErrorCode.BAD_REQUEST, message) from error


def _number(request: web.Request, name: str) -> int:
    """A query parameter that is a whole number, 0 if left out."""
    text = request.query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise Refused(ErrorCode.BAD_REQUEST, f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)
