"""Whether phonopy gives what is known."""

import importlib.metadata
from typing import Any

from ase import Atoms
from ase.calculators.emt import EMT

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.contract.generate import PhononProbes, Prototype
from mlip_autopipec.work.codes.phonopy.phonons import frequencies, prepared

#: By ASE's own Phonons, too, to 0.01 THz; a test compares.
_EMT_COPPER_THZ = 7.97
_EMT_COPPER_OFF_THZ = 0.05


def examine() -> Examined:
    """Frequencies of EMT copper by phonopy; the highest is known."""

    def forces(atoms: Atoms) -> Any:
        atoms.calc = EMT()
        return atoms.get_forces()

    copper = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6)
    asked = PhononProbes(supercell_min_angstrom=7.0)
    found = frequencies(copper, prepared(copper, asked), forces)
    highest = float("nan") if found is None else float(found.max())
    message = (
        f"phonopy {importlib.metadata.version('phonopy')}; the highest frequency of EMT copper is"
        f" {highest:.2f} THz"
    )
    return Examined(fit=abs(highest - _EMT_COPPER_THZ) < _EMT_COPPER_OFF_THZ, message=message)
