"""Families of cells: what all cells that stem from one crystal share, whatever strains or MD did.

A k-mesh belongs to a family and not to a cell. Counted from the cell at hand, `ceil(|b| / spacing)`
steps by one point as the cell is strained, and the energy steps with it: labels of one crystal then
disagree with each other, and with their own stress. So a structure carries where it comes from in
its `info`, from file to file:

- `reference_cell`: the cell before any strain, rattle, pressure or MD; rows are vectors in Å;
- `reference_repeat`: how many unit cells of the crystal lie along each vector; 0: the vector leads
  through vacuum. A cell that was cut out of a larger one has none.

A structure with neither, such as one of an earlier version, is its own reference.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

CELL = "reference_cell"
REPEAT = "reference_repeat"
#: No atom over so many Å along a vector: the vector leads through vacuum.
_VACUUM_ANGSTROM = 7.0
#: Numbers of points that the usual repeats (2, 3, 4) divide; above the last, multiples of it.
_POINTS = (1, 2, 4, 6, 8, 12, 16, 18, 24)
#: A mesh does not grow for a rounding error in a cell.
_ROUNDING = 1e-6
#: Vectors of a cut cell are halves of unit vectors (of centred cells), if they are so near to it.
_SNAP = 0.2


def begin(
    atoms: Atoms, repeat: Sequence[int] = (1, 1, 1), *, vacuum: Sequence[int] | None = None
) -> Atoms:
    """Begin a family: `atoms`, unstrained and repeated so often, are its reference, and returned.

    `vacuum` names the vectors that lead through vacuum; if it is left out, they are found by the
    atoms.
    """
    empty = vacuum_axes(atoms) if vacuum is None else vacuum
    atoms.info[CELL] = atoms.cell.array.copy()
    atoms.info[REPEAT] = np.array(
        [0 if axis in empty else times for axis, times in enumerate(repeat)]
    )
    return atoms


def of(atoms: Atoms) -> dict[str, np.ndarray]:
    """What `atoms` carry of their family; nothing if they carry none. Parts of `info` as it is."""
    return {name: np.asarray(atoms.info[name]) for name in (CELL, REPEAT) if name in atoms.info}


def of_cut(cut: Atoms, source: Atoms) -> dict[str, np.ndarray]:
    """The reference of a cell cut out of `source`: the same cut out of the unstrained source.

    Where the vectors of the cut are translations of the crystal, they become exactly those of the
    unstrained crystal, so that the same cut has the same mesh wherever it is made.
    """
    if CELL not in source.info:
        return {}
    whole = np.asarray(source.info[CELL], dtype=float).reshape(3, 3)
    cell = cut.cell.array @ np.linalg.solve(source.cell.array, whole)
    repeat = np.asarray(source.info.get(REPEAT, (0, 0, 0)), dtype=int)
    if (repeat > 0).all():
        unit = whole / repeat[:, None]
        halves = 2 * np.linalg.solve(unit.T, cell.T).T
        snapped = np.round(halves)
        if np.abs(halves - snapped).max() < _SNAP and abs(np.linalg.det(snapped)) >= 1:
            cell = snapped / 2 @ unit
    return {CELL: cell}


def mesh(atoms: Atoms, spacing: float) -> tuple[int, int, int]:
    """Points of its family's mesh along each reciprocal vector of a cell; `spacing` in 1/Å with 2π.

    Never coarser than `spacing` for the unstrained cell. The unit cell has a number of points that
    2, 3 and 4 divide as far as may be, so that n unit cells side by side have its mesh exactly,
    folded: N/n points. Where n does not divide N the repeated cell has more points than that, never
    fewer. One point along vacuum, and along directions that are not periodic.
    """
    cell = np.asarray(atoms.info.get(CELL, atoms.cell.array), dtype=float).reshape(3, 3)
    repeat = atoms.info.get(REPEAT)
    if repeat is None:
        empty = vacuum_axes(atoms)
        counts = [0 if axis in empty else _count(cell, axis, spacing) for axis in range(3)]
    else:
        times = np.asarray(repeat, dtype=int)
        unit = cell / np.maximum(times, 1)[:, None]
        counts = [
            -(-_divisible(_count(unit, axis, spacing)) // n) if n else 0
            for axis, n in enumerate(times.tolist())
        ]
    a, b, c = (
        max(count, 1) if periodic else 1 for count, periodic in zip(counts, atoms.pbc, strict=True)
    )
    return a, b, c


def vacuum_axes(atoms: Atoms) -> tuple[int, ...]:
    """The vectors along which there is a gap of 7 Å or more without an atom.

    Only cells that are not smaller than it have one.
    """
    heights = 1 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    found = []
    for axis, height in enumerate(heights):
        along = np.sort(atoms.get_scaled_positions(wrap=True)[:, axis])
        gap = np.diff(np.append(along, along[0] + 1)).max() * height
        if gap >= _VACUUM_ANGSTROM:
            found.append(axis)
    return tuple(found)


def _count(cell: np.ndarray, axis: int, spacing: float) -> int:
    """Points along one reciprocal vector by density alone."""
    length = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell)[:, axis])
    return max(int(np.ceil(length / spacing - _ROUNDING)), 1)


def _divisible(count: int) -> int:
    """The least number of points that is no fewer and that the usual repeats divide."""
    last = _POINTS[-1]
    return next((points for points in _POINTS if points >= count), -(-count // last) * last)
