"""The simulated cluster keeps the promises of Scheduler and Watcher under each of its faults."""

import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

import pytest

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.ids import attempt_file
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.errors import TransientError
from mlip_autopipec.orchestration.outcomes import judge_outcome
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import Accepted, Answer, Limited, PostMortem, Rejected, Unclear, Void
from mlip_autopipec.testing.clock import SimulatedClock, run_simulated
from mlip_autopipec.testing.cluster import QUIET_S, SimulatedCluster
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.testing.walk import Walk
from mlip_autopipec.testing.weather import FaultRates, Weather

HOUR_S = 3600.0
FINE = FaultRates()


class Stand:
    """A cluster under one climate, and a batch of calculations to give it."""

    def __init__(self, rates: FaultRates = FINE, *, seed: int = 1) -> None:
        config = copper_config()
        self.walk = Walk(config, phase_runners(config))
        state = self.walk.planned(Phase.CALCULATION)
        self.batch = Batch(
            job_name="copper-3f9a1c.c000.calculation.b00",
            tasks=tuple(state.tasks),
            live=frozenset(range(len(state.tasks))),
        )
        self.tasks: list[Task] = [record.task for record in state.tasks.values()]
        self.clock = SimulatedClock()
        chance = random.Random(seed)  # noqa: S311 - the same in every run is the point
        self.weather = Weather(self.clock, chance, rates)
        self.transport = MemoryTransport(disturb=self.weather.pass_by)
        self.cluster = SimulatedCluster(self.transport, self.clock, self.weather, chance)

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """Do `main` in virtual time."""

        async def doing() -> None:
            await main()

        run_simulated(doing(), self.clock, limit_s=48 * HOUR_S)

    def stage(self) -> None:
        """Place every task.json."""
        for task in self.tasks:
            file = TaskFile(campaign="copper-3f9a1c", **dict(task))
            self.transport.files[f"{task.workdir}/task.json"] = file.model_dump_json().encode()

    async def submit(self, *, staged: bool = True) -> Answer:
        """Stage and hand over."""
        if staged:
            self.stage()
        return await self.cluster.submit(self.batch, self.tasks)


def test_every_job_of_a_batch_runs_once_and_writes_its_outcome() -> None:
    """Started late, run for a while, done; each file in the outbox is what its task asked for."""
    stand = Stand()

    async def main() -> None:
        assert isinstance(await stand.submit(), Accepted)
        await stand.clock.sleep(HOUR_S)

    stand.run(main)
    assert [len(job.starts) for job in stand.cluster.jobs.values()] == [1, 1, 1]
    assert stand.cluster.violations == []
    for index, task in enumerate(stand.batch.tasks):
        content = stand.transport.files[f"outbox/{attempt_file(stand.batch.job_name, index)}"]
        event = judge_outcome(content, stand.batch, index, stand.walk.state, stand.clock.now())
        assert isinstance(event, ev.TaskEnded)
        assert (event.outcome.task, event.outcome.status) == (task, "done")


def test_a_batch_is_handed_over_once_however_often_it_is_submitted() -> None:
    """Later calls only report."""
    stand = Stand()

    async def main() -> None:
        answers = [await stand.submit() for _ in range(3)]
        assert len(set(answers)) == 1
        await stand.clock.sleep(HOUR_S)

    stand.run(main)
    assert all(len(job.starts) == 1 for job in stand.cluster.jobs.values())


def test_a_lost_reply_is_found_by_looking() -> None:
    """The job has landed, and only the answer is gone."""
    stand = Stand(FaultRates(reply_lost=1.0))

    async def main() -> None:
        assert isinstance(await stand.submit(), Unclear)
        assert isinstance(await stand.cluster.locate(stand.batch), Accepted)

    stand.run(main)


def test_a_lost_submission_is_void_only_when_nothing_can_be_on_the_wire() -> None:
    """Unclear until then, void ever after, and nothing lands."""
    stand = Stand(FaultRates(submit_lost=1.0))

    async def main() -> None:
        assert isinstance(await stand.submit(), Unclear)
        assert isinstance(await stand.cluster.locate(stand.batch), Unclear)
        assert not stand.cluster.is_over(stand.batch.job_name, 0)
        await stand.clock.sleep(QUIET_S)
        assert isinstance(await stand.cluster.locate(stand.batch), Void)
        assert stand.cluster.is_over(stand.batch.job_name, 0)
        assert not isinstance(await stand.submit(), Accepted)
        await stand.clock.sleep(HOUR_S)

    stand.run(main)
    assert stand.cluster.jobs == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_late_landing_is_never_called_void(seed: int) -> None:
    """However often one asks, the answer is Unclear until it lands, and Accepted from then on."""
    stand = Stand(FaultRates(landing_late=1.0), seed=seed)
    answers: list[type[object]] = []

    async def main() -> None:
        assert isinstance(await stand.submit(), Unclear)
        while stand.clock.elapsed_s < 2 * QUIET_S:
            answers.append(type(await stand.cluster.locate(stand.batch)))

    stand.run(main)
    assert set(answers) == {Unclear, Accepted}
    assert answers == sorted(answers, key=lambda kind: kind is Accepted)


@pytest.mark.parametrize(
    ("rates", "kind"), [(FaultRates(limited=1.0), Limited), (FaultRates(rejected=1.0), Rejected)]
)
def test_what_is_not_taken_does_not_run(rates: FaultRates, kind: type[object]) -> None:
    """A limit and a refusal leave nothing behind."""
    stand = Stand(rates)

    async def main() -> None:
        assert isinstance(await stand.submit(), kind)
        await stand.clock.sleep(HOUR_S)

    stand.run(main)
    assert stand.cluster.jobs == {}
    assert stand.cluster.is_over(stand.batch.job_name, 0) is (kind is Rejected)


def test_a_preempted_job_runs_again_under_its_id() -> None:
    """A requeue is the scheduler's own doing and no second attempt."""
    stand = Stand(FaultRates(preempted=1.0))

    async def main() -> None:
        await stand.submit()
        await stand.clock.sleep(HOUR_S)
        stand.weather.clear()
        await stand.clock.sleep(HOUR_S)

    stand.run(main)
    assert all(len(job.starts) > 1 and job.done for job in stand.cluster.jobs.values())
    assert stand.cluster.violations == []


def test_a_job_that_dies_leaves_no_outcome_and_a_reason() -> None:
    """What the scheduler knows is all there is."""
    stand = Stand(FaultRates(dies=1.0))

    async def main() -> None:
        await stand.submit()
        assert isinstance(await stand.cluster.post_mortem(stand.batch, 0), ev.Sighting)
        await stand.clock.sleep(HOUR_S)
        answers = [await stand.cluster.post_mortem(stand.batch, index) for index in range(3)]
        assert all(isinstance(answer, PostMortem) for answer in answers)

    stand.run(main)
    assert not any(path.startswith("outbox/") for path in stand.transport.files)


@pytest.mark.parametrize(("fault", "kind"), [("fails", ev.TaskEnded), ("garbled", ev.AttemptLost)])
def test_failed_and_garbled_outcomes_are_judged_as_such(fault: str, kind: type[ev.Event]) -> None:
    """A payload that says why it failed, and one that could not even say that."""
    stand = Stand(replace(FINE, **{fault: 1.0}))

    async def main() -> None:
        await stand.submit()
        await stand.clock.sleep(HOUR_S)

    stand.run(main)
    content = stand.transport.files[f"outbox/{attempt_file(stand.batch.job_name, 0)}"]
    event = judge_outcome(content, stand.batch, 0, stand.walk.state, stand.clock.now())
    assert isinstance(event, kind)


def test_squeue_shows_jobs_until_it_forgets_them() -> None:
    """Waiting, running, ended, and absent some minutes after the end."""
    stand = Stand()
    seen: list[ev.JobState] = []

    async def main() -> None:
        await stand.submit()
        for _ in range(100):
            sightings = await stand.cluster.sight([stand.batch])
            assert sightings is not None
            seen.append(sightings[stand.batch.job_name, 0].state)
            await stand.clock.sleep(10)

    stand.run(main)
    assert list(dict.fromkeys(seen)) == [
        ev.JobState.WAITING,
        ev.JobState.RUNNING,
        ev.JobState.ENDED,
        ev.JobState.ABSENT,
    ]


@pytest.mark.parametrize(
    ("rates", "shown"),
    [(FaultRates(sight_none=1.0), None), (FaultRates(left_out=1.0), {})],
    ids=["nothing", "left out"],
)
def test_no_information_is_no_absence(rates: FaultRates, shown: object) -> None:
    """None, and an attempt left out."""
    stand = Stand(rates)

    async def main() -> None:
        await stand.submit()
        assert await stand.cluster.sight([stand.batch]) == shown

    stand.run(main)


def test_a_frozen_scheduler_shows_the_past() -> None:
    """A job that has landed since is absent in a whole, successful answer."""
    stand = Stand(FaultRates(sight_frozen=1.0))

    async def main() -> None:
        await stand.submit()
        sightings = await stand.cluster.sight([stand.batch])
        assert sightings is not None
        assert {sighting.state for sighting in sightings.values()} == {ev.JobState.ABSENT}

    stand.run(main)


def test_cancelled_jobs_end_and_do_not_start() -> None:
    """On a person's word, waiting and running alike."""
    stand = Stand()

    async def main() -> None:
        await stand.submit()
        await stand.cluster.cancel(stand.batch)
        await stand.clock.sleep(HOUR_S)
        assert await stand.cluster.post_mortem(stand.batch, 0) == PostMortem(
            Reason.CANCELLED, "CANCELLED by 0"
        )

    stand.run(main)
    assert [job.starts for job in stand.cluster.jobs.values()] == [[], [], []]


def test_the_outbox_is_listed_whole_again_and_again() -> None:
    """Names come in parts and come twice, and none is lost for good."""
    stand = Stand(FaultRates(listing_empty=0.3))
    listings: list[frozenset[str]] = []

    async def main() -> None:
        await stand.submit()
        async with aclosing(stand.cluster.names()) as sets:
            async for names in sets:
                listings.append(names)
                if stand.clock.elapsed_s > HOUR_S:
                    return

    stand.run(main)
    names = {attempt_file(stand.batch.job_name, index) for index in range(3)}
    whole = [listing for listing in listings if listing == names]
    assert len(whole) > 10
    assert frozenset() in listings


def test_a_second_attempt_beside_the_first_is_a_violation() -> None:
    """Whoever hands the same task over under another uid is told on."""
    stand = Stand()
    second = stand.batch.model_copy(update={"job_name": "copper-3f9a1c.c000.calculation.b01"})

    async def main() -> None:
        await stand.submit()
        await stand.cluster.submit(second, stand.tasks)
        await stand.clock.sleep(HOUR_S)

    stand.run(main)
    message = "\n".join(stand.cluster.violations)
    assert "runs twice at once" in message or "was done by" in message


def test_a_job_that_was_not_staged_is_a_violation() -> None:
    """The first thing that a job reads is its task.json."""
    stand = Stand()

    async def main() -> None:
        await stand.submit(staged=False)
        await stand.clock.sleep(HOUR_S)

    stand.run(main)
    assert len(stand.cluster.violations) == 3
    assert all(
        "task.json is not what was submitted" in message for message in stand.cluster.violations
    )


def test_calm_weather_has_no_faults() -> None:
    """From the given moment on every fault stops, even one that lasts."""
    clock = SimulatedClock()
    weather = Weather(
        clock,
        random.Random(1),  # noqa: S311 - the same in every run is the point
        FaultRates(transient=1.0, outage=1.0),
        calm_after_s=60,
    )

    async def main() -> None:
        with pytest.raises(TransientError, match="cut in squeue"):
            await weather.pass_by("squeue")
        await clock.sleep(60)
        assert weather.is_calm
        await weather.pass_by("squeue")
        assert not weather.holds("outage")

    run_simulated(main(), clock, limit_s=HOUR_S)
    assert clock.now() - SimulatedClock().now() < timedelta(hours=1)
