"""The LAMMPS input of one walker, and what LAMMPS wrote: text only, the same for every way of running it.

Only the lines of the potential differ between engines. γ is looked at, written down, dumped and judged on one common
stride, so the frame that halts a walker is among the dumped ones; the last frame is written once more, whatever ended
the run. `fix halt … error soft` leaves the run in good order and has every later `run` skipped, so what follows the
run here are only writes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

#: Where a driver of LAMMPS as a library has to step in, between set-up and run.
RUN_MARK = "# --- run ---"
_TRACE_TITLE = "step,gamma_max,temperature_kelvin,distance_min_angstrom,energy_ev,volume_angstrom3"
_TRACE_VALUES = "$(step),${gamma_max},${temperature},${distance_min},$(pe),$(vol)"
_COLUMNS = "id type x y z vx vy vz d_gamma"
_GPA_IN_BAR = 1.0e4
_FS_IN_PS = 1.0e-3
_HALT = re.compile(r"Fix halt condition for fix-id (\S+) met on step (\d+) with value (\S+)")
#: Audit dumps per trajectory to draw the audit frames from.
_AUDIT_DUMPS = 12
#: Velocities are drawn at this multiple of the temperature: from perfect lattice sites half of it turns into potential
#: energy at once.
_VELOCITY_FACTOR = 2.0


@dataclass(frozen=True)
class Halt:
    """The condition that ended a run."""

    fix: str
    step: int
    value: float


def render_input(parameters: Mapping[str, Any], potential: Sequence[str]) -> str:
    """`in.lammps` in metal units; `potential` are the engine's own lines, which set `d_gamma` per atom."""
    walker, stride = parameters["walker"], parameters["stride"]
    hot = walker["temperature_kelvin"] * parameters["temperature_factor_max"]
    lines = [
        "units metal",
        "atom_style atomic",
        "atom_modify map array sort 0 0.0",
        "boundary p p p",
        "read_data structure.data",
        *(f"mass {kind} {_mass(element):.6f}" for kind, element in enumerate(parameters["elements"], 1)),
        "fix gamma_of_atom all property/atom d_gamma",
        *potential,
        f"timestep {walker['timestep_fs'] * _FS_IN_PS:g}",
        f"velocity all create {_VELOCITY_FACTOR * walker['temperature_kelvin']:g} {walker['seed']} dist gaussian",
        _integrator(walker),
        "variable gamma_of_atom atom d_gamma",
        "compute gamma_max all reduce max v_gamma_of_atom",
        "compute pairs all pair/local dist",
        "compute distance_min all reduce min c_pairs inputs local",
        "variable gamma_max equal c_gamma_max",
        "variable distance_min equal c_distance_min",
        "variable temperature equal temp",
        f'fix trace all print {stride} "{_TRACE_VALUES}" file gamma.csv screen no title "{_TRACE_TITLE}"',
        f"variable quiet equal c_gamma_max<{parameters['gamma_select']:g}",
        f"dump collected all custom {stride} collected.dump {_COLUMNS}",
        'dump_modify collected sort id skip v_quiet format float "%.10g"',
        *_audit_dump(parameters),
        f"fix halt_gamma all halt {stride} v_gamma_max > {parameters['gamma_halt']:g} error soft",
        f"fix halt_distance all halt {stride} v_distance_min < {parameters['distance_min_angstrom']:g} error soft",
        f"fix halt_temperature all halt {stride} v_temperature > {hot:g} error soft",
        "thermo_style custom step temp pe etotal press vol c_gamma_max c_distance_min",
        f"thermo {10 * stride}",
        RUN_MARK,
        f"run {walker['steps']}",
        f'write_dump all custom last.dump {_COLUMNS} modify sort id format float "%.10g"',
    ]
    return "\n".join(lines) + "\n"


def _mass(element: str) -> float:
    return float(atomic_masses[atomic_numbers[element]])


def _integrator(walker: Mapping[str, Any]) -> str:
    kelvin, step_ps = walker["temperature_kelvin"], walker["timestep_fs"] * _FS_IN_PS
    thermostat = f"temp {kelvin:g} {kelvin:g} {100 * step_ps:g}"
    if walker["ensemble"] == "nvt":
        return f"fix integrate all nvt {thermostat}"
    bar = walker["pressure_gpa"] * _GPA_IN_BAR
    return f"fix integrate all npt {thermostat} aniso {bar:g} {bar:g} {1000 * step_ps:g}"


def _audit_dump(parameters: Mapping[str, Any]) -> list[str]:
    if parameters["audit_frames"] == 0:
        return []
    stride = parameters["stride"]
    every = max(parameters["walker"]["steps"] // _AUDIT_DUMPS // stride, 1) * stride
    return [
        f"dump audit all custom {every} audit.dump {_COLUMNS}",
        'dump_modify audit sort id format float "%.10g"',
    ]


def write_data(path: Path, atoms: Atoms, elements: Sequence[str]) -> None:
    """Write the structure for read_data. The cell must be orthogonal, which every prototype's is."""
    types = [elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    lengths = atoms.cell.lengths()
    lines = ["one structure", "", f"{len(atoms)} atoms", f"{len(elements)} atom types", ""]
    lines += [f"0 {length:.12g} {axis}lo {axis}hi" for axis, length in zip("xyz", lengths, strict=True)]
    lines += ["", "Atoms # atomic", ""]
    lines += [
        f"{number} {kind} {x:.12g} {y:.12g} {z:.12g}"
        for number, (kind, (x, y, z)) in enumerate(zip(types, atoms.positions, strict=True), 1)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def find_halt(log: str) -> Halt | None:
    """The halt that the log tells of."""
    match = _HALT.search(log)
    return Halt(match[1], int(match[2]), float(match[3])) if match else None


def read_trace(path: Path) -> np.ndarray:
    """`gamma.csv` as rows of step, γ max, T in K, shortest distance in Å, energy in eV, volume in Å³.

    Rows without numbers are left out, and those of steps at which no atom was left: LAMMPS then says that γ is -1e20.
    """
    cells = [line.split(",") for line in _whole_lines(path)[1:]]
    rows = np.array(cells, dtype=float).reshape(-1, len(_TRACE_TITLE.split(",")))
    measured: np.ndarray = rows[np.isfinite(rows).all(axis=1) & (rows[:, 1] >= 0)]
    return measured


def read_dump(path: Path, elements: Sequence[str]) -> list[Atoms]:
    """Frames of a dump with orthogonal boxes: positions in Å, velocities, γ per atom, the step in `info`.

    A frame that was cut off by the end of the process is left out.
    """
    if not path.exists():
        return []
    lines = _whole_lines(path)
    frames, start = [], 0
    while start + 9 <= len(lines):
        n_atoms = int(lines[start + 3])
        end = start + 9 + n_atoms
        if end > len(lines):
            break
        frames.append(_frame(lines[start:end], elements))
        start = end
    return frames


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file without a last one that was cut off."""
    return path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()


def _frame(lines: Sequence[str], elements: Sequence[str]) -> Atoms:
    step = int(lines[1])
    bounds = np.array([[float(word) for word in line.split()[:2]] for line in lines[5:8]])
    table = np.array([line.split() for line in lines[9:]], dtype=float).reshape(-1, len(_COLUMNS.split()))
    symbols = [elements[int(kind) - 1] for kind in table[:, 1]]
    atoms = Atoms(symbols, positions=table[:, 2:5] - bounds[:, 0], cell=bounds[:, 1] - bounds[:, 0], pbc=True)
    atoms.set_array("velocities_angstrom_per_ps", table[:, 5:8])
    atoms.set_array("gamma", table[:, 8])
    atoms.info["step"] = step
    return atoms
