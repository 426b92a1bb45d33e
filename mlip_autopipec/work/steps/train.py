"""Training: fit all labels so far, make the active set, measure, compare to the current potential.

`run` is the whole way from the labels to the potential in its folder. The fits are `fits.py` with a
trainer of `work/codes/`, the numbers `judging.py`; a potential that the user brings is `given.py`.
Positions:

- **Labels are sorted by what they are for**, once and for good: training, test, property, isolated
  atom. A trajectory is never split between training and test by frame; see Selection.
- **Reference energies** are settled once and pinned: refitted, they would shift energies between
  cycles, and a warm start would begin by unlearning that shift. They are given, such as those of
  isolated atoms, or fitted here; fitted, they contradict labels of atoms with few neighbours, for a
  potential is zero where there are none.
- **A warm start can be a trap**: it stays in the valley of its first data. So a trainer may give
  several fits, warm and from scratch. The best on the test set is kept, and all are told.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.results.train import FitTried, TrainMetrics
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.trainer import evaluator_of
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work.ace.labels import fit_references
from mlip_autopipec.work.ace.training_set import Labels, read_labels
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.job import Job, Result, as_json, place_new, write_atomic
from mlip_autopipec.work.steps.fits import Tried, fits
from mlip_autopipec.work.steps.given import given, is_given, place_given, references_of
from mlip_autopipec.work.steps.judging import judge
from mlip_autopipec.work.structures import write_frames


def run(job: Job[TrainParameters]) -> Result[TrainMetrics]:
    """Fit, make the active set, measure, and put the potential in its folder whole."""
    _require(job.parameters)
    labels = read_labels(job, job.parameters.adopted_offsets_ev)
    references = _references(job, labels)
    began = time.monotonic()
    tried = _tried(job, labels, references)
    fitted = time.monotonic()
    potential = _made(job, tried[0].potential, labels, references)
    made = time.monotonic()
    job.progress(0.8, "measuring")
    judged = judge(job, labels, references, potential.evaluator())
    metrics = TrainMetrics(
        functions=sum(judged.functions_per_element.values()),
        functions_per_element=judged.functions_per_element,
        fit=tried[0].report,
        train=judged.train,
        test=judged.test,
        test_of_current=judged.test_of_current,
        groups=judged.groups,
        groups_of_current=judged.groups_of_current,
        conditions=judged.conditions,
        conditions_of_current=judged.conditions_of_current,
        measures=judged.measures,
        calibration=judged.calibration,
        lessons=judged.lessons,
        fits=tuple(
            FitTried(start=fit.start, force_mev_per_angstrom=fit.force_mev_per_angstrom)
            for fit in tried
        ),
        loss=tuple(tried[0].loss),
        history=judged.history,
        probe_gamma=judged.probe_gamma,
        reference_energies_ev=references,
        fingerprint=potential.fingerprint,
        fit_s=round(fitted - began, 3),
        active_set_s=round(made - fitted, 3),
    )
    write_atomic(potential.first.with_name("metrics.json"), as_json(plain(metrics)))
    write_atomic(potential.first.with_name("parity.json"), as_json(judged.parity))
    return Result(metrics, _keep(job, potential.first.parent, labels.new))


def _require(parameters: TrainParameters) -> None:
    """Before anything is fitted.

    Raises TaskFailed (bad_input) where a measure has not what it needs.
    """
    for measure in asked_of(parameters.probes):
        if require := measure.code.work("require"):
            require(measure.section)


def _references(job: Job[TrainParameters], labels: Labels) -> dict[str, float]:
    """Reference energies per element in eV: a given potential's, the pinned, or fitted ones."""
    parameters = job.parameters
    code = evaluator_of(parameters.trainer)
    if is_given(job, code):
        return references_of(
            job.only_input(f"given_{code.first.name}"), code, labels, parameters.elements
        )
    return parameters.reference_energies_ev or fit_references(labels.train)


def _tried(job: Job[TrainParameters], labels: Labels, references: dict[str, float]) -> list[Tried]:
    """Every fit, the best on the test set first; or the potential that the user gives."""
    code = evaluator_of(job.parameters.trainer)
    if is_given(job, code):
        job.progress(0.1, f"reading a potential for {len(labels.train)} structures")
        return [given(job, code, labels, references)]
    job.progress(0.1, f"fitting to {len(labels.train)} structures")
    return sorted(fits(job, labels, references), key=lambda fit: fit.force_mev_per_angstrom)


def _made(
    job: Job[TrainParameters], fitted: Path, labels: Labels, references: dict[str, float]
) -> PotentialFiles:
    """The potential in its own folder, with its active set and form for MD; what γ needs of it."""
    code, making = evaluator_of(job.parameters.trainer), job.workdir / "potential"
    making.mkdir(exist_ok=True)
    first = making / code.first.file
    first.write_bytes(fitted.read_bytes())
    job.progress(0.5, "making the active set")
    place_given(job, code, making)
    if (complete := code.work("complete")) is not None:
        complete(first, labels.train, references)
    return PotentialFiles(
        code, {each.name: making / each.file for each in code.files if each.graded}
    )


def _keep(job: Job[TrainParameters], making: Path, new: Sequence[Atoms]) -> dict[str, Path]:
    """Put data set and potential where the campaign keeps them, under names that nobody had before.

    A run that was cut off or given up may have placed its own, or do so yet: neither replaces the
    other's, and the outcome says which are the campaign's.
    """
    written = job.workdir / "dataset.extxyz"
    write_frames(written, new)
    dataset = place_new(written, job.root / job.parameters.dataset_file)
    folder = place_new(making, job.root / job.parameters.potential_folder)
    return {
        **{
            f"potential_{each.name}": folder / each.file
            for each in evaluator_of(job.parameters.trainer).files
        },
        "metrics": folder / "metrics.json",
        "parity": folder / "parity.json",
        "dataset": dataset,
    }
