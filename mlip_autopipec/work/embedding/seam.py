"""Mending the seam: only the buffer moves, by the current potential, until no pull is above heat's.

The ball is frozen, and no buffer atom may enter it: one that did would be seen by a core atom.
Beside the potential, a stiff spring holds pairs apart that are closer than any pair of that kind in
the source: there the potential has learned nothing and may pull atoms into each other. It stops at
`relax_force_ev_per_angstrom`, not at a minimum: a seam at rest amid a hot crystal would be as
strange as the cut was.
"""

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE

from mlip_autopipec.work.evaluation import Evaluator

_SPRING_EV_PER_ANGSTROM2 = 20.0
#: Å: room between the wall and what is pushed out.
_CLEAR_ANGSTROM = 1e-9


class _Held(Calculator):  # type: ignore[misc] # ASE has no types
    """The potential, and springs between what is too close."""

    implemented_properties = ("energy", "forces")

    def __init__(self, evaluator: Evaluator, shortest: Mapping[tuple[int, int], float]) -> None:
        super().__init__()
        self._evaluator = evaluator
        self._shortest = shortest
        self._reach_angstrom = max(shortest.values())

    def calculate(
        self, atoms: Atoms, properties: object = None, system_changes: object = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        result = self._evaluator.evaluate(atoms, graded=False)
        forces = result.forces.copy()
        first, second, lengths, ways = neighbor_list("ijdD", atoms, self._reach_angstrom)
        numbers = atoms.numbers
        short = np.array(
            [
                self._shortest[int(numbers[i]), int(numbers[j])]
                for i, j in zip(first, second, strict=True)
            ]
        )
        pressed = np.clip(short - lengths, 0.0, None) if len(lengths) else np.zeros(0)
        pushes = _SPRING_EV_PER_ANGSTROM2 * pressed / np.clip(lengths, 1e-3, None)
        np.add.at(forces, first, -pushes[:, np.newaxis] * ways)
        energy_ev = result.energy_ev + 0.25 * _SPRING_EV_PER_ANGSTROM2 * float(
            np.square(pressed).sum()
        )
        self.results = {"energy": energy_ev, "forces": forces}


class _Ball:
    """An ASE constraint: atoms of the ball stay, all others stay out of it."""

    def __init__(self, frozen: np.ndarray, radius_angstrom: float) -> None:
        self._frozen = frozen
        self._radius_angstrom = radius_angstrom + _CLEAR_ANGSTROM

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        new[self._frozen] = atoms.positions[self._frozen]
        outward, lengths = find_mic(new, atoms.cell, pbc=True)
        inside = ~self._frozen & (lengths < self._radius_angstrom)
        new[inside] += (
            outward[inside] * (self._radius_angstrom / lengths[inside] - 1)[:, np.newaxis]
        )

    def adjust_forces(self, _atoms: Atoms, forces: np.ndarray) -> None:
        forces[self._frozen] = 0.0

    def get_removed_dof(self, _atoms: Atoms) -> int:
        return 3 * int(self._frozen.sum())


def relaxed(
    atoms: Atoms,
    intact_angstrom: float,
    evaluator: Evaluator,
    shortest: Mapping[tuple[int, int], float],
    *,
    steps_max: int,
    force_ev_per_angstrom: float,
) -> tuple[Atoms, int]:
    """The cell with a mended seam, and in how many steps.

    Positions are relative to the centre of the cut.
    """
    mended: Atoms = atoms.copy()
    frozen = np.linalg.norm(atoms.positions, axis=1) <= intact_angstrom
    if frozen.all() or steps_max == 0:
        return mended, 0
    mended.set_constraint(_Ball(frozen, intact_angstrom))
    mended.calc = _Held(evaluator, shortest)
    search = FIRE(mended, logfile=None)
    search.run(fmax=force_ev_per_angstrom, steps=steps_max)
    mended.calc = None
    mended.set_constraint()
    return mended, int(search.nsteps)
