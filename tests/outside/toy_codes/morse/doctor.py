"""Whether it labels, on this machine."""

from collections.abc import Sequence

from ase import Atoms

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.work.structures import finite
from toy_codes.morse.run import numbers
from toy_codes.morse.settings import MorseOracle


def examine(oracle: MorseOracle, elements: Sequence[str], distance_min_angstrom: float) -> Examined:
    """Two atoms at the bottom of the well."""
    del distance_min_angstrom
    distance = oracle.distance_angstrom
    pair = Atoms(
        [elements[0]] * 2, [[0, 0, 0], [distance, 0, 0]], cell=[10 * distance] * 3, pbc=True
    )
    found = numbers(pair, oracle)
    fit = finite(found.energy_ev, found.forces, found.stress)
    return Examined(fit=fit, message=f"two atoms have {found.energy_ev:.3f} eV")
