"""The potential: E = Σ over pairs of Σₖ cₖ gₖ(r); Gaussians gₖ of the distance end at the cutoff.

An atom is described by Σ over its neighbours of gₖ(r), for each element of them. γ is the
Mahalanobis distance of that from the mean of the atoms of its element in the training set, divided
by the largest there (P. C. Mahalanobis, Proc. Natl. Inst. Sci. India 2, 49 (1936)).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.work.evaluation import Evaluation
from mlip_autopipec.work.job import TaskFailed

#: Of the core repulsion where two atoms meet.
_CORE_EV = 20.0
_VOIGT = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
#: Of a variance beside the largest one: less is the luck of a small training set.
_VARIANCE_MIN = 1e-4


@dataclass(frozen=True)
class Basis:
    """Gaussians of the distance, for each pair of elements."""

    elements: tuple[str, ...]
    cutoff_angstrom: float
    size: int

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each pair once."""
        return [
            (element, other)
            for index, element in enumerate(self.elements)
            for other in self.elements[index:]
        ]

    def functions(self, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """gₖ and its derivative, each (n, size)."""
        centres, width = (
            np.linspace(1.0, self.cutoff_angstrom, self.size),
            self.cutoff_angstrom / self.size,
        )
        off = (distances[:, None] - centres) / width
        gaussian = np.exp(-0.5 * off**2)
        phase = np.pi * distances[:, None] / self.cutoff_angstrom
        end, slope = (
            0.5 * (np.cos(phase) + 1.0),
            -0.5 * np.pi / self.cutoff_angstrom * np.sin(phase),
        )
        return gaussian * end, gaussian * (slope - end * off / width)

    def pair_of(self, atoms: Atoms, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The place among `pairs` of each bond.

        Raises TaskFailed (bad_input) for another element.
        """
        unknown = sorted(set(atoms.get_chemical_symbols()) - set(self.elements))
        if unknown:
            raise TaskFailed("bad_input", f"the potential does not know {', '.join(unknown)}")
        kinds = np.array([self.elements.index(symbol) for symbol in atoms.get_chemical_symbols()])
        table = np.zeros((len(self.elements),) * 2, dtype=int)
        for index, (pair, other) in enumerate(self.pairs):
            a, b = self.elements.index(pair), self.elements.index(other)
            table[a, b] = table[b, a] = index
        found: np.ndarray = table[kinds[first], kinds[second]]
        return found


class Pairs:
    """See work/evaluation.py for what it promises."""

    def __init__(self, content: Mapping[str, Any], known: Mapping[str, Any] | None) -> None:
        self.basis = Basis(tuple(content["elements"]), content["cutoff_angstrom"], content["size"])
        self._coefficients = np.array(content["coefficients"])  # (pairs, size)
        self._core_angstrom: float | None = content["core_angstrom"]
        self._known = (
            None if known is None else {name: _Known.read(of) for name, of in known.items()}
        )
        self.elements = self.basis.elements
        self.cutoff_angstrom = self.basis.cutoff_angstrom
        self.projections_max = self.basis.size * len(self.elements)
        self.functions_per_element = dict.fromkeys(self.elements, self.projections_max)

    def evaluate(self, atoms: Atoms, *, graded: bool = True) -> Evaluation:
        """Half of each bond is either atom's."""
        first, second, distances, vectors = neighbor_list("ijdD", atoms, self.cutoff_angstrom)
        values, slopes = self.basis.functions(distances)
        of_bond = self._coefficients[self.basis.pair_of(atoms, first, second)]
        energies, forces = (of_bond * values).sum(axis=1), (of_bond * slopes).sum(axis=1)
        if self._core_angstrom is not None:
            inside = np.maximum(1.0 - distances / self._core_angstrom, 0.0)
            energies, forces = (
                energies + _CORE_EV * inside**2,
                forces - 2 * _CORE_EV * inside / self._core_angstrom,
            )
        pulls = forces[:, None] * vectors / distances[:, None]  # on the first atom
        total = np.zeros((len(atoms), 3))
        np.add.at(total, first, pulls)
        virial = -0.5 * np.array(
            [(vectors[:, row] * pulls[:, column]).sum() for row, column in _VOIGT]
        )
        gamma = self.gamma(atoms) if graded else None
        return Evaluation(0.5 * float(energies.sum()), total, virial, gamma)

    def gamma(self, atoms: Atoms) -> np.ndarray:
        """By the training set's own scatter."""
        return self.environments(atoms)[0]

    def environments(self, atoms: Atoms) -> tuple[np.ndarray, list[np.ndarray]]:
        """The sums of each atom."""
        if self._known is None:
            raise AssertionError("without what it was trained on a potential has no γ")
        described = describe(self.basis, atoms)
        symbols = atoms.get_chemical_symbols()
        gamma = [
            self._known[symbol].grade(item) for symbol, item in zip(symbols, described, strict=True)
        ]
        return np.array(gamma), list(described)


def describe(basis: Basis, atoms: Atoms) -> np.ndarray:
    """Σ gₖ by the element of the neighbour, (n_atoms, elements · size)."""
    first, second, distances = neighbor_list("ijd", atoms, basis.cutoff_angstrom)
    values, _ = basis.functions(distances)
    kinds = np.array([basis.elements.index(symbol) for symbol in atoms.get_chemical_symbols()])
    sums = np.zeros((len(atoms), len(basis.elements), basis.size))
    np.add.at(sums, (first, kinds[second]), values)
    return sums.reshape(len(atoms), -1)


@dataclass(frozen=True)
class _Known:
    """The scatter of the environments of one element."""

    mean: np.ndarray
    inverse: np.ndarray
    largest: float

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "_Known":
        return cls(np.array(content["mean"]), np.array(content["inverse"]), content["largest"])

    def grade(self, described: np.ndarray) -> float:
        off = described - self.mean
        return float(np.sqrt(off @ self.inverse @ off)) / self.largest


def load(files: Mapping[str, Path]) -> Pairs:
    """The potential, with γ if its second file is there."""
    try:
        content = json.loads(files["json"].read_text())
        known = json.loads(files["known"].read_text()) if "known" in files else None
        return Pairs(content, known)
    except (ValueError, KeyError, TypeError) as error:
        raise TaskFailed(
            "bad_input", f"{files['json'].name} is no pair potential: {error}"
        ) from error


def write(fitted: Path, target: Path, radius_angstrom: float | None) -> None:
    """The core is a number in the file."""
    content = json.loads(fitted.read_text())
    target.write_text(json.dumps({**content, "core_angstrom": radius_angstrom}))


def complete(potential: Path, train: Sequence[Atoms], references: Mapping[str, float]) -> None:
    """The environments of all training labels."""
    del references
    basis = load({"json": potential}).basis
    described = [(atoms.get_chemical_symbols(), describe(basis, atoms)) for atoms in train]
    known = {}
    for element in basis.elements:
        own = np.vstack([sums[np.array(symbols) == element] for symbols, sums in described])
        mean, spread = own.mean(axis=0), np.cov(own.T)
        inverse = np.linalg.inv(
            spread + _VARIANCE_MIN * spread.diagonal().max() * np.eye(len(spread))
        )
        off = own - mean
        largest = float(np.sqrt(np.einsum("ij,jk,ik->i", off, inverse, off).max()))
        known[element] = {"mean": mean.tolist(), "inverse": inverse.tolist(), "largest": largest}
    potential.with_name("known.json").write_text(json.dumps(known))


def examine() -> Examined:
    """It needs numpy and ASE alone."""
    return Examined(fit=True, message=f"numpy {np.__version__}")
