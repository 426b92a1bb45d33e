"""What the local scheduler asks of the queue on a machine without Slurm, and what that answers.

Each verb has one question and one answer, each an object of JSON. The specification of a batch, the
question of `submit`, is also what the queue keeps of it as `batch.json`.
"""

from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from mlip_autopipec.contract.origin import is_absent
from mlip_autopipec.contract.values import about, is_nothing, value

Q = TypeVar("Q")
A = TypeVar("A")

#: Where an attempt stands; `unknown`: only another host could tell.
State = Literal["waiting", "running", "ended", "absent", "unknown"]


@dataclass(frozen=True)
class Verb(Generic[Q, A]):
    """One thing that the queue does when it is asked to."""

    name: str
    question: type[Q]
    answer: type[A]


@value
class BatchName:
    """A batch that may be there."""

    job_name: str = field(metadata=about(alias="uid"))


@value
class TaskSpec:
    """One task of a batch, as its runner starts it."""

    index: int
    id: str
    workdir: str = field(metadata=about("relative to the site's root"))
    cores: int = field(metadata=about("of all its processes together"))
    threads: int = field(metadata=about("of each process"))
    walltime_s: int
    memory_mib: int | None = field(
        default=None, metadata=about("None: not bounded", exclude_if=is_absent)
    )


@value
class BatchSpec(BatchName):
    """A batch, as its runner reads it."""

    python: str
    payload: str = field(metadata=about("the shipped work half, relative to the site's root"))
    cores: int | None = field(metadata=about("at work at a time; None: all but one"))
    tasks: tuple[TaskSpec, ...]


@value
class LiveBatch(BatchName):
    """A batch, and the attempts in it that are not over."""

    live: tuple[int, ...]


@value
class LiveBatches:
    """All that are looked at in one go."""

    batches: tuple[LiveBatch, ...]


@value
class UnwantedBatch(LiveBatch):
    """A batch to end, or some of its attempts."""

    only: bool = field(
        default=False, metadata=about("these attempts, not all of them", exclude_if=is_nothing)
    )


@value
class AttemptName(BatchName):
    """One attempt of a batch."""

    index: int


@value
class CampaignName:
    """A campaign, with whose name those of its batches begin."""

    campaign: str


@value
class Handed:
    """Whether the queue has a batch; one of these is said."""

    accepted: str | None = field(default=None, metadata=about("the job id", exclude_if=is_absent))
    unclear: str | None = field(default=None, metadata=about("why", exclude_if=is_absent))


@value
class Submitted(Handed):
    """What has come of a submission."""

    rejected: str | None = field(
        default=None, metadata=about("why, and for good", exclude_if=is_absent)
    )


@value
class Located(Handed):
    """What has come of a look for a batch."""

    void: str | None = field(
        default=None, metadata=about("why it will never begin", exclude_if=is_absent)
    )


@value
class SeenAttempt(AttemptName):
    """Where one attempt stands."""

    state: State
    detail: str


@value
class SeenAttempts:
    """Where all attempts stand that were asked for."""

    sightings: tuple[SeenAttempt, ...]


@value
class Inquest:
    """How an attempt has ended, or where it stands if it has not."""

    sighting: SeenAttempt | None = field(default=None, metadata=about(exclude_if=is_absent))
    reason: str | None = field(
        default=None, metadata=about("in a word, of any version", exclude_if=is_absent)
    )
    message: str | None = field(default=None, metadata=about(exclude_if=is_absent))


@value
class LiveRunner(BatchName):
    """The runner of a batch, at work."""

    job_id: str
    detail: str


@value
class LiveRunners:
    """All of a campaign's."""

    jobs: tuple[LiveRunner, ...]


@value
class Done:
    """There is nothing to say of it."""


SUBMIT = Verb("submit", BatchSpec, Submitted)
LOCATE = Verb("locate", BatchName, Located)
SIGHT = Verb("sight", LiveBatches, SeenAttempts)
POST_MORTEM = Verb("post_mortem", AttemptName, Inquest)
ROLL = Verb("roll", CampaignName, LiveRunners)
CANCEL = Verb("cancel", UnwantedBatch, Done)
