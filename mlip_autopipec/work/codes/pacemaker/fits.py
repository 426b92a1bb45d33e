"""pacemaker's fits of a training task: warm and from scratch."""

from collections.abc import Mapping
from pathlib import Path

from pyace import ACEBBasisSet

from mlip_autopipec.contract.results.train import FitStart
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace.labels import cohesive_ev
from mlip_autopipec.work.ace.training_set import Labels, check_environments
from mlip_autopipec.work.ace.weights import fitted_energy_weights, force_weights
from mlip_autopipec.work.codes.fitting import Fitted
from mlip_autopipec.work.codes.pacemaker import run as pacemaker
from mlip_autopipec.work.job import Job


def fits(
    job: Job[TrainParameters], labels: Labels, references: Mapping[str, float]
) -> list[Fitted]:
    """From the current potential, from scratch, or both.

    A warm start stays in the valley of its first data.
    """
    parameters = job.parameters
    check_environments(ACEBBasisSet(pacemaker.basis_of(parameters)), labels.train)
    start = None
    if "current_yaml" in job.inputs:
        start = pacemaker.warm_start(
            job.only_input("current_yaml"), parameters, job.workdir / "start.yaml"
        )
    starts: dict[FitStart, Path | None] = {"warm": start} if start else {}
    if start is None or parameters.from_scratch:
        starts["scratch"] = None
    weight = parameters.buffer_weight
    weighted = pacemaker.WeightedLabels(
        frames=labels.train,
        energies_ev=[cohesive_ev(frame, references) for frame in labels.train],
        energy_weights=fitted_energy_weights(labels.train, weight).tolist(),
        force_weights=[force_weights(frame, weight) for frame in labels.train],
    )
    found = []
    for name, begin in starts.items():
        fit = pacemaker.fit(job, name, weighted, begin)
        found.append(Fitted(name, fit.potential, fit.loss))
    return found
