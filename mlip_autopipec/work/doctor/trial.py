"""Trials of an oracle for `autopipecctl doctor --oracle`: what to try, and one label at a time.

The cell is the first prototype's unit cell with one atom moved, so that forces are not zero by symmetry. Settings of
pw.x are varied one by one about those of the site file, each kind up to one that is clearly finer: a setting costs what
it differs by from the finest of its kind. Any oracle is also asked for the property cells by which the first labels of
a campaign check it.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.label import AnyOracle, AseOracle, EspressoOracle, oracle_from
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.work import families
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.steps.label import label_with

#: Parts of the site file's k-spacing, the coarsest first; the mesh of the last is the reference.
_SPACINGS = (1.5, 1.0, 1 / 1.5, 1 / 2)
_CUTOFFS = (1.0, 1.25, 1.5)
_WIDTHS = (2.0, 1.0, 0.5)
_PLANE_WAVES_POWER = 1.5
#: What a k-point costs in a cell of twice as many atoms.
_TWICE_THE_ATOMS = 4.0


def plan(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every trial in its order: what is varied and to what, the oracle with it, the cell, and its cost.

    `cost` is relative to the first trial, which has the settings of the site file.
    """
    oracle, prototype = oracle_from(asked["oracle"]), read(Prototype, asked["prototype"])
    cells = _cells(prototype)
    moved = next(name for name, cell in cells.items() if cell.about and cell.about["kind"] == "moved")
    if isinstance(oracle, AseOracle):
        return [_trial("as asked", "", oracle, cells[name], 1.0) for name in (moved, *(n for n in cells if n != moved))]
    oracle = replace(oracle, k_mesh="family")
    found = [_trial("as asked", _words(oracle, cells[moved]), oracle, cells[moved], 1.0)]
    found += [
        _trial(kind, _words(varied, cells[moved], kind), varied, cells[moved], _cost(varied, oracle, cells[moved]))
        for kind, varied in _varied(oracle, cells[moved])
    ]
    twin = next(cell for cell in cells.values() if cell.about and cell.about["kind"] == "twin")
    cost = _TWICE_THE_ATOMS * _points(oracle, twin) / _points(oracle, cells[moved])
    return [*found, _trial("as asked", "", oracle, twin, cost)]


def label(asked: Mapping[str, Any]) -> dict[str, Any]:
    """One trial: numbers per atom, and how long it took. Raises TaskFailed as a calculation does."""
    atoms = _cells(read(Prototype, asked["prototype"]))[asked["cell"]].atoms
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autopipec-trial-") as name:
        folder = Path(name)
        job = Job(folder, folder, "trial", None, {}, cores=1)
        found, _ = label_with(job, oracle_from(asked["oracle"]), atoms)
    return {
        "energy_ev": found.energy_ev,
        "n_atoms": len(atoms),
        "volume_angstrom3": float(atoms.get_volume()),
        "stress_gpa": [float(part) for part in found.stress / units.GPa],
        "forces_ev_per_angstrom": [[float(part) for part in force] for force in found.forces[:8]],
        "wall_s": round(time.monotonic() - began, 3),
    }


def _cells(prototype: Prototype) -> dict[str, properties.Cell]:
    every = [*properties.twins(prototype), *properties.cells(prototype, GateProbes())]
    return {cell.name: cell for cell in every}


def _trial(kind: str, words: str, oracle: AnyOracle, cell: properties.Cell, cost: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "words": words,
        "oracle": plain(oracle),
        "cell": cell.name,
        "about": dict(cell.about or {}),
        "n_atoms": len(cell.atoms),
        "cost": round(cost, 3),
    }


def _varied(oracle: EspressoOracle, cell: properties.Cell) -> Iterator[tuple[str, EspressoOracle]]:
    """The finest of each kind comes last of it; what would be the same calculation is left out."""
    meshes = {_mesh(oracle, cell)}
    for part in _SPACINGS:
        varied = replace(oracle, k_spacing_inverse_angstrom=round(oracle.k_spacing_inverse_angstrom * part, 4))
        if (mesh := _mesh(varied, cell)) not in meshes:
            meshes.add(mesh)
            yield "k-mesh", varied
    if oracle.smearing is not None:
        for part in _WIDTHS:
            if part != 1.0:
                width = round(oracle.smearing.width_ry * part, 6)
                yield "smearing", replace(oracle, smearing=replace(oracle.smearing, width_ry=width))
    for part in _CUTOFFS[1:]:
        yield (
            "cutoff",
            replace(oracle, ecutwfc_ry=oracle.ecutwfc_ry * part, ecutrho_ry=oracle.ecutrho_ry * part),
        )


def _mesh(oracle: EspressoOracle, cell: properties.Cell) -> tuple[int, int, int]:
    return families.mesh(cell.atoms, oracle.k_spacing_inverse_angstrom)


def _points(oracle: EspressoOracle, cell: properties.Cell) -> int:
    return int(np.prod(_mesh(oracle, cell)))


def _cost(varied: EspressoOracle, oracle: EspressoOracle, cell: properties.Cell) -> float:
    """By the number of k-points, and of plane waves."""
    waves = (varied.ecutwfc_ry / oracle.ecutwfc_ry) ** _PLANE_WAVES_POWER
    return float(_points(varied, cell) / _points(oracle, cell) * waves)


def _words(oracle: EspressoOracle, cell: properties.Cell, kind: str = "") -> str:
    mesh = "×".join(map(str, _mesh(oracle, cell)))
    width = oracle.smearing.width_ry if oracle.smearing else None
    words = {
        "k-mesh": f"k {oracle.k_spacing_inverse_angstrom:g} per Å ({mesh})",
        "smearing": f"width {width:g} Ry" if width is not None else "fixed occupations",
        "cutoff": f"cutoff {oracle.ecutwfc_ry:g}/{oracle.ecutrho_ry:g} Ry",
    }
    return words[kind] if kind else ", ".join(words.values())
