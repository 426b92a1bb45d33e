"""What every step asks of a potential, whatever code evaluates it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms


@dataclass(frozen=True)
class Evaluation:
    """What a potential says of a structure."""

    energy_ev: float
    forces: np.ndarray  # (n_atoms, 3) in eV/Å
    virial_ev: np.ndarray  # Σ r⊗f as xx, yy, zz, xy, xz, yz, the sign of LAMMPS
    gamma: np.ndarray | None  # (n_atoms,), None unless asked for


class Evaluator(Protocol):
    """A potential, with its extrapolation grade γ where it was loaded with all that γ needs.

    γ of an atom is at most 1 where its environment lies inside of what the potential was trained
    on.
    """

    @property
    def elements(self) -> tuple[str, ...]:
        """That it is a potential of."""

    @property
    def cutoff_angstrom(self) -> float:
        """Beyond it an atom knows of no other."""

    @property
    def functions_per_element(self) -> Mapping[str, int]:
        """How many functions, or numbers that were fitted, an atom of each element has."""

    @property
    def projections_max(self) -> int:
        """Numbers that describe an atom, of the element that has most."""

    def evaluate(self, atoms: Atoms, *, graded: bool = True) -> Evaluation:
        """Energy, forces and virial of a periodic structure; γ per atom if `graded`.

        Called at each step of MD. Raises TaskFailed (bad_input) for an element that it does not
        know.
        """

    def gamma(self, atoms: Atoms) -> np.ndarray:
        """γ per atom, shape (n_atoms,)."""

    def environments(self, atoms: Atoms) -> tuple[np.ndarray, list[np.ndarray]]:
        """γ per atom, and numbers that describe all that the potential knows of its environment.

        Two atoms whose environments are one within the cutoff have the same numbers; embedding and
        the farthest-point choice compare them.
        """


class Design(Protocol):
    """The rows of a potential whose energy is linear in its coefficients."""

    @property
    def functions(self) -> int:
        """Columns."""

    @property
    def coefficients(self) -> np.ndarray:
        """Of the potential, shape (n_functions,)."""

    def rows(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """∂(energy per atom)/∂coefficients, and that of the forces.

        The shapes are (n_functions,) and (3 n_atoms, n_functions).
        """
