"""The LAMMPS input of one walker, and what LAMMPS wrote: text only, the same for every way of running it.

Only the lines of the potential differ between engines. γ is looked at, written down, dumped and judged on one common
stride, so the frame that halts a walker is among the dumped ones; the last frame is written once more, whatever ended
the run. `fix halt … error soft` leaves the run in good order and has every later `run` skipped, so what follows the
run here are only writes.

A walker is stopped by a file named `stop` in its folder, which a halt looks for on the same stride. It goes on from
the newest whole LAMMPS restart file there: positions, velocities, box, step and thermostat as they were. Trace and
dumps are appended to, and where their steps go back, what stands later counts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from mlip_autopipec.payload.frame import write_atomic

T = TypeVar("T")

#: Where a driver of LAMMPS as a library has to step in, between set-up and run.
RUN_MARK = "# --- run ---"
_TRACE_TITLE = "step,gamma_max,temperature_kelvin,distance_min_angstrom,energy_ev,volume_angstrom3"
_TRACE_VALUES = "$(step),${gamma_max},${temperature},${distance_min},$(pe),$(vol)"
_COLUMNS = "id type x y z vx vy vz d_gamma"
#: A file of this name has the walker stopped.
STOP_FILE = "stop"
#: LAMMPS writes the first two in turn, the last when it was asked to stop.
_CHECKPOINTS = ("checkpoint.a", "checkpoint.b", "checkpoint.last")
#: How a restart file of LAMMPS begins and ends if it is whole.
_RESTART_MARK = b"LammpS RestartT\0"
#: Regular checkpoints per trajectory: what a lost node costs at most is one part of so many.
_CHECKPOINTS_EACH = 20
_DUMPED = 'append yes sort id format float "%.10g"'
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


def render_input(parameters: Mapping[str, Any], potential: Sequence[str], checkpoint: str | None = None) -> str:
    """`in.lammps` in metal units; `potential` are the engine's own lines, which set `d_gamma` per atom.

    With the name of a restart file it goes on from there.
    """
    walker, stride = parameters["walker"], parameters["stride"]
    hot = walker["temperature_kelvin"] * parameters["temperature_factor_max"]
    lines = [
        "units metal",
        "atom_style atomic",
        "atom_modify map array sort 0 0.0",
        "boundary p p p",
        f"read_restart {checkpoint}" if checkpoint else "read_data structure.data",
        *(f"mass {kind} {_mass(element):.6f}" for kind, element in enumerate(parameters["elements"], 1)),
        "fix gamma_of_atom all property/atom d_gamma",
        *potential,
        f"timestep {walker['timestep_fs'] * _FS_IN_PS:g}",
        *([] if checkpoint else [_velocities(walker)]),
        _integrator(walker),
        "variable gamma_of_atom atom d_gamma",
        "compute gamma_max all reduce max v_gamma_of_atom",
        "compute pairs all pair/local dist",
        "compute distance_min all reduce min c_pairs inputs local",
        "variable gamma_max equal c_gamma_max",
        "variable distance_min equal c_distance_min",
        "variable temperature equal temp",
        f"variable asked equal is_file({STOP_FILE})",
        f'fix trace all print {stride} "{_TRACE_VALUES}" append gamma.csv screen no title "{_TRACE_TITLE}"',
        f"variable quiet equal c_gamma_max<{parameters['gamma_select']:g}",
        f"dump collected all custom {stride} collected.dump {_COLUMNS}",
        f"dump_modify collected skip v_quiet {_DUMPED}",
        *_audit_dump(parameters),
        f"fix halt_gamma all halt {stride} v_gamma_max > {parameters['gamma_halt']:g} error soft",
        f"fix halt_distance all halt {stride} v_distance_min < {parameters['distance_min_angstrom']:g} error soft",
        f"fix halt_temperature all halt {stride} v_temperature > {hot:g} error soft",
        f"fix halt_asked all halt {stride} v_asked > 0 error soft",
        f"restart {_every(parameters, _CHECKPOINTS_EACH)} {' '.join(_CHECKPOINTS[:2])}",
        "thermo_style custom step temp pe etotal press vol c_gamma_max c_distance_min",
        f"thermo {10 * stride}",
        RUN_MARK,
        f"run {walker['steps']} upto",
        f'write_dump all custom last.dump {_COLUMNS} modify sort id format float "%.10g"',
        f'if "$(v_asked) > 0" then "write_restart {_CHECKPOINTS[2]}"',
    ]
    return "\n".join(lines) + "\n"


def _mass(element: str) -> float:
    return float(atomic_masses[atomic_numbers[element]])


def _velocities(walker: Mapping[str, Any]) -> str:
    kelvin = _VELOCITY_FACTOR * walker["temperature_kelvin"]
    return f"velocity all create {kelvin:g} {walker['seed']} dist gaussian"


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
    return [
        f"dump audit all custom {_every(parameters, _AUDIT_DUMPS)} audit.dump {_COLUMNS}",
        f"dump_modify audit {_DUMPED}",
    ]


def _every(parameters: Mapping[str, Any], times: int) -> int:
    """Steps between two of so many in a trajectory, on the stride."""
    steps: int = parameters["walker"]["steps"]
    stride: int = parameters["stride"]
    return max(steps // times // stride, 1) * stride


def find_checkpoint(folder: Path) -> str | None:
    """The newest restart file that is whole; None if there is none to go on from."""
    paths = [path for name in _CHECKPOINTS if (path := folder / name).exists()]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        content = path.read_bytes()
        if content.startswith(_RESTART_MARK) and content.endswith(_RESTART_MARK):
            return path.name
    return None


def prepare(folder: Path, checkpoint: str | None) -> None:
    """Clear away what an earlier attempt left; before one goes on from its checkpoint, only what it left unfinished.

    What is appended to must end whole, or the next record would be lost with the torn one.
    """
    logs = ("collected.dump", "audit.dump", "gamma.csv")
    stale = (STOP_FILE, "last.dump") if checkpoint else (STOP_FILE, "last.dump", *logs, *_CHECKPOINTS)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    for name in logs if checkpoint else ():
        if (path := folder / name).exists():
            whole = _whole_lines(path) if name == "gamma.csv" else [line for frame in _cut(path) for line in frame]
            write_atomic(path, "".join(f"{line}\n" for line in whole).encode())


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
    lines = [line for line in _whole_lines(path) if line != _TRACE_TITLE]
    cells = _in_order([(int(line.partition(",")[0]), line.split(",")) for line in lines])
    rows = np.array(cells, dtype=float).reshape(-1, len(_TRACE_TITLE.split(",")))
    measured: np.ndarray = rows[np.isfinite(rows).all(axis=1) & (rows[:, 1] >= 0)]
    return measured


def read_dump(path: Path, elements: Sequence[str]) -> list[Atoms]:
    """Frames of a dump with orthogonal boxes: positions in Å, velocities, γ per atom, the step in `info`.

    A frame that was cut off by the end of the process is left out.
    """
    if not path.exists():
        return []
    return [_frame(lines, elements) for lines in _in_order([(int(lines[1]), lines) for lines in _cut(path)])]


def _cut(path: Path) -> Iterator[list[str]]:
    """The lines of each whole frame of a dump."""
    lines, start = _whole_lines(path), 0
    while start + 9 <= len(lines):
        end = start + 9 + int(lines[start + 3])
        if end > len(lines):
            return
        yield lines[start:end]
        start = end


def _in_order(records: Iterable[tuple[int, T]]) -> list[T]:
    """Records by step without those that were walked again after a checkpoint."""
    kept: list[tuple[int, T]] = []
    for step, record in records:
        while kept and kept[-1][0] >= step:
            kept.pop()
        kept.append((step, record))
    return [record for _, record in kept]


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
