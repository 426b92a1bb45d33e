"""The ways in which a potential is fitted to the labels: one linear fit, or pacemaker's, warm and from scratch."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyace import ACEBBasisSet
from pyace.basis import BBasisConfiguration

from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace.basis import linear_basis
from mlip_autopipec.work.ace.choice import Chosen, Trial, named_of
from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.cost import microseconds_per_atom
from mlip_autopipec.work.ace.evaluator import Evaluator, with_core_repulsion
from mlip_autopipec.work.ace.labels import cohesive_ev
from mlip_autopipec.work.ace.moments import available_cores
from mlip_autopipec.work.ace.training_set import Labels, check_environments
from mlip_autopipec.work.ace.weights import energy_weight, force_weights
from mlip_autopipec.work.codes.linear import run as linear
from mlip_autopipec.work.codes.pacemaker import run as pacemaker
from mlip_autopipec.work.job import Job

_MEV = 1000.0
_ANY_CUTOFF_ANGSTROM = 5.0


@dataclass(frozen=True)
class Tried:
    """A fit, with how it was begun."""

    start: str
    potential: Path
    errors: dict[str, Any]
    loss: Sequence[Any] = ()
    report: dict[str, Any] | None = None  # of a linear fit, as the control half's FitReport


def fits(job: Job[TrainParameters], labels: Labels, references: Mapping[str, float]) -> list[Tried]:
    """One fit; two where pacemaker goes on from the current potential and from scratch."""
    parameters = job.parameters
    if parameters.trainer == "linear":
        return [_linear(job, labels, references)]
    check_environments(ACEBBasisSet(pacemaker.basis_of(parameters)), labels.train)
    start = None
    if "current_yaml" in job.inputs:
        start = pacemaker.warm_start(job.one("current_yaml"), parameters, job.workdir / "start.yaml")
    starts: dict[str, Path | None] = {"warm": start} if start else {}
    if start is None or parameters.from_scratch:
        starts["scratch"] = None
    weight = parameters.buffer_weight
    told = pacemaker.Labels(
        frames=labels.train,
        energies_ev=[cohesive_ev(frame, references) for frame in labels.train],
        energy_weights=[energy_weight(frame, weight) for frame in labels.train],
        force_weights=[force_weights(frame, weight) for frame in labels.train],
    )
    found = []
    for name, begin in starts.items():
        fit = pacemaker.fit(job, name, told, begin)
        found.append(_tried(job, name, fit.potential, labels, references, fit.loss))
    return found


def _linear(job: Job[TrainParameters], labels: Labels, references: Mapping[str, float]) -> Tried:
    parameters = job.parameters
    if not isinstance(parameters.functions_per_element, str):  # of any cutoff: the functions are the same
        check_environments(
            linear_basis(parameters.elements, _ANY_CUTOFF_ANGSTROM, parameters.functions_per_element),
            labels.train,
        )
    fit = linear.chosen_fit(
        labels.train, references, parameters, available_cores(job.cores), lambda words: job.progress(0.1, words)
    )
    path = job.workdir / "fitted.yaml"
    fit.basis.save(str(path))
    report = {
        "settings": asdict(fit.settings),
        "choice": _choice(fit.chosen, parameters) if fit.chosen else None,
        "cost_us": microseconds_per_atom(fit.basis, max(labels.train, key=len)),
        "condition": fit.condition,
        "left_out": fit.left_out,
    }
    return _tried(job, "scratch", path, labels, references, report=report)


def _choice(chosen: Chosen, parameters: TrainParameters) -> dict[str, Any]:
    """As the control half's FitChoice."""
    return {
        "named": list(named_of(parameters)),
        "trials": [_trial(trial) for trial in chosen.trials],
        "trajectories": chosen.groups,
        "folds": chosen.folds,
        "seconds": round(chosen.seconds, 3),
    }


def _trial(trial: Trial) -> dict[str, Any]:
    stress = trial.errors.get("stress")
    return {
        "why": trial.why,
        "settings": asdict(trial.settings),
        "energy_mev_per_atom": trial.errors["energy"] * _MEV,
        "energy_mae_mev_per_atom": trial.energy_mae * _MEV,
        "force_mev_per_angstrom": trial.errors["force"] * _MEV,
        "stress_mev_per_atom": None if stress is None else stress * _MEV,
        "cost_us": trial.cost_us,
    }


def _tried(
    job: Job[TrainParameters],
    start: str,
    fitted: Path,
    labels: Labels,
    references: Mapping[str, float],
    loss: Sequence[Any] = (),
    report: dict[str, Any] | None = None,
) -> Tried:
    """The fit with its core repulsion, and how it does on the test set."""
    path, radius = job.workdir / f"{start}.yaml", job.parameters.core_repulsion_angstrom
    basis = BBasisConfiguration(str(fitted))
    (with_core_repulsion(basis, radius) if radius else basis).save(str(path))
    errors = Comparison(Evaluator(path), labels.test, references, job.parameters.buffer_weight).errors()
    return Tried(start, path, errors, loss, report)
