"""How much each number of a label counts in a fit and its errors: the force mask of embedded cells.

An embedded cell carries a per-atom array `core`: true where the atom's environment is that of the
source, false in the buffer, which has been cut and mended. Whole structures carry none; all of
their atoms are core.

The label of an embedded cell is no approximation: it is the oracle's answer for that very cell, so
nothing has to be masked for the fit to be consistent. Buffer atoms count less because their
environments are not what MD meets, and would take capacity from those that it does. They count more
than nothing, because the active set is made of all atoms (`pace_activeset -a` knows no mask): γ may
claim to know an environment only if the fit has seen it. The energy, a sum over all atoms, counts
as much as the average atom of its cell does.

Labels are chosen where they teach forces most, which is where it is hot: of the 30 labels of two
batches on Ni3Al 24 were of four conditions, of eight. A basis cannot have everything, and what it
gives up it gives up where labels are few, the energies of cold crystals. So in a fit the labels of
each condition together have the same weight of energies: after 50 labels 0.43 meV/atom instead of
0.46, and forces as before.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlip_autopipec.work.origins import origin_of


def core_of(frame: Atoms) -> np.ndarray:
    """The force mask, shape (n_atoms,): true where the environment is that of the source."""
    if "core" not in frame.arrays:
        return np.ones(len(frame), dtype=bool)
    return np.asarray(frame.arrays["core"], dtype=bool)


def force_weights(frame: Atoms, buffer_weight: float) -> np.ndarray:
    """Each atom's force weight, shape (n_atoms,): 1 in the core, `buffer_weight` in the buffer."""
    return np.where(core_of(frame), 1.0, buffer_weight)


def energy_weight(frame: Atoms, buffer_weight: float) -> float:
    """The weight of the energy: that of the average atom."""
    return float(force_weights(frame, buffer_weight).mean())


def fitted_energy_weights(frames: Sequence[Atoms], buffer_weight: float) -> np.ndarray:
    """The weight of each energy in a fit, shape (n_frames,).

    It is that of the average atom; and frames of walkers share what they have together evenly among
    their conditions.
    """
    own = np.array([energy_weight(frame, buffer_weight) for frame in frames])
    conditions = [origin_of(frame).condition for frame in frames]
    counts = Counter(filter(None, conditions))
    if not counts:
        return own
    mean = counts.total() / len(counts)
    return own * [mean / counts[name] if name else 1.0 for name in conditions]


def all_weights(frames: Sequence[Atoms], buffer_weight: float) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each energy, and of each force component ordered as `get_forces().ravel()`."""
    of_energies = np.array([energy_weight(frame, buffer_weight) for frame in frames])
    of_forces = np.concatenate([force_weights(frame, buffer_weight) for frame in frames]).repeat(3)
    return of_energies, of_forces
