"""Make the three label sets here: the same 60 copper structures by EMT, as three tools write them.

- `reference_names.extxyz`: names that begin with REF_, and a virial;
- `atomic_units.extxyz`: Hartree and Hartree/Bohr, total energies with those of the cores in them,
  no stress;
- `fitting.pckl.gzip`: a pandas data frame as pacemaker reads it, with `energy_corrected`.

Run it by hand: `python tests/data/labels/make.py`. A test holds the files to be these structures.
"""

from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import write

HERE = Path(__file__).parent
#: What an all-electron code adds to the energy of each atom, in eV.
CORE_EV = -45059.3
COUNT = 60


def structures() -> list[Atoms]:
    """Copper in cells of 8 atoms: volumes, strains and rattles of MD at some hundred kelvin."""
    found = []
    for number in range(COUNT):
        rng = np.random.default_rng([20, number])
        atoms = bulk("Cu", "fcc", a=3.61, cubic=True).repeat((1, 1, 2))
        strain = rng.uniform(-0.025, 0.025, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.positions += rng.normal(
            0.0, (0.03, 0.06, 0.09, 0.13)[number % 4], atoms.positions.shape
        )
        found.append(atoms)
    return found


def main() -> None:
    """Label the structures and write the three files."""
    import pandas as pd  # noqa: PLC0415 - for those who make the files alone

    named, atomic, rows = [], [], []
    for atoms in structures():
        truth = atoms.copy()
        truth.calc = EMT()
        energy, forces = float(truth.get_potential_energy()), truth.get_forces()
        one = atoms.copy()
        one.info = {
            "REF_energy": energy,
            "REF_virial": -truth.get_volume() * truth.get_stress(voigt=False),
        }
        one.set_array("REF_forces", forces)
        named.append(one)
        other = atoms.copy()
        other.info = {"energy": (energy + CORE_EV * len(atoms)) / units.Hartree}
        other.set_array("forces", forces * units.Bohr / units.Hartree)
        atomic.append(other)
        rows.append({"ase_atoms": atoms, "energy_corrected": energy, "forces": forces})
    write(HERE / "reference_names.extxyz", named, format="extxyz")
    write(HERE / "atomic_units.extxyz", atomic, format="extxyz")
    table = {name: [row[name] for row in rows] for name in rows[0]}
    pd.DataFrame(table).to_pickle(HERE / "fitting.pckl.gzip", compression="gzip", protocol=4)


if __name__ == "__main__":
    main()
