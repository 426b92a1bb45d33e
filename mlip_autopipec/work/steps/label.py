"""Calculation: energy, forces and stress of one structure by the oracle.

They are checked before they are a label.
"""

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.oracle import Oracle, oracle_code
from mlip_autopipec.contract.results.label import CalculateMetrics, OracleNotes, OracleNumbers
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work.adopting.comparing import difference
from mlip_autopipec.work.job import AnyJob, Job, Result, TaskFailed
from mlip_autopipec.work.origins import note_origin
from mlip_autopipec.work.structures import Numbers, finite, read_frames, write_frames

#: Property cells of unit cells have no more atoms; supercells for phonons have.
_PROPERTY_ATOMS_MAX = 32
#: Atoms of the largest conventional cell.
_FORCES_MAX = 8


def run(job: Job[CalculateParameters]) -> Result[CalculateMetrics]:
    """Label the structure."""
    asked = job.parameters
    frames = read_frames(job.only_input("structure"))
    if len(frames) != 1:
        raise TaskFailed(
            "bad_input",
            f"{job.only_input('structure')} holds {len(frames)} structures; one is labelled at a"
            " time",
        )
    (atoms,) = frames
    found, notes = label_with(job, asked.oracle, atoms)
    force, pressure = _checked(len(atoms), found, asked)
    small = len(atoms) <= _PROPERTY_ATOMS_MAX
    metrics = CalculateMetrics(
        energy_ev=found.energy_ev,
        n_atoms=len(atoms),
        force_max_ev_per_angstrom=force,
        pressure_gpa=pressure,
        settings=notes.settings,
        tries=notes.tries,
        magnetization_bohr=found.magnetization_bohr,
        numbers=_numbers(atoms, found) if asked.role is Role.PROPERTY and small else None,
        difference=difference(atoms, found) if asked.role is Role.CHECK else None,
    )
    label = atoms.copy()  # with its arrays per atom, such as the core of a cut cell
    label.calc = SinglePointCalculator(
        label, energy=found.energy_ev, forces=found.forces, stress=found.stress
    )
    label.info = {
        "task": job.task,
        "role": asked.role.value,
        "origin": asked.origin,
        "settings": notes.settings,
    }
    if asked.came_from is not None:
        note_origin(label, asked.came_from)
    path = job.workdir / "label.extxyz"
    write_frames(path, [label])
    return Result(metrics, {"label": path})


def label_with(job: AnyJob, oracle: Oracle, atoms: Atoms) -> tuple[Numbers, OracleNotes]:
    """The oracle's numbers, whatever it is, and its notes. Raises TaskFailed where it has none."""
    found: tuple[Numbers, OracleNotes] = oracle_code(oracle.kind).work("run")(job, oracle, atoms)
    return found


def _checked(n_atoms: int, found: Numbers, asked: CalculateParameters) -> tuple[float, float]:
    """The largest force in eV/Å and the pressure in GPa.

    Raises TaskFailed (numerical) if this can be no label.
    """
    if found.forces.shape != (n_atoms, 3):
        raise TaskFailed("numerical", f"{found.forces.shape[0]} forces for {n_atoms} atoms")
    if not finite(found.energy_ev, found.forces, found.stress):
        raise TaskFailed("numerical", "energy, forces or stress are not finite")
    force, force_max = (
        float(np.linalg.norm(found.forces, axis=1).max()),
        asked.force_max_ev_per_angstrom,
    )
    if force > force_max:
        raise TaskFailed(
            "numerical", f"the largest force is {force:.1f} eV/Å, {force_max:g} is allowed"
        )
    pressure, pressure_max = float(-found.stress[:3].mean() / units.GPa), asked.pressure_max_gpa
    if abs(pressure) > pressure_max:
        raise TaskFailed(
            "numerical", f"the pressure is {pressure:.1f} GPa, up to ±{pressure_max:g} is allowed"
        )
    return force, pressure


def _numbers(atoms: Atoms, found: Numbers) -> OracleNumbers:
    """What the control half holds the oracle against itself by."""
    xx, yy, zz, yz, xz, xy = map(float, found.stress / units.GPa)
    return OracleNumbers(
        volume_angstrom3=float(atoms.get_volume()),
        stress_gpa=(xx, yy, zz, yz, xz, xy),
        forces_ev_per_angstrom=tuple(
            (float(x), float(y), float(z)) for x, y, z in found.forces[:_FORCES_MAX]
        ),
    )
