"""Before a campaign is begun anew, nothing of the old one lives or may begin.

That holds whatever became of its submissions.
"""

import random
from collections.abc import Awaitable, Callable

import pytest
from kit.simulated import Site, behind_slurm, in_memory

from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.orchestration.end_jobs import end_all_jobs
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import Accepted, Clock, Scheduler
from mlip_autopipec.testing.clock import SimulatedClock, run_simulated
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk
from mlip_autopipec.testing.weather import FaultRates, Weather

RATES = FaultRates(
    reply_lost=0.4,
    submit_lost=0.2,
    landing_late=0.2,
    transient=0.1,
    sight_empty=0.1,
    post_mortem_none=0.2,
    dies=0.1,
)
HOUR_S = 3600.0
Ends = Callable[[Scheduler, WorkflowState, Clock], Awaitable[None]]


async def patient(scheduler: Scheduler, state: WorkflowState, clock: Clock) -> None:
    await end_all_jobs(scheduler, state, clock, patience_s=HOUR_S)


async def forgetful(scheduler: Scheduler, state: WorkflowState, clock: Clock) -> None:
    """As it once was: what has no job id is left to itself."""
    known = {
        job_name: batch for job_name, batch in state.batches.items() if batch.job_id is not None
    }
    await end_all_jobs(
        _Unseeing(scheduler), state.model_copy(update={"batches": known}), clock, patience_s=HOUR_S
    )


class _Unseeing:
    """A scheduler that shows nothing by name."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.post_mortem, self.cancel, self.locate = (
            scheduler.post_mortem,
            scheduler.cancel,
            scheduler.locate,
        )
        self.submit, self.sight = scheduler.submit, scheduler.sight

    async def roll(self, campaign: str) -> tuple[()]:
        del campaign
        return ()


def alive_after(seed: int, end: Ends, rates: FaultRates = RATES) -> list[str]:
    """Submit three batches with lost answers and end them all; which attempts run then or later."""
    clock, chance = SimulatedClock(), random.Random(seed)  # noqa: S311 - the same in every run is the point
    weather = Weather(clock, chance, rates)
    site: Site = (behind_slurm() if seed % 2 else in_memory())(clock, weather, chance)
    config = copper_config()
    state = Walk(config, phase_runners(config)).planned(Phase.CALCULATION)
    tasks = [record.task for record in state.tasks.values()]
    alive: list[str] = []

    async def main() -> None:
        scheduler = site.scheduler()
        batches = [
            await submitted(scheduler, site, state.campaign, number, tasks) for number in range(3)
        ]
        left = state.model_copy(update={"batches": {batch.job_name: batch for batch in batches}})
        await end(site.scheduler(), left, clock)
        ended_at = clock.now()
        alive.extend(
            job_name for batch in batches for job_name in [batch.job_name] if not over(site, batch)
        )
        await clock.sleep(HOUR_S)
        alive.extend(
            job.job_name
            for job in site.watcher._all()
            for start in job.starts
            if start > ended_at and not job.idle
        )

    run_simulated(main(), clock, limit_s=48 * HOUR_S)
    return alive


def over(site: Site, batch: Batch) -> bool:
    """Whether no attempt of it runs any more, nor may begin.

    A submission that never was is over as it is.
    """
    return all(site.jobs.is_over(batch.job_name, index) for index in batch.live)


async def submitted(
    scheduler: Scheduler, site: Site, campaign: str, number: int, tasks: list[Task]
) -> Batch:
    """A batch as the journal has it when its daemon dies with the answer, if there was one."""
    mine = tasks[number : number + 1]
    batch = Batch(
        job_name=f"{campaign}.c000.calculation.b{number:02d}",
        tasks=(mine[0].id,),
        live=frozenset({0}),
    )
    file = TaskFile(campaign=campaign, **dict(mine[0]))
    site.transport.files[f"{mine[0].workdir}/task.json"] = file.model_dump_json().encode()
    try:
        answer = await scheduler.submit(batch, mine)
    except TransientError:
        return batch
    return (
        batch.model_copy(update={"job_id": answer.job_id})
        if isinstance(answer, Accepted)
        else batch
    )


def test_nothing_lives_when_all_was_ended() -> None:
    """In memory and behind Slurm.

    Answers are lost, submissions are lost or late, and looks show nothing.
    """
    assert {seed: alive for seed in range(40) if (alive := alive_after(seed, patient))} == {}


def test_what_forgets_the_lost_is_found() -> None:
    """The mistake that was made once."""
    assert any(alive_after(seed, forgetful) for seed in range(40))


def test_where_nothing_can_be_known_nothing_is_begun() -> None:
    """It is said what may live."""
    blind = FaultRates(reply_lost=1.0, locate_unclear=1.0)
    with pytest.raises(OperatorError, match=r"may live, or yet begin: .*b00: .*; .*b02: "):
        alive_after(0, patient, blind)
