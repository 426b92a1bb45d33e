"""Whether python-ace gives a γ that tells the known from the unknown."""

import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.work.ace.basis import linear_basis
from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.ace.evaluator import AceEvaluator, make_active_set
from mlip_autopipec.work.ace.labels import cohesive_ev, fit_references
from mlip_autopipec.work.ace.training_set import dataset_for_tools

#: A copper cell strained so much lies far outside of what a few rattled cells tell.
_STRAIN = 1.12
_CUTOFF_ANGSTROM, _FUNCTIONS, _PENALTY = 4.5, 10, 1e-6


def examine() -> Examined:
    """A tiny potential is fitted to EMT and given its active set.

    γ must be small inside, and above 1 far outside.
    """
    frames = [_label(seed) for seed in range(8)]
    references = fit_references(frames)
    basis = linear_basis(("Cu",), _CUTOFF_ANGSTROM, _FUNCTIONS)
    basis.basis_coeffs = _fitted(DesignMatrix(basis), frames, references)
    distorted = bulk("Cu", cubic=True)
    distorted.set_cell(distorted.cell * _STRAIN, scale_atoms=True)
    distorted.rattle(0.3, seed=1)
    with tempfile.TemporaryDirectory() as name:
        potential = Path(name) / "potential.yaml"
        basis.save(str(potential))
        active_set = make_active_set(potential, dataset_for_tools(Path(name), frames, references))
        evaluator = AceEvaluator(potential, active_set)
        inside = max(float(np.max(evaluator.gamma(frame))) for frame in frames)
        outside = float(np.max(evaluator.gamma(distorted)))
    message = (
        f"γ of a distorted cell is {outside:.1f}, and at most {inside:.2f} in the training set"
    )
    return Examined(fit=outside > 1 and inside < outside, message=message)


def _label(seed: int) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def _fitted(design: DesignMatrix, frames: list[Atoms], references: dict[str, float]) -> np.ndarray:
    """Least squares with a penalty."""
    rows = [design.rows(frame) for frame in frames]
    matrix = np.vstack([np.vstack([energy[None], forces]) for energy, forces in rows])
    energies = [cohesive_ev(frame, references) / len(frame) for frame in frames]
    targets = [
        np.append(energy, frame.get_forces().ravel())
        for energy, frame in zip(energies, frames, strict=True)
    ]
    penalty = _PENALTY * len(matrix) * np.eye(design.functions)
    solved: np.ndarray = np.linalg.solve(
        matrix.T @ matrix + penalty, matrix.T @ np.concatenate(targets)
    )
    return solved
