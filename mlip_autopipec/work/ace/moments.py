"""The linear fit's least squares, folded structure by structure: no design matrix is held whole.

For each fold of a cross-validation and each kind of number (energy, force, stress) the triangular
factor R of the weighted rows [X y] is kept, by QR of one block of rows after the other (TSQR;
Demmel et al., SIAM J. Sci. Comput. 34, A206 (2012)). It is all that a ridge regression and its
errors on a fold need, whatever the weights, the penalty and the choice among the columns: so trying
another setting costs a solve, and no row is made twice. Its size is that of the basis and not of
the data: 30 matrices of n_functions² for ten folds, 240 MB for 1,000 functions.

Trials are solved by normal equations, whose errors are compared and no more. What becomes the
potential is solved from the factors, whose condition is not squared. It is looked at, and where the
penalty is too small for double precision, directions that rounding has eaten are left out.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from ase import Atoms
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh, qr, svd

from mlip_autopipec.work.ace.basis import linear_basis
from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.ace.labels import cohesive_ev, strain_derivative_ev
from mlip_autopipec.work.ace.weights import fitted_energy_weights, force_weights

KINDS = ("energy", "force", "stress")
#: Rows that are folded in at once, at least, and in multiples of the columns: fewer would cost more
#: than they add.
_ROWS_AT_ONCE, _ROWS_PER_COLUMN = 1000, 3


@dataclass(frozen=True)
class Grid:
    """What makes a design matrix."""

    elements: tuple[str, ...]
    cutoff_angstrom: float
    functions_per_element: int


class Moments:
    """Weighted rows of one kind, reduced to a triangle."""

    def __init__(self, functions: int) -> None:
        self.rows = 0
        self.weight = 0.0
        self.factor = np.zeros((0, functions + 1))  # RᵀR = Σ w [x y]ᵀ[x y]
        self._products: np.ndarray | None = None
        self.seen: list[np.ndarray] = []  # the rows themselves, of a kind that has few

    def add(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, *, keep: bool = False
    ) -> None:
        """Fold rows (n_rows, n_functions) in; keep them too for `mean_absolute_error`."""
        whole = np.column_stack([rows, targets])
        if keep:
            self.seen.append(whole)
        self._fold(whole * np.sqrt(weights)[:, None])
        self.weight += float(weights.sum())
        self.rows += len(targets)

    def join(self, other: "Moments") -> None:
        """Fold another's rows in."""
        self._fold(other.factor)
        self.seen += other.seen
        self.rows += other.rows
        self.weight += other.weight

    @property
    def products(self) -> np.ndarray:
        """XᵀX with Xᵀy as last row and column, and yᵀy in the corner; weighted."""
        if self._products is None:
            self._products = self.factor.T @ self.factor
        return self._products

    def mean_square_error(self, coefficients: np.ndarray, columns: np.ndarray) -> float:
        """Weighted mean of (y - x·c)² over the rows; 0 without rows."""
        if not self.weight:
            return 0.0
        left = self.factor[:, columns] @ coefficients - self.factor[:, -1]
        return float(left @ left) / self.weight

    def mean_absolute_error(self, coefficients: np.ndarray, columns: np.ndarray) -> float:
        """Of the rows that were kept; 0 without any.

        A few outliers among a few dozen rows do not decide it.
        """
        if not self.seen:
            return 0.0
        left = [np.abs(seen[:, columns] @ coefficients - seen[:, -1]) for seen in self.seen]
        return float(np.concatenate(left).mean())

    def _fold(self, rows: np.ndarray) -> None:
        stacked = np.vstack([self.factor, rows])
        functions = stacked.shape[1]
        (self.factor,) = qr(stacked, mode="r", overwrite_a=True, check_finite=False)
        self.factor = self.factor[:functions]
        self._products = None


@dataclass(frozen=True)
class _Member:
    """A label in its fold."""

    fold: int
    frame: Atoms
    energy_weight: float  # of its stress too


@dataclass(frozen=True)
class Products:
    """Sums of products over several folds, for trials."""

    products: np.ndarray
    weight: float
    rows: int


#: One fold, by kind.
Fold = Mapping[str, Moments]


@dataclass(frozen=True)
class Solution:
    """Coefficients, and how far rounding may have moved them."""

    coefficients: np.ndarray
    condition: float  # of the scaled design matrix
    left_out: int  # directions that double precision does not know


def fold_moments(
    grid: Grid,
    frames: Sequence[Atoms],
    folds: Sequence[int],
    references: Mapping[str, float],
    buffer_weight: float,
    cores: int = 1,
) -> list[dict[str, Moments]]:
    """The triangles of each fold; `folds` says to which each frame belongs, from 0."""
    count = max(folds) + 1
    of_energies = fitted_energy_weights(frames, buffer_weight)
    members = [_Member(*each) for each in zip(folds, frames, of_energies, strict=True)]
    if cores == 1 or len(frames) < 2 * cores:
        return _folded(grid, members, count, references, buffer_weight)
    with ProcessPoolExecutor(
        cores, mp_context=get_context("fork"), initializer=_one_thread
    ) as pool:
        parts = [
            pool.submit(_folded, grid, members[start::cores], count, references, buffer_weight)
            for start in range(cores)
        ]
        found = parts[0].result()
        for part in parts[1:]:
            for mine, other in zip(found, part.result(), strict=True):
                for kind in KINDS:
                    mine[kind].join(other[kind])
    return found


def total(folds: Sequence[Fold], without: int | None = None) -> dict[str, Products]:
    """The products over every fold but one."""
    kept = [fold for index, fold in enumerate(folds) if index != without]
    return {
        kind: Products(
            products=np.sum([fold[kind].products for fold in kept], axis=0),
            weight=sum(fold[kind].weight for fold in kept),
            rows=sum(fold[kind].rows for fold in kept),
        )
        for kind in KINDS
    }


def normal_equations(
    sums: Mapping[str, Products], weights: Mapping[str, float], columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """XᵀX and Xᵀy of some columns and yᵀy, summed over the kinds by their weights.

    Each kind's is a mean.
    """
    matrix, product, square = np.zeros((len(columns), len(columns))), np.zeros(len(columns)), 0.0
    for kind, weight in weights.items():
        total = sums[kind]
        if weight and total.weight:
            scale = weight / total.weight
            matrix += scale * total.products[np.ix_(columns, columns)]
            product += scale * total.products[columns, -1]
            square += scale * float(total.products[-1, -1])
    return matrix, product, square


def solve_trial(
    sums: Mapping[str, Products],
    weights: Mapping[str, float],
    penalty: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Minimise Σ over kinds of weight ⟨(y - x·c)²⟩ + Σ penalty c², by normal equations."""
    matrix, product, _ = normal_equations(sums, weights, columns)
    matrix[np.diag_indices_from(matrix)] += penalty
    scale = 1 / np.sqrt(np.diag(matrix))
    matrix *= np.outer(scale, scale)
    try:
        found: np.ndarray = scale * cho_solve(cho_factor(matrix, lower=True), scale * product)
    except LinAlgError:
        values, vectors = eigh(matrix)
        known = values > values[-1] * len(values) * np.finfo(float).eps
        found = scale * (
            vectors[:, known] @ ((vectors[:, known].T @ (scale * product)) / values[known])
        )
    return found


def solve(
    folds: Sequence[Fold], weights: Mapping[str, float], penalty: np.ndarray, columns: np.ndarray
) -> Solution:
    """The same over all folds, from the factors: as exact as the rows themselves would give it."""
    parts = [np.column_stack([np.diag(np.sqrt(penalty)), np.zeros(len(columns))])]
    for kind, weight in weights.items():
        whole = sum(fold[kind].weight for fold in folds)
        if weight and whole:
            parts += [
                np.sqrt(weight / whole) * fold[kind].factor[:, [*columns, -1]] for fold in folds
            ]
    (factor,) = qr(np.vstack(parts), mode="r", overwrite_a=True, check_finite=False)
    triangle, right = factor[: len(columns), :-1], factor[: len(columns), -1]
    scale = np.linalg.norm(triangle, axis=0)
    left, values, across = svd(triangle / scale, full_matrices=False)
    known = values > values[0] * len(values) * np.finfo(float).eps
    solution = across[known].T @ ((left[:, known].T @ right) / values[known])
    return Solution(solution / scale, float(values[0] / values[known][-1]), int((~known).sum()))


def _one_thread() -> None:
    """Each process of a pool has one core; BLAS would take them all."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415 - only a pool needs it

    threadpool_limits(1)


def _folded(
    grid: Grid,
    members: Sequence[_Member],
    count: int,
    references: Mapping[str, float],
    buffer_weight: float,
) -> list[dict[str, Moments]]:
    design = DesignMatrix(
        linear_basis(grid.elements, grid.cutoff_angstrom, grid.functions_per_element)
    )
    found = [{kind: Moments(design.functions) for kind in KINDS} for _ in range(count)]
    enough = max(_ROWS_AT_ONCE, _ROWS_PER_COLUMN * design.functions)
    waiting: dict[tuple[int, str], list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    for member in members:
        for kind, *rows in _rows(design, member, references, buffer_weight):
            blocks = waiting.setdefault((member.fold, kind), [])
            blocks.append((rows[0], rows[1], rows[2]))
            if sum(len(targets) for _, targets, _ in blocks) >= enough:
                _flush(found[member.fold][kind], blocks, keep=kind == "energy")
    for (fold, kind), blocks in waiting.items():
        if blocks:
            _flush(found[fold][kind], blocks, keep=kind == "energy")
    return found


def _flush(
    moments: Moments, blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]], *, keep: bool
) -> None:
    rows, targets, weights = (np.concatenate(part) for part in zip(*blocks, strict=True))
    moments.add(rows, targets, weights, keep=keep)
    blocks.clear()


def _rows(
    design: DesignMatrix, member: _Member, references: Mapping[str, float], buffer_weight: float
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    frame = member.frame
    rows = design.all_rows(frame)
    yield (
        "energy",
        rows.energy[None, :],
        np.array([cohesive_ev(frame, references) / len(frame)]),
        np.array([member.energy_weight]),
    )
    yield (
        "force",
        rows.forces,
        frame.get_forces().ravel(),
        force_weights(frame, buffer_weight).repeat(3),
    )
    if (derivative := strain_derivative_ev(frame)) is not None:
        strain = derivative / len(frame)
        yield "stress", rows.strain, strain, np.full(6, member.energy_weight)


def available_cores(cores: int) -> int:
    """As many of them as this process may use."""
    return max(1, min(cores, len(os.sched_getaffinity(0))))
