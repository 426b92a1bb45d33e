"""The fit, where the jobs run."""

import json
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace.labels import cohesive_ev
from mlip_autopipec.work.ace.training_set import Labels
from mlip_autopipec.work.codes.fitting import Fitted
from mlip_autopipec.work.job import Job
from toy_codes.pairs.run import Basis
from toy_codes.pairs.settings import PairsTrainer

#: Of a row of an energy per atom.
_ENERGIES = 100.0


def fits(
    job: Job[TrainParameters], labels: Labels, references: Mapping[str, float]
) -> list[Fitted]:
    """Energies per atom and forces, all rows at once."""
    asked = job.parameters
    assert isinstance(asked.trainer, PairsTrainer)
    assert not isinstance(asked.cutoff_angstrom, str)
    assert not isinstance(asked.functions_per_element, str)
    basis = Basis(asked.elements, asked.cutoff_angstrom, asked.functions_per_element)
    rows, targets = [], []
    for frame in labels.train:
        energy, forces = _rows(basis, frame)
        rows += [_ENERGIES * energy[None] / len(frame), forces]
        targets += [
            np.array([_ENERGIES * cohesive_ev(frame, references) / len(frame)]),
            frame.get_forces().ravel(),
        ]
    matrix, target = np.vstack(rows), np.concatenate(targets)
    penalty = asked.trainer.penalty * len(target) * np.eye(matrix.shape[1])
    coefficients = np.linalg.solve(matrix.T @ matrix + penalty, matrix.T @ target)
    content = {
        "elements": basis.elements,
        "cutoff_angstrom": basis.cutoff_angstrom,
        "size": basis.size,
        "coefficients": coefficients.reshape(len(basis.pairs), basis.size).tolist(),
        "core_angstrom": None,
    }
    path = job.workdir / "fitted.json"
    path.write_text(json.dumps(content))
    return [Fitted("scratch", path)]


def _rows(basis: Basis, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """∂E/∂c and ∂F/∂c, (pairs · size,) and (3 n_atoms, pairs · size)."""
    first, second, distances, vectors = neighbor_list("ijdD", atoms, basis.cutoff_angstrom)
    values, slopes = basis.functions(distances)
    pair = basis.pair_of(atoms, first, second)
    energy = np.zeros((len(basis.pairs), basis.size))
    np.add.at(energy, pair, 0.5 * values)
    forces = np.zeros((len(atoms), 3, len(basis.pairs), basis.size))
    pulls = (vectors / distances[:, None])[:, :, None] * slopes[:, None, :]
    for axis in range(3):
        np.add.at(forces[:, axis], (first, pair), pulls[:, axis])
    return energy.ravel(), forces.reshape(3 * len(atoms), -1)
