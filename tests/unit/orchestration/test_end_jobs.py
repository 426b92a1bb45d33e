"""What is known of a campaign's jobs while they are ended."""

from collections.abc import Mapping, Sequence

from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState, QueuedJob, Sighting
from mlip_autopipec.data_models.state import Batch, BatchStatus, WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.orchestration.end_jobs import _Ending
from mlip_autopipec.ports import Accepted, PostMortem, Void

BATCH = Batch(
    job_name="c-1.b",
    tasks=("a", "b"),
    status=BatchStatus.ACCEPTED,
    job_id="7",
    live=frozenset({0, 1}),
)


class Forgetful:
    """Tells of each end once, one with each look; `cancelled` counts its orders."""

    def __init__(self) -> None:
        self.cancelled = 0
        self._forgotten = 0

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Accepted:
        raise AssertionError(
            f"nothing is to be submitted: {batch.job_name}, {len(tasks)}, {exclude}"
        )

    async def locate(self, batch: Batch) -> Accepted | Void:
        return Void(batch.job_name)

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        raise AssertionError(f"nobody waits: {len(batches)}")

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        if index > self._forgotten:
            return Sighting(job_name=batch.job_name, index=index, state=JobState.RUNNING, detail="")
        if index < self._forgotten:
            return None
        self._forgotten += 1
        return PostMortem(Reason.CANCELLED, "ended")

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        return () if campaign == "c-1" else None

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        assert (batch.job_name, only) == (BATCH.job_name, None)
        self.cancelled += 1


async def test_what_has_ended_has_ended_though_the_scheduler_forgets_it() -> None:
    """It is asked after no more, and its batch is ended once."""
    scheduler = Forgetful()
    ending = _Ending(
        scheduler,
        WorkflowState().model_copy(update={"campaign": "c-1", "batches": {BATCH.job_name: BATCH}}),
    )
    looks = [[message async for message in ending.look()] for _ in range(3)]
    assert looks[1:] == [[], []]
    assert scheduler.cancelled == 1
