"""The report, written again whenever a cycle has closed."""

import asyncio
import contextlib
import os
from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState

#: On a busy machine, at the lowest priority.
REPORT_TIMEOUT_S = 300.0


class Reporter:
    """Writes the report after each cycle, in a process of its own and at the lowest priority: matplotlib is slow.

    A campaign does not end for want of a picture: a report that cannot be written is told of and tried again after
    the next cycle.
    """

    def __init__(self, command: Sequence[str], logger: FilteringBoundLogger) -> None:
        """`command` writes the report."""
        self._command = command
        self._logger = logger
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
                words = await self._run()
        except TimeoutError:
            words = f"it took more than {timeout_s:g} s"
        except OSError as error:
            words = str(error)
        if words:
            self._logger.warning("no report", why=words)

    async def _run(self) -> str:
        """Run the command to its end; its words if it failed."""
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=_lowest_priority,
        )
        try:
            _, words = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return words.decode("utf-8", "replace").strip() if process.returncode else ""


def _lowest_priority() -> None:
    with contextlib.suppress(PermissionError):  # a sandbox may forbid even that; the report matters more
        os.nice(19)
