"""The live screen: what it shows of a campaign, on any size of terminal.

Nothing is cut in the middle of a line.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from kit.campaign import BEGAN, Campaign, calculate, structure, train, walk, whole_campaign
from kit.golden import GOLDEN

from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.words import Role
from mlip_autopipec.control.paint import Row, plain
from mlip_autopipec.control.watch_screen import Recent, Seen, frame
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import Need
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.journal.replay import fold, read
from mlip_autopipec.telling.describe import describe

JOURNALS = sorted(path.parent for path in GOLDEN.glob("*/*/expected.json"))


def seen(campaign: Campaign, **more: object) -> Seen:
    """As watch would see it."""
    recent = [
        Recent(number, event.at, describe(event)) for number, event in enumerate(campaign.events, 1)
    ]
    return Seen(campaign.state, campaign.now, recent[-40:], **more)  # type: ignore[arg-type]


def text(rows: Sequence[Row]) -> str:
    return "\n".join(plain(row) for row in rows)


def walking() -> tuple[Campaign, list[str]]:
    """Three walkers: one halted, one that runs, one that waits."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    tasks = campaign.start(Phase.EXPLORATION, [(walk(t, 1), ()) for t in (300.0, 900.0, 1200.0)])
    job_name = campaign.submit(tasks)
    campaign.add(
        ev.JobsSighted(
            at=campaign.now,
            sightings=(
                ev.Sighting(
                    job_name=job_name, index=1, state=ev.JobState.RUNNING, detail="running on n1"
                ),
                ev.Sighting(
                    job_name=job_name, index=2, state=ev.JobState.HELD, detail="JobHeldUser"
                ),
            ),
        )
    )
    return campaign, [task.id for task in tasks]


def needs(state: WorkflowState, *conditions: str) -> WorkflowState:
    """With a need of each condition in the last closed cycle; the last of them is not met."""
    made = tuple(
        Need(
            condition=name, quantity=(
                "force"
            ), unit=(
                "meV/Å"
            ), frames=4, error=12.3, bound=15.6, need=30.0,
            met=name != conditions[-1],
        )
        for name in conditions
    )  # fmt: skip
    last = state.cycles[-1].model_copy(update={"needs": made})
    return state.model_copy(update={"cycles": (*state.cycles[:-1], last)})


def test_walkers_stand_beside_the_levels_that_they_are_watched_at() -> None:
    """γ of those that run comes with their progress.

    What waits says so, with the scheduler's reason below.
    """
    campaign, names = walking()
    progress = {names[1]: Progress(done=0.4, message="step 400 of 1000", gamma_max=3.21)}
    shown = text(frame(seen(campaign, progress=progress), 80, 24))
    assert "[>] exploration 0/3" in shown
    assert "γ: collects above 2.00, halts above 10.0" in shown
    rows = [" ".join(line.split()) for line in shown.splitlines()]
    assert "Cu fcc 900 K nvt 40% γ 3.21 > select" in rows
    assert "Cu fcc 1200 K nvt held" in rows
    assert "1 held: JobHeldUser" in shown


def test_a_campaign_is_shown_through_all_of_its_phases() -> None:
    """Labels done of asked, how far the fit is, errors beside needs, and the last events."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    campaign.learn(halts=True)
    campaign.state = needs(campaign.state, "Cu fcc 300 K nvt", "Cu fcc 900 K nvt")
    campaign.exploration(halts=False)
    chosen = campaign.selection()
    asked = [structure(f"{number}.xyz", Role.TRAIN, "halt") for number in range(5)]
    assert chosen
    tasks = campaign.start(Phase.CALCULATION, [(calculate(item), ()) for item in asked])
    campaign.submit(tasks)
    campaign.end(tasks[0], None, 0, 1, reason=Reason.CRASHED)
    shown = text(frame(seen(campaign), 80, 24))
    assert "[x] exploration  [x] selection  [>] calculation 0/5  [ ] training" in shown
    assert "[............] 0 of 5 done, 1 failed, 4 submitted" in shown
    assert "1 of 2 needs met at the end of cycle 1" in shown
    assert "Cu fcc 900 K nvt  force   12.3 (≤ 15.6) of 30.0 meV/Å !" in shown
    assert "failed (crashed)" in shown.splitlines()[-1] + shown.splitlines()[-2]


def test_how_far_the_fit_is_and_what_it_came_to() -> None:
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    shown = text(frame(seen(campaign), 80, 24))
    assert "(potential of cycle 0)" in shown
    campaign.exploration(halts=True)
    structures = campaign.selection()
    campaign.calculation(structures)
    (task,) = campaign.start(Phase.TRAINING, [(train(1), ())])
    campaign.submit([task])
    progress = {task.id: Progress(done=0.5, message="stage 1, iteration 40: loss 0.0123")}
    assert "fit      50%, stage 1, iteration 40: loss 0.0123" in text(
        frame(seen(campaign, progress=progress), 80, 24)
    )


def test_what_a_person_should_see_first_stands_above() -> None:
    """A pause, a site in trouble, a verdict, a daemon that is gone."""
    campaign, _ = walking()
    actor = ev.Actor(uid=1, pid=1, name="ada")
    campaign.add(
        ev.SiteChanged(at=campaign.now, health=ev.SiteHealth.DEGRADED, message="no route to host")
    )
    campaign.add(ev.Paused(at=campaign.now, by=actor, reason="maintenance"))
    shown = text(
        frame(seen(campaign, absence="no daemon runs; as of event 9"), 80, 24)
    ).splitlines()
    assert shown[2:5] == [
        "no daemon runs; as of event 9",
        "paused by ada: maintenance",
        "site degraded: no route to host",
    ]
    campaign.add(ev.VerdictReached(at=campaign.now, verdict=Verdict.STALLED, reason="no progress"))
    assert "verdict stalled: no progress" in text(frame(seen(campaign), 80, 24))


@pytest.mark.parametrize(
    ("columns", "lines"), [(80, 24), (60, 24), (60, 12), (120, 50), (40, 10), (20, 4)]
)
def test_it_fits_any_terminal(columns: int, lines: int) -> None:
    """No row is too long and none is beyond the end, at any point of a campaign."""
    campaign = whole_campaign()
    for number in range(1, len(campaign.events), 7):
        part = Campaign()
        for event in campaign.events[:number]:
            part.add(event)
        part.state = (
            needs(part.state, *(f"Cu fcc {t} K nvt" for t in range(5)))
            if part.state.cycles
            else part.state
        )
        rows = frame(Seen(part.state, BEGAN, seen(part).recent), columns, lines)
        assert len(rows) <= lines
        assert max(len(plain(row)) for row in rows) <= columns


@pytest.mark.parametrize("folder", JOURNALS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_journals_of_every_version_are_shown(folder: Path) -> None:
    """At each of their events: also what earlier versions did not tell."""
    state = WorkflowState()
    for record in read(folder):
        state = fold(state, [record])
        progress = {name: Progress(done=0.5, message="half", gamma_max=3.0) for name in state.tasks}
        for columns, lines in ((60, 24), (33, 7)):
            rows = frame(
                Seen(state, record.event.at, [Recent(1, BEGAN, "x")], progress, "gone"),
                columns,
                lines,
            )
            assert len(rows) <= lines
            assert max(len(plain(row)) for row in rows) <= columns


@pytest.mark.parametrize("columns", [60, 80])
def test_no_word_is_lost_where_there_are_lines_enough(columns: int) -> None:
    """What is too long for a line goes on below."""
    campaign, names = walking()
    progress = {names[1]: Progress(done=0.4, message="step 400 of 1000", gamma_max=3.21e5)}
    state = needs(
        campaign.state,
        "a very long name of a condition 900 K npt 10 GPa, stage 2",
        "Cu fcc 900 K nvt",
    )
    wide = (
        text(frame(Seen(state, BEGAN, [], progress), 400, 60))
        .replace("exploration 0/3", "")
        .split()
    )
    narrow = (
        text(frame(Seen(state, BEGAN, [], progress), columns, 60))
        .replace("exploration 0/3", "")
        .split()
    )
    assert [
        word
        for word in wide
        if word not in narrow and word not in {"selection", "calculation", "training"}
    ] == []


def test_where_there_is_no_room_for_all_walkers_those_that_matter_stay() -> None:
    """Those that run or failed before those that wait; the last line says how many are left out."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    tasks = campaign.start(
        Phase.EXPLORATION, [(walk(100.0 + number, 1), ()) for number in range(40)]
    )
    campaign.submit(tasks)
    progress = {tasks[35].id: Progress(done=0.5, message="step", gamma_max=1.5)}
    shown = text(frame(seen(campaign, progress=progress), 80, 24))
    assert "Cu fcc 135 K nvt" in shown
    assert "more" in shown
    kept = sum("submitted" in line and " K nvt" in line for line in shown.splitlines())
    assert f"… and {40 - kept - 1} more" in shown


def test_the_newest_events_are_below() -> None:
    """As many as fit; none of a long message is shown by half in the middle."""
    campaign = whole_campaign()
    later = [
        Recent(n, BEGAN + timedelta(seconds=n), f"event number {n} " + "word " * n)
        for n in range(40)
    ]
    rows = text(frame(Seen(campaign.state, BEGAN, later), 60, 24)).splitlines()
    assert any("event number 39" in row for row in rows)
    begun = [row for row in rows if row.startswith("12:00:")]
    assert [int(row.split()[3]) for row in begun] == list(range(40 - len(begun), 40))


def test_a_message_that_is_too_long_says_that_there_is_more() -> None:
    """Three lines of it are enough here; `events` has all."""
    campaign = whole_campaign()
    rows = text(
        frame(Seen(campaign.state, BEGAN, [Recent(1, BEGAN, "word " * 70)]), 60, 24)
    ).splitlines()
    assert rows[-1].endswith("word …")
    assert len([row for row in rows if "word word" in row]) == 3
    assert (
        len(
            frame(
                Seen(campaign.state, BEGAN, [Recent(1, BEGAN, "word " * 70)], absence="x" * 90),
                3,
                9,
            )
        )
        <= 9
    )
