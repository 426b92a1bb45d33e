"""Ways to choose from a pool for `scripts/bench labels`: at random, farthest point, a committee.

Each gives the pool's structures in the order in which they are labelled.
"""

from collections.abc import Callable, Sequence

import numpy as np
from labels_fit import Fitter, Rows

#: Of the committee, as users of DP-GEN commonly have it: four potentials, and a window of the
#: largest deviation.
_COMMITTEE = 4
_WINDOW_EV_PER_ANGSTROM = (0.05, 0.15)
_BATCH = 20
#: Part of the frames that may lie above the window.
_FAILED_MAX = 0.05

#: From the generated structures and a pool to the places of the first so many to label.
Choice = Callable[[Fitter, Sequence[Rows], Sequence[Rows], int, np.random.Generator], list[int]]


def at_random(
    _: Fitter, __: Sequence[Rows], pool: Sequence[Rows], wanted: int, rng: np.random.Generator
) -> list[int]:
    """Without replacement."""
    return [int(index) for index in rng.permutation(len(pool))[:wanted]]


def farthest(
    _: Fitter, generated: Sequence[Rows], pool: Sequence[Rows], wanted: int, __: np.random.Generator
) -> list[int]:
    """The structure with mean B-projections farthest from all labelled ones, one after the other.

    Each projection is divided by its standard deviation in the pool; one that never changes counts
    nothing.
    """
    points = np.array([item.energy_row for item in pool])
    known = np.array([item.energy_row for item in generated])
    spread = points.std(axis=0)
    moving = spread > 1e-12 * np.abs(points).max()
    points, known = points[:, moving] / spread[moving], known[:, moving] / spread[moving]
    nearest = np.array([np.square(known - point).sum(axis=1).min() for point in points])
    chosen: list[int] = []
    for _turn in range(min(wanted, len(pool))):
        best = int(np.argmax(nearest))
        chosen.append(best)
        nearest = np.minimum(nearest, np.square(points - points[best]).sum(axis=1))
        nearest[chosen] = -1.0
    return chosen


def by_committee(
    fitter: Fitter,
    generated: Sequence[Rows],
    pool: Sequence[Rows],
    wanted: int,
    rng: np.random.Generator,
) -> list[int]:
    """Query by committee in batches of 20, as DP-GEN does: random frames in a window of deviations.

    The committee are fits to bootstrap resamples of what is labelled. A frame's deviation is the
    largest over its atoms of the root-mean-square distance of the committee's forces from their
    mean.
    """
    chosen: list[int] = []
    while len(chosen) < min(wanted, len(pool)):
        train = [*generated, *(pool[index] for index in chosen)]
        left = np.array(sorted(set(range(len(pool))) - set(chosen)))
        deviations = _deviations(fitter, train, [pool[index] for index in left], rng)
        batch = min(_BATCH, len(left))
        inside = left[_in_window(deviations, batch)]
        chosen += [int(index) for index in rng.permutation(inside)[:batch]]
    return chosen[:wanted]


def _deviations(
    fitter: Fitter, train: Sequence[Rows], pool: Sequence[Rows], rng: np.random.Generator
) -> np.ndarray:
    members = []
    for _ in range(_COMMITTEE):
        drawn = rng.integers(len(train), size=len(train))
        members.append(fitter.fit([train[index] for index in drawn]))
    coefficients = np.array(members).T  # (n_functions, members)
    found = []
    for item in pool:
        forces = (item.force_rows @ coefficients).reshape(-1, 3, _COMMITTEE)
        from_mean = forces - forces.mean(axis=2, keepdims=True)
        found.append(float(np.sqrt(np.square(from_mean).sum(axis=1).mean(axis=1)).max()))
    return np.array(found)


def _in_window(deviations: np.ndarray, batch: int) -> np.ndarray:
    """Places in the window; both of its ends are moved where it would starve the committee.

    The upper end is raised until at most a twentieth of the frames lie above it: the pool's guards
    have kept it sane, and users do so when too many frames are called failed. The lower end is
    lowered until a batch lies inside.
    """
    low, high = _WINDOW_EV_PER_ANGSTROM
    high = max(high, float(np.percentile(deviations, 100 * (1 - _FAILED_MAX))))
    below = np.flatnonzero(deviations <= high)
    inside = below[deviations[below] >= low]
    if len(inside) < batch:
        inside = below[np.argsort(-deviations[below])][:batch]
    return inside
