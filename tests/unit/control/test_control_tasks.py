"""Tasks for people who ask: from the journal alone, with every attempt, folded to any terminal."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from kit.campaign import Campaign, calculate, structure, walk, whole_campaign
from kit.golden import GOLDEN

from mlip_autopipec.contract.words import Role
from mlip_autopipec.control.task_screen import document_lines, list_lines
from mlip_autopipec.control.tasks import (
    STATES,
    TaskBook,
    TaskDocument,
    TaskList,
    UnknownTask,
    book_of,
    task_document,
    task_list,
)
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason
from mlip_autopipec.data_models.state import TaskStatus
from mlip_autopipec.journal.replay import read
from mlip_autopipec.orchestration.strategies import resources_for

JOURNALS = sorted(path.parent for path in GOLDEN.glob("*/*/expected.json"))


def exploring() -> tuple[Campaign, Sequence[str], str]:
    """Three walkers that are handed over; their ids, and the job name."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    tasks = campaign.start(Phase.EXPLORATION, [(walk(t, 1), ()) for t in (300.0, 900.0, 1200.0)])
    job_name = campaign.submit(tasks)
    return campaign, [task.id for task in tasks], job_name


@pytest.mark.parametrize("folder", JOURNALS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_task_of_a_journal_is_there_with_its_attempts(folder: Path) -> None:
    """Each stands as the state has it; what is over has an end, and failures are the record's."""
    events = [record.event for record in read(folder)]
    book = book_of(events)
    planned = [
        task.id for event in events if isinstance(event, ev.PhaseStarted) for task in event.tasks
    ]
    listed = task_list(book)
    assert [line.task for line in listed.tasks] == list(dict.fromkeys(planned))
    begun = sum(len(event.tasks) for event in events if isinstance(event, ev.SubmissionBegun))
    assert sum(len(tried) for tried in book.attempts.values()) == begun
    live = {
        (batch.job_name, index) for batch in book.state.batches.values() for index in batch.live
    }
    seen_live = {
        (a.job_name, a.index)
        for tried in book.attempts.values()
        for a in tried
        if a.ending == "live"
    }
    assert seen_live == live
    for line in listed.tasks:
        record = book.state.tasks.get(line.task) or book.state.quarantine.get(line.task)
        if record is not None:
            assert (line.state, line.job_state) == (record.status, record.job_state)
        document = task_document(book, line.task)
        assert TaskDocument.model_validate_json(document.model_dump_json()) == document
        assert all(
            (attempt.ended_at is None) == (attempt.ending == "live")
            for attempt in document.attempts
        )
        assert list(document_lines(document, 60))
    assert TaskList.model_validate_json(listed.model_dump_json()) == listed


def test_what_a_phase_left_behind_is_still_told() -> None:
    """Tasks of cycles that have closed are in no state; the list has them, as they stood then."""
    book = book_of(whole_campaign().events)
    by_phase = {phase: task_list(book, phase).tasks for phase in Phase}
    assert all(by_phase.values())
    assert {line.state for line in by_phase[Phase.TRAINING]} == {TaskStatus.DONE}
    assert [line.what for line in by_phase[Phase.EXPLORATION]][:2] == [
        "Cu fcc 300 K nvt",
        "Cu fcc 900 K nvt",
    ]
    assert not book.state.tasks


def test_an_attempt_that_failed_says_why_and_where_and_the_next_asks_for_more() -> None:
    """Out of memory on a node; tried again with twice as much; then lost with a node's name."""
    campaign, (first, *_), job_name = exploring()
    task = campaign.state.tasks[first].task
    campaign.end(task, None, 0, 5, reason=Reason.OUT_OF_MEMORY)
    asked = resources_for(campaign.state.tasks[first])
    again = campaign.submit([task])
    campaign.add(
        ev.AttemptLost(
            at=campaign.now, job_name=again, index=0, reason=Reason.LOST, message="gone", node="n7"
        )
    )
    document = task_document(book_of(campaign.events), first)
    before, after = document.attempts
    assert (before.job_name, before.ending, before.reason, before.node) == (
        job_name,
        "failed",
        Reason.OUT_OF_MEMORY,
        "node1",
    )
    assert after.asked == asked != before.asked
    assert (after.ending, after.reason, after.node, after.message) == (
        "lost",
        Reason.LOST,
        "n7",
        "gone",
    )
    assert document.state is TaskStatus.FAILED
    message = "\n".join(document_lines(document, None))
    assert "failed (out_of_memory): job 4711_0 on node1" in message
    assert "gone" in message


def test_a_refused_submission_is_no_attempt_of_its_task() -> None:
    """It is shown with the scheduler's words, and the task may begin as before."""
    campaign, names, _ = exploring()
    campaign.end(campaign.state.tasks[names[0]].task, None, 0, 5, reason=Reason.CRASHED)
    job_name = "copper-3f9a1c.c001.exploration.b01"
    campaign.add(ev.SubmissionBegun(at=campaign.now, job_name=job_name, tasks=(names[0],)))
    campaign.add(
        ev.SubmissionRejected(
            at=campaign.now, job_name=job_name, message="invalid partition", mender=Mender.PERSON
        )
    )
    book = book_of(campaign.events)
    document = task_document(book, names[0])
    assert [attempt.ending for attempt in document.attempts] == ["failed", "refused"]
    assert document.attempts[1].message == "invalid partition"
    (line,) = task_list(book, failed=True).tasks
    assert (line.attempts, line.failures, line.reason) == (1, 1, Reason.CRASHED)


def test_the_list_is_cut_down_to_what_is_asked_for() -> None:
    """By phase, by state of the task or of its job, by failure; and it says of how many."""
    campaign, names, job_name = exploring()
    running = ev.Sighting(
        job_name=job_name, index=1, state=ev.JobState.RUNNING, detail="running on n1"
    )
    waiting = ev.Sighting(job_name=job_name, index=2, state=ev.JobState.WAITING, detail="Priority")
    campaign.add(ev.JobsSighted(at=campaign.now, sightings=(running, waiting)))
    campaign.end(campaign.state.tasks[names[0]].task, None, 0, 5, reason=Reason.CRASHED)
    book = book_of(campaign.events)

    def asked(*states: str) -> list[str]:
        return [line.task for line in task_list(book, Phase.EXPLORATION, states).tasks]

    assert asked("running") == [names[1]]
    assert asked("submitted") == names[1:]
    assert asked("running", "failed") == names[:2]
    assert [line.task for line in task_list(book, failed=True).tasks] == [names[0]]
    assert task_list(book, Phase.EXPLORATION).all_tasks > 3
    assert set(STATES) >= {str(line.state) for line in task_list(book).tasks}
    document = task_document(book, names[2])
    assert "its job is waiting (Priority)" in "\n".join(document_lines(document, None))


def test_a_task_is_found_by_the_beginning_of_its_id() -> None:
    """One that several have is not guessed; a typing error gets the nearest."""
    campaign, names, _ = exploring()
    book = book_of(campaign.events)
    assert task_document(book, names[1].rpartition("-")[0]).task == names[1]
    with pytest.raises(UnknownTask, match=r"3 tasks begin with 'c001\.exploration'") as several:
        task_document(book, "c001.exploration")
    assert several.value.exit_code == 2
    with pytest.raises(UnknownTask, match=rf"no task is called .*; the nearest are {names[0]}"):
        task_document(book, names[0].replace("exploration", "explration"))
    with pytest.raises(UnknownTask, match="`autopipecctl tasks` lists them"):
        task_document(book, "xyz")


def widths(book: TaskBook, width: int) -> list[str]:
    return [
        *list_lines(task_list(book), width),
        *(
            line
            for name in book.records
            for line in document_lines(task_document(book, name), width)
        ),
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_nothing_is_cut_and_nothing_is_wider_than_the_terminal(width: int) -> None:
    """But for a path or a name, which stays whole to be copied; no ellipsis stands anywhere."""
    book = book_of(whole_campaign().events)
    lines = widths(book, width)
    assert [line for line in lines if len(line) > width and " " in line.strip()] == []
    assert "…" not in "".join(lines)
    message = " ".join(" ".join(lines).split())
    assert all(" ".join(task_document(book, name).what.split()) in message for name in book.records)


def test_what_does_not_go_to_a_terminal_is_one_line_for_each_task() -> None:
    """So that grep finds a whole task."""
    book = book_of(whole_campaign().events)
    head, *rows, foot = list_lines(task_list(book), None)
    assert head.split() == ["task", "state", "tries", "took", "what"]
    assert len(rows) == len(book.records)
    assert foot.startswith(f"{len(rows)} tasks, as of event {book.state.seq}, ")


def test_what_was_used_stands_beside_what_was_asked() -> None:
    """Wall time of the walltime, CPU of the cores."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    (task,) = campaign.start(Phase.EXPLORATION, [(walk(300.0, 1), ())])
    campaign.submit([task])
    book = book_of(campaign.events)
    document = task_document(book, task.id, "login:/scratch")
    attempt = document.attempts[0].model_copy(
        update={"ending": "done", "wall_s": 360.0, "cpu_s": 180.0, "started_at": campaign.now}
    )
    attempt = attempt.model_copy(update={"ended_at": campaign.now + timedelta(seconds=360)})
    message = "\n".join(document_lines(document.model_copy(update={"attempts": (attempt,)}), None))
    assert (
        "asked 1 core, 2 GiB, 1 h 00 min; used 6 min 00 s (10% of its walltime), 3 min 00 s of"
        " CPU (50%"
    ) in message
    assert f"login:/scratch/{task.workdir}" in message


def test_a_label_says_where_its_structure_came_from_and_what_it_is_for() -> None:
    campaign = Campaign()
    campaign.create()
    campaign.generation()
    asked = [
        structure("a.xyz", Role.TEST, "rattled"),
        structure("b.xyz", Role.ISOLATED_ATOM, "Cu alone"),
    ]
    campaign.start(Phase.CALCULATION, [(calculate(item), ()) for item in asked])
    lines = task_list(book_of(campaign.events), Phase.CALCULATION).tasks
    assert [line.what for line in lines] == [
        "rattled: by hand (test set)",
        "Cu alone: by hand (isolated atom)",
    ]
