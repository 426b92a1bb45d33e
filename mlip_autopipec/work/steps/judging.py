"""What is said of a new potential.

These are errors beside the current one, properties, what γ means, and whether it is blind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.results.train import (
    Calibration,
    ConditionErrors,
    Errors,
    GroupErrors,
    Lesson,
    Measure,
    PastErrors,
)
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.trainer import evaluator_of, trainer_code
from mlip_autopipec.work.ace import calibration
from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.training_set import Labels
from mlip_autopipec.work.choosing.lessons import lessons
from mlip_autopipec.work.codes.evaluator import PotentialFiles, potential_of
from mlip_autopipec.work.codes.measuring import Measuring, distinct
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import Job, TaskFailed
from mlip_autopipec.work.origins import origin_of

#: A distorted cell must be unknown to the active set, or γ is blind.
_PROBE_RATTLE_ANGSTROM = 0.6
_PROBE_GAMMA_MIN = 1.0


@dataclass(frozen=True)
class JudgedPotential:
    """What TrainMetrics have under the same names, and the points of a parity plot by set."""

    functions_per_element: dict[str, int]
    train: Errors
    test: Errors
    test_of_current: Errors | None
    groups: tuple[GroupErrors, ...]
    groups_of_current: tuple[GroupErrors, ...]
    conditions: tuple[ConditionErrors, ...]
    conditions_of_current: tuple[ConditionErrors, ...]
    measures: tuple[Measure, ...]
    calibration: tuple[Calibration, ...]
    lessons: tuple[Lesson, ...]
    history: tuple[PastErrors, ...]
    probe_gamma: float
    parity: dict[str, Any]


def judge(
    job: Job[TrainParameters], labels: Labels, references: Mapping[str, float], potential: Evaluator
) -> JudgedPotential:
    """Everything is measured of the potential and of the current one.

    Raises TaskFailed (numerical) if γ is blind.
    """
    asked, current = job.parameters, _current(job)
    if current is not None:
        calibration.note(labels.new, current)
    train = Comparison(potential, labels.train, references, asked.buffer_weight)
    test = Comparison(potential, labels.test, references, asked.buffer_weight)
    before = Comparison(current, labels.test, references, asked.buffer_weight) if current else None
    return JudgedPotential(
        functions_per_element=dict(potential.functions_per_element),
        train=train.errors(),
        test=test.errors(),
        test_of_current=before.errors() if before else None,
        groups=test.groups(labels.fixed),
        groups_of_current=before.groups(labels.fixed) if before else (),
        conditions=test.conditions(asked.conditions, train, asked.audits_max),
        conditions_of_current=_conditions_of_current(labels, current, before, references, job),
        measures=_measures(job, labels, potential, current),
        calibration=calibration.calibrate(labels.everything),
        lessons=lessons(labels.new, potential),
        history=_history(job, labels.test, references),
        probe_gamma=_probe(potential, labels.train, asked.seed),
        parity={"train": train.parity(), "test": test.parity()},
    )


def _conditions_of_current(
    labels: Labels,
    current: Evaluator | None,
    test: Comparison | None,
    references: Mapping[str, float],
    job: Job[TrainParameters],
) -> tuple[ConditionErrors, ...]:
    """What the current potential makes of the audits; it may stay the current one."""
    names = job.parameters.conditions
    if current is None or test is None or not names:
        return ()
    learned = [frame for frame in labels.train if origin_of(frame).condition in names]
    train = (
        Comparison(current, learned, references, job.parameters.buffer_weight) if learned else None
    )
    return test.conditions(names, train, job.parameters.audits_max)


def _measures(
    job: Job[TrainParameters], labels: Labels, potential: Evaluator, current: Evaluator | None
) -> tuple[Measure, ...]:
    found: list[Measure] = []
    probes = job.parameters.probes
    measures = [
        (take, each.section) for each in asked_of(probes) if (take := each.code.work("measure"))
    ]
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
    return tuple(found)


def _current(job: Job[TrainParameters]) -> Evaluator | None:
    """The current potential; None at bootstrap."""
    code = trainer_code(job.parameters.trainer)
    if f"current_{evaluator_of(job.parameters.trainer).first.name}" not in job.inputs:
        return None
    return potential_of(job, code.evaluator, "current").evaluator()


def _history(
    job: Job[TrainParameters], test: Sequence[Atoms], references: Mapping[str, float]
) -> tuple[PastErrors, ...]:
    """Earlier potentials on today's test set: a learning curve compares nothing else."""
    code, weight = evaluator_of(job.parameters.trainer), job.parameters.buffer_weight
    first = code.first.name
    potentials = zip(
        job.parameters.earlier_cycles, job.inputs.get(f"earlier_{first}", []), strict=True
    )
    found = ((cycle, PotentialFiles(code, {first: path}).evaluator()) for cycle, path in potentials)
    return tuple(
        PastErrors(cycle=cycle, errors=Comparison(evaluator, test, references, weight).errors())
        for cycle, evaluator in found
    )


def _probe(evaluator: Evaluator, train: Sequence[Atoms], seed: int) -> float:
    """γ of a distorted cell. Raises TaskFailed (numerical) if the active set takes it for known."""
    distorted = train[0].copy()
    rng = np.random.default_rng(seed)
    distorted.positions += rng.normal(0.0, _PROBE_RATTLE_ANGSTROM, distorted.positions.shape)
    gamma = float(evaluator.gamma(distorted).max())
    if not gamma > _PROBE_GAMMA_MIN:
        raise TaskFailed(
            "numerical",
            f"γ of a cell rattled by {_PROBE_RATTLE_ANGSTROM} Å is {gamma:.3g}: γ is blind",
        )
    return gamma
