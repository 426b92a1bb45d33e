"""What Slurm says, on outputs that were recorded of the real programs (tests/data/slurm)."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlip_autopipec import framing
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.ports import Accepted, Limited, Rejected, Unclear
from mlip_autopipec.schedulers import slurm_text as text

DATA = Path(__file__).parents[2] / "data" / "slurm"
ANSWERS = json.loads((DATA / "sbatch.json").read_text(encoding="utf-8"))
JOB_NAME = "copper-3f9a1c.c003.calculation"
ENDS = "copper-3f9a1c.c004.exploration"
#: What the program must make of each recorded answer.
EXPECTED = {
    "accepted": Accepted,
    "cluster": Accepted,
    "submit_limit_qos": Limited,
    "submit_limit_association": Limited,
    "job_count": Limited,
    "no_munge": Limited,
    "frozen": Unclear,
    "killed": Unclear,
    "no_controller": Unclear,
}


def recorded(path: str) -> str:
    return (DATA / path).read_text(encoding="utf-8")


def elements(path: str) -> list[text.Element]:
    parse = text.parse_sacct if path.startswith("sacct") else text.parse_squeue
    found = parse(recorded(path))
    assert found is not None
    return found


def an_element(word: str, reason: str = "None") -> text.Element:
    return text.Element("7", 0, JOB_NAME, word, reason)


@pytest.mark.parametrize("name", ANSWERS)
def test_every_recorded_answer_of_sbatch_is_classified(name: str) -> None:
    """Mistakes in what was asked are rejected, limits wait, lost answers are unclear."""
    said = ANSWERS[name]

    answer = text.classify_answer(said["status"], said["out"], said["err"])

    assert type(answer) is EXPECTED.get(name, Rejected)


def test_a_refusal_is_told_in_the_sites_own_words() -> None:
    """Both lines count: the second alone does not say which limit it was."""
    answer = text.classify_answer(1, "", ANSWERS["walltime_qos"]["err"])

    assert isinstance(answer, Rejected)
    assert "QOSMaxWallDurationPerJobLimit" in answer.message
    assert "accounting/QOS policy" in answer.message


@pytest.mark.parametrize(
    ("status", "out", "err", "expected"),
    [
        (
            0,
            "4711\n",
            "sbatch: Slurm temporarily unable to accept job, sleeping and retrying\n",
            Accepted("4711"),
        ),
        (1, "4711\n", "sbatch: error: Socket timed out on send/recv operation\n", Accepted("4711")),
        (None, "4711;jupiter\n", "", Accepted("4711")),
        (0, "Welcome to the cluster\n4711\n", "", Accepted("4711")),
    ],
)
def test_an_id_counts_whatever_else_was_said(
    status: int | None, out: str, err: str, expected: Accepted
) -> None:
    """Warnings, banners, failures and a missing exit status make no job that exists go away."""
    assert text.classify_answer(status, out, err) == expected


@pytest.mark.parametrize(
    ("status", "out", "err"),
    [
        (None, "", ""),
        (None, "47", ""),  # torn: it may be 4711
        (0, "", ""),
        (1, "", ""),
        (1, "", "something that nobody has ever read\n"),
        (143, "", "sbatch: error: Batch job submission failed: Invalid partition name specified\n"),
        (
            1,
            "",
            "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received\n",
        ),
        (1, "", "sbatch: error: Batch job submission failed: Unexpected message received\n"),
    ],
)
def test_what_tells_nothing_for_sure_is_unclear(status: int | None, out: str, err: str) -> None:
    """Neither a half-written id, nor a signal, nor words that nobody knows prove anything."""
    assert isinstance(text.classify_answer(status, out, err), Unclear)


@given(status=st.none() | st.integers(0, 255), out=st.text(max_size=40), err=st.text(max_size=200))
def test_no_answer_breaks_the_classifier(status: int | None, out: str, err: str) -> None:
    """Whatever is said, it is one of four answers.

    It is accepted only with a number on a line of its own.
    """
    answer = text.classify_answer(status, out, err)

    assert isinstance(answer, Accepted | Limited | Rejected | Unclear)
    assert not isinstance(answer, Accepted) or f"{answer.job_id}" in out


def test_ranges_of_squeue_become_elements() -> None:
    """A throttled remainder with holes is every element that it stands for."""
    found = {(item.name, item.index): item for item in elements("squeue/mixed.txt")}

    remainder = [
        index
        for name, index in found
        if name == f"{JOB_NAME}.b00" and found[name, index].state == "waiting"
    ]
    assert remainder == [4, *range(8, 20)]
    assert found[f"{JOB_NAME}.b00", 1].state is JobState.ENDED
    assert (f"{JOB_NAME}.b00", 5) not in found  # cancelled before it began: squeue does not show it


@pytest.mark.parametrize(
    ("batch", "states"),
    [
        ("b00", {"running": 3, "ended": 1, "waiting": 13}),
        ("b01", {"held": 4}),
        ("b02", {"ended": 3}),
        ("b05", {"waiting": 1, "running": 1}),
        ("b07", {"running": 1, "waiting": 2}),
        ("b08", {"running": 1}),
    ],
)
def test_recorded_states_are_mapped(batch: str, states: dict[str, int]) -> None:
    """Held, requeued, suspended and cancelled elements are told apart."""
    found = Counter(
        item.state.value
        for item in elements("squeue/mixed.txt")
        if item.name == f"{JOB_NAME}.{batch}"
    )

    assert states == found


def test_a_line_without_index_stands_for_the_elements_that_have_none() -> None:
    """Elements cancelled before they began share one line; those with their own lines keep them."""
    shown = text.by_attempt(elements("squeue/later.txt"), {f"{JOB_NAME}.b00": 20})

    assert len(shown) == 20
    assert shown[f"{JOB_NAME}.b00", 0].nodes == "lab1"
    assert shown[f"{JOB_NAME}.b00", 19].word == "CANCELLED"
    assert shown[f"{JOB_NAME}.b00", 19].nodes == ""


def test_of_two_copies_the_one_that_lives_counts() -> None:
    """A late copy of a job ends at once by itself; that says nothing about the other."""
    ended, running = (
        text.Element("8", 0, JOB_NAME, "COMPLETED"),
        text.Element("9", 0, JOB_NAME, "RUNNING"),
    )

    for order in ([ended, running], [running, ended]):
        assert text.by_attempt(order, {JOB_NAME: 1}) == {(JOB_NAME, 0): running}


def test_elements_beyond_the_batch_are_nobodys() -> None:
    """An index that the batch does not have, and names of other jobs, are left out."""
    strangers = [
        text.Element("8", 5, JOB_NAME, "RUNNING"),
        text.Element("8", 0, "another", "RUNNING"),
    ]

    assert text.by_attempt(strangers, {JOB_NAME: 5}) == {}


@pytest.mark.parametrize(
    "line",
    [
        "7|4-|RUNNING|None||name",
        "7|0|RUNNING|None",
        "slurm_load_jobs error",
        "x|0|RUNNING|None||name",
        "7|0-1;2|R|||n",
    ],
)
def test_a_line_that_cannot_be_read_makes_the_answer_worthless(line: str) -> None:
    """It may be the element that is asked for: no information is not absence."""
    assert text.parse_squeue(f"7|0|RUNNING|None|lab1|name\n{line}\n") is None


def test_an_empty_answer_is_an_answer() -> None:
    """No element is shown, and that is known."""
    assert text.parse_squeue("") == []
    assert text.parse_sacct("\n") == []


def test_sacct_is_read() -> None:
    """Exit codes and who cancelled stay in the words for people."""
    found = {(item.name, item.index): item for item in elements("sacct/mixed.txt")}

    assert found[f"{JOB_NAME}.b04", 0].detail == "FAILED (exit 3:0) on lab2"
    assert found[f"{JOB_NAME}.b00", 0].detail == "CANCELLED by 1001 on lab1"
    assert found[f"{JOB_NAME}.b05", 0].state is JobState.WAITING  # requeued
    assert found[f"{JOB_NAME}.b00", 0].end is Reason.CANCELLED


@pytest.mark.parametrize(
    ("ids", "indices"),
    [("12", [None]), ("12_3", [3]), ("12_[4-6,9]", [4, 5, 6, 9]), ("12_[0-8:4%2]", [0, 4, 8])],
)
def test_sacct_names_elements_in_four_ways(ids: str, indices: list[int | None]) -> None:
    """Whole jobs, elements, and ranges with steps and throttles."""
    found = text.parse_sacct(f"{ids}|PENDING|0:0|None assigned|{JOB_NAME}\n") or []

    assert indices == [item.index for item in found]
    assert {item.nodes for item in found} == {""}


@pytest.mark.parametrize(
    "line",
    ["12.batch|RUNNING|0:0|lab1|n", "12_[3|RUNNING|0:0|lab1|n", "12|RUNNING", "12_[x]|A|||n"],
)
def test_sacct_lines_that_cannot_be_read_are_no_information(line: str) -> None:
    """As for squeue."""
    assert text.parse_sacct(line) is None


@given(st.sets(st.integers(0, 400), min_size=1), st.integers(0, 20))
def test_expanding_gives_back_what_slurm_wrote_down(numbers: set[int], throttle: int) -> None:
    """Any set of indices, in the ranges that Slurm makes of it."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    written = ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in ranges)

    assert sorted(numbers) == text.expand(f"{written}%{throttle}" if throttle else written)


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        (
            ("PENDING", "CONFIGURING", "POWER_UP_NODE", "REQUEUED", "REQUEUE_FED", "EXPEDITING"),
            JobState.WAITING,
        ),
        (("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"), JobState.HELD),
        (
            (
                "RUNNING",
                "COMPLETING",
                "SUSPENDED",
                "STOPPED",
                "SIGNALING",
                "RESIZING",
                "STAGE_OUT",
                "UPDATE_DB",
            ),
            JobState.RUNNING,
        ),
        (
            (
                "COMPLETED",
                "FAILED",
                "TIMEOUT",
                "DEADLINE",
                "OUT_OF_MEMORY",
                "NODE_FAIL",
                "BOOT_FAIL",
                "LAUNCH_FAILED",
            ),
            JobState.ENDED,
        ),
        (
            (
                "RECONFIG_FAIL",
                "PREEMPTED",
                "CANCELLED",
                "REVOKED",
                "CANCELLED by 1000",
                "CANCELLED+",
            ),
            JobState.ENDED,
        ),
        (("", "HIBERNATING", "COMPLETE", "running"), JobState.UNKNOWN),
    ],
)
def test_every_state_and_flag_has_its_place(arguments: tuple[str, ...], state: JobState) -> None:
    """Twelve base states and seventeen flags; an unknown word ends nothing and is shown as is."""
    for word in arguments:
        element = an_element(word)
        assert element.state is state
        assert element.detail == word
        assert (element.end is not None) == (state is JobState.ENDED)


@pytest.mark.parametrize(
    "reason",
    [
        "JobHeldUser",
        "launch failed requeued held",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "PartitionTimeLimit",
        "PartitionConfig",
        "QOSMaxWallDurationPerJobLimit",
        "InvalidAccount",
    ],
)
def test_what_never_starts_by_itself_is_held(reason: str) -> None:
    """Slurm says pending; a person would wait for ever."""
    assert an_element("PENDING", reason).state is JobState.HELD
    assert an_element("PENDING", reason).detail == f"PENDING ({reason})"


@pytest.mark.parametrize(
    "reason",
    [
        "Priority",
        "Resources",
        "JobArrayTaskLimit",
        "QOSMaxJobsPerUserLimit",
        "BeginTime",
        "AssocGrpCpuLimit",
    ],
)
def test_what_only_has_to_wait_waits(reason: str) -> None:
    """Queues and limits that empty by themselves."""
    assert an_element("PENDING", reason).state is JobState.WAITING


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("memory", Reason.OUT_OF_MEMORY),
        ("timeout", Reason.TIMEOUT),
        ("cancelled", Reason.CANCELLED),
        ("node_failure", Reason.NODE_FAILURE),
        ("preempted", Reason.PREEMPTED),
        ("requeued", Reason.PREEMPTED),  # of its second life; the first was only requeued
    ],
)
def test_slurmstepds_words_tell_the_end_that_slurm_has_forgotten(name: str, reason: Reason) -> None:
    """Without a database, the job's own output is the last witness."""
    end = text.judge_end(None, recorded(f"slurmstepd/{name}.txt"), "")

    assert end.reason is reason
    assert end.message.startswith("Slurm has forgotten it; slurmstepd-lab")


def test_the_words_of_an_earlier_life_say_nothing() -> None:
    """A job that was preempted once and then died otherwise did not die of preemption."""
    earlier = recorded("slurmstepd/preempted.txt")

    end = text.judge_end(
        an_element("FAILED", "NonZeroExitCode"),
        f"{earlier}AP_LIFE 1 of job 9\n",
        "Segmentation fault",
    )

    assert (end.reason, end.message) == (
        Reason.CRASHED,
        "FAILED (NonZeroExitCode); its last words: Segmentation fault",
    )


def test_a_state_that_says_little_is_made_precise() -> None:
    """Slurm shows a job over its memory as FAILED (JobLaunchFailure)."""
    shown = text.by_attempt(elements("squeue/mixed.txt"), {f"{JOB_NAME}.b02": 3})

    end = text.judge_end(shown[f"{JOB_NAME}.b02", 0], recorded("slurmstepd/memory.txt"), "")

    assert end.reason is Reason.OUT_OF_MEMORY
    assert "exceeded memory limit" in end.message


def test_a_state_that_says_all_is_believed() -> None:
    """Recorded node failures and preemptions need no words."""
    shown = text.by_attempt(
        elements("squeue/ends.txt"), {f"{ENDS}.{batch}": 2 for batch in ("b00", "b02")}
    )

    assert text.judge_end(shown[f"{ENDS}.b00", 0], "", "").reason is Reason.NODE_FAILURE
    assert text.judge_end(shown[f"{ENDS}.b02", 0], "", "").reason is Reason.PREEMPTED


@pytest.mark.parametrize("element", [None, an_element("COMPLETED")])
def test_nothing_left_means_lost(element: text.Element | None) -> None:
    """Neither a record nor a word; or a record that says that all is well, and no outcome."""
    end = text.judge_end(element, "AP_LIFE 0 of job 7\n", "")

    assert end.reason is Reason.LOST
    assert end.message.endswith("it has written nothing")


def test_frames_are_found_in_the_noise_of_a_login() -> None:
    """Banners before and after are nobody's; a section without its end is not there."""
    said = text.parse_answer(
        "5eed",
        b"Welcome!\n\nAP 5eed squeue 0 22\n1|0|RUNNING|None|n1|x\n\n\nmodule loaded\n"
        b"AP 5eed gate 1 0\n\nAP 5eed sacct 0 9\n1|RUNN",
        b"two\n words \xff",
    )

    assert said.sections == {
        "squeue": framing.CommandOutput("1|0|RUNNING|None|n1|x\n", 0),
        "gate": framing.CommandOutput("", 1),
    }
    assert said.whole("squeue") == "1|0|RUNNING|None|n1|x\n"
    assert said.whole("gate") is None
    assert said.whole("sacct") is None
    assert said.errors == "two words \ufffd"


def test_message_timeout_is_read_from_the_real_configuration() -> None:
    """As scontrol prints it; nothing where it prints nothing."""
    assert text.message_timeout_s(recorded("config.txt")) == 10
    assert text.message_timeout_s("") is None


@pytest.mark.parametrize(
    ("message", "is_the_disk"),
    [
        ("No space left on device", True),
        ("Input/output error", True),
        ("No such file or directory", True),
        ("Permission denied", False),
        ("File exists", False),
        ("message that nobody knows", False),
    ],
)
def test_only_what_a_disk_says_is_its_fault(message: str, *, is_the_disk: bool) -> None:
    """A right that is missing, or a file that is in the way, is not."""
    line = f"failed to open 'cycles/000/.writable': {message}"
    assert text.disk_message(f"Welcome to the cluster\ndd: {line}\n") == (
        line if is_the_disk else ""
    )
