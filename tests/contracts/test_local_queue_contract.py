"""The queue without Slurm, over every transport.

Work is handed over once, found again, ended on a person's word.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.far_sites import Site

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.tasks import Input, Resources
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase, Reason, RunsOn
from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task, TaskFile, make_task
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Accepted, PostMortem, Rejected, Unclear, Void
from mlip_autopipec.schedulers.local import LocalScheduler
from mlip_autopipec.schedulers.routing import RoutingScheduler
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.queue import local_queue

JOB_NAME = "stand-0a1b2c.c000.calculation.b00"
PYTHON = sys.executable
ENDED, RUNNING = JobState.ENDED, JobState.RUNNING


@pytest.fixture
async def queue(site: Site) -> LocalScheduler:
    """The work half is there, as the daemon ships it."""
    shipment = pack()
    await site.transport.write({shipment.path: shipment.content})
    return scheduler(site, shipment.path)


@pytest.fixture(autouse=True)
def ended(site: Site) -> Iterator[None]:
    """What still runs is ended with the test."""
    yield
    for path in site.root.glob(".ap/submit/*/runner.json"):
        asyncio.run(_cancel(path.parent))


async def _cancel(folder: Path) -> None:
    local_queue.answer(folder.parents[2], "cancel", {"uid": folder.name, "live": []})


def scheduler(site: Site, payload: str, python: str = PYTHON, *prologue: str) -> LocalScheduler:
    return LocalScheduler(
        site.transport,
        root=str(site.root),
        cores=2,
        payload=payload,
        python=python,
        prologue=lambda _: prologue,
    )


def task(number: int, **resources: Any) -> Task:
    """One that is over as soon as it has begun: there is no such input."""
    oracle = AseOracle(calculator="ase.calculators.emt.EMT")
    asked = CalculateParameters(
        role=Role.TRAIN, origin="a test", oracle=oracle, force_max_ev_per_angstrom=50.0
    )
    structure = Input(name="structure", file=FileRef(path="structure.extxyz", sha256="0" * 64))
    return make_task(0, Phase.CALCULATION, number, asked, [structure], Resources(**resources))


async def batch_of(
    site: Site, *tasks: Task, job_name: str = JOB_NAME, runs_on: RunsOn = RunsOn.QUEUE
) -> Batch:
    """Their files are in place."""
    files = {
        f"{each.workdir}/task.json": TaskFile(campaign="stand-0a1b2c", **dict(each))
        .model_dump_json()
        .encode()
        for each in tasks
    }
    await site.transport.write(files)
    return Batch(
        job_name=job_name,
        tasks=tuple(each.id for each in tasks),
        live=frozenset(range(len(tasks))),
        runs_on=runs_on,
    )


async def until_ended(queue: LocalScheduler, batch: Batch) -> None:
    """Wait for every attempt."""
    async with asyncio.timeout(60):
        while {seen.state for seen in (await queue.sight([batch]) or {}).values()} != {ENDED}:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.1)


async def test_a_batch_is_handed_over_once_and_runs_to_its_outcomes(
    site: Site, queue: LocalScheduler
) -> None:
    """However often it is submitted; with one claim and one outcome for each task."""
    tasks = [task(0), task(1)]
    batch = await batch_of(site, *tasks)
    answers = [await queue.submit(batch, tasks) for _ in range(3)]
    assert len(set(answers)) == 1
    assert isinstance(answers[0], Accepted)
    await until_ended(queue, batch)
    assert await queue.locate(batch) == answers[0]
    assert await site.transport.names("outbox") == (f"{JOB_NAME}.0.json", f"{JOB_NAME}.1.json")
    assert len(list(site.root.glob("cycles/*/*/*/claim.*"))) == 2
    end = await queue.post_mortem(batch, 0)
    assert isinstance(end, PostMortem)


async def test_what_was_proved_void_is_never_begun(site: Site, queue: LocalScheduler) -> None:
    """Its late submission starts a runner that does nothing."""
    tasks = [task(0)]
    batch = await batch_of(site, *tasks)
    assert isinstance(await queue.locate(batch), Void)
    assert isinstance(await queue.submit(batch, tasks), Unclear)
    assert isinstance(await queue.locate(batch), Void)
    assert not list(site.root.glob("cycles/*/*/*/claim.*"))


async def test_more_cores_than_may_be_used_are_refused(site: Site, queue: LocalScheduler) -> None:
    """For good: processes times the cores of each."""
    tasks = [task(0, cores=1, ranks=3)]
    answer = await queue.submit(await batch_of(site, *tasks), tasks)
    assert answer == Rejected(f"{tasks[0].id} asks for 3 cores, 2 may be used there at a time")


async def test_a_python_that_is_not_there_passes(site: Site, queue: LocalScheduler) -> None:
    """Nothing was handed over; it is put off and tried again."""
    tasks = [task(0)]
    batch = await batch_of(site, *tasks)
    with pytest.raises(TransientError, match="the queue of"):
        await scheduler(site, pack().path, "/no/such/python").submit(batch, tasks)
    assert isinstance(await queue.submit(batch, tasks), Accepted)
    await until_ended(queue, batch)


async def test_the_sites_preparations_come_before_the_tasks(
    site: Site, queue: LocalScheduler
) -> None:
    """Their words on standard output are not taken for an answer.

    A folder that they change to does not matter.
    """
    tasks = [task(0)]
    batch = await batch_of(site, *tasks)
    prepared = scheduler(
        site, pack().path, PYTHON, "echo loading", "cd /", f"echo yes >{site.root}/prepared"
    )
    assert isinstance(await prepared.submit(batch, tasks), Accepted)
    await until_ended(queue, batch)
    assert (site.root / "prepared").read_text() == "yes\n"


async def test_a_process_of_another_host_is_not_called_absent(
    site: Site, queue: LocalScheduler
) -> None:
    """One name may lead to several login nodes.

    What runs on another one is not known here, and never lost.
    """
    tasks = [task(0)]
    batch = await batch_of(site, *tasks)
    local_queue.stage(site.root, queue.spec(batch, tasks))
    elsewhere = {"pid": 7, "start_time": 7, "boot_id": "theirs", "host": "login2"}
    (site.root / ".ap/submit" / JOB_NAME / "runner.json").write_text(json.dumps(elsewhere))
    seen = await queue.sight([batch])
    assert seen is not None
    assert seen[JOB_NAME, 0].state is JobState.UNKNOWN
    assert "login2" in seen[JOB_NAME, 0].detail
    assert not isinstance(await queue.post_mortem(batch, 0), PostMortem)
    assert not list(site.root.glob("cycles/*/*/*/claim.*"))


async def test_a_batch_is_looked_for_where_it_was_handed_over(
    site: Site, queue: LocalScheduler
) -> None:
    """By its own intent, not by today's configuration: each of two queues has one."""
    other = scheduler(site, pack().path)
    both = RoutingScheduler({RunsOn.QUEUE: other, RunsOn.LOGIN: queue})
    tasks = [task(0), task(1)]
    there = await batch_of(site, tasks[0])
    here = await batch_of(
        site, tasks[1], job_name=JOB_NAME.replace("b00", "b01"), runs_on=RunsOn.LOGIN
    )
    assert isinstance(await both.submit(there, tasks[:1]), Accepted)
    assert isinstance(await both.submit(here, tasks[1:]), Accepted)
    await until_ended(queue, there)
    await until_ended(queue, here)
    seen = await both.sight([there, here])
    assert seen is not None
    assert set(seen) == {(there.job_name, 0), (here.job_name, 0)}
    assert isinstance(await both.locate(here), Accepted)
    end = await both.post_mortem(here, 0)
    assert isinstance(end, PostMortem)
    assert end.reason in set(Reason)
    assert await both.sight([]) == {}
