"""The report, written again whenever a cycle has closed, after what it lacks has been fetched from the site."""

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

from pydantic import TypeAdapter
from structlog.typing import FilteringBoundLogger

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import FileRef
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import TransientError

#: Brings files of the site to where the report reads them. Raises TransientError, OSError.
Fetch = Callable[[Sequence[FileRef]], Awaitable[None]]

#: On a busy machine, at the lowest priority.
REPORT_TIMEOUT_S = 300.0
#: Linux's; elsewhere a report may outlive its daemon.
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
_PR_SET_PDEATHSIG = 1
_FILES = TypeAdapter(tuple[FileRef, ...])


class Reporter:
    """Writes the report after each cycle, in a process of its own and at the lowest priority: matplotlib is slow.

    A campaign does not end for want of a picture: a report that cannot be written is told of and tried again after
    the next cycle.
    """

    def __init__(self, command: Sequence[str], logger: FilteringBoundLogger, fetch: Fetch | None = None) -> None:
        """`command` writes the report, or lists what it lacks; `fetch` brings that from a site elsewhere."""
        self._command = command
        self._logger = logger
        self._fetch = fetch
        self._due = asyncio.Event()

    def observe(self, event: ev.Event, _: WorkflowState) -> None:
        """A closed cycle is worth a report."""
        if isinstance(event, ev.CycleClosed):
            self._due.set()

    async def run(self) -> None:
        """One report at a time, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.render()

    async def render(self, timeout_s: float = REPORT_TIMEOUT_S) -> None:
        """Write the report, or say why there is none."""
        try:
            async with asyncio.timeout(timeout_s):
                if self._fetch is not None:
                    await self._gather(self._fetch)
                _, words = await self._run()
        except TimeoutError:
            words = f"it took more than {timeout_s:g} s"
        except OSError as error:
            words = str(error)
        if words:
            self._logger.warning("no report", why=words)

    async def _gather(self, fetch: Fetch) -> None:
        """Bring what the report shows and the site alone has. Without it, the report says that it is missing."""
        told, words = await self._run("--missing")
        if words:
            return  # the report will fail for the same reason, and tell it
        if not (lacking := _FILES.validate_json(told)):
            return
        try:
            await fetch(lacking)
        except TransientError as error:
            self._logger.warning("the report lacks what the site has", why=str(error))

    async def _run(self, *more: str) -> tuple[bytes, str]:
        """Run the command to its end: what it says, and its complaint if it failed."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            *more,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_begin,
        )
        try:
            told, words = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return told, words.decode("utf-8", "replace").strip() if process.returncode else ""


def _begin() -> None:
    """At the lowest priority, and to end with the daemon however that ends: two reports have one place to be made."""
    with contextlib.suppress(PermissionError):  # a sandbox may forbid even that; the report matters more
        os.nice(19)
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
