"""What a label would teach a linear potential, before it is bought.

A linear ACE potential is a regression, so its uncertainty is known in closed form: with the rows X
of the design matrix (energy per atom and force components of the structures in the training set,
each divided by its noise) and a Gaussian prior of precision P, the coefficients have the covariance
Σ = (XᵀX + P)⁻¹, whatever the labels say. The squared error v of a structure is then xΣxᵀ of its
energy's row and its mean over the rows of its forces, in units of the noise. What is asked of a
batch is the least sum of log(1 + v) over a pool of structures. With S the pool's sum of xᵀx, each
structure's divided by its 1 + v, a label with the rows Z takes

    trace[(1 + Z Σ Zᵀ)⁻¹ Z Σ S Σ Zᵀ]

from it, to first order. Choosing greedily by that gain, with Σ and S updated after each choice, is
V-optimal design (also called I-optimal; Fedorov, Theory of Optimal Experiments (1972), chapter 2),
made robust: a copy of what has been chosen gains nothing, what is rare in the pool counts as rarely
as it is met, and what a bad potential's MD has led far astray does not outweigh all that is near.
With plain v a first batch on Ni3Al stood at 18.1 meV/Å after five labels, with log(1 + v) at 15.5,
by chance at 24.7; after twenty at 12.4, 12.5 and 17.9. D-optimal design, which MaxVol serves, asks
for the largest determinant instead: the extremes of the pool, whatever their weight.

Energies and forces are brought to one scale by their noise, which is what the current potential
leaves over on its own training set: a gain is a share of all that is expected, noise included, so
it tells when labels stop to teach.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.linalg import cho_factor, solve_triangular

from mlip_autopipec.contract.results.structure import Why
from mlip_autopipec.work.evaluation import Design

#: Less noise than this, in eV/Å and eV/atom, is the luck of a small training set.
_NOISE_MIN_FORCE, _NOISE_MIN_ENERGY = 1e-3, 1e-4
#: Half of a normal distribution's values are smaller than so many standard deviations.
_NORMAL_MEDIAN = 0.6745
#: Atoms of one structure whose forces are looked at; the others of a larger one are much the same.
_ATOMS_MAX = 96
#: Directions kept of what one structure tells, and of what the pool asks.
_ROWS_KEPT, _DIRECTIONS_KEPT = 48, 256


@dataclass(frozen=True)
class Noise:
    """What the potential cannot explain of its own training set: a standard deviation."""

    force_ev_per_angstrom: float
    energy_ev_per_atom: float


class Information:
    """A pool of structures and what each would teach, beside a training set and earlier choices.

    `groups` names each structure's condition: every condition counts the same in what is asked,
    however many of its frames are in the pool.
    """

    name: Why = "informed"

    def __init__(
        self,
        potential: Design,
        trained: Sequence[Atoms],
        pool: Sequence[Atoms],
        groups: Sequence[str],
        *,
        rng: np.random.Generator,
    ) -> None:
        design = _Rows(potential, rng)
        self.noise = design.noise(trained)
        precision = design.precision(trained, self.noise)
        factor, _ = cho_factor(precision)
        upper = np.triu(factor)
        asked, measured = np.zeros_like(precision), list[np.ndarray]()
        for atoms in pool:
            scaled = design.scaled(atoms, self.noise)
            rows = solve_triangular(upper, scaled.rows.T, trans="T", check_finite=False).T
            means = np.outer(rows[0], rows[0]) + rows[1:].T @ rows[1:] / (len(rows) - 1)
            asked += means / (1.0 + np.trace(means))
            rows[1:] *= np.sqrt(scaled.atoms_per_sample)
            measured.append(np.vstack([rows[:1], _compressed(rows[1:])]))
        values, vectors = np.linalg.eigh(asked)
        vectors = vectors[:, max(len(values) - _DIRECTIONS_KEPT, 0) :]
        self._measured = [rows @ vectors for rows in measured]
        self._numbers = np.array([3.0 * len(atoms) for atoms in pool])
        self._share = np.array([1.0 / (groups.count(group) * len(set(groups))) for group in groups])
        self._covariance = np.eye(vectors.shape[1])
        self._ask()

    def _ask(self) -> None:
        """S, and what is expected, as they follow from Σ."""
        self._asked, self.expected = np.zeros_like(self._covariance), 1.0
        for rows, number, share in zip(self._measured, self._numbers, self._share, strict=True):
            weights = np.full(len(rows), 1.0 / number)
            weights[0] = 1.0  # the energy counts as much as all the forces
            error = float(weights @ np.einsum("ij,ij->i", rows @ self._covariance, rows))
            self._asked += (rows.T * (weights * share / (1.0 + error))) @ rows
            self.expected += share * np.log1p(error)

    def gain(self, index: int) -> float:
        """What a label of this structure would take from `expected`, as a share of it, in 0 … 1."""
        rows = self._measured[index]
        carried = rows @ self._covariance
        inner = np.eye(len(rows)) + carried @ rows.T
        wanted = carried @ self._asked @ carried.T
        return float(np.trace(np.linalg.solve(inner, wanted))) / self.expected

    def take(self, index: int) -> None:
        """Count the structure as labelled."""
        rows = self._measured[index]
        carried = rows @ self._covariance
        inner = np.eye(len(rows)) + carried @ rows.T
        self._covariance -= carried.T @ np.linalg.solve(inner, carried)
        self._ask()


@dataclass(frozen=True)
class _Scaled:
    # the energy's first, then 3 for each atom looked at, each divided by its noise
    rows: np.ndarray
    atoms_per_sample: float  # atoms of the structure for each that was looked at


class _Rows:
    """Rows of the design matrix, of at most so many atoms of each structure."""

    def __init__(self, design: Design, rng: np.random.Generator) -> None:
        self._design = design
        self._coefficients = design.coefficients
        self._rng = rng

    def scaled(self, atoms: Atoms, noise: Noise) -> _Scaled:
        energy, forces = self._design.rows(atoms)
        looked_at = min(len(atoms), _ATOMS_MAX)
        if looked_at < len(atoms):
            chosen = np.sort(self._rng.permutation(len(atoms))[:looked_at])
            forces = forces.reshape(len(atoms), 3, -1)[chosen].reshape(3 * looked_at, -1)
        rows = np.vstack(
            [energy[None] / noise.energy_ev_per_atom, forces / noise.force_ev_per_angstrom]
        )
        return _Scaled(rows, len(atoms) / looked_at)

    def noise(self, trained: Sequence[Atoms]) -> Noise:
        """The training set's residuals; energies beside the best possible reference energies."""
        forces, energies, counts = [], [], []
        elements = sorted({symbol for atoms in trained for symbol in atoms.get_chemical_symbols()})
        for atoms in trained:
            of_energy, of_forces = self._design.rows(atoms)
            forces.append(of_forces @ self._coefficients - atoms.get_forces().ravel())
            energies.append(
                of_energy @ self._coefficients - atoms.get_potential_energy() / len(atoms)
            )
            symbols = atoms.get_chemical_symbols()
            counts.append([symbols.count(element) / len(atoms) for element in elements])
        shares, off = np.array(counts), np.array(energies)
        solution, *_ = np.linalg.lstsq(shares, off, rcond=None)
        left = off - shares @ solution
        return Noise(
            max(_spread(np.concatenate(forces)), _NOISE_MIN_FORCE),
            max(_spread(left), _NOISE_MIN_ENERGY),
        )

    def precision(self, trained: Sequence[Atoms], noise: Noise) -> np.ndarray:
        """XᵀX + P: what the training set has told of the coefficients, and their usual size."""
        size = float(np.square(self._coefficients).mean()) or 1.0
        precision = np.eye(self._design.functions) / size
        for atoms in trained:
            scaled = self.scaled(atoms, noise)
            scaled.rows[1:] *= np.sqrt(scaled.atoms_per_sample)
            precision += scaled.rows.T @ scaled.rows
        return precision


def _spread(residuals: np.ndarray) -> float:
    """The standard deviation of a normal distribution with the same median size.

    A few wild frames do not count.
    """
    return float(np.median(np.abs(residuals))) / _NORMAL_MEDIAN


def _compressed(rows: np.ndarray) -> np.ndarray:
    """The same information in fewer rows: rotated, and without the directions that say least."""
    if len(rows) <= _ROWS_KEPT:
        return rows
    _, vectors = np.linalg.eigh(rows @ rows.T)
    kept: np.ndarray = vectors[:, -_ROWS_KEPT:].T @ rows
    return kept
