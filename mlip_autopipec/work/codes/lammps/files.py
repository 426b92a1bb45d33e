"""What LAMMPS reads and writes: data files, dumps, traces, logs and restart files.

Boxes may be triclinic.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from ase import Atoms

from mlip_autopipec.work.job import write_atomic

T = TypeVar("T")
TRACE_TITLE = (
    "step,gamma_max,temperature_kelvin,distance_min_angstrom,energy_ev,volume_angstrom3"
    ",pressure_gpa"
)
#: How every dump is written.
DUMPED = 'sort id format float "%.10g"'
_N_COLUMNS = 9
#: A file of this name has the walker stopped.
STOP_FILE = "stop"
#: LAMMPS writes the first two in turn, the last when it was asked to stop.
CHECKPOINTS = ("checkpoint.a", "checkpoint.b", "checkpoint.last")
#: What a walker appends to as it goes.
_LOGS = ("collected.dump", "audit.dump", "gamma.csv")
_GOOD = "good.*.dump"
#: How a restart file of LAMMPS begins and ends if it is whole.
_RESTART_MARK = b"LammpS RestartT\0"
_HALT = re.compile(r"Fix halt condition for fix-id (\S+) met on step (\d+) with value (\S+)")
#: Errors of LAMMPS that tell of atoms or a box gone astray: how a walker ends, and no fault of the
#: attempt.
ASTRAY = re.compile(
    "simulation unstable|Lost atoms|Atom count is inconsistent|Out of range atoms|Domain too large"
    "|Too many neighbor bins|Neighbor list overflow"
)
#: The array of a structure that tells its velocities.
VELOCITIES = "velocities_angstrom_per_ps"


@dataclass(frozen=True)
class Halt:
    """The condition that ended a run."""

    fix: str
    step: int
    value: float


def find_checkpoint(folder: Path) -> str | None:
    """The newest restart file that is whole; None if there is none to go on from."""
    paths = [path for name in CHECKPOINTS if (path := folder / name).exists()]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        content = path.read_bytes()
        if content.startswith(_RESTART_MARK) and content.endswith(_RESTART_MARK):
            return path.name
    return None


def remains(folder: Path) -> list[str]:
    """What a walker goes on from; empty if the folder has no whole checkpoint.

    Checkpoints come first: what is copied after them may know of later steps, which are walked
    again, and of no fewer.
    """
    if find_checkpoint(folder) is None:
        return []
    names = [name for name in (*CHECKPOINTS, *_LOGS) if (folder / name).exists()]
    return [*names, *sorted(path.name for path in folder.glob(_GOOD))]


def prepare(folder: Path, checkpoint: str | None) -> None:
    """Clear what an earlier attempt left; to go on from its checkpoint, only what is unfinished.

    What is appended to must end whole, or the next record would be lost with the torn one.
    """
    stale = [folder / name for name in (STOP_FILE, "last.dump")]
    if checkpoint is None:
        stale += [*(folder / name for name in (*_LOGS, *CHECKPOINTS)), *folder.glob(_GOOD)]
    for path in stale:
        path.unlink(missing_ok=True)
    for name in _LOGS if checkpoint else ():
        if (path := folder / name).exists():
            whole = (
                _whole_lines(path)
                if name == "gamma.csv"
                else [line for frame in _cut(path) for line in frame]
            )
            write_atomic(path, "".join(f"{line}\n" for line in whole).encode())


def in_lammps_axes(atoms: Atoms) -> Atoms:
    """The same structure with cell vector 1 along x and 2 in the xy plane, as LAMMPS wants it.

    One that stands so already keeps every number. A left-handed cell has its last two vectors
    exchanged.
    """
    cell = atoms.cell.array
    if np.array_equal(cell, np.tril(cell)) and (np.diag(cell) > 0).all():
        return atoms
    turned = atoms.copy()
    if np.linalg.det(cell) < 0:
        turned.set_cell(cell[[0, 2, 1]])
    standard, _ = turned.cell.standard_form()
    if turned.has(VELOCITIES):
        rotation = np.linalg.solve(turned.cell.array, standard.array)
        turned.set_array(VELOCITIES, turned.arrays[VELOCITIES] @ rotation)
    turned.set_cell(standard, scale_atoms=True)
    return turned


def write_data(path: Path, atoms: Atoms, elements: Sequence[str], *, tilt: bool = False) -> None:
    """Write a structure in LAMMPS's axes for read_data, with velocities if it has any.

    With `tilt` the box may shear.
    """
    types = [elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    cell = atoms.cell.array
    xy, xz, yz = cell[1, 0], cell[2, 0], cell[2, 1]
    lines = ["one structure", "", f"{len(atoms)} atoms", f"{len(elements)} atom types", ""]
    lines += [
        f"0 {length:.12g} {axis}lo {axis}hi"
        for axis, length in zip("xyz", np.diag(cell), strict=True)
    ]
    lines += [f"{xy:.12g} {xz:.12g} {yz:.12g} xy xz yz"] if tilt or any((xy, xz, yz)) else []
    lines += ["", "Atoms # atomic", ""]
    lines += [
        f"{number} {kind} {x:.12g} {y:.12g} {z:.12g}"
        for number, (kind, (x, y, z)) in enumerate(zip(types, atoms.positions, strict=True), 1)
    ]
    if atoms.has(VELOCITIES):
        lines += ["", "Velocities", ""]
        lines += [
            f"{number} {x:.12g} {y:.12g} {z:.12g}"
            for number, (x, y, z) in enumerate(atoms.arrays[VELOCITIES], 1)
        ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def find_halt(log: str) -> Halt | None:
    """The halt that the log tells of."""
    match = _HALT.search(log)
    return Halt(match[1], int(match[2]), float(match[3])) if match else None


def read_trace(path: Path) -> np.ndarray:
    """`gamma.csv` rows: step, γ max, T/K, shortest distance/Å, energy/eV, volume/Å³, pressure/GPa.

    Rows without numbers are left out, and those of steps at which no atom was left: LAMMPS then
    says that γ is -1e20.
    """
    lines = [line for line in _whole_lines(path) if line != TRACE_TITLE]
    cells = _in_order([(int(line.partition(",")[0]), line.split(",")) for line in lines])
    rows = np.array(cells, dtype=float).reshape(-1, len(TRACE_TITLE.split(",")))
    measured: np.ndarray = rows[np.isfinite(rows).all(axis=1) & (rows[:, 1] >= 0)]
    return measured


def read_dump(path: Path, elements: Sequence[str]) -> list[Atoms]:
    """A dump's frames: positions in Å from the box's low corner, velocities, γ; the step in `info`.

    A frame that was cut off by the end of the process is left out.
    """
    if not path.exists():
        return []
    return [
        _frame(lines, elements)
        for lines in _in_order([(int(lines[1]), lines) for lines in _cut(path)])
    ]


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
    low, cell = _box(lines[5:8])
    table = np.array([line.split() for line in lines[9:]], dtype=float).reshape(-1, _N_COLUMNS)
    symbols = [elements[int(kind) - 1] for kind in table[:, 1]]
    atoms = Atoms(symbols, positions=table[:, 2:5] - low, cell=cell, pbc=True)
    atoms.set_array(VELOCITIES, table[:, 5:8])
    atoms.set_array("gamma", table[:, 8])
    atoms.info["step"] = int(lines[1])
    return atoms


def _box(lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Low corner and cell.

    For a tilted box LAMMPS writes the bounds of what encloses it, and the tilts behind them.
    """
    numbers = np.array([[float(word) for word in line.split()] for line in lines])
    low, high = numbers[:, 0].copy(), numbers[:, 1].copy()
    xy, xz, yz = numbers[:, 2] if numbers.shape[1] > 2 else (0.0, 0.0, 0.0)  # noqa: PLR2004 - a third word is a tilt
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    return low, box_cell(low, high, xy, yz, xz)


def box_cell(low: np.ndarray, high: np.ndarray, xy: float, yz: float, xz: float) -> np.ndarray:
    """Cell vectors in rows, in LAMMPS's order of tilts."""
    x, y, z = np.subtract(high, low)
    return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]])
