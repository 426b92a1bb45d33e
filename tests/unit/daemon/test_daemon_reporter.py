"""The report beside a campaign: written in its own process, waited for no longer than asked."""

import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.daemon.reporter import LAST_REPORT_TIMEOUT_S, Reporter
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import FileTooLarge, TransientError
from mlip_autopipec.report.leftovers import keep_copies

#: Reports have a low priority, and others may use the machine.
pytestmark = pytest.mark.timeout(600)


async def test_a_report_that_takes_too_long_is_given_up_with_its_process(tmp_path: Path) -> None:
    """Who stops the daemon does not wait for a picture."""
    mark = str(tmp_path / "mark")
    slow = [sys.executable, "-c", "import time; time.sleep(60)", mark]
    with capture_logs() as logged:
        await Reporter(slow, structlog.get_logger()).render(0.2)
    assert logged == [
        {"event": "no report", "why": "it took more than 0.2 s", "log_level": "warning"}
    ]
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"points", "points"), (b"forged", "it is missing"), (None, "it is missing")],
)
async def test_what_a_report_lacks_is_brought_from_the_site(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    """Only as the task left it; and a site that is away is no reason to have no report."""
    command = [sys.executable, "-c", LACKS % hashlib.sha256(b"points").hexdigest(), str(tmp_path)]

    async def fetch(files: Sequence[FileRef]) -> None:
        if content is None:
            raise TransientError("the line is cut")
        keep_copies(files, {file.path: content for file in files}, tmp_path)

    with capture_logs() as logged:
        await Reporter(command, structlog.get_logger(), fetch).render()
    assert (tmp_path / "report.html").read_text() == message
    assert [item["why"] for item in logged] == ([] if content else ["the line is cut"])


DAEMON = """
import asyncio, sys, structlog
from mlip_autopipec.daemon.reporter import Reporter
command = [sys.executable, "-c", "import sys, time; open(sys.argv[1], 'w'); time.sleep(60)", sys.argv[1]]
asyncio.run(Reporter(command, structlog.get_logger()).render())
"""  # noqa: E501 - text for another program


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


@pytest.mark.slow
async def test_why_there_is_no_report_is_in_the_log() -> None:
    """The command's own words; and nothing where it has succeeded."""
    with capture_logs() as logged:
        await Reporter(
            [sys.executable, "-c", "raise SystemExit('no room')"], structlog.get_logger()
        ).render()
        await Reporter([sys.executable, "-c", ""], structlog.get_logger()).render()
    assert logged == [{"event": "no report", "why": "no room", "log_level": "warning"}]


@pytest.mark.slow
@pytest.mark.parametrize("dies", ["--missing", "report"])
async def test_a_report_whose_process_is_killed_is_late_and_ends_nothing(
    dies: str, tmp_path: Path
) -> None:
    """A killed child wrote nothing: that is neither a report, nor a list of files."""
    script = f"""
import json, os, signal, sys
if {dies!r} in (sys.argv[2:] or ["report"]):
    os.kill(os.getpid(), signal.SIGKILL)
print("[]")
"""
    command = [sys.executable, "-c", script, str(tmp_path)]

    async def fetch(_: Sequence[FileRef]) -> None:
        """The site has all."""

    with capture_logs() as logged:
        await Reporter(command, structlog.get_logger(), fetch).render()
    assert [item["why"] for item in logged] == (
        ["its process was killed by SIGKILL"] if dies == "report" else []
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "said", ["", "no list", '{"path": 1}', '[{"path": "/etc/passwd", "sha256": "0"}]']
)
async def test_a_list_that_cannot_be_read_costs_the_files_and_no_more(said: str) -> None:
    """It says why, and the report is written without them."""

    async def fetch(_: Sequence[FileRef]) -> None:
        raise AssertionError("nothing was asked for")

    command = [sys.executable, "-c", f"print({said!r})"]
    with capture_logs() as logged:
        await Reporter(command, structlog.get_logger(), fetch).render()
    assert [item["event"] for item in logged] == ["the report lacks what the site has"]
    assert "the list of what it lacks cannot be read" in logged[0]["why"]


@pytest.mark.slow
async def test_a_site_whose_files_are_too_large_costs_no_campaign() -> None:
    """What a person must mend elsewhere is told, and the report is written without it."""

    async def fetch(_: Sequence[FileRef]) -> None:
        raise FileTooLarge("parity.json is larger than anything that is expected there")

    lacks = json.dumps([{"path": "p/003/parity.json", "sha256": "0" * 64}])
    with capture_logs() as logged:
        await Reporter(
            [sys.executable, "-c", f"print({lacks!r})"], structlog.get_logger(), fetch
        ).render()
    assert [item["why"] for item in logged] == [
        "parity.json is larger than anything that is expected there"
    ]


@pytest.mark.parametrize(
    "command", [["/no/such/program"], [sys.executable, "-c", "import os; os.abort()"]]
)
async def test_a_report_that_cannot_be_begun_or_dies_is_told_at_the_end(command: list[str]) -> None:
    """In the log and in the daemon's last words."""
    with capture_logs() as logged:
        message = await Reporter(command, structlog.get_logger()).render_last(LAST_REPORT_TIMEOUT_S)
    assert message.startswith("none: ")
    assert [item["event"] for item in logged] == ["no report"]


@pytest.mark.slow
async def test_the_last_report_has_the_priority_of_its_daemon(tmp_path: Path) -> None:
    """Somebody waits for it, also on a busy machine; those between cycles give way to others."""
    mark = tmp_path / "mark"
    command = [
        sys.executable,
        "-c",
        "import os, sys; open(sys.argv[1], 'w').write(str(os.nice(0)))",
        str(mark),
    ]
    reporter, own = Reporter(command, structlog.get_logger()), os.nice(0)
    await reporter.render()
    assert int(mark.read_text()) == min(own + 10, 19)
    assert await reporter.render_last(LAST_REPORT_TIMEOUT_S, 60.0) == ""
    assert int(mark.read_text()) == own


class PausedClock:
    """A clock whose every sleep waits for a test."""

    def __init__(self) -> None:
        """Nobody has slept by it."""
        self.asked_s = asyncio.Queue[float]()
        self.over = asyncio.Queue[None]()

    def now(self) -> datetime:
        """The wall clock's."""
        return datetime.now(UTC)

    async def sleep(self, delay_s: float) -> None:
        """Until the test says that it is over."""
        self.asked_s.put_nowait(delay_s)
        await self.over.get()


async def test_cycles_that_take_seconds_are_not_reported_one_by_one(tmp_path: Path) -> None:
    """Nothing is reported in the half minute after a report; then all of it at once."""
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", "import sys; open(sys.argv[1], 'a').write('.')", str(mark)]
    reporter, clock = Reporter(command, structlog.get_logger()), PausedClock()
    closed = ev.CycleClosed(at=clock.now(), summary=CycleSummary(cycle=0, bootstrap=True))
    async with asyncio.timeout(60):
        running = asyncio.create_task(reporter.run(clock))
        reporter.observe(closed, WorkflowState())
        assert await clock.asked_s.get() >= 30
        for _ in range(2):
            reporter.observe(closed, WorkflowState())
        assert mark.read_text() == "."
        clock.over.put_nowait(None)
        await clock.asked_s.get()
        assert mark.read_text() == ".."
        clock.over.put_nowait(None)
        await asyncio.sleep(0.2)
        assert mark.read_text() == ".."
        running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


LATE = "import pathlib, sys, time; time.sleep(1.5); pathlib.Path(sys.argv[1]).write_text('whole')"
ENDING = """
import asyncio, sys, structlog
from mlip_autopipec.daemon.reporter import Reporter
logger = structlog.wrap_logger(structlog.PrintLogger(sys.stderr))
print(asyncio.run(Reporter([sys.executable, "-c", sys.argv[2], sys.argv[1]], logger).render_last(0.3, 0.3)))
"""  # noqa: E501 - text for another program


@pytest.mark.slow
def test_a_daemon_that_ends_waits_for_no_picture(tmp_path: Path) -> None:
    """It says that the report is late, and the report is finished without it."""
    mark = tmp_path / "report.html"
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(mark), LATE],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not mark.exists() or time.monotonic() - began > 1.5
    assert "still being written, by process" in done.stdout
    assert "the report is late" in done.stderr
    until = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    assert mark.read_text() == "whole"
