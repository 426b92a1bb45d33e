"""The job script: what it asks of Slurm, and that it runs its task once, whatever else lands."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.slurm_programs import JOB_NAME, SlurmStand, some_tasks
from kit.waiting import wait_for
from pydantic import ValidationError

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.config.schemas.site import ResourcesSection
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.schedulers.slurm_script import render_job, render_tasks

PLAIN = SlurmQueue(kind="slurm")


def rendered(
    options: SlurmQueue = PLAIN, resources: Resources | None = None, root: str = "/scratch/u/al"
) -> str:
    tasks = some_tasks(3, resources)
    return render_job(
        JOB_NAME, tasks, options, root=root, folder="f", python="/usr/bin/python3", payload="p.pyz"
    )


def directives(script: str) -> list[str]:
    return [
        line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")
    ]


@pytest.fixture
async def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmStand:
    """A site with a submitted array of three."""
    stand = SlurmStand(
        tmp_path,
        monkeypatch,
        SlurmQueue(kind="slurm", prologue=("cd /", "SITE=here", "export SITE")),
    )
    stand.answers("sbatch", "7\n")
    await stand.scheduler.submit(stand.batch, stand.tasks)
    return stand


def test_everything_that_exactly_once_rests_on_is_said() -> None:
    """Defaults of the site decide about none of it."""
    said = directives(rendered())

    assert said[:7] == [
        f"--job-name={JOB_NAME}",
        "--array=0-2",
        "--requeue",
        "--open-mode=append",
        "--output=/scratch/u/al/f/slurm-%a.out",
        "--chdir=/scratch/u/al",
        "--export=ALL",
    ]


def test_a_batch_of_two_tasks_is_an_array() -> None:
    """Each has its number, and its own output."""
    said = directives(
        render_job(
            JOB_NAME, some_tasks(2), PLAIN, root="/r", folder="f", python="python3", payload="p.pyz"
        )
    )

    assert "--array=0-1" in said
    assert "--output=/r/f/slurm-%a.out" in said


def test_a_batch_of_one_task_is_no_array() -> None:
    """It may begin at once; its one task is number 0, its output is where an element's would be."""
    said = directives(
        render_job(
            JOB_NAME,
            some_tasks(1),
            PLAIN,
            root="/scratch/u/a%l",
            folder="f",
            python="python3",
            payload="p.pyz",
        )
    )

    assert not [line for line in said if line.startswith("--array")]
    assert "--output=/scratch/u/a%%l/f/slurm-0.out" in said


def test_resources_are_asked_for_in_slurms_units() -> None:
    """Minutes are rounded up, memory is MiB, one element is one task on one node."""
    said = directives(rendered(resources=Resources(cores=4, memory_mib=3000, walltime_s=3601)))

    assert {"--nodes=1", "--ntasks=1", "--cpus-per-task=4", "--mem=3000M", "--time=61"} <= set(said)


@pytest.mark.parametrize(("walltime_s", "asked"), [(599, False), (600, True)])
def test_only_tasks_that_last_are_asked_to_stop_ahead(walltime_s: int, asked: bool) -> None:  # noqa: FBT001 - a table
    """Slurm may send the signal a minute too early: a short task would stop as it begins."""
    said = directives(rendered(resources=Resources(walltime_s=walltime_s)))

    assert ("--signal=B:USR1@120" in said) is asked


def test_the_sites_own_words_are_handed_on() -> None:
    """Partition and the like, further lines last, and no requeue where the user wants none."""
    options = SlurmQueue(
        kind="slurm",
        partition="short,long",
        account="p123",
        qos="normal",
        constraint="cpu&(ib|opa)",
        requeue=False,
        ask_memory=False,
        extra=("#SBATCH --exclusive", "#SBATCH --gres=gpu:1"),
        prologue=("module load mpich",),
    )

    script = rendered(options)

    said = directives(script)
    assert {
        "--partition=short,long",
        "--account=p123",
        "--qos=normal",
        "--constraint=cpu&(ib|opa)",
    } <= set(said)
    assert "--no-requeue" in said
    assert "--requeue" not in said
    assert not [line for line in said if line.startswith("--mem")]
    assert said[-2:] == ["--exclusive", "--gres=gpu:1"]
    assert "\nmodule load mpich\n" in script


def test_a_code_under_mpi_gets_its_processes_nodes_and_gpus() -> None:
    """Processes and cores of each are asked for apart."""
    said = directives(rendered(resources=Resources(ranks=8, cores=2, nodes=2, gpus=1)))
    assert {"--nodes=2", "--ntasks=8", "--cpus-per-task=2", "--gpus-per-node=1"} <= set(said)
    assert not any("gpu" in line for line in directives(rendered()))


def test_a_phases_own_words_come_before_the_sites_and_its_lines_behind() -> None:
    """What a phase leaves out is as site.scheduler says."""
    site = SlurmQueue(
        kind="slurm",
        partition="std",
        account="a",
        extra=("#SBATCH -x n1",),
        prologue=("module load a",),
    )
    asked = ResourcesSection(
        partition="gpu", extra=("#SBATCH --exclusive",), prologue=("module load b",)
    )
    queue = asked.queue(site)
    assert (queue.partition, queue.account) == ("gpu", "a")
    assert queue.extra == ("#SBATCH -x n1", "#SBATCH --exclusive")
    assert queue.prologue == ("module load a", "module load b")


def test_a_root_with_odd_letters_is_quoted() -> None:
    """For sbatch in its way, and for the shell in its own."""
    script = rendered(root='/scratch/a "b" 100%')

    said = directives(script)
    assert '--output="/scratch/a \\"b\\" 100%%/f/slurm-%a.out"' in said
    assert '--chdir="/scratch/a \\"b\\" 100%"' in said
    assert "\nroot='/scratch/a \"b\" 100%'\n" in script


@pytest.mark.parametrize(
    "line",
    [
        "#SBATCH --array=1-2",
        "#SBATCH --job-name x",
        "#SBATCH --outp=x",
        "#SBATCH -Jx",
        "#SBATCH -N 1 -o x",
        "#SBATCH",
        "#SBATCH nodes",
        "module load x",
        "#SBATCH -N 1\nrm -r x",
    ],
)
def test_further_lines_cannot_take_back_what_the_program_says(line: str) -> None:
    """Not even abbreviated, or behind another option."""
    with pytest.raises(ValidationError, match="expected"):
        SlurmQueue(kind="slurm", extra=(line,))


@pytest.mark.parametrize("word", ["", "a b", 'a"b', "a\nb"])
def test_names_of_the_site_are_single_words(word: str) -> None:
    """They become a line of the job script."""
    with pytest.raises(ValidationError):
        SlurmQueue(kind="slurm", partition=word)


def test_the_task_list_is_one_line_per_element() -> None:
    """Index and folder, so that thousands of tasks make no script of thousands of lines."""
    tasks = some_tasks(3)

    assert render_tasks(tasks) == "".join(
        f"{index}\t{task.workdir}\n" for index, task in enumerate(tasks)
    )


def test_an_element_runs_its_own_task_and_ends_as_it_does(stand: SlurmStand) -> None:
    """In the root, whatever the prologue does; with its cores; with what the prologue exports."""
    status = stand.run_element("7", 1, SLURM_CPUS_PER_TASK="4")

    assert status == 3
    message = f"--workdir {stand.tasks[1].workdir} --uid {JOB_NAME} --index 1 4 here {stand.root}"
    assert stand.output(1) == f"began task --root {stand.root} {message}\n"
    assert stand.output(0) == stand.output(2) == ""


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/full")])
def test_an_output_that_is_no_file_keeps_no_job_waiting(
    stand: SlurmStand, make: Callable[[Path], None]
) -> None:
    """Somebody else has its name: the task still runs, and Slurm's own output has what it says."""
    make(stand.root / stand.tasks[1].workdir / f"job-{JOB_NAME}.out")

    assert stand.run_element("7", 1) == 3
    assert (
        "is no file; what the task says stands here\nbegan task"
        in (stand.folder / "slurm-1.out").read_text()
    )


def test_a_job_alone_runs_task_0(stand: SlurmStand) -> None:
    """Slurm gives it no index and no array."""
    assert stand.run_element("7", 0, SLURM_ARRAY_TASK_ID="", SLURM_ARRAY_JOB_ID="") == 3
    assert stand.output(0).startswith(
        f"began task --root {stand.root} --workdir {stand.tasks[0].workdir} "
    )
    assert stand.gate == "begun.7"


@pytest.mark.parametrize("index", [3, 30])
def test_an_index_beyond_the_list_fails(stand: SlurmStand, index: int) -> None:
    """It is no task of this batch."""
    assert stand.run_element("7", index) == 75
    assert f"no folder for element {index}" in (stand.folder / f"slurm-{index}.out").read_text()


@pytest.mark.slow
def test_all_elements_of_the_array_that_came_first_run(stand: SlurmStand) -> None:
    """The gate is theirs, also when Slurm starts one of them again."""
    for index in (2, 0, 2):
        assert stand.run_element("7", index) == 3

    assert stand.gate == "begun.7"
    assert stand.output(2).count("began") == 2


def test_a_copy_of_the_array_does_nothing(stand: SlurmStand) -> None:
    """A duplicate that lands late ends well at once, and says why in its own output."""
    stand.run_element("7", 0)

    assert stand.run_element("8", 1) == 0
    assert stand.output(1) == ""
    assert "the gate says begun.7" in (stand.folder / "slurm-1.out").read_text()


def test_a_job_that_lands_after_it_was_given_up_does_nothing(stand: SlurmStand) -> None:
    """Void is for ever."""
    (stand.folder / "gate").symlink_to("void")

    assert stand.run_element("7", 0) == 0
    assert stand.output(0) == ""


def test_a_job_that_cannot_reach_its_gate_fails(stand: SlurmStand) -> None:
    """It must not run unseen, and it must not look as if all were well."""
    stand.folder.rename(stand.folder.with_name("elsewhere"))
    folder = stand.folder.with_name("elsewhere")
    stand.folder.mkdir()
    (stand.folder / "job.sh").symlink_to(folder / "job.sh")
    (stand.folder / "gate").mkdir()  # what no link can replace, and nobody can read as one

    assert stand.run_element("7", 0) == 75
    assert stand.output(0) == ""


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_signals_reach_the_task_and_its_word_is_waited_for(
    stand: SlurmStand, number: signal.Signals
) -> None:
    """Slurm signals the script; the task has time to write what it has.

    Its exit status is the script's.
    """
    process = stand.start_element("7", 0, PAYLOAD_SLEEP_S="90")
    wait_for(lambda: "began" in stand.output(0))

    process.send_signal(number)

    assert process.wait(timeout=60) == 7
    assert stand.output(0).endswith(f"got {number.name}\n")


def test_a_task_that_ends_as_it_is_told_keeps_its_status(stand: SlurmStand) -> None:
    """Also when it is gone before the shell looks again: here the shell's `kill` takes a while."""
    slow_kill = {"BASH_FUNC_kill%%": '() { builtin kill "$@"; set -- $?; sleep 0.5; return $1; }'}
    process = stand.start_element("7", 0, PAYLOAD_SLEEP_S="90", **slow_kill)
    wait_for(lambda: "began" in stand.output(0))

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=60) == 7


def test_nodes_are_excluded_beside_those_of_the_site_file() -> None:
    """Of two --exclude Slurm takes the last."""
    own = PLAIN.model_copy(update={"extra": ("#SBATCH --exclude=n7,n8", "#SBATCH --exclusive")})
    rendered = render_job(
        JOB_NAME,
        some_tasks(1),
        own,
        root="/r",
        folder="f",
        python="python3",
        payload="p.pyz",
        exclude=("n1", "n2"),
    )
    lines = [line for line in rendered.splitlines() if "exclude" in line]
    assert lines[-1] == "#SBATCH --exclude=n7,n8,n1,n2"
    assert "--exclude=n1" not in render_job(
        JOB_NAME, some_tasks(1), PLAIN, root="/r", folder="f", python="python3", payload="p.pyz"
    )
