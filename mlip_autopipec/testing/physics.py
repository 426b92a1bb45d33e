"""What a simulated task finds.

That is outcomes that keep the contract, and a potential that improves from cycle to cycle.
"""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.generate import AdoptedSet, GenerateMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics, LabelDifference, OracleNumbers
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.structure import PropertyCell, Structure
from mlip_autopipec.contract.results.train import ConditionErrors, Errors, PastErrors, TrainMetrics
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.outcome import Metrics, Outcome
from mlip_autopipec.data_models.task import Task

_N_ATOMS = 32
_FUNCTIONS = 100  # of a basis that is chosen by the fit
_POOL_FRAMES = 40
_HOST = "node01"
#: Of every property cell, so that two of them agree.
_NUMBERS = OracleNumbers(
    volume_angstrom3=40.0, stress_gpa=(0, 0, 0, 0, 0, 0), forces_ev_per_angstrom=((0.5, 0, 0),)
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Whose outcome it is, and when it ran."""

    campaign: str
    task: Task
    job_name: str
    index: int
    job_id: str
    started_at: datetime
    ended_at: datetime


def done_outcome(attempt: Attempt, chance: random.Random) -> Outcome:
    """An outcome with the metrics and artefacts that the task's kind asks for."""
    return _outcome(
        attempt, metrics=_metrics(attempt.task, chance), artefacts=_artefacts(attempt.task)
    )


def failed_outcome(attempt: Attempt, reason: Reason) -> Outcome:
    """An outcome of a payload that could still say why it failed."""
    return _outcome(attempt, reason=reason)


def file_ref(path: str) -> FileRef:
    """A file that exists by name only."""
    return FileRef(path=path, sha256=hashlib.sha256(path.encode()).hexdigest())


def written(
    outcome: Outcome, rename: Callable[[str], str], life: str
) -> tuple[Outcome, dict[str, bytes]]:
    """The outcome with its files as one life of a job named them, and their contents by path.

    What is in a file tells the life that wrote it: no two lives write the same.
    """
    contents: dict[str, bytes] = {}

    def moved_to(value: Any) -> Any:
        match value:
            case {"path": str(path), "sha256": _}:
                name = rename(path)
                contents[name] = f"{name} of {life}".encode()
                return {"path": name, "sha256": hashlib.sha256(contents[name]).hexdigest()}
            case dict():
                return {key: moved_to(each) for key, each in value.items()}
            case list():
                return [moved_to(each) for each in value]
            case _:
                return value

    return Outcome.model_validate_json(
        json.dumps(moved_to(outcome.model_dump(mode="json")))
    ), contents


def errors_of_cycle(cycle: int) -> Errors:
    """Test errors that fall tenfold each cycle, down to a floor: by cycle 3 they have settled."""
    force = 4.0 + 100.0 * 0.1**cycle
    return Errors(structures=6, energy_mev_per_atom=force / 10, force_mev_per_angstrom=force)


def _outcome(
    attempt: Attempt,
    *,
    reason: Reason | None = None,
    metrics: Metrics | None = None,
    artefacts: dict[str, FileRef] | None = None,
) -> Outcome:
    wall_s = (attempt.ended_at - attempt.started_at).total_seconds()
    return Outcome(
        campaign=attempt.campaign,
        task=attempt.task.id,
        job_name=attempt.job_name,
        index=attempt.index,
        job_id=attempt.job_id,
        host=_HOST,
        kind=attempt.task.parameters.kind,
        status="done" if reason is None else "failed",
        reason=reason,
        message="" if reason is None else f"simulated: {reason}",
        metrics=metrics,
        artefacts=artefacts or {},
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        wall_s=wall_s,
        cpu_s=wall_s,
    )


#: A data set of this name has other zeros of energy than the oracle; every other agrees with it to
#: the last digit.
SHIFTED = "shifted.extxyz"
_SHIFT_EV = 1.25


def _difference(origin: str) -> LabelDifference:
    """A label of the user's beside the oracle's."""
    shift_ev = _SHIFT_EV if origin.endswith(SHIFTED) else 0.0
    return LabelDifference(
        set_energy_ev=(shift_ev - 3.5) * _N_ATOMS,
        composition={"Cu": _N_ATOMS},
        force_mev_per_angstrom=0.0,
        oracle_force_mev_per_angstrom=1000.0,
        stress_gpa=0.0,
    )


def _metrics(task: Task, chance: random.Random) -> Metrics:
    match task.parameters:
        case GenerateParameters():
            return _generated(task, task.parameters)
        case ExploreParameters():
            return _explored(task, task.parameters, chance)
        case SelectParameters():
            return _selected(task, task.parameters, chance)
        case CalculateParameters():
            alone = task.parameters.role is Role.ISOLATED_ATOM
            return CalculateMetrics(
                energy_ev=-1.5 if alone else -3.5 * _N_ATOMS,
                n_atoms=1 if alone else _N_ATOMS,
                force_max_ev_per_angstrom=1.0,
                pressure_gpa=0.0,
                settings="simulated",
                numbers=_NUMBERS if task.parameters.role is Role.PROPERTY else None,
                difference=_difference(task.parameters.origin)
                if task.parameters.role is Role.CHECK
                else None,
            )
        case TrainParameters():
            return _trained(task, task.parameters)


def _artefacts(task: Task) -> dict[str, FileRef]:
    match task.parameters:
        case ExploreParameters(walker=walker):
            names = ("frames",) if walker.pool else ("frames", "restart")
            return {name: file_ref(f"{task.workdir}/{name}.extxyz") for name in names}
        case CalculateParameters():
            return {"label": file_ref(f"{task.workdir}/label.extxyz")}
        case TrainParameters():
            folder = task.parameters.potential_folder
            return {
                "dataset": file_ref(task.parameters.dataset_file),
                "potential_yaml": file_ref(f"{folder}/potential.yaml"),
                "potential_asi": file_ref(f"{folder}/potential.asi"),
                "potential_yace": file_ref(f"{folder}/potential.yace"),
            }
        case GenerateParameters() | SelectParameters():
            return {}


def _generated(task: Task, parameters: GenerateParameters) -> GenerateMetrics:
    roles = [Role.TRAIN] * parameters.structures + [Role.TEST] * parameters.test_structures
    structures = tuple(
        Structure(
            file=file_ref(f"{task.workdir}/{number:04d}.extxyz"),
            role=role,
            origin="simulated",
            n_atoms=_N_ATOMS,
            why="generated",
        )
        for number, role in enumerate(roles)
    )
    alone = tuple(
        Structure(
            file=file_ref(f"{task.workdir}/{element}.extxyz"),
            role=Role.ISOLATED_ATOM,
            origin=f"isolated atom: {element}",
            n_atoms=1,
            why="reference",
        )
        for element in (parameters.elements if parameters.isolated_atom_box_angstrom else ())
    )
    first = tuple(
        Structure(
            file=file_ref(f"{task.workdir}/{kind}.extxyz"),
            role=Role.PROPERTY,
            origin=f"property: {kind}",
            n_atoms=_N_ATOMS,
            why="property",
            cell=PropertyCell(crystal=parameters.prototypes[0].name, kind=kind),
        )
        for kind in (("moved", "twin") if parameters.twins and parameters.prototypes else ())
    )
    name = parameters.dataset.files[0] if parameters.dataset else ""
    again = tuple(
        Structure(
            file=file_ref(f"{task.workdir}/check-{number}.extxyz"),
            role=Role.CHECK,
            origin=f"check: frame {number} of {name}",
            n_atoms=_N_ATOMS,
            why="check",
        )
        for number in (range(1, parameters.dataset.checks + 1) if parameters.dataset else ())
    )
    (element, *_) = (
        parameters.prototypes[0].elements if parameters.prototypes else parameters.elements
    )
    environments = {element: _N_ATOMS * parameters.structures}
    return GenerateMetrics(
        structures=(*structures, *alone, *first, *again),
        environments=environments,
        redrawn=0,
        dataset=AdoptedSet(file=file_ref(f"{task.workdir}/adopted.extxyz"), train=18, test=2)
        if again
        else None,
    )


def _explored(task: Task, parameters: ExploreParameters, chance: random.Random) -> ExploreMetrics:
    """Half of the walkers of cycle 1 halt, a quarter of cycle 2, and so on.

    Halts and explosions are equally new.
    """
    planned = parameters.walker.steps
    halts = chance.random() < 0.5**task.cycle
    if parameters.walker.pool:
        return _graded(parameters, halts=halts)
    ending = (
        chance.choice((Ending.HALTED, Ending.HALTED, Ending.EXPLODED))
        if halts
        else Ending.COMPLETED
    )
    steps = planned // 2 if halts else planned
    return ExploreMetrics(
        ending=ending,
        steps=steps,
        steps_planned=planned,
        time_ps=steps * parameters.walker.timestep_fs / 1000,
        gamma_max=2 * parameters.gamma_halt if halts else 1.0,
        frames_collected=3 if halts else 0,
        restart_step=steps // 2 if ending is Ending.HALTED else None,
        temperature_mean_kelvin=parameters.walker.temperature_kelvin,
        gamma_trace=(),
    )


def _graded(parameters: ExploreParameters, *, halts: bool) -> ExploreMetrics:
    """A pool, which has no steps: it halts where a frame is above the level."""
    return ExploreMetrics(
        ending=Ending.HALTED if halts else Ending.COMPLETED,
        steps=_POOL_FRAMES,
        steps_planned=_POOL_FRAMES,
        time_ps=0.0,
        gamma_max=2 * parameters.gamma_halt if halts else 1.0,
        frames_collected=3,
        temperature_mean_kelvin=0.0,
        gamma_trace=(),
    )


def _selected(task: Task, parameters: SelectParameters, chance: random.Random) -> SelectMetrics:
    chosen = chance.randint(0, parameters.candidates_max)
    audited = chance.randint(0, parameters.audit)
    structures = tuple(
        Structure(
            file=file_ref(f"{task.workdir}/{number:04d}.extxyz"),
            role=Role.TRAIN if number < chosen else Role.TEST,
            origin="simulated",
            n_atoms=_N_ATOMS,
            gamma_max=5.0,
            why="d_optimal" if number < chosen else "audit",
        )
        for number in range(chosen + audited)
    )
    return SelectMetrics(
        frames=len(structures) + 2,
        below_window=0,
        too_short=0,
        duplicates=2,
        not_chosen=0,
        structures=structures,
    )


def _trained(task: Task, parameters: TrainParameters) -> TrainMetrics:
    has_current = any(item.name == "current_yaml" for item in task.inputs)
    after = errors_of_cycle(task.cycle)
    functions = parameters.functions_per_element
    return TrainMetrics(
        functions=(_FUNCTIONS if isinstance(functions, str) else functions)
        * len(parameters.elements),
        train=after,
        test=after,
        test_of_current=errors_of_cycle(task.cycle - 1) if has_current else None,
        conditions=_conditions(parameters, after),
        conditions_of_current=_conditions(parameters, errors_of_cycle(task.cycle - 1))
        if has_current
        else (),
        history=tuple(
            PastErrors(cycle=cycle, errors=errors_of_cycle(cycle))
            for cycle in parameters.earlier_cycles
        ),
        probe_gamma=20.0,
        reference_energies_ev=parameters.reference_energies_ev
        or dict.fromkeys(parameters.elements, -1.0),
        fingerprint=hashlib.sha256(task.id.encode()).hexdigest(),
        fit_s=1.0,
        active_set_s=1.0,
    )


def _conditions(parameters: TrainParameters, errors: Errors) -> tuple[ConditionErrors, ...]:
    """The same errors in every condition that was walked in."""
    return tuple(
        ConditionErrors(
            condition=name,
            frames=8,
            energy_mev_per_atom=errors.energy_mev_per_atom,
            energy_spread_mev_per_atom=10.0,
            force_mev_per_angstrom=errors.force_mev_per_angstrom,
            force_variation=0.5,
            force_spread_mev_per_angstrom=500.0,
            train_energy_mev_per_atom=errors.energy_mev_per_atom,
            train_force_mev_per_angstrom=errors.force_mev_per_angstrom,
        )
        for name in parameters.conditions
    )
