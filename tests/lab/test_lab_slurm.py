"""SlurmScheduler on a real Slurm: submitted once whatever is lost, each end told for what it is."""

import asyncio
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.files import newest_run
from kit.jobs import fit_once
from kit.lab import LAB, running_lab
from kit.lab_work import label, steps_walked, walker
from kit.processes import is_pending
from kit.slurm_lab import Lab, Site, eventually, process_of

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.contract.results.explore import ExploreMetrics
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Accepted, PostMortem, Rejected, Unclear, Void
from mlip_autopipec.work.codes.lammps.files import read_trace

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
SLEEP = "import time\ntime.sleep(300)\n"
WALKER_STEPS, WALKER_STRIDE = 6000, 5
#: Real codes take seconds, and minutes where others use the machine.
REAL_PATIENCE_S = 200.0
#: This is Slurm run as root, which Open MPI will not have unless it is told twice.
AS_ROOT = ("export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The cluster; Slurm's commands and the schedulers of this process speak to it."""
    with running_lab() as settings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", settings["SLURM_CONF"])
        yield Lab(Path(settings["AUTOPIPEC_LAB"]))


@pytest.fixture(scope="module", autouse=True)
def overdue(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Batch]:
    """A job over its walltime of a minute, begun before all tests and looked at by the last."""
    del lab
    site = Site(
        tmp_path_factory.mktemp("overdue"), resources=Resources(memory_mib=500, walltime_s=60)
    )
    site.program(SLEEP)
    batch, tasks = site.batch(1)
    assert isinstance(asyncio.run(site.scheduler.submit(batch, tasks)), Accepted)
    return site, batch


@pytest.fixture(scope="module", autouse=True)
def walks(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Task]:
    """A walker on its way that stands still until Slurm tells of its end; a later test looks at it.

    It asked for ten minutes, and so to be told two minutes ahead; two minutes are what is left to
    it. Slurm looks at walltimes every half minute.
    """
    site = Site(
        tmp_path_factory.mktemp("walks"), resources=Resources(memory_mib=500, walltime_s=600)
    )
    task = walker(site, fit_once(tmp_path_factory), WALKER_STEPS)
    batch = site.stage([task])
    answer = asyncio.run(site.scheduler.submit(batch, [task]))
    assert isinstance(answer, Accepted)
    until = time.monotonic() + REAL_PATIENCE_S
    while len(steps_walked(site.root / task.workdir)) < 20:
        assert time.monotonic() < until, "the walker does not begin"
        time.sleep(0.02)
    pid = process_of(batch.job_name)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    started_s = (site.root / ".ap" / "submit" / batch.job_name / "gate").lstat().st_mtime
    minutes = int(time.time() - started_s + 140) // 60
    lab.run("scontrol", "update", f"JobId={answer.job_id}", f"TimeLimit={minutes}")
    threading.Thread(target=go_on_when_told, args=(pid,), daemon=True).start()
    return site, task


def go_on_when_told(pid: int) -> None:
    """Let a process that stands still go on once SIGUSR1 waits for it, unless it has ended."""
    try:
        while not is_pending(pid, signal.SIGUSR1):
            time.sleep(0.1)
        os.kill(pid, signal.SIGCONT)
    except (FileNotFoundError, ProcessLookupError):
        return


@pytest.fixture
def site(tmp_path: Path, lab: Lab) -> Iterator[Site]:
    """An empty root; what still runs at the end is ended."""
    made = Site(tmp_path / tmp_path.name)
    yield made
    lab.run("scancel", "--quiet", "--name", made.job_name)


def process_in(folder: Path, program: str) -> int | None:
    """The process of that name that works in that folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found = (
                (process / "comm").read_text(encoding="utf-8").strip(),
                (process / "cwd").readlink(),
            )
        except OSError:
            continue  # it has ended meanwhile
        if found == (program, folder):
            return int(process.name)
    return None


async def located(site: Site, batch: Batch) -> str:
    """The job's id, however long it takes to be found."""
    answer: list[str] = []

    async def found() -> bool:
        try:
            match await site.scheduler.locate(batch):
                case Accepted(job_id):
                    answer.append(job_id)
                case Void(message):
                    pytest.fail(f"a job that is there was called void: {message}")
                case Unclear():
                    pass
        except TransientError:
            return False
        return bool(answer)

    await eventually(found)
    return answer[0]


async def test_an_array_runs_and_a_copy_of_it_does_nothing(site: Site, lab: Lab) -> None:
    """Five tasks leave five outcomes from a batch submitted three times and once more by hand."""
    batch, tasks = site.batch(5)

    answers = [await site.scheduler.submit(batch, tasks) for _ in range(3)]
    copy = lab.run(
        "sbatch", "--parsable", str(site.root / ".ap" / "submit" / batch.job_name / "job.sh")
    ).strip()
    await site.until(batch, JobState.ENDED)

    assert len(set(answers)) == 1
    assert isinstance(answers[0], Accepted)
    assert lab.arrays(batch.job_name) == {answers[0].job_id, copy}
    outcomes = site.outcomes()
    assert [(outcome.index, outcome.status) for outcome in outcomes] == [
        (index, "done") for index in range(5)
    ]
    assert {outcome.task for outcome in outcomes} == set(batch.tasks)
    # Which of the two begins first is Slurm's choice; only one ever does.
    gate = (site.root / ".ap" / "submit" / batch.job_name / "gate").readlink()
    assert gate in {Path(f"begun.{job}") for job in (answers[0].job_id, copy)}


async def test_answers_that_are_lost_double_no_job(tmp_path: Path, lab: Lab) -> None:
    """The controller stands still for 14 s: one sbatch times out, another is killed.

    Both jobs land, once each.
    """
    slow, cut = Site(tmp_path / "slow"), Site(tmp_path / "cut")
    (slow_batch, slow_tasks), (cut_batch, cut_tasks) = slow.batch(2), cut.batch(2)

    with lab.frozen_controller():
        submissions = asyncio.gather(
            slow.scheduler.submit(slow_batch, slow_tasks),
            cut.scheduler.submit(cut_batch, cut_tasks),
        )
        await asyncio.sleep(2)
        sbatch = process_in(cut.root / ".ap" / "submit" / cut_batch.job_name, "sbatch")
        assert sbatch is not None
        os.kill(sbatch, signal.SIGKILL)
        await asyncio.sleep(12)
    answers = await submissions

    assert [type(answer) for answer in answers] == [Unclear, Unclear]
    for site, batch, tasks in ((slow, slow_batch, slow_tasks), (cut, cut_batch, cut_tasks)):
        job_id = await located(site, batch)
        assert isinstance(await site.scheduler.submit(batch, tasks), Accepted | Unclear)
        await site.until(batch, JobState.ENDED)
        assert lab.arrays(batch.job_name) == {job_id}
        assert [outcome.status for outcome in site.outcomes()] == ["done", "done"]


#: What no site file may ask for: jobs that wait for a person.
HELD_BACK = SlurmQueue(kind="slurm").model_copy(update={"extra": ("#SBATCH --hold",)})


async def test_a_job_that_was_given_up_does_nothing_when_it_lands(tmp_path: Path, lab: Lab) -> None:
    """It was held back; then its gate is shut; then it starts."""
    site = Site(tmp_path / "late", options=HELD_BACK)
    batch, tasks = site.batch(2)
    accepted = await site.scheduler.submit(batch, tasks)
    assert isinstance(accepted, Accepted)
    assert await site.states(batch) == [JobState.HELD, JobState.HELD]

    assert isinstance(await site.scheduler._give_up(batch, "a test"), Void)
    lab.run("scontrol", "release", accepted.job_id)
    await site.until(batch, JobState.ENDED)

    assert site.outcomes() == []
    assert not list(site.root.glob("cycles/*/*/*/claim*"))


async def test_wrong_words_are_refused_in_the_sites_own(tmp_path: Path, lab: Lab) -> None:
    """And nothing is queued."""
    site = Site(tmp_path / "refused", options=SlurmQueue(kind="slurm", partition="nope"))
    batch, tasks = site.batch(2)

    answer = await site.scheduler.submit(batch, tasks)

    assert isinstance(answer, Rejected)
    assert "Invalid partition name specified" in answer.message
    assert lab.arrays(batch.job_name) == set()


async def test_a_job_that_can_never_start_is_held(tmp_path: Path, lab: Lab) -> None:
    """Slurm takes it, and would let it wait for ever."""
    site = Site(tmp_path / "stuck", options=SlurmQueue(kind="slurm", partition="short"))
    batch, tasks = site.batch(2)
    await site.scheduler.submit(batch, tasks)

    seen = await site.scheduler.sight([batch])

    assert seen is not None
    assert {sighting.state for sighting in seen.values()} == {JobState.HELD}
    assert all(sighting.detail.startswith("PENDING (Partition") for sighting in seen.values())
    lab.run("scancel", "--name", batch.job_name)


async def test_features_that_no_node_has_are_refused(tmp_path: Path, lab: Lab) -> None:
    """In Slurm's own words, and nothing is queued."""
    site = Site(tmp_path / "featureless", options=SlurmQueue(kind="slurm", constraint="gold"))
    batch, tasks = site.batch(1)

    answer = await site.scheduler.submit(batch, tasks)

    assert isinstance(answer, Rejected)
    assert "Invalid feature specification" in answer.message
    assert lab.arrays(batch.job_name) == set()


async def test_what_waits_for_a_job_that_failed_is_held(tmp_path: Path, lab: Lab) -> None:
    """It would wait for ever, and shows why."""
    failed = lab.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=exit 1").strip()
    options = SlurmQueue(kind="slurm", extra=(f"#SBATCH --dependency=afterok:{failed}",))
    site = Site(tmp_path / "dependent", options=options)
    batch, tasks = site.batch(2)
    await site.scheduler.submit(batch, tasks)

    await site.until(batch, JobState.HELD)

    seen = await site.scheduler.sight([batch])
    assert seen is not None
    assert {sighting.detail for sighting in seen.values()} == {"PENDING (DependencyNeverSatisfied)"}
    lab.run("scancel", "--name", batch.job_name)


async def test_the_roll_shows_every_job_of_the_campaigns_name(tmp_path: Path, lab: Lab) -> None:
    """Also a second one under the name of a batch; and it ends none."""
    site = Site(tmp_path / "roll", options=HELD_BACK)
    batch, tasks = site.batch(2)
    accepted = await site.scheduler.submit(batch, tasks)
    copy = lab.run(
        "sbatch", "--parsable", str(site.root / ".ap" / "submit" / batch.job_name / "job.sh")
    ).strip()

    jobs = await site.scheduler.roll(batch.job_name.partition(".")[0])

    assert isinstance(accepted, Accepted)
    assert jobs is not None
    assert {(job.job_name, job.job_id) for job in jobs} >= {
        (batch.job_name, accepted.job_id),
        (batch.job_name, copy),
    }
    assert lab.arrays(batch.job_name) == {accepted.job_id, copy}
    lab.run("scancel", "--name", batch.job_name)


async def test_a_job_over_its_memory_is_out_of_memory(site: Site) -> None:
    """Slurm itself only says FAILED."""
    site.program("x = bytearray(800 * 2**20)\n" + SLEEP)
    batch, tasks = site.batch(1)
    await site.scheduler.submit(batch, tasks)
    await site.until(batch, JobState.ENDED)

    end = await site.scheduler.post_mortem(batch, 0)

    assert isinstance(end, PostMortem)
    assert end.reason is Reason.OUT_OF_MEMORY
    assert "exceeded memory limit" in end.message


async def test_requeue_and_cancel_are_told_apart(site: Site, lab: Lab) -> None:
    """A restart by Slurm ends nothing; a person's scancel does, also of what has not begun."""
    site.program(SLEEP)
    batch, tasks = site.batch(2)
    answer = await site.scheduler.submit(batch, tasks)
    assert isinstance(answer, Accepted)
    await site.until(batch, JobState.RUNNING)

    lab.run("scontrol", "requeue", f"{answer.job_id}_0")
    await eventually(lambda: _is(site, batch, [JobState.WAITING, JobState.RUNNING]))
    again = await site.scheduler.post_mortem(batch, 0)
    await site.scheduler.cancel(batch)
    await site.until(batch, JobState.ENDED)
    ends = [await site.scheduler.post_mortem(batch, index) for index in range(2)]

    assert isinstance(again, Sighting)
    assert again.state is JobState.WAITING
    assert [end.reason for end in ends if isinstance(end, PostMortem)] == [
        Reason.CANCELLED,
        Reason.CANCELLED,
    ]


async def _is(site: Site, batch: Batch, states: list[JobState]) -> bool:
    return await site.states(batch) == states


@pytest.mark.parametrize("launcher", ["mpirun -np {ranks}", "srun"])
async def test_pw_runs_under_the_sites_launcher(tmp_path: Path, lab: Lab, launcher: str) -> None:
    """Two processes in one MPI world, by Open MPI's own launcher and by Slurm's."""
    del lab
    asked = Resources(ranks=2, memory_mib=500, walltime_s=300, launcher=launcher)
    site = Site(
        tmp_path / "pw", options=SlurmQueue(kind="slurm", prologue=AS_ROOT), resources=asked
    )
    task = label(site)
    batch = site.stage([task])
    await site.scheduler.submit(batch, [task])
    await eventually(lambda: _ended(site, 1), REAL_PATIENCE_S)

    output = (newest_run(site.root / task.workdir) / "pw.out").read_text(encoding="utf-8")

    assert [outcome.status for outcome in site.outcomes()] == ["done"], output
    assert output.count("Program PWSCF") == 1
    assert re.findall(r"Parallel version \(MPI\), running on +(\d+) processors", output) == ["2"]


async def test_slurm_tells_a_walker_ahead_of_its_walltime_and_the_next_attempt_goes_on(
    walks: tuple[Site, Task],
) -> None:
    """The signal is Slurm's own.

    The walker leaves a checkpoint, and its next job walks the rest, each step once.
    """
    site, task = walks
    folder = site.root / task.workdir
    await eventually(lambda: _ended(site, 1), REAL_PATIENCE_S)
    (stopped,) = site.outcomes()
    assert (stopped.status, stopped.reason) == ("failed", Reason.TIMEOUT)
    walked = steps_walked(folder)[-1]
    assert stopped.reached == pytest.approx(walked / WALKER_STEPS, abs=1e-6)
    assert 0 < walked < WALKER_STEPS

    again = site.stage([task], attempt=1)
    await site.scheduler.submit(again, [task])
    await eventually(lambda: _ended(site, 2), REAL_PATIENCE_S)

    whole = site.outcomes()[-1]
    assert (whole.job_name, whole.status) == (again.job_name, "done")
    assert isinstance(whole.metrics, ExploreMetrics)
    assert (whole.metrics.ending, whole.metrics.steps) == ("completed", WALKER_STEPS)
    assert "read_restart" in (newest_run(folder) / "in.lammps").read_text(encoding="utf-8")
    steps = read_trace(newest_run(folder) / "gamma.csv")[:, 0]
    assert list(steps) == list(range(0, WALKER_STEPS + 1, WALKER_STRIDE))


async def _ended(site: Site, number: int) -> bool:
    return len(site.outcomes()) == number


async def test_what_slurm_forgets_is_absent_and_then_lost(site: Site, lab: Lab) -> None:
    """With MinJobAge of 2 s, and no database; the task's last words are kept."""
    site.program("raise SystemExit('the code gave up')\n")
    batch, tasks = site.batch(1)
    with lab.setting("MinJobAge=2"):
        await site.scheduler.submit(batch, tasks)
        await site.until(batch, JobState.ABSENT)

    end = await site.scheduler.post_mortem(batch, 0)

    assert isinstance(end, PostMortem)
    assert end.reason is Reason.LOST
    assert end.message.endswith("its last words: the code gave up")


async def test_a_controller_that_does_not_answer_shows_nothing_absent(site: Site, lab: Lab) -> None:
    """It stands still for as long as squeue has patience."""
    site.program(SLEEP)
    batch, tasks = site.batch(1)
    await site.scheduler.submit(batch, tasks)

    with lab.frozen_controller(), pytest.raises(TransientError, match="timed out"):
        await site.scheduler.sight([batch])
    assert JobState.ABSENT not in await site.states(batch)


def test_the_lab_is_up_and_coming_up_again_changes_nothing(lab: Lab) -> None:
    """The same processes, at once; and all of them are shown."""
    before = [lab.pid(part) for part in ("munged", "slurmctld", "lab1", "lab2", "sshd")]

    subprocess.run([LAB, "up"], check=True, timeout=30)

    assert before == [lab.pid(part) for part in ("munged", "slurmctld", "lab1", "lab2", "sshd")]
    assert (
        subprocess.run([LAB, "status"], check=False, capture_output=True, timeout=30).returncode
        == 0
    )


async def test_a_job_over_its_walltime_is_a_timeout(overdue: tuple[Site, Batch]) -> None:
    """Slurm looks at walltimes every half minute: it may run for a minute and a half.

    After five minutes more Slurm has forgotten it, and the job's own words are the witness.
    """
    site, batch = overdue

    async def is_over() -> bool:
        return set(await site.states(batch)) <= {JobState.ENDED, JobState.ABSENT}

    await eventually(is_over, patience_s=120)

    end = await site.scheduler.post_mortem(batch, 0)

    assert isinstance(end, PostMortem)
    assert end.reason is Reason.TIMEOUT
