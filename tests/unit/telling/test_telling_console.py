"""What a person sees in the foreground."""

import io
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from kit.campaign import BEGAN, Campaign, calculate, file_ref, whole_campaign

from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.telling.console import ConsoleProgress, final_text

_CURSOR_SHOWN = "\x1b[?25h"


class HandClock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.at = BEGAN

    def now(self) -> datetime:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        """Moves the clock."""
        self.at += timedelta(seconds=delay_s)


class BrokenStream(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, _: str) -> int:
        raise BrokenPipeError("nobody reads")


def shown(campaign: Campaign, stream: io.StringIO, *, interactive: bool = False) -> ConsoleProgress:
    """Let the events pass, each at its own time."""
    clock, replay = HandClock(), Campaign()
    progress = ConsoleProgress(stream, interactive=interactive, clock=clock)
    with progress:
        for event in campaign.events:
            clock.at = event.at
            replay.add(event)
            progress(event, replay.state)
    return progress


def test_one_line_per_interesting_event() -> None:
    """Lines begin with the elapsed time; what is only routine is left out."""
    stream = io.StringIO()
    shown(whole_campaign(learning_cycles=1), stream)
    lines = stream.getvalue().splitlines()
    assert lines[:5] == [
        "0:00:00  campaign copper-3f9a1c created by version 0.1.0",
        "0:00:00  daemon 0.1.0 started on login1, pid 42",
        "0:00:00  cycle 0 generation: 1 task planned",
        "0:00:01  copper-3f9a1c.c000.generation.b00 is job 4711",
        "0:00:09  6 structures generated",
    ]
    assert lines[-1] == "0:02:39  verdict converged: all walkers <completed>"
    assert not any("about to submit" in line for line in lines)


def test_labels_that_come_together_share_a_line() -> None:
    """The first in its own words, then how many there are.

    One that comes alone has its words again, and so has a failure.
    """
    campaign = Campaign()
    campaign.create()
    made = campaign.generation()
    tasks = campaign.start(
        Phase.CALCULATION,
        [(calculate(item), (Input(name="structure", file=item.file),)) for item in made],
    )
    campaign.submit(tasks)
    begun_s = campaign.at_s
    metrics = CalculateMetrics(
        energy_ev=-112.0,
        n_atoms=32,
        force_max_ev_per_angstrom=1.25,
        pressure_gpa=0.5,
        settings="emt",
    )
    for task, after_s in zip(tasks[:5], (1, 2, 3, 14, 40), strict=True):
        label = {"label": file_ref(f"{task.workdir}/label.xyz")}
        campaign.end(task, metrics, begun_s, begun_s + after_s, label)
    campaign.end(tasks[5], None, begun_s, begun_s + 41, reason=Reason.CRASHED)
    stream = io.StringIO()
    shown(campaign, stream)
    lines = [line[9:] for line in stream.getvalue().splitlines()]
    assert lines[-4:-1] == [
        f"{tasks[0].id} labelled: -3.500 eV/atom, largest force 1.25 eV/Å",
        "4 of 6 labelled",
        f"{tasks[4].id} labelled: -3.500 eV/atom, largest force 1.25 eV/Å",
    ]
    assert "crashed" in lines[-1]


def test_a_passing_fault_is_not_worth_a_line_until_it_lasts() -> None:
    """The third deferral in a row is told, once; sightings never are."""
    campaign = Campaign()
    campaign.create()
    for number in range(5):
        until = campaign.now + timedelta(seconds=number)
        campaign.add(
            ev.EffectDeferred(
                at=campaign.now, subject="campaign", message=f"limit {number}", until=until
            )
        )
    stream = io.StringIO()
    shown(campaign, stream)
    assert [line for line in stream.getvalue().splitlines() if "limit" in line] == [
        "0:00:00  campaign is put off until 12:00:02 UTC: limit 2"
    ]


@pytest.mark.parametrize("interactive", [False, True])
def test_a_broken_stream_silences_it(interactive: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A campaign does not end because nobody watches."""
    progress = shown(whole_campaign(learning_cycles=1), BrokenStream(), interactive=interactive)
    assert isinstance(progress.failure, BrokenPipeError)


@pytest.mark.parametrize("interactive", [False, True])
def test_a_closed_stream_silences_it(interactive: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The same for a stream that was closed."""
    stream = io.StringIO()
    stream.close()
    progress = shown(whole_campaign(learning_cycles=1), stream, interactive=interactive)
    assert isinstance(progress.failure, ValueError)


def test_a_terminal_without_greek_gets_question_marks(tmp_path: Path) -> None:
    """An encoding that has no γ is no reason to fail."""
    campaign, clock = whole_campaign(learning_cycles=1), HandClock()
    paused = campaign.add(
        ev.SiteChanged(at=campaign.now, health=ev.SiteHealth.DEGRADED, message="γ")
    )
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        progress = ConsoleProgress(stream, interactive=False, clock=clock)
        progress(paused, campaign.state)
    assert (progress.failure, (tmp_path / "out").read_text()) == (
        None,
        "0:00:00  the site is degraded: ?\n",
    )


def test_a_terminal_has_a_footer() -> None:
    """The footer shows where the campaign is and a row per closed cycle; lines scroll above it."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    campaign.exploration(halts=True)
    campaign.calculation(campaign.selection())
    stream = io.StringIO()
    shown(campaign, stream, interactive=True)
    text = stream.getvalue()
    assert "cycle 0 generation: 1 task planned" in text
    assert "cycle 1  calculation" in text
    assert "cycle 1  exploration  1/2 tasks" in text
    row = next(line for line in reversed(text.splitlines()) if "promoted" in line)
    assert row.split()[-6:] == ["0", "6", "–", "16.00", "80.0", "promoted"]
    assert text.endswith(_CURSOR_SHOWN)


def test_the_footer_shows_the_loss_of_a_running_fit() -> None:
    """In the task's own words, on one line, and no more of them than there is room for."""
    stream, campaign = io.StringIO(), Campaign()
    campaign.create()
    message = "stage 1 of 2, iteration 40: loss 0.0123,\n[b]4.56[/b] meV/atom"
    seen_progress = {
        f"c001.training.000{number}": Progress(done=0.3, message=message) for number in range(9)
    }
    progress = ConsoleProgress(
        stream, interactive=True, clock=HandClock(), running=lambda: seen_progress
    )
    with progress:
        progress(campaign.events[-1], campaign.state)
    lines = stream.getvalue().splitlines()
    line = "  c001.training.0003  30%  stage 1 of 2, iteration 40: loss 0.0123, [b]4.56"
    assert any(line in shown for shown in lines)
    assert not any("training.0004" in shown for shown in lines)


def test_the_footer_says_that_a_campaign_is_paused() -> None:
    """Somebody who looks at a quiet terminal wants to know why."""
    campaign = Campaign()
    campaign.create()
    campaign.add(ev.Paused(at=campaign.now, by=ev.Actor(uid=0, pid=1, name="root")))
    stream = io.StringIO()
    shown(campaign, stream, interactive=True)
    assert "cycle 0  between two cycles  0:00:00  paused" in stream.getvalue()


def test_final_words(tmp_path: Path) -> None:
    """The closing block has the verdict, its reason, the cycles in columns, and both places."""
    message = final_text(whole_campaign(learning_cycles=1).state, tmp_path / "report.html")
    assert message.splitlines() == [
        "copper-3f9a1c: converged",
        "all walkers <completed>",
        "",
        "cycle  labels  halts  test E meV/atom  test F meV/Å  potential",
        "    0       6      –            17.60          88.0   promoted",
        "    1       3    0/2             8.00          40.0   promoted",
        "",
        "force      88.0 meV/Å for the first potential, 40.0 now, both on the last test set",
        "potential  potentials/001",
        f"report     {tmp_path / 'report.html'}",
    ]


def test_final_words_of_a_campaign_that_gave_nothing() -> None:
    """A daemon that is stopped at once still has something to say."""
    assert final_text(WorkflowState(campaign="copper-1"), Path("r.html")).splitlines() == [
        "copper-1: running",
        "",
        "potential  none yet",
        "report     r.html",
    ]


def test_a_cycle_without_a_fit_says_so() -> None:
    """A quiet cycle may ask for no label, and then there is nothing to fit."""
    campaign = whole_campaign(learning_cycles=1)
    summary = campaign.state.cycles[0].model_copy(update={"test": None, "promoted": False})
    lines = final_text(
        campaign.state.model_copy(update={"cycles": (summary,)}), Path("r")
    ).splitlines()
    assert lines[4].split() == ["0", "6", "–", "–", "–", "no", "fit"]


def test_no_column_of_errors_rises_while_potentials_improve() -> None:
    """Test sets grow harder; every potential is measured again on the last one.

    Only those figures are shown.
    """
    campaign = whole_campaign(learning_cycles=3)
    rows = [line.split() for line in final_text(campaign.state, Path("r")).splitlines()[4:8]]
    forces = [float(row[4]) for row in rows]
    assert forces == sorted(forces, reverse=True)
    assert [past.cycle for past in campaign.state.measured] == [0, 1, 2, 3]
    assert forces == [
        round(past.errors.force_mev_per_angstrom, 1) for past in campaign.state.measured
    ]
