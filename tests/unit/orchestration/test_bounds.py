"""Bounds from few frames: against scipy's distributions, and against what they promise."""

from math import inf

import numpy as np
import pytest
from scipy import stats

from mlip_autopipec.orchestration.bounds import (
    chi_square_quantile,
    mean_square_bound,
    rms_bound,
    student_quantile,
)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 15, 16, 40])
def test_quantiles_are_those_of_scipy(degrees: int) -> None:
    """Odd and even degrees of freedom, both tails."""
    for p in (0.01, 0.05, 0.1, 0.5, 0.9, 0.99):
        assert chi_square_quantile(p, degrees) == pytest.approx(
            stats.chi2.ppf(p, degrees), rel=1e-8
        )
        if p >= 0.5:
            assert student_quantile(p, degrees) == pytest.approx(
                stats.t.ppf(p, degrees), rel=1e-8, abs=1e-8
            )


def test_too_few_frames_bound_nothing() -> None:
    """One frame has an energy and no scatter; none has nothing."""
    assert rms_bound(1.0, 0, 0.9) == inf
    assert rms_bound(1.0, 1, 0.9) == pytest.approx(7.96, abs=0.01)
    assert mean_square_bound(1.0, 0.0, 1, 0.9) == inf
    assert mean_square_bound(1.0, 0.0, 2, 0.9) == 1.0


@pytest.mark.parametrize("frames", [3, 6, 16])
@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_the_true_error_of_energies_lies_below_as_often_as_said(frames: int, bias: float) -> None:
    """Normal errors, with a common bias or without: at least 90 of 100 bounds hold."""
    rng = np.random.default_rng(7)
    errors = bias + rng.normal(size=(4000, frames))
    bounds = [rms_bound(float(np.sqrt((row**2).mean())), frames, 0.9) for row in errors]
    assert (np.array(bounds) >= np.sqrt(1 + bias**2)).mean() > 0.885


@pytest.mark.parametrize("frames", [3, 6, 16])
def test_the_true_error_of_forces_lies_below_nearly_as_often_as_said(frames: int) -> None:
    """Frames whose mean squares scatter by a third (a gamma distribution)."""
    rng = np.random.default_rng(7)
    squares = rng.gamma(9.0, 1 / 9, size=(4000, frames))
    bounds = [
        mean_square_bound(
            float(np.sqrt(row.mean())), float(row.std(ddof=1) / row.mean()), frames, 0.9
        )
        for row in squares
    ]
    assert (np.array(bounds) >= 1.0).mean() > 0.86
