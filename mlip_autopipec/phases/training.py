"""Training: fit to every label so far; the gate says if the fit becomes the current potential."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.trainer import evaluator_of, trainer_code
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import CalculationDigest, ExplorationDigest, TrainingDigest
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.errors import BugError, OperatorError
from mlip_autopipec.orchestration.gate import gate
from mlip_autopipec.orchestration.needs import AUDITS_MAX, at_any_cost, functions_min
from mlip_autopipec.orchestration.strategies import digest_of
from mlip_autopipec.phases.common import artefact, done, potential_inputs
from mlip_autopipec.phases.seeds import seed_for

#: A learning curve needs no more points, and each costs an evaluation of the test set.
_EARLIER_MAX = 12


class Training:
    """One task that fits, makes the active set and validates."""

    def __init__(
        self, config: WorkflowConfig, supplies: Mapping[Path, FileRef] = MappingProxyType({})
    ) -> None:
        self._config = config
        self._supplies = supplies

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        """One task over all data sets and this cycle's labels."""
        section, cycle, current = self._config.training, state.cycle_index, state.potential
        earlier = _earlier(state)
        calculation, exploration = (
            digest_of(state, CalculationDigest),
            digest_of(state, ExplorationDigest),
        )
        if calculation is None:
            raise BugError("Training follows Calculation")
        balance, needs = section.balance(), self._config.convergence.needs
        parameters = TrainParameters(
            trainer=section.trainer,
            elements=self._config.campaign.elements,
            cutoff_angstrom=section.cutoff_angstrom,
            functions_per_element=section.functions_per_element,
            energy_weight=balance.energy_weight,
            force_weight=section.force_weight,
            stress_weight=balance.stress_weight,
            ridge=balance.ridge,
            smoothness=balance.smoothness,
            energy_need_mev_per_atom=needs.energy_mev_per_atom if needs else None,
            force_need_mev_per_angstrom=needs.force_mev_per_angstrom if needs else None,
            buffer_weight=section.buffer_weight,
            pacemaker=section.pacemaker.settings(),
            from_scratch=cycle % (section.pacemaker.scratch_every or cycle + 1) == 0,
            core_repulsion_angstrom=self._config.distance_min_angstrom
            if section.core_repulsion
            else None,
            prototypes=self._config.generation.prototypes,
            probes=section.gate.probes(),
            distance_min_angstrom=self._config.distance_min_angstrom,
            potential_folder=potential_folder(cycle),
            dataset_file=f"dataset/{cycle:03d}.extxyz",
            conditions=exploration.conditions if exploration else (),
            audits_max=AUDITS_MAX,
            functions_min=functions_min(state.cycles),
            any_cost=at_any_cost(state.cycles),
            earlier_cycles=tuple(earlier),
            adopted_offsets_ev=calculation.adopted.offsets_ev if calculation.adopted else {},
            reference_energies_ev=current.reference_energies_ev
            if current
            else self._references(calculation),
            seed=seed_for(self._config.campaign.seed, "training", cycle),
        )
        inputs = [Input(name="dataset", file=file) for file in state.datasets]
        inputs += [Input(name="label", file=label.file) for label in calculation.labels]
        if calculation.adopted is not None:
            inputs.append(Input(name="adopted", file=calculation.adopted.file))
        if current is None and (start := self._config.start) is not None:
            graded = evaluator_of(section.trainer).graded
            files = (start.potential, *([start.active_set] if start.active_set is not None else []))
            inputs += [
                Input(name=f"given_{name}", file=self._supplies[file])
                for name, file in zip(graded, files, strict=False)
            ]
        first = evaluator_of(section.trainer).first.name
        inputs += [Input(name=f"earlier_{first}", file=file) for file in earlier.values()]
        if current is not None:
            inputs += potential_inputs(current, "current")
        resources = self._config.site.resources_of(Phase.TRAINING)
        return (make_task(cycle, Phase.TRAINING, 0, parameters, inputs, resources),)

    def _references(self, calculation: CalculationDigest) -> dict[str, float] | None:
        """The reference energies of the first fit in eV, to which every later one is held.

        With None, it fits them.
        """
        asked = self._config.training.reference_energies_ev
        if asked == "fitted":
            return None
        found = calculation.isolated_atoms_ev if asked == "isolated_atoms" else asked
        elements = self._config.campaign.elements
        if missing := [element for element in elements if element not in found]:
            raise OperatorError(
                f"training.reference_energies_ev is {asked!r}, but no isolated atom of"
                f" {', '.join(missing)} was labelled: it was not asked for yet when Generation was"
                " planned. Put back what it was then, or give the energies by hand, in eV:"
                f" {{{', '.join(f'{element}: …' for element in elements)}}}"
            )
        return {element: found[element] for element in elements}

    def digest(self, state: WorkflowState) -> TrainingDigest:
        """The new potential and the gate's answer."""
        ((task, outcome, metrics),) = done(state, TrainMetrics)
        answer = gate(metrics, self._config.training)
        return TrainingDigest(
            potential=_potential(task, outcome, metrics),
            dataset=artefact(outcome, "dataset"),
            train=metrics.train,
            test_of_current=metrics.test_of_current,
            history=metrics.history,
            measures=metrics.measures,
            calibration=metrics.calibration,
            functions=metrics.functions,
            conditions=metrics.conditions if answer.promoted else metrics.conditions_of_current,
            lessons=metrics.lessons,
            promoted=answer.promoted,
            verdict=answer.verdict,
            rules=answer.rules,
            gate=answer.message,
        )


def _earlier(state: WorkflowState) -> dict[int, FileRef]:
    """Promoted potentials by cycle, to be measured again on the test set of today.

    The first is always among them.
    """
    promoted = {
        cycle.cycle: cycle.potential for cycle in state.cycles if cycle.potential is not None
    }
    stride = -(-len(promoted) // _EARLIER_MAX) or 1
    return dict(list(promoted.items())[::stride])


def potential_folder(cycle: int) -> str:
    """Where the potential of a cycle lies, relative to the root."""
    return f"potentials/{cycle:03d}"


def _potential(task: Task, outcome: Outcome, metrics: TrainMetrics) -> Potential:
    if not isinstance(task.parameters, TrainParameters):
        raise BugError(f"{task.id} is no fit")
    trainer = task.parameters.trainer  # the site file may name another by now
    code = evaluator_of(trainer)
    files = {each.name: artefact(outcome, f"potential_{each.name}") for each in code.files}
    first = code.first.name
    return Potential(
        cycle=task.cycle,
        folder=files[first].path.rpartition("/")[0],  # a later attempt's has a name of its own
        evaluator=trainer_code(trainer).evaluator,
        first=first,
        files=files,
        fingerprint=metrics.fingerprint,
        test=metrics.test,
        reference_energies_ev=metrics.reference_energies_ev,
        functions_per_element=metrics.functions_per_element,
        cutoff_angstrom=metrics.fit.settings.cutoff_angstrom if metrics.fit else None,
        cost_us=metrics.fit.cost_us if metrics.fit else None,
    )
