"""Errors on the audit frames of a condition, one by one.

Which frames count, and what is said of them.
"""

import numpy as np
import pytest
from ase import Atoms, units

pytest.importorskip("pyace", reason="needs the demo extra")

from kit.jobs import Fitted, copper, fit_once, labelled
from kit.judged import judged_value

from mlip_autopipec.contract.origin import origin_from
from mlip_autopipec.contract.results.train import ConditionErrors
from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.evaluator import AceEvaluator

pytestmark = pytest.mark.codes

COLD, HOT = "Cu fcc 300 K nvt", "Cu fcc 900 K nvt, stage 2"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


def frame(seed: int, origin: str, *, rattle_angstrom: float = 0.1) -> Atoms:
    """A label of eight atoms of copper."""
    label = labelled(copper((1, 1, 2), rattle_angstrom, seed), "test")
    label.info["origin"] = origin
    return label


def compared(fitted: Fitted, frames: list[Atoms]) -> Comparison:
    """The fitted potential on these frames."""
    return Comparison(AceEvaluator(fitted.yaml), frames, fitted.metrics.reference_energies_ev, 0.3)


@pytest.mark.parametrize(
    ("origin", "condition"),
    [
        (f"audit: {COLD}, step 40", COLD),
        (f"audit: {COLD} #12, step 40", COLD),
        (f"halt: {HOT} #3, step 40 of a continuation", HOT),
        ("audit: my #1 slab.xyz 300 K npt 0 GPa, step 40", "my #1 slab.xyz 300 K npt 0 GPa"),
        ("rattled: Cu fcc, 0.05 Å", ""),
        ("isolated atom: Cu", ""),
        ("", ""),
    ],
)
def test_a_condition_is_what_replicas_share(origin: str, condition: str) -> None:
    """Whatever the frame was kept for, and wherever its walker had begun."""
    assert origin_from(origin).condition == condition


def test_errors_are_those_of_its_own_audit_frames(fitted: Fitted) -> None:
    """Replicas together; what a fit may see, and what is of another condition, do not count."""
    own = [
        frame(seed, f"audit: {COLD}{replica}, step {seed}")
        for seed, replica in enumerate(("", " #2", ""))
    ]
    others = [
        frame(7, f"audit: {HOT}, step 5", rattle_angstrom=0.3),
        frame(8, "a test"),
        frame(9, f"d: {COLD}, step 1"),
    ]
    (cold, hot) = compared(fitted, [*others, *own]).conditions([COLD, "unknown", HOT], None, 16)
    alone = compared(fitted, own)
    whole = judged_value(ConditionErrors, cold)
    assert (whole.condition, whole.frames) == (COLD, 3)
    assert whole.force_mev_per_angstrom == pytest.approx(alone.errors().force_mev_per_angstrom)
    assert whole.energy_mev_per_atom == pytest.approx(alone.errors().energy_mev_per_atom)
    forces = np.concatenate([error.get_forces().ravel() for error in own])
    assert whole.force_spread_mev_per_angstrom == pytest.approx(1000 * np.sqrt((forces**2).mean()))
    energies = [error.get_potential_energy() / 8 for error in own]
    assert whole.energy_spread_mev_per_atom == pytest.approx(1000 * np.std(energies, ddof=1))
    assert whole.stress_gpa == pytest.approx(alone.errors().stress_gpa)
    stresses = np.array([error.get_stress() / units.GPa for error in own])
    assert whole.stress_spread_gpa == pytest.approx(np.sqrt((stresses**2).mean()))
    assert whole.stress_variation > 0
    squares = [compared(fitted, [error]).errors().force_mev_per_angstrom ** 2 for error in own]
    assert whole.force_variation == pytest.approx(np.std(squares, ddof=1) / np.mean(squares))
    assert whole.train_force_mev_per_angstrom is None
    assert judged_value(ConditionErrors, hot).frames == 1
    assert hot.force_variation == 0.0


def test_the_latest_count(fitted: Fitted) -> None:
    """Two of three: the first, which an early potential led to, is left out."""
    frames = [
        frame(seed, f"audit: {COLD}, step {seed}", rattle_angstrom=0.3 if seed == 0 else 0.1)
        for seed in range(3)
    ]
    (last,) = compared(fitted, frames).conditions([COLD], None, 2)
    (same,) = compared(fitted, frames[1:]).conditions([COLD], None, 16)
    assert last == pytest.approx(same)


def test_what_was_trained_on_in_the_condition_is_told_beside(fitted: Fitted) -> None:
    """Of the training set only frames of that condition, whatever they were chosen for."""
    audit, halt = (
        frame(1, f"audit: {COLD}, step 1"),
        frame(2, f"halt: {COLD} #2, step 2", rattle_angstrom=0.3),
    )
    train = compared(fitted, [frame(3, "rattled: Cu fcc"), halt])
    (found,) = compared(fitted, [audit]).conditions([COLD], train, 16)
    alone = compared(fitted, [halt]).errors()
    assert found.train_force_mev_per_angstrom == pytest.approx(alone.force_mev_per_angstrom)
    assert found.train_energy_mev_per_atom == pytest.approx(alone.energy_mev_per_atom)
