"""A site with two queues: each batch is handed over, looked for and ended where it belongs."""

from collections.abc import Mapping, Sequence

import pytest

from mlip_autopipec.data_models.base import Reason, RunsOn
from mlip_autopipec.data_models.events import JobState, QueuedJob, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.ports import Accepted, PostMortem, Unclear, Void
from mlip_autopipec.schedulers.routing import RoutingScheduler


class Known:
    """A queue that knows every batch, unless it is silent; `calls` is what it was asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_silent = False
        self.calls: list[tuple[object, ...]] = []

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Accepted:
        self.calls.append(("submit", batch.job_name, tuple(tasks), tuple(exclude)))
        return Accepted(self.name)

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        self.calls.append(("locate", batch.job_name))
        return Accepted(self.name)

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        self.calls.append(("sight", *(batch.job_name for batch in batches)))
        if self.is_silent:
            return None
        return {
            (batch.job_name, 0): Sighting(
                job_name=batch.job_name, index=0, state=JobState.RUNNING, detail=self.name
            )
            for batch in batches
        }

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        self.calls.append(("post_mortem", batch.job_name, index))
        return PostMortem(Reason.LOST, self.name)

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        self.calls.append(("roll", campaign))
        return (
            None
            if self.is_silent
            else (QueuedJob(job_name=f"{campaign}.{self.name}", job_id="1", detail=""),)
        )

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        self.calls.append(("cancel", batch.job_name, only))


HERE = Batch(job_name="here", tasks=("a",), runs_on=RunsOn.LOGIN, live=frozenset({0}))
THERE = Batch(job_name="there", tasks=("b",), runs_on=RunsOn.QUEUE, live=frozenset({0}))


@pytest.fixture
def queues() -> dict[RunsOn, Known]:
    return {RunsOn.LOGIN: Known("login"), RunsOn.QUEUE: Known("queue")}


async def test_each_batch_goes_where_it_belongs(queues: dict[RunsOn, Known]) -> None:
    """And nothing of it to the other."""
    both = RoutingScheduler(queues)
    assert await both.submit(HERE, (), ("n01",)) == Accepted("login")
    assert await both.locate(THERE) == Accepted("queue")
    assert await both.post_mortem(HERE, 0) == PostMortem(Reason.LOST, "login")
    await both.cancel(THERE, frozenset({0}))
    assert queues[RunsOn.LOGIN].calls == [
        ("submit", "here", (), ("n01",)),
        ("post_mortem", "here", 0),
    ]
    assert queues[RunsOn.QUEUE].calls == [("locate", "there"), ("cancel", "there", frozenset({0}))]


async def test_both_are_looked_at_where_both_have_batches(queues: dict[RunsOn, Known]) -> None:
    """Where one says nothing the other's word counts; where none does, nothing is known."""
    both = RoutingScheduler(queues)
    seen = await both.sight([HERE, THERE])
    assert seen is not None
    assert {key: sighting.detail for key, sighting in seen.items()} == {
        ("here", 0): "login",
        ("there", 0): "queue",
    }
    queues[RunsOn.QUEUE].is_silent = True
    half = await both.sight([HERE, THERE])
    assert half is not None
    assert half.keys() == {("here", 0)}
    assert await both.sight([THERE]) is None
    assert queues[RunsOn.LOGIN].calls == [("sight", "here")] * 2
    assert await both.sight([]) == {}


async def test_a_roll_is_whole_or_none(queues: dict[RunsOn, Known]) -> None:
    """Half of one would make orphans of nothing, or leave some out."""
    both = RoutingScheduler(queues)
    jobs = await both.roll("copper")
    assert jobs is not None
    assert [job.job_name for job in jobs] == ["copper.login", "copper.queue"]
    queues[RunsOn.LOGIN].is_silent = True
    assert await both.roll("copper") is None
