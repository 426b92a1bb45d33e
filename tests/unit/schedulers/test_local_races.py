"""At most once: whoever submits, locates, dies or comes late, and whenever."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.files import TESTS
from kit.local_queue import JOB_NAME, Queue, quick, run_now, slow
from kit.waiting import until

from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.ports import Accepted, Unclear, Void
from mlip_autopipec.work.queue import local_queue

ENDED = JobState.ENDED


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    queue = Queue.at(tmp_path)
    yield queue
    queue.kill_all()


@pytest.mark.slow
async def test_a_second_submission_of_the_same_batch_finds_the_first(queue: Queue) -> None:
    """Same answer, same runner, one attempt; also when all is long over."""
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    job_id = await queue.accepted(batch, tasks)
    assert await queue.accepted(batch, tasks) == job_id
    await queue.until_states(batch, ENDED)
    assert await queue.accepted(batch, tasks) == job_id
    assert await queue.scheduler.locate(batch) == Accepted(job_id)
    assert queue.claims(tasks[0]) == 1


@pytest.mark.slow
async def test_submissions_at_the_same_time_start_one_runner(queue: Queue) -> None:
    """One of them starts it; the others are unclear or find it, and none finds another."""
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    answers = await asyncio.gather(*(queue.scheduler.submit(batch, tasks) for _ in range(8)))
    accepted = {answer for answer in answers if isinstance(answer, Accepted)}
    assert len(accepted) == 1
    assert all(isinstance(answer, Accepted | Unclear) for answer in answers)
    assert accepted == {await queue.scheduler.locate(batch)}
    await queue.until_states(batch, ENDED)


@pytest.mark.slow
async def test_a_submitter_that_died_before_the_launch_leaves_nothing_behind(queue: Queue) -> None:
    """Unclear, then void by looking; a runner that comes late does nothing, and void it stays."""
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    code = (
        "import os, sys; from pathlib import Path; from kit.local_queue import Queue, quick\n"
        "queue, tasks = Queue.at(Path(sys.argv[1])), [quick(0)]\n"
        "assert queue.stage(queue.batch(tasks), tasks)\n"
        "os.kill(os.getpid(), 9)"
    )
    assert run_now([sys.executable, "-c", code, queue.root]) == -signal.SIGKILL
    assert isinstance(await queue.scheduler.submit(batch, tasks), Unclear)
    assert isinstance(await queue.scheduler.locate(batch), Void)
    assert run_now(queue.runner_command()) == 0
    assert isinstance(await queue.scheduler.submit(batch, tasks), Unclear)
    assert isinstance(await queue.scheduler.locate(batch), Void)
    assert queue.claims(tasks[0]) == 0
    assert not list(queue.folder().glob("*.running"))


@pytest.mark.slow
async def test_what_was_void_before_it_was_sent_is_never_begun(queue: Queue) -> None:
    """A submission that comes after the proof starts a runner that finds it, and does nothing."""
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    assert isinstance(await queue.scheduler.locate(batch), Void)
    assert isinstance(await queue.scheduler.submit(batch, tasks), Unclear)
    assert isinstance(await queue.scheduler.locate(batch), Void)
    assert queue.claims(tasks[0]) == 0


@pytest.mark.slow
async def test_a_second_runner_of_a_batch_does_nothing(queue: Queue) -> None:
    """While the first one is at work, and after it."""
    tasks = [slow(0, 1.0)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    before = queue.runner()
    assert run_now(queue.runner_command()) == 0
    await queue.until_states(batch, ENDED)
    assert run_now(queue.runner_command()) == 0
    assert queue.runner() == before
    assert queue.claims(tasks[0]) == 1


@pytest.mark.slow
async def test_a_runner_about_to_begin_is_unclear(queue: Queue) -> None:
    """It holds its lock and has not yet said who it is.

    It is neither void nor accepted, and no other runner begins.
    """
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    queue.stage(batch, tasks)
    hold = (
        "import fcntl, sys, time; lock = open(sys.argv[1], 'w'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = start([sys.executable, "-c", hold, queue.folder() / "runner.lock"])
    try:
        assert await asyncio.to_thread(first_line, holder) == "held"
        assert isinstance(await queue.scheduler.locate(batch), Unclear)
        assert run_now(queue.runner_command()) == 0
        assert queue.runner() is None
    finally:
        holder.kill()
        holder.communicate()
    assert isinstance(await queue.scheduler.locate(batch), Void)


@pytest.mark.slow
async def test_a_batch_is_void_or_it_runs_never_both(queue: Queue) -> None:
    """Locating races with starting runners, around the moment at which they begin.

    One wins, and all know which.
    """
    rng = random.Random(7)  # noqa: S311 - moments, not secrets
    usual_s = await begin_s(queue)
    verdicts = []
    for number in range(24):
        job_name, tasks = JOB_NAME.replace("b00", f"b{number + 1:02d}"), [quick(number + 1)]
        batch = queue.batch(tasks, job_name)
        queue.stage(batch, tasks)
        runner = start(queue.runner_command(job_name))
        await asyncio.sleep(0.0 if number == 0 else usual_s * rng.uniform(0.8, 1.2))
        if number == 1:
            await until(lambda job_name=job_name: queue.runner(job_name))  # type: ignore[misc] # bound now
        answers = [{"unclear": ""}]
        while "unclear" in answers[-1]:
            answers += await asyncio.gather(*(located_at_once(queue, job_name) for _ in range(3)))
        await asyncio.to_thread(end_well, runner)
        answers.append(await located_at_once(queue, job_name))
        kinds = {kind for answer in answers for kind in answer} - {"unclear"}
        assert len(kinds) == 1, answers
        void = kinds == {"void"}
        assert isinstance(await queue.scheduler.locate(batch), Void if void else Accepted)
        assert queue.claims(tasks[0]) == (0 if void else 1)
        assert (queue.outcome(0, job_name) is None) == void
        verdicts.append(void)
    assert verdicts[0] is True
    assert verdicts[1] is False


async def located_at_once(queue: Queue, job_name: str) -> dict[str, str]:
    """What the queue says, with no process to be started for it first."""
    asked = {"uid": job_name}
    answer: dict[str, str] = await asyncio.to_thread(
        local_queue.answer, queue.root, "locate", asked
    )
    return answer


def start(command: list[str | Path]) -> "subprocess.Popen[str]":
    """A process in a group of its own, whose words can be read."""
    return subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True)


def first_line(process: "subprocess.Popen[str]") -> str:
    """The first thing that it says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end_well(process: "subprocess.Popen[str]") -> None:
    """Wait for the end of a process that has nothing to say."""
    message, _ = process.communicate(timeout=60)
    assert (process.returncode, message) == (0, "")


async def begin_s(queue: Queue) -> float:
    """How long a runner takes here to say who it is."""
    tasks = [quick(0)]
    queue.stage(queue.batch(tasks), tasks)
    began = time.monotonic()
    runner = start(queue.runner_command())
    while not (queue.folder() / "runner.json").exists():  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(0.001)
    taken_s = time.monotonic() - began
    await asyncio.to_thread(end_well, runner)
    return taken_s


@pytest.mark.slow
async def test_a_batch_outlives_the_process_that_submitted_it(queue: Queue) -> None:
    """After kill -9 of the submitter's whole process group the runner goes on.

    It is found again.
    """
    tasks = [slow(0, 1.5), quick(1)]
    batch = queue.batch(tasks)
    code = (
        "import asyncio, sys, time; from pathlib import Path; from kit.local_queue import Queue,"
        " quick, slow\nqueue, tasks = Queue.at(Path(sys.argv[1])), [slow(0, 1.5),"
        " quick(1)]\nprint(asyncio.run(queue.accepted(queue.batch(tasks), tasks)), flush=True);"
        " time.sleep(60)"
    )
    submitter = start([sys.executable, "-c", code, queue.root])
    job_id = await asyncio.to_thread(first_line, submitter)
    os.killpg(submitter.pid, signal.SIGKILL)
    submitter.communicate()
    assert await queue.scheduler.locate(batch) == Accepted(job_id)
    await queue.until_states(batch, ENDED, ENDED)
    outcome = queue.outcome(0)
    assert outcome is not None
    assert outcome.status == "done"
    assert json.loads((queue.folder() / "runner.json").read_text())["pid"] != submitter.pid
