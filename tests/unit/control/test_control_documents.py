"""The documents say what is, in bounded size, and the screen says the same to a person."""

import io
from dataclasses import replace
from datetime import timedelta

import pytest
from kit.control import BEGIN, CREATED, POLICY, working
from rich.console import Console

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.results.train import Errors, PastErrors
from mlip_autopipec.control.api import Status
from mlip_autopipec.control.documents import ACTIVE_TASKS_MAX, LINES_MAX, metrics_text, view
from mlip_autopipec.control.screen import render_status
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.digest import CycleSummary, Need, Remedy
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import ActiveTask, WorkflowState
from mlip_autopipec.orchestration.machine import evolve

JOB_NAME = "copper-3f9a1c.c000.generation.b00"
ACTOR = ev.Actor(uid=1000, pid=7, name="ada")
TEST = Errors(structures=6, energy_mev_per_atom=0.264, force_mev_per_angstrom=4.21)
# of the first, on the last test set
TODAY = Errors(structures=9, energy_mev_per_atom=1.31, force_mev_per_angstrom=70.4)


def fold(*events: ev.Event) -> WorkflowState:
    """The state after events."""
    state = WorkflowState()
    for event in events:
        state = evolve(state, event)
    return state


def later() -> WorkflowState:
    """A campaign that has closed two cycles and has a potential."""
    file = FileRef(path="potentials/001/potential.yaml", sha256="0" * 64)
    potential = Potential(
        cycle=1,
        folder="potentials/001",
        files={"yaml": file, "asi": file, "yace": file},
        fingerprint="f",
        test=TEST,
        reference_energies_ev={"Cu": 0.0},
    )
    cycles = (
        CycleSummary(
            cycle=0, bootstrap=True, labels_train=12, labels_test=6, promoted=True, test=TEST
        ),
        CycleSummary(
            cycle=1,
            bootstrap=False,
            walkers=4,
            halts=3,
            labels_train=5,
            labels_failed=1,
            promoted=False,
        ),
    )
    measured = (PastErrors(cycle=0, errors=TODAY), PastErrors(cycle=1, errors=TEST))
    update = {"potential": potential, "cycles": cycles, "cycle_index": 2, "measured": measured}
    return fold(CREATED).model_copy(update=update)


@pytest.mark.parametrize("width", [60, 80])
def test_nothing_of_a_status_is_cut(width: int) -> None:
    """Ids, jobs, numbers and heads are whole at 60 columns too; what lacks room beside is below."""
    state = later()
    status = view(state, POLICY, BEGIN).status
    names = [f"c002.calculation.{number:04d}-f9d1c2" for number in range(3)]
    active = tuple(
        ActiveTask(
            task=name,
            job_name=JOB_NAME,
            index=index,
            job_id="6833.2582116",
            job_state=ev.JobState.RUNNING,
        )
        for index, name in enumerate(names)
    )
    progress = {names[0]: Progress(done=0.5, message="step 500 of 1000")}
    shown = screen(status.model_copy(update={"active_tasks": active, "progress": progress}), width)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for message in (*names, "6833.2582116_2", "promoted", "walkers", "70.4"):
        assert message in shown
    assert all(word in shown for word in ("50%,", "step", "1000"))


def screen(status: Status, width: int = 110) -> str:
    """The view, without colour."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(render_status(status))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_status_of_a_campaign_at_work() -> None:
    """Place, counts by status and live attempts are those of the state."""
    status = view(fold(*working(3)), POLICY, BEGIN).status
    assert (status.campaign, status.status, status.cycle, status.phase) == (
        "copper-3f9a1c",
        "running",
        0,
        "generation",
    )
    assert status.tasks == {"ready": 0, "submitted": 3, "done": 0, "failed": 0, "quarantined": 0}
    assert fold(*working(3)).active_tasks == status.active_tasks
    assert (status.seq, status.now, status.active_tasks_count) == (4, BEGIN, 3)
    assert status.explain == (
        "Cycle 0, generation: 3 submitted.",
        f"{JOB_NAME} is job 4711: 3 not seen yet.",
    )


def test_status_survives_the_wire() -> None:
    """What the client reads is what the server wrote."""
    for state in (WorkflowState(), fold(*working(2)), later()):
        status = view(state, POLICY, BEGIN).status
        assert status == Status.model_validate_json(status.model_dump_json())


@pytest.mark.slow
def test_status_stays_small_with_ten_thousand_tasks() -> None:
    """Live attempts are counted and the first are shown; explain's lines are cut, and say so."""
    missing = tuple(
        ev.Sighting(job_name=JOB_NAME, index=index, state=ev.JobState.ABSENT)
        for index in range(10_000)
    )
    state = fold(*working(10_000), ev.JobsSighted(at=BEGIN, sightings=missing))
    now = BEGIN + POLICY.grace + timedelta(seconds=1)
    status = view(state, POLICY, now).status
    assert status.active_tasks_count == 10_000
    assert state.active_tasks[:ACTIVE_TASKS_MAX] == status.active_tasks
    every = view(state, POLICY, now).explanation.lines
    assert (*every[:LINES_MAX], f"… and {len(every) - LINES_MAX} more lines.") == status.explain
    assert len(status.model_dump_json()) < 50_000


def test_a_view_holds_until_the_state_or_the_time_changes_it() -> None:
    """Within its time a new view says the same; at its end, and for another state, it may not."""
    until = BEGIN + timedelta(seconds=90)
    put_off = ev.EffectDeferred(at=BEGIN, subject="campaign", message="disk full", until=until)
    state = fold(CREATED, put_off)
    seen = view(state, POLICY, BEGIN)
    almost = until - timedelta(microseconds=1)
    assert seen.holds(state, almost)
    assert view(state, POLICY, almost).explanation == seen.explanation
    assert not seen.holds(state, until)
    assert view(state, POLICY, until).explanation != seen.explanation
    assert not seen.holds(fold(CREATED, put_off, put_off), BEGIN)
    assert view(fold(CREATED), POLICY, BEGIN).until is None


def test_metrics_sum_over_closed_cycles() -> None:
    """Labels by role, and halts."""
    lines = metrics_text(later()).splitlines()
    assert {
        'autopipec_labels{role="train"} 17',
        'autopipec_labels{role="test"} 6',
        'autopipec_labels{role="failed"} 1',
        "autopipec_halts 3",
        "autopipec_cycle 2",
        'autopipec_phase{phase="training"} 0',
    } <= set(lines)


def test_every_metric_has_its_type_before_its_samples() -> None:
    """As the text format wants it: HELP, TYPE, then samples of that name only."""
    names: list[str] = []
    for line in metrics_text(later()).splitlines():
        if line.startswith("# TYPE "):
            names.append(line.split()[2])
        elif not line.startswith("#"):
            assert line.partition("{")[0].split()[0] == names[-1]
    assert len(names) == len(set(names))


def test_the_screen_shows_cycles_and_potential() -> None:
    """Labels and halts of each cycle, and its errors on the test set of the last fit.

    The current potential's errors are there too.
    """
    text = screen(view(later(), POLICY, BEGIN).status)
    assert "potential potentials/001: test errors 0.26 meV/atom, 4.2 meV/Å" in text
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["0", "–", "–", "12", "6", "1.31", "70.4", "promoted"] in rows
    assert ["1", "4", "3", "5", "0", "–", "–", "–"] in rows


def test_the_screen_says_what_the_potential_is_made_of() -> None:
    """Stress error, functions, cutoff and cost, as far as the journal tells them."""
    status = view(later(), POLICY, BEGIN).status
    assert status.potential is not None
    brief = status.potential.model_copy(
        update={
            "test": replace(TEST, stress_gpa=0.1234),
            "functions_per_element": {"Cu": 140, "Au": 139},
            "cutoff_angstrom": 5.25,
            "cost_us": 18.7,
        }
    )
    text = " ".join(
        screen(status.model_copy(update={"potential": brief})).replace("│", " ").split()
    )
    assert (
        "4.2 meV/Å, 0.123 GPa; functions per element Cu 140, Au 139, cutoff 5.25 Å, 19 µs per"
        " atom and step"
    ) in text


def test_the_screen_says_where_a_potential_is_not_right_yet() -> None:
    """How many needs are met, and why a campaign that is quiet goes on."""
    need = Need(
        condition="Cu fcc 900 K nvt",
        quantity="force",
        unit="meV/Å",
        frames=4,
        error=44.1,
        bound=52.0,
        need=30.0,
        met=False,
    )
    met = need.model_copy(update={"condition": "Cu fcc 300 K nvt", "met": True})
    remedy = Remedy(kind="advice", message="Cu fcc 900 K nvt is off: ask for more functions")
    state = later()
    last = state.cycles[-1].model_copy(
        update={"quiet": True, "needs": (met, need), "remedy": remedy}
    )
    text = screen(
        view(state.model_copy(update={"cycles": (state.cycles[0], last)}), POLICY, BEGIN).status,
        200,
    )
    assert "needs: 1 of 2 met" in text
    assert "not as right as asked: Cu fcc 900 K nvt is off: ask for more functions." in text


def test_the_screen_shows_active_tasks() -> None:
    """Task, job and state; what does not fit is counted."""
    state = fold(
        *working(20),
        ev.JobsSighted(
            at=BEGIN,
            sightings=(ev.Sighting(job_name=JOB_NAME, index=0, state=ev.JobState.RUNNING),),
        ),
    )
    text = screen(view(state, POLICY, BEGIN).status)
    assert "Active tasks (15 of 20)" in text
    assert f"{state.active_tasks[0].task} │ 4711_0  │ running" in text
    assert "4711_14 │ not seen yet" in text
    assert "4711_15" not in text
    assert "cycle 0, generation (working): 20 submitted" in text


def test_the_screen_shows_how_far_a_task_is() -> None:
    """In the task's own words, which are no markup; without any there is no such column."""
    status = view(fold(*working(2)), POLICY, BEGIN).status
    assert "how far" not in screen(status)
    progress = Progress(done=0.3, message="loss [red]0.0123[/red]")
    status = status.model_copy(update={"progress": {status.active_tasks[1].task: progress}})
    text = screen(status)
    assert "how far" in text
    assert all(task.task in screen(status, width=80) for task in status.active_tasks)
    assert "30%, loss [red]0.0123[/red]" in text


def test_the_screen_says_when_a_task_has_no_job_yet() -> None:
    """Between intent and the scheduler's answer."""
    status = view(fold(*working(1)[:3]), POLICY, BEGIN).status
    assert status.active_tasks == (
        ActiveTask(
            task=status.active_tasks[0].task,
            job_name=JOB_NAME,
            index=0,
            job_id=None,
            job_state=None,
        ),
    )
    assert "being submitted" in screen(status)


def test_the_screen_shows_only_the_last_cycles() -> None:
    """After many cycles the table says how many it leaves out."""
    cycles = tuple(CycleSummary(cycle=index, bootstrap=False) for index in range(30))
    text = screen(view(later().model_copy(update={"cycles": cycles}), POLICY, BEGIN).status)
    assert "Cycles (the first 18 left out)" in text


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (
            ev.Paused(at=BEGIN, by=ACTOR, reason="budget"),
            "paused by ada since 2026-01-31 12:00:00 UTC: budget",
        ),
        (ev.Paused(at=BEGIN, by=ACTOR), "no reason given"),
        (
            ev.SiteChanged(at=BEGIN, health=ev.SiteHealth.DEGRADED, message="no route"),
            "site degraded: no route",
        ),
        (
            ev.VerdictReached(at=BEGIN, verdict=Verdict.STALLED, reason="no progress"),
            "verdict stalled: no progress",
        ),
    ],
)
def test_the_screen_says_what_a_person_must_know(event: ev.Event, message: str) -> None:
    """Pause, site and verdict stand in the header."""
    assert message in screen(view(fold(CREATED, event), POLICY, BEGIN).status)


def test_words_of_others_are_not_taken_for_markup() -> None:
    """Square brackets in a reason or a scheduler's message are shown as they are."""
    paused = ev.Paused(at=BEGIN, by=ACTOR, reason="[red]disk[/red] [1]")
    text = screen(view(fold(CREATED, paused), POLICY, BEGIN).status)
    assert text.count("[red]disk[/red] [1]") == 2


def test_the_screen_of_no_campaign() -> None:
    """Before the first event there is little to say, and it is said."""
    assert "no campaign yet" in screen(view(WorkflowState(), POLICY, BEGIN).status)
