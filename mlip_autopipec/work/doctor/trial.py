"""Trials of an oracle for `autopipecctl doctor --oracle`: what to try, and one label at a time.

The cell is the first prototype's unit cell with one atom moved, so that forces are not zero by symmetry. Which settings
are varied, and how, the oracle's own folder says. One that says nothing is asked for the property cells by which the
first labels of a campaign check it.
"""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase import units

from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.label import oracle_from
from mlip_autopipec.contract.oracle import OracleTrial, oracle_code
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.codes.measuring import Cell
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.steps.label import label_with


def plan(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every trial in its order: what is varied and to what, the oracle with it, the cell, and its cost.

    `cost` is relative to the first trial, which has the settings of the site file.
    """
    oracle, prototype = oracle_from(asked["oracle"]), read(Prototype, asked["prototype"])
    cells = _cells(prototype)
    moved = next(name for name, cell in cells.items() if cell.about and cell.about["kind"] == "moved")
    code = oracle_code(oracle.kind)
    if not code.trials:
        every = [moved, *(name for name in cells if name != moved)]
        return [_trial(OracleTrial("as asked", "", oracle, "moved", 1.0), cells[name]) for name in every]
    twin = next(name for name, cell in cells.items() if cell.about and cell.about["kind"] == "twin")
    named = {"moved": cells[moved], "twin": cells[twin]}
    trials = code.work("trials")(oracle, named["moved"].atoms, named["twin"].atoms)
    return [_trial(trial, named[trial.cell]) for trial in trials]


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


def _cells(prototype: Prototype) -> dict[str, Cell]:
    every = [*properties.twins(prototype), *properties.cells(prototype, GateProbes())]
    return {cell.name: cell for cell in every}


def _trial(trial: OracleTrial, cell: Cell) -> dict[str, Any]:
    return {
        "kind": trial.kind,
        "words": trial.words,
        "oracle": plain(trial.oracle),
        "cell": cell.name,
        "about": dict(cell.about or {}),
        "n_atoms": len(cell.atoms),
        "cost": round(trial.cost, 3),
        "key": trial.key,
        "value": trial.value,
    }
