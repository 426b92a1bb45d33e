"""WorkflowState: what is, as a fold over everything that has happened.

Mappings here are never changed in place; `evolve` puts a new one in their stead.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, Field, JsonValue, computed_field

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.oracle import KMesh
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.results.train import PastErrors
from mlip_autopipec.data_models.base import Mender, Model, Phase, Reason, RunsOn, Verdict
from mlip_autopipec.data_models.digest import CycleSummary, Digest, Ladder, OracleFigure, WalkerEnd
from mlip_autopipec.data_models.events import Actor, AddedWalk, JobState, QueuedJob, SiteHealth
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.task import Task


class Stage(StrEnum):
    """Where the campaign stands between two phases."""

    EMPTY = "empty"  # no journal yet
    BETWEEN = "between"  # a phase or a cycle has closed, the next is to be planned
    WORKING = "working"  # a phase has its tasks
    ENDED = "ended"  # a verdict is reached


class BatchStatus(StrEnum):
    """How far a submission is."""

    BEGUN = "begun"  # intent is durable; the scheduler may or may not have it
    UNCLEAR = "unclear"  # asked, and the answer told nothing
    ACCEPTED = "accepted"


class Batch(Model):
    """Tasks submitted by one sbatch. Forgotten when its last attempt has ended."""

    job_name: str = Field(alias="uid")
    tasks: tuple[str, ...]
    runs_on: RunsOn = Field(
        alias="place", default=RunsOn.QUEUE, description="where it is handed over, and looked for"
    )
    status: BatchStatus = BatchStatus.BEGUN
    job_id: str | None = None
    live: frozenset[int] = Field(description="array indices whose end is not known")


class TaskStatus(StrEnum):
    """Where one task stands."""

    READY = "ready"
    SUBMITTED = "submitted"  # one attempt is live
    DONE = "done"
    FAILED = "failed"  # the last attempt ended without its result; decide says what now
    QUARANTINED = "quarantined"


class Failure(Model):
    """One attempt that gave no result."""

    job_name: str = Field(alias="uid")
    reason: Reason
    message: str
    reached: float = Field(
        default=0.0, description="part of the task that the next attempt need not do again"
    )
    node: str = Field(default="", description="where it ran, as the scheduler names it")


class TaskRecord(Model):
    """A task of the current phase and what has become of it."""

    task: Task
    status: TaskStatus = TaskStatus.READY
    job_name: str | None = Field(
        alias="uid", default=None, description="batch of the live or last attempt"
    )
    index: int | None = None
    job_state: JobState | None = None
    detail: str = ""
    missing_since: AwareDatetime | None = Field(
        default=None,
        description=(
            "when the scheduler first showed the attempt ended or absent, with no outcome yet"
        ),
    )
    failures: tuple[Failure, ...] = ()
    outcome: Outcome | None = None
    cancelled: bool = Field(
        default=False, description="by a person: it gets no other attempt until it is retried"
    )


class Deferral(Model):
    """A subject whose effect is put off."""

    until: AwareDatetime
    times: int = Field(description="deferrals in a row, for the back-off")
    message: str
    refused: bool = Field(
        default=False, description="by the scheduler: only a submission shows that it is over"
    )


class Pause(Model):
    """Who paused, when and why."""

    by: Actor
    at: AwareDatetime
    reason: str
    mender: Mender | None = Field(
        default=None, description="who must mend it, where the program itself has paused"
    )


class Trouble(Model):
    """What jobs have shown to be wrong, with the site or with one of its nodes."""

    until: AwareDatetime = Field(description="nothing new begins there before")
    times: int = Field(description="in a row, for the back-off")
    message: str


class FailureRow(Model):
    """Equal failures in a row, with no success in between."""

    signature: str
    message: str = Field(description="of the last one")
    tasks: tuple[str, ...] = Field(description="whose attempts they were; each once")
    sources: tuple[str, ...] = Field(
        description="tasks, or nodes where the fault may be a node's; each once"
    )


class OracleDoubt(Model):
    """A pause by the first labels, and who went on all the same."""

    at: AwareDatetime
    oracle: tuple[OracleFigure, ...]
    accepted_by: Actor | None = None
    accepted_because: str = ""


class ActiveTask(Model):
    """One live attempt, as people look for it."""

    task: str
    job_name: str = Field(alias="uid")
    index: int
    job_id: str | None
    job_state: JobState | None


class WorkflowState(Model):
    """The whole campaign, written as JSON after every phase transition.

    The journal is the truth, this a cache.
    """

    version: Literal[1] = 1
    seq: int = Field(default=0, description="journal sequence number of the last event folded in")
    campaign: str = ""
    k_mesh: KMesh = Field(
        default="cell", description="as the campaign began; of oracles that have one"
    )
    stage: Stage = Stage.EMPTY
    cycle_index: int = 0
    current_phase: Phase | None = None
    tasks: Mapping[str, TaskRecord] = Field(
        default_factory=dict,
        description="of the current phase, in order, after calculations that no fit has read yet",
    )
    quarantine: Mapping[str, TaskRecord] = Field(
        default_factory=dict,
        description="calculations of earlier rounds that were given up, and why",
    )
    phase_started_at: AwareDatetime | None = None
    batches: Mapping[str, Batch] = Field(
        default_factory=dict, description="with at least one live attempt"
    )
    batches_begun: int = Field(
        default=0, description="in this phase of this cycle; numbers the next one"
    )
    digests: Mapping[Phase, Digest] = Field(
        default_factory=dict, description="of the current cycle"
    )
    ladders: tuple[Ladder, ...] = Field(
        default=(), description="how far exploration's stages are open"
    )
    halted: Mapping[str, WalkerEnd] = Field(
        default_factory=dict, description="walkers that may go on, by their key"
    )
    datasets: tuple[FileRef, ...] = ()
    potential: Potential | None = Field(
        default=None, description="the current one: the last that was promoted"
    )
    cycles: tuple[CycleSummary, ...] = ()
    measured: tuple[PastErrors, ...] = Field(
        default=(),
        description=(
            "potentials by cycle, all on the test set of the last fit; that fit is the last of them"
        ),
    )
    deferrals: Mapping[str, Deferral] = Field(default_factory=dict)
    orphans: tuple[QueuedJob, ...] = Field(
        default=(), description="in the queue, and nobody waits for them"
    )
    site: SiteHealth = SiteHealth.OK
    site_message: str = ""
    site_prepared: bool = Field(
        default=True, description="False from a daemon's start until its SitePrepared"
    )
    array_tasks_max: int | None = Field(
        default=None, description="elements of one array, as the site says"
    )
    pause: Pause | None = None
    doubt: OracleDoubt | None = Field(
        default=None, description="the oracle contradicted itself in the first labels"
    )
    config_sha256: str = Field(default="", description="of the site file of the last daemon")
    settings: Mapping[str, JsonValue] = Field(
        default_factory=dict,
        description=(
            "of the site file that is in force; empty: of a campaign of before they were kept"
        ),
    )
    overrides: Mapping[str, JsonValue] = Field(
        default_factory=dict, description="by key, what `set` has said beside the site file"
    )
    to_label: tuple[Structure, ...] = Field(
        default=(), description="that people have added; the next round has them"
    )
    walks: tuple[AddedWalk, ...] = Field(
        default=(), description="that people have added, beside the site file's"
    )
    added: tuple[str, ...] = Field(
        default=(), description="content hashes of all that people have added"
    )
    era: int = Field(
        default=0,
        description="how often settings were taken; what was decided in an earlier one is void",
    )
    quiet_from: int = Field(
        default=0, description="no cycle before this one shows that the campaign is quiet"
    )
    trouble: Trouble | None = Field(default=None, description="of the site, as jobs have shown it")
    nodes: Mapping[str, Trouble] = Field(
        default_factory=dict, description="that jobs have shown to be unfit"
    )
    row: FailureRow | None = Field(default=None, description="of failures whose cause nobody knows")
    complaint: str = Field(
        default="", description="what a person must mend before anything new is submitted"
    )
    first_cycle: int = Field(
        default=0, description="bounds of convergence count from this cycle on"
    )
    verdict: Verdict | None = None
    verdict_reason: str = ""

    @computed_field  # type: ignore[prop-decorator] # pydantic's own advice for computed fields under mypy
    @property
    def status(self) -> str:
        """`running`, `paused` or the verdict."""
        if self.verdict is not None:
            return self.verdict.value
        return "paused" if self.pause is not None else "running"

    @property
    def own_tasks(self) -> tuple[TaskRecord, ...]:
        """Of the current phase of this cycle; the others are late calculations."""
        here = (self.cycle_index, self.current_phase)
        return tuple(
            record
            for record in self.tasks.values()
            if (record.task.cycle, record.task.phase) == here
        )

    @property
    def late_tasks(self) -> tuple[TaskRecord, ...]:
        """Calculations that missed their round, or were brought back after it."""
        here = (self.cycle_index, self.current_phase)
        return tuple(
            record
            for record in self.tasks.values()
            if (record.task.cycle, record.task.phase) != here
        )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def latest_potential_path(self) -> str | None:
        """Folder of the current potential, relative to the site's root."""
        return self.potential.folder if self.potential else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def active_tasks(self) -> tuple[ActiveTask, ...]:
        """Every live attempt with its job id."""
        return tuple(
            ActiveTask(
                task=batch.tasks[index],
                job_name=batch.job_name,
                index=index,
                job_id=batch.job_id,
                job_state=self.tasks[batch.tasks[index]].job_state
                if batch.tasks[index] in self.tasks
                else None,
            )
            for batch in self.batches.values()
            for index in sorted(batch.live)
        )

    def check(self) -> tuple[str, ...]:
        """Every invariant that does not hold, as a sentence.

        Empty for every state that `evolve` can give.
        """
        return (
            *self._broken_stage(),
            *self._broken_tasks(),
            *self._broken_batches(),
            *self._broken_deferrals(),
        )

    def _broken_stage(self) -> Iterator[str]:
        """Stage, cycle and phase belong together."""
        if (self.stage is Stage.EMPTY) != (not self.campaign):
            yield f"the stage is {self.stage}, and the campaign is called {self.campaign!r}"
        if (self.stage is Stage.ENDED) != (self.verdict is not None):
            yield f"the stage is {self.stage}, and the verdict is {self.verdict}"
        is_open = self.current_phase is not None and self.current_phase not in self.digests
        if (self.stage is Stage.WORKING and not is_open) or (
            self.stage is Stage.BETWEEN and is_open
        ):
            yield (
                f"the stage is {self.stage}, and phase {self.current_phase} is"
                f" {'open' if is_open else 'not open'}"
            )
        if [cycle.cycle for cycle in self.cycles] != list(range(self.cycle_index)):
            closed = [cycle.cycle for cycle in self.cycles]
            yield f"the current cycle is {self.cycle_index}, and the closed ones are {closed[-5:]}"
        if self.first_cycle > self.cycle_index:
            yield (
                f"convergence counts from cycle {self.first_cycle}, and the current one is"
                f" {self.cycle_index}"
            )
        if self.quiet_from > self.cycle_index + 1:
            yield (
                f"quiet cycles count from {self.quiet_from}, and the current one is"
                f" {self.cycle_index}"
            )
        if self.potential is not None and self.potential.cycle > self.cycle_index:
            yield (
                f"the potential is of cycle {self.potential.cycle}, and the current cycle is"
                f" {self.cycle_index}"
            )
        measured = [past.cycle for past in self.measured]
        if measured != sorted(set(measured)):
            yield f"the cycles of the measured potentials do not rise: {measured}"

    def _broken_tasks(self) -> Iterator[str]:
        """Each task is where its phase and status put it."""
        for name, record in self.tasks.items():
            yield from self._broken_record(name, record)
        for record in self.late_tasks:
            if record.task.phase is not Phase.CALCULATION:
                yield f"task {record.task.id} is of a phase that is over, and is no calculation"
        for name, record in self.quarantine.items():
            yield from self._broken_record(name, record)
            if (
                record.status is not TaskStatus.QUARANTINED
                or record.task.phase is not Phase.CALCULATION
            ):
                yield (
                    f"task {name} of {record.task.phase} is {record.status}, and kept with"
                    " calculations given up"
                )
            if name in self.tasks:
                yield f"task {name} is both at hand and given up with an earlier round"

    def _broken_record(self, name: str, record: TaskRecord) -> Iterator[str]:
        """A task has what its status says, and nothing else."""
        status, job = record.status, record.job_state
        if record.task.id != name:
            yield f"task {record.task.id} is kept under the name {name}"
        if (status is TaskStatus.DONE) != (record.outcome is not None):
            yield (
                f"task {name} is {status} {'without' if record.outcome is None else 'with'} an"
                " outcome"
            )
        if status is TaskStatus.FAILED and not record.failures:
            yield f"task {name} is {status} without a failure"
        if job is not None and status is not TaskStatus.SUBMITTED:
            yield f"task {name} is {status}, and its job is {job}"
        if record.missing_since is not None and job not in {JobState.ENDED, JobState.ABSENT}:
            yield f"task {name} is missed since {record.missing_since}, and its job is {job}"
        if (status is TaskStatus.SUBMITTED) != self._is_at_work(name, record):
            yield (
                f"task {name} is {status}, and attempt {record.job_name}.{record.index} is not its"
                " live one"
            )

    def _is_at_work(self, name: str, record: TaskRecord) -> bool:
        """Whether the attempt that a task names is live, and is one at this task."""
        batch = self.batches.get(record.job_name or "")
        return (
            batch is not None and record.index in batch.live and batch.tasks[record.index] == name
        )

    def _broken_batches(self) -> Iterator[str]:
        """A batch has at least one live attempt, each of a task that knows of it."""
        for job_name, batch in self.batches.items():
            if batch.job_name != job_name:
                yield f"batch {batch.job_name} is kept under the name {job_name}"
            if not batch.live or not batch.live <= set(range(len(batch.tasks))):
                yield (
                    f"batch {job_name} of {len(batch.tasks)} tasks has the live attempts"
                    f" {sorted(batch.live)}"
                )
                continue
            if (batch.status is BatchStatus.ACCEPTED) != (batch.job_id is not None):
                yield f"batch {job_name} is {batch.status}, and its job id is {batch.job_id}"
            for index in sorted(batch.live):
                record = self.tasks.get(batch.tasks[index])
                if record is None or (record.job_name, record.index) != (job_name, index):
                    yield (
                        f"attempt {job_name}.{index} is live, and task {batch.tasks[index]} does"
                        " not know of it"
                    )

    def _broken_deferrals(self) -> Iterator[str]:
        """Nothing is put off for what is over."""
        for subject in self.deferrals:
            kind, _, name = subject.partition(":")
            job_name, _, index = name.rpartition(".")
            if kind in {"batch", "cancel"} and name not in self.batches:
                yield f"{subject} is put off, and there is no such batch"
            if kind == "attempt" and (
                job_name not in self.batches or int(index) not in self.batches[job_name].live
            ):
                yield f"{subject} is put off, and there is no such live attempt"
            if kind == "site" and self.site_prepared:
                yield "the site's preparation is put off, and the site is prepared"
