"""Generation: the structures that a campaign begins with."""

from collections.abc import Mapping
from pathlib import Path

from mlip_autopipec.config.adopting import adopting
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import GenerationDigest
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.phases.common import done
from mlip_autopipec.phases.seeds import seed_for


class Generation:
    """One task that makes every structure."""

    def __init__(self, config: WorkflowConfig, supplies: Mapping[Path, FileRef]) -> None:
        self._config = config
        self._supplies = supplies

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        """One task."""
        section, training = self._config.generation, self._config.training
        gate, alone = training.gate, training.reference_energies_ev == "isolated_atoms"
        checked = gate.properties and self._config.calculation.first_labels.check
        parameters = GenerateParameters(
            prototypes=section.prototypes,
            structures=section.structures,
            test_structures=section.test_structures if section.prototypes else 0,
            strain_max=section.strain_max,
            rattle_angstrom=section.rattle_angstrom,
            distance_min_angstrom=self._config.distance_min_angstrom,
            elements=self._config.campaign.elements,
            variations=section.variations,
            probes=gate.probes() if gate.properties else None,
            isolated_atom_box_angstrom=training.isolated_atom_box_angstrom if alone else None,
            twins=checked if state.k_mesh == "family" else None,  # the mark of campaigns of today
            dataset=adopting(self._config),
            teacher=section.teacher,
            seed=seed_for(self._config.campaign.seed, "generation"),
        )
        resources = self._config.site.resources_of(Phase.GENERATION)
        inputs = [Input(name="structure", file=self._supplies[path]) for path in section.files]
        if self._config.dataset is not None:
            inputs += [
                Input(name="labelled", file=self._supplies[path])
                for path in self._config.dataset.files
            ]
        return (make_task(state.cycle_index, Phase.GENERATION, 0, parameters, inputs, resources),)

    def digest(self, state: WorkflowState) -> GenerationDigest:
        """Every structure that was made, and the user's labels."""
        every = [metrics for _, _, metrics in done(state, GenerateMetrics)]
        return GenerationDigest(
            structures=tuple(structure for metrics in every for structure in metrics.structures),
            dataset=next(
                (metrics.dataset for metrics in every if metrics.dataset is not None), None
            ),
        )
