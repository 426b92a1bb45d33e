"""The report beside a campaign: written in a process of its own, and waited for no longer than asked."""

import contextlib
import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from mlip_autopipec.data_models.base import FileRef
from mlip_autopipec.errors import TransientError
from mlip_autopipec.observability.leftovers import keep_copies
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


#: Says what it lacks, or writes what it was given.
LACKS = """
import json, pathlib, sys
place = pathlib.Path(sys.argv[1])
if sys.argv[2:] == ["--missing"]:
    print(json.dumps([{"path": "p/003/parity.json", "sha256": "%s"}]))
else:
    copy = place / "p/003/parity.json"
    (place / "report.html").write_text(copy.read_text() if copy.exists() else "it is missing")
"""


@pytest.mark.parametrize(
    ("content", "told"), [(b"points", "points"), (b"forged", "it is missing"), (None, "it is missing")]
)
async def test_what_a_report_lacks_is_brought_from_the_site(content: bytes | None, told: str, tmp_path: Path) -> None:
    """Only as the task left it; and a site that is away is no reason to have no report."""
    command = [sys.executable, "-c", LACKS % hashlib.sha256(b"points").hexdigest(), str(tmp_path)]

    async def fetch(files: Sequence[FileRef]) -> None:
        if content is None:
            raise TransientError("the line is cut")
        keep_copies(files, {file.path: content for file in files}, tmp_path)

    with capture_logs() as logged:
        await Reporter(command, structlog.get_logger(), fetch).render()
    assert (tmp_path / "report.html").read_text() == told
    assert [one["why"] for one in logged] == ([] if content else ["the line is cut"])


DAEMON = """
import asyncio, sys, structlog
from mlip_autopipec.observability.reporter import Reporter
command = [sys.executable, "-c", "import sys, time; open(sys.argv[1], 'w'); time.sleep(60)", sys.argv[1]]
asyncio.run(Reporter(command, structlog.get_logger()).render())
"""


def test_a_report_ends_with_its_daemon(tmp_path: Path) -> None:
    """Else that of a killed daemon would write into the report of the next one."""
    mark = tmp_path / "mark"
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, str(mark)])
    until = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert len(processes_with(str(mark))) == 2
    daemon.kill()
    daemon.wait()
    until = time.monotonic() + 10
    while processes_with(str(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    assert processes_with(str(mark)) == []


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
