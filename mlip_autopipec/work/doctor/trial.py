"""Trials of an oracle for `autopipecctl doctor --oracle`: what to try, and one label at a time.

The cell is the first prototype's unit cell with one atom moved, so that forces are not zero by
symmetry. Which settings are varied, and how, the oracle's own folder says. One that says nothing is
asked for the property cells by which the first labels of a campaign check it.
"""

import tempfile
import time
from pathlib import Path

from ase import Atoms, units

from mlip_autopipec.contract.doctor import LabelQuestion, Trial, TrialLabel, TrialsQuestion
from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.label import oracle_from
from mlip_autopipec.contract.oracle import OracleTrial, oracle_code
from mlip_autopipec.contract.results.structure import PropertyCell
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.steps.label import label_with


def plan(asked: TrialsQuestion) -> tuple[Trial, ...]:
    """Every trial in order."""
    oracle, cells = asked.oracle, _cells(asked.prototype)
    moved, twin = (
        next(name for name, (_, about) in cells.items() if about.kind == kind)
        for kind in ("moved", "twin")
    )
    code = oracle_code(oracle.kind)
    if not code.trials:
        every = [moved, *(name for name in cells if name != moved)]
        as_asked = OracleTrial("as asked", "", oracle, "moved", 1.0)
        return tuple(_trial(as_asked, name, *cells[name]) for name in every)
    trials = code.work("trials")(oracle, cells[moved][0], cells[twin][0])
    named = {"moved": moved, "twin": twin}
    return tuple(_trial(trial, named[trial.cell], *cells[named[trial.cell]]) for trial in trials)


def label(asked: LabelQuestion) -> TrialLabel:
    """One trial: numbers per atom and how long it took. Raises TaskFailed as a calculation does."""
    atoms = _cells(asked.prototype)[asked.cell][0]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autopipec-trial-") as name:
        folder = Path(name)
        job = Job(folder, folder, "trial", None, {}, cores=1)
        found, _ = label_with(job, oracle_from(asked.oracle), atoms)
    xx, yy, zz, yz, xz, xy = map(float, found.stress / units.GPa)
    return TrialLabel(
        energy_ev=found.energy_ev,
        n_atoms=len(atoms),
        volume_angstrom3=float(atoms.get_volume()),
        stress_gpa=(xx, yy, zz, yz, xz, xy),
        forces_ev_per_angstrom=tuple(
            (float(x), float(y), float(z)) for x, y, z in found.forces[:8]
        ),
        wall_s=round(time.monotonic() - began, 3),
    )


def _cells(prototype: Prototype) -> dict[str, tuple[Atoms, PropertyCell]]:
    """Each by its name, and what it is of the crystal."""
    every = [*properties.twins(prototype), *properties.cells(prototype, GateProbes())]
    return {cell.name: (cell.atoms, cell.about) for cell in every if cell.about is not None}


def _trial(trial: OracleTrial, name: str, atoms: Atoms, about: PropertyCell) -> Trial:
    return Trial(
        kind=trial.kind,
        description=trial.description,
        oracle=plain(trial.oracle),
        cell=name,
        about=about,
        n_atoms=len(atoms),
        cost=round(trial.cost, 3),
        key=trial.key,
        value=trial.value,
    )
