"""Training: fit to every label so far, make the active set, measure, and compare with the current potential.

`run` is the whole way from the labels to the potential in its folder. The fits are `fits.py` with a trainer of
`work/codes/`, the numbers `judging.py`; a potential that the user brings is `given.py`. Positions:

- **Labels are sorted by what they are for**, once and for good: training, test, property, isolated atom. A trajectory
  is never split between training and test by frame; see Selection.
- **Reference energies** are settled once and pinned: refitted, they would shift energies between cycles, and a warm
  start would begin by unlearning that shift. They are given, such as those of isolated atoms, or fitted here; fitted,
  they contradict labels of atoms with few neighbours, for a potential is zero where there are none.
- **A warm start can be a trap**: it stays in the valley of its first data. So a trainer may give several fits, warm and
  from scratch. The best on the test set is kept, and all are told.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace.evaluator import make_active_set, make_yace
from mlip_autopipec.work.ace.labels import fit_references
from mlip_autopipec.work.ace.potential import fingerprint
from mlip_autopipec.work.ace.training_set import Labels, dataset_for_tools, read_labels
from mlip_autopipec.work.job import Job, Result, as_json, place_new, write_atomic
from mlip_autopipec.work.steps.fits import Tried, fits
from mlip_autopipec.work.steps.given import given, given_active_set, graded, references_of
from mlip_autopipec.work.steps.judging import judge
from mlip_autopipec.work.structures import write_frames


def run(job: Job[TrainParameters]) -> Result:
    """Fit, make the active set, measure, and put the potential in its folder whole."""
    _require(job.parameters)
    labels = read_labels(job, job.parameters.adopted_offsets_ev)
    references = _references(job, labels)
    began = time.monotonic()
    tried = _tried(job, labels, references)
    fitted = time.monotonic()
    potential, active_set = _made(job, tried[0].potential, labels, references)
    made = time.monotonic()
    job.progress(0.8, "measuring")
    judged = judge(job, labels, references, potential, graded(potential, active_set))
    metrics = {
        **judged.metrics,
        "fit": tried[0].report,
        "fits": [{"start": fit.start, "force_mev_per_angstrom": fit.force_mev_per_angstrom} for fit in tried],
        "loss": list(tried[0].loss),
        "reference_energies_ev": references,
        "fingerprint": fingerprint(potential, active_set),
        "fit_s": round(fitted - began, 3),
        "active_set_s": round(made - fitted, 3),
    }
    write_atomic(potential.with_name("metrics.json"), as_json(metrics))
    write_atomic(potential.with_name("parity.json"), as_json(judged.parity))
    return Result(metrics, _place(job, potential.parent, labels.new))


def _require(parameters: TrainParameters) -> None:
    """Before anything is fitted. Raises TaskFailed (bad_input) where a measure has not what it needs."""
    for measure in asked_of(parameters.probes):
        if require := measure.code.work("require"):
            require(measure.section)


def _references(job: Job[TrainParameters], labels: Labels) -> dict[str, float]:
    """Reference energies per element in eV: those of a potential that is given, those that are pinned, or fitted."""
    parameters = job.parameters
    if "given_yaml" in job.inputs:
        return references_of(job.one("given_yaml"), labels, parameters.elements)
    return parameters.reference_energies_ev or fit_references(labels.train)


def _tried(job: Job[TrainParameters], labels: Labels, references: dict[str, float]) -> list[Tried]:
    """Every fit, the best on the test set first; or the potential that the user gives."""
    if "given_yaml" in job.inputs:
        job.progress(0.1, f"reading a potential for {len(labels.train)} structures")
        return [given(job, labels, references)]
    job.progress(0.1, f"fitting to {len(labels.train)} structures")
    return sorted(fits(job, labels, references), key=lambda fit: fit.force_mev_per_angstrom)


def _made(job: Job[TrainParameters], fitted: Path, labels: Labels, references: dict[str, float]) -> tuple[Path, Path]:
    """The potential in a folder of its own, with its active set and its form for LAMMPS; .yaml and .asi."""
    making = job.workdir / "potential"
    making.mkdir(exist_ok=True)
    potential = making / "potential.yaml"
    potential.write_bytes(fitted.read_bytes())
    job.progress(0.5, "making the active set")
    active_set = given_active_set(job, potential)
    if active_set is None:
        active_set = make_active_set(potential, dataset_for_tools(making, labels.train, references))
    make_yace(potential, references)
    return potential, active_set


def _place(job: Job[TrainParameters], making: Path, new: Sequence[Atoms]) -> dict[str, Path]:
    """Put data set and potential where the campaign keeps them, under names that nobody had before.

    A run that was cut off or given up may have placed its own, or do so yet: neither replaces the other's, and the
    outcome says which are the campaign's.
    """
    written = job.workdir / "dataset.extxyz"
    write_frames(written, new)
    dataset = place_new(written, job.root / job.parameters.dataset_file)
    folder = place_new(making, job.root / job.parameters.potential_folder)
    return {
        "potential_yaml": folder / "potential.yaml",
        "potential_asi": folder / "potential.asi",
        "potential_yace": folder / "potential.yace",
        "metrics": folder / "metrics.json",
        "parity": folder / "parity.json",
        "dataset": dataset,
    }
