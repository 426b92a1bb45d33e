"""Crystals by name, short distances, the numbers of a label, and extended XYZ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from ase.io.extxyz import XYZError
from ase.neighborlist import neighbor_list

from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.work import families
from mlip_autopipec.work.job import TaskFailed

#: Orthogonal cells of the two-element crystals that ase.build.bulk does not make: (fractional
#: sites, element of each).
_ORDERED: Mapping[str, Sequence[tuple[tuple[float, float, float], int]]] = {
    "l1_0": (((0, 0, 0), 0), ((0.5, 0.5, 0), 0), ((0.5, 0, 0.5), 1), ((0, 0.5, 0.5), 1)),
    "l1_2": (((0, 0, 0), 0), ((0.5, 0.5, 0), 1), ((0.5, 0, 0.5), 1), ((0, 0.5, 0.5), 1)),
}

#: Of an occupancy that a file wrote, from 1: three digits are usual.
_OCCUPANCY_OFF = 1e-3


@dataclass(frozen=True)
class Numbers:
    """What a label is made of: eV, eV/Å, and eV/Å³ in Voigt's order with ASE's sign."""

    energy_ev: float
    forces: np.ndarray
    stress: np.ndarray
    magnetization_bohr: float | None = None


def crystal(prototype: Prototype) -> Atoms:
    """The conventional, orthogonal cell of a prototype, repeated; lengths in Å.

    It begins a family of cells.
    """
    name, elements, a = prototype.structure, prototype.elements, prototype.lattice_constant_angstrom
    if name in _ORDERED:
        c_over_a = prototype.c_over_a or 1.0
        sites = _ORDERED[name]
        cell = Atoms(
            symbols=[elements[which] for _, which in sites],
            scaled_positions=[site for site, _ in sites],
            cell=[a, a, a * c_over_a],
            pbc=True,
        )
    elif name == "hcp":
        cell = bulk(
            elements[0], name, a=a, covera=prototype.c_over_a or (8 / 3) ** 0.5, orthorhombic=True
        )
    else:
        cell = bulk("".join(elements), name, a=a, cubic=True)
    return families.begin(cell.repeat(prototype.repeat), prototype.repeat, vacuum=())


def shortest_distance(atoms: Atoms, cutoff_angstrom: float) -> float:
    """The shortest distance of two atoms or images in Å; `cutoff_angstrom` if none is shorter."""
    distances = neighbor_list("d", atoms, cutoff_angstrom)
    return float(distances.min()) if len(distances) else cutoff_angstrom


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Write extended XYZ whole: a reader never sees a part of it."""
    temporary = path.with_name(f".{path.name}")
    if frames:
        write(temporary, list(frames), format="extxyz")
    else:
        temporary.write_bytes(b"")
    temporary.rename(path)


def read_frames(path: Path) -> list[Atoms]:
    """Every frame of an extended XYZ file; none of an empty one.

    Raises TaskFailed (bad_input) on other content.
    """
    if path.stat().st_size == 0:
        return []
    try:
        frames: list[Atoms] = read(path, index=":", format="extxyz")
    except (XYZError, ValueError, KeyError, IndexError) as error:
        raise TaskFailed("bad_input", f"{path} is no extended XYZ: {error}") from error
    return frames


def user_structures(path: Path, elements: Sequence[str]) -> list[Atoms]:
    """Every structure of a file in any format that ASE reads, bare and periodic.

    Raises TaskFailed (bad_input) for what is no crystal, liquid or cell of the campaign's elements.
    """
    try:
        found = read(path, index=":")
    except Exception as error:  # ASE's readers raise whatever their format makes them stumble over
        raise TaskFailed(
            "bad_input", f"ASE cannot read {path.name}: {type(error).__name__}: {error}"
        ) from error
    for atoms in found:
        if shared := shared_site(atoms):
            raise TaskFailed(
                "bad_input",
                f"{path.name} has sites that are partly occupied, such as {shared}. A label is of"
                " whole atoms: give a structure with one on each site, or ask"
                " generation.variations for an alloy",
            )
    structures = [
        Atoms(each.get_chemical_symbols(), positions=each.positions, cell=each.cell, pbc=True)
        for each in found
    ]
    for atoms in structures:
        if not len(atoms) or atoms.cell.rank < 3 or not finite(atoms.positions, atoms.cell.array):  # noqa: PLR2004
            raise TaskFailed("bad_input", f"{path.name} has no atoms, or no cell of three vectors")
        if unknown := sorted(set(atoms.get_chemical_symbols()) - set(elements)):
            raise TaskFailed(
                "bad_input",
                f"{path.name} has {', '.join(unknown)}, which is not in campaign.elements",
            )
    if not structures:
        raise TaskFailed("bad_input", f"{path.name} holds no structure")
    return structures


def finite(*arrays: object) -> bool:
    """Whether every number is finite."""
    return all(bool(np.isfinite(np.asarray(array, dtype=float)).all()) for array in arrays)


def shared_site(atoms: Atoms) -> str:
    """The first site that is not one whole atom, in words; empty if there is none.

    CIF readers keep what shares a site in `info`, which other formats hand on; readers of PDB,
    muSTEM and Prismatic have one number for each atom.
    """
    occupancy = atoms.info.get("occupancy")
    sites = (
        occupancy.values()
        if isinstance(occupancy, Mapping)
        else occupancy
        if isinstance(occupancy, Sequence)
        else ()
    )
    for site in sites:
        parts = (
            {str(symbol): float(part) for symbol, part in site.items()}
            if isinstance(site, Mapping)
            else {}
        )
        if parts and (len(parts) > 1 or abs(sum(parts.values()) - 1) > _OCCUPANCY_OFF):
            return " and ".join(f"{part:.0%} {symbol}" for symbol, part in parts.items())
    for name, values in atoms.arrays.items():
        if (
            name.startswith("occupanc")
            and np.issubdtype(values.dtype, np.number)
            and values.ndim == 1
        ):
            partly = np.flatnonzero(np.abs(values - 1) > _OCCUPANCY_OFF)
            if len(partly):
                return f"{values[partly[0]]:.0%} {atoms[partly[0]].symbol} (atom {partly[0] + 1})"
    return ""
