"""Calculation: energy, forces and stress of one structure by the oracle, checked before they are a label.

Two oracles: pw.x (espresso.py), and any ASE calculator by its import path.
"""

import difflib
import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

import ase
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers, covalent_radii

from mlip_autopipec.contract.label import AnyOracle, AseOracle, CalculateParameters, EspressoOracle
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work.codes.espresso.run import label_by_espresso
from mlip_autopipec.work.codes.lammps.mpi import load_mpi
from mlip_autopipec.work.job import AnyJob, Job, Result, TaskFailed
from mlip_autopipec.work.structures import Numbers, finite, read_frames, write_frames

#: Property cells of unit cells have no more atoms; supercells for phonons have.
_PROPERTY_ATOMS_MAX = 32
#: Atoms of the largest conventional cell.
_FORCES_MAX = 8
#: Of the cell in which a calculator is tried, by the atom's covalent radius: no atom meets itself too closely.
_CELL_IN_RADII = 2.5
#: No such module or class, a wrong argument, an element or a property that it does not know: so everywhere.
_SURE = (ModuleNotFoundError, AttributeError, TypeError, ValueError, NotImplementedError)


def run(job: Job[CalculateParameters]) -> Result:
    """Label the structure."""
    asked = job.parameters
    frames = read_frames(job.one("structure"))
    if len(frames) != 1:
        raise TaskFailed(
            "bad_input", f"{job.one('structure')} holds {len(frames)} structures; one is labelled at a time"
        )
    (atoms,) = frames
    found, metrics = label_with(job, asked.oracle, atoms)
    metrics |= _checked(len(atoms), found, asked)
    if asked.role is Role.PROPERTY and len(atoms) <= _PROPERTY_ATOMS_MAX:
        metrics["numbers"] = _numbers(atoms, found)
    label = atoms.copy()  # with its arrays per atom, such as the core of a cut cell
    label.calc = SinglePointCalculator(label, energy=found.energy_ev, forces=found.forces, stress=found.stress)
    label.info = {
        "task": job.task,
        "role": asked.role.value,
        "origin": asked.origin,
        "settings": metrics["settings"],
    }
    path = job.workdir / "label.extxyz"
    write_frames(path, [label])
    return Result(metrics, {"label": path})


def label_with(job: AnyJob, oracle: AnyOracle, atoms: Atoms) -> tuple[Numbers, dict[str, Any]]:
    """The oracle's numbers, whatever it is, and the metrics beside them. Raises TaskFailed where it has none."""
    if isinstance(oracle, EspressoOracle):
        return label_by_espresso(job, oracle, atoms)
    return _label_by_ase(atoms, oracle)


def _label_by_ase(atoms: Atoms, oracle: AseOracle) -> tuple[Numbers, dict[str, Any]]:
    """Raises TaskFailed (numerical, bad_input) with the calculator's own words."""
    atoms.calc = _calculator(oracle)
    try:
        found = Numbers(float(atoms.get_potential_energy()), atoms.get_forces(), atoms.get_stress())
    except NotImplementedError as error:  # also ASE's, of calculators that know no stress or no such element
        raise TaskFailed("bad_input", f"the oracle cannot label this: {type(error).__name__}: {error}") from error
    except (CalculatorError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise TaskFailed("numerical", f"the oracle gave no result: {type(error).__name__}: {error}") from error
    return found, {"settings": _settings(oracle)}


def _calculator(oracle: AseOracle) -> BaseCalculator:
    """Import and make the calculator. Raises TaskFailed (bad_input) with the import path in it."""
    path = oracle.calculator
    module, _, name = path.rpartition(".")
    load_mpi()  # for those that run LAMMPS: as the walkers have it
    try:
        imported = importlib.import_module(module)
        calculator: BaseCalculator = getattr(imported, name)(**oracle.arguments)
    except (ImportError, AttributeError, TypeError, ValueError, OSError) as error:  # OSError: of a library it loads
        raise TaskFailed("bad_input", f"calculator {path}: {error}{_alike(module, name)}") from error
    return calculator


def _alike(module: str, name: str) -> str:
    """A question, if the module has something of nearly this name."""
    found = sys.modules.get(module)
    names = difflib.get_close_matches(name, dir(found), 1) if found is not None and not hasattr(found, name) else []
    return f"; did you mean {module}.{names[0]}?" if names else ""


def try_calculator(oracle: AseOracle, elements: Sequence[str], distance_min_angstrom: float) -> dict[str, Any]:
    """Label one atom of each element, alone in a small periodic cell: fit, words, and whether that is sure.

    What a calculator has not, it has nowhere. Any other error may be of this machine, which is not where jobs run.
    """
    for element in elements:
        side = max(_CELL_IN_RADII * float(covalent_radii[atomic_numbers[element]]), 1.05 * distance_min_angstrom)
        atom = Atoms(element, cell=[side] * 3, pbc=True)
        try:
            found, _ = _label_by_ase(atom, oracle)
        except TaskFailed as error:
            sure = isinstance(error.__cause__, _SURE)
            return {"fit": False, "words": f"{error} (of {element})", "sure": sure}
        except Exception as error:  # noqa: BLE001 - a calculator may raise anything, and each is worth telling
            return {"fit": False, "words": f"{type(error).__name__}: {error} (of {element})", "sure": False}
        if not finite(found.energy_ev, found.forces, found.stress):
            return {"fit": False, "words": f"energy, forces or stress are not finite (of {element})", "sure": False}
    return {"fit": True, "words": f"{oracle.calculator} labels {', '.join(elements)}", "sure": True}


def _checked(n_atoms: int, found: Numbers, asked: CalculateParameters) -> dict[str, Any]:
    """The numbers of one label as metrics. Raises TaskFailed (numerical) if they cannot be one."""
    if found.forces.shape != (n_atoms, 3):
        raise TaskFailed("numerical", f"{found.forces.shape[0]} forces for {n_atoms} atoms")
    if not finite(found.energy_ev, found.forces, found.stress):
        raise TaskFailed("numerical", "energy, forces or stress are not finite")
    force, force_max = float(np.linalg.norm(found.forces, axis=1).max()), asked.force_max_ev_per_angstrom
    if force > force_max:
        raise TaskFailed("numerical", f"the largest force is {force:.1f} eV/Å, {force_max:g} is allowed")
    pressure, pressure_max = float(-found.stress[:3].mean() / units.GPa), asked.pressure_max_gpa
    if abs(pressure) > pressure_max:
        raise TaskFailed("numerical", f"the pressure is {pressure:.1f} GPa, up to ±{pressure_max:g} is allowed")
    return {
        "energy_ev": found.energy_ev,
        "n_atoms": n_atoms,
        "force_max_ev_per_angstrom": force,
        "pressure_gpa": pressure,
    }


def _numbers(atoms: Atoms, found: Numbers) -> dict[str, Any]:
    """What the control half holds the oracle against itself by."""
    return {
        "volume_angstrom3": float(atoms.get_volume()),
        "stress_gpa": [float(part) for part in found.stress / units.GPa],
        "forces_ev_per_angstrom": [[float(part) for part in force] for force in found.forces[:_FORCES_MAX]],
    }


def _settings(oracle: AseOracle) -> str:
    """Everything that gives the label its meaning."""
    return f"{oracle.calculator} {json.dumps(oracle.arguments, sort_keys=True)} ase {ase.__version__}"
