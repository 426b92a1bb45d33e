"""Tasks as a person reads them in a terminal: plain lines, folded to its width and never cut.

No colour and no cursor: the same where TERM is dumb, in a pipe, and in a file. Ids, job names and
paths stay whole, so that they can be copied.
"""

from collections.abc import Iterator
from datetime import datetime
from textwrap import wrap

from mlip_autopipec.config.schemas.units import format_memory
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.control.tasks import TaskAttempt, TaskDocument, TaskLine, TaskList
from mlip_autopipec.data_models.base import RunsOn
from mlip_autopipec.data_models.state import TaskStatus
from mlip_autopipec.telling.words import count, duration, one_line

_TEXT_MAX = 4000
#: A fit reads every label; so many files are named.
_FILES_MAX = 8
#: Names of what is told of a task stand in a column of this width.
_NAMES = 10
_HEADS = ("task", "state", "tries", "took")


def list_lines(tasks: TaskList, width: int | None) -> Iterator[str]:
    """A row for each task; what it is stands behind, or below where `width` is too small.

    If `width` is None, nothing is folded.
    """
    rows = [_cells(line) for line in tasks.tasks]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    if rows:
        yield f"{_row(_HEADS, widths)}  what"
    for line, cells in zip(tasks.tasks, rows, strict=True):
        head, what = _row(cells, widths), one_line(_what(line))
        if width is None or len(head) + 2 + len(what) <= width:
            yield f"{head}  {what}"
        else:
            yield head.rstrip()
            yield from _folded(what, "    ", width)
    shown = count(len(tasks.tasks), "task")
    of_all = "" if len(tasks.tasks) == tasks.all_tasks else f" of {tasks.all_tasks}"
    yield f"{shown}{of_all}, as of event {tasks.seq}, {_time(tasks.at)}"


def document_lines(document: TaskDocument, width: int | None) -> Iterator[str]:
    """Everything of one task."""
    yield one_line(document.task)
    files = document.files
    folder = (
        f"{files.root.rstrip('/')}/{files.folder}"
        if files.root
        else f"{files.folder} (below the site's root)"
    )
    progress = document.progress
    for name, text in (
        ("what", document.what),
        ("state", _state(document)),
        ("result", document.result),
        ("so far", f"{progress.done:.0%}, {progress.message}" if progress is not None else ""),
        ("folder", folder),
    ):
        if text:
            yield from _named(name, text, width)
    for number, attempt in enumerate(document.attempts, 1):
        yield from _named(f"attempt {number}", _ending(attempt), width)
        for text in _facts(attempt):
            yield from _named("", text, width)
    for name, paths in (("reads", files.inputs), ("left", files.artefacts)):
        for index, file in enumerate(paths[:_FILES_MAX]):
            yield from _named(name if index == 0 else "", f"{file.name}: {file.path}", width)
        if len(paths) > _FILES_MAX:
            yield from _named("", f"and {len(paths) - _FILES_MAX} more: see --json", width)
    yield from _named("as of", f"event {document.seq}, {_time(document.at)}", width)


def asked_text(asked: Resources) -> str:
    """What a task asks of the scheduler."""
    cores = asked.cores * asked.ranks
    parts = [count(cores, "core"), format_memory(asked.memory_mib), duration(asked.walltime_s)]
    if asked.nodes > 1:
        parts.insert(0, f"{asked.nodes} nodes")
    if asked.gpus:
        parts.insert(1, count(asked.gpus, "GPU"))
    return ", ".join(parts)


def _cells(line: TaskLine) -> tuple[str, ...]:
    took = duration(line.wall_s) if line.wall_s is not None else "–"
    state = (
        str(line.job_state or line.state) if line.state is TaskStatus.SUBMITTED else str(line.state)
    )
    return (one_line(line.task), state, str(line.attempts), took)


def _what(line: TaskLine) -> str:
    failed = f" – failed {line.failures}×, last: {line.reason}" if line.failures else ""
    return f"{line.what}{failed}"


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    task, state, *numbers = (
        cell.ljust(width) if index < 2 else cell.rjust(width)  # noqa: PLR2004 - words left, numbers right
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((task, state, *numbers))


def _state(document: TaskDocument) -> str:
    last = document.attempts[-1] if document.attempts else None
    shown = ""
    if document.state is TaskStatus.SUBMITTED and last is not None and last.job_state is not None:
        shown = f": its job is {last.job_state}" + (
            f" ({last.job_detail})" if last.job_detail else ""
        )
    cancelled = ", cancelled by a person" if document.cancelled else ""
    return f"{document.state}{shown}{cancelled}"


def _ending(attempt: TaskAttempt) -> str:
    job = f"job {attempt.job_id}_{attempt.index}" if attempt.job_id is not None else "no job"
    where = f" on {attempt.node}" if attempt.node else ""
    login = ", on the login node" if attempt.runs_on is RunsOn.LOGIN else ""
    reason = f" ({attempt.reason})" if attempt.reason is not None else ""
    return f"{attempt.ending}{reason}: {job}{where}{login}, {attempt.job_name}.{attempt.index}"


def _facts(attempt: TaskAttempt) -> Iterator[str]:
    times = [f"submitted {_time(attempt.submitted_at)}"]
    if attempt.started_at is not None:
        times.append(f"began {attempt.started_at:%H:%M:%S}")
    if attempt.ended_at is not None:
        times.append(f"over {attempt.ended_at:%H:%M:%S}")
    yield ", ".join(times)
    yield f"asked {asked_text(attempt.asked)}{_used(attempt)}"
    if attempt.job_detail and attempt.ending == "live":
        yield f"the scheduler says: {attempt.job_detail}"
    if attempt.message:
        yield attempt.message


def _used(attempt: TaskAttempt) -> str:
    if attempt.wall_s is None:
        return ""
    parts = [
        (
            f"{duration(attempt.wall_s)} ({attempt.wall_s / attempt.asked.walltime_s:.0%} of its"
            " walltime)"
        )
    ]
    if attempt.cpu_s is not None:
        cores = attempt.asked.cores * attempt.asked.ranks
        share = (
            f" ({attempt.cpu_s / (attempt.wall_s * cores):.0%} of its cores)"
            if attempt.wall_s > 0
            else ""
        )
        parts.append(f"{duration(attempt.cpu_s)} of CPU{share}")
    return f"; used {', '.join(parts)}"


def _named(name: str, text: str, width: int | None) -> Iterator[str]:
    """`name      words …`, folded below where the words begin."""
    text = one_line(text, _TEXT_MAX)
    lines = (
        [text]
        if width is None
        else wrap(text, max(width - _NAMES - 3, 20), break_long_words=False, break_on_hyphens=False)
        or [""]
    )
    for index, line in enumerate(lines):
        yield f"  {(name if index == 0 else ''):<{_NAMES}} {line}".rstrip()


def _folded(text: str, margin: str, width: int) -> Iterator[str]:
    for line in wrap(
        text, max(width - len(margin), 20), break_long_words=False, break_on_hyphens=False
    ):
        yield f"{margin}{line}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
