"""What a person sees of a campaign in the foreground.

That is lines, a live footer on a terminal, and the closing words.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import TaskStatus, WorkflowState
from mlip_autopipec.orchestration.census import census
from mlip_autopipec.orchestration.needs import need_text
from mlip_autopipec.orchestration.restart import onward_text
from mlip_autopipec.ports import Clock
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.telling.words import beside, elapsed, one_line

#: Events that are right and tell a person nothing new.
_BORING = (ev.SubmissionBegun,)
#: A fault that passes is not worth a line; one that has put something off this often in a row is,
#: once.
_DEFERRALS_WORTH_A_LINE = 3
#: Labels that come faster share a line.
_LABELS_APART_S = 10.0
_OVER = (TaskStatus.DONE, TaskStatus.QUARANTINED)
_ROWS_MAX = 12
_RUNNING_MAX = 4
_COLUMNS = ("cycle", "labels", "halts", "test E meV/atom", "test F meV/Å", "potential")


class ConsoleProgress:
    """An Observer for a foreground daemon; as a context manager, it leaves the terminal in order.

    A stream that fails (a closed pipe, a terminal that is gone) silences it: a campaign does not
    end because nobody watches. `failure` then says why.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        interactive: bool,
        clock: Clock,
        running: Callable[[], Mapping[str, Progress]] = dict,
    ) -> None:
        """`running()` says how far running tasks are, by task, and may not wait."""
        self.failure: Exception | None = None
        self._stream = stream
        self._clock = clock
        self._running = running
        self._began = clock.now()
        self._label_said_s: float | None = None
        self._labels_unsaid = 0
        self._state = WorkflowState()
        self._live = _live(stream, self) if interactive else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._guard(self._live.start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._guard(self._live.stop)

    def __call__(self, event: ev.Event, state: WorkflowState) -> None:
        """`state` is the one after `event`."""
        self._state = state
        if self.failure is None and _interesting(event, state):
            sentence = (
                self._label_line(event, state) if _is_label(event) else describe(event, state)
            )
            if sentence is not None:
                line = f"{elapsed(self._elapsed_s())}  {sentence}"
                self._guard(lambda: self._say(line))

    def _label_line(self, event: ev.Event, state: WorkflowState) -> str | None:
        """A lone label in its own words, many together by their count, and None until it is due."""
        now_s = self._elapsed_s()
        if self._label_said_s is not None and now_s - self._label_said_s < _LABELS_APART_S:
            self._labels_unsaid += 1
            return None
        unsaid, self._labels_unsaid, self._label_said_s = self._labels_unsaid, 0, now_s
        if not unsaid:
            return describe(event, state)
        own = census(state).own
        return f"{own[TaskStatus.DONE]} of {sum(own.values())} labelled"

    def __rich_console__(self, _: Console, __: ConsoleOptions) -> RenderResult:
        """The footer, as it is now; the live display asks for it again and again."""
        yield footer(self._state, self._elapsed_s(), self._running())

    def _guard(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, ValueError) as failure:  # what a stream raises that is broken or closed
            self.failure = failure

    def _say(self, line: str) -> None:
        if self._live is None:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()
            return
        self._live.console.print(Text(line))
        self._live.refresh()
        if self._live.console.quiet:
            raise BrokenPipeError("nobody reads any more")

    def _elapsed_s(self) -> float:
        return (self._clock.now() - self._began).total_seconds()


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Fall silent. The inherited answer would end the process, and with it the campaign."""
        self.quiet = True


def _live(stream: TextIO, footer_source: ConsoleProgress) -> Live:
    console = _Terminal(
        file=stream, force_terminal=True, highlight=False, markup=False, emoji=False
    )
    return Live(
        footer_source,
        console=console,
        refresh_per_second=1,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def footer(state: WorkflowState, elapsed_s: float, running: Mapping[str, Progress]) -> Group:
    """What stays at the bottom of a terminal.

    That is the closed cycles, where the campaign is now, and what is running.
    """
    parts: list[Table | Text] = [Text(_position(state, elapsed_s), style="bold")]
    for task, progress in islice(running.items(), _RUNNING_MAX):
        line = f"  {one_line(task)}  {progress.done:.0%}  {one_line(progress.message)}"
        parts.append(Text(line, no_wrap=True, overflow="ellipsis"))
    if state.cycles:
        parts.insert(0, _table(state))
    return Group(*parts)


def final_text(state: WorkflowState, report: Path, of_report: str = "") -> str:
    """The closing block: verdict, reason, cycles, and where the potential and the report are.

    `of_report` is what there is to say of a report that is not whole.
    """
    lines = [
        f"{state.campaign}: {state.status}",
        *([state.verdict_reason] if state.verdict_reason else []),
        *([onward] if (onward := onward_text(state.verdict)) else []),
        *(
            [f"paused: {state.pause.reason}"]
            if state.pause is not None and state.pause.mender is not None
            else []
        ),
        "",
        *_rows(state),
        *([""] if state.cycles else []),
        *_progress(state.cycles),
        *_needs(state.cycles),
        f"potential  {state.latest_potential_path or 'none yet'}",
        f"report     {report}{f' ({of_report})' if of_report else ''}",
    ]
    return "\n".join(lines)


def _needs(cycles: tuple[CycleSummary, ...]) -> Iterator[str]:
    """How many needs are met, and those that are not."""
    needs = cycles[-1].needs if cycles else ()
    if needs:
        yield f"needs      {sum(need.met for need in needs)} of {len(needs)} are met"
    for need in needs:
        if not need.met:
            yield f"           {need_text(need)}"


def _progress(cycles: tuple[CycleSummary, ...]) -> Iterator[str]:
    """What was learnt, on one and the same test set."""
    last = cycles[-1] if cycles else None
    if last is not None and last.test is not None and last.test_of_first is not None:
        first, now = last.test_of_first.force_mev_per_angstrom, last.test.force_mev_per_angstrom
        yield (
            f"force      {first:.1f} meV/Å for the first potential, {now:.1f} now, both on the"
            " last test set"
        )


def _is_label(event: ev.Event) -> bool:
    """Whether it is a calculation that has succeeded."""
    match event:
        case ev.TaskEnded(outcome=Outcome(status="done", metrics=CalculateMetrics())):
            return True
        case _:
            return False


def _interesting(event: ev.Event, state: WorkflowState) -> bool:
    if isinstance(event, ev.EffectDeferred):
        deferral = state.deferrals.get(event.subject)
        return deferral is not None and deferral.times == _DEFERRALS_WORTH_A_LINE
    if isinstance(event, ev.JobsSighted):
        return any(sighting.state is ev.JobState.HELD for sighting in event.sightings)
    return not isinstance(event, _BORING)


def _position(state: WorkflowState, elapsed_s: float) -> str:
    phase = state.current_phase or "between two cycles"
    over = sum(record.status in _OVER for record in state.own_tasks)
    tasks = f"  {over}/{len(state.own_tasks)} tasks" if state.own_tasks else ""
    status = "" if state.status == "running" else f"  {state.status}"
    return f"cycle {state.cycle_index}  {phase}{tasks}  {elapsed(elapsed_s)}{status}"


def _table(state: WorkflowState) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for row in _all_cells(state)[-_ROWS_MAX:]:
        table.add_row(*row)
    return table


def _rows(state: WorkflowState) -> Iterator[str]:
    if state.cycles:
        cells = [_COLUMNS, *_all_cells(state)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(_COLUMNS))]
        for row in cells:
            yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def _all_cells(state: WorkflowState) -> list[tuple[str, ...]]:
    """A row for each cycle; errors are all on the test set of the last fit."""
    measured = {past.cycle: past.errors for past in state.measured}
    return [
        _cells(cycle, measured.get(cycle.cycle) if cycle.test else None) for cycle in state.cycles
    ]


def _cells(cycle: CycleSummary, test: Errors | None) -> tuple[str, ...]:
    halts = f"{cycle.halts}/{cycle.walkers}" if cycle.walkers else "–"
    energy = f"{test.energy_mev_per_atom:.2f}" if test else "–"
    force = f"{test.force_mev_per_angstrom:.1f}" if test else "–"
    fate = "no fit" if cycle.test is None else "promoted" if cycle.promoted else "kept the old"
    labels = beside(
        cycle.labels_train + cycle.labels_test, cycle.adopted_train + cycle.adopted_test
    )
    return (str(cycle.cycle), labels, halts, energy, force, fate)
