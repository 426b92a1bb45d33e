"""What is told of all looks at γ of a walk or a pool: rows of a step and the largest γ at it."""

import numpy as np

from mlip_autopipec.contract.explore import GAMMA_BINS_PER_DECADE

_TRACE_POINTS_MAX = 200
#: The first and the last bin of γ: of 0.1 and below, of 1000 and above.
_BINS = (-8, 24)


def thinned(trace: np.ndarray) -> tuple[tuple[int, float], ...]:
    """At most 200 points (step, γ max), each the largest of its stretch: no peak is lost."""
    stretches = np.array_split(trace, min(len(trace), _TRACE_POINTS_MAX)) if len(trace) else []
    peaks = [stretch[int(np.argmax(stretch[:, 1]))] for stretch in stretches]
    return tuple((int(peak[0]), round(float(peak[1]), 4)) for peak in peaks)


def counted(trace: np.ndarray) -> tuple[tuple[float, int], ...]:
    """How often γ was met at which height.

    Every look counts, where the thinned trace keeps the peaks alone.
    """
    if not len(trace):
        return ()
    indices = np.floor(
        GAMMA_BINS_PER_DECADE * np.log10(np.maximum(trace[:, 1], np.finfo(float).tiny))
    )
    bins, counts = np.unique(np.clip(indices, *_BINS), return_counts=True)
    found = zip(bins, counts, strict=True)
    return tuple(
        (round(float(10 ** (index / GAMMA_BINS_PER_DECADE)), 4), int(number))
        for index, number in found
    )
