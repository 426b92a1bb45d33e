"""The linear fit of a training task, with what it says of its choices."""

from collections.abc import Mapping

from mlip_autopipec.contract.results.train import FitChoice, FitReport, FitTrial
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.work.ace.basis import linear_basis
from mlip_autopipec.work.ace.choice import Chosen, TriedFit, named_of
from mlip_autopipec.work.ace.cost import microseconds_per_atom
from mlip_autopipec.work.ace.moments import available_cores
from mlip_autopipec.work.ace.training_set import Labels, check_environments
from mlip_autopipec.work.codes.fitting import Fitted
from mlip_autopipec.work.codes.linear import run as linear
from mlip_autopipec.work.job import Job

_MEV = 1000.0
_ANY_CUTOFF_ANGSTROM = 5.0


def fits(
    job: Job[TrainParameters], labels: Labels, references: Mapping[str, float]
) -> list[Fitted]:
    """One fit; what is `auto` is chosen first."""
    parameters = job.parameters
    # of any cutoff: the functions are the same
    if not isinstance(parameters.functions_per_element, str):
        check_environments(
            linear_basis(
                parameters.elements, _ANY_CUTOFF_ANGSTROM, parameters.functions_per_element
            ),
            labels.train,
        )
    fit = linear.chosen_fit(
        labels.train,
        references,
        parameters,
        available_cores(job.cores),
        lambda message: job.progress(0.1, message),
    )
    path = job.workdir / "fitted.yaml"
    fit.basis.save(str(path))
    report = FitReport(
        settings=fit.settings,
        choice=_choice(fit.chosen, parameters) if fit.chosen else None,
        cost_us=microseconds_per_atom(fit.basis, max(labels.train, key=len)),
        condition=fit.condition,
        left_out=fit.left_out,
    )
    return [Fitted("scratch", path, report=report)]


def _choice(chosen: Chosen, parameters: TrainParameters) -> FitChoice:
    return FitChoice(
        named=tuple(named_of(parameters)),
        trials=tuple(_trial(trial) for trial in chosen.trials),
        trajectories=chosen.groups,
        folds=chosen.folds,
        seconds=round(chosen.seconds, 3),
    )


def _trial(trial: TriedFit) -> FitTrial:
    stress = trial.errors.get("stress")
    return FitTrial(
        why=trial.why,
        settings=trial.settings,
        energy_mev_per_atom=trial.errors["energy"] * _MEV,
        energy_mae_mev_per_atom=trial.energy_mae * _MEV,
        force_mev_per_angstrom=trial.errors["force"] * _MEV,
        stress_mev_per_atom=None if stress is None else stress * _MEV,
        cost_us=trial.cost_us,
    )
