"""Whether it labels, on this machine."""

from collections.abc import Sequence
from typing import Any

from ase import Atoms

from mlip_autopipec.work.structures import finite
from toy_codes.morse.run import numbers
from toy_codes.morse.settings import MorseOracle


def examine(oracle: MorseOracle, elements: Sequence[str], distance_min_angstrom: float) -> dict[str, Any]:
    """Two atoms at the bottom of the well."""
    del distance_min_angstrom
    distance = oracle.distance_angstrom
    pair = Atoms([elements[0]] * 2, [[0, 0, 0], [distance, 0, 0]], cell=[10 * distance] * 3, pbc=True)
    found = numbers(pair, oracle)
    fit = finite(found.energy_ev, found.forces, found.stress)
    return {"fit": fit, "words": f"two atoms have {found.energy_ev:.3f} eV", "sure": True}
