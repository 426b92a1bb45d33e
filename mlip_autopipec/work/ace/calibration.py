"""What γ means here: the force error of atoms that were selected at that γ.

γ says how far an environment lies outside the active set, not how wrong the forces are. But every
label that comes in gives a pair for each of its atoms: the γ and the force error of the potential
that was current until then, which had not seen it. The pairs are kept with the labels in the data
set, as per-atom arrays, and a monotone (isotonic) fit for each element over all of them says what
error to expect at a γ. Atoms of an embedded cell's buffer are left out: they are nobody's
environment. The labels are not drawn at random (above the γ window all have been chosen for their
γ), but at a given γ nothing was chosen for its error, which is what the fit conditions on.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from sklearn.isotonic import IsotonicRegression

from mlip_autopipec.contract.results.train import Calibration
from mlip_autopipec.work.ace.weights import core_of
from mlip_autopipec.work.evaluation import Evaluator

#: Per-atom arrays of a label in the data set.
GAMMA, FORCE_ERROR = "gamma_before", "force_error_before"
_MEV = 1000.0
_KNOTS_MAX = 24
#: Fewer pairs of an element say nothing.
_PAIRS_MIN = 20


def note(new: Sequence[Atoms], current: Evaluator) -> None:
    """Note with each new label what the current potential made of it: γ, and |ΔF| in eV/Å."""
    for frame in new:
        said = current.evaluate(frame)
        frame.arrays[GAMMA] = said.gamma
        frame.arrays[FORCE_ERROR] = np.linalg.norm(said.forces - frame.get_forces(), axis=1)


def calibrate(frames: Sequence[Atoms]) -> tuple[Calibration, ...]:
    """The fit of each element; none of one with too few pairs."""
    noted = [
        frame for frame in frames if GAMMA in frame.arrays and frame.info["role"] != "property"
    ]
    if not noted:
        return ()
    symbols = np.concatenate(
        [np.array(frame.get_chemical_symbols())[core_of(frame)] for frame in noted]
    )
    gamma = np.concatenate([frame.arrays[GAMMA][core_of(frame)] for frame in noted])
    errors = np.concatenate([frame.arrays[FORCE_ERROR][core_of(frame)] for frame in noted]) * _MEV
    found = (
        _fit(str(name), gamma[symbols == name], errors[symbols == name])
        for name in sorted(set(symbols))
    )
    return tuple(fit for fit in found if fit is not None)


def _fit(element: str, gamma: np.ndarray, errors: np.ndarray) -> Calibration | None:
    if len(gamma) < _PAIRS_MIN:
        return None
    model = IsotonicRegression(increasing=True).fit(gamma, errors)
    knots = np.column_stack([model.X_thresholds_, model.y_thresholds_])
    indices = np.unique(np.linspace(0, len(knots) - 1, _KNOTS_MAX).round().astype(int))
    curve = tuple((round(float(x), 4), round(float(y), 3)) for x, y in knots[indices])
    return Calibration(element=element, pairs=len(gamma), curve=curve)
