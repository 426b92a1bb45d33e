"""The daemon's log: one JSON object per line, in a file only ever appended to, put aside by size.

Whoever moves the file away (logrotate, `mv`) gets the lines up to then: the next one begins a new
file.

Nothing global is configured: `configure` returns a logger, and whoever wants to log is given it.
"""

import contextlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.terminal import harmless_json
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.telling.words import one_line

#: Level → syslog priority, as sd-daemon(3) wants it at the beginning of a line.
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_WARNINGS = (
    ev.SubmissionRejected,
    ev.SubmissionUnclear,
    ev.SubmissionVoided,
    ev.AttemptLost,
    ev.TaskQuarantined,
    ev.EffectDeferred,
    ev.Paused,
    ev.JournalRepaired,
    ev.JournalRebuilt,
)
#: Of one log, and how many of those before it stay.
BYTES_MAX = 32 * 2**20
KEPT = 4
_OUTCOME_FIELDS = {
    "task",
    "job_name",
    "index",
    "job_id",
    "host",
    "kind",
    "status",
    "reason",
    "wall_s",
}


def configure(
    path: Path,
    level: str,
    *,
    journal: TextIO | None = None,
    bytes_max: int = BYTES_MAX,
    kept: int = KEPT,
) -> FilteringBoundLogger:
    """A logger that appends to `path` from `level` on: `debug`, `info`, `warning`, `error`.

    A file that would grow beyond `bytes_max` becomes PATH.1, that one PATH.2, and so on; `kept` of
    them stay.

    Each line has `timestamp` (ISO 8601, UTC), `level`, `event` (the words) and the fields that were
    given. With `journal`, the words also go there with a priority that journald understands; see
    `is_journal`. Raises OSError if the file cannot be opened; later lines that cannot be written
    are counted, not raised.
    """
    logger = structlog.wrap_logger(
        _Lines(path, journal, bytes_max, kept),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _to_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
    )
    return cast("FilteringBoundLogger", logger.bind())


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` leads straight to journald: JOURNAL_STREAM names its device and inode."""
    named = environ.get("JOURNAL_STREAM", "")
    if not named:
        return False
    status = os.fstat(stream.fileno())
    return named == f"{status.st_dev}:{status.st_ino}"


class LogObserver:
    """Writes one line per event."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger

    def __call__(self, event: ev.Event, state: WorkflowState) -> None:
        """`state` is the one after `event`."""
        log = self._logger.warning if _is_warning(event) else self._logger.info
        fields = {
            "type": event.type,
            "seq": state.seq,
            "campaign": state.campaign,
            "at": event.at.isoformat(),
        }
        log(describe(event, state), **fields, **{**_subject(event, state), **_fields(event)})


def _is_warning(event: ev.Event) -> bool:
    match event:
        case ev.TaskEnded():
            return event.outcome.status == "failed"
        case ev.SiteChanged():
            return event.health is not ev.SiteHealth.OK
        case ev.JobsSighted():
            return any(sighting.state is ev.JobState.HELD for sighting in event.sightings)
        case ev.OrphansSeen():
            return bool(event.jobs)
        case _:
            return isinstance(event, _WARNINGS)


def _subject(event: ev.Event, state: WorkflowState) -> dict[str, object]:
    """Where in the campaign it happened: cycle, phase, and the submission and task it is about."""
    subject: dict[str, object] = {"cycle": state.cycle_index}
    if state.current_phase is not None:
        subject["phase"] = state.current_phase
    if isinstance(event, ev.EffectDeferred):
        kind, _, name = event.subject.partition(":")
        job_name, _, index = name.rpartition(".") if kind == "attempt" else (name, "", "")
        if kind in {"batch", "attempt"}:
            subject |= {"uid": job_name} | ({"index": int(index)} if index else {})
    if isinstance(event, ev.AttemptLost):
        attempt = (event.job_name, event.index)
        subject["task"] = next(
            (
                name
                for name, record in state.tasks.items()
                if (record.job_name, record.index) == attempt
            ),
            "",
        )
    return subject


def _fields(event: ev.Event) -> dict[str, object]:
    """What one would search a log for; the whole event is in the journal."""
    match event:
        case ev.PhaseStarted():
            return {"cycle": event.cycle, "phase": event.phase, "tasks": len(event.tasks)}
        case ev.SubmissionBegun():
            return {"uid": event.job_name, "tasks": len(event.tasks)}
        case ev.TaskEnded():
            return event.outcome.model_dump(mode="json", include=_OUTCOME_FIELDS, exclude_none=True)
        case ev.PhaseEnded():
            return {"cycle": event.cycle, "phase": event.digest.phase}
        case ev.CycleClosed():
            return {"cycle": event.summary.cycle}
        case _:
            content = event.model_dump(mode="json", exclude={"type", "at", "campaign", "message"})
            return {name: value for name, value in content.items() if isinstance(value, str | int)}


class _Lines:
    """The end of the chain: a file descriptor in append mode.

    So every line is one write and none is buffered.
    """

    def __init__(self, path: Path, journal: TextIO | None, bytes_max: int, kept: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._kept = kept
        self._file = _opened(path)
        self._journal = journal
        self._lost = 0

    def write(self, entry: Mapping[str, object]) -> None:
        """One entry.

        A full disk must not end a campaign by way of its log: the lines it costs are counted.
        """
        if self._lost:
            entry = {**entry, "lines_lost_before": self._lost}
        line = (harmless_json(json.dumps(entry, ensure_ascii=False, default=str)) + "\n").encode(
            errors="replace"
        )
        try:
            self._follow_the_name(len(line))
            os.write(self._file, line)
            self._lost = 0
        except OSError:
            self._lost += 1
        self._tell_journal(entry)

    def _follow_the_name(self, more_bytes: int) -> None:
        """Put a full log aside, and begin anew where the name leads to another file, or none.

        Raises OSError.
        """
        ours = os.fstat(self._file)
        if not self._leads_to(ours):
            self._begin_anew()
        elif (
            stat.S_ISREG(ours.st_mode)
            and ours.st_size
            and ours.st_size + more_bytes > self._bytes_max
        ):
            for number in range(self._kept, 0, -1):
                before = self._aside(number - 1) if number > 1 else self._path
                with contextlib.suppress(FileNotFoundError):  # not so many yet
                    before.rename(self._aside(number))
            if not self._kept:
                self._path.unlink()
            self._begin_anew()

    def _leads_to(self, ours: os.stat_result) -> bool:
        try:
            return os.path.samestat(self._path.stat(), ours)
        except FileNotFoundError:
            return False

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _begin_anew(self) -> None:
        new = _opened(self._path)
        os.close(self._file)
        self._file = new

    def _tell_journal(self, entry: Mapping[str, object]) -> None:
        if self._journal is None:
            return
        try:
            self._journal.write(
                f"<{_PRIORITIES[str(entry['level'])]}>{one_line(str(entry['event']))}\n"
            )
            self._journal.flush()
        except UnicodeEncodeError:  # its encoding lacks a letter; the rest is worth showing
            self._tell_journal(
                {**entry, "event": str(entry["event"]).encode("ascii", "replace").decode()}
            )
        except (OSError, ValueError):  # broken or closed: the file goes on without it
            self._journal = None

    debug = info = warning = error = critical = write


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _to_line(
    _: WrappedLogger, __: str, event_dict: EventDict
) -> tuple[tuple[EventDict], dict[str, object]]:
    """Hand the entry over as a mapping, with what the eye looks for first at its beginning."""
    first = {name: event_dict.pop(name) for name in ("timestamp", "level", "event")}
    return ({**first, **event_dict},), {}
