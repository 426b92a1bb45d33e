"""Labelled sets as users bring them: sound ones, and every way to spoil them."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from mlip_autopipec.contract.dataset import AdoptParameters
from mlip_autopipec.work.adopting.set_of_files import SetOfFiles, read_and_judge

Spoil = Callable[[list[Atoms]], None]
ELEMENTS = ("Cu", "Au")


def label(atoms: Atoms, **arguments: Any) -> Atoms:
    """With the numbers of EMT."""
    truth = atoms.copy()
    truth.calc = EMT(**arguments)
    energy, forces, stress = truth.get_potential_energy(), truth.get_forces(), truth.get_stress()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
    return atoms


def sound_set(count: int = 24, seed: int = 1, *, strain: float = 0.03) -> list[Atoms]:
    """Strained and rattled copper, in cells of 4 and 8 atoms; a third of the larger ones Cu3Au."""
    return [deepcopy(_sound_frame(number, seed, strain)) for number in range(count)]


@cache
def _sound_frame(number: int, seed: int, strain: float) -> Atoms:
    rng = np.random.default_rng([seed, number])
    atoms = bulk("Cu", "fcc", a=3.61, cubic=True).repeat((1, 1, 1 + (number % 2)))
    if number % 6 == 1:
        atoms.set_chemical_symbols(["Au", "Cu", "Cu", "Cu"] * (len(atoms) // 4))
        atoms.set_cell(atoms.cell.array * 1.04, scale_atoms=True)
    bent = rng.uniform(-strain, strain, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (bent + bent.T) / 2), scale_atoms=True)
    atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
    return label(atoms)


def results(frame: Atoms) -> dict[str, Any]:
    """The numbers of a frame, to be changed."""
    assert frame.calc is not None
    found: dict[str, Any] = frame.calc.results
    return found


def asked(**changes: Any) -> AdoptParameters:
    """As a site file without a word about the set would have it."""
    return AdoptParameters(
        **{
            "files": ("mine.extxyz",),
            "force_max_ev_per_angstrom": 50.0,
            "pressure_max_gpa": 1000.0,
            **changes,
        }
    )


def judged(
    folder: Path,
    *files: Sequence[Atoms],
    names: Sequence[str] = (),
    elements: Sequence[str] = ELEMENTS,
    **changes: Any,
) -> SetOfFiles:
    """What the work half makes of these frames, written as extended XYZ."""
    paths = {}
    for number, frames in enumerate(files):
        name = names[number] if names else ("mine.extxyz", "more.extxyz", "last.extxyz")[number]
        write(folder / name, list(frames), format="extxyz")
        paths[name] = folder / name
    return read_and_judge(paths, asked(**changes), elements, 1.5, {})


def scale(frames: Sequence[Atoms], name: str, factor: float) -> None:
    """Another unit, or sign, of one quantity."""
    for frame in frames:
        results(frame)[name] = results(frame)[name] * factor


HARTREE, RYDBERG, KCAL, BOHR, GPA = (
    units.Hartree,
    units.Rydberg,
    units.kcal / units.mol,
    units.Bohr,
    units.GPa,
)
