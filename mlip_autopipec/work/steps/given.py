"""A potential that the user brings: the first one of a campaign, in the place of a fit.

It is measured as a fit would be. Its energies have zeros of their own, so the reference energies of the campaign are
what the labels' energies have beyond the potential's, by composition.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pyace import ACEBBasisSet

from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.evaluator import Evaluator, reference_energies
from mlip_autopipec.work.ace.labels import composition, energy_ev
from mlip_autopipec.work.ace.training_set import Labels, check_environments
from mlip_autopipec.work.job import AnyJob, Job, TaskFailed
from mlip_autopipec.work.steps.fits import Tried


def references_of(path: Path, labels: Labels, elements: Sequence[str]) -> dict[str, float]:
    """Energies per element in eV, of the labels beyond the potential. Raises TaskFailed (bad_input) if it is none."""
    evaluator = Evaluator(checked(path, elements))
    beyond = [energy_ev(frame) - evaluator.evaluate(frame, graded=False).energy_ev for frame in labels.train]
    return reference_energies([composition(frame) for frame in labels.train], beyond)


def given(job: Job[TrainParameters], labels: Labels, references: Mapping[str, float]) -> Tried:
    """The potential as it is, and how it does on the test set."""
    path = job.one("given_yaml")
    if "given_asi" not in job.inputs:
        check_environments(ACEBBasisSet(str(path)), labels.train)
    errors = Comparison(Evaluator(path), labels.test, references, job.parameters.buffer_weight).errors()
    return Tried("given", path, errors)


def given_active_set(job: AnyJob, potential: Path) -> Path | None:
    """The user's active set beside the potential; None if there is none, or it is not for this potential."""
    if "given_asi" not in job.inputs:
        return None
    path = potential.with_suffix(".asi")
    path.write_bytes(job.one("given_asi").read_bytes())
    return path


def graded(potential: Path, active_set: Path) -> Evaluator:
    """The potential with its active set. Raises TaskFailed (bad_input) if they do not belong together."""
    try:
        return Evaluator(potential, active_set)
    except (RuntimeError, ValueError, IndexError) as error:
        words = f"{active_set.name} is no active set of {potential.name}: {error}. Give the one made with it"
        raise TaskFailed("bad_input", f"{words}, or leave start.active_set out, and it is made") from error


def checked(path: Path, elements: Sequence[str]) -> Path:
    """The path, if it is a potential of these elements. Raises TaskFailed (bad_input)."""
    name = path.name.partition("-")[2] or path.name
    try:
        basis = ACEBBasisSet(str(path))
    except (RuntimeError, ValueError, IndexError, KeyError) as error:
        raise TaskFailed("bad_input", f"{name} is no potential of python-ace, a B-basis: {error}") from error
    if sorted(basis.elements_name) != sorted(elements):
        has, wants = ", ".join(basis.elements_name), ", ".join(elements)
        raise TaskFailed("bad_input", f"{name} is a potential of {has}, and the campaign of {wants}")
    return path
