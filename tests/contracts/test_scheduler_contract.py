"""What every ports.Scheduler keeps: this machine's queue, a real Slurm, and both shipped fakes."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.scheduler_sites import (
    ClusterSite,
    LocalSite,
    RealSite,
    SimulatedSite,
    SimulatedSlurmSite,
    Site,
    SlurmSite,
)

from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Accepted, Limited, PostMortem, Rejected, Scheduler, Unclear, Void

pytestmark = pytest.mark.timeout(300)
_LAB = Path(__file__).parents[2] / "scripts" / "lab"
_OVER = {JobState.ENDED, JobState.ABSENT}


@pytest.fixture(scope="module")
def slurm_conf() -> Iterator[str]:
    """The lab's; brought up for this module if it does not run."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        pytest.skip("the lab needs root on Debian")
    was_up = _lab("status").returncode == 0
    up = _lab("up")
    assert up.returncode == 0, up.stderr
    yield next(
        line.partition("=")[2] for line in _lab("env").stdout.splitlines() if "SLURM_CONF" in line
    )
    if not was_up:
        _lab("down")


def _lab(verb: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([_LAB, verb], check=False, capture_output=True, text=True, timeout=600)


@pytest.fixture(
    params=["local", pytest.param("slurm", marks=pytest.mark.lab), "fake cluster", "fake slurm"]
)
def site(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """Every implementation, on an empty site."""
    match request.param:
        case "local":
            yield LocalSite(tmp_path / "root")
        case "slurm":
            monkeypatch.setenv("SLURM_CONF", request.getfixturevalue("slurm_conf"))
            real = SlurmSite(tmp_path / "root")
            yield real
            subprocess.run(
                ["scancel", "--quiet", "--name", real.batch(1)[0].job_name], check=True, timeout=60
            )
        case "fake cluster":
            yield ClusterSite()
        case _:
            yield SimulatedSlurmSite()


async def states(scheduler: Scheduler, batch: Batch) -> dict[int, JobState]:
    """What is shown of each live attempt; nothing of it while there is no information."""
    seen = await scheduler.sight([batch]) or {}
    return {index: sighting.state for (_, index), sighting in seen.items()}


async def over(site: Site, scheduler: Scheduler, batch: Batch) -> None:
    """Wait until the scheduler shows no attempt alive."""

    async def all_over() -> bool:
        shown = await states(scheduler, batch)
        return set(shown) == set(batch.live) and set(shown.values()) <= _OVER

    await site.eventually(all_over)


async def running(site: Site, scheduler: Scheduler, batch: Batch) -> None:
    """Wait until a task has begun and is shown so."""

    async def one_runs() -> bool:
        shown = await states(scheduler, batch)
        return any(
            shown.get(index) is JobState.RUNNING and begun
            for index, begun in enumerate(site.starts(batch))
        )

    await site.eventually(one_runs)


async def accepted(site: Site, scheduler: Scheduler, batch: Batch) -> str:
    """Its id, however long it takes to be found."""
    found: list[str] = []

    async def has_it() -> bool:
        answer = await scheduler.locate(batch)
        assert not isinstance(answer, Void)
        found.extend([answer.job_id] if isinstance(answer, Accepted) else [])
        return bool(found)

    await site.eventually(has_it)
    return found[0]


async def void(site: Site, scheduler: Scheduler, batch: Batch) -> None:
    """Wait until it is proved that there is nothing."""

    async def proved() -> bool:
        answer = await scheduler.locate(batch)
        assert not isinstance(answer, Accepted)
        return isinstance(answer, Void)

    await site.eventually(proved)


def test_a_batch_is_submitted_once_however_often_it_is_asked_for(site: Site) -> None:
    """At once, one after another, and by another daemon: one id, and each task runs once."""

    async def test() -> None:
        batch, tasks = site.batch(3)
        first, second = site.scheduler(), site.scheduler()
        answers = [await first.submit(batch, tasks)]
        answers += await asyncio.gather(first.submit(batch, tasks), second.submit(batch, tasks))
        assert isinstance(answers[0], Accepted)
        assert answers == [answers[0]] * 3
        await over(site, second, batch)
        assert await second.submit(batch, tasks) == answers[0]
        assert site.starts(batch) == [1, 1, 1]
        if isinstance(site, RealSite):  # the whole work half, as in a campaign
            names = {path.name for path in (site.root / "outbox").glob("*.json")}
            assert names == {f"{batch.job_name}.{index}.json" for index in range(3)}

    site.run(test())


def test_a_batch_that_was_submitted_is_found(site: Site) -> None:
    """By another daemon, under the id that the first was told."""

    async def test() -> None:
        batch, tasks = site.batch(2)
        answer = await site.scheduler().submit(batch, tasks)
        assert isinstance(answer, Accepted)
        assert await accepted(site, site.scheduler(), batch) == answer.job_id
        await over(site, site.scheduler(), batch)

    site.run(test())


def test_void_is_final(site: Site) -> None:
    """What was never handed over is proved to be so.

    A submission that comes after that does nothing.
    """

    async def test() -> None:
        batch, tasks = site.batch(2)
        scheduler = site.scheduler()
        await void(site, scheduler, batch)
        assert not isinstance(await scheduler.submit(batch, tasks), Accepted | Limited)
        await void(site, site.scheduler(), batch)
        await site.clock.sleep(2.0)
        assert site.starts(batch) == [0, 0]

    site.run(test())


def test_what_lives_is_shown_alive_and_what_has_ended_is_not(site: Site) -> None:
    """Only what was asked for is shown.

    Of a batch that it has never had, a scheduler shows nothing alive.
    """

    async def test() -> None:
        site.tasks_do("last")
        batch, tasks = site.batch(2)
        scheduler = site.scheduler()
        assert set((await states(scheduler, batch)).values()) <= {JobState.ABSENT}
        await scheduler.submit(batch, tasks)
        await running(site, scheduler, batch)
        item = batch.model_copy(update={"live": frozenset({1})})
        assert set(await scheduler.sight([item]) or {}) == {(batch.job_name, 1)}
        await scheduler.cancel(batch)
        await over(site, scheduler, batch)

    site.run(test())


def test_a_cancelled_attempt_is_told_so(site: Site) -> None:
    """While it runs its end is not known; then the person's word is the reason."""

    async def test() -> None:
        site.tasks_do("last")
        batch, tasks = site.batch(1)
        scheduler = site.scheduler()
        await scheduler.submit(batch, tasks)
        await running(site, scheduler, batch)
        alive = await scheduler.post_mortem(batch, 0)
        assert alive is None or (isinstance(alive, Sighting) and alive.state is JobState.RUNNING)
        await scheduler.cancel(batch)
        await over(site, scheduler, batch)
        end = await scheduler.post_mortem(batch, 0)
        assert isinstance(end, PostMortem)
        assert end.reason is Reason.CANCELLED

    site.run(test())


def test_an_attempt_that_dies_without_a_word_has_a_reason(site: Site) -> None:
    """Known as soon as the scheduler shows it ended, and the same each time."""

    async def test() -> None:
        site.tasks_do("die")
        batch, tasks = site.batch(1)
        scheduler = site.scheduler()
        await scheduler.submit(batch, tasks)
        await over(site, scheduler, batch)
        end = await scheduler.post_mortem(batch, 0)
        assert isinstance(end, PostMortem)
        assert end.reason in site.death
        assert end.message
        assert await site.scheduler().post_mortem(batch, 0) == end
        assert site.starts(batch) == [1]

    site.run(test())


def test_what_is_refused_never_runs(site: Site) -> None:
    """The refusal is in words, and stays one; nothing can come of it."""

    async def test() -> None:
        batch, tasks = site.batch(1, site.impossible())
        answer = await site.scheduler().submit(batch, tasks)
        assert isinstance(answer, Rejected)
        assert answer.message
        if isinstance(site, SimulatedSite):
            site.fault("rejected", 0.0)
        assert not isinstance(await site.scheduler().submit(batch, tasks), Accepted)
        await void(site, site.scheduler(), batch)
        assert site.starts(batch) == [0]

    site.run(test())


@pytest.fixture(params=[ClusterSite, SimulatedSlurmSite])
def faulty(request: pytest.FixtureRequest) -> SimulatedSite:
    """Sites whose faults can be had when wanted; on a real Slurm, tests/lab makes some of them."""
    made: SimulatedSite = request.param()
    return made


def test_a_submit_limit_is_waited_for(faulty: SimulatedSite) -> None:
    """Nothing was submitted, and the next call may."""

    async def test() -> None:
        batch, tasks = faulty.batch(2)
        faulty.fault("limited")
        assert isinstance(await faulty.scheduler().submit(batch, tasks), Limited)
        faulty.fault("limited", 0.0)
        assert isinstance(await faulty.scheduler().submit(batch, tasks), Accepted)
        await over(faulty, faulty.scheduler(), batch)
        assert faulty.starts(batch) == [1, 1]

    faulty.run(test())


@pytest.mark.parametrize("fault", ["reply_lost", "submit_lost", "landing_late"])
def test_an_unclear_submission_is_found_or_void_and_never_both(
    faulty: SimulatedSite, fault: str
) -> None:
    """Looked for until it is known; then each task has run once, or never will."""

    async def test() -> None:
        batch, tasks = faulty.batch(2)
        faulty.fault(fault)
        answer = await faulty.scheduler().submit(batch, tasks)
        assert isinstance(answer, Unclear | Accepted)
        faulty.fault(fault, 0.0)
        scheduler = faulty.scheduler()
        while isinstance(answer, Unclear):
            await faulty.clock.sleep(5.0)
            try:
                located = await scheduler.locate(batch)
            except TransientError:
                continue
            if not isinstance(located, Unclear):
                break
        else:
            located = answer
        await faulty.clock.sleep(1000.0)
        assert faulty.starts(batch) == ([0, 0] if isinstance(located, Void) else [1, 1])
        assert fault != "submit_lost" or isinstance(located, Void)

    faulty.run(test())
