"""The live screen of `autopipecctl watch`: a campaign's state on so many columns and lines. Pure.

What it has to leave out, it says so. Parts that have nothing to say take no line; the last events
take what is left.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf, isfinite
from textwrap import wrap
from typing import Any

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.control.paint import Piece, Row, Style
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import (
    CalculationDigest,
    ExplorationDigest,
    Need,
    TrainingDigest,
    WalkerEnd,
)
from mlip_autopipec.data_models.events import JobState, SiteHealth
from mlip_autopipec.data_models.state import TaskRecord, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.census import census
from mlip_autopipec.orchestration.machine import FLOW
from mlip_autopipec.orchestration.strategies import digest_of
from mlip_autopipec.telling.words import count, figures3, one_line

#: Names of the parts stand in a column of this width.
_NAMES = 9
#: Rows below begin here.
_MARGIN = 2
_BAR = 12
_EVENTS_MIN = 3
_REASONS_MAX = 4
#: Of a message that is longer, the screen says that there is more of it.
_THREE_LINES: Mapping[str, Any] = {"max_lines": 3, "placeholder": " …"}
_JOB_STYLES = {str(JobState.HELD): Style.YELLOW}
_STATUS_STYLES = {"running": Style.GREEN, "paused": Style.YELLOW, "converged": Style.GREEN}


@dataclass(frozen=True, slots=True)
class Recent:
    """An event in words."""

    seq: int
    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to be shown."""

    state: WorkflowState
    at: datetime  # of the last event
    recent: Sequence[Recent]  # the oldest first
    progress: Mapping[str, Progress] = field(default_factory=dict)
    absence: str = ""  # why no daemon answers; empty while one does


@dataclass(frozen=True, slots=True)
class _Part:
    """A line on one subject, rows below it, and which matter most if there is no room for all."""

    head: Row
    rows: Sequence[Row] = ()
    weights: Sequence[int] = ()  # of each row: the largest stay


def frame(seen: Seen, columns: int, lines: int) -> list[Row]:
    """At most `lines` rows of at most `columns` letters."""
    title = [line for row in _title(seen, columns) for line in _folded(row, columns)]
    head = [*title, *_alerts(seen, columns)][: max(lines - _EVENTS_MIN, 1)]
    parts = [
        part
        for part in (_walkers(seen), _labels(seen), _fit(seen), *_queue(seen), _errors(seen))
        if part
    ]
    blocks = [_block(part, columns) for part in parts]
    sizes = _sizes([block.size for block in blocks], lines - len(head) - _EVENTS_MIN)
    shown: list[Row] = []
    for block, size in zip(blocks, sizes, strict=True):
        shown += _cut_down(block, size)
    rest = lines - len(head) - len(shown)
    return [*head, *shown, *_events(seen, columns, rest)]


@dataclass(frozen=True, slots=True)
class _Block:
    """A part as it is folded to the columns that there are."""

    head: Sequence[Row]
    rows: Sequence[Sequence[Row]]
    weights: Sequence[int]

    @property
    def size(self) -> int:
        return len(self.head) + sum(map(len, self.rows))


def _block(part: _Part, columns: int) -> _Block:
    rows = [_folded(row, columns) for row in part.rows]
    return _Block(_folded(part.head, columns), rows, part.weights or [0] * len(rows))


def _folded(row: Row, columns: int) -> list[Row]:
    """The row, gone on with below if it is too long; a word longer than a line is cut there."""
    letters = [(letter, piece.style) for piece in row for letter in piece.text]
    lines: list[Row] = []
    while len(letters) > columns:
        spaces = (cut for cut in range(columns, _NAMES, -1) if letters[cut][0] == " ")
        at = next(spaces, columns)
        lines.append(_pieces(letters[:at]))
        rest = letters[at:]
        while rest and rest[0][0] == " ":
            rest.pop(0)
        letters = [(" ", Style.PLAIN)] * _MARGIN + rest if rest else []
    return [*lines, _pieces(letters)] if letters else lines


def _pieces(letters: Sequence[tuple[str, Style]]) -> Row:
    return [Piece(letter, style) for letter, style in letters]


def _sizes(wanted: Sequence[int], room: int) -> list[int]:
    """Lines of each block: a line for each in turn, while there is room."""
    sizes = [0] * len(wanted)
    while room > 0:
        hungry = [index for index, size in enumerate(sizes) if size < wanted[index]]
        if not hungry:
            break
        for index in hungry[:room]:
            sizes[index] += 1
        room -= len(hungry)
    return sizes


def _cut_down(block: _Block, size: int) -> list[Row]:
    """The head and rows that matter most, in their order; the last line counts those left out."""
    if size >= block.size:
        return [*block.head, *(line for row in block.rows for line in row)]
    room = size - len(block.head) - 1
    if room < 0:
        return list(block.head[:size])
    kept: list[int] = []
    for index in sorted(range(len(block.rows)), key=lambda index: (-block.weights[index], index)):
        if len(block.rows[index]) > room:
            break
        kept.append(index)
        room -= len(block.rows[index])
    shown = [line for index in sorted(kept) for line in block.rows[index]]
    return [
        *block.head,
        *shown,
        [Piece(f"{'':{_MARGIN}}… and {len(block.rows) - len(kept)} more", Style.DIM)],
    ]


def _title(seen: Seen, columns: int) -> Iterator[Row]:
    state = seen.state
    style = _STATUS_STYLES.get(state.status, Style.RED)
    name = state.campaign or "no campaign yet"
    yield [
        Piece(name, Style.BOLD),
        Piece(f"  {state.status}", style),
        Piece(f"  cycle {state.cycle_index}  event {state.seq}, {seen.at:%H:%M:%S} UTC"),
    ]
    pieces: list[Piece] = []
    flow = FLOW[_is_bootstrap(state)]
    phase = flow[None]
    while phase is not None:
        own = [record for record in state.own_tasks if phase is state.current_phase]
        over = sum(record.status in {TaskStatus.DONE, TaskStatus.QUARANTINED} for record in own)
        counted = f" {over}/{len(own)}" if own else ""
        current = phase is state.current_phase and phase not in state.digests
        style = Style.BOLD if current else Style.PLAIN if phase in state.digests else Style.DIM
        mark = "[x] " if phase in state.digests else "[>] " if current else "[ ] "
        short = columns < 80 and not current  # noqa: PLR2004 - the usual terminal has room for the words
        pieces.append(
            Piece(f"{mark}{phase[:5] if short else phase}{counted if current else ''}  ", style)
        )
        phase = flow[phase]
    yield pieces


def _is_bootstrap(state: WorkflowState) -> bool:
    return (
        state.current_phase is Phase.GENERATION
        or Phase.GENERATION in state.digests
        or state.cycle_index == 0
    )


def _alerts(seen: Seen, columns: int) -> Iterator[Row]:
    """What a person should see first."""
    state = seen.state
    said: list[tuple[str, Style]] = []
    if seen.absence:
        said.append((seen.absence, Style.YELLOW))
    if state.verdict is not None:
        said.append(
            (
                f"verdict {state.verdict}: {state.verdict_reason}",
                _STATUS_STYLES.get(state.status, Style.RED),
            )
        )
    if state.pause is not None:
        who = state.pause.by.name or f"uid {state.pause.by.uid}"
        said.append((f"paused by {who}: {state.pause.reason or 'no reason given'}", Style.YELLOW))
    if state.complaint and (state.pause is None or state.pause.reason != state.complaint):
        said.append((f"a person must mend: {state.complaint}", Style.RED))
    if state.site is not SiteHealth.OK:
        said.append((f"site {state.site}: {state.site_message}", Style.RED))
    elif state.trouble is not None:
        said.append(
            (
                f"site in trouble until {state.trouble.until:%H:%M} UTC: {state.trouble.message}",
                Style.RED,
            )
        )
    if state.orphans:
        said.append(
            (
                (
                    f"{count(len(state.orphans), 'job')} in the queue that nobody waits for: see"
                    " explain"
                ),
                Style.YELLOW,
            )
        )
    for text, style in said:
        for line in wrap(one_line(text), max(columns, 8), **_THREE_LINES):
            yield [Piece(line, style)]


# --- walkers --------------------------------------------------------------------------------------


def _walkers(seen: Seen) -> _Part | None:
    state = seen.state
    if state.current_phase is Phase.EXPLORATION and Phase.EXPLORATION not in state.digests:
        records = [
            record
            for record in state.own_tasks
            if isinstance(record.task.parameters, ExploreParameters)
        ]
        asked = next((each.task.parameters for each in records), None)
        if not isinstance(asked, ExploreParameters):
            return None
        levels: _Levels = (asked.gamma_select, asked.gamma_halt, None)
        rows = [_walker(record, seen.progress.get(record.task.id), levels) for record in records]
    else:
        digest = digest_of(state, ExplorationDigest)
        if digest is None:
            return None
        limits = digest.levels
        levels = (
            (limits.select, limits.halt, limits.quiet) if limits is not None else (inf, inf, None)
        )
        rows = [_walked(walker, levels) for walker in digest.walkers]
    known = "γ"
    if isfinite(levels[1]):
        quiet = f", quiet up to {figures3(levels[2])}" if levels[2] is not None else ""
        known = f"γ: collects above {figures3(levels[0])}, halts above {figures3(levels[1])}{quiet}"
    width = max(len(label) for label, *_ in rows)
    standings = max(len(standing) for _, standing, *_ in rows)
    drawn = [
        [Piece(f"{'':{_MARGIN}}{label:{width}}  {standing:{standings}}  "), Piece(gamma, style)]
        for label, standing, gamma, style, _ in rows
    ]
    return _Part(_line("walkers", known), drawn, [weight for *_, weight in rows])


_Walker = tuple[str, str, str, Style, int]
#: γ select, γ halt, and up to which a walk is quiet, where that is known.
_Levels = tuple[float, float, float | None]


def _walker(record: TaskRecord, progress: Progress | None, levels: _Levels) -> _Walker:
    """Label, how it stands, γ beside its levels, and how much it matters."""
    parameters, outcome = record.task.parameters, record.outcome
    label = parameters.walker.label if isinstance(parameters, ExploreParameters) else record.task.id
    if outcome is not None and isinstance(outcome.metrics, ExploreMetrics):
        metrics = outcome.metrics
        return (
            label,
            _ended(metrics.ending, metrics.steps),
            *_gamma(metrics.gamma_max, levels),
            _weight(metrics.ending),
        )
    if progress is not None:
        return (label, f"{progress.done:4.0%}", *_gamma(progress.gamma_max, levels), 4)
    if record.status is TaskStatus.SUBMITTED:
        return (
            label,
            str(record.job_state or "submitted"),
            "",
            Style.PLAIN,
            3 if record.job_state else 1,
        )
    failed = record.status in {TaskStatus.FAILED, TaskStatus.QUARANTINED}
    return (label, str(record.status), "", Style.PLAIN, 3 if failed else 0)


def _walked(walker: WalkerEnd, levels: _Levels) -> _Walker:
    if walker.ending is None:
        return (walker.label, "given up", "", Style.RED, 3)
    return (
        walker.label,
        _ended(walker.ending, walker.steps),
        *_gamma(walker.gamma_max, levels),
        _weight(walker.ending),
    )


def _ended(ending: Ending, steps: int) -> str:
    return f"{ending} {steps}" if ending is Ending.COMPLETED else f"{ending} at {steps}"


def _weight(ending: Ending) -> int:
    return 1 if ending is Ending.COMPLETED else 2


def _gamma(gamma: float | None, levels: _Levels) -> tuple[str, Style]:
    """The highest of the levels that it is above."""
    select, halt, quiet = levels
    if gamma is None:
        return "", Style.PLAIN
    text = f"γ {figures3(gamma)}"
    if gamma > halt:
        return f"{text} > halt", Style.RED
    if quiet is not None and gamma > quiet:
        return f"{text} > quiet", Style.YELLOW
    if gamma > select:
        return f"{text} > select", Style.YELLOW
    return text, Style.GREEN


# --- labels, the fit, the queue, errors -----------------------------------------------------------


def _labels(seen: Seen) -> _Part | None:
    state = seen.state
    closed = digest_of(state, CalculationDigest)
    if closed is not None:
        rest = {"late": closed.late, "failed": closed.failed, "still awaited": closed.awaited}
        text = "".join(f", {number} {what}" for what, number in rest.items() if number)
        return _Part(_line("labels", f"{count(len(closed.labels), 'label')} in this cycle{text}"))
    if state.current_phase is not Phase.CALCULATION:
        return None
    counted = census(state)
    asked, done = sum(counted.own.values()), counted.own[TaskStatus.DONE]
    others = Counter(
        str(record.job_state or record.status)
        for record in state.own_tasks
        if record.status is not TaskStatus.DONE
    )
    late = sum(counted.late.values())
    text = ", ".join(
        [f"{done} of {asked} done", *(f"{number} {what}" for what, number in others.items())]
    )
    return _Part(_line("labels", f"{_bar(done, asked)} {text}{f'; {late} late' if late else ''}"))


def _bar(done: int, asked: int) -> str:
    filled = _BAR * done // asked if asked else 0
    return f"[{'#' * filled}{'.' * (_BAR - filled)}]"


def _fit(seen: Seen) -> _Part | None:
    state = seen.state
    if state.current_phase is Phase.TRAINING and Phase.TRAINING not in state.digests:
        for record in state.own_tasks:
            if progress := seen.progress.get(record.task.id):
                return _Part(_line("fit", f"{progress.done:.0%}, {progress.message}"))
            return _Part(_line("fit", str(record.job_state or record.status)))
    trained = digest_of(state, TrainingDigest)
    if trained is not None:
        gate = "promoted" if trained.promoted else "not promoted"
        return _Part(_line("fit", f"{_error_text(trained.potential.test)}, {gate}"))
    if state.potential is not None:
        return _Part(
            _line(
                "fit",
                f"{_error_text(state.potential.test)} (potential of cycle {state.potential.cycle})",
            )
        )
    return None


def _error_text(errors: Errors) -> str:
    return (
        f"test errors {errors.energy_mev_per_atom:.2f} meV/atom,"
        f" {errors.force_mev_per_angstrom:.1f} meV/Å on {errors.structures}"
    )


def _queue(seen: Seen) -> Iterator[_Part]:
    """What the scheduler shows, with its own words for what waits."""
    state = seen.state
    live = [record for record in state.tasks.values() if record.status is TaskStatus.SUBMITTED]
    if not live:
        return
    counts = Counter(str(record.job_state or "not seen yet") for record in live)
    text = ", ".join(f"{number} {what}" for what, number in counts.most_common())
    reasons = Counter(
        (str(record.job_state), record.detail)
        for record in live
        if record.detail and record.job_state in {JobState.WAITING, JobState.HELD}
    )
    rows = [
        [
            Piece(
                f"{'':{_MARGIN}}{number} {what}: {one_line(detail)}",
                _JOB_STYLES.get(what, Style.PLAIN),
            )
        ]
        for (what, detail), number in reasons.most_common(_REASONS_MAX)
    ]
    yield _Part(_line("queue", f"{count(len(state.batches), 'job')}: {text}"), rows)


def _errors(seen: Seen) -> _Part | None:
    """Errors of the last closed cycle beside what is needed; those that are not met matter most."""
    needs = seen.state.cycles[-1].needs if seen.state.cycles else ()
    if not needs:
        return None
    met = sum(need.met for need in needs)
    head = _line(
        "errors",
        f"{met} of {len(needs)} needs met at the end of cycle {seen.state.cycles[-1].cycle}",
    )
    width = max(len(need.condition) for need in needs)
    rows = [
        [
            Piece(f"{'':{_MARGIN}}{need.condition:{width}}  "),
            Piece(
                f"{need.quantity:<6}  {_need_text(need)}", Style.GREEN if need.met else Style.YELLOW
            ),
        ]
        for need in needs
    ]
    return _Part(head, rows, [0 if need.met else 1 for need in needs])


def _need_text(need: Need) -> str:
    if not need.frames:
        return "not measured yet"
    bound = "no bound" if need.bound is None else f"≤ {figures3(need.bound)}"
    return (
        f"{figures3(need.error)} ({bound}) of {figures3(need.need)}"
        f" {need.unit}{'' if need.met else ' !'}"
    )


def _events(seen: Seen, columns: int, lines: int) -> list[Row]:
    """The newest, the last of them below."""
    shown: list[Row] = []
    for event in reversed(seen.recent):
        text = f"{event.at:%H:%M:%S} {one_line(event.message)}"
        rows = [
            [Piece(line, Style.DIM if index == 0 else Style.PLAIN)]
            for index, line in enumerate(
                wrap(text, max(columns, 8), subsequent_indent="  ", **_THREE_LINES)
            )
        ]
        if len(shown) + len(rows) + 1 > lines:
            break
        shown = [*rows, *shown]
    rule: list[Row] = [[Piece("last events".ljust(min(columns, 80), "-"), Style.DIM)]]
    return [*rule, *shown] if shown and lines > 1 else []


def _line(name: str, text: str, style: Style = Style.PLAIN) -> Row:
    return [Piece(f"{name:{_NAMES}}", Style.BOLD), Piece(one_line(text), style)]
