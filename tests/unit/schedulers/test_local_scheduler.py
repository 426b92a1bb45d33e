"""The queue of this machine, by real runners and tasks: what it does, and what it says of it."""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kit.files import TESTS
from kit.local_queue import JOB_NAME, Queue, odd, quick, run_now, slow
from kit.waiting import until

from mlip_autopipec.contract.values import plain
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState, Sighting
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import PostMortem, Rejected
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.work.job import identity
from mlip_autopipec.work.queue import local_queue
from mlip_autopipec.work.queue.cores import shared_folder

WAITING, RUNNING, ENDED, ABSENT = (
    JobState.WAITING,
    JobState.RUNNING,
    JobState.ENDED,
    JobState.ABSENT,
)


@pytest.fixture
def make_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Queue]]:
    """Queues on one root; what they have started is ended with the test."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    queues: list[Queue] = []

    def make(cores: int = 2, python: str | None = None) -> Queue:
        queues.append(Queue.at(tmp_path, cores, python))
        return queues[-1]

    yield make
    for queue in queues:
        queue.kill_all()


@pytest.fixture
def queue(make_queue: Callable[..., Queue]) -> Queue:
    return make_queue()


@pytest.mark.slow
async def test_a_batch_runs_to_its_outcomes(queue: Queue) -> None:
    """Accepted under the runner's identity, every task ends with an outcome of its own.

    The runner is gone then.
    """
    tasks = [slow(0, 0.0), quick(1), slow(2, 0.0)]
    batch = queue.batch(tasks)
    job_id = await queue.accepted(batch, tasks)
    runner = queue.runner()
    assert runner is not None
    assert job_id == f"{runner['pid']}.{runner['start_time']}"
    await queue.until_states(batch, ENDED, ENDED, ENDED)
    outcomes = [queue.outcome(index) for index in range(3)]
    assert [outcome.status if outcome else None for outcome in outcomes] == [
        "done",
        "failed",
        "done",
    ]
    assert [outcome.task if outcome else None for outcome in outcomes] == list(batch.tasks)
    assert [queue.claims(task) for task in tasks] == [1, 1, 1]
    await until(lambda: is_gone(runner["pid"]))


async def test_notices_around_an_answer_are_passed_over(
    make_queue: Callable[..., Queue], tmp_path: Path
) -> None:
    """As a module that a profile loads, or a wrapper of Python, prints them.

    An answer of these alone is shown.
    """
    chatty = tmp_path / "python"
    chatty.write_text(
        f'#!/bin/sh\necho "Loading python"\n{sys.executable} "$@"\nstatus=$?\necho bye\nexit $status\n'  # noqa: E501 - text for another program
    )
    chatty.chmod(0o755)
    queue = make_queue(python=str(chatty))
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await queue.until_states(batch, ENDED)
    chatty.write_text("#!/bin/sh\necho 'This node is closed'\n")
    with pytest.raises(TransientError, match=r"gave no answer .* it begins: This node is closed"):
        await queue.scheduler.sight([batch])


@pytest.mark.slow
async def test_the_roll_shows_runners_that_live(queue: Queue) -> None:
    """Of this campaign's, and as long as they do."""
    batch = queue.batch([slow(0, 1.0)])
    job_id = await queue.accepted(batch, [slow(0, 1.0)])
    campaign = JOB_NAME.partition(".")[0]
    jobs = await queue.scheduler.roll(campaign)
    assert jobs is not None
    assert [(job.job_name, job.job_id) for job in jobs] == [(JOB_NAME, job_id)]
    assert await queue.scheduler.roll(campaign[:-1]) == ()
    await queue.until_states(batch, ENDED)
    runner = queue.runner()
    assert runner is not None
    await until(lambda: is_gone(runner["pid"]))
    assert await queue.scheduler.roll(campaign) == ()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
async def test_no_more_cores_are_taken_than_there_are(make_queue: Callable[..., Queue]) -> None:
    """Tasks of two batches share the cores.

    There are never more at work than cores, and at some time all cores are at work.
    """
    queue = make_queue(2)
    first, second = (
        [slow(0, 0.4), slow(1, 0.4), slow(2, 0.4)],
        [slow(3, 0.4, cores=2), slow(4, 0.4)],
    )
    batches = [queue.batch(first), queue.batch(second, JOB_NAME.replace("b00", "b01"))]
    await asyncio.gather(queue.accepted(batches[0], first), queue.accepted(batches[1], second))
    await queue.until_states(batches[0], ENDED, ENDED, ENDED)
    await queue.until_states(batches[1], ENDED, ENDED)
    changes = []
    for task in (*first, *second):
        began, ended = json.loads((queue.run_of(task) / "times.json").read_text())
        changes += [(began, task.resources.cores), (ended, -task.resources.cores)]
    taken = [
        sum(cores for _, cores in sorted(changes)[: index + 1]) for index in range(len(changes))
    ]
    assert max(taken) == 2
    assert len(list((queue.root / ".ap/slots").glob("*/*"))) == 2


@pytest.mark.slow
async def test_a_task_waits_for_its_cores(make_queue: Callable[..., Queue]) -> None:
    """What has no core yet is waiting, not lost; it begins when one is free."""
    queue = make_queue(1)
    tasks = [slow(0, 1.0), quick(1)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await queue.until_states(batch, RUNNING, WAITING)
    answer = await queue.scheduler.post_mortem(batch, 1)
    assert isinstance(answer, Sighting)
    assert answer.detail == "waits for a core"
    assert queue.claims(tasks[1]) == 0
    await queue.until_states(batch, ENDED, ENDED)
    assert queue.outcome(1) is not None


def test_a_task_takes_the_cores_of_all_its_ranks(queue: Queue) -> None:
    """Each rank has its threads."""
    tasks = [quick(0, ranks=2, cores=3)]

    (found,) = queue.scheduler.spec(queue.batch(tasks), tasks).tasks

    assert (found.cores, found.threads) == (6, 3)


async def test_a_task_of_more_cores_than_there_are_is_rejected(queue: Queue) -> None:
    """At once and for good, in words, and nothing is staged."""
    tasks = [quick(0), quick(1, cores=3)]
    batch = queue.batch(tasks)
    answer = await queue.scheduler.submit(batch, tasks)
    assert answer == Rejected(f"{tasks[1].id} asks for 3 cores, 2 may be used there at a time")
    assert not queue.folder().exists()


@pytest.mark.slow
async def test_a_task_knows_its_cores_and_nothing_of_the_daemon(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its threads are bound to its cores, and it cannot speak to systemd in the daemon's name."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/nobody")
    tasks = [slow(0, 0.0, cores=2)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await queue.until_states(batch, ENDED)
    environment = json.loads((queue.run_of(tasks[0]) / "environment.json").read_text())
    assert "NOTIFY_SOCKET" not in environment
    assert {
        environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    } == {"2"}


@pytest.mark.slow
async def test_a_walltime_that_is_over_is_a_timeout(queue: Queue) -> None:
    """Also where the task dies of it as of a crash, and where nothing but SIGKILL ends it.

    The runner's word counts.
    """
    tasks = [odd(0, "WithTool", walltime_s=1), slow(1, 120.0, walltime_s=1)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await queue.until_states(batch, ENDED, ENDED)
    for index in (0, 1):
        assert await queue.scheduler.post_mortem(batch, index) == PostMortem(
            Reason.TIMEOUT, "its walltime was over"
        )
        assert queue.outcome(index) is None
    said = (queue.root / tasks[1].workdir / f"job-{batch.job_name}.out").read_text()
    assert said.count("asked to stop") == 1  # ahead of the kill: a walker leaves a checkpoint then


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda _: None, Path.touch])
async def test_a_task_whose_folder_is_gone_is_lost_and_the_others_run(
    make_queue: Callable[..., Queue], make: Callable[[Path], None]
) -> None:
    """Purged, or something else has its name.

    The runner says why, and the task's end is known when the runner is gone.
    """
    queue = make_queue(1)
    tasks = [quick(0), quick(1)]
    batch = queue.batch(tasks)
    assert queue.stage(batch, tasks)
    folder = queue.root / tasks[0].workdir
    shutil.rmtree(folder)
    make(folder)
    assert run_now(queue.runner_command()) == 0
    assert await queue.states(batch) == [ENDED, ENDED]
    end = await queue.scheduler.post_mortem(batch, 0)
    assert isinstance(end, PostMortem)
    assert end.reason is Reason.LOST
    assert end.message.startswith("it cannot begin: ")
    assert queue.outcome(1) is not None


@pytest.mark.slow
async def test_cancel_ends_what_runs_and_what_waits(make_queue: Callable[..., Queue]) -> None:
    """Also what only SIGKILL ends; all are told as cancelled, and what waited has never begun."""
    queue = make_queue(2)
    tasks = [odd(0, "WithTool"), slow(1, 600.0), quick(2)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await until(lambda: queue.has_begun(tasks[0]) and queue.has_begun(tasks[1]))
    await queue.scheduler.cancel(batch)
    await queue.until_states(batch, ENDED, ENDED, ENDED)
    ends = [await queue.scheduler.post_mortem(batch, index) for index in range(3)]
    assert [end.reason if isinstance(end, PostMortem) else end for end in ends] == [
        Reason.CANCELLED
    ] * 3
    assert ends[2] == PostMortem(Reason.CANCELLED, "cancelled before it began")
    assert [queue.outcome(index) for index in range(3)] == [None] * 3


@pytest.mark.slow
async def test_one_task_of_a_batch_is_cancelled_alone(make_queue: Callable[..., Queue]) -> None:
    """What runs beside it goes on, and what waits may begin."""
    queue = make_queue(1)
    tasks = [odd(0, "WithTool"), quick(1), quick(2)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await until(lambda: queue.has_begun(tasks[0]))
    await queue.scheduler.cancel(batch, frozenset({0, 2}))
    await queue.until_states(batch, ENDED, ENDED, ENDED)
    assert [queue.outcome(index) is not None for index in range(3)] == [False, True, False]
    end = await queue.scheduler.post_mortem(batch, 2)
    assert end == PostMortem(Reason.CANCELLED, "cancelled before it began")


@pytest.mark.slow
async def test_a_task_that_dies_leaves_its_last_words(queue: Queue) -> None:
    """The signal and the end of what it printed, for people to read."""
    tasks = [odd(0, "Dying")]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await queue.until_states(batch, ENDED)
    end = await queue.scheduler.post_mortem(batch, 0)
    assert isinstance(end, PostMortem)
    assert end.reason is Reason.CRASHED
    assert end.message == "signal SIGABRT; its last words: the last word"


@pytest.mark.slow
async def test_of_an_attempt_that_is_over_for_the_daemon_nothing_is_known(queue: Queue) -> None:
    """An index that is not live is none of the scheduler's business."""
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await queue.until_states(batch, ENDED)
    assert (
        await queue.scheduler.post_mortem(batch.model_copy(update={"live": frozenset()}), 0) is None
    )
    assert await queue.scheduler.sight([batch.model_copy(update={"live": frozenset()})]) == {}


@pytest.mark.slow
async def test_the_batches_of_one_look_are_told_apart(queue: Queue) -> None:
    """Sightings carry uid and index of their own attempt."""
    job_names = [JOB_NAME, JOB_NAME.replace("b00", "b01")]
    tasks = [[quick(0)], [quick(1), quick(2)]]
    batches = [queue.batch(some, job_name) for some, job_name in zip(tasks, job_names, strict=True)]
    for batch, some in zip(batches, tasks, strict=True):
        await queue.accepted(batch, some)
        await queue.until_states(batch, *[ENDED] * len(some))
    seen = await queue.scheduler.sight(batches)
    assert seen is not None
    assert set(seen) == {(job_names[0], 0), (job_names[1], 0), (job_names[1], 1)}


@pytest.mark.slow
async def test_tasks_outlive_their_runner_and_are_still_seen(
    make_queue: Callable[..., Queue],
) -> None:
    """After kill -9 of the runner what runs goes on with its core, what waited is lost for good."""
    queue = make_queue(1)
    tasks = [slow(0), quick(1)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await until(lambda: queue.has_begun(tasks[0]))
    await kill_runner(queue)
    await queue.until_states(batch, RUNNING, ABSENT)
    assert isinstance(await queue.scheduler.post_mortem(batch, 0), Sighting)
    lost = await queue.scheduler.post_mortem(batch, 1)
    assert isinstance(lost, PostMortem)
    assert lost.reason is Reason.LOST
    other = [quick(2)]
    later = queue.batch(other, JOB_NAME.replace("b00", "b01"))
    await queue.accepted(later, other)
    assert await queue.states(later) == [WAITING]
    (queue.run_of(tasks[0]) / "enough").touch()
    await queue.until_states(batch, ABSENT, ABSENT)
    outcome = queue.outcome(0)
    assert outcome is not None
    assert outcome.status == "done"
    await queue.until_states(later, ENDED)


async def kill_runner(queue: Queue) -> None:
    """End the runner by SIGKILL."""
    runner = queue.runner()
    assert runner is not None
    os.kill(runner["pid"], signal.SIGKILL)
    await until(lambda: is_gone(runner["pid"]))


@pytest.mark.slow
async def test_what_a_dead_runner_never_told_is_seen_by_its_claim(queue: Queue) -> None:
    """A runner may die after starting a task, before saying so: the task is not taken for lost."""
    tasks = [slow(0, 60.0)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await until(lambda: queue.has_begun(tasks[0]))
    await kill_runner(queue)
    (queue.folder() / "0.running").unlink()
    await queue.until_states(batch, RUNNING)
    assert isinstance(await queue.scheduler.post_mortem(batch, 0), Sighting)


@pytest.mark.slow
async def test_what_is_lost_never_begins_after_all(queue: Queue) -> None:
    """Before an attempt is called lost its claim is taken: a process that is late does nothing."""
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    queue.stage(batch, tasks)
    forge(queue, "runner.json", start_time=1)
    assert await queue.states(batch) == [ABSENT]
    lost = await queue.scheduler.post_mortem(batch, 0)
    assert isinstance(lost, PostMortem)
    assert lost.reason is Reason.LOST
    late = [
        sys.executable,
        str(queue.root / pack().path),
        "task",
        "--root",
        str(queue.root),
        "--uid",
        JOB_NAME,
    ]
    assert run_now([*late, "--index", "0", "--workdir", tasks[0].workdir, "--job-id", "1"]) == 0
    assert queue.outcome(0) is None
    assert await queue.scheduler.post_mortem(batch, 0) == lost


@pytest.mark.slow
async def test_cancel_reaches_what_has_outlived_its_runner(queue: Queue) -> None:
    """Without a runner to ask, the task itself is told to stop."""
    tasks = [odd(0, "WithTool")]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await until(lambda: queue.has_begun(tasks[0]))
    await kill_runner(queue)
    await queue.until_states(batch, RUNNING)
    await queue.scheduler.cancel(batch)
    await queue.until_states(batch, ABSENT)


def forge(queue: Queue, name: str, **changes: object) -> None:
    """Write a file as if this very process were the runner or the task, but for the changes."""
    (queue.folder() / name).write_text(json.dumps({**plain(identity(os.getpid())), **changes}))


@pytest.mark.parametrize(
    "changes", [{"start_time": 1}, {"boot_id": "another boot"}, {"pid": 2**22 + 1}]
)
async def test_another_process_under_the_same_pid_is_not_taken_for_it(
    queue: Queue, changes: dict[str, object]
) -> None:
    """A pid lives on only with its start and boot; this process stands in for whoever got it."""
    tasks = [quick(0), quick(1)]
    batch = queue.batch(tasks)
    queue.stage(batch, tasks)
    forge(queue, "runner.json")
    forge(queue, "0.running")
    assert await queue.states(batch) == [RUNNING, WAITING]
    forge(queue, "0.running", **changes)
    forge(queue, "runner.json", **changes)
    assert await queue.states(batch) == [ABSENT, ABSENT]


async def test_between_two_files_of_a_living_runner_a_task_is_still_running(queue: Queue) -> None:
    """Its process is gone and its end not yet told: neither absent nor waiting again."""
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    queue.stage(batch, tasks)
    forge(queue, "runner.json")
    forge(queue, "0.running", start_time=1)
    assert await queue.states(batch) == [RUNNING]
    (queue.folder() / "0.end").write_text(
        json.dumps({"reason": "timeout", "message": "its walltime was over"})
    )
    assert await queue.states(batch) == [ENDED]


@pytest.mark.slow
@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false"])
async def test_a_runner_that_cannot_be_started_is_a_fault_that_passes(
    make_queue: Callable[..., Queue], python: str
) -> None:
    """Nothing was handed over; it may be tried again: when the Python is there, the batch runs."""
    queue = make_queue(2, python)
    tasks = [quick(0)]
    batch = queue.batch(tasks)
    for _ in range(2):
        with pytest.raises(TransientError, match="the queue of"):
            await queue.scheduler.submit(batch, tasks)
    assert queue.claims(tasks[0]) == 0
    await make_queue().accepted(batch, tasks)
    await make_queue().until_states(batch, ENDED)


async def killed_beside_its_tool(queue: Queue, task: Task, index: int = 0) -> int:
    """A task whose Python is killed, as by the kernel when memory is short.

    Gives the number of the code that lives on.
    """
    await until(lambda: queue.has_begun(task))
    os.kill(json.loads((queue.folder() / f"{index}.running").read_text())["pid"], signal.SIGKILL)
    return int((queue.run_of(task) / "tool").read_text())


@pytest.mark.slow
async def test_a_core_is_free_when_the_last_process_of_its_task_is_gone(
    make_queue: Callable[..., Queue],
) -> None:
    """The Python is killed and its code lives, in a session of its own.

    The code is ended before anything else begins.
    """
    queue = make_queue(1)
    tasks = [odd(0, "Outlived"), slow(1, 0.0)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    tool = await killed_beside_its_tool(queue, tasks[0])
    await queue.until_states(batch, ENDED, ENDED)
    assert is_gone(tool)
    end = await queue.scheduler.post_mortem(batch, 0)
    assert isinstance(end, PostMortem)
    assert end.message.startswith("signal SIGKILL")
    began, _ = json.loads((queue.run_of(tasks[1]) / "times.json").read_text())
    beat = (queue.run_of(tasks[0]) / "beat").stat().st_mtime
    assert beat < time.time() - (time.monotonic() - began)


@pytest.mark.slow
async def test_what_outlives_its_task_and_its_runner_is_ended_before_the_task_is_called_lost(
    make_queue: Callable[..., Queue],
) -> None:
    """Nobody holds the lock of its core any more.

    Whoever looks after the attempt ends what is left of it.
    """
    queue = make_queue(1)
    tasks = [odd(0, "Outlived")]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await until(lambda: queue.has_begun(tasks[0]))
    await kill_runner(queue)
    tool = await killed_beside_its_tool(queue, tasks[0])
    await queue.until_states(batch, ABSENT)
    first = await queue.scheduler.post_mortem(batch, 0)
    assert isinstance(first, Sighting)
    assert first.state is RUNNING
    await until(lambda: is_gone(tool))
    lost = await queue.scheduler.post_mortem(batch, 0)
    assert isinstance(lost, PostMortem)
    assert lost.reason is Reason.LOST


@pytest.mark.slow
async def test_whoever_takes_a_core_ends_what_an_attempt_has_left_on_it(
    make_queue: Callable[..., Queue],
) -> None:
    """Also where neither its runner nor its task lives and the daemon has not asked yet."""
    queue = make_queue(1)
    tasks = [odd(0, "Outlived")]
    await queue.accepted(queue.batch(tasks), tasks)
    await until(lambda: queue.has_begun(tasks[0]))
    await kill_runner(queue)
    tool = await killed_beside_its_tool(queue, tasks[0])
    other = [slow(1, 0.0)]
    later = queue.batch(other, JOB_NAME.replace("b00", "b01"))
    await queue.accepted(later, other)
    await queue.until_states(later, ENDED)
    assert is_gone(tool)


@pytest.mark.slow
async def test_a_task_that_holds_more_memory_than_it_asked_for_is_ended(queue: Queue) -> None:
    """All of its processes together count.

    The reason is the one by which the next attempt gets more.
    """
    tasks = [odd(0, "Hungry", memory_mib=300)]
    batch = queue.batch(tasks)
    await queue.accepted(batch, tasks)
    await queue.until_states(batch, ENDED)
    end = await queue.scheduler.post_mortem(batch, 0)
    assert isinstance(end, PostMortem)
    assert end.reason is Reason.OUT_OF_MEMORY
    assert re.fullmatch(r"its processes held \d{3} MiB, it had asked for 300 MiB", end.message)
    assert queue.outcome(0) is None


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process, and what it starts, may use one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
async def test_two_campaigns_share_the_cores_of_a_machine(
    make_queue: Callable[..., Queue], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a core to itself by its count; there is one, so the second waits for the first."""
    (tmp_path / "runtime").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    first, second = make_queue(1), Queue.at(tmp_path / "second", 1)
    tasks = [slow(0)]
    batches = [queue.batch(tasks) for queue in (first, second)]
    await first.accepted(batches[0], tasks)
    await until(lambda: first.has_begun(tasks[0]))
    await second.accepted(batches[1], tasks)
    assert await second.states(batches[1]) == [WAITING]
    (first.run_of(tasks[0]) / "enough").touch()
    await until(lambda: second.has_begun(tasks[0]))
    assert await first.states(batches[0]) == [ENDED]
    (second.run_of(tasks[0]) / "enough").touch()
    await second.until_states(batches[1], ENDED)


@pytest.mark.parametrize(("cores", "message"), [(1, "1 may be"), (2, "2 may be"), (3, "2 may be")])
async def test_a_core_is_left_for_whoever_sits_there(
    make_queue: Callable[..., Queue], monkeypatch: pytest.MonkeyPatch, cores: int, message: str
) -> None:
    """Where a site says nothing; of two both work, or half of a small machine would rest."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    queue, tasks = make_queue(), [quick(0, cores=9)]
    spec = replace(queue.scheduler.spec(queue.batch(tasks), tasks), cores=None)
    assert message in (local_queue.submit(queue.root, spec).rejected or "")


def test_runners_meet_where_nobody_else_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime folder that is open to others is none."""
    for mode, trusted in ((0o700, True), (0o770, False)):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
        shared = shared_folder()
        assert shared is not None
        assert shared.is_relative_to(folder) is trusted
        assert shared.stat().st_mode & 0o077 == 0
