"""Whose fault it is, and what follows.

The site is waited for, a node excluded, a person asked, or a task given up.
"""

from datetime import timedelta

import pytest
from kit.stages import ADA, late_round, walk

from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason
from mlip_autopipec.data_models.state import Failure, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.decide import next_deadline
from mlip_autopipec.orchestration.exclusion import excluded, sorted_refusal
from mlip_autopipec.orchestration.explain import explain
from mlip_autopipec.orchestration.machine import _with_failure, complaint_of, is_resumable, is_stale
from mlip_autopipec.orchestration.outcomes import judge_outcome
from mlip_autopipec.orchestration.restart import after_change
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import Rejected
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

FCC = {"structure": "fcc", "elements": ["Cu"], "lattice_constant_angstrom": 3.61}
MIAN = "sbatch: error: invalid partition specified: mian"


def submitting() -> tuple[Walk, str]:
    """A batch of calculations that is about to be submitted."""
    campaign = walk()
    campaign.planned(Phase.CALCULATION)
    campaign.until(lambda state: bool(state.batches))
    return campaign, next(iter(campaign.state.batches))


def lost(campaign: Walk, index: int, reason: Reason, message: str, node: str = "") -> WorkflowState:
    """An attempt of the first batch has ended without an outcome."""
    job_name = next(iter(campaign.state.batches))
    return campaign.tell(
        ev.AttemptLost(
            at=campaign.now,
            job_name=job_name,
            index=index,
            reason=reason,
            message=message,
            node=node,
        )
    )


def kinds(campaign: Walk) -> list[str]:
    return [command.type for command in campaign.commands()]


def refused(campaign: Walk, job_name: str, mender: Mender) -> WorkflowState:
    return campaign.tell(
        ev.SubmissionRejected(
            at=campaign.now,
            job_name=job_name,
            message=MIAN,
            mender=mender,
            remedy="Mend the site file",
        )
    )


def statuses(state: WorkflowState) -> set[TaskStatus]:
    return {record.status for record in state.own_tasks}


# --- a person -------------------------------------------------------------------------------------


def test_what_a_person_must_mend_pauses_with_reason_and_remedy() -> None:
    """A typing error costs no task anything; nothing is submitted until it is mended."""
    campaign, job_name = submitting()

    state = refused(campaign, job_name, Mender.PERSON)

    assert statuses(state) == {TaskStatus.READY}
    assert kinds(campaign) == ["PauseCampaign"]
    paused = campaign.tell(campaign.follow(campaign.commands()[0])).pause
    assert paused is not None
    assert (paused.by, paused.mender) == (ev.DAEMON, Mender.PERSON)
    assert paused.reason == f"{MIAN}. Mend the site file"
    assert kinds(campaign) == []
    assert "mian" in " ".join(explain(campaign.state, campaign.policy, campaign.now))
    campaign.tell(ev.Resumed(at=campaign.now, by=ADA))
    assert kinds(campaign) == ["BeginBatch"]


def test_a_start_with_a_mended_file_goes_on_and_one_with_the_same_does_not() -> None:
    """Whether or not the pause itself was written down before the daemon ended."""
    campaign, job_name = submitting()
    refused(campaign, job_name, Mender.PERSON)
    for _ in range(2):
        assert list(after_change(campaign.state, "0", campaign.policy, campaign.now, ADA)) == []
        (resumed,) = after_change(campaign.state, "mended", campaign.policy, campaign.now, ADA)
        assert isinstance(resumed, ev.Resumed)
        assert "site file" in resumed.reason
        campaign.tell(*(campaign.follow(command) for command in campaign.commands()))


def test_a_pause_of_a_person_s_own_outlives_a_mended_file() -> None:
    """Only the program's own pause is over."""
    campaign = walk()
    campaign.tell(ev.Paused(at=campaign.now, by=ADA, reason="maintenance"))
    assert list(after_change(campaign.state, "mended", campaign.policy, campaign.now, ADA)) == []


def test_a_pause_that_a_person_was_first_with_is_not_overwritten() -> None:
    """The daemon's own is old news then; what is wrong is still told."""
    campaign, job_name = submitting()
    refused(campaign, job_name, Mender.PERSON)
    mine = campaign.follow(campaign.commands()[0])
    state = campaign.tell(ev.Paused(at=campaign.now, by=ADA, reason="lunch"))
    assert is_stale(state, mine)
    assert "A person must mend" in " ".join(explain(state, campaign.policy, campaign.now))


def test_an_expired_ticket_asks_a_person_at_once() -> None:
    """And counts against no task."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    state = lost(campaign, 0, Reason.ACCESS, "Key has expired")
    assert state.complaint == "Key has expired"
    assert "PauseCampaign" in kinds(campaign)
    assert "QuarantineTask" not in kinds(campaign)


# --- the site -------------------------------------------------------------------------------------


def test_a_full_disk_is_the_site_s_and_waited_for() -> None:
    """Degraded in its words, back-off, tried again by itself; no attempt is counted."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    for index in sorted(batch.live):
        state = lost(campaign, index, Reason.STORAGE, "No space left on device")
    assert (state.site, state.site_message) == (ev.SiteHealth.DEGRADED, "No space left on device")
    assert state.trouble is not None
    assert state.trouble.times == 1
    assert kinds(campaign) == []
    assert next_deadline(state, campaign.policy, campaign.now) == state.trouble.until
    campaign.now = state.trouble.until
    assert kinds(campaign) == ["BeginBatch"]


def test_trouble_that_goes_on_is_left_alone_longer_each_time_and_ends_with_a_success() -> None:
    """For days, if need be, and with one failure kept of each task."""
    campaign = walk()
    waits = []
    for _ in range(8):
        campaign.until(lambda state: any(batch.job_id for batch in state.batches.values()))
        state = lost(campaign, 0, Reason.STORAGE, "Disk quota exceeded")
        assert state.trouble is not None
        waits.append(state.trouble.until - campaign.now)
        campaign.now = state.trouble.until
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] <= timedelta(minutes=10)
    assert len(next(iter(state.tasks.values())).failures) == 1
    campaign.until(
        lambda state: (
            any(record.outcome for record in state.tasks.values()) or state.cycle_index > 0
        )
    )
    assert campaign.state.trouble is None


def test_preempted_and_lost_with_their_nodes_for_ever_counts_against_no_task() -> None:
    """A site's passing faults never end in a quarantine."""
    campaign = walk()
    for reason in (Reason.PREEMPTED, Reason.NODE_FAILURE) * 10:
        campaign.until(lambda state: any(batch.job_id for batch in state.batches.values()))
        lost(campaign, 0, reason, "not its fault")
        assert "QuarantineTask" not in kinds(campaign)
        assert "ReachVerdict" not in kinds(campaign)


# --- a node ---------------------------------------------------------------------------------------


def test_a_node_that_ends_jobs_at_once_is_excluded_for_a_while() -> None:
    """All that died there counts once; it is told, tried again later, then excluded for longer."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    for index in sorted(batch.live):
        state = lost(
            campaign, index, Reason.NODE_UNFIT, "it ended before the work half began", node="n2"
        )
    assert excluded(state, campaign.now) == ("n2",)
    assert state.nodes["n2"].times == 1
    assert kinds(campaign) == ["BeginBatch"]
    message = " ".join(explain(state, campaign.policy, campaign.now))
    assert "Node n2 is excluded until" in message
    first = state.nodes["n2"].until
    assert excluded(state, first) == ()
    campaign.now = first
    campaign.submitted(Phase.CALCULATION)
    state = lost(campaign, 0, Reason.NODE_UNFIT, "it ended before the work half began", node="n2")
    assert state.nodes["n2"].until - campaign.now > first - walk().now


def test_neither_a_start_nor_a_set_clock_excludes_a_node_anew() -> None:
    """Once left alone for long enough it is tried again, however often daemons begin.

    A step of the clock moves the end with it.
    """
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    until = (
        lost(campaign, 0, Reason.NODE_UNFIT, "it ended before the work half began", node="n2")
        .nodes["n2"]
        .until
    )
    hour = timedelta(hours=1)

    stepped = campaign.tell(ev.ClockStepped(at=campaign.now + hour, by_s=hour.total_seconds()))
    assert stepped.nodes["n2"].until == until + hour
    campaign.now = until + 2 * hour
    assert excluded(campaign.tell(started(campaign)), campaign.now) == ()


def test_a_clock_set_back_while_no_daemon_ran_excludes_no_longer_than_at_first() -> None:
    """The end of before may lie a year ahead by the clock of now."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    first = (
        lost(campaign, 0, Reason.NODE_UNFIT, "it ended before the work half began", node="n2")
        .nodes["n2"]
        .until
    )
    lasts = first - campaign.now
    campaign.now -= timedelta(days=365)
    assert campaign.tell(started(campaign)).nodes["n2"].until == campaign.now + lasts


def started(campaign: Walk) -> ev.DaemonStarted:
    """Another daemon begins."""
    return ev.DaemonStarted(
        at=campaign.now, version="0", host="login1", pid=2, config_sha256="0", payload_sha256="0"
    )


def test_three_nodes_that_do_the_same_are_no_node_s_fault() -> None:
    """What is missing everywhere is for a person."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    for index, node in enumerate(("n1", "n2", "n3")):
        state = lost(
            campaign, index, Reason.NODE_UNFIT, f"on {node}: python3: command not found", node=node
        )
    assert "command not found" in complaint_of(state)
    assert "QuarantineTask" not in kinds(campaign)


def test_a_refusal_for_want_of_nodes_is_the_excluded_nodes_own() -> None:
    """With one node, or all of them sick: the site's at first, a person's in the end."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    state = lost(campaign, 0, Reason.NODE_UNFIT, "prologue failed", node="n1")
    said = Rejected(
        "Requested node configuration is not available", Mender.PERSON, "Ask for less", by_size=True
    )
    first = sorted_refusal(said, state, ("n1",), grown=False)
    assert first.mender is Mender.SITE
    assert "prologue failed" in first.message
    often = state.nodes["n1"].model_copy(update={"times": 3})
    third = sorted_refusal(
        said, state.model_copy(update={"nodes": {"n1": often}}), ("n1",), grown=False
    )
    assert third.mender is Mender.PERSON
    assert sorted_refusal(said, state, (), grown=False).mender is Mender.PERSON
    assert sorted_refusal(said, state, (), grown=True).mender is Mender.TASK


def test_a_batch_that_no_node_is_left_for_waits_with_the_site() -> None:
    """Its tasks are free again, and nothing begins before the site's back-off is over."""
    campaign, job_name = submitting()
    state = refused(campaign, job_name, Mender.SITE)
    assert statuses(state) == {TaskStatus.READY}
    assert kinds(campaign) == []
    assert state.trouble is not None
    campaign.now = state.trouble.until
    assert kinds(campaign) == ["BeginBatch"]


# --- nobody knows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason", [Reason.CRASHED, Reason.BAD_INPUT, Reason.LOST, Reason.BAD_OUTCOME]
)
def test_three_equal_failures_in_a_row_are_no_task_s(reason: Reason) -> None:
    """The phase stops for a person, and nothing was given up; resume forgives all three."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    for index in range(3):
        assert "QuarantineTask" not in kinds(campaign)
        state = lost(campaign, index, reason, f"task {index}: no calculator named EMTT")
    assert "no calculator named EMTT" in complaint_of(state)
    assert "3 attempts in a row" in complaint_of(state)
    assert kinds(campaign) == ["PauseCampaign"]
    campaign.tell(campaign.follow(campaign.commands()[0]))
    state = campaign.tell(ev.Resumed(at=campaign.now, by=ADA))
    assert statuses(state) == {TaskStatus.READY}
    assert all(record.failures == () for record in state.own_tasks)
    assert kinds(campaign) == ["BeginBatch"]


def test_a_success_in_between_shows_that_it_is_the_task_s() -> None:
    """Then the bounds of the task hold as ever."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    lost(campaign, 0, Reason.BAD_INPUT, "no calculator")
    assert "QuarantineTask" not in kinds(campaign)
    campaign.tell(campaign.ended(batch.job_name, 1))
    assert "QuarantineTask" in kinds(campaign)


def test_other_words_begin_another_row() -> None:
    """Failures that differ have no cause in common; known ones of tasks break a row."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    lost(campaign, 0, Reason.CRASHED, "no calculator")
    lost(campaign, 1, Reason.CRASHED, "Segmentation fault")
    state = lost(campaign, 2, Reason.NUMERICAL, "SCF not converged")
    assert state.row is None
    assert not complaint_of(state)


def test_the_last_tasks_of_a_phase_are_given_up_when_nobody_is_left_to_tell() -> None:
    """A lone task that dies is its own fault in the end: nothing waits for ever."""
    campaign = walk()
    campaign.submitted(Phase.GENERATION)
    lost(campaign, 0, Reason.BAD_INPUT, "no prototype")
    assert "QuarantineTask" in kinds(campaign)


def alone(phase: Phase) -> Walk:
    """A phase of one task, with its first attempt live."""
    campaign = walk()
    campaign.submitted(phase, cycle=1 if phase is Phase.SELECTION else 0)
    assert len(campaign.state.own_tasks) == 1
    return campaign


def dies(campaign: Walk, reason: Reason, message: str) -> WorkflowState:
    """The live attempt of the only task ends without an outcome.

    The next one is submitted if there is to be one.
    """
    state = lost(campaign, 0, reason, message)
    if "BeginBatch" in kinds(campaign):
        state = campaign.until(lambda state: bool(state.batches))
    return state


@pytest.mark.parametrize("phase", [Phase.GENERATION, Phase.SELECTION, Phase.TRAINING])
@pytest.mark.parametrize("reason", [Reason.CRASHED, Reason.LOST, Reason.BAD_OUTCOME])
def test_a_phase_of_one_task_that_dies_in_unknown_words_is_for_a_person(
    phase: Phase, reason: Reason
) -> None:
    """After three attempts, whatever the task's own bound is.

    There is no verdict, and there are the words, the task and the remedy.
    """
    campaign = alone(phase)
    (task,) = (record.task.id for record in campaign.state.own_tasks)
    for number in range(3):
        assert not complaint_of(campaign.state)
        state = dies(campaign, reason, f"attempt {number}: undefined symbol: cblas_dgemm")
        assert not {"QuarantineTask", "ReachVerdict"} & set(kinds(campaign))
    said = complaint_of(state)
    assert f"3 attempts of {task}, the only task of its phase" in said
    assert "attempt 2: undefined symbol: cblas_dgemm" in said
    assert "autopipecctl resume" in said
    assert kinds(campaign) == ["PauseCampaign"]
    campaign.tell(campaign.follow(campaign.commands()[0]))
    assert kinds(campaign) == []
    assert said in " ".join(explain(campaign.state, campaign.policy, campaign.now))
    state = campaign.tell(ev.Resumed(at=campaign.now, by=ADA))
    assert [record.failures for record in state.own_tasks] == [()]
    assert kinds(campaign) == ["BeginBatch"]


def test_a_task_alone_that_dies_in_other_words_each_time_is_for_a_person_too() -> None:
    """Nobody knows any of them; resume takes all of them back."""
    campaign = alone(Phase.TRAINING)
    for message in ("undefined symbol", "Segmentation fault", "Illegal something"):
        assert not {"QuarantineTask", "ReachVerdict"} & set(kinds(campaign))
        state = dies(campaign, Reason.CRASHED, message)
    assert "Illegal something" in complaint_of(state)
    campaign.tell(campaign.follow(campaign.commands()[0]))
    state = campaign.tell(ev.Resumed(at=campaign.now, by=ADA))
    assert [record.failures for record in state.own_tasks] == [()]


def test_two_tasks_that_are_all_of_a_phase_and_die_alike_are_for_a_person() -> None:
    """There is no third that could tell."""
    two = [{"prototype": FCC, "temperatures_kelvin": [300, 900], "steps": 1500, "timestep_fs": 2}]
    config = copper_config(exploration={"walkers": two})
    campaign = Walk(config, phase_runners(config))
    campaign.submitted(Phase.EXPLORATION, cycle=1)
    assert len(campaign.state.own_tasks) == 2
    batch = next(iter(campaign.state.batches.values()))
    for index in sorted(batch.live):
        lost(campaign, index, Reason.CRASHED, "undefined symbol")
    assert not complaint_of(campaign.state)
    campaign.until(lambda state: bool(state.batches))
    state = lost(campaign, 0, Reason.CRASHED, "undefined symbol")
    assert "3 attempts" in complaint_of(state)
    assert "QuarantineTask" not in kinds(campaign)


@pytest.mark.parametrize("late", ["dies alike", "dies otherwise", "is labelled"])
def test_late_labels_tell_nothing_of_a_fit_that_is_alone(late: str) -> None:
    """Three attempts of the fit are for a person.

    That holds whatever becomes of a calculation of the round before.
    """
    campaign = late_round()
    round_ = next(iter(campaign.state.batches.values()))
    campaign.until(lambda state: len(state.batches) == 2)
    (task,) = (record.task.id for record in campaign.state.own_tasks)
    for number in range(3):
        if number == 1 and late == "is labelled":
            campaign.tell(campaign.ended(round_.job_name, 1))
        elif number == 1:
            message = "undefined symbol" if late == "dies alike" else "Segmentation fault"
            lost_late = ev.AttemptLost(
                at=campaign.now,
                job_name=round_.job_name,
                index=1,
                reason=Reason.CRASHED,
                message=message,
            )
            campaign.tell(lost_late)
        while not any(batch.tasks == (task,) for batch in campaign.state.batches.values()):
            (begin, *_) = (
                each for each in campaign.commands() if each.type in {"BeginBatch", "SubmitBatch"}
            )
            campaign.tell(campaign.follow(begin))
        (fit,) = (batch for batch in campaign.state.batches.values() if batch.tasks == (task,))
        campaign.tell(
            ev.AttemptLost(
                at=campaign.now,
                job_name=fit.job_name,
                index=0,
                reason=Reason.CRASHED,
                message="undefined symbol",
            )
        )
        assert not {"QuarantineTask", "ReachVerdict"} & set(kinds(campaign))
    assert f"3 attempts of {task}" in complaint_of(campaign.state)
    campaign.tell(
        campaign.follow(next(each for each in campaign.commands() if each.type == "PauseCampaign"))
    )
    state = campaign.tell(ev.Resumed(at=campaign.now, by=ADA))
    assert [record.failures for record in state.own_tasks] == [()]


def test_a_task_alone_that_cannot_be_done_as_asked_is_given_up() -> None:
    """The work half's own words say why, and another attempt would say them again."""
    campaign = alone(Phase.TRAINING)
    dies(campaign, Reason.BAD_INPUT, "labels of 2 different settings")
    assert "QuarantineTask" in kinds(campaign)


def test_a_task_alone_is_given_up_by_causes_that_are_known() -> None:
    """Its own bound holds for them, and unknown ones before them do not count."""
    campaign = alone(Phase.TRAINING)
    dies(campaign, Reason.CRASHED, "undefined symbol")
    dies(campaign, Reason.NUMERICAL, "no coefficients")
    assert "QuarantineTask" in kinds(campaign)


def test_a_task_alone_that_a_person_has_cancelled_is_no_riddle() -> None:
    """It gets no other attempt."""
    campaign = alone(Phase.TRAINING)
    (task,) = (record.task.id for record in campaign.state.own_tasks)
    dies(campaign, Reason.CRASHED, "undefined symbol")
    campaign.tell(ev.TasksCancelled(at=campaign.now, tasks=(task,), by=ADA))
    lost(campaign, 0, Reason.CRASHED, "undefined symbol")
    assert not complaint_of(campaign.state)
    assert "QuarantineTask" in kinds(campaign)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("lmp ended with status 9: KILLED BY SIGNAL: 9 (Killed)", Reason.OUT_OF_MEMORY),
        ("OSError: [Errno 122] Disk quota exceeded", Reason.STORAGE),
        ("lmp ended with status 132: Illegal instruction", Reason.NODE_UNFIT),
        ("lmp ended with status 1: something", Reason.CRASHED),
    ],
)
def test_a_crash_is_sorted_by_its_words(message: str, reason: Reason) -> None:
    """The work half says how a code died; what that means stands in the table."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    outcome = campaign.outcome(batch.job_name, 0, Reason.CRASHED).model_copy(
        update={"message": message}
    )
    event = judge_outcome(
        outcome.model_dump_json().encode(), batch, 0, campaign.state, campaign.now
    )
    assert isinstance(event, ev.TaskEnded)
    assert event.outcome.reason is reason


def test_commands_for_a_person_have_a_subject_of_their_own() -> None:
    """A pause does not wait for what is in flight."""
    assert cm.PauseCampaign(reason="x").subject not in {"campaign", "site"}


# --- what is kept, and taken back -----------------------------------------------------------------


def test_the_last_of_equal_faults_of_the_site_stands_for_all() -> None:
    """However long it is in trouble; a task's own failures are counted one by one."""
    record = next(iter(walk().planned(Phase.CALCULATION).tasks.values()))
    own, site, node = Reason.NUMERICAL, Reason.STORAGE, Reason.NODE_FAILURE
    for number, reason in enumerate([own, site, site, node, site, own, own]):
        failures = _with_failure(record, Failure(job_name=str(number), reason=reason, message="no"))
        record = record.model_copy(update={"failures": failures})
    assert [(failure.job_name, failure.reason) for failure in record.failures] == [
        ("0", own),
        ("2", site),
        ("3", node),
        ("4", site),
        ("5", own),
        ("6", own),
    ]


@pytest.mark.parametrize(
    "held",
    [
        {"complaint": "mend it"},
        {"trouble": "drained"},
        {"nodes": {"n01": "sick"}},
        {"site": ev.SiteHealth.DEGRADED},
        {"deferrals": {"batch:x": "later"}},
        {"pause": "a person's"},
    ],
)
def test_whatever_is_held_back_can_be_resumed(held: dict[str, object]) -> None:
    """Each by itself; where nothing is, there is nothing to resume."""
    assert is_resumable(WorkflowState().model_copy(update=held))
    assert not is_resumable(WorkflowState())
