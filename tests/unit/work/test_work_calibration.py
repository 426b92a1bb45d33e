"""γ against force errors: the pairs that are noted, and the monotone fit over them."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from kit.jobs import Fitted, copper, fit_once, labelled
from kit.judged import judged_value

from mlip_autopipec.contract.results.train import Calibration
from mlip_autopipec.orchestration.levels import gamma_at
from mlip_autopipec.work.structures import read_frames, write_frames

pytest.importorskip("pyace", reason="needs the demo extra")

from mlip_autopipec.work.ace import calibration
from mlip_autopipec.work.ace.calibration import FORCE_ERROR, GAMMA
from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.evaluator import AceEvaluator

pytestmark = pytest.mark.codes


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> AceEvaluator:
    fitted: Fitted = fit_once(tmp_path_factory)
    return AceEvaluator(fitted.yaml, fitted.asi)


def hot(number: int, role: str = "train") -> Atoms:
    """Copper, rattled more and more."""
    return labelled(copper((1, 1, 2), 0.05 * (1 + number), number), role, f"hot-{number}")


def noted(gamma: list[float], error_ev: list[float], symbols: str = "Cu") -> Atoms:
    """A label whose pairs are given."""
    frame = labelled(copper((1, 1, 1)), "train").repeat((len(gamma) // 4, 1, 1))
    frame.symbols[:] = symbols
    frame.info["role"] = "train"
    frame.arrays |= {GAMMA: np.array(gamma), FORCE_ERROR: np.array(error_ev)}
    return frame


def test_what_the_current_potential_made_of_a_label_goes_with_it(
    current: AceEvaluator, tmp_path: Path
) -> None:
    """γ and |ΔF| per atom, the same after the data set was written and read."""
    frame = hot(3)
    calibration.note([frame], current)
    said = current.evaluate(frame)
    assert frame.arrays[GAMMA] == pytest.approx(said.gamma)
    assert frame.arrays[FORCE_ERROR] == pytest.approx(
        np.linalg.norm(said.forces - frame.get_forces(), axis=1)
    )
    path = tmp_path / "dataset.extxyz"
    write_frames(path, [frame])
    (again,) = read_frames(path)
    assert again.arrays[GAMMA] == pytest.approx(frame.arrays[GAMMA], abs=1e-6)
    assert again.arrays[FORCE_ERROR] == pytest.approx(frame.arrays[FORCE_ERROR], abs=1e-6)


def test_larger_gamma_means_larger_errors_here(current: AceEvaluator) -> None:
    """On real labels of ever hotter copper the fit rises, and its ends differ by far."""
    frames = [hot(number) for number in range(6)]
    calibration.note(frames, current)
    (fit,) = (judged_value(Calibration, frame) for frame in calibration.calibrate(frames))
    assert (fit.element, fit.pairs) == ("Cu", 6 * 8)
    gammas, errors = zip(*fit.curve, strict=True)
    assert list(gammas) == sorted(gammas)
    assert list(errors) == sorted(errors)
    assert errors[-1] > 5 * errors[0]


def test_the_fit_is_the_monotone_mean_of_each_element() -> None:
    """Pairs that go up and down are averaged where they fall.

    Elements do not mix, and few pairs say nothing.
    """
    copper_pairs = noted([1.0, 2.0, 3.0, 4.0] * 5, [0.010, 0.030, 0.020, 0.040] * 5)
    gold_pairs = noted([1.0, 2.0, 3.0, 4.0] * 4, [9.0] * 16, "Au")
    (fit,) = (
        judged_value(Calibration, gold_pair)
        for gold_pair in calibration.calibrate([copper_pairs, gold_pairs])
    )
    assert fit.element == "Cu"
    assert dict(fit.curve) == pytest.approx({1.0: 10.0, 2.0: 25.0, 3.0: 25.0, 4.0: 40.0})


def test_buffers_properties_and_labels_without_a_potential_are_left_out() -> None:
    """A buffer atom's error says nothing of an environment that MD met.

    The bootstrap's labels have no γ.
    """
    masked = noted([1.0] * 40, [0.01] * 40)
    masked.arrays["core"] = np.arange(40) < 24
    of_properties = noted([9.0] * 40, [9.0] * 40)
    of_properties.info["role"] = "property"
    (fit,) = calibration.calibrate([masked, of_properties, hot(1)])
    assert fit.pairs == 24
    assert calibration.calibrate([hot(1)]) == ()


def test_a_target_in_force_sets_a_level_of_gamma() -> None:
    """Where the first element reaches it, between two knots; none where no label erred so much."""
    copper_fit = Calibration(element="Cu", pairs=40, curve=((1.0, 10.0), (3.0, 30.0), (9.0, 60.0)))
    gold_fit = Calibration(element="Au", pairs=40, curve=((2.0, 5.0), (12.0, 105.0)))
    assert gamma_at([copper_fit], 20.0) == pytest.approx(2.0)
    assert gamma_at([copper_fit, gold_fit], 45.0) == pytest.approx(6.0)
    assert gamma_at([gold_fit, copper_fit], 100.0) == pytest.approx(11.5)
    assert gamma_at([copper_fit], 5.0) == pytest.approx(1.0)
    assert gamma_at([copper_fit], 61.0) is None
    assert gamma_at([], 61.0) is None


def test_errors_in_parts_add_up_to_the_whole(current: AceEvaluator) -> None:
    """By set and by origin, squares weighted by atoms give the whole.

    The tail is the worst atoms'.
    """
    frames = [hot(number, "test") for number in range(4)]
    for number, frame in enumerate(frames):
        frame.info["origin"] = (
            f"halt: Cu fcc 900 K nvt, step {number}" if number else "generated: Cu fcc"
        )
    fitted = Comparison(current, frames, {"Cu": 0.0}, 0.3)
    whole, parts = fitted.errors(), fitted.groups(1)
    assert [(part.by, part.name, part.atoms) for part in parts] == [
        ("element", "Cu", 32),
        ("set", "fixed", 8),
        ("set", "growing", 24),
        ("origin", "generated: Cu fcc", 8),
        ("origin", "halt: Cu fcc 900 K nvt", 24),
    ]
    for by in ("element", "set", "origin"):
        squares = [part.atoms * part.force_mev_per_angstrom**2 for part in parts if part.by == by]
        assert (sum(squares) / 32) ** 0.5 == pytest.approx(whole.force_mev_per_angstrom)
        assert max(
            part.force_max_mev_per_angstrom for part in parts if part.by == by
        ) == pytest.approx(whole.force_max_mev_per_angstrom)
    assert whole.force_p95_mev_per_angstrom is not None
    assert whole.force_max_mev_per_angstrom is not None
    assert (
        whole.force_mev_per_angstrom
        < whole.force_p95_mev_per_angstrom
        < whole.force_max_mev_per_angstrom
    )
    assert parts[0].energy_mev_per_atom is None
