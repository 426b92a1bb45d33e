"""Upper confidence bounds of root-mean-square errors from few frames. Pure; standard library only.

Quantiles come from the closed forms of both distributions for whole degrees of freedom (Abramowitz
and Stegun, Handbook of Mathematical Functions, 26.4.4-5 and 26.7.3-4), solved by halving.
"""

from collections.abc import Callable
from functools import cache
from math import cos, erf, exp, gamma, inf, pi, sin, sqrt

_HALVINGS = 80


def rms_bound(rms: float, frames: int, confidence: float) -> float:
    """What the true RMS is below at this confidence, if each frame gives a normal error about zero.

    By the χ² distribution. It errs on the safe side where the errors share a bias. Infinite for no
    frames.
    """
    if frames < 1:
        return inf
    return rms * sqrt(frames / chi_square_quantile(1 - confidence, frames))


def mean_square_bound(rms: float, variation: float, frames: int, confidence: float) -> float:
    """The same where each frame gives a mean square over many atoms, `variation` of which is known.

    `variation` is the standard deviation of the frames' mean squares (with n - 1) over their mean.
    By Student's t for the mean of the mean squares. Infinite for fewer than two frames.
    """
    if frames < 2:  # noqa: PLR2004 - a scatter takes two
        return inf
    return rms * sqrt(1 + student_quantile(confidence, frames - 1) * variation / sqrt(frames))


@cache
def chi_square_quantile(p: float, degrees: int) -> float:
    """Below it lies a part `p` of χ² with so many degrees of freedom."""
    return _solved(
        lambda x: _chi_square_below(x, degrees), p, 0.0, degrees + 40 * sqrt(degrees) + 100
    )


@cache
def student_quantile(p: float, degrees: int) -> float:
    """The same of Student's t, for p of at least a half."""
    angle = _solved(lambda theta: _student_below(theta, degrees), p, 0.0, pi / 2)
    return sqrt(degrees) * sin(angle) / cos(angle)


def _chi_square_below(x: float, degrees: int) -> float:
    half = x / 2
    if degrees % 2:
        terms = sum(half ** (k + 0.5) / gamma(k + 1.5) for k in range((degrees - 1) // 2))
        return erf(sqrt(half)) - exp(-half) * float(terms)
    return 1 - exp(-half) * sum(half**k / gamma(k + 1) for k in range(degrees // 2))


def _student_below(theta: float, degrees: int) -> float:
    """Below t = √degrees tan θ."""
    odd = degrees % 2
    term, total = (cos(theta), cos(theta)) if odd else (1.0, 1.0)
    for k in range(2 + odd, degrees - 1, 2):
        term *= cos(theta) ** 2 * (k - 1) / k
        total += term
    inside = (
        2 / pi * (theta + (sin(theta) * total if degrees > 1 else 0)) if odd else sin(theta) * total
    )
    return (1 + inside) / 2


def _solved(rising: Callable[[float], float], value: float, low: float, high: float) -> float:
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2
