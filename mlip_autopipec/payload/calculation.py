"""Calculation: energy, forces and stress of one structure by an ASE calculator, checked before they are a label."""

import importlib
import json
from collections.abc import Mapping
from typing import Any

import ase
import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.payload.frame import Job, Result, TaskFailed
from mlip_autopipec.payload.structures import finite, read_frames, write_frames


def run(job: Job) -> Result:
    """Label the structure."""
    frames = read_frames(job.one("structure"))
    if len(frames) != 1:
        raise TaskFailed(
            "bad_input", f"{job.one('structure')} holds {len(frames)} structures; one is labelled at a time"
        )
    (atoms,) = frames
    atoms.calc = _calculator(job.parameters["oracle"])
    try:
        energy_ev = float(atoms.get_potential_energy())
        forces, stress = atoms.get_forces(), atoms.get_stress()
    except NotImplementedError as error:  # also ASE's, of calculators that know no stress or no such element
        raise TaskFailed("bad_input", f"the oracle cannot label this: {type(error).__name__}: {error}") from error
    except (CalculatorError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise TaskFailed("numerical", f"the oracle gave no result: {type(error).__name__}: {error}") from error
    force_max = _checked(atoms, energy_ev, forces, stress, job.parameters["force_max_ev_per_angstrom"])
    settings = _settings(job.parameters["oracle"])
    label = atoms.copy()
    label.calc = SinglePointCalculator(label, energy=energy_ev, forces=forces, stress=stress)
    label.info = {
        "task": job.task,
        "role": job.parameters["role"],
        "origin": job.parameters["origin"],
        "settings": settings,
    }
    path = job.workdir / "label.extxyz"
    write_frames(path, [label])
    metrics = {
        "energy_ev": energy_ev,
        "n_atoms": len(atoms),
        "force_max_ev_per_angstrom": force_max,
        "pressure_gpa": float(-stress[:3].mean() / units.GPa),
        "settings": settings,
    }
    return Result(metrics, {"label": path})


def _calculator(oracle: Mapping[str, Any]) -> BaseCalculator:
    """Import and make the calculator. Raises TaskFailed (bad_input) with the import path in it."""
    path: str = oracle["calculator"]
    module, _, name = path.rpartition(".")
    try:
        calculator: BaseCalculator = getattr(importlib.import_module(module), name)(**oracle["arguments"])
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise TaskFailed("bad_input", f"calculator {path}: {error}") from error
    return calculator


def _checked(atoms: Atoms, energy_ev: float, forces: np.ndarray, stress: np.ndarray, force_max: float) -> float:
    """The largest force in eV/Å. Raises TaskFailed (numerical) if the numbers cannot be a label."""
    if forces.shape != (len(atoms), 3):
        raise TaskFailed("numerical", f"{forces.shape[0]} forces for {len(atoms)} atoms")
    if not finite(energy_ev, forces, stress):
        raise TaskFailed("numerical", "energy, forces or stress are not finite")
    largest = float(np.linalg.norm(forces, axis=1).max())
    if largest > force_max:
        raise TaskFailed("numerical", f"the largest force is {largest:.1f} eV/Å, {force_max:g} is allowed")
    return largest


def _settings(oracle: Mapping[str, Any]) -> str:
    """Everything that gives the label its meaning."""
    return f"{oracle['calculator']} {json.dumps(oracle['arguments'], sort_keys=True)} ase {ase.__version__}"
