"""The fits that a trainer makes, and how each does on the test set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.contract.results.train import Errors, FitReport, FitStart, LossPoint
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.trainer import evaluator_of, name_of, trainer_code
from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.training_set import Labels
from mlip_autopipec.work.codes.evaluator import written
from mlip_autopipec.work.codes.fitting import Fitted
from mlip_autopipec.work.job import Job, TaskFailed


@dataclass(frozen=True)
class Tried:
    """A fit with its core repulsion, and how it does on the test set."""

    start: FitStart
    potential: Path
    errors: Errors
    loss: Sequence[LossPoint] = ()
    report: FitReport | None = None

    @property
    def force_mev_per_angstrom(self) -> float:
        """The root-mean-square force error on the test set, which decides between fits."""
        return self.errors.force_mev_per_angstrom


def fits(job: Job[TrainParameters], labels: Labels, references: Mapping[str, float]) -> list[Tried]:
    """What the trainer of the task makes of the labels. Raises TaskFailed."""
    trainer = job.parameters.trainer
    found = trainer_code(trainer).work("run")(job, labels, references)
    if not found:
        raise TaskFailed("crashed", f"the trainer {name_of(trainer)} made no fit")
    return [_tried(job, fit, labels, references) for fit in found]


def _tried(
    job: Job[TrainParameters], fit: Fitted, labels: Labels, references: Mapping[str, float]
) -> Tried:
    code = evaluator_of(job.parameters.trainer)
    path = job.workdir / f"{fit.start}{Path(code.first.file).suffix}"
    potential = written(code, fit.potential, path, job.parameters.core_repulsion_angstrom)
    errors = Comparison(
        potential.evaluator(), labels.test, references, job.parameters.buffer_weight
    ).errors()
    return Tried(fit.start, path, errors, fit.loss, fit.report)
