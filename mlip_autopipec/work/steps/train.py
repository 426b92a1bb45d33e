"""Training: fit to every label so far, make the active set, measure, and compare with the current potential.

The fit itself is `work/steps/fits.py`; all else is the same for every trainer. Positions:

- **Labels are sorted by what they are for**, once and for good: training, test, property, isolated atom. A trajectory
  is never split between training and test by frame; see Selection.
- **Reference energies** are settled once and pinned: refitted, they would shift energies between cycles, and a warm
  start would begin by unlearning that shift. They are given, such as those of isolated atoms, or fitted here; fitted,
  they contradict labels of atoms with few neighbours, for a potential is zero where there are none.
- **A warm start can be a trap**: it stays in the valley of its first data. So a trainer may give several fits, warm and
  from scratch. The best on the test set is kept, and all are told.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pyace import ACEBBasisSet

from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace import calibration
from mlip_autopipec.work.ace.basis import count_functions
from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.evaluator import Evaluator, make_active_set, make_yace
from mlip_autopipec.work.ace.labels import fit_references
from mlip_autopipec.work.ace.potential import fingerprint
from mlip_autopipec.work.ace.training_set import Labels, dataset_for_tools, read_labels
from mlip_autopipec.work.choosing.lessons import lessons
from mlip_autopipec.work.codes.measuring import Measuring, distinct
from mlip_autopipec.work.job import Job, Result, TaskFailed, as_json, place_new, write_atomic
from mlip_autopipec.work.origins import origin_of
from mlip_autopipec.work.steps.fits import fits
from mlip_autopipec.work.steps.given import given, given_active_set, graded, references_of
from mlip_autopipec.work.structures import write_frames

#: A distorted cell must be unknown to the active set, or γ is blind.
_PROBE_RATTLE_ANGSTROM = 0.6
_PROBE_GAMMA_MIN = 1.0


def run(job: Job[TrainParameters]) -> Result:
    """Fit, make the active set, measure, and put the potential in its folder whole."""
    parameters = job.parameters
    for measure in asked_of(parameters.probes):
        if require := measure.code.work("require"):
            require(measure.section)
    labels = read_labels(job, parameters.adopted_offsets_ev)
    is_given = "given_yaml" in job.inputs
    fitted = None if is_given else parameters.reference_energies_ev or fit_references(labels.train)
    references = fitted if fitted is not None else references_of(job.one("given_yaml"), labels, parameters.elements)
    started = time.monotonic()
    job.progress(0.1, f"{'reading a potential for' if is_given else 'fitting to'} {len(labels.train)} structures")
    found = [given(job, labels, references)] if is_given else fits(job, labels, references)
    tried = sorted(found, key=lambda fit: float(fit.errors["force_mev_per_angstrom"]))
    fit_s = time.monotonic() - started
    making = job.workdir / "potential"
    making.mkdir(exist_ok=True)
    potential = making / "potential.yaml"
    potential.write_bytes(tried[0].potential.read_bytes())
    started = time.monotonic()
    job.progress(0.5, "making the active set")
    asi = given_active_set(job, potential)
    if asi is None:
        asi = make_active_set(potential, dataset_for_tools(making, labels.train, references))
    make_yace(potential, references)
    active_set_s = time.monotonic() - started
    evaluator, current = graded(potential, asi), _current(job)
    job.progress(0.8, "measuring")
    if current is not None:
        calibration.note(labels.new, current)
    basis, weight = ACEBBasisSet(str(potential)), parameters.buffer_weight
    counts = dict(zip(basis.elements_name, count_functions(basis), strict=True))
    measured = {
        "train": Comparison(evaluator, labels.train, references, weight),
        "test": Comparison(evaluator, labels.test, references, weight),
    }
    before = Comparison(current, labels.test, references, weight) if current else None
    metrics = {
        "functions": sum(counts.values()),
        "functions_per_element": counts,
        "fit": tried[0].report,
        "train": measured["train"].errors(),
        "test": measured["test"].errors(),
        "test_of_current": before.errors() if before else None,
        "groups": measured["test"].groups(labels.fixed),
        "groups_of_current": before.groups(labels.fixed) if before else [],
        "conditions": measured["test"].conditions(parameters.conditions, measured["train"], parameters.audits_max),
        "conditions_of_current": _conditions_of_current(labels, current, before, references, job),
        "measures": _measures(job, labels, evaluator, current),
        "calibration": calibration.calibrate(labels.everything),
        "lessons": lessons(labels.new, evaluator),
        "fits": [{"start": fit.start, "force_mev_per_angstrom": fit.errors["force_mev_per_angstrom"]} for fit in tried],
        "loss": list(tried[0].loss),
        "history": _history(job, labels.test, references),
        "probe_gamma": _probe(evaluator, labels.train, parameters.seed),
        "reference_energies_ev": references,
        "fingerprint": fingerprint(potential, asi),
        "fit_s": round(fit_s, 3),
        "active_set_s": round(active_set_s, 3),
    }
    write_atomic(making / "metrics.json", as_json(metrics))
    write_atomic(making / "parity.json", as_json({name: one.parity() for name, one in measured.items()}))
    return Result(metrics, _place(job, making, labels.new))


def _conditions_of_current(
    labels: Labels,
    current: Evaluator | None,
    test: Comparison | None,
    references: Mapping[str, float],
    job: Job[TrainParameters],
) -> list[dict[str, Any]]:
    """What the current potential makes of the audits; it may stay the current one."""
    names = job.parameters.conditions
    if current is None or test is None or not names:
        return []
    learned = [frame for frame in labels.train if origin_of(frame).condition in names]
    train = Comparison(current, learned, references, job.parameters.buffer_weight) if learned else None
    return test.conditions(names, train, job.parameters.audits_max)


def _measures(
    job: Job[TrainParameters], labels: Labels, potential: Evaluator, current: Evaluator | None
) -> list[dict[str, Any]]:
    found = list[dict[str, Any]]()
    probes = job.parameters.probes
    measures = [(take, each.section) for each in asked_of(probes) if (take := each.code.work("measure"))]
    for prototype in distinct(job.parameters.prototypes):
        for take, settings in measures:
            asked = Measuring(
                prototype=prototype,
                settings=settings,
                probes=probes,
                labels=labels.of_properties,
                potentials={"potential": potential, **({"current": current} if current else {})},
                train=labels.train,
                cutoff_angstrom=potential.cutoff_angstrom,
                distance_min_angstrom=job.parameters.distance_min_angstrom,
                seed=job.parameters.seed,
            )
            found += take(asked)
    return found


def _current(job: Job[TrainParameters]) -> Evaluator | None:
    """The current potential; None at bootstrap."""
    return Evaluator(job.one("current_yaml"), job.one("current_asi")) if "current_yaml" in job.inputs else None


def _history(job: Job[TrainParameters], test: Sequence[Atoms], references: Mapping[str, float]) -> list[dict[str, Any]]:
    """Earlier potentials on today's test set: a learning curve compares nothing else."""
    potentials = zip(job.parameters.earlier_cycles, job.inputs.get("earlier_yaml", []), strict=True)
    weight = job.parameters.buffer_weight
    return [
        {"cycle": cycle, "errors": Comparison(Evaluator(potential), test, references, weight).errors()}
        for cycle, potential in potentials
    ]


def _probe(evaluator: Evaluator, train: Sequence[Atoms], seed: int) -> float:
    """γ of a distorted cell. Raises TaskFailed (numerical) if the active set takes it for known."""
    distorted = train[0].copy()
    rng = np.random.default_rng(seed)
    distorted.positions += rng.normal(0.0, _PROBE_RATTLE_ANGSTROM, distorted.positions.shape)
    gamma = float(evaluator.gamma(distorted).max())
    if not gamma > _PROBE_GAMMA_MIN:
        raise TaskFailed("numerical", f"γ of a cell rattled by {_PROBE_RATTLE_ANGSTROM} Å is {gamma:.3g}: γ is blind")
    return gamma


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
