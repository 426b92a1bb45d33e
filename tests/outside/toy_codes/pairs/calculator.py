"""The potential for whoever has this package: a calculator of ASE."""

from pathlib import Path
from typing import Any, ClassVar

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from toy_codes.pairs.run import load


class Pairs(Calculator):  # type: ignore[misc] # ASE says no types
    """Energy in eV, less the reference energies; forces in eV/Å, stress in eV/Å³."""

    implemented_properties: ClassVar = ["energy", "forces", "stress"]

    def __init__(self, potential: str) -> None:
        super().__init__()
        self.evaluator = load({"json": Path(potential)})

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        """As ASE asks for it."""
        super().calculate(atoms, properties, system_changes)
        found = self.evaluator.evaluate(self.atoms, graded=False)
        xx, yy, zz, xy, xz, yz = -found.virial_ev / self.atoms.get_volume()
        self.results = {
            "energy": found.energy_ev,
            "forces": found.forces,
            "stress": [xx, yy, zz, yz, xz, xy],
        }
