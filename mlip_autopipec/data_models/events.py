"""Events: everything that has happened. The journal holds nothing else; state is a fold over it.

Names are in the past tense; `at` is when it was known, in UTC. Order is the journal's sequence
number, never `at`.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue, TypeAdapter

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.oracle import KMesh
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.results.train import PastErrors
from mlip_autopipec.contract.values import is_nothing
from mlip_autopipec.data_models.base import Mender, Model, Phase, Reason, RunsOn, Verdict
from mlip_autopipec.data_models.digest import CycleSummary, Digest, Ladder, OracleFigure, WalkerEnd
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.data_models.words import TidyText


class _Event(Model):
    at: AwareDatetime


class Actor(Model):
    """Who steered: taken from the socket's peer credentials, never from the message."""

    uid: int
    pid: int
    name: TidyText = ""


#: How an attempt ended of which a rebuilt journal knows nothing else.
REBUILT = "rebuilt: no file on the site tells how it ended"
#: The program itself: it has paused for what a person must mend.
DAEMON = Actor(uid=-1, pid=0, name="autopipecd")


class CampaignCreated(_Event):
    """The first event of every journal."""

    type: Literal["CampaignCreated"] = "CampaignCreated"
    campaign: str = Field(description="name and a random suffix; job names begin with it")
    name: TidyText
    version: str
    config_sha256: str
    k_mesh: KMesh = Field(
        default="cell", description="rule for k-meshes, for the whole of the campaign"
    )


class DaemonStarted(_Event):
    """A daemon has replayed the journal and taken over."""

    type: Literal["DaemonStarted"] = "DaemonStarted"
    version: str
    host: str
    pid: int
    config_sha256: str
    payload_sha256: str
    packages: tuple[str, ...] = Field(
        default=(),
        exclude_if=is_nothing,
        description="of others that bring codes of this campaign, with their versions",
    )


class DaemonStopped(_Event):
    """A daemon has stopped in good order; running jobs go on."""

    type: Literal["DaemonStopped"] = "DaemonStopped"
    why: str
    by: Actor | None = None


class SettingChange(Model):
    """One key of the site file whose value is another now.

    None: the key was not there, or is not there any more.
    """

    key: TidyText = Field(description="as people write it: `exploration.walkers[0].steps`")
    before: JsonValue = None
    after: JsonValue = None


class SettingsTaken(_Event):
    """The settings in force from here on: those of the site file, and what `set` says beside it."""

    type: Literal["SettingsTaken"] = "SettingsTaken"
    by: Actor
    reason: TidyText = ""
    config_sha256: str = Field(description="of the site file")
    settings: dict[str, JsonValue] = Field(
        description="what the site file says; defaults are left out"
    )
    overrides: dict[str, JsonValue] = Field(
        default_factory=dict, description="what `set` has said, by key"
    )
    changes: tuple[SettingChange, ...] = Field(
        default=(), description="empty: the first of a campaign"
    )
    quiet_from: int | None = Field(
        default=None,
        ge=0,
        description="no earlier cycle shows that the campaign is quiet: more is asked for now",
    )


class AddedWalk(Model):
    """A structure of a person's that walkers start from beside those of the site file."""

    file: FileRef
    name: TidyText = Field(description="of the file in the campaign's folder `added`")


class StructuresAdded(_Event):
    """A person has brought structures, to be labelled in the next round or to walk from."""

    type: Literal["StructuresAdded"] = "StructuresAdded"
    by: Actor
    reason: TidyText = ""
    structures: tuple[Structure, ...] = Field(default=(), description="to be labelled")
    walks: tuple[AddedWalk, ...] = ()
    quiet_from: int | None = Field(
        default=None,
        ge=0,
        description="no earlier cycle shows that the campaign is quiet: walkers start here, too",
    )


class PhaseStarted(_Event):
    """A phase of a cycle has its tasks."""

    type: Literal["PhaseStarted"] = "PhaseStarted"
    cycle: int
    phase: Phase
    tasks: tuple[Task, ...]


class SubmissionBegun(_Event):
    """Intent: these tasks are about to be submitted under this job name.

    Written before anything leaves the daemon.
    """

    type: Literal["SubmissionBegun"] = "SubmissionBegun"
    job_name: str = Field(alias="uid")
    tasks: tuple[str, ...] = Field(min_length=1, description="array index → task id")
    runs_on: RunsOn = Field(default=RunsOn.QUEUE, alias="place")


class SubmissionAccepted(_Event):
    """The scheduler has the batch. `adopted`: found by looking, not from the answer to sbatch."""

    type: Literal["SubmissionAccepted"] = "SubmissionAccepted"
    job_name: str = Field(alias="uid")
    job_id: TidyText
    adopted: bool = False


class SubmissionRejected(_Event):
    """The scheduler refused the batch for good.

    Unless that is its tasks' own fault, they are free again.
    """

    type: Literal["SubmissionRejected"] = "SubmissionRejected"
    job_name: str = Field(alias="uid")
    message: TidyText
    mender: Mender = Mender.TASK
    remedy: TidyText = Field(default="", description="what a person is to do")


class SubmissionUnclear(_Event):
    """Nobody knows whether the scheduler has the batch; it will be looked up, never tried again."""

    type: Literal["SubmissionUnclear"] = "SubmissionUnclear"
    job_name: str = Field(alias="uid")
    message: TidyText


class SubmissionVoided(_Event):
    """Proved: the batch never reached the scheduler and never will. Its tasks are free again."""

    type: Literal["SubmissionVoided"] = "SubmissionVoided"
    job_name: str = Field(alias="uid")
    message: TidyText


class JobState(StrEnum):
    """What a scheduler says of one array element."""

    WAITING = "waiting"
    HELD = "held"
    RUNNING = "running"
    ENDED = "ended"  # the scheduler says it is over; the outcome decides how
    ABSENT = "absent"  # a whole, successful answer did not name it
    UNKNOWN = "unknown"  # no information


class Sighting(Model):
    """One array element as the scheduler showed it."""

    job_name: str = Field(alias="uid")
    index: int
    state: JobState
    detail: TidyText = Field(default="", description="the scheduler's own words")


class JobsSighted(_Event):
    """The reconciler saw something change; what has not changed is not written again."""

    type: Literal["JobsSighted"] = "JobsSighted"
    sightings: tuple[Sighting, ...] = Field(min_length=1)


class QueuedJob(Model):
    """A job that the scheduler has in its queue, waiting or running."""

    job_name: TidyText = Field(alias="uid", description="its name")
    job_id: TidyText
    detail: TidyText = Field(default="", description="the scheduler's own words")


class OrphansSeen(_Event):
    """All jobs in the queue with the campaign's name that it does not wait for.

    Empty: they are gone.
    """

    type: Literal["OrphansSeen"] = "OrphansSeen"
    jobs: tuple[QueuedJob, ...]


class TaskEnded(_Event):
    """An attempt has written its outcome."""

    type: Literal["TaskEnded"] = "TaskEnded"
    outcome: Outcome


class AttemptLost(_Event):
    """An attempt has ended for certain and left no usable outcome."""

    type: Literal["AttemptLost"] = "AttemptLost"
    job_name: str = Field(alias="uid")
    index: int
    reason: Reason
    message: TidyText
    node: TidyText = Field(
        default="", description="where it ran, as the scheduler names it; empty: not known"
    )


class TaskQuarantined(_Event):
    """A task is given up; the cycle goes on without it."""

    type: Literal["TaskQuarantined"] = "TaskQuarantined"
    task: str
    message: TidyText


class TaskRetried(_Event):
    """A person brings a calculation back that was given up; its attempts are counted anew."""

    type: Literal["TaskRetried"] = "TaskRetried"
    task: str
    by: Actor
    reason: TidyText = ""


class TasksCancelled(_Event):
    """A person wants no more of these tasks.

    Their jobs are ended, and they are given up until they are retried.
    """

    type: Literal["TasksCancelled"] = "TasksCancelled"
    tasks: tuple[str, ...]
    by: Actor
    reason: TidyText = ""


class PhaseEnded(_Event):
    """The tasks of the phase have ended, or its round has closed.

    `digest` is what their outcomes mean.
    """

    type: Literal["PhaseEnded"] = "PhaseEnded"
    cycle: int
    digest: Digest


class CycleClosed(_Event):
    """A cycle is over and folded to a summary."""

    type: Literal["CycleClosed"] = "CycleClosed"
    summary: CycleSummary


class VerdictReached(_Event):
    """The campaign has ended."""

    type: Literal["VerdictReached"] = "VerdictReached"
    verdict: Verdict
    reason: TidyText


class CampaignReopened(_Event):
    """The campaign goes on after its verdict.

    Nothing that was done is lost. What was given up is tried again.
    """

    type: Literal["CampaignReopened"] = "CampaignReopened"
    by: Actor
    reason: TidyText = ""
    first_cycle: int = Field(
        ge=0, description="bounds of convergence count cycles and labels from this one on"
    )


class SiteHealth(StrEnum):
    """Whether the site answers."""

    OK = "ok"
    DEGRADED = "degraded"  # a passing fault; looked at again with back-off
    AUTH_REQUIRED = "auth_required"  # a person must log in


class LateLabel(Model):
    """A label that no fit has read yet."""

    task: Task
    outcome: Outcome


class PhaseRedone(_Event):
    """A person goes back to the begin of a phase.

    What came of it is set aside; it is done again in a new cycle.
    """

    type: Literal["PhaseRedone"] = "PhaseRedone"
    by: Actor
    reason: TidyText = ""
    cycle: int = Field(description="whose phase is done again")
    phase: Phase
    summary: CycleSummary | None = Field(
        default=None, description="of the cycle that is left unfinished by it"
    )
    digests: tuple[Digest, ...] = Field(description="of the phases before it, in their order")
    potential: Potential | None
    datasets: tuple[FileRef, ...]
    measured: tuple[PastErrors, ...]
    halted: dict[str, WalkerEnd]
    ladders: tuple[Ladder, ...]
    labels: tuple[LateLabel, ...] = Field(default=(), description="that awaited a fit then")
    to_label: tuple[Structure, ...] = Field(
        default=(), description="that people have added, and only then"
    )
    labelled: tuple[str, ...] = Field(
        default=(),
        exclude_if=is_nothing,
        description="SHA-256 of what people had added, and that had its label then",
    )


class EffectDeferred(_Event):
    """An effect could not be done for a passing fault; it is tried again at `until`."""

    type: Literal["EffectDeferred"] = "EffectDeferred"
    subject: str
    message: TidyText
    until: AwareDatetime
    health: SiteHealth | None = Field(
        default=None, description="of the site, where the fault was its own"
    )
    refused: bool = Field(
        default=False, description="by the scheduler: only a submission shows that it is over"
    )


class SiteChanged(_Event):
    """The site answers again, or has ceased to. It fails no task."""

    type: Literal["SiteChanged"] = "SiteChanged"
    health: SiteHealth
    message: TidyText = ""


class SitePrepared(_Event):
    """The site has what this daemon's jobs need; until then nothing is submitted."""

    type: Literal["SitePrepared"] = "SitePrepared"
    array_tasks_max: int | None = Field(
        default=None, ge=1, description="elements of one array, where the site says so"
    )


class Paused(_Event):
    """Nothing new is submitted until Resumed."""

    type: Literal["Paused"] = "Paused"
    by: Actor
    reason: TidyText = ""
    oracle: tuple[OracleFigure, ...] = Field(
        default=(), description="what the first labels say, if they paused it"
    )
    mender: Mender | None = Field(
        default=None, description="who must mend it, where the program itself has paused"
    )


class Resumed(_Event):
    """Submission goes on."""

    type: Literal["Resumed"] = "Resumed"
    by: Actor
    reason: TidyText = ""


class ClockStepped(_Event):
    """Somebody has set the daemon's clock, or the machine has slept.

    Every wait that was measured by it begins anew.
    """

    type: Literal["ClockStepped"] = "ClockStepped"
    by_s: float = Field(description="positive: forward")


class JournalRepaired(_Event):
    """A torn last record was cut off and kept aside."""

    type: Literal["JournalRepaired"] = "JournalRepaired"
    kept_as: str
    bytes_cut: int


class JournalRebuilt(_Event):
    """The events before this one were made again from what the site holds.

    `events` counts how far back.
    """

    type: Literal["JournalRebuilt"] = "JournalRebuilt"
    events: int = Field(ge=0)
    kept_as: str = Field(
        default="", description="folder with the journal that was there before; empty if none was"
    )
    unused: tuple[str, ...] = Field(
        default=(), description="submissions on the site that the site file has no place for"
    )


Event = (
    CampaignCreated
    | DaemonStarted
    | DaemonStopped
    | SettingsTaken
    | StructuresAdded
    | PhaseStarted
    | SubmissionBegun
    | SubmissionAccepted
    | SubmissionRejected
    | SubmissionUnclear
    | SubmissionVoided
    | JobsSighted
    | OrphansSeen
    | TaskEnded
    | AttemptLost
    | TaskQuarantined
    | TaskRetried
    | TasksCancelled
    | PhaseEnded
    | CycleClosed
    | VerdictReached
    | CampaignReopened
    | PhaseRedone
    | EffectDeferred
    | SiteChanged
    | SitePrepared
    | Paused
    | Resumed
    | ClockStepped
    | JournalRepaired
    | JournalRebuilt
)

EVENT_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
