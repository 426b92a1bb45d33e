"""The input of pw.x for one structure: text only.

The k-mesh is one for a family of cells (families.py), and no coarser than the spacing asked for, in
1/Å with the 2π. In campaigns that began before there were families it has ceil(|b| / spacing)
points along each reciprocal vector b of the cell at hand. They go on so: labels of two rules do not
go together. There is one point along directions that are not periodic. The mesh is centred at Γ
unless an offset is asked for, so that no crystal's symmetry is broken by it; along directions that
are not periodic it stays there, so an isolated atom has Γ alone.

Symmetry is not used (nosym): labelled structures are rattled, where there is none to gain from, and
one that is symmetric to within a tolerance must not be symmetrised into another.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from mlip_autopipec.work import families
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle

#: Where pw.x keeps its files, beside its input.
SCRATCH = "scratch"
PREFIX = "pw"
#: Found beside the input, it makes pw.x write what is needed to go on, and end.
EXIT_FILE = f"{PREFIX}.EXIT"
_SMEARINGS = {"mv": "mv", "mp": "mp", "gaussian": "gaussian", "fermi_dirac": "fd"}
#: A mesh does not grow for a rounding error in a cell.
_ROUNDING = 1e-6


def render_input(
    atoms: Atoms, oracle: EspressoOracle, changes: Mapping[str, Any], max_seconds: float
) -> str:
    """`pw.in`. `changes` are numerical settings beside the oracle's own, by their names in pw.x."""
    species = list(dict.fromkeys(atoms.get_chemical_symbols()))
    numerical = {
        "disk_io": "low",
        "restart_mode": "from_scratch",
        "mixing_beta": oracle.mixing_beta,
        "electron_maxstep": oracle.electron_maxstep,
        **changes,
    }
    control = {
        "calculation": "scf",
        "prefix": PREFIX,
        "outdir": f"./{SCRATCH}",
        "pseudo_dir": oracle.pseudo_folder,
        "tprnfor": True,
        "tstress": True,
        "max_seconds": max_seconds,
        **{name: numerical.pop(name) for name in ("disk_io", "restart_mode")},
    }
    electrons = {"conv_thr": oracle.scf_threshold_ry_per_atom * len(atoms), **numerical}
    lines = [
        *_namelist("CONTROL", control),
        *_namelist("SYSTEM", _system(atoms, oracle, species)),
        *_namelist("ELECTRONS", electrons),
        "ATOMIC_SPECIES",
        *(
            f"{element} {_mass(element):.6f} {oracle.pseudopotentials[element].file}"
            for element in species
        ),
        "K_POINTS automatic",
        " ".join(str(number) for number in (*k_mesh(atoms, oracle), *_k_offset(atoms, oracle))),
        "CELL_PARAMETERS angstrom",
        *(_vector(row) for row in atoms.cell.array),
        "ATOMIC_POSITIONS angstrom",
        *(
            f"{symbol} {_vector(row)}"
            for symbol, row in zip(atoms.symbols, atoms.positions, strict=True)
        ),
    ]
    return "\n".join(lines) + "\n"


def k_mesh(atoms: Atoms, oracle: EspressoOracle) -> tuple[int, int, int]:
    """Points along each reciprocal vector."""
    if oracle.k_mesh == "family":
        return families.mesh(atoms, oracle.k_spacing_inverse_angstrom)
    lengths = 2 * np.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    counts = np.ceil(lengths / oracle.k_spacing_inverse_angstrom - _ROUNDING).astype(int)
    a, b, c = (
        max(int(count), 1) if periodic else 1
        for count, periodic in zip(counts, atoms.pbc, strict=True)
    )
    return a, b, c


def _k_offset(atoms: Atoms, oracle: EspressoOracle) -> list[int]:
    return [
        offset if periodic else 0
        for offset, periodic in zip(oracle.k_offset, atoms.pbc, strict=True)
    ]


def _system(atoms: Atoms, oracle: EspressoOracle, species: list[str]) -> dict[str, Any]:
    system: dict[str, Any] = {
        "ibrav": 0,
        "nat": len(atoms),
        "ntyp": len(species),
        "ecutwfc": oracle.ecutwfc_ry,
        "ecutrho": oracle.ecutrho_ry,
        "nosym": True,
        "tot_charge": oracle.charge,
    }
    if (smearing := oracle.smearing) is None:
        system["occupations"] = "fixed"
    else:
        system |= {
            "occupations": "smearing",
            "smearing": _SMEARINGS[smearing.kind],
            "degauss": smearing.width_ry,
        }
    if moments := oracle.starting_magnetization:
        system["nspin"] = 2
        system |= {
            f"starting_magnetization({kind})": moments.get(element, 0.0)
            for kind, element in enumerate(species, 1)
        }
    system |= oracle.system
    return system


def _namelist(name: str, values: Mapping[str, Any]) -> list[str]:
    return [f"&{name}", *(f"  {key} = {_fortran(value)}" for key, value in values.items()), "/"]


def _fortran(value: object) -> str:
    if isinstance(value, bool):
        return f".{str(value).lower()}."
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def _mass(element: str) -> float:
    return float(atomic_masses[atomic_numbers[element]])


def _vector(row: np.ndarray) -> str:
    return " ".join(f"{number:.12f}" for number in row)
