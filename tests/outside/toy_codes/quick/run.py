"""The fit, where the jobs run."""

from collections.abc import Mapping

import numpy as np

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace.basis import linear_basis
from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.ace.labels import cohesive_ev
from mlip_autopipec.work.ace.training_set import Labels, check_environments
from mlip_autopipec.work.codes.fitting import Fitted
from mlip_autopipec.work.job import Job
from toy_codes.quick.settings import QuickTrainer

#: Of a row of an energy per atom, so that the few of them weigh as much as they do in the linear
#: trainer.
_ENERGIES = 100.0


def fits(
    job: Job[TrainParameters], labels: Labels, references: Mapping[str, float]
) -> list[Fitted]:
    """Energies per atom and forces, all rows at once."""
    asked = job.parameters
    assert isinstance(asked.trainer, QuickTrainer)
    assert not isinstance(asked.cutoff_angstrom, str)
    assert not isinstance(asked.functions_per_element, str)
    basis = linear_basis(asked.elements, asked.cutoff_angstrom, asked.functions_per_element)
    check_environments(basis, labels.train)
    design, rows, targets = DesignMatrix(basis), [], []
    for frame in labels.train:
        energy, forces = design.rows(frame)
        rows += [_ENERGIES * energy[None], forces]
        targets += [
            np.array([_ENERGIES * cohesive_ev(frame, references) / len(frame)]),
            frame.get_forces().ravel(),
        ]
    matrix, target = np.vstack(rows), np.concatenate(targets)
    penalty = asked.trainer.penalty * len(target) * np.eye(matrix.shape[1])
    basis.basis_coeffs = np.linalg.solve(matrix.T @ matrix + penalty, matrix.T @ target)
    path = job.workdir / "quick.yaml"
    basis.save(str(path))
    return [Fitted("scratch", path)]


def examine(settings: QuickTrainer) -> Examined:
    """It needs numpy alone."""
    return Examined(
        fit=True, message=f"numpy {np.__version__} solves with a penalty of {settings.penalty:g}"
    )
