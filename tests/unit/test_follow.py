"""`autopipecctl watch`: what it follows, and how it ends."""

import asyncio
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyte
import pytest
from kit.campaign import Campaign, walk, whole_campaign
from kit.files import DEMO

from mlip_autopipec.config.schemas.phases import ConvergenceSection
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.control.api import Status
from mlip_autopipec.control.documents import view
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import DaemonUnreachable
from mlip_autopipec.follow import GONE_AFTER_S, Follower, Terminal, watch
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.orchestration.policy import Policy

POLICY = Policy(convergence=ConvergenceSection(), grace=timedelta(seconds=60))
Step = Callable[[], Awaitable[None]]


class Stand:
    """A journal, a daemon that may answer, a terminal that keeps what it gets, a scripted clock."""

    def __init__(self, folder: Path, campaign: Campaign, *, live: bool = True) -> None:
        self.folder, self.campaign, self.there = folder, campaign, True
        self.progress: dict[str, Progress] = {}
        self.stream = io.StringIO()
        self.slept_s = 0.0
        self.steps: list[Step] = []
        self.follower = Follower(folder, self.ask, self)
        self.terminal = Terminal(self.stream, lambda: (80, 24), live, colour=False)
        self._journal: FileJournal | None = None
        self._written = 0

    async def ask(self) -> Status:
        if not self.there:
            raise DaemonUnreachable("no daemon answers here")
        status = view(self.campaign.state, POLICY, self.now()).status
        return status.model_copy(update={"progress": self.progress})

    def now(self) -> datetime:
        return self.campaign.now + timedelta(seconds=self.slept_s)

    async def sleep(self, delay_s: float) -> None:
        """A second goes by; the script's next step is done.

        Without one, the test would never end.
        """
        self.slept_s += delay_s
        if not self.steps:
            raise AssertionError("nobody has ended it")
        await self.steps.pop(0)()

    async def write(self) -> None:
        """What the campaign has, into the journal."""
        if self._journal is None:
            self._journal, _ = FileJournal.open(self.folder / "journal", now=self.campaign.now)
        await self._journal.append(self.campaign.events[self._written :])
        self._written = len(self.campaign.events)

    async def run(self, *steps: Step) -> int:
        await self.write()
        self.steps = list(steps)
        try:
            return await watch(self.follower, self.terminal, self)
        finally:
            assert self._journal is not None
            await self._journal.close()

    @property
    def shown(self) -> str:
        """As a terminal has it at the end."""
        screen = pyte.Screen(80, 60)
        pyte.Stream(screen).feed(self.stream.getvalue().replace("\n", "\r\n"))
        return "\n".join(line.rstrip() for line in screen.display).strip()


def exploring() -> tuple[Campaign, str]:
    """Walkers that are handed over, and the first of them."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    tasks = campaign.start(Phase.EXPLORATION, [(walk(t, 1), ()) for t in (300.0, 900.0)])
    campaign.submit(tasks)
    return campaign, tasks[0].id


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path, exploring()[0])


async def nothing() -> None:
    """A second in which nothing happens."""


async def test_it_ends_with_the_verdict(stand: Stand) -> None:
    """The last screen stays as text, below what was painted."""

    async def end() -> None:
        stand.campaign.add(
            ev.VerdictReached(at=stand.now(), verdict=Verdict.STALLED, reason="no progress")
        )
        await stand.write()

    assert await stand.run(nothing, nothing, end) == 0
    painted, _, after = stand.stream.getvalue().rpartition("\x1b[?1049l")
    assert painted.startswith("\x1b[?1049h")
    assert "verdict stalled: no progress" in after
    assert "\x1b" not in after


async def test_it_ends_when_the_daemon_stops_and_says_so(stand: Stand) -> None:
    """The journal has it; nothing is waited for."""

    async def stop() -> None:
        stand.campaign.add(ev.DaemonStopped(at=stand.now(), why="SIGTERM"))
        await stand.write()
        stand.there = False

    assert await stand.run(nothing, stop, nothing) == 3
    assert f"the daemon has stopped; as of event {stand.campaign.state.seq}" in stand.shown


async def test_a_daemon_that_was_killed_is_waited_for_and_then_gone(stand: Stand) -> None:
    """One that begins anew meanwhile is followed on."""

    async def kill() -> None:
        stand.there = False

    async def back() -> None:
        stand.there = True

    quiet = [nothing] * int(GONE_AFTER_S + 4)
    assert await stand.run(kill, *quiet[:6], back, *quiet[:3], kill, *quiet) == 3
    assert "no daemon runs; as of event" in stand.shown
    assert stand.slept_s > GONE_AFTER_S + 9


async def test_where_no_daemon_runs_it_shows_the_campaign_once(stand: Stand) -> None:
    """As `status`, and with its exit code; nothing is painted."""
    stand.there = False
    assert await stand.run() == 0
    assert "\x1b" not in stand.stream.getvalue()
    assert "no daemon runs; as of event" in stand.shown
    assert "exploration 0/2" in stand.shown


async def test_how_far_tasks_are_comes_from_the_daemon(stand: Stand) -> None:
    """The journal has the rest, also of what is written while it runs."""
    first = stand.campaign.state.active_tasks[0].task

    async def go_on() -> None:
        stand.progress = {first: Progress(done=0.3, message="step 300 of 1000", gamma_max=1.25)}

    async def cut() -> None:
        stand.there = False
        stand.campaign.add(ev.DaemonStopped(at=stand.now(), why="SIGTERM"))
        await stand.write()

    await stand.run(nothing, go_on, nothing, nothing, cut, nothing)
    assert "30%" in stand.stream.getvalue()
    assert "γ 1.25" in stand.stream.getvalue()


async def test_a_second_in_which_nothing_happens_sends_nothing(stand: Stand) -> None:
    """So that it can be left open on a slow line."""
    sizes: list[int] = []

    async def note() -> None:
        sizes.append(len(stand.stream.getvalue()))

    async def end() -> None:
        stand.campaign.add(
            ev.VerdictReached(at=stand.now(), verdict=Verdict.STALLED, reason="no progress")
        )
        await stand.write()

    await stand.run(*[note] * 5, end)
    assert len(set(sizes)) == 1


async def test_labels_are_counted_and_not_told_one_by_one(tmp_path: Path) -> None:
    """They would push all else out and cost the line most of what is sent; what failed is told."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    campaign.learn(halts=True, fails=1)
    stand = Stand(tmp_path, campaign)
    await stand.write()
    seen = await stand.follower.look()
    arguments = [event.message for event in seen.recent]
    assert not [line for line in arguments if " labelled: " in line]
    assert [line for line in arguments if " failed (" in line]


async def test_where_nothing_can_be_painted_events_follow_line_by_line(tmp_path: Path) -> None:
    """TERM=dumb or a pipe: no escape sequence, one screen before and one after."""
    stand = Stand(tmp_path, exploring()[0], live=False)

    async def end() -> None:
        stand.campaign.add(
            ev.SiteChanged(at=stand.now(), health=ev.SiteHealth.DEGRADED, message="no route")
        )
        stand.campaign.add(
            ev.VerdictReached(at=stand.now(), verdict=Verdict.STALLED, reason="no progress")
        )
        await stand.write()

    assert await stand.run(nothing, end) == 0
    said = stand.stream.getvalue()
    assert "\x1b" not in said
    assert said.count("copper-3f9a1c  ") == 2
    assert "the site is degraded: no route\n" in said


async def test_a_reader_that_has_gone_ends_it(tmp_path: Path) -> None:
    """A closed pipe makes no noise."""
    reader, writer = os.pipe()
    os.close(reader)
    stand = Stand(tmp_path, exploring()[0])
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        stand.terminal = Terminal(stream, lambda: (80, 24), live=True, colour=False)
        assert await stand.run(*[nothing] * 5) == 0


async def test_without_a_journal_it_is_told_why(tmp_path: Path) -> None:
    """As every command that asks a daemon."""
    stand = Stand(tmp_path / "nothing", Campaign())
    stand.there = False
    with pytest.raises(DaemonUnreachable, match="no daemon answers here"):
        await watch(stand.follower, stand.terminal, stand)


async def test_a_look_costs_no_reading_where_nothing_was_written(stand: Stand) -> None:
    """Of a journal that has grown, only what is new is folded.

    A snapshot of before is believed as a start does.
    """
    await stand.write()
    first = await stand.follower.look()
    assert (await stand.follower.look()).state is first.state
    stand.campaign.add(
        ev.SiteChanged(at=stand.now(), health=ev.SiteHealth.DEGRADED, message="no route")
    )
    await stand.write()
    later = await stand.follower.look()
    assert later.state.site is ev.SiteHealth.DEGRADED
    assert [event.message for event in stand.follower.fresh] == ["the site is degraded: no route"]
    assert isinstance(later.state, WorkflowState)


# --- a real terminal ------------------------------------------------------------------------------


class Pty:
    """A command on a terminal of its own; `watch` unless told."""

    def __init__(
        self, folder: Path, columns: int, lines: int, *arguments: str, **environment: str
    ) -> None:
        config = folder / "site.yaml"
        config.write_text(DEMO.read_text().replace("../campaigns/copper", "copper"))
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.sent = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        command = [
            sys.executable,
            "-c",
            "from mlip_autopipec.cli import main; main()",
            *(arguments or ["watch"]),
            "-c",
            str(config),
        ]
        own = {
            name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}
        }
        given = {**own, "TERM": "xterm", **environment}
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=given)
        os.close(slave)

    def until(self, message: str, timeout_s: float = 15.0) -> str:
        """Read until the screen says so; the screen."""
        until = time.monotonic() + timeout_s
        while message not in (shown := "\n".join(self.screen.display)):
            assert time.monotonic() < until, shown
            self._feed(0.2)
        return shown

    def end(self) -> tuple[int, str]:
        """The exit code, and all that is on the screen then."""
        until = time.monotonic() + 15
        while self.process.poll() is None:
            assert time.monotonic() < until
            self._feed(0.1)
        while self._feed(0.1):
            pass
        os.close(self._master)
        return self.process.returncode, "\n".join(self.screen.display)

    def _feed(self, wait_s: float) -> bool:
        if not select.select([self._master], [], [], wait_s)[0]:
            return False
        try:
            sent = os.read(self._master, 65536)
            self.sent += sent
            self._stream.feed(sent)
        except OSError:  # the other side is closed
            return False
        return True


def journal_of(folder: Path, events: Sequence[ev.Event]) -> None:
    async def write() -> None:
        journal, _ = FileJournal.open(folder / "copper" / "journal", now=events[0].at)
        await journal.append(events)
        await journal.close()

    asyncio.run(write())


@pytest.fixture
def answered(tmp_path: Path) -> Iterator[Path]:
    """A campaign with a daemon that answers, in a process of its own."""
    journal_of(tmp_path, exploring()[0].events)
    script = """
import asyncio, sys
from pathlib import Path
from datetime import timedelta
from mlip_autopipec.config.schemas.phases import ConvergenceSection
from mlip_autopipec.control.address import socket_path
from mlip_autopipec.control.server import ControlServer
from mlip_autopipec.journal.replay import replay
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.process import SystemClock

class Fixed:
    state = replay(Path(sys.argv[1]) / "journal")
    policy = Policy(convergence=ConvergenceSection(), grace=timedelta(seconds=60))

server = ControlServer(socket=socket_path(Path(sys.argv[1])), workflow=Fixed(), history=lambda after: iter(()),
                       clock=SystemClock(), stop=lambda *_: None, version="0")
asyncio.run(server.serve())
"""  # noqa: E501 - text for another program
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "copper")])
    until = time.monotonic() + 20
    while not (tmp_path / "copper" / "control" / "socket").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    yield tmp_path
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 60])
def test_a_real_terminal_shows_it_and_has_its_screen_back_after_an_interrupt(
    answered: Path, columns: int
) -> None:
    """^C is how one leaves: exit code 0, no traceback, and the last screen as text."""
    terminal = Pty(answered, columns, 24, NO_COLOR="1")
    shown = terminal.until("last events")
    assert "copper-3f9a1c  running" in shown
    assert "exploration 0/2" in shown
    terminal.process.send_signal(signal.SIGINT)
    code, after = terminal.end()
    assert code == 0
    assert "Traceback" not in after
    assert "exploration 0/2" in after


@pytest.mark.slow
def test_a_suspended_watch_gives_the_terminal_back_and_comes_again(answered: Path) -> None:
    """^Z: the shell has its own screen; `fg`: all of it is painted anew."""
    terminal = Pty(answered, 80, 24)
    terminal.until("last events")
    terminal.process.send_signal(signal.SIGTSTP)
    stat = Path(f"/proc/{terminal.process.pid}/stat")
    until = time.monotonic() + 15
    while stat.read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < until
        time.sleep(0.02)
    while terminal._feed(0.1):
        pass
    assert terminal.sent.endswith(b"\x1b[?25h\x1b[?1049l")
    before = terminal.sent.count(b"copper-3f9a1c")
    terminal.process.send_signal(signal.SIGCONT)
    until = time.monotonic() + 15
    while terminal.sent.count(b"copper-3f9a1c") == before:
        assert time.monotonic() < until
        terminal._feed(0.2)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end()[0] == 0


@pytest.mark.slow
def test_a_terminal_of_a_verdict_is_left_as_text(tmp_path: Path) -> None:
    """No daemon, and TERM=dumb: plain lines."""
    journal_of(tmp_path, whole_campaign().events)
    terminal = Pty(tmp_path, 60, 24, TERM="dumb")
    code, shown = terminal.end()
    assert code == 0
    assert "copper-3f9a1c" in shown
    assert b"\x1b" not in terminal.sent


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["events"], ["explain"], ["tasks"], ["task", "c000.training"], ["status"]]
)
def test_no_line_breaks_within_a_word_at_60_columns(tmp_path: Path, arguments: list[str]) -> None:
    """A terminal that has to break a line by itself does it in the middle of a word."""
    journal_of(tmp_path, whole_campaign().events)
    terminal = Pty(tmp_path, 60, 200, *arguments, TERM="dumb")
    assert terminal.end()[0] == 0
    lines = terminal.sent.decode().replace("\r", "").splitlines()
    assert lines
    # whole, to be copied
    paths = [line for line in lines if any(len(word) > 40 for word in line.split())]
    assert [line for line in lines if len(line) > 60 and line not in paths] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["watch"], ["status"], ["explain"], ["tasks"], ["task", "c000.training"]]
)
def test_no_colour_and_a_dumb_terminal_are_minded(tmp_path: Path, arguments: list[str]) -> None:
    """NO_COLOR: no colour, wherever it is set to anything; TERM=dumb: no escape sequence at all."""
    journal_of(tmp_path, whole_campaign().events)
    dumb = Pty(tmp_path, 60, 60, *arguments, TERM="dumb")
    assert dumb.end()[0] == 0
    assert b"\x1b" not in dumb.sent
    plain = Pty(tmp_path, 60, 60, *arguments, NO_COLOR="1")
    code, shown = plain.end()
    assert code == 0
    assert not re.search(rb"\x1b\[[0-9;]*(?:3|4|9|10)[0-7][0-9;]*m", plain.sent)
    assert shown.strip()
