"""A potential that the user brings: the first one of a campaign, in the place of a fit.

It is measured as a fit would be. Its energies have zeros of their own, so the reference energies of
the campaign are what the labels' energies have beyond the potential's, by composition.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mlip_autopipec.contract.evaluator import EvaluatorCode
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.labels import composition, energy_ev, reference_energies
from mlip_autopipec.work.ace.training_set import Labels
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import AnyJob, Job, TaskFailed
from mlip_autopipec.work.steps.fits import Tried


def is_given(job: AnyJob, code: EvaluatorCode) -> bool:
    """Whether the user brings the first potential."""
    return f"given_{code.first.name}" in job.inputs


def references_of(
    path: Path, code: EvaluatorCode, labels: Labels, elements: Sequence[str]
) -> dict[str, float]:
    """Energies per element in eV, of the labels beyond the potential.

    Raises TaskFailed (bad_input) if it is none.
    """
    evaluator = _checked(path, code, elements)
    beyond = [
        energy_ev(frame) - evaluator.evaluate(frame, graded=False).energy_ev
        for frame in labels.train
    ]
    return reference_energies([composition(frame) for frame in labels.train], beyond)


def given(
    job: Job[TrainParameters], code: EvaluatorCode, labels: Labels, references: Mapping[str, float]
) -> Tried:
    """The potential as it is, and how it does on the test set."""
    path = job.only_input(f"given_{code.first.name}")
    evaluator = PotentialFiles(code, {code.first.name: path}).evaluator()
    errors = Comparison(evaluator, labels.test, references, job.parameters.buffer_weight).errors()
    return Tried("given", path, errors)


def place_given(job: AnyJob, code: EvaluatorCode, folder: Path) -> None:
    """The user's active set beside the potential.

    Nothing is placed where there is none, or where it is not for this potential.
    """
    for each in code.files[1:]:
        if f"given_{each.name}" in job.inputs:
            (folder / each.file).write_bytes(job.only_input(f"given_{each.name}").read_bytes())


def _checked(path: Path, code: EvaluatorCode, elements: Sequence[str]) -> Evaluator:
    """The potential, if it is one of these elements. Raises TaskFailed (bad_input)."""
    evaluator = PotentialFiles(code, {code.first.name: path}).evaluator()
    if sorted(evaluator.elements) != sorted(elements):
        name, has, wants = (
            path.name.partition("-")[2] or path.name,
            ", ".join(evaluator.elements),
            ", ".join(elements),
        )
        raise TaskFailed(
            "bad_input", f"{name} is a potential of {has}, and the campaign of {wants}"
        )
    return evaluator
