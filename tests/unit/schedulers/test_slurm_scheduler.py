"""SlurmScheduler over a real shell: one submission stays one, and nothing unproved is known."""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.slurm_programs import JOB_NAME, SlurmStand, a_batch

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.data_models.base import Mender, Reason
from mlip_autopipec.data_models.events import JobState, QueuedJob, Sighting
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Accepted, Limited, PostMortem, Rejected, Unclear, Void
from mlip_autopipec.schedulers.slurm_script import SUBMIT

DATA = Path(__file__).parents[2] / "data" / "slurm"
ANSWERS = json.loads((DATA / "sbatch.json").read_text(encoding="utf-8"))


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmStand:
    """A site where sbatch takes all as job 4711, squeue shows nothing, and there is no sacct."""
    stand = SlurmStand(tmp_path, monkeypatch, SlurmQueue(kind="slurm"))
    stand.answers("sbatch", "4711\n")
    return stand


def answer(stand: SlurmStand, name: str) -> None:
    """Let sbatch answer as recorded."""
    said = ANSWERS[name]
    stand.answers("sbatch", said["out"], said["err"], said["status"])


def show(stand: SlurmStand, *lines: str) -> None:
    """Let squeue show these elements of the batch: `JOB|INDEX|STATE|REASON|NODE`."""
    stand.answers("squeue", "".join(f"{line}|{JOB_NAME}\n" for line in lines))


async def hand_over(stand: SlurmStand, turns: int) -> None:
    """The one-shot wrapper alone, with less patience."""
    await stand.transport.run(
        ["sh", "-s", "--", f".ap/submit/{JOB_NAME}", "none", str(turns)], stdin=SUBMIT.encode()
    )


def wait_for_call(stand: SlurmStand, name: str) -> None:
    until = time.monotonic() + 20
    while not stand.calls(name):
        assert time.monotonic() < until, f"{name} is not called"
        time.sleep(0.01)


async def stage_only(stand: SlurmStand) -> None:
    """As after a crash between staging and sbatch."""
    await stand.scheduler._stage(stand.batch, stand.tasks)


# --- submit ---------------------------------------------------------------------------------------


async def test_a_batch_is_handed_over_once_however_often_it_is_asked_for(stand: SlurmStand) -> None:
    """Also by another daemon; the id is the same each time."""
    answers = [
        await scheduler.submit(stand.batch, stand.tasks)
        for scheduler in (stand.scheduler, stand.scheduler, stand.another_scheduler())
    ]

    assert answers == [Accepted("4711")] * 3
    assert len(stand.calls("sbatch")) == 1
    assert stand.calls("sbatch")[0].endswith("sbatch --parsable job.sh")


async def test_two_daemons_at_once_hand_over_once(stand: SlurmStand) -> None:
    """The mark decides; who comes second waits for the first one's answer."""
    stand.program("sbatch", "sleep 0.3; echo 4711")

    answers = await asyncio.gather(
        *(stand.another_scheduler().submit(stand.batch, stand.tasks) for _ in range(4))
    )

    assert answers == [Accepted("4711")] * 4
    assert len(stand.calls("sbatch")) == 1


async def test_an_answer_outlives_the_connection(stand: SlurmStand) -> None:
    """The wrapper is killed while sbatch works: its answer is there when somebody asks again."""
    stand.program("sbatch", "sleep 0.5; echo 4711")
    await stage_only(stand)
    connection = asyncio.create_task(hand_over(stand, 200))
    await asyncio.to_thread(wait_for_call, stand, "sbatch")
    connection.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connection

    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")
    assert len(stand.calls("sbatch")) == 1


@pytest.mark.slow
async def test_no_answer_yet_is_unclear_and_the_answer_is_found_later(stand: SlurmStand) -> None:
    """The caller does not wait for ever; sbatch is not ended."""
    stand.program("sbatch", "sleep 0.7; echo 4711")
    await stage_only(stand)
    await hand_over(stand, 5)

    assert await stand.scheduler.locate(stand.batch) == Unclear(
        f"Slurm does not know it, but it may be on its way until {_time(stand, 150)} UTC"
    )
    await asyncio.sleep(1.0)
    assert await stand.scheduler.locate(stand.batch) == Accepted("4711")


async def test_a_warning_beside_the_id_is_no_failure(stand: SlurmStand) -> None:
    """It was tried again by sbatch itself, said so, and was heard."""
    stand.answers(
        "sbatch",
        "4711\n",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n",
    )

    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")


async def test_a_refusal_is_sealed(stand: SlurmStand) -> None:
    """It is told in the site's words.

    No job of this batch can run any more, whatever those words meant.
    """
    answer(stand, "account")

    refused = await stand.scheduler.submit(stand.batch, stand.tasks)

    assert refused == Rejected(
        "sbatch: error: Batch job submission failed: Invalid account or account/partition"
        " combination specified"
    )
    assert stand.run_element("4711", 0) == 0
    assert stand.output(0) == ""


async def test_a_misspelt_partition_is_told_with_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with the nearest; where nobody can say which there are, the refusal stands alone."""
    stand = SlurmStand(tmp_path, monkeypatch, SlurmQueue(partition="mian"))
    stand.answers("sinfo", "main\nshort\nmain\n")
    answer(stand, "partition")

    refused = await stand.scheduler.submit(stand.batch, stand.tasks)

    assert isinstance(refused, Rejected)
    assert refused.mender is Mender.PERSON
    assert refused.remedy.startswith(
        "The partitions there are main, short. 'mian': did you mean 'main'? Mend"
    )
    stand.answers(
        "sinfo", err="slurm_load_partitions: Unable to contact slurm controller\n", status=1
    )
    again = await stand.scheduler.submit(a_batch(stand.tasks, f"{JOB_NAME}1"), stand.tasks)
    assert isinstance(again, Rejected)
    assert again.remedy.startswith("Mend")


async def test_a_refusal_is_not_believed_when_the_job_runs(stand: SlurmStand) -> None:
    """The job has come through the gate while sbatch still failed: it is there."""
    await stage_only(stand)
    stand.program(
        "sbatch",
        f'ln -sn begun.4711 "{stand.folder}/gate"; echo "error: Invalid x specification" >&2; exit 1',  # noqa: E501 - text for another program
    )

    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")


async def test_a_submit_limit_waits_and_the_next_call_tries_again(stand: SlurmStand) -> None:
    """One sbatch per call, under the same name; the message says what to look at."""
    answer(stand, "submit_limit_qos")

    first = await stand.scheduler.submit(stand.batch, stand.tasks)
    assert isinstance(first, Limited)
    assert "QOSMaxSubmitJobPerUserLimit" in first.message
    assert first.message.endswith("(the batch has 3 tasks; site.scheduler.array_max bounds it)")
    assert len(stand.calls("sbatch")) == 1
    assert isinstance(await stand.scheduler.submit(stand.batch, stand.tasks), Limited)
    assert len(stand.calls("sbatch")) == 2
    stand.answers("sbatch", "4711\n")
    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")
    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")
    assert len(stand.calls("sbatch")) == 3


@pytest.mark.parametrize("name", ["frozen", "killed", "no_controller"])
async def test_a_lost_answer_is_never_tried_again(stand: SlurmStand, name: str) -> None:
    """However often submit is called: only looking can tell."""
    answer(stand, name)

    for _ in range(3):
        assert isinstance(await stand.scheduler.submit(stand.batch, stand.tasks), Unclear)
    assert len(stand.calls("sbatch")) == 1


async def test_the_users_own_settings_reach_no_command(
    stand: SlurmStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SBATCH_JOB_NAME would outweigh the script's name, by which a lost job is found."""
    monkeypatch.setenv("SBATCH_JOB_NAME", "mine")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/elsewhere/slurm.conf")
    stand.program("sbatch", 'env >"$(dirname "$0")/seen"; echo 4711')

    await stand.scheduler.submit(stand.batch, stand.tasks)

    seen = (stand.root.parent / "bin" / "seen").read_text(encoding="utf-8")
    assert "SBATCH_JOB_NAME" not in seen
    assert "SLURM_JOB_ID" not in seen
    assert "SLURM_CONF=/etc/elsewhere/slurm.conf" in seen


async def test_jobs_inherit_nothing_of_the_daemons(
    stand: SlurmStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who the user is and how Slurm is reached is all that sbatch, and so the jobs, are given."""
    monkeypatch.setenv("SECRET", "of the daemon")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm here.conf")
    stand.program("sbatch", 'env | cut -d= -f1 >"$0.env"; echo "$SLURM_CONF" >>"$0.env"; echo 4711')

    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")

    *names, last = (
        (stand.root.parent / "bin" / "sbatch.env").read_text(encoding="utf-8").splitlines()
    )
    allowed = {
        "USER",
        "LOGNAME",
        "PATH",
        "HOME",
        "SHELL",
        "SLURM_CONF",
        "KRB5CCNAME",
        "PWD",
        "_",
        "SHLVL",
    }
    assert set(names) <= allowed
    assert last == "/etc/slurm here.conf"


async def test_a_site_that_cannot_make_the_mark_submits_nothing(stand: SlurmStand) -> None:
    """As with a full disk: a passing fault, nothing was sent, and it may be tried again."""
    stand.answers(
        "mkdir", err="mkdir: cannot create directory: No space left on device\n", status=1
    )

    with pytest.raises(TransientError, match="No space left on device"):
        await stand.scheduler.submit(stand.batch, stand.tasks)
    assert stand.calls("sbatch") == []
    stand.program("mkdir", 'exec /bin/mkdir "$@"')
    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")


# --- locate ---------------------------------------------------------------------------------------


def _time(stand: SlurmStand, in_s: float) -> str:
    stand.clock.advance(in_s)
    message = f"{stand.clock.now():%H:%M:%S}"
    stand.clock.elapsed_s -= in_s
    return message


async def test_what_was_never_sent_is_void_at_once_and_stays_so(stand: SlurmStand) -> None:
    """A wrapper that is still on its way comes to a shut gate."""
    assert isinstance(await stand.scheduler.locate(stand.batch), Void)

    assert isinstance(await stand.scheduler.submit(stand.batch, stand.tasks), Unclear)
    assert isinstance(await stand.scheduler.locate(stand.batch), Void)
    assert stand.calls("sbatch") == []


async def test_a_batch_is_void_only_when_nothing_can_be_on_its_way(stand: SlurmStand) -> None:
    """Two whole and empty answers, 150 s apart; then a job that lands does nothing."""
    answer(stand, "frozen")
    await stand.scheduler.submit(stand.batch, stand.tasks)

    assert isinstance(await stand.scheduler.locate(stand.batch), Unclear)
    stand.clock.advance(149)
    assert isinstance(await stand.scheduler.locate(stand.batch), Unclear)
    stand.clock.advance(1)
    assert isinstance(await stand.scheduler.locate(stand.batch), Void)
    assert stand.run_element("4711", 0) == 0
    assert stand.output(0) == ""


async def test_a_slow_controller_is_given_more_time(stand: SlurmStand) -> None:
    """Twice its MessageTimeout, where that is longer."""
    answer(stand, "frozen")
    stand.answers("scontrol", "MessageTimeout          = 100 sec\n")
    await stand.scheduler.submit(stand.batch, stand.tasks)

    await stand.scheduler.locate(stand.batch)
    stand.clock.advance(199)
    assert isinstance(await stand.scheduler.locate(stand.batch), Unclear)
    stand.clock.advance(1)
    assert isinstance(await stand.scheduler.locate(stand.batch), Void)


async def test_a_failed_look_proves_nothing(stand: SlurmStand) -> None:
    """Time that passes without whole answers counts for nothing."""
    answer(stand, "frozen")
    await stand.scheduler.submit(stand.batch, stand.tasks)
    stand.answers("squeue", err=(DATA / "squeue/frozen.err").read_text(encoding="utf-8"), status=1)

    for _ in range(3):
        with pytest.raises(TransientError, match="Socket timed out on send/recv operation"):
            await stand.scheduler.locate(stand.batch)
        stand.clock.advance(1000)
    show(stand)
    assert isinstance(await stand.scheduler.locate(stand.batch), Unclear)


async def test_unreadable_lines_prove_nothing(stand: SlurmStand) -> None:
    """What can't be read may be the job."""
    answer(stand, "frozen")
    await stand.scheduler.submit(stand.batch, stand.tasks)
    stand.answers("squeue", "4711|?|RUNNING\n")

    with pytest.raises(
        TransientError, match=r"squeue's answer cannot be read; it begins: 4711\|\?\|RUNNING"
    ):
        await stand.scheduler.locate(stand.batch)


async def test_a_job_is_found_by_its_name(stand: SlurmStand) -> None:
    """The answer was lost, the job is there; of two copies the first is meant."""
    answer(stand, "frozen")
    await stand.scheduler.submit(stand.batch, stand.tasks)
    show(stand, "4712|0-2|PENDING|Priority|", "4711|0-2|PENDING|Priority|")

    assert await stand.scheduler.locate(stand.batch) == Accepted("4711")
    assert f"--name={JOB_NAME}" in stand.calls("squeue")[0]


async def test_a_job_that_has_begun_needs_no_asking(stand: SlurmStand) -> None:
    """Its gate names it, though Slurm may have forgotten it long ago."""
    answer(stand, "killed")
    await stand.scheduler.submit(stand.batch, stand.tasks)
    stand.run_element("4711", 0)
    stand.answers("squeue", status=1)

    assert await stand.scheduler.locate(stand.batch) == Accepted("4711")


async def test_the_database_remembers_what_squeue_has_forgotten(stand: SlurmStand) -> None:
    """As where a person has cancelled the job before it began."""
    answer(stand, "frozen")
    stand.answers("sacct", f"4711_0|CANCELLED by 1000|0:0|None assigned|{JOB_NAME}\n")
    await stand.scheduler.submit(stand.batch, stand.tasks)

    assert await stand.scheduler.locate(stand.batch) == Accepted("4711")
    assert "--starttime=20" in stand.calls("sacct")[0]


async def test_a_database_that_is_switched_off_hinders_nothing(stand: SlurmStand) -> None:
    """Many sites have none."""
    answer(stand, "frozen")
    stand.answers("sacct", err=(DATA / "sacct/disabled.err").read_text(encoding="utf-8"), status=1)
    await stand.scheduler.submit(stand.batch, stand.tasks)

    assert isinstance(await stand.scheduler.locate(stand.batch), Unclear)
    stand.clock.advance(150)
    assert isinstance(await stand.scheduler.locate(stand.batch), Void)


@pytest.mark.parametrize("name", ["account", "job_count"])
async def test_a_late_no_is_void(stand: SlurmStand, name: str) -> None:
    """In the meantime sbatch has said that it submitted nothing: no need to wait."""
    answer(stand, name)
    await stage_only(stand)
    await hand_over(stand, 100)

    assert isinstance(await stand.scheduler.locate(stand.batch), Void)
    assert stand.gate == "void"


async def test_a_begin_that_comes_between_the_look_and_the_gate_counts(stand: SlurmStand) -> None:
    """The first to make the gate is right: nothing found for long, and the job starts just then."""
    answer(stand, "frozen")
    await stand.scheduler.submit(stand.batch, stand.tasks)
    await stand.scheduler.locate(stand.batch)
    stand.clock.advance(150)
    stand.program("squeue", f'ln -sn begun.4711 "{stand.folder}/gate"')

    assert await stand.scheduler.locate(stand.batch) == Accepted("4711")


async def test_a_gate_that_can_be_neither_shut_nor_read_gives_nothing_up(stand: SlurmStand) -> None:
    """A job that lands now would still run: it is asked again."""
    answer(stand, "frozen")
    await stand.scheduler.submit(stand.batch, stand.tasks)
    await stand.scheduler.locate(stand.batch)
    stand.clock.advance(150)
    stand.program("ln", "exit 1")

    with pytest.raises(
        TransientError, match=f"the gate of {JOB_NAME} can be neither shut nor read"
    ):
        await stand.scheduler.locate(stand.batch)


async def test_a_gate_that_is_shut_while_a_job_begins_stays_shut(stand: SlurmStand) -> None:
    """Between the job's look at it and its try to make it: who made it first has decided."""
    await stage_only(stand)
    stand.program("ln", f'/bin/ln -s void "{stand.folder}/gate" 2>/dev/null; exec /bin/ln "$@"')

    assert await asyncio.to_thread(stand.run_element, "4711", 0) == 0

    assert stand.gate == "void"
    assert stand.output(0) == ""


async def test_a_torn_answer_is_a_passing_fault(stand: SlurmStand) -> None:
    """The shell was ended in the middle: no information."""
    await stand.scheduler.submit(stand.batch, stand.tasks)
    # of the shell that frames it
    stand.program("head", "kill -9 $(cut -d ' ' -f 4 /proc/$PPID/stat)")

    with pytest.raises(TransientError):
        await stand.scheduler.locate(stand.batch)


# --- sight ----------------------------------------------------------------------------------------


async def test_all_batches_are_seen_by_one_squeue(stand: SlurmStand) -> None:
    """Whatever their number; what a whole answer does not show is absent."""
    other = a_batch(stand.tasks, f"{JOB_NAME[:-1]}9", job_id="5000")
    stand.answers(
        "squeue",
        f"4711|1-2|PENDING|Priority||{JOB_NAME}\n5000|0|RUNNING|None|n7|{other.job_name}\n",
    )

    seen = await stand.scheduler.sight([stand.batch, other])

    assert seen is not None
    assert {key: sighting.state for key, sighting in seen.items()} == {
        (JOB_NAME, 0): JobState.ABSENT,
        (JOB_NAME, 1): JobState.WAITING,
        (JOB_NAME, 2): JobState.WAITING,
        (other.job_name, 0): JobState.RUNNING,
        (other.job_name, 1): JobState.ABSENT,
        (other.job_name, 2): JobState.ABSENT,
    }
    assert seen[other.job_name, 0].detail == "RUNNING on n7"
    assert len(stand.calls("squeue")) == 1
    assert f"--name={JOB_NAME},{other.job_name} " in stand.calls("squeue")[0]


async def test_only_live_attempts_are_asked_after(stand: SlurmStand) -> None:
    """What has ended is settled; with no batch nothing is asked at all."""
    batch = stand.batch.model_copy(update={"live": frozenset({2})})

    seen = await stand.scheduler.sight([batch])

    assert seen is not None
    assert list(seen) == [(JOB_NAME, 2)]
    assert await stand.scheduler.sight([]) == {}
    assert len(stand.calls("squeue")) == 1


async def test_a_failing_squeue_shows_nothing_absent(stand: SlurmStand) -> None:
    """Its words are told; no attempt is."""
    stand.answers(
        "squeue", err=(DATA / "squeue/no_controller.err").read_text(encoding="utf-8"), status=1
    )

    with pytest.raises(TransientError, match="Unable to contact slurm controller"):
        await stand.scheduler.sight([stand.batch])


FORGERY = "\nAP_BEGIN squeue\n\nAP_END squeue 0\nAP_END job 0\n\nAP  squeue 0 0\n\n"


async def test_a_running_job_forges_no_answer_of_squeue(stand: SlurmStand) -> None:
    """Its own output, which is read beside squeue's answer, says that squeue shows nothing.

    That is no answer.
    """
    await stage_only(stand)
    show(stand, "4711|0|RUNNING|None|n1")
    output = stand.root / stand.tasks[0].workdir / f"job-{JOB_NAME}.out"
    for forged in (FORGERY, FORGERY.replace("\n", "\r\n"), f"{FORGERY}\0\xff"):
        output.write_text(forged, encoding="latin-1")
        (stand.folder / "slurm-0.out").write_text(forged, encoding="latin-1")

        assert await end_of(stand) == Sighting(
            job_name=JOB_NAME, index=0, state=JobState.RUNNING, detail="RUNNING on n1"
        )
    assert not (stand.root / stand.tasks[0].workdir / f"claim.{JOB_NAME}").exists()


ODD: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", ODD)
async def test_an_output_that_is_no_file_holds_nothing_up(stand: SlurmStand, kind: str) -> None:
    """A pipe would be waited for; what is no regular file has no last words."""
    await stage_only(stand)
    ODD[kind](stand.root / stand.tasks[0].workdir / f"job-{JOB_NAME}.out")

    ended = await asyncio.wait_for(end_of(stand), timeout=10)

    assert isinstance(ended, PostMortem)
    assert ended.message.endswith("it has written nothing")


async def test_a_cut_squeue_shows_nothing_absent(stand: SlurmStand) -> None:
    """A line that ends in the middle makes the answer no information."""
    stand.answers("squeue", "4711|0|RUNNING|None|n1|" + JOB_NAME + "\n4711|1|RUNN")

    with pytest.raises(TransientError, match=r"it begins: 4711.*RUNN$"):
        await stand.scheduler.sight([stand.batch])


HEADING = "ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|REASON|NODELIST|NAME\n"
NOTICES = [
    "*** Maintenance on Thursday, 8:00: see the status page ***\n",
    "| quota | 80% | used |\n\n",
    "Loading module slurm/23.11\n\x1b[31mwarning\x1b[0m: 12 jobs wait\n",
    "2026\n",
]


@pytest.mark.parametrize("notice", NOTICES)
@pytest.mark.parametrize("at", ["before", "behind", "between"])
async def test_a_notice_of_the_site_is_passed_over(stand: SlurmStand, notice: str, at: str) -> None:
    """Every line of squeue's is found, wherever others stand."""
    lines = [f"4711|0|RUNNING|None|n1|{JOB_NAME}\n", f"4711|1-2|PENDING|Priority||{JOB_NAME}\n"]
    position = {"before": 0, "between": 1, "behind": 2}[at]
    stand.answers("squeue", HEADING + "".join([*lines[:position], notice, *lines[position:]]))
    seen = await stand.scheduler.sight([stand.batch])
    assert seen is not None
    assert [seen[JOB_NAME, index].state for index in range(3)] == [
        JobState.RUNNING,
        JobState.WAITING,
        JobState.WAITING,
    ]


async def test_a_notice_hides_no_absence(stand: SlurmStand) -> None:
    """With squeue's heading it is known that there is no job.

    A notice alone may be of a squeue that has failed.
    """
    stand.answers("squeue", NOTICES[0] + HEADING)
    seen = await stand.scheduler.sight([stand.batch])
    assert seen is not None
    assert {sighting.state for sighting in seen.values()} == {JobState.ABSENT}
    for answer_of_none in (
        NOTICES[0],
        "slurm_load_jobs error: Unable to contact slurm controller\n",
    ):
        stand.answers("squeue", answer_of_none)
        with pytest.raises(TransientError, match=f"it begins: {re.escape(answer_of_none.strip())}"):
            await stand.scheduler.sight([stand.batch])


async def test_a_notice_with_no_newline_hides_no_job(stand: SlurmStand) -> None:
    """What stands behind it is one of squeue's lines: the answer is no information."""
    stand.answers("squeue", f"{HEADING}Maintenance: 4711|0|RUNNING|None|n1|{JOB_NAME}\n")
    with pytest.raises(TransientError, match="it begins: ARRAY_JOB_ID"):
        await stand.scheduler.sight([stand.batch])


@pytest.mark.parametrize(
    ("before", "behind"),
    [("*** Maintenance ***\n", ""), ("", "See https://status\n"), ("a\n\n", "b")],
)
async def test_a_notice_beside_a_job_s_id_is_passed_over(
    stand: SlurmStand, before: str, behind: str
) -> None:
    """As a site's wrapper of sbatch prints it."""
    stand.answers("sbatch", f"{before}4711\n{behind}")
    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")


async def test_of_two_ids_none_is_believed(stand: SlurmStand) -> None:
    """The job is then found by its name."""
    stand.answers("sbatch", "2026\n4711\n")
    answered = await stand.scheduler.submit(stand.batch, stand.tasks)
    assert answered == Unclear("sbatch's answer names several jobs: 2026 / 4711")


async def test_a_notice_in_the_database_s_answer_is_passed_over(stand: SlurmStand) -> None:
    """What squeue has forgotten is found there."""
    await stand.scheduler.submit(stand.batch, stand.tasks)
    stand.answers("sacct", f"*** Maintenance ***\n4711_0|OUT_OF_MEMORY|0:125|n1|{JOB_NAME}\n")
    ended = await stand.scheduler.post_mortem(stand.batch, 0)
    assert isinstance(ended, PostMortem)
    assert ended.reason is Reason.OUT_OF_MEMORY


# --- post mortem ----------------------------------------------------------------------------------


async def end_of(stand: SlurmStand, index: int = 0) -> PostMortem | Sighting | None:
    if not (stand.folder / "try.0").exists():
        await stand.scheduler.submit(stand.batch, stand.tasks)
    return await stand.scheduler.post_mortem(stand.batch, index)


async def test_an_attempt_that_lives_is_shown_alive(stand: SlurmStand) -> None:
    """It was missing for a while, or is being restarted by Slurm."""
    show(stand, "4711|0|PENDING|BeginTime|")

    seen = await end_of(stand)

    assert isinstance(seen, Sighting)
    assert (seen.state, seen.detail) == (JobState.WAITING, "PENDING (BeginTime)")


async def test_squeue_outweighs_the_database(stand: SlurmStand) -> None:
    """Recorded: after a node failure sacct says NODE_FAIL of an element that waits to run again."""
    show(stand, "4711|0|PENDING|BeginTime|")
    stand.answers("sacct", f"4711_0|NODE_FAIL|0:0|lab2|{JOB_NAME}\n")

    assert isinstance(await end_of(stand), Sighting)


async def test_the_database_tells_the_end_that_squeue_has_forgotten(stand: SlurmStand) -> None:
    """With its exit code."""
    stand.answers("sacct", f"4711_0|OUT_OF_MEMORY|0:125|lab2|{JOB_NAME}\n")

    assert await end_of(stand) == PostMortem(
        Reason.OUT_OF_MEMORY, "OUT_OF_MEMORY (exit 0:125) on lab2"
    )


async def test_without_a_database_the_jobs_own_words_are_the_witness(stand: SlurmStand) -> None:
    """There slurmstepd has written why; else the task's last words are shown."""
    stand.answers("sacct", status=1)
    await stand.scheduler.submit(stand.batch, stand.tasks)
    timeout = (DATA / "slurmstepd/timeout.txt").read_text(encoding="utf-8")
    (stand.folder / "slurm-0.out").write_text(timeout, encoding="utf-8")
    stand.run_element("4711", 1)

    by_message = await end_of(stand, 0)
    by_task = await end_of(stand, 1)

    assert isinstance(by_message, PostMortem)
    assert by_message.reason is Reason.TIMEOUT
    assert isinstance(by_task, PostMortem)
    assert by_task.reason is Reason.LOST
    assert "its last words: began task --root" in by_task.message


async def test_a_controller_that_does_not_answer_ends_nothing(stand: SlurmStand) -> None:
    """Whatever the database or old outputs say."""
    await stand.scheduler.submit(stand.batch, stand.tasks)
    stand.answers("sacct", f"4711_0|TIMEOUT|0:0|lab2|{JOB_NAME}\n")
    stand.answers("squeue", status=1)

    with pytest.raises(TransientError):
        await end_of(stand)


async def test_a_database_that_lags_is_waited_for_but_not_for_ever(stand: SlurmStand) -> None:
    """It may be slow; it may also have missed the end, and would say running for ever."""
    stand.answers("sacct", f"4711_0|RUNNING|0:0|lab2|{JOB_NAME}\n")

    assert await end_of(stand) is None
    stand.clock.advance(599)
    assert await end_of(stand) is None
    stand.clock.advance(1)
    end = await end_of(stand)
    assert isinstance(end, PostMortem)
    assert end.reason is Reason.LOST


async def test_elements_cancelled_before_they_began_are_cancelled(stand: SlurmStand) -> None:
    """Slurm shows one line without index for all of them."""
    show(stand, "4711|N/A|CANCELLED|Priority|", "4711|0|COMPLETED|None|n1")

    end = await end_of(stand, 2)

    assert isinstance(end, PostMortem)
    assert end.reason is Reason.CANCELLED


async def test_what_is_said_to_have_ended_is_sealed(stand: SlurmStand) -> None:
    """Before it is called lost.

    The work half of a life that comes late, or still runs, finds the mark.
    """
    assert isinstance(await end_of(stand, 1), PostMortem)

    claims = {
        path.name: (path / "over").exists() for path in stand.root.glob("cycles/*/*/*/claim.*")
    }
    assert claims == {f"claim.{JOB_NAME}": True}
    assert (stand.root / stand.tasks[1].workdir / f"claim.{JOB_NAME}" / "over").exists()


async def test_an_end_that_cannot_be_sealed_is_not_told(stand: SlurmStand) -> None:
    """As where the file system is full."""
    await stand.scheduler.submit(stand.batch, stand.tasks)
    (stand.root / stand.tasks[0].workdir / f"claim.{JOB_NAME}").write_text("in the way")

    with pytest.raises(TransientError):
        await end_of(stand, 0)


# --- the roll -------------------------------------------------------------------------------------


async def test_the_roll_shows_the_campaigns_jobs_and_no_others(stand: SlurmStand) -> None:
    """One line for each array that waits or runs; what is ending is over."""
    other = JOB_NAME.replace("b00", "b01")
    stand.answers(
        "squeue",
        f"4711|0|RUNNING|None|n1|{JOB_NAME}\n4711|1-2|PENDING|Priority||{JOB_NAME}\n4712|0|COMPLETING|None|n1|{other}\n4713|N/A|RUNNING|None|n1|copper-3f9a1cc.c000.training.b00\n4714|N/A|PENDING|Priority||my"
        " own | job\n",
    )

    jobs = await stand.scheduler.roll("copper-3f9a1c")

    assert jobs == (QueuedJob(job_name=JOB_NAME, job_id="4711", detail="RUNNING on n1"),)
    assert "--name" not in stand.calls("squeue")[-1]


async def test_a_failing_squeue_is_no_empty_roll(stand: SlurmStand) -> None:
    """It is no information."""
    stand.answers(
        "squeue", err="slurm_load_jobs error: Unable to contact slurm controller\n", status=1
    )

    with pytest.raises(TransientError, match="Unable to contact"):
        await stand.scheduler.roll("copper-3f9a1c")


# --- cancel ---------------------------------------------------------------------------------------


async def test_a_batch_is_cancelled_by_its_name(stand: SlurmStand) -> None:
    """So that it works also while its id is not known; and only the user's own."""
    await stand.scheduler.cancel(stand.batch)

    assert len(stand.calls("scancel")) == 1
    assert f"--name={JOB_NAME}" in stand.calls("scancel")[0]
    assert "--user=" in stand.calls("scancel")[0]


async def test_elements_are_cancelled_by_their_numbers_too(stand: SlurmStand) -> None:
    """Under their batch's name, so that no other job of a number that is used again is meant."""
    await stand.scheduler.cancel(
        stand.batch.model_copy(update={"job_id": "4711"}), frozenset({1, 0})
    )
    (call,) = stand.calls("scancel")
    assert f"--name={JOB_NAME}" in call
    assert "4711_0 4711_1" in call


async def test_a_cancel_that_fails_is_told(stand: SlurmStand) -> None:
    """The person who asked must not believe that it is done."""
    stand.answers("scancel", err="scancel: error: Unable to contact slurm controller\n", status=1)

    with pytest.raises(TransientError, match="Unable to contact"):
        await stand.scheduler.cancel(stand.batch)


# --- faults that are no task's --------------------------------------------------------------------


async def test_a_drained_partition_is_waited_for_and_the_next_call_tries_again(
    stand: SlurmStand,
) -> None:
    """In Slurm's words, and as trouble of the site; nothing is sealed."""
    drained = (
        "sbatch: error: Batch job submission failed: Required partition not available (inactive or"
        " drain)\n"
    )
    stand.answers("sbatch", err=drained, status=1)

    said = await stand.scheduler.submit(stand.batch, stand.tasks)

    assert isinstance(said, Limited)
    assert said.degraded
    assert "inactive or drain" in said.message
    assert "array_max" not in said.message
    stand.answers("sbatch", "4711\n")
    assert await stand.scheduler.submit(stand.batch, stand.tasks) == Accepted("4711")


async def test_nodes_that_are_excluded_reach_sbatch(stand: SlurmStand) -> None:
    """As the script that sbatch is given says."""
    stand.answers("sbatch", "4711\n")
    await stand.scheduler.submit(stand.batch, stand.tasks, ("n1",))
    assert "#SBATCH --exclude=n1\n" in (stand.folder / "job.sh").read_text(encoding="utf-8")


async def begun(stand: SlurmStand) -> None:
    """The array has been handed over, and its first element was on a node."""
    stand.answers("sbatch", "4711\n")
    await stand.scheduler.submit(stand.batch, stand.tasks)
    (stand.folder / "gate").symlink_to("begun.4711")


async def test_what_ends_before_the_work_half_begins_is_its_node_s_fault(stand: SlurmStand) -> None:
    """With the node's name, and what was said; with a claim it is a crash like any other."""
    await begun(stand)
    show(stand, "4711|0|FAILED|NonZeroExitCode|n2")
    (stand.folder / "slurm-0.out").write_text(
        "AP_LIFE 0 of job 4711, element 0, on n2\nno python here\n"
    )

    ended = await end_of(stand)

    assert isinstance(ended, PostMortem)
    assert (ended.reason, ended.node) == (Reason.NODE_UNFIT, "n2")
    assert "no python here" in ended.message
    (stand.root / stand.tasks[1].workdir / f"claim.{JOB_NAME}").mkdir()
    show(stand, "4711|1|FAILED|NonZeroExitCode|n2")
    crashed = await end_of(stand, 1)
    assert isinstance(crashed, PostMortem)
    assert crashed.reason is Reason.CRASHED


@pytest.mark.parametrize(
    ("program", "body"),
    [
        ("dd", "echo \"dd: error writing 'x': No space left on device\" >&2; exit 1"),
        ("dd", "echo \"dd: failed to open 'x': Read-only file system\" >&2; exit 1"),
        ("dd", "echo \"dd: failed to open 'x': Stale file handle\" >&2; exit 1"),
        ("scontrol", 'echo "JobId=4711 JobState=FAILED ExitCode=74:0"'),
    ],
)
async def test_a_disk_that_takes_nothing_is_the_site_s_fault(
    stand: SlurmStand, program: str, body: str
) -> None:
    """It is tried now; and the work half has ended with a status of its own then."""
    await begun(stand)
    (stand.root / stand.tasks[0].workdir / f"claim.{JOB_NAME}").mkdir()
    show(stand, "4711|0|FAILED|NonZeroExitCode|n2")
    stand.program(program, body)

    ended = await end_of(stand)

    assert isinstance(ended, PostMortem)
    assert ended.reason is Reason.STORAGE


async def test_a_folder_that_was_purged_is_the_site_s_fault(stand: SlurmStand) -> None:
    """Scratch that was cleared takes nothing any more."""
    await begun(stand)
    show(stand, "4711|0|FAILED|NonZeroExitCode|n2")
    (stand.root / stand.tasks[0].workdir).rmdir()

    ended = await stand.scheduler.post_mortem(stand.batch, 0)
    assert isinstance(ended, PostMortem)
    assert ended.reason is Reason.STORAGE
