"""What this cycle's labels taught, by the way in which they were chosen.

The error that the current potential made at a label, before anything learned from it, is what the label had to teach.
Beside labels drawn by chance it tells whether a way of choosing is worth its place (`orchestration/shares.py`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.work.ace.calibration import FORCE_ERROR
from mlip_autopipec.work.ace.evaluator import Evaluator
from mlip_autopipec.work.ace.weights import core_of
from mlip_autopipec.work.origins import origin_of

_MEV = 1000.0


def lessons(new: Sequence[Atoms], potential: Evaluator) -> list[dict[str, Any]]:
    """One entry per source of training labels, as the control half's Lesson; none where no potential came before.

    `new` are this cycle's labels, which carry the force error of the potential before (`calibration.note`).
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for frame in new:
        if frame.info["role"] != "train" or FORCE_ERROR not in frame.arrays:
            continue
        core = core_of(frame)
        after = np.square(potential.evaluate(frame, graded=False).forces - frame.get_forces()).sum(axis=1)[core].mean()
        before = np.square(frame.arrays[FORCE_ERROR][core]).mean()
        found.setdefault(origin_of(frame).kind, []).append((float(before), float(after)))
    return [
        {"source": source, "labels": len(pairs), **_errors(np.mean(pairs, axis=0))}
        for source, pairs in sorted(found.items())
    ]


def _errors(mean_squares: np.ndarray) -> dict[str, float]:
    """Per force component, as every other force error."""
    before, after = np.sqrt(mean_squares / 3.0) * _MEV
    return {"before_mev_per_angstrom": round(float(before), 3), "after_mev_per_angstrom": round(float(after), 3)}
