"""The fit of `scripts/bench labels`: the product's basis and ridge regression, for very many sets.

A structure's rows of the design matrix are worked out once. A fit then adds the Gram matrices of
its structures and solves. It is the fit of `work/codes/linear/run.py`, but for the stress, which is
not fitted here: twelve more projections of every structure of every pool.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from mlip_autopipec.contract.results.train import FittedSettings
from mlip_autopipec.work.ace.basis import columns, linear_basis, roughness
from mlip_autopipec.work.ace.choice import penalty_of
from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.ace.labels import cohesive_ev
from mlip_autopipec.work.ace.weights import energy_weight, force_weights
from mlip_autopipec.work.origins import origin_of

_MEV = 1000.0
_TAIL_PERCENT = 99


@dataclass(frozen=True)
class Rows:
    """One labelled structure as a fit sees it: energies per atom in eV, forces in eV/Å."""

    energy_row: np.ndarray  # (n_functions,)
    force_rows: np.ndarray  # (3 n_atoms, n_functions)
    energy_ev: float
    forces: np.ndarray  # (3 n_atoms,)
    energy_weight: float
    force_weights: np.ndarray  # (3 n_atoms,)
    condition: str


@dataclass(frozen=True)
class Errors:
    """Of energies in meV/atom, of force components in meV/Å.

    The tail is the 99th percentile of |ΔF| of an atom.
    """

    energy: float
    force: float
    tail: float


@dataclass(frozen=True)
class Scores:
    """A potential on the test set: all frames, and the frames of each condition."""

    everything: Errors
    by_condition: Mapping[str, Errors]

    @property
    def worst(self) -> float:
        """Force error of the worst condition in meV/Å."""
        return max(errors.force for errors in self.by_condition.values())


class Fitter:
    """Rows of structures, and fits to them with given settings."""

    def __init__(
        self,
        elements: Sequence[str],
        settings: FittedSettings,
        buffer_weight: float,
        references: Mapping[str, float],
    ) -> None:
        self.basis = linear_basis(
            elements, settings.cutoff_angstrom, settings.functions_per_element
        )
        self.references = references
        self._design = DesignMatrix(self.basis)
        self._settings = settings
        self._buffer_weight = buffer_weight
        self._penalty = penalty_of(roughness(columns(self.basis)), settings)

    @property
    def functions(self) -> int:
        """Of all elements."""
        return self._design.functions

    @property
    def digest(self) -> str:
        """Changes with the functions of the basis and with the settings of the fit."""
        content = repr((columns(self.basis), asdict(self._settings)))
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    def rows(self, frames: Iterable[Atoms]) -> list[Rows]:
        """Of labelled structures."""
        return [self._of(frame) for frame in frames]

    def _of(self, frame: Atoms) -> Rows:
        energy_row, force_rows = self._design.rows(frame)
        weight = self._buffer_weight
        return Rows(
            energy_row=energy_row,
            force_rows=force_rows,
            energy_ev=cohesive_ev(frame, self.references) / len(frame),
            forces=frame.get_forces().ravel(),
            energy_weight=energy_weight(frame, weight),
            force_weights=force_weights(frame, weight).repeat(3),
            condition=str(frame.info.get("condition", origin_of(frame).condition)),
        )

    def sums(self) -> "Sums":
        """For a training set that grows."""
        return Sums(self._settings, self._penalty)

    def fit(self, train: Sequence[Rows]) -> np.ndarray:
        """The coefficients."""
        sums = self.sums()
        sums.add(train)
        return sums.solve()

    def save(self, coefficients: np.ndarray, path: Path) -> None:
        """As a potential file."""
        self.basis.basis_coeffs = coefficients
        self.basis.save(str(path))


class Sums:
    """Gram matrices of a training set that grows, those of energies by condition."""

    def __init__(self, settings: FittedSettings, penalty: np.ndarray) -> None:
        self._settings = settings
        self._penalty = penalty
        self._of_energies: dict[str, _Sum] = {}
        self._of_forces = _Sum(len(penalty))

    def copy(self) -> "Sums":
        """To go on from here more than once."""
        other = Sums(self._settings, self._penalty)
        other._of_energies = {name: each.copy() for name, each in self._of_energies.items()}
        other._of_forces = self._of_forces.copy()
        return other

    def add(self, train: Sequence[Rows]) -> None:
        """More structures."""
        if not train:
            return
        for rows in train:
            self._of_energies.setdefault(rows.condition, _Sum(len(self._penalty))).add(
                rows.energy_row[None, :],
                np.array([rows.energy_ev]),
                np.array([rows.energy_weight]),
            )
        self._of_forces.add(
            np.vstack([rows.force_rows for rows in train]),
            np.concatenate([rows.forces for rows in train]),
            np.concatenate([rows.force_weights for rows in train]),
        )

    def solve(self) -> np.ndarray:
        """The coefficients of the ridge regression."""
        energy, force = self._energies(), self._of_forces
        parts = (
            self._settings.energy_weight / energy.weight,
            self._settings.force_weight / force.weight,
        )
        gram = parts[0] * energy.gram + parts[1] * force.gram
        right = parts[0] * energy.right + parts[1] * force.right
        gram[np.diag_indices_from(gram)] += self._penalty
        try:
            solved: np.ndarray = cho_solve(cho_factor(gram), right)
        except LinAlgError:  # by rounding the matrix is not positive definite
            solved = np.linalg.lstsq(gram, right, rcond=None)[0]
        return solved

    def _energies(self) -> "_Sum":
        """Each condition counts as much as the next; see `work/ace/weights.py`."""
        rows = {name: each.rows for name, each in self._of_energies.items() if name}
        whole = _Sum(len(self._penalty))
        for name, each in self._of_energies.items():
            whole.join(each, sum(rows.values()) / len(rows) / rows[name] if name else 1.0)
        return whole


class _Sum:
    """Σ w x xᵀ, Σ w x y and Σ w."""

    def __init__(self, functions: int) -> None:
        self.gram = np.zeros((functions, functions))
        self.right = np.zeros(functions)
        self.weight = 0.0
        self.rows = 0

    def copy(self) -> "_Sum":
        other = _Sum(len(self.right))
        other.join(self, 1.0)
        return other

    def join(self, other: "_Sum", times: float) -> None:
        self.gram += times * other.gram
        self.right += times * other.right
        self.weight += times * other.weight
        self.rows += other.rows

    def add(self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> None:
        weighted = rows * weights[:, None]
        self.gram += weighted.T @ rows
        self.right += weighted.T @ targets
        self.weight += float(weights.sum())
        self.rows += len(targets)


@dataclass(frozen=True)
class TestSet:
    """The independent labels, by which every curve is measured."""

    __test__ = False

    conditions: Sequence[str]
    energies_ev: np.ndarray  # per atom, beside the references
    forces: Sequence[np.ndarray]  # (n_atoms, 3) each

    @classmethod
    def of(cls, rows: Sequence[Rows]) -> "TestSet":
        """From the labelled frames."""
        return cls(
            [row.condition for row in rows],
            np.array([row.energy_ev for row in rows]),
            [row.forces.reshape(-1, 3) for row in rows],
        )

    def scores_of_fit(self, rows: Sequence[Rows], coefficients: np.ndarray) -> Scores:
        """Of coefficients of the linear basis."""
        energies = np.array([row.energy_row for row in rows]) @ coefficients
        forces = np.vstack([row.force_rows for row in rows]) @ coefficients
        cuts = np.cumsum([3 * len(force) for force in self.forces])[:-1]
        return self.scores(energies, [part.reshape(-1, 3) for part in np.split(forces, cuts)])

    def scores(self, energies_ev: np.ndarray, forces: Sequence[np.ndarray]) -> Scores:
        """Of predictions: energies per atom beside the references."""
        of_energies = energies_ev - self.energies_ev
        of_forces = [found - true for found, true in zip(forces, self.forces, strict=True)]
        groups = {
            name: [index for index, other in enumerate(self.conditions) if other == name]
            for name in dict.fromkeys(self.conditions)
        }
        return Scores(
            _errors(of_energies, of_forces),
            {
                name: _errors(of_energies[indices], [of_forces[index] for index in indices])
                for name, indices in groups.items()
            },
        )


def _errors(energies: np.ndarray, forces: Sequence[np.ndarray]) -> Errors:
    every = np.concatenate(forces)
    return Errors(
        energy=_MEV * float(np.sqrt(np.mean(energies**2))),
        force=_MEV * float(np.sqrt(np.mean(every**2))),
        tail=_MEV * float(np.percentile(np.linalg.norm(every, axis=1), _TAIL_PERCENT)),
    )
