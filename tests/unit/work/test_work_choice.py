"""The linear fit by normal equations, and what `auto` chooses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from kit.jobs import copper, job_of, labelled, strained_copper, train_parameters
from kit.judged import judged_value

from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.contract.results.train import FittedSettings, TrainMetrics
from mlip_autopipec.contract.train import AUTO, TrainParameters
from mlip_autopipec.work.origins import note_origin
from mlip_autopipec.work.structures import write_frames

pytest.importorskip("pyace", reason="needs the demo extra")

from mlip_autopipec.work.ace import choice
from mlip_autopipec.work.ace.basis import linear_basis
from mlip_autopipec.work.ace.choice import folds_of
from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.ace.labels import fit_references, strain_derivative_ev
from mlip_autopipec.work.ace.moments import (
    KINDS,
    Grid,
    Moments,
    fold_moments,
    solve,
    solve_trial,
    total,
)
from mlip_autopipec.work.codes.linear import run as linear
from mlip_autopipec.work.steps import train as training

pytestmark = pytest.mark.codes

_ALL = (
    "cutoff_angstrom",
    "functions_per_element",
    "energy_weight",
    "stress_weight",
    "smoothness",
    "ridge",
)


def labels(count: int, first: int = 0) -> list[Atoms]:
    return [
        labelled(strained_copper(seed), name=f"label-{seed:03d}")
        for seed in range(first, first + count)
    ]


def parameters(**changes: Any) -> TrainParameters:
    return train_parameters(elements=("Cu",), **changes)


def stress_error(fit: linear.LinearFit, frames: list[Atoms]) -> float:
    """Root-mean-square of ∂(energy per atom)/∂strain, in eV."""
    design, coefficients = DesignMatrix(fit.basis), np.array(fit.basis.basis_coeffs)
    wrong = []
    for frame in frames:
        label = strain_derivative_ev(frame)
        assert label is not None
        wrong.append(design.all_rows(frame).strain @ coefficients - label / len(frame))
    return float(np.sqrt(np.mean(np.square(wrong))))


def test_blocks_give_what_the_whole_matrix_gives() -> None:
    """Sums over folds and processes solve the same least squares as all rows at once."""
    frames = labels(9)
    references, grid = fit_references(frames), Grid(("Cu",), 4.5, 20)
    design = DesignMatrix(linear_basis(["Cu"], 4.5, 20))
    rows = [design.rows(frame) for frame in frames]
    energies = np.array(
        [
            (frame.get_potential_energy() - references["Cu"] * len(frame)) / len(frame)
            for frame in frames
        ]
    )
    forces = np.concatenate([frame.get_forces().ravel() for frame in frames])
    weights = np.concatenate([np.full(9, 100.0 / 9), np.full(len(forces), 1.0 / len(forces))])
    matrix = (
        np.vstack([np.array([row for row, _ in rows]), *[row for _, row in rows]])
        * np.sqrt(weights)[:, None]
    )
    target = np.concatenate([energies, forces]) * np.sqrt(weights)
    expected = np.linalg.lstsq(
        np.vstack([matrix, 1e-4 * np.eye(20)]), np.concatenate([target, np.zeros(20)]), rcond=None
    )[0]
    for cores in (1, 2):
        sums = fold_moments(grid, frames, [0, 1, 2] * 3, references, 0.3, cores)
        seen = {"energy": 100.0, "force": 1.0, "stress": 0.0}
        found = solve(sums, seen, np.full(20, 1e-8), np.arange(20))
        assert found.left_out == 0
        assert found.coefficients == pytest.approx(expected, rel=1e-6)
        tried = solve_trial(total(sums), seen, np.full(20, 1e-8), np.arange(20))
        assert matrix @ tried == pytest.approx(matrix @ expected, abs=1e-6)
        left = np.square(target - matrix @ found.coefficients)
        for kind, expected_error in (("energy", left[:9].sum() / 100.0), ("force", left[9:].sum())):
            parts = [fold[kind] for fold in sums]
            error = sum(
                part.weight * part.mean_square_error(found.coefficients, np.arange(20))
                for part in parts
            )
            assert error / sum(part.weight for part in parts) == pytest.approx(
                expected_error, rel=1e-5
            )


def test_conditions_share_the_weight_of_energies() -> None:
    """One label of a cold condition counts as much as three of a hot one; forces as they are."""
    frames = labels(4)
    for place, frame in enumerate(frames):
        condition = "Cu fcc 300 K nvt" if place == 3 else "Cu fcc 2500 K nvt"
        note_origin(frame, Origin(kind="informed", subject=condition, condition=condition, step=20))
    sums = fold_moments(Grid(("Cu",), 4.5, 20), frames, [0, 0, 0, 1], fit_references(frames), 0.3)
    assert [fold["energy"].weight for fold in sums] == pytest.approx([2.0, 2.0])
    assert [fold["stress"].weight for fold in sums] == pytest.approx([12.0, 12.0])
    assert [fold["force"].weight for fold in sums] == [
        3.0 * sum(map(len, part)) for part in (frames[:3], frames[3:])
    ]


def test_directions_that_rounding_has_eaten_are_left_out() -> None:
    """Two columns that are equal, and hardly a penalty: finite coefficients, and it is told."""
    rows = np.random.default_rng(1).normal(size=(50, 4))
    rows[:, 3] = rows[:, 2]
    sums = {kind: Moments(4) for kind in KINDS}
    sums["force"].add(rows, rows @ np.array([1.0, 2.0, 1.5, 1.5]), np.ones(50))
    found = solve([sums], {"force": 1.0}, np.full(4, 1e-40), np.arange(4))
    assert found.left_out == 1
    assert found.coefficients == pytest.approx([1.0, 2.0, 1.5, 1.5], abs=1e-6)


def test_stress_is_fitted() -> None:
    """A weight on it lowers its error on structures that were not fitted to.

    Labels without it are no hindrance.
    """
    train, test = labels(12), labels(6, 100)
    references = fit_references(train)
    without = linear.chosen_fit(train, references, parameters(functions_per_element=30))
    with_it = linear.chosen_fit(
        train, references, parameters(functions_per_element=30, stress_weight=10.0)
    )
    assert stress_error(with_it, test) < 0.8 * stress_error(without, test)
    for frame in train[:6]:
        del frame.calc.results["stress"]
    assert np.isfinite(
        np.array(linear.fit(train, references, parameters(stress_weight=10.0)).basis_coeffs)
    ).all()


def test_frames_of_one_trajectory_share_a_fold() -> None:
    """Whatever they were picked for; generated ones are each by themselves."""
    frames = [copper() for _ in range(12)]
    origins = [
        *[f"halt: Cu fcc 900 K nvt #1, step {step}" for step in (10, 20, 30)],
        *[f"cloud: Cu fcc 900 K nvt #1, step {step}" for step in (30, 30)],
        *[f"halt: Cu fcc 300 K nvt #1, step {step}" for step in (10, 20, 30)],
        *["generated: Cu fcc, rattled by 0.1 Å"] * 4,
    ]
    for number, (frame, origin) in enumerate(zip(frames, origins, strict=True)):
        frame.info = {"origin": origin, "task": f"task-{number}"}
    folds = folds_of(frames)
    assert len(set(folds[:5])) == len(set(folds[5:8])) == 1
    assert folds[0] != folds[5]
    assert len(set(folds)) == 6
    assert len(set(folds_of(frames, 5))) == 5


def test_walks_of_one_condition_in_two_cycles_are_two() -> None:
    """Else all labels of a condition were left out together, and a fit judged by the unknown."""
    frames = [copper() for _ in range(12)]
    for number, frame in enumerate(frames):
        frame.info = {
            "origin": f"audit: Cu fcc 900 K nvt, step {number}",
            "task": f"c{number // 3:03d}.calculation.{number:04d}-abcdef",
        }
    folds = folds_of(frames)
    assert [len(set(folds[start : start + 3])) for start in (0, 3, 6, 9)] == [1] * 4
    assert len(set(folds)) == 4


def test_a_basis_of_very_many_columns_has_fewer_folds() -> None:
    """Each fold holds three matrices of columns²."""
    frames = [copper() for _ in range(12)]
    for number, frame in enumerate(frames):
        frame.info = {"origin": "generated: Cu fcc, rattled by 0.1 Å", "task": f"task-{number}"}
    for elements, functions, expected in ((1, 1000, 10), (2, 500, 10), (2, 600, 5), (3, 600, 5)):
        asked = replace(
            parameters(**dict.fromkeys(_ALL, AUTO)),
            elements=("Ag", "Au", "Cu")[-elements:],
            functions_per_element=functions,
        )
        assert choice._Search(frames, {}, asked, 1, print)._folds() == expected


def test_auto_chooses_within_a_tenth_of_the_best_and_keeps_what_is_named(tmp_path: Any) -> None:
    """Through Training: choice and evidence are in the outcome, and what was named is unchanged."""
    root = tmp_path / "labels"
    root.mkdir()
    files = []
    for number, label in enumerate(labels(18)):
        label.info["role"] = "train" if number < 14 else "test"
        files.append(root / f"{number}.extxyz")
        write_frames(files[-1], [label])
    asked = train_parameters(**dict.fromkeys(_ALL, AUTO) | {"energy_weight": 50.0})
    metrics = judged_value(
        TrainMetrics, training.run(job_of(tmp_path / "root", asked, {"label": files})).metrics
    )
    fit = metrics.fit
    assert fit is not None
    assert fit.choice is not None
    assert fit.settings.energy_weight == 50.0
    assert set(fit.choice.named) == {"energy_weight", "force_weight"}
    assert metrics.functions_per_element == {"Cu": fit.settings.functions_per_element}
    assert fit.choice.trajectories == 14
    assert {trial.why for trial in fit.choice.trials} == {
        "cutoff",
        "functions",
        "weights",
        "evidence",
    }

    sizes = [trial for trial in fit.choice.trials if trial.why == "functions"]
    score = {
        trial.settings.functions_per_element: (
            trial.energy_mae_mev_per_atom
            * trial.force_mev_per_angstrom
            * (trial.stress_mev_per_atom or 1.0)
        )
        ** (1 / 3)
        for trial in sizes
    }
    allowed = [size for size, value in score.items() if value <= 1.1 * min(score.values())]
    assert fit.settings.functions_per_element in allowed
    assert all(trial.cost_us is not None and trial.cost_us > 0 for trial in sizes)
    assert metrics.test.force_mev_per_angstrom < 6
    assert metrics.test.stress_gpa is not None
    assert metrics.test.stress_gpa < 0.1
    assert metrics.functions <= sum(len(label) for label in labels(14)) / 2


def test_a_need_may_ask_for_more_than_the_smallest() -> None:
    """A need that only a larger basis meets."""
    train = labels(12)
    references = fit_references(train)
    auto = parameters(**dict.fromkeys(_ALL, AUTO) | {"cutoff_angstrom": 4.5})
    thrifty = choice.choose(train, references, auto)
    best = choice.choose(train, references, replace(auto, force_need_mev_per_angstrom=1e-9))
    assert choice.choose(train, references, replace(auto, any_cost=True)).settings == best.settings
    lowest = min(
        (trial for trial in best.trials if trial.why == "functions"), key=lambda trial: trial.score
    )
    assert best.settings.functions_per_element == lowest.settings.functions_per_element
    assert thrifty.settings.functions_per_element <= best.settings.functions_per_element


@pytest.mark.parametrize(("without", "taken"), [((0.107, 0.105), 300), ((0.112, 0.100), 700)])
def test_a_smaller_basis_has_to_be_near_the_best_for_sure(
    without: tuple[float, float], taken: int
) -> None:
    """Where folds disagree on how much worse it is, the best is kept."""
    search = choice._Search([], {}, parameters(), 1, print)
    start = search._start(5.0, 300)
    small = choice.TriedFit(
        start, {"force": 0.106}, "functions", 0.106, scores_without=[*without, 0.106]
    )
    large = choice.TriedFit(
        replace(start, functions_per_element=700),
        {"force": 0.1},
        "functions",
        0.1,
        scores_without=[0.1] * 3,
    )
    assert small.score == pytest.approx(1.06 * large.score)
    assert search._smallest(large, [large, small]).settings.functions_per_element == taken


def test_a_larger_basis_is_tried_unless_a_smaller_one_is_surely_as_good() -> None:
    """Few trajectories cannot tell whether the errors have stopped to fall."""
    start = choice._Search([], {}, parameters(), 1, print)._start(5.0, 200)
    large = choice.TriedFit(start, {"force": 0.1}, "functions", 0.1, scores_without=[0.1] * 2)

    def is_enough(*without: float) -> bool:
        error = float(np.mean(without))
        small = choice.TriedFit(start, {"force": error}, "functions", error, scores_without=without)
        return choice._is_large_enough(large, [small])

    assert is_enough(0.102, 0.101)
    assert not is_enough(0.120, 0.085)
    assert not is_enough(0.109, 0.109)
    assert not choice._is_large_enough(large, [])


def test_a_longer_cutoff_is_worth_a_tenth_unless_a_need_is_not_met() -> None:
    """Each step of MD pays for it, as it does for a larger basis; a shorter one may be worse."""
    settings = FittedSettings(
        cutoff_angstrom=5.0,
        functions_per_element=50,
        energy_weight=100.0,
        force_weight=1.0,
        stress_weight=1.0,
        smoothness=1.0,
        ridge=1e-8,
    )
    best = choice.TriedFit(settings, {"energy": 0.002, "force": 0.050}, "weights", 0.002)
    searches = [
        choice._Search([], {}, parameters(**asked), 1, print)
        for asked in (
            {},
            {"force_need_mev_per_angstrom": 60.0},
            {"force_need_mev_per_angstrom": 40.0},
            {"any_cost": True},
        )
    ]
    assert [search._worth(best) for search in searches] == [1 / 1.1, 1 / 1.1, 0.97, 0.97]
    assert [search._allowed(best) for search in searches] == [1.03, 1.03, 1.0, 1.0]


def test_half_the_error_of_stress_is_not_worth_more_in_energy_and_force() -> None:
    """As on silicon, with 50 labels; but it counts where nothing else tells two fits apart."""
    settings = choice._Search([], {}, parameters(), 1, print)._start(5.0, 50)
    short, longer, stiff = (
        choice.TriedFit(settings, {"energy": 0.002, "force": force, "stress": stress}, "cutoff", e)
        for e, force, stress in (
            (0.00133, 0.072, 0.052),
            (0.00179, 0.086, 0.023),
            (0.00133, 0.072, 0.023),
        )
    )
    assert stiff.score < short.score < longer.score


def test_what_audits_found_too_small_is_not_taken_again() -> None:
    """The smallest near the best that has so many functions; the largest near it where none has."""
    train = labels(12)
    references = fit_references(train)
    auto = parameters(**dict.fromkeys(_ALL, AUTO) | {"cutoff_angstrom": 4.5})
    free = choice.choose(train, references, auto)
    sizes = [trial for trial in free.trials if trial.why == "functions"]
    best = min(sizes, key=lambda trial: trial.score)
    near = sorted(
        trial.settings.functions_per_element for trial in sizes if trial.score <= 1.1 * best.score
    )
    sure = min(
        trial.settings.functions_per_element
        for trial in sizes
        if trial.times_worse_than(best) <= 1.1
    )
    taken = [
        choice.choose(
            train, references, replace(auto, functions_min=size)
        ).settings.functions_per_element
        for size in (near[-1], 999)
    ]
    assert free.settings.functions_per_element == sure
    assert taken == [near[-1]] * 2


def test_a_shorter_cutoff_may_be_better_with_the_basis_that_was_taken() -> None:
    """Those that chose the cutoff had fewer functions. It is left where the next is worse."""
    train = labels(12)
    auto = parameters(**dict.fromkeys(_ALL, AUTO))
    search = choice._Search(train, fit_references(train), auto, 1, print)
    folds, candidates = folds_of(train, 5), choice.cutoffs(train)
    longest, grid, _ = search._grow(candidates[-1], train, folds)
    found = search._nearer(longest, grid, train, folds)
    assert found is not None
    best, grid, _ = found
    assert best.settings.cutoff_angstrom == grid.cutoff_angstrom < candidates[-1]
    assert best.score < longest.score
    tried = {trial.settings.cutoff_angstrom: trial.score for trial in search._trials}
    last = min(tried)
    assert last == best.settings.cutoff_angstrom or tried[last] > 1.03 * best.score
    assert search._nearer(best, grid, train, folds) is None
