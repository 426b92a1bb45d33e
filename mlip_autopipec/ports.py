"""Ports: what the core needs of the outside, each as small as it can be.

A site's adapters are made by site.py.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from mlip_autopipec.data_models.base import Mender, Reason
from mlip_autopipec.data_models.digest import Digest
from mlip_autopipec.data_models.events import Event, QueuedJob, Sighting
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.data_models.task import Task

#: A file that is larger is no small file: nothing of ours writes it, and it is not taken into
#: memory among others.
SMALL_FILE_BYTES_MAX = 16 * 2**20
#: One call of `read_many` brings no more: outcomes that are all as large as may be are read in
#: pages.
READ_BYTES_MAX = 64 * 2**20


class Clock(Protocol):
    """Time, as an argument."""

    def now(self) -> datetime:
        """Wall-clock time in UTC."""

    async def sleep(self, delay_s: float) -> None:
        """Wait; may be cancelled."""


class Journal(Protocol):
    """The append-only event log."""

    async def append(self, events: Sequence[Event]) -> int:
        """Make events durable, in order, and return the sequence number of the last.

        Returns only after they are on the disk. Raises OperatorError when that can no longer be
        promised; the journal takes nothing after that.
        """


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ran to its end on the site."""

    exit_status: int
    stdout: bytes
    stderr: bytes


class Transport(Protocol):
    """Files and commands on the site. Paths are relative to the site's root.

    A passing fault raises TransientError.
    """

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run a command in the root folder and wait for its end.

        Raises TransientError when the end is not known: the command may or may not have run, or may
        still be running.
        """

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Place files whole (temporary name, fsync, rename), making folders as needed.

        Existing files are replaced.
        """

    async def read(self, path: str, *, size_max: int = 64 * 2**20) -> bytes | None:
        """The content of one file, or None if there is none.

        Raises FileUnusable if the name is no regular file (no link is followed), FileTooLarge above
        `size_max` bytes.
        """

    async def read_many(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Content of many small files in one round trip; what is no small regular file is left out.

        So is what is more than READ_BYTES_MAX in all: ask again for the rest (`read_pages`). Where
        any of the files is there, at least one is in the answer.
        """

    async def names(self, folder: str) -> tuple[str, ...]:
        """Names in a folder, sorted; empty if there is no such folder."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The scheduler has the batch under this id."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The scheduler will never take the batch as it is; its own words, and who can mend it.

    `by_size`: for how much it asks for. `remedy` is what a person does.
    """

    message: str
    mender: Mender = field(default=Mender.TASK, compare=False)
    remedy: str = field(default="", compare=False)
    by_size: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Limited:
    """Not submitted, try again later: at a submit limit, or (`degraded`) with the site in trouble.

    `known` is False where nobody knows these words.
    """

    message: str
    degraded: bool = field(default=False, compare=False)
    known: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Unclear:
    """It is not known whether the scheduler has the batch."""

    message: str


@dataclass(frozen=True, slots=True)
class Void:
    """Proved: the batch was not submitted and never will be under this job name."""

    message: str


@dataclass(frozen=True, slots=True)
class PostMortem:
    """What the scheduler knows of an attempt that has ended for certain."""

    reason: Reason
    message: str
    node: str = field(default="", compare=False)  # where it ran; empty where that is not known


#: What a submission may come to.
Answer = Accepted | Rejected | Limited | Unclear


class Scheduler(Protocol):
    """A queue of jobs. One batch is one job (an array where it has more than one task)."""

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Answer:
        """Stage the batch and hand it over, at most once ever for a job name, however often called.

        It does not run on the nodes in `exclude`.
        """

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Whether the scheduler has the batch. Void only when that is proved for all time."""

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """All live attempts, seen at once.

        None is no information, and an attempt left out is no information about it.
        """

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """How an attempt ended; a Sighting if it has not; None if that is not known (yet)."""

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        """All jobs in the queue whose names begin with the campaign's, in order.

        None is no information.
        """

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        """End a batch, or those of its elements. Only ever on a person's word."""


class Watcher(Protocol):
    """Where ended attempts show up."""

    def names(self) -> AsyncGenerator[frozenset[str], None]:
        """Outbox names, each set whole or only the new; one may come twice, none is lost for good.

        It may hold a connection: whoever stops before it ends closes it (contextlib.aclosing).
        """


class PhaseRunner(Protocol):
    """The control half of one phase; both methods are pure."""

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        """The tasks of this phase in the current cycle."""

    def digest(self, state: WorkflowState) -> Digest:
        """What the outcomes of the phase's tasks mean. Every task is done or quarantined."""
