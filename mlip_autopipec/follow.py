"""`autopipecctl watch`: a campaign as it goes, from its journal on this disk and its daemon's word.

The journal is what is shown, so there is something to see before a daemon answers and after it has
gone. The daemon is asked for what no journal has: how far running tasks are, and whether it is
there.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.control.api import Status
from mlip_autopipec.control.paint import Painter, plain
from mlip_autopipec.control.watch_screen import Recent, Seen, frame
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.terminal import say
from mlip_autopipec.errors import DaemonUnreachable
from mlip_autopipec.journal.lock import read_holder
from mlip_autopipec.journal.replay import fold, read
from mlip_autopipec.journal.snapshot import load_snapshot
from mlip_autopipec.ports import Clock
from mlip_autopipec.telling.describe import describe

#: Between two looks.
LOOK_S = 1.0
#: The daemon is asked at every so manieth look.
_ASK_EVERY = 2
#: A daemon that does not answer for so long has gone: one that begins anew needs a few seconds.
GONE_AFTER_S = 15.0
_RECENT_MAX = 40
#: Events that say nothing that the rest of the screen does not.
_BORING = (ev.SubmissionBegun, ev.JobsSighted)


def _is_counted(event: ev.Event) -> bool:
    """Whether the screen counts it anyhow: a label that was made.

    A line for each would push all others out.
    """
    match event:
        case ev.TaskEnded(outcome=Outcome(status="done", metrics=CalculateMetrics())):
            return True
        case _:
            return False


@dataclass(slots=True)
class Journalled:
    """A journal as it grows: the state, and the last events in words."""

    folder: Path
    state: WorkflowState = field(default_factory=WorkflowState)
    at: datetime | None = None
    stopped: bool = False  # the last event says that the daemon has ended
    recent: deque[Recent] = field(default_factory=lambda: deque(maxlen=_RECENT_MAX))
    _written: tuple[tuple[str, int], ...] = ()

    def read(self) -> tuple[Recent, ...]:
        """Fold what has been written since, and give its events.

        Nothing is read where nothing was written.
        """
        files = sorted(self.folder.glob("journal-*.jsonl")) if self.folder.is_dir() else []
        written = tuple((file.name, file.stat().st_size) for file in files)
        if written == self._written:
            return ()
        self._written = written
        if self.at is None and (kept := load_snapshot(self.folder)) is not None:
            self.state = kept.state
            for record in read(self.folder, max(kept.state.seq - _RECENT_MAX, 0)):
                if record.seq <= kept.state.seq:
                    self._note(record.seq, record.event, None)
        fresh = []
        for record in read(self.folder, self.state.seq):
            self.state = fold(self.state, [record])
            fresh.append(self._note(record.seq, record.event, self.state))
        return tuple(each for each in fresh if each is not None)

    def _note(self, seq: int, event: ev.Event, state: WorkflowState | None) -> Recent | None:
        self.at, self.stopped = event.at, isinstance(event, ev.DaemonStopped)
        if isinstance(event, _BORING):
            return None
        noted = Recent(seq, event.at, describe(event, state))
        if not _is_counted(event):
            self.recent.append(noted)
        return noted


class Follower:
    """What there is to be seen of one campaign, look by look."""

    def __init__(self, folder: Path, ask: Callable[[], Awaitable[Status]], clock: Clock) -> None:
        """`folder` is the campaign's; `ask` asks its daemon, and raises DaemonUnreachable."""
        self._folder, self._ask, self._clock = folder, ask, clock
        self._journal = Journalled(folder / "journal")
        self._progress: Mapping[str, Progress] = {}
        self._looks = 0
        self._absence: DaemonUnreachable | None = None
        self._silent_since: datetime | None = None
        #: Events since the look before.
        self.fresh: tuple[Recent, ...] = ()

    async def look(self) -> Seen:
        """Read what is new, and ask the daemon.

        Raises DaemonUnreachable where there is no journal.
        """
        if self._looks % _ASK_EVERY == 0:
            await self._ask_daemon()
        self._looks += 1
        self.fresh = await asyncio.to_thread(self._journal.read)
        if self._journal.at is None:
            raise self._absence or DaemonUnreachable(f"there is no journal in {self._folder}")
        return Seen(
            state=self._journal.state,
            at=self._journal.at,
            recent=tuple(self._journal.recent),
            progress=self._progress,
            absence=await asyncio.to_thread(self._absence_text),
        )

    def end(self) -> int | None:
        """The exit code, if there is nothing more to wait for."""
        if self._journal.state.verdict is not None:
            return 0
        if self._silent_since is None:
            return None
        if self._looks == 1:  # none to begin with: as `status`
            return 0
        silent_s = (self._clock.now() - self._silent_since).total_seconds()
        return (
            DaemonUnreachable.exit_code
            if self._journal.stopped or silent_s >= GONE_AFTER_S
            else None
        )

    async def _ask_daemon(self) -> None:
        try:
            status = await self._ask()
        except DaemonUnreachable as error:
            self._absence, self._progress = error, {}
            self._silent_since = self._silent_since or self._clock.now()
            return
        self._absence, self._silent_since, self._progress = None, None, status.progress

    def _absence_text(self) -> str:
        if self._absence is None:
            return ""
        as_of = f"as of event {self._journal.state.seq}"
        if self._journal.stopped:
            return f"the daemon has stopped; {as_of}"
        holder = read_holder(self._folder)
        if holder is None:
            return f"no daemon runs; {as_of}"
        if not holder.is_here:
            return f"the daemon runs on {holder.host} and can be asked there only; {as_of}"
        return f"the daemon (process {holder.pid}) does not answer; {as_of}"


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where it is shown. `size` gives columns and lines; `live`: it can be painted in place."""

    stream: TextIO
    size: Callable[[], tuple[int, int]]
    live: bool
    colour: bool


class _TerminalGone(Exception):  # noqa: N818 - the name is the fact
    """Nobody reads what is written any more."""


def this_terminal() -> Terminal:
    """Standard output, as the environment describes it."""
    stream = sys.stdout
    live = stream.isatty() and os.environ.get("TERM", "dumb") not in {"", "dumb"}

    def size() -> tuple[int, int]:
        if not live:
            return tuple(shutil.get_terminal_size())  # type: ignore[return-value] # columns, lines
        columns, lines = os.get_terminal_size(stream.fileno())
        return columns or 80, lines or 24

    return Terminal(stream, size, live, colour=live and not os.environ.get("NO_COLOR"))


async def watch(follower: Follower, terminal: Terminal, clock: Clock) -> int:
    """Show the campaign until a verdict, its daemon's end or cancellation; return the exit code.

    0: a verdict, or no daemon ran to begin with; 3: the daemon has gone. Where nobody reads any
    more it ends with 0, as nobody is left to be told. Raises DaemonUnreachable where there is no
    journal.
    """
    try:
        return await (_painted if terminal.live else _printed)(follower, terminal, clock)
    except _TerminalGone:
        _silence(terminal.stream)
        return 0


async def _painted(follower: Follower, terminal: Terminal, clock: Clock) -> int:
    """In place; when it ends, the last screen stays as text."""

    def write(text: str) -> None:
        with _written():
            terminal.stream.write(text)
            terminal.stream.flush()

    seen, code = await follower.look(), follower.end()
    painter = Painter(write, colour=terminal.colour)
    with _suspended_by(painter.leave):
        try:
            while code is None:
                columns, lines = terminal.size()
                painter.paint(frame(seen, columns, lines), columns, lines)
                await clock.sleep(LOOK_S)
                seen, code = await follower.look(), follower.end()
        finally:
            painter.leave()
            _print(seen, terminal)
    return code


@contextmanager
def _suspended_by(leave: Callable[[], object]) -> Iterator[None]:
    """^Z gives the terminal back before the process stops; the next paint after `fg` is whole."""

    def suspend() -> None:
        leave()
        os.kill(os.getpid(), signal.SIGSTOP)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTSTP)


async def _printed(follower: Follower, terminal: Terminal, clock: Clock) -> int:
    """Where nothing can be painted.

    One screen, then a line for each event, and a screen at the end.
    """
    seen, code = await follower.look(), follower.end()
    _print(seen, terminal)
    if code is not None:
        return code
    while code is None:
        await clock.sleep(LOOK_S)
        seen, code = await follower.look(), follower.end()
        with _written():
            for event in follower.fresh:
                line = f"{event.seq:>6}  {event.at:%Y-%m-%d %H:%M:%S}  {event.message}"
                say(line, stream=terminal.stream)
    _print(seen, terminal)
    return code


def _print(seen: Seen, terminal: Terminal) -> None:
    columns, lines = terminal.size()
    with _written():
        for row in frame(seen, columns, lines - 1):
            say(plain(row), stream=terminal.stream)


@contextmanager
def _written() -> Iterator[None]:
    """Raises _TerminalGone where the reader of what is written has gone."""
    try:
        yield
    except OSError as error:
        raise _TerminalGone from error


def _silence(stream: TextIO) -> None:
    """What is left in its buffer goes nowhere, so that the exit makes no noise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def run(follower: Follower, terminal: Terminal, clock: Clock) -> int:
    """`watch`, until its end or a signal. ^C is the usual way to leave, and no error."""

    async def until_signalled() -> int:
        watching = asyncio.ensure_future(watch(follower, terminal, clock))
        caught: list[signal.Signals] = []

        def leave(number: signal.Signals) -> None:
            caught.append(number)
            watching.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, leave, number)
        try:
            return await watching
        except asyncio.CancelledError:
            if not caught:
                raise
            return 0 if caught[0] is signal.SIGINT else 128 + caught[0]

    return asyncio.run(until_signalled())
