"""Tasks as people ask for them: what each is, where it ran, and how each attempt at it ended. Pure.

All of it is in the journal, so no daemon is needed. The whole journal is folded, as tasks of
earlier cycles are in no state any more: a second for some thousand events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Literal

from pydantic import AwareDatetime, Field

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.contract.trainer import name_of
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Model, Phase, Reason, RunsOn
from mlip_autopipec.data_models.events import Event, JobState
from mlip_autopipec.data_models.state import TaskRecord, TaskStatus, WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.strategies import resources_for
from mlip_autopipec.telling.describe import achieved

#: How an attempt stands: `live` until its end is known; `refused` and `void`: it never began.
AttemptEnding = Literal["live", "done", "failed", "lost", "refused", "void"]
#: What `tasks --state` takes: where a task stands, or how the scheduler shows the job of a
#: submitted one.
STATES = (*map(str, TaskStatus), str(JobState.WAITING), str(JobState.HELD), str(JobState.RUNNING))
_BEGAN_NEVER = ("refused", "void")
_NEAR_MAX = 3
_ROLE_TEXTS = {Role.TEST: " (test set)", Role.ISOLATED_ATOM: " (isolated atom)"}


class TaskAttempt(Model):
    """One submission of a task."""

    job_name: str = Field(alias="uid", description="job name of its batch")
    index: int = Field(ge=0, description="in the batch: its array element")
    runs_on: RunsOn = Field(alias="place")
    job_id: str | None = Field(description="null: not accepted (yet)")
    ending: AttemptEnding
    job_state: JobState | None = Field(
        default=None, description="of a live one, as the scheduler last showed it"
    )
    job_detail: str = Field(
        alias="job_words",
        default="",
        description="the scheduler's own: where it runs, or why it waits",
    )
    reason: Reason | None = Field(default=None, description="why it gave no result")
    message: str = ""
    node: str = Field(default="", description="where it ran; empty: not known")
    submitted_at: AwareDatetime
    started_at: AwareDatetime | None = Field(
        default=None, description="by its outcome; null: it left none"
    )
    ended_at: AwareDatetime | None = Field(default=None, description="when its end was known")
    wall_s: float | None = Field(default=None, description="null: it left no outcome")
    cpu_s: float | None = Field(default=None, description="of all of its processes")
    asked: Resources = Field(
        description=(
            "as the task was planned, with more after a lack; a site file changed since then is"
            " not seen here"
        )
    )


class TaskLine(Model):
    """One task at a glance."""

    task: str
    cycle: int
    phase: Phase
    what: str = Field(description="in words, such as a walker's condition")
    state: TaskStatus
    job_state: JobState | None = Field(default=None, description="of a submitted task")
    attempts: int = Field(ge=0, description="submissions that were not refused")
    failures: int = Field(ge=0, description="attempts that gave no result")
    reason: Reason | None = Field(
        default=None, description="of the last attempt that gave no result"
    )
    job: str | None = Field(
        default=None, description="of the last attempt: job id and array element"
    )
    node: str = ""
    wall_s: float | None = Field(default=None, description="of the attempt that gave the result")


class TaskList(Model):
    """What `autopipecctl tasks` answers."""

    version: Literal[1] = 1
    campaign: str
    tasks: tuple[TaskLine, ...]
    all_tasks: int = Field(
        ge=0, description="of the campaign; those that were not asked for included"
    )
    seq: int = Field(ge=0, description="journal sequence number that this shows")
    at: AwareDatetime = Field(description="time of that event")


class NamedFile(Model):
    """A file, and what it is to its task."""

    name: str
    path: str


class TaskFiles(Model):
    """Where a task's files are, relative to the site's root."""

    folder: str
    root: str | None = Field(
        default=None, description="of the site, with its host; null: no site file at hand"
    )
    inputs: tuple[NamedFile, ...] = Field(description="that it reads")
    artefacts: tuple[NamedFile, ...] = Field(description="that it left, of a done task")


class TaskDocument(Model):
    """What `autopipecctl task ID` answers."""

    version: Literal[1] = 1
    task: str
    cycle: int
    phase: Phase
    what: str
    state: TaskStatus
    cancelled: bool = Field(description="by a person: no other attempt until it is retried")
    result: str = Field(default="", description="what it gave, in words")
    progress: Progress | None = Field(
        default=None, description="how far it is, where a daemon answers and it tells"
    )
    attempts: tuple[TaskAttempt, ...]
    files: TaskFiles
    seq: int = Field(ge=0, description="journal sequence number that this shows")
    at: AwareDatetime = Field(description="time of that event")


@dataclass(slots=True)
class TaskBook:
    """Every task of a campaign with its attempts, in the order in which they were planned."""

    state: WorkflowState = field(default_factory=WorkflowState)
    at: datetime | None = None
    records: dict[str, TaskRecord] = field(default_factory=dict)
    attempts: dict[str, list[TaskAttempt]] = field(default_factory=dict)
    _batches: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def add(self, event: Event) -> None:  # noqa: C901, PLR0912 - one case for each kind of event
        """Fold one more event in."""
        before, self.state, self.at = self.state, evolve(self.state, event), event.at
        match event:
            case ev.PhaseStarted():
                self.records |= {task.id: TaskRecord(task=task) for task in event.tasks}
            case ev.SubmissionBegun():
                self._batches[event.job_name] = event.tasks
                for index, name in enumerate(event.tasks):
                    self.attempts.setdefault(name, []).append(
                        _begun(event, index, before.tasks[name])
                    )
            case ev.SubmissionAccepted():
                self._change_all(event.job_name, job_id=event.job_id)
            case ev.SubmissionRejected():
                reason = Reason.REJECTED if event.mender is Mender.TASK else None
                self._change_all(
                    event.job_name,
                    ending="refused",
                    reason=reason,
                    message=event.message,
                    ended_at=event.at,
                )
            case ev.SubmissionVoided():
                self._change_all(
                    event.job_name, ending="void", message=event.message, ended_at=event.at
                )
            case ev.JobsSighted():
                for seen in event.sightings:
                    self._change(
                        seen.job_name, seen.index, job_state=seen.state, job_detail=seen.detail
                    )
            case ev.TaskEnded():
                self._ended(event)
            case ev.AttemptLost():
                over: dict[str, object] = {
                    "ending": "lost",
                    "reason": event.reason,
                    "message": event.message,
                }
                if event.node:
                    over["node"] = event.node
                self._change(event.job_name, event.index, ended_at=event.at, job_state=None, **over)
            case ev.PhaseEnded():
                self.records |= {
                    name: each
                    for name, each in before.tasks.items()
                    if name not in self.state.tasks
                }
            case _:
                pass

    def _ended(self, event: ev.TaskEnded) -> None:
        outcome = event.outcome
        self._change(
            outcome.job_name,
            outcome.index,
            ending=outcome.status,
            reason=outcome.reason,
            message=outcome.message,
            node=outcome.host,
            started_at=outcome.started_at,
            ended_at=outcome.ended_at,
            wall_s=outcome.wall_s,
            cpu_s=outcome.cpu_s,
            job_state=None,
        )

    def _change(self, job_name: str, index: int, **update: object) -> None:
        """Of the newest attempt with this job name: a name is used once."""
        tried = self.attempts[self._batches[job_name][index]]
        for position in range(len(tried) - 1, -1, -1):
            if tried[position].job_name == job_name:
                tried[position] = tried[position].model_copy(update=update)
                return

    def _change_all(self, job_name: str, **update: object) -> None:
        for index in range(len(self._batches[job_name])):
            self._change(job_name, index, **update)

    def record(self, name: str) -> TaskRecord:
        """As it stands, or stood when its phase closed."""
        return self.state.tasks.get(name) or self.state.quarantine.get(name) or self.records[name]


def book_of(events: Iterable[Event]) -> TaskBook:
    """Fold a journal from its first event."""
    book = TaskBook()
    for event in events:
        book.add(event)
    return book


def task_list(
    book: TaskBook, phase: Phase | None = None, states: Iterable[str] = (), *, failed: bool = False
) -> TaskList:
    """The tasks that are asked for.

    `states` are of STATES, and none of them is all. `failed`: with an attempt that gave no result,
    or given up.
    """
    asked = frozenset(states)
    names = [
        name for name, record in book.records.items() if phase is None or record.task.phase is phase
    ]
    lines = [
        line
        for line in (_line(book, name) for name in names)
        if not asked or line.state in asked or line.job_state in asked
        if not failed or line.failures or line.state is TaskStatus.QUARANTINED
    ]
    return TaskList(
        campaign=book.state.campaign,
        tasks=tuple(lines),
        all_tasks=len(book.records),
        seq=book.state.seq,
        at=_time_of(book),
    )


def task_document(book: TaskBook, asked: str, root: str | None = None) -> TaskDocument:
    """One task, by its id or an unambiguous beginning of it.

    Raises UnknownTask, naming the nearest.
    """
    known = task_named(book.records, asked)
    record, task = book.record(known), book.record(known).task
    outcome = record.outcome
    left = outcome.artefacts if outcome is not None else {}
    return TaskDocument(
        task=known,
        cycle=task.cycle,
        phase=task.phase,
        what=what_of(task),
        state=record.status,
        cancelled=record.cancelled,
        result=achieved(outcome) if outcome is not None else "",
        attempts=tuple(book.attempts.get(known, ())),
        files=TaskFiles(
            folder=task.workdir,
            root=root,
            inputs=tuple(NamedFile(name=each.name, path=each.file.path) for each in task.inputs),
            artefacts=tuple(NamedFile(name=name, path=file.path) for name, file in left.items()),
        ),
        seq=book.state.seq,
        at=_time_of(book),
    )


class UnknownTask(OperatorError):  # noqa: N818 - the name is the fact
    """No task has this id, or several begin with it."""

    exit_code = 2


def task_named(names: Iterable[str], asked: str) -> str:
    """The task that is meant. Raises UnknownTask with the nearest ids."""
    known = list(names)
    if asked in known:
        return asked
    begin = [name for name in known if asked and name.startswith(asked)]
    if len(begin) == 1:
        return begin[0]
    if begin:
        raise UnknownTask(
            f"{len(begin)} tasks begin with {asked!r}: {', '.join(begin[:_NEAR_MAX])} …; give more"
            " of it"
        )
    near = get_close_matches(asked, known, _NEAR_MAX, 0.5)
    nearest = f"the nearest are {', '.join(near)}" if near else "`autopipecctl tasks` lists them"
    raise UnknownTask(f"no task is called {asked!r}, of {len(known)}; {nearest}")


def what_of(task: Task) -> str:
    """What a task is, in a few words."""
    match task.parameters:
        case ExploreParameters(walker=walker):
            before = walker.continues
            return walker.label + (
                f", on from step {before.step} of cycle {before.cycle}" if before else ""
            )
        case CalculateParameters() as asked:
            return f"{asked.origin}{_ROLE_TEXTS.get(asked.role, '')}"
        case GenerateParameters():
            return "structures to begin with"
        case SelectParameters():
            return "choice of frames to label"
        case trained:
            return f"fit by {name_of(trained.trainer)}"


def _begun(event: ev.SubmissionBegun, index: int, record: TaskRecord) -> TaskAttempt:
    return TaskAttempt(
        job_name=event.job_name,
        index=index,
        runs_on=event.runs_on,
        job_id=None,
        ending="live",
        submitted_at=event.at,
        asked=resources_for(record),
    )


def _line(book: TaskBook, name: str) -> TaskLine:
    record, tried = book.record(name), book.attempts.get(name, [])
    failed = [
        attempt
        for attempt in tried
        if attempt.ending in {"failed", "lost"} or attempt.reason is not None
    ]
    last = tried[-1] if tried else None
    done = record.status is TaskStatus.DONE and last is not None
    return TaskLine(
        task=name,
        cycle=record.task.cycle,
        phase=record.task.phase,
        what=what_of(record.task),
        state=record.status,
        job_state=record.job_state,
        attempts=sum(attempt.ending not in _BEGAN_NEVER for attempt in tried),
        failures=len(failed),
        reason=failed[-1].reason if failed else None,
        job=f"{last.job_id}_{last.index}" if last is not None and last.job_id is not None else None,
        node=last.node if last is not None else "",
        wall_s=last.wall_s if done and last is not None else None,
    )


def _time_of(book: TaskBook) -> datetime:
    if book.at is None:
        raise OperatorError("the journal is empty: no daemon has run for this campaign")
    return book.at
