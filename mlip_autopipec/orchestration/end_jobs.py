"""Ending every job of a campaign where no daemon runs. Nothing is left that lives or may yet begin.

A batch whose answer was lost is looked up by its name first: it is found, or shut out for good.
What the scheduler shows under the campaign's name beside that, such as a job that was given up and
lives, is ended too.
"""

import asyncio
from collections.abc import AsyncIterator

from mlip_autopipec.data_models.base import RunsOn
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.ports import Accepted, Clock, PostMortem, Scheduler, Void

#: How long jobs may take to end, and submissions to be found, before it is for a person.
PATIENCE_S = 180.0
_FIRST_WAIT_S, _WAIT_MAX_S = 0.2, 10.0
_NAMED_MAX = 5


async def end_all_jobs(
    scheduler: Scheduler, state: WorkflowState, clock: Clock, *, patience_s: float = PATIENCE_S
) -> None:
    """End every job of the campaign.

    Raises OperatorError, with what may live, if that can't be brought about.
    """
    ending, wait_s = _Ending(scheduler, state), _FIRST_WAIT_S
    until_s = asyncio.get_running_loop().time() + patience_s
    while left := [line async for line in ending.look()]:
        if asyncio.get_running_loop().time() > until_s:
            more = f" and {len(left) - _NAMED_MAX} more" if len(left) > _NAMED_MAX else ""
            raise OperatorError(
                f"jobs of {state.campaign} may live, or yet begin:"
                f" {'; '.join(left[:_NAMED_MAX])}{more}"
            )
        await clock.sleep(wait_s)
        wait_s = min(2 * wait_s, _WAIT_MAX_S)


class _Ending:
    """What is known so far of the jobs of one campaign."""

    def __init__(self, scheduler: Scheduler, state: WorkflowState) -> None:
        self._scheduler = scheduler
        self._campaign = state.campaign
        self._batches = dict(state.batches)
        self._lost = {job_name for job_name, batch in state.batches.items() if batch.job_id is None}
        self._cancelled: set[str] = set()
        self._ended: set[tuple[str, int]] = set()

    async def look(self) -> AsyncIterator[str]:
        """Ask after everything, end what is found; what may still live, in words."""
        for batch in tuple(self._batches.values()):
            try:
                async for line in self._end(batch):
                    yield line
            except TransientError as error:
                yield f"{batch.job_name}: {error}"
        try:
            jobs = await self._scheduler.roll(self._campaign)
            if jobs is None:
                yield "the scheduler does not say what it has"
            for job_name in sorted({job.job_name for job in jobs or ()}):
                await self._cancel(Batch(job_name=job_name, tasks=(), live=frozenset()), *RunsOn)
                yield f"{job_name} is still in the queue"
        except TransientError as error:
            yield f"the scheduler does not answer: {error}"

    async def _end(self, batch: Batch) -> AsyncIterator[str]:
        if batch.job_name in self._lost:
            answer = await self._scheduler.locate(batch)
            if isinstance(answer, Void):
                del self._batches[batch.job_name]
                return
            if not isinstance(answer, Accepted):
                yield f"{batch.job_name}: {answer.message}"
                return
            self._lost.discard(batch.job_name)
        await self._cancel(batch, batch.runs_on)
        for index in sorted(batch.live):
            if (batch.job_name, index) in self._ended:
                continue
            found = await self._scheduler.post_mortem(batch, index)
            if isinstance(found, PostMortem):
                self._ended.add((batch.job_name, index))
            else:
                yield (
                    f"{batch.job_name}.{index} is"
                    f" {found.state if found else 'not known to the scheduler'}"
                )

    async def _cancel(self, batch: Batch, *everywhere: RunsOn) -> None:
        """Once; a scheduler goes on by itself."""
        if batch.job_name not in self._cancelled:
            for runs_on in everywhere:
                await self._scheduler.cancel(batch.model_copy(update={"runs_on": runs_on}))
            self._cancelled.add(batch.job_name)
