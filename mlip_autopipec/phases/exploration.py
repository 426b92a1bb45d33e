"""Exploration: every walker of the ladder, each cycle from new seeds."""

from collections.abc import Iterator

from mlip_autopipec.config.schemas.phases import WalkersSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import ExplorationDigest, WalkerEnd
from mlip_autopipec.data_models.outcome import ExploreMetrics
from mlip_autopipec.data_models.state import TaskRecord, WorkflowState
from mlip_autopipec.data_models.task import ExploreParameters, Task, Walker, make_task
from mlip_autopipec.errors import BugError
from mlip_autopipec.phases.common import artefact, current_potential, done, potential_inputs
from mlip_autopipec.phases.seeds import seed_for


class Exploration:
    """One task per walker."""

    def __init__(self, config: WorkflowConfig) -> None:
        self._config = config

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        """One task per structure, temperature, pressure and replica."""
        section = self._config.exploration
        inputs = potential_inputs(current_potential(state))
        tasks = []
        for index, walker in enumerate(self._walkers(state.cycle_index)):
            parameters = ExploreParameters(
                walker=walker,
                elements=self._config.campaign.elements,
                gamma_select=section.gamma_select,
                gamma_halt=section.gamma_halt,
                stride=section.stride,
                distance_min_angstrom=self._config.distance_min_angstrom,
                audit_frames=self._config.selection.audit,
            )
            resources = self._config.site.resources_of(Phase.EXPLORATION)
            tasks.append(make_task(state.cycle_index, Phase.EXPLORATION, index, parameters, inputs, resources))
        return tuple(tasks)

    def digest(self, state: WorkflowState) -> ExplorationDigest:
        """How each walker ended; a walker whose task failed for good has no ending."""
        outcomes = list(done(state, ExploreMetrics))
        return ExplorationDigest(
            walkers=tuple(_walker_end(record) for record in state.tasks.values()),
            frames=tuple(artefact(outcome, "frames") for _, outcome, _ in outcomes),
        )

    def _walkers(self, cycle: int) -> Iterator[Walker]:
        for group, section in enumerate(self._config.exploration.walkers):
            for temperature_kelvin, pressure_gpa, replica in _conditions(section):
                purpose = ("exploration", cycle, group, temperature_kelvin, pressure_gpa, replica)
                yield Walker(
                    prototype=section.prototype,
                    ensemble=section.ensemble,
                    temperature_kelvin=temperature_kelvin,
                    pressure_gpa=pressure_gpa,
                    steps=section.steps,
                    timestep_fs=section.timestep_fs,
                    seed=seed_for(self._config.campaign.seed, *purpose),
                )


def _conditions(section: WalkersSection) -> Iterator[tuple[float, float, int]]:
    for temperature_kelvin in section.temperatures_kelvin:
        for pressure_gpa in section.pressures_gpa:
            for replica in range(section.replicas):
                yield temperature_kelvin, pressure_gpa, replica


def _walker_end(record: TaskRecord) -> WalkerEnd:
    parameters = record.task.parameters
    if not isinstance(parameters, ExploreParameters):
        raise BugError(f"{record.task.id} is no walker")
    metrics = record.outcome.metrics if record.outcome else None
    label = parameters.walker.label
    if not isinstance(metrics, ExploreMetrics):
        return WalkerEnd(task=record.task.id, label=label, ending=None, steps=0, gamma_max=0.0, frames_collected=0)
    return WalkerEnd(
        task=record.task.id,
        label=label,
        ending=metrics.ending,
        steps=metrics.steps,
        gamma_max=metrics.gamma_max,
        frames_collected=metrics.frames_collected,
    )
