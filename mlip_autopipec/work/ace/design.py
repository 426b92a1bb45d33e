"""The linear fit's design matrix: B-projections of ACE and their derivatives, of a whole structure.

The functions are python-ace's: its radial functions, couplings and order are read from its basis,
and tests hold each number to its own. python-ace works derivatives out function by function and
neighbour by neighbour, which is nearly all of what a fit or a choice of labels costs: seconds for
64 atoms and 800 functions. But a function knows its neighbours by the atomic base alone,

    A_v = Σ_j R_nl(r_j) Y_lm(r̂_j),   v = (element of j, n, l, m),

(Drautz, Phys. Rev. B 99, 014104 (2019)): some three hundred numbers, of which a function has a
dozen. So ∂B/∂r is a sparse matrix ∂B/∂A times ∂A/∂r, and the strain derivative is the same matrix
times Σ_j ∂A/∂r_j ⊗ r_j.

Harmonics are the regular solid ones without the Condon-Shortley phase, R_lm = r^l P_lm(cos θ)
e^{imφ} / (l + m)!, whose gradients are those of l - 1 (White and Head-Gordon, J. Chem. Phys. 101,
6593 (1994)).
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial, sqrt
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from pyace import ACEBBasisSet
from scipy.sparse import csr_array

from mlip_autopipec.work.job import TaskFailed

_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
#: Atoms whose derivatives are held at once: about 20 MB.
_ATOMS_AT_ONCE = 16


class DesignRows(NamedTuple):
    """The rows of one structure: of its energy per atom, its forces and its strain derivative."""

    energy: np.ndarray  # (n_functions,)
    forces: np.ndarray  # (3 n_atoms, n_functions), in 1/Å
    strain: np.ndarray  # (6, n_functions), per atom: stress × volume, in Voigt's order as ASE's


class DesignMatrix:
    """∂(energy per atom, forces, strain derivative)/∂coefficients of a linear basis."""

    def __init__(self, basis: ACEBBasisSet) -> None:
        self.coefficients = np.asarray(basis.basis_coeffs, dtype=float)
        self._basis = basis
        self._elements = dict(basis.elements_to_index_map)
        self._harmonics = _Harmonics(int(basis.lmax))
        self._centres = [_Centre(basis, element) for element in range(len(self._elements))]
        counts = [centre.functions for centre in self._centres]
        self._offsets = np.concatenate([[0], np.cumsum(counts)])

    @property
    def functions(self) -> int:
        """Columns."""
        return int(self._offsets[-1])

    def rows(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """The rows of the energy per atom, (n_functions,), and forces, (3 n_atoms, n_functions).

        Raises as `all_rows`.
        """
        return self.all_rows(atoms)[:2]

    def all_rows(self, atoms: Atoms) -> DesignRows:
        """All rows of a structure, periodic in every direction.

        Raises TaskFailed (bad_input) for elements outside the basis.
        """
        energy, strain = np.zeros(self.functions), np.zeros((6, self.functions))
        gradient = np.zeros((len(atoms), 3, self.functions))
        for element, members, pairs in self._parts(atoms):
            own = slice(*self._offsets[element : element + 2])
            centre = self._centres[element]
            base, slopes = self._base(element, pairs, len(members))
            energy[own] += centre.projections(base).sum(axis=0)
            for atom, known, pair in zip(
                members, centre.slopes(base), pairs.of_each(len(members)), strict=True
            ):
                # of each neighbour once, however many of its images are near; then of all together
                first = np.flatnonzero(np.diff(pairs.neighbours[pair], prepend=-1))
                reached = pairs.neighbours[pair][first]
                moved = slopes[:, pair]
                columns = (
                    np.add.reduceat(moved, first, axis=1) if len(first) else moved,
                    moved.sum(axis=1, keepdims=True),
                    _strained(moved, pairs.vectors[pair]),
                )
                found = centre.times(
                    known,
                    np.concatenate([each.reshape(len(moved), -1) for each in columns], axis=1),
                ).T
                gradient[reached, :, own] += found[:-9].reshape(len(reached), 3, centre.functions)
                gradient[atom, :, own] -= found[-9:-6]
                strain[:, own] += found[-6:]
        forces = -gradient.reshape(-1, self.functions)
        return DesignRows(energy / len(atoms), forces, strain / len(atoms))

    def _parts(self, atoms: Atoms) -> Iterator[tuple[int, np.ndarray, "_Pairs"]]:
        """Some atoms of one element after the other, with their neighbours."""
        species = self._species(atoms)
        of, to, vectors = primitive_neighbor_list(
            "ijD",
            (True, True, True),
            atoms.cell.array,
            atoms.positions,
            float(self._basis.cutoffmax),
        )
        order = np.lexsort((to, of))
        of, to, vectors = of[order], to[order], vectors[order]
        bounds = np.searchsorted(of, np.arange(len(atoms) + 1))
        for element in range(len(self._elements)):
            same = np.flatnonzero(species == element)
            for start in range(0, len(same), _ATOMS_AT_ONCE):
                members = same[start : start + _ATOMS_AT_ONCE]
                counts = bounds[members + 1] - bounds[members]
                chosen = np.concatenate([np.arange(bounds[m], bounds[m + 1]) for m in members])
                yield (
                    element,
                    members,
                    _Pairs(
                        vectors[chosen],
                        to[chosen],
                        species[to[chosen]],
                        np.concatenate([[0], np.cumsum(counts)]),
                    ),
                )

    def _species(self, atoms: Atoms) -> np.ndarray:
        names = atoms.get_chemical_symbols()
        unknown = sorted(set(names) - self._elements.keys())
        if unknown:
            raise TaskFailed("bad_input", f"the basis does not know {', '.join(unknown)}")
        return np.array([self._elements[name] for name in names])

    def _base(self, element: int, pairs: "_Pairs", count: int) -> tuple[np.ndarray, np.ndarray]:
        """The atomic base, (n_atoms, n_channels); pairs' slopes, (n_channels, n_pairs, 3)."""
        channels = self._centres[element].channels
        size = len(pairs.vectors)
        values = np.zeros((len(channels), size), dtype=complex)
        moved = np.zeros((len(channels), size, 3), dtype=complex)
        for other in range(len(self._elements)):
            rows = np.flatnonzero(channels[:, 0] == other)
            near = np.flatnonzero(pairs.elements == other)
            if not len(rows) or not len(near):
                continue
            _, radial, degree, order = channels[rows].T
            vectors = pairs.vectors[near]
            distances = np.linalg.norm(vectors, axis=1)
            function, derivative = _radial(self._basis, element, other, distances)
            harmonics, gradients = self._harmonics.of(vectors)
            solid = self._harmonics.row_of(degree, order)
            # harmonics here are solid: R/r^l beside them
            power = distances ** -degree[:, None].astype(float)
            along = function[:, radial].T * power
            values[np.ix_(rows, near)] = along * harmonics[solid]
            outward = derivative[:, radial].T * power - along * degree[:, None] / distances
            moved[np.ix_(rows, near)] = (outward * harmonics[solid])[..., None] * (
                vectors / distances[:, None]
            ) + along[..., None] * gradients[solid]
        base = np.array([values[:, pair].sum(axis=1) for pair in pairs.of_each(count)])
        return base, moved


@dataclass(frozen=True)
class _Pairs:
    """Neighbours of some atoms, one atom after the other, each atom's by number."""

    vectors: np.ndarray  # (n_pairs, 3), Å
    neighbours: np.ndarray  # (n_pairs,), their atoms
    elements: np.ndarray  # (n_pairs,), and elements
    bounds: np.ndarray  # (n_atoms + 1,)

    def of_each(self, count: int) -> list[slice]:
        """The pairs of each atom."""
        return [slice(*self.bounds[index : index + 2]) for index in range(count)]


class _Centre:
    """The functions of an atom of one element."""

    def __init__(self, basis: ACEBBasisSet, element: int) -> None:
        pair_columns = int(basis.nradmax) * (int(basis.lmax) + 1)
        numbers: dict[tuple[int, int, int, int], int] = {}
        terms: dict[int, list[tuple[int, float, list[tuple[int, int]]]]] = defaultdict(list)
        functions = [*basis.basis_rank1[element], *basis.basis[element]]
        for number, function in enumerate(functions):
            is_pair = function.rank == 1
            columns = [
                pair_columns + n - 1 if is_pair else (n - 1) * (int(basis.lmax) + 1) + l_
                for n, l_ in zip(function.ns, function.ls, strict=True)
            ]
            for orders, factor in zip(function.ms_combs, function.gen_cgs, strict=True):
                factors = [
                    (numbers.setdefault((mu, column, l_, abs(m)), len(numbers)), m)
                    for mu, column, l_, m in zip(
                        function.mus, columns, function.ls, orders, strict=True
                    )
                ]
                terms[function.rank].append((number, float(factor), factors))
        self.functions = len(functions)
        #: Element of the neighbour, column of the radial functions, l and m ≥ 0 of each.
        self.channels = np.array(list(numbers), dtype=int).reshape(-1, 4)
        self._signs = (-1.0) ** self.channels[:, 3]
        self._products = [_Products(group, len(numbers)) for group in terms.values()]
        keys = np.concatenate([product.keys(len(numbers)) for product in self._products])
        self._order = np.argsort(keys, kind="stable")
        known, self._starts = np.unique(keys[self._order], return_index=True)
        of, channel = np.divmod(known, len(numbers))
        self._matrix = csr_array(
            (
                np.zeros(len(known)),
                channel,
                np.searchsorted(of, np.arange(self.functions + 1)),
            ),
            shape=(self.functions, len(numbers)),
        )

    def projections(self, base: np.ndarray) -> np.ndarray:
        """B, shape (n_atoms, n_functions)."""
        found = np.zeros((len(base), self.functions))
        both = self._both(base)
        for product in self._products:
            product.add_to(found, both)
        return found

    def slopes(self, base: np.ndarray) -> np.ndarray:
        """∂B/∂A where it is not nought, (n_atoms, n_known): B is the real part of what it gives."""
        both = self._both(base)
        every = np.concatenate([product.slopes(both) for product in self._products], axis=1)[
            :, self._order
        ]
        return np.add.reduceat(every, self._starts, axis=1)

    def times(self, slopes: np.ndarray, moved: np.ndarray) -> np.ndarray:
        """∂B/∂A of one atom times changes of A, (n_channels, n_changes)."""
        self._matrix.data[:] = slopes.real
        found: np.ndarray = self._matrix @ np.ascontiguousarray(moved.real)
        self._matrix.data[:] = slopes.imag
        found -= self._matrix @ np.ascontiguousarray(moved.imag)
        return found

    def _both(self, base: np.ndarray) -> np.ndarray:
        """A of m ≥ 0, and of -m."""
        return np.concatenate([base, self._signs * base.conj()], axis=1)


class _Products:
    """Products of as many factors: Σ c Π A over the terms of some functions."""

    def __init__(
        self, terms: list[tuple[int, float, list[tuple[int, int]]]], channels: int
    ) -> None:
        self._number = np.array([number for number, *_ in terms])
        self._factor = np.array([factor for _, factor, _ in terms])
        channel = np.array([[number for number, _ in factors] for *_, factors in terms])
        order = np.array([[m for _, m in factors] for *_, factors in terms])
        self._channel, self._negative = channel, order < 0
        self._both = channel + channels * self._negative
        self._sign = (-1.0) ** order
        self._functions, self._starts = np.unique(self._number, return_index=True)

    def keys(self, channels: int) -> np.ndarray:
        """Of each slope, the function and the channel."""
        return np.concatenate([self._number * channels + channel for channel in self._channel.T])

    def add_to(self, found: np.ndarray, both: np.ndarray) -> None:
        """The functions' projections."""
        product = self._factor * np.prod([both[:, each] for each in self._both.T], axis=0)
        found[:, self._functions] += np.add.reduceat(product.real, self._starts, axis=1)

    def slopes(self, both: np.ndarray) -> np.ndarray:
        """Of each factor of each term: what is left without it, (n_atoms, n_slopes).

        Re(P dA₋ₘ) = Re((-1)ᵐ P* dAₘ), so that m ≥ 0 are enough.
        """
        factors = [both[:, each] for each in self._both.T]
        found = []
        for index, negative in enumerate(self._negative.T):
            left = np.broadcast_to(self._factor, factors[0].shape).astype(complex)
            for other, factor in enumerate(factors):
                if other != index:
                    left *= factor
            turned = self._sign[:, index] * left.conj()
            found.append(np.where(negative, turned, left))
        return np.concatenate(found, axis=1)


class _Harmonics:
    """Regular solid harmonics √4π r^l Y_lm of 0 ≤ m ≤ l with gradients; python-ace has Y₀₀ = 1."""

    def __init__(self, degree_max: int) -> None:
        self._each = [(l_, m) for l_ in range(degree_max + 1) for m in range(l_ + 1)]
        self._norms = np.array(
            [
                (-1.0) ** m * sqrt((2 * l_ + 1) * factorial(l_ - m) * factorial(l_ + m))
                for l_, m in self._each
            ]
        )

    @staticmethod
    def row_of(degree: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Where (l, m) stands."""
        row: np.ndarray = degree * (degree + 1) // 2 + order
        return row

    def of(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values, (n_harmonics, n_vectors), and gradients, (n_harmonics, n_vectors, 3)."""
        x, y, z = vectors.T
        square = np.square(vectors).sum(axis=1)
        nought = np.zeros(len(vectors), dtype=complex)
        known: dict[tuple[int, int], np.ndarray] = {}

        def solid(l_: int, m: int) -> np.ndarray:
            if m < 0:
                return (-1.0) ** m * solid(l_, -m).conj()
            return known.get((l_, m), nought)

        for l_, m in self._each:
            if l_ == 0:
                known[0, 0] = nought + 1.0
            elif m == l_:
                known[l_, m] = (x + 1j * y) / (2 * l_) * solid(l_ - 1, l_ - 1)
            else:
                lower = (2 * l_ - 1) * z * solid(l_ - 1, m) - square * solid(l_ - 2, m)
                known[l_, m] = lower / (l_ * l_ - m * m)
        gradients = []
        for l_, m in self._each:
            less, more = solid(l_ - 1, m - 1), solid(l_ - 1, m + 1)
            gradients.append(
                np.stack([(less - more) / 2, 1j * (less + more) / 2, solid(l_ - 1, m)], axis=-1)
            )
        norms = self._norms[:, None]
        return norms * np.array(list(known.values())), norms[..., None] * np.array(gradients)


def _radial(
    basis: ACEBBasisSet, element: int, other: int, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """R_nl and the pair functions of each distance, and their derivatives, (n, n_columns)."""
    functions = basis.radial_functions
    functions.evaluate_range(distances, basis.nradbase, basis.nradmax, element, other)
    size = len(distances)

    def columns(of_many: object, of_pairs: object) -> np.ndarray:
        return np.concatenate([np.asarray(of_many).reshape(size, -1), np.asarray(of_pairs)], axis=1)

    return (
        columns(functions.fr_vec, functions.gr_vec),
        columns(functions.dfr_vec, functions.dgr_vec),
    )


def _strained(moved: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Of slopes (n_channels, n_pairs, 3), changes by strain, (n_channels, 6).

    A shear strain is that of the angle, twice its tensor component, as ASE's stress goes with it.
    """
    tensor = moved.swapaxes(1, 2) @ vectors
    return np.stack([(tensor[:, a, b] + tensor[:, b, a]) / 2 for a, b in _VOIGT], axis=1)
