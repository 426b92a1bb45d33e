"""What is told of all looks at γ that a walk, or a pool, has taken: rows of a step and the largest γ at it."""

import numpy as np

from mlip_autopipec.contract.explore import GAMMA_BINS_PER_DECADE

_TRACE_POINTS_MAX = 200
#: The first and the last bin of γ: of 0.1 and below, of 1000 and above.
_BINS = (-8, 24)


def thinned(trace: np.ndarray) -> list[tuple[int, float]]:
    """At most 200 points (step, γ max); each is the largest of its stretch, so that no peak is lost."""
    stretches = np.array_split(trace, min(len(trace), _TRACE_POINTS_MAX)) if len(trace) else []
    peaks = [stretch[int(np.argmax(stretch[:, 1]))] for stretch in stretches]
    return [(int(peak[0]), round(float(peak[1]), 4)) for peak in peaks]


def counted(trace: np.ndarray) -> list[tuple[float, int]]:
    """How often γ was met at which height: every look counts, where the thinned trace keeps the peaks alone."""
    if not len(trace):
        return []
    places = np.floor(GAMMA_BINS_PER_DECADE * np.log10(np.maximum(trace[:, 1], np.finfo(float).tiny)))
    bins, counts = np.unique(np.clip(places, *_BINS), return_counts=True)
    return [(round(float(10 ** (b / GAMMA_BINS_PER_DECADE)), 4), int(n)) for b, n in zip(bins, counts, strict=True)]
