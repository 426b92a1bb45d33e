"""What this cycle's labels taught, by the way in which they were chosen.

The error that the current potential made at a label, before anything learned from it, is what the
label had to teach. Beside labels drawn by chance it tells whether a way of choosing is worth its
place (`orchestration/shares.py`).
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.results.train import Lesson
from mlip_autopipec.work.ace.calibration import FORCE_ERROR
from mlip_autopipec.work.ace.weights import core_of
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.origins import origin_of

_MEV = 1000.0


def lessons(new: Sequence[Atoms], potential: Evaluator) -> tuple[Lesson, ...]:
    """One for each source of training labels; none where no potential came before.

    `new` are this cycle's labels, which carry the force error of the potential before
    (`calibration.note`).
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for frame in new:
        if frame.info["role"] != "train" or FORCE_ERROR not in frame.arrays:
            continue
        core = core_of(frame)
        after = (
            np.square(potential.evaluate(frame, graded=False).forces - frame.get_forces())
            .sum(axis=1)[core]
            .mean()
        )
        before = np.square(frame.arrays[FORCE_ERROR][core]).mean()
        found.setdefault(origin_of(frame).kind, []).append((float(before), float(after)))
    return tuple(_lesson(source, pairs) for source, pairs in sorted(found.items()))


def _lesson(source: str, mean_squares: Sequence[tuple[float, float]]) -> Lesson:
    """Per force component, as every other force error."""
    before, after = np.sqrt(np.mean(mean_squares, axis=0) / 3.0) * _MEV
    return Lesson(
        source=source,
        labels=len(mean_squares),
        before_mev_per_angstrom=round(float(before), 3),
        after_mev_per_angstrom=round(float(after), 3),
    )
