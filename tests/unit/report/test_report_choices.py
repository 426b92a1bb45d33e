"""The report's sections on candidates, labels and the last fit: each number on its own."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from kit.campaign import Campaign, calculate, file_ref, whole_campaign
from kit.judged import judged_value

from mlip_autopipec.contract.results.explore import ExploreMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics, OracleRun
from mlip_autopipec.contract.results.select import Certificate, SelectMetrics
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.results.train import (
    FitChoice,
    FitReport,
    FittedSettings,
    FitTrial,
    FitTried,
    GroupErrors,
)
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.digest import (
    CalculationDigest,
    ExplorationDigest,
    GammaLevels,
    Label,
)
from mlip_autopipec.data_models.outcome import Metrics
from mlip_autopipec.report.blocks import ROWS_MAX
from mlip_autopipec.report.canvas import svg
from mlip_autopipec.report.choices import FATES, Choice, candidates, choices
from mlip_autopipec.report.fitting import LastFit, fitting, last_fit
from mlip_autopipec.report.gamma import gamma_panels
from mlip_autopipec.report.labelling import labelling, labels
from mlip_autopipec.report.projections import attempts, gamma_histograms, gamma_traces
from mlip_autopipec.report.sections import gamma
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.telling.words import loss_texts

REFUSED = Certificate(
    origin="halt: <liquid>, step 40",
    kept=False,
    source_atoms=4000,
    centre=17,
    verdict="rejected",
    reason="γ of a buffer atom is 31, of the centre 12",
    attempts=8,
)
HEALED = (
    OracleRun(ending="not_converged", message="convergence NOT achieved", wall_s=3),
    OracleRun(changes={"mixing_beta": 0.3}, ending="converged", wall_s=5),
)


def chosen(why: str, role: Role = Role.TRAIN) -> Structure:
    """A structure that Selection chose."""
    return judged_value(
        Structure,
        {
            "file": file_ref(f"{why}.extxyz"),
            "role": role,
            "origin": f"{why}: Cu fcc 900 K nvt, step 40",
            "n_atoms": 108,
            "gamma_max": 12.3,
            "why": why,
        },
    )


def selected(**more: object) -> SelectMetrics:
    """Thirty frames: ten below the window, ten alike, four chosen, and three audit frames.

    Of the audit frames one was drawn.
    """
    values = {
        "frames": 30,
        "below_window": 10,
        "too_short": 0,
        "duplicates": 10,
        "not_embedded": 1,
        "not_chosen": 2,
        "certificates": (REFUSED,),
        "structures": (
            chosen("halt"),
            chosen("d_optimal"),
            chosen("element_floor"),
            chosen("audit", Role.TEST),
        ),
    }
    return judged_value(SelectMetrics, {**values, **more})


def with_metrics(campaign: Campaign, metrics: Metrics, **artefacts: str) -> tuple[ev.Event, ...]:
    """The campaign's events, with every outcome of that kind saying this instead."""
    files = {name: file_ref(path) for name, path in artefacts.items()}
    events: list[ev.Event] = []
    for event in campaign.events:
        if (
            isinstance(event, ev.TaskEnded)
            and event.outcome.kind == metrics.kind
            and event.outcome.metrics
        ):
            update = {"metrics": metrics, "artefacts": {**event.outcome.artefacts, **files}}
            outcome = event.outcome.model_copy(update=update)
            events.append(event.model_copy(update={"outcome": outcome}))
        else:
            events.append(event)
    return tuple(events)


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    """One cycle after the bootstrap; a label of it fails twice."""
    return whole_campaign(learning_cycles=1)


def test_every_frame_is_counted_under_one_word(campaign: Campaign) -> None:
    """Words add up to the frames.

    What a walker kept for an audit and nobody drew is no hole in the sum.
    """
    (choice,) = choices(with_metrics(campaign, selected()))
    assert (choice.cycle, choice.frames, choice.table) == (1, 30, None)
    assert sum(choice.fates.values()) == choice.frames
    assert choice.fates == {
        "below_window": 10,
        "duplicates": 10,
        "not_embedded": 1,
        "not_chosen": 2,
        "not_drawn": 3,
        "halt": 1,
        "d_optimal": 1,
        "element_floor": 1,
        "audit": 1,
    }


def test_chosen_and_refused_are_told_with_the_reason(campaign: Campaign, tmp_path: Path) -> None:
    """Origin, γ and why of each that was chosen.

    Of an embedding that gave no cell, its own words are told, escaped.
    """
    found = candidates(choices(with_metrics(campaign, selected())), tmp_path)
    for text in (
        "Of 30 frames that walkers kept, 4 were chosen to be labelled.",
        "Of 1 large frame whose certificates are in the journal, 0 gave a cell.",
        "halt: Cu fcc 900 K nvt, step 40",
        "element floor",
        "halt: &lt;liquid&gt;, step 40",
        "γ of a buffer atom is 31, of the centre 12",
        FATES["duplicates"],
        "its task left none",
    ):
        assert text in found, text


def test_each_frame_of_the_last_cycle_is_told_where_its_table_is_at_hand(
    campaign: Campaign, tmp_path: Path
) -> None:
    """Read from the site's root; a damaged or missing table is told as such, and the rest stays."""
    found = choices(with_metrics(campaign, selected(), candidates="c/candidates.json"))
    assert "c/candidates.json cannot be read: No such file" in candidates(found, tmp_path)
    table = tmp_path / "c" / "candidates.json"
    table.parent.mkdir()
    table.write_text("[{}]")
    assert "is not as it should be" in candidates(found, tmp_path)
    row = (
        '{"origin": "collected: step %d", "walker": "w", "step": 1, "kind": "collected", "n_atoms": 4, '  # noqa: E501 - text for another program
        '"gamma_max": %d, "verdict": "near_audit", "embedding": {"verdict": "periodic", "reason": "", "attempts": 1}}'  # noqa: E501 - text for another program
    )
    table.write_text(f"[{','.join(row % (step, step) for step in range(ROWS_MAX + 1))}]")
    seen = candidates(found, tmp_path)
    assert "Every frame of cycle 1, and its word" in seen
    assert f"collected: step {ROWS_MAX}<" in seen
    assert "collected: step 0<" not in seen
    assert f"The {ROWS_MAX} of highest γ of {ROWS_MAX + 1}; c/candidates.json has all." in seen


def test_hundreds_of_cycles_make_a_small_section(tmp_path: Path) -> None:
    """The last are shown, and how many there were."""
    metrics = selected()
    choice = Choice(
        0, 30, {"below_window": 26, "halt": 4}, metrics.structures, metrics.certificates, None
    )
    found = candidates([choice] * 500, tmp_path)
    assert f"The last {ROWS_MAX} of 500; the journal has all." in found
    assert f"The last {ROWS_MAX} of 2000; the journal has all." in found
    assert len(found) < 200_000


def test_labels_are_told_with_what_they_took(campaign: Campaign) -> None:
    """Rounds, runs, what healed them, failures by reason, and what the labels mean."""
    metrics = CalculateMetrics(
        energy_ev=-1,
        n_atoms=1,
        force_max_ev_per_angstrom=0,
        pressure_gpa=0,
        settings="qe 7f",
        tries=HEALED,
    )
    events = with_metrics(campaign, metrics)
    found = labelling(events)
    assert [
        (closed.cycle, closed.asked, closed.labels, closed.runs, closed.healed, closed.wall_s)
        for closed in found.rounds
    ] == [
        (0, 6, 6, 12, 6, 20.0),
        (1, 3, 3, 6, 3, 20.0),
    ]
    assert found.settings == {"qe 7f": 9}
    assert (found.healed[-1].cycle, found.healed[-1].origin) == (1, "audit: by hand")
    page = labels(found, attempts(events))
    for text in (
        "Attempts that gave no label, by reason: 2 crashed.",
        "9 labels took more than one run, after 9 not converged.",
        "not converged → converged",
        "mixing_beta 0.3",
        "qe 7f",
    ):
        assert text in page, text


def test_a_label_that_misses_its_round_is_counted_in_the_next(campaign: Campaign) -> None:
    """Late and awaited are the digest's; the label itself is told once."""
    ended = campaign.events[-1].at
    label = Label(task="t", file=file_ref("l"), role=Role.TRAIN, origin="halt: x", settings="emt")
    late = ev.PhaseEnded(
        at=ended, cycle=1, digest=CalculationDigest(labels=(label,), failed=1, late=1, awaited=2)
    )
    (first,) = labelling([late]).rounds
    assert (first.labels, first.late, first.failed, first.awaited, first.wall_s) == (
        1,
        1,
        1,
        2,
        None,
    )
    assert "Every attempt gave its label." in labels(labelling([late]), attempts([]))


def test_only_failures_at_labels_are_counted_there(campaign: Campaign) -> None:
    """A fit that crashed is no label that failed."""
    young = Campaign()
    young.create()
    young.generation()
    (task,) = young.start(Phase.CALCULATION, [(calculate(chosen("halt")), ())])
    young.submit([task])
    young.end(task, None, 0, 1, reason=Reason.NUMERICAL)
    assert "1 numerical" in labels(labelling(campaign.events), attempts(young.events))
    assert (
        labels(labelling(young.events[:2]), attempts([])).count(
            "No structure has been labelled yet."
        )
        == 1
    )


def test_the_last_fit_is_told_by_part_and_by_loss(campaign: Campaign) -> None:
    """Errors by set, origin and element beside those of before; loss stage by stage.

    The ways that were tried are told too.
    """
    plain = last_fit(campaign.events)
    assert plain is not None
    assert (plain.cycle, plain.wall_s) == (1, 30)
    assert "tells no loss" in fitting(plain)
    group = GroupErrors(
        by="origin",
        name="audit: Cu <fcc>",
        atoms=108,
        energy_mev_per_atom=1.25,
        force_mev_per_angstrom=31.5,
        force_p95_mev_per_angstrom=77.7,
        force_max_mev_per_angstrom=99.9,
    )
    metrics = replace(
        plain.metrics,
        groups=(replace(group, by="element", name="Cu"), group),
        groups_of_current=(replace(group, force_mev_per_angstrom=63.0),),
        loss=(
            (1, 0, 5.0, 90.0, 300.0),
            (1, 40, 0.5, 40.0, 80.0),
            (2, 0, 2.0, 4.0, 80.0),
            (2, 9, 0.25, 2.0, 70.0),
        ),
        fits=(
            FitTried(start="warm", force_mev_per_angstrom=31.5),
            FitTried(start="scratch", force_mev_per_angstrom=44.0),
        ),
    )
    found = fitting(LastFit(1, 30.0, metrics))
    for text in (
        "stage 1 5.00 → 0.500; stage 2 2.00 → 0.250",
        "audit: Cu &lt;fcc&gt;",
        *("1.25", "31.5", "63.0", "77.7", "99.9"),
        "on from the potential before 31.5 meV/Å, from scratch 44.0 meV/Å",
    ):
        assert text in found, text
    assert found.index("audit: Cu") < found.index(">element<")
    assert loss_texts(metrics.loss) == ["stage 1 5.00 → 0.500", "stage 2 2.00 → 0.250"]


def test_what_was_fitted_and_why_is_told(campaign: Campaign) -> None:
    """Functions by element, settings and cost; and every trial of `auto` with its errors."""
    plain = last_fit(campaign.events)
    assert plain is not None
    settings = FittedSettings(
        cutoff_angstrom=5.25,
        functions_per_element=140,
        energy_weight=300,
        force_weight=1,
        stress_weight=30,
        smoothness=1,
        ridge=1e-7,
    )
    trial = FitTrial(
        why="functions",
        settings=settings,
        energy_mev_per_atom=2.25,
        energy_mae_mev_per_atom=1.75,
        force_mev_per_angstrom=88.5,
        stress_mev_per_atom=33.5,
        cost_us=18.5,
    )
    fit = FitReport(
        settings=settings,
        choice=FitChoice(trials=(trial,), trajectories=23, folds=5, seconds=77.0),
        cost_us=19.5,
        condition=1e6,
        left_out=2,
    )
    found = fitting(
        LastFit(1, 30.0, replace(plain.metrics, functions_per_element={"Cu": 139}, fit=fit))
    )
    for text in (
        "Cu 139",
        "5.25 Å",
        "300, 1 and 30",
        "19.5 µs",
        "2 directions",
        "trajectories: 23",
        "1 min 17 s",
    ):
        assert text in found, text
    for cell in ("functions", "140", "1.75", "2.25", "88.5", "33.5", "18.5"):
        assert f">{cell}<" in found, cell


def test_halts_are_told_by_condition() -> None:
    """Over all cycles: how often it halted, and where it did so last."""
    three = whole_campaign(learning_cycles=3)
    found = gamma(gamma_traces(three.events), ())
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in found.split("<tr>")]
    assert ["Cu fcc 300 K nvt", "3", "3", "0", "0", "–"] in cells
    assert ["Cu fcc 900 K nvt", "3", "1", "2", "0", "cycle 2, step 148"] in cells


def test_levels_that_follow_a_target_are_told(campaign: Campaign) -> None:
    """Cycle by cycle in the report, and in the event's line; nothing where the site file's hold."""
    traces = gamma_traces(campaign.events)
    levels = GammaLevels(
        select=4, halt=20, force_error_target_mev_per_angstrom=50, expected_at=7.5, reached=False
    )
    cycle = campaign.state.cycles[-1]
    found = gamma(traces, (), (), [cycle.model_copy(update={"levels": levels})])
    text = (
        "γ select 4, γ halt 20: less than 50 meV/Å are expected up to γ 7.5, the highest of any"
        " label, and the level"
    )
    assert text in found
    assert "&gt; 7.50" in found
    assert "target in force" not in gamma(traces, (), (), [cycle])
    ended = ExplorationDigest(walkers=(), frames=(), levels=levels)
    assert text in describe(ev.PhaseEnded(at=campaign.now, cycle=2, digest=ended))
    varied = [
        replace(trace, cycle=cycle, gamma_halt=10.0 * cycle) for cycle in (1, 2) for trace in traces
    ]
    assert "γ halt 10 … 20" in svg(gamma_panels(varied), "gamma", "levels")


def test_looks_at_gamma_add_up_over_the_walkers_of_a_cycle() -> None:
    """Both walkers of a cycle count into the same bins."""
    first, *_, last = gamma_histograms(whole_campaign(learning_cycles=2).events)
    assert (first.cycle, dict(first.looks)) == (1, {0.7499: 60, 1.0: 46, 3.1623: 1, 10.0: 1})
    assert (last.cycle, dict(last.looks), last.gamma_select, last.gamma_halt) == (
        2,
        {0.7499: 120, 1.0: 80},
        2,
        10,
    )


@pytest.mark.parametrize(
    ("counted", "selected", "share"),
    [
        (
            ((1.7783, 94), (2.3714, 6)),
            8,
            "8.0% of 100 looks",
        ),  # the bin of 1.78 to 2.37 holds the threshold
        (
            ((1.7783, 94), (2.3714, 6)),
            None,
            "between 6.0% and 100.0% of 100 looks",
        ),  # an earlier version's
        (((1.3335, 94), (2.3714, 6)), None, "6.0% of 100 looks"),  # no look near the threshold
        (((1.7783, 100),), 0, "0.0% of 100 looks"),
    ],
)
def test_looks_above_gamma_select_are_counted_and_not_their_bins(
    counted: tuple[tuple[float, int], ...], selected: int | None, share: str
) -> None:
    """γ select is 2: a look at 2.1 is one above it, whatever the lower edge of its bin."""
    events = list(whole_campaign(learning_cycles=1).events)
    walked = next(event for event in events if isinstance(event, ev.TaskEnded) and _walked(event))
    metrics = walked.outcome.metrics
    assert isinstance(metrics, ExploreMetrics)
    changed = replace(metrics, gamma_counts=counted, gamma_selected=selected)
    outcome = walked.outcome.model_copy(update={"metrics": changed})
    alone = [event for event in events if not (isinstance(event, ev.TaskEnded) and _walked(event))]
    index = next(
        n for n, event in enumerate(alone) if isinstance(event, ev.PhaseEnded) and event.cycle == 1
    )
    alone.insert(index, walked.model_copy(update={"outcome": outcome}))
    (found,) = gamma_histograms(alone)
    assert f"γ at or above γ select in {share} in cycle 1." in gamma(
        gamma_traces(alone), (), (found,), ()
    )


def _walked(event: ev.TaskEnded) -> bool:
    return isinstance(event.outcome.metrics, ExploreMetrics)
