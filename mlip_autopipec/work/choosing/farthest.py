"""Farthest-point choice, for every basis: structures most different from what is known or chosen.

A structure is described by the mean B-projections of its atoms of each element, each projection
divided by its spread; the distance of two structures is Euclidean. A greedy choice of the farthest
point is within a factor of two of the best cover there is (Gonzalez, Theoretical Computer Science
38, 293 (1985)).
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.results.structure import Why
from mlip_autopipec.work.evaluation import Evaluator

#: What a structure gains that is as far away as trained ones are from one another: two of that are
#: worth a hundredth.
_USUAL_GAIN = 0.01


class Farthest:
    """A pool of structures and how far each is from the training set and from what was taken."""

    name: Why = "farthest"

    def __init__(
        self, evaluator: Evaluator, trained: Sequence[Atoms], pool: Sequence[Atoms]
    ) -> None:
        elements = sorted(
            {symbol for atoms in (*trained, *pool) for symbol in atoms.get_chemical_symbols()}
        )
        described = np.array(
            [_description(evaluator, atoms, elements) for atoms in (*trained, *pool)]
        )
        spread = described.std(axis=0)
        described = described[:, spread > 0.0] / spread[spread > 0.0]
        known, self._offers = described[: len(trained)], described[len(trained) :]
        between = np.linalg.norm(known[:, None] - known[None], axis=2) + np.diag(
            np.full(len(known), np.inf)
        )
        usual = between.min(axis=1)
        self._usual = float(np.square(usual[np.isfinite(usual)]).mean()) if len(known) > 1 else 1.0
        self._nearest = np.array(
            [np.linalg.norm(known - offer, axis=1).min() for offer in self._offers]
        )

    def gain(self, index: int) -> float:
        """The squared distance to the nearest known, beside what is usual; see `_USUAL_GAIN`."""
        return min(_USUAL_GAIN * float(self._nearest[index]) ** 2 / (self._usual or 1.0), 1.0)

    def take(self, index: int) -> None:
        """Count the structure as known."""
        distances = np.linalg.norm(self._offers - self._offers[index], axis=1)
        self._nearest = np.minimum(self._nearest, distances)


def _description(evaluator: Evaluator, atoms: Atoms, elements: Sequence[str]) -> np.ndarray:
    """Mean B-projections by element, one after the other; zeros for an element not there."""
    _, projections = evaluator.environments(atoms)
    symbols = np.array(atoms.get_chemical_symbols())
    means = np.zeros((len(elements), evaluator.projections_max))
    for row, element in enumerate(elements):
        of_element = [
            of_atom
            for of_atom, symbol in zip(projections, symbols, strict=True)
            if symbol == element
        ]
        if of_element:
            mean = np.mean(of_element, axis=0)
            means[row, : len(mean)] = mean
    return means.ravel()
