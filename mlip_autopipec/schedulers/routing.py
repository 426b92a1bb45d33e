"""Two queues of one site, and one that may be another later.

A batch goes where its intent says, and is looked for nowhere else.
"""

import asyncio
from collections.abc import Mapping, Sequence

from mlip_autopipec.data_models.base import RunsOn
from mlip_autopipec.data_models.events import QueuedJob, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.ports import Accepted, Answer, PostMortem, Scheduler, Unclear, Void


class RoutingScheduler:
    """ports.Scheduler over one per place."""

    def __init__(self, schedulers: Mapping[RunsOn, Scheduler]) -> None:
        self._schedulers = schedulers

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Answer:
        """Hand it over where it belongs."""
        return await self._of(batch).submit(batch, tasks, exclude)

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Look where it was handed over."""
        return await self._of(batch).locate(batch)

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """Ask every place with a batch. Where one gives no information the others' still counts."""
        by_queue = {
            runs_on: [batch for batch in batches if batch.runs_on is runs_on]
            for runs_on in self._schedulers
        }
        answers = await asyncio.gather(
            *(
                self._schedulers[runs_on].sight(there)
                for runs_on, there in by_queue.items()
                if there
            )
        )
        known = [answer for answer in answers if answer is not None]
        if answers and not known:
            return None
        return {key: sighting for answer in known for key, sighting in answer.items()}

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """Ask where it ran."""
        return await self._of(batch).post_mortem(batch, index)

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        """What every place has; None where one gives no information."""
        answers = await asyncio.gather(
            *(scheduler.roll(campaign) for scheduler in self._schedulers.values())
        )
        known = [answer for answer in answers if answer is not None]
        return (
            tuple(job for answer in known for job in answer) if len(known) == len(answers) else None
        )

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        """End it where it is."""
        await self._of(batch).cancel(batch, only)

    def _of(self, batch: Batch) -> Scheduler:
        return self._schedulers[batch.runs_on]


class CurrentScheduler:
    """ports.Scheduler by the options in force; calls under way end with those of before."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def follow(self, scheduler: Scheduler) -> None:
        """Go by this one from here on. It must look in the same queue."""
        self._scheduler = scheduler

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Answer:
        """As the options of now say."""
        return await self._scheduler.submit(batch, tasks, exclude)

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Look for it."""
        return await self._scheduler.locate(batch)

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """All live attempts."""
        return await self._scheduler.sight(batches)

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """How it ended."""
        return await self._scheduler.post_mortem(batch, index)

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        """What is in the queue under the campaign's name."""
        return await self._scheduler.roll(campaign)

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        """End it."""
        await self._scheduler.cancel(batch, only)
