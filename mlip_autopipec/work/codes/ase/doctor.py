"""Whether this calculator labels these elements, on this machine."""

from collections.abc import Sequence

from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.work.codes.ase.run import label_atoms
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.structures import finite

#: Of the cell in which a calculator is tried, by the atom's covalent radius: no atom meets itself
#: too closely.
_CELL_IN_RADII = 2.5
#: No such module or class, a wrong argument, an element or a property that it does not know: so
#: everywhere.
_SURE = (ModuleNotFoundError, AttributeError, TypeError, ValueError, NotImplementedError)


def examine(oracle: AseOracle, elements: Sequence[str], distance_min_angstrom: float) -> Examined:
    """Label one atom per element, alone in a small periodic cell.

    What a calculator has not, it has nowhere. Any other error may be of this machine, which is not
    where jobs run.
    """
    for element in elements:
        side = max(
            _CELL_IN_RADII * float(covalent_radii[atomic_numbers[element]]),
            1.05 * distance_min_angstrom,
        )
        atom = Atoms(element, cell=[side] * 3, pbc=True)
        try:
            found, _ = label_atoms(atom, oracle)
        except TaskFailed as error:
            sure = isinstance(error.__cause__, _SURE)
            return Examined(fit=False, message=f"{error} (of {element})", sure=sure)
        except Exception as error:  # noqa: BLE001 - a calculator may raise anything, and each is worth telling
            return Examined(
                fit=False, message=f"{type(error).__name__}: {error} (of {element})", sure=False
            )
        if not finite(found.energy_ev, found.forces, found.stress):
            return Examined(
                fit=False,
                message=f"energy, forces or stress are not finite (of {element})",
                sure=False,
            )
    return Examined(fit=True, message=f"{oracle.calculator} labels {', '.join(elements)}")
