"""The report beside a campaign: written in a process of its own, and waited for no longer than asked."""

import contextlib
import sys
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from mlip_autopipec.observability.reporter import Reporter

#: Reports have the lowest priority, and others may use the machine.
pytestmark = pytest.mark.timeout(600)


async def test_a_report_that_takes_too_long_is_given_up_with_its_process(tmp_path: Path) -> None:
    """Who stops the daemon does not wait for a picture."""
    mark = str(tmp_path / "mark")
    slow = [sys.executable, "-c", "import time; time.sleep(60)", mark]
    with capture_logs() as told:
        await Reporter(slow, structlog.get_logger()).render(0.2)
    assert told == [{"event": "no report", "why": "it took more than 0.2 s", "log_level": "warning"}]
    assert processes_with(mark) == []


def processes_with(word: str) -> list[Path]:
    """Those that were started with this word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found += [path] if word.encode() in path.read_bytes() else []
    return found


async def test_why_there_is_no_report_is_in_the_log() -> None:
    """The command's own words; and nothing where it has succeeded."""
    with capture_logs() as told:
        await Reporter([sys.executable, "-c", "raise SystemExit('no room')"], structlog.get_logger()).render()
        await Reporter([sys.executable, "-c", ""], structlog.get_logger()).render()
    assert told == [{"event": "no report", "why": "no room", "log_level": "warning"}]
