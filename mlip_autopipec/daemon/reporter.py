"""The report, written again after each cycle, once what it lacks is fetched from the site."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Sequence

from pydantic import TypeAdapter, ValidationError
from structlog.typing import FilteringBoundLogger

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import AutopipecError
from mlip_autopipec.ports import Clock
from mlip_autopipec.spawning import begun

#: Brings files of the site to where the report reads them. Raises AutopipecError, OSError.
Fetch = Callable[[Sequence[FileRef]], Awaitable[None]]

#: On a busy machine, at a low priority.
REPORT_TIMEOUT_S = 300.0
#: Who stops a daemon waits no longer; the report is then finished without it.
LAST_REPORT_TIMEOUT_S = 15.0
#: After a verdict nobody stops it, and what the report lacks may come from the site.
VERDICT_FETCH_TIMEOUT_S = 60.0
#: Behind whoever else works on this machine, and yet a tenth of a core where all are busy: it takes
#: some seconds.
_NICENESS = 10
#: Between two of them: they take a second or two of a core, as a small cycle does.
_PAUSE_S = 30.0
#: For a killed process to be gone: it may hang in a file system.
_KILL_TIMEOUT_S = 5.0
#: Linux's; elsewhere a report may outlive its daemon.
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)
_PR_SET_PDEATHSIG = 1
_FILES = TypeAdapter(tuple[FileRef, ...])


class Reporter:
    """Writes the report each cycle in its own process: matplotlib is slow. Only the last is urgent.

    Where cycles take seconds, not after each of them. A campaign does not end for want of a
    picture: a report that cannot be written is told of and tried again after the next cycle.
    """

    def __init__(
        self, command: Sequence[str], logger: FilteringBoundLogger, fetch: Fetch | None = None
    ) -> None:
        """`command` writes the report, or lists what it lacks.

        `fetch` brings that from a site elsewhere.
        """
        self._command = command
        self._logger = logger
        self._fetch = fetch
        self._due = asyncio.Event()

    def observe(self, event: ev.Event, _: WorkflowState) -> None:
        """A closed cycle is worth a report."""
        if isinstance(event, ev.CycleClosed):
            self._due.set()

    async def run(self, clock: Clock) -> None:
        """One report at a time, and a pause after each, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            await self.render()
            await clock.sleep(_PAUSE_S)

    async def render(self, timeout_s: float = REPORT_TIMEOUT_S) -> None:
        """Write the report, or say why there is none.

        Raises nothing: a campaign does not end for a picture.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._fetched()
                _, message = await self._run(begin=_begin)
        except TimeoutError:
            message = f"it took more than {timeout_s:g} s"
        except (OSError, subprocess.SubprocessError) as error:
            message = str(error)
        if message:
            self._logger.warning("no report", why=message)

    async def render_last(
        self, fetch_timeout_s: float, timeout_s: float = LAST_REPORT_TIMEOUT_S
    ) -> str:
        """Write the report as the daemon ends; wait `timeout_s` at most. Return any words about it.

        For what the site has it waits `fetch_timeout_s` before that. A report that takes longer is
        finished by a process of its own, which ends after REPORT_TIMEOUT_S at the latest. Unlike
        others it has the daemon's priority: somebody waits for this one.
        """
        try:
            async with asyncio.timeout(fetch_timeout_s):
                await self._fetched()
        except TimeoutError:
            self._logger.warning(
                "the report lacks what the site has", why=f"no answer within {fetch_timeout_s:g} s"
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._logger.warning("the report lacks what the site has", why=str(error))
        with tempfile.TemporaryFile() as said:
            try:
                process = self._detached(said.fileno())
            except (OSError, subprocess.SubprocessError) as error:
                self._logger.warning("no report", why=str(error))
                return f"none: {error}"
            try:
                await asyncio.to_thread(process.wait, timeout_s)
            except subprocess.TimeoutExpired:
                self._logger.warning(
                    "the report is late", pid=process.pid, why=f"it takes more than {timeout_s:g} s"
                )
                return f"still being written, by process {process.pid}"
            if process.returncode == 0:
                return ""
            said.seek(0)
            message = said.read().decode("utf-8", "replace").strip() or _ended(process.returncode)
        self._logger.warning("no report", why=message)
        return f"none: {message}"

    async def _fetched(self) -> None:
        """Bring what the report shows and the site alone has.

        Without it, the report says that it is missing.
        """
        if self._fetch is None:
            return
        # quick, and waited for at the end
        output, errors = await self._run("--missing", begin=_end_with_the_daemon)
        if errors:
            return  # the report will fail for the same reason, and tell it
        try:
            if lacking := _FILES.validate_json(output):
                await self._fetch(lacking)
        except ValidationError as error:
            why = (
                "the list of what it lacks cannot be read:"
                f" {error.errors(include_url=False)[0]['msg']}"
            )
            self._logger.warning("the report lacks what the site has", why=why)
        except AutopipecError as error:
            self._logger.warning("the report lacks what the site has", why=str(error))

    async def _run(self, *more: str, begin: Callable[[], None]) -> tuple[bytes, str]:
        """Run the command to its end: what it says, and why it failed, if it did."""
        process = await begun(
            asyncio.create_subprocess_exec(
                *self._command,
                *more,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                preexec_fn=begin,
            ),
            _kill,
        )
        try:
            output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                await _kill(process)
        if not process.returncode:
            return output, ""
        return output, errors.decode("utf-8", "replace").strip() or _ended(process.returncode)

    def _detached(self, stderr: int) -> subprocess.Popen[bytes]:
        """Start the command so as to outlive this process: asyncio would kill it with the loop."""
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=_begin_to_outlive,  # noqa: PLW1509 - two system calls and no lock
        )


def _ended(status: int) -> str:
    """How a process ended that said nothing."""
    if status >= 0:
        return f"its process ended with status {status} and no message"
    with contextlib.suppress(ValueError):
        return f"its process was killed by {signal.Signals(-status).name}"
    return f"its process was killed by signal {-status}"


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End a process with all that it started."""
    with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=_KILL_TIMEOUT_S)


def _begin() -> None:
    """At a low priority, and to end with the daemon however that ends: nobody waits for it then."""
    _yield_to_others()
    _end_with_the_daemon()


def _end_with_the_daemon() -> None:
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _begin_to_outlive() -> None:
    """With an end of its own, as the daemon is no more to see to it.

    It has the daemon's priority, as the daemon waits for it.
    """
    signal.alarm(round(REPORT_TIMEOUT_S))


def _yield_to_others() -> None:
    # a sandbox may forbid even that; the report matters more
    with contextlib.suppress(PermissionError):
        os.nice(_NICENESS)
