"""The status document as a person reads it in a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mlip_autopipec.contract.results.train import Errors, PastErrors
from mlip_autopipec.control.api import Status
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.events import SiteHealth
from mlip_autopipec.data_models.state import ActiveTask
from mlip_autopipec.data_models.text import printable
from mlip_autopipec.telling.words import beside

#: What fits on a screen; `--json` has more.
CYCLES_MAX = 12
#: With fewer columns tables do without rules.
_WIDE_COLUMNS = 78
TASKS_MAX = 15
_STYLES = {
    "running": "green",
    "paused": "yellow",
    "converged": "bold green",
    "inaccurate": "bold yellow",
    "failed": "bold red",
}


def render_status(status: Status) -> RenderableType:
    """A header, the closed cycles, the active tasks, and what the campaign waits for."""
    parts: list[RenderableType] = (
        [_text(f"{status.standstill}.", "bold yellow")] if status.standstill else []
    )
    parts.append(_header(status))
    if status.cycles:
        parts.append(_cycles(status.cycles, status.measured))
    if status.active_tasks:
        parts.append(_active(status))
    parts += [_text(f"• {line}") for line in status.explain]
    return Group(*parts)


def _header(status: Status) -> Panel:
    campaign = _text(status.campaign or "no campaign yet", "bold")
    title = Text("  ").join((campaign, _text(status.status, _STYLES.get(status.status, "cyan"))))
    body = Text("\n").join(_facts(status))
    return Panel(
        body,
        title=title,
        title_align="left",
        subtitle=f"event {status.seq}, {status.now:%Y-%m-%d %H:%M:%S} UTC",
    )


def _facts(status: Status) -> Iterator[Text]:
    counts = ", ".join(f"{count} {word}" for word, count in status.tasks.items() if count)
    yield _text(
        f"cycle {status.cycle}, {status.phase or 'no phase yet'} ({status.stage})"
        + (counts and f": {counts}")
    )
    if status.verdict is not None:
        yield _text(
            f"verdict {status.verdict}: {status.verdict_reason}",
            _STYLES.get(status.verdict, "cyan"),
        )
    if status.pause is not None:
        who, why = (
            status.pause.by.name or f"uid {status.pause.by.uid}",
            status.pause.reason or "no reason given",
        )
        yield _text(
            f"paused by {who} since {status.pause.at:%Y-%m-%d %H:%M:%S} UTC: {why}", "yellow"
        )
    if status.site is not SiteHealth.OK:
        yield _text(f"site {status.site}: {status.site_message}", "red")
    if status.potential is not None:
        energy, force = _errors(status.potential.test)
        yield _text(
            f"potential {status.potential.folder}: test errors {energy} meV/atom, {force}"
            f" meV/Å{_size(status)}"
        )
    if status.cycles and (needs := status.cycles[-1].needs):
        met = sum(need.met for need in needs)
        yield _text(f"needs: {met} of {len(needs)} met", "green" if met == len(needs) else "yellow")


def _size(status: Status) -> str:
    """The stress error where labels have stress, and what the potential is made of.

    The latter is there where the journal tells it.
    """
    potential = status.potential
    if potential is None:
        return ""
    stress = potential.test.stress_gpa
    parts = [] if stress is None else [f", {stress:.3f} GPa"]
    if counts := potential.functions_per_element:
        alike = len(set(counts.values())) == 1
        sizes = (
            f"{next(iter(counts.values()))}"
            if alike
            else ", ".join(f"{name} {n}" for name, n in counts.items())
        )
        parts.append(f"; functions per element {sizes}")
    if potential.cutoff_angstrom is not None:
        parts.append(f", cutoff {potential.cutoff_angstrom:g} Å")
    if potential.cost_us is not None:
        parts.append(f", {potential.cost_us:.0f} µs per atom and step")
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Fitting:
    """Two ways to show the same: the second where there are too few columns for the first."""

    wide: RenderableType
    narrow: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.wide if options.max_width >= _WIDE_COLUMNS else self.narrow


def _cycles(cycles: tuple[CycleSummary, ...], measured: tuple[PastErrors, ...]) -> _Fitting:
    return _Fitting(_cycle_table(cycles, measured), _cycle_table(cycles, measured, ruled=False))


def _cycle_table(
    cycles: tuple[CycleSummary, ...], measured: tuple[PastErrors, ...], *, ruled: bool = True
) -> Table:
    """Errors are all on the last fit's test set: those of each cycle's own would not compare."""
    left_out = max(len(cycles) - CYCLES_MAX, 0)
    errors = {past.cycle: past.errors for past in measured}
    title = f"Cycles (the first {left_out} left out)" if left_out else "Cycles"
    table = Table(
        title=title, title_justify="left", caption="test E, F: on the test set of the last fit"
    )
    if not ruled:
        table.box, table.pad_edge, table.padding = None, False, (0, 1, 0, 0)
    table.add_column("cycle", justify="right")
    for name in ("walkers", "halts", "labels", "test\nlabels", "test E\nmeV/atom", "test F\nmeV/Å"):
        table.add_column(name, justify="right")
    table.add_column("potential")
    for cycle in cycles[left_out:]:
        table.add_row(
            str(cycle.cycle),
            "–" if cycle.bootstrap else str(cycle.walkers),
            "–" if cycle.bootstrap else str(cycle.halts),
            beside(cycle.labels_train, cycle.adopted_train),
            beside(cycle.labels_test, cycle.adopted_test),
            *_errors(errors.get(cycle.cycle) if cycle.test else None),
            "promoted" if cycle.promoted else "–",
        )
    return table


def _errors(errors: Errors | None) -> tuple[str, str]:
    if errors is None:
        return "–", "–"
    return f"{errors.energy_mev_per_atom:.2f}", f"{errors.force_mev_per_angstrom:.1f}"


def _active(status: Status) -> _Fitting:
    """Ids and jobs whole, in a table or below each other: an id that is cut is none."""
    shown = status.active_tasks[:TASKS_MAX]
    title = f"Active tasks ({len(shown)} of {status.active_tasks_count})"
    lines = [_text(title, "italic")]
    for task in shown:
        progress = status.progress.get(task.task)
        far = f", {progress.done:.0%}, {progress.message}" if progress else ""
        lines += [
            _text(task.task),
            _text(f"  {_job(task)}, {task.job_state or 'not seen yet'}{far}"),
        ]
    return _Fitting(_active_table(status, title), Group(*lines))


def _active_table(status: Status, title: str) -> Table:
    shown = status.active_tasks[:TASKS_MAX]
    table = Table(title=title, title_justify="left")
    for name in ("task", "job", "state", *(("how far",) if status.progress else ())):
        table.add_column(name, no_wrap=name != "how far")
    for task in shown:
        progress = status.progress.get(task.task)
        far = _text(f"{progress.done:.0%}, {progress.message}" if progress else "")
        cells = map(_text, (task.task, _job(task), task.job_state or "not seen yet"))
        table.add_row(*cells, *((far,) if status.progress else ()))
    return table


def _job(task: ActiveTask) -> str:
    return f"{task.job_id}_{task.index}" if task.job_id is not None else "being submitted"


def _text(text: str, style: str = "") -> Text:
    """Words as words: neither markup nor control characters have a meaning in them."""
    return Text(printable(text), style)
