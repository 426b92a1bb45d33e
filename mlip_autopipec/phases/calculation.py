"""Calculation: one label per structure, by the oracle."""

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.oracle import oracle_of
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import Adopted, CalculationDigest, Label
from mlip_autopipec.data_models.state import TaskStatus, WorkflowState
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.errors import BugError
from mlip_autopipec.orchestration.adoption import adopted_set, agreement
from mlip_autopipec.orchestration.first_labels import check
from mlip_autopipec.orchestration.machine import ENDED
from mlip_autopipec.orchestration.strategies import structures_to_label
from mlip_autopipec.phases.common import artefact, results


class Calculation:
    """One task per structure."""

    def __init__(self, config: WorkflowConfig) -> None:
        self._config = config

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        """One task per structure that Generation or Selection asks to have labelled."""
        section, resources = (
            self._config.calculation,
            self._config.site.resources_of(Phase.CALCULATION),
        )
        return tuple(
            make_task(
                state.cycle_index,
                Phase.CALCULATION,
                index,
                CalculateParameters(
                    role=structure.role,
                    origin=structure.origin,
                    came_from=structure.came_from,
                    oracle=oracle_of(section.oracle, self._config.campaign.elements, state.k_mesh),
                    force_max_ev_per_angstrom=section.force_max_ev_per_angstrom,
                    pressure_max_gpa=section.pressure_max_gpa,
                ),
                (Input(name="structure", file=structure.file),),
                resources,
            )
            for index, structure in enumerate(structures_to_label(state))
        )

    def digest(self, state: WorkflowState) -> CalculationDigest:
        """This round's labels in the plan's order, after those late for an earlier one."""
        labels, alone = [], {}
        for task, outcome, metrics in results(
            (*state.late_tasks, *state.own_tasks), CalculateMetrics
        ):
            if not isinstance(task.parameters, CalculateParameters):
                raise BugError(f"{task.id} is no calculation")
            labels.append(
                Label(
                    task=task.id,
                    file=artefact(outcome, "label"),
                    role=task.parameters.role,
                    origin=task.parameters.origin,
                    came_from=task.parameters.came_from,
                    settings=metrics.settings,
                )
            )
            if task.parameters.role is Role.ISOLATED_ATOM:
                alone[labels[-1].where_from.element] = metrics.energy_ev
        return CalculationDigest(
            labels=tuple(labels),
            isolated_atoms_ev=alone,
            oracle=check(state, self._config.calculation.first_labels),
            adopted=self._adopted(state),
            failed=sum(record.status is TaskStatus.QUARANTINED for record in state.tasks.values()),
            late=sum(record.outcome is not None for record in state.late_tasks),
            awaited=sum(record.status not in ENDED for record in state.tasks.values()),
        )

    def _adopted(self, state: WorkflowState) -> Adopted | None:
        """The user's labels, if the oracle agreed with them; no campaign trains on them twice."""
        found, section = adopted_set(state), self._config.dataset
        if found is None or section is None or state.datasets:
            return None
        answer = agreement(state, section)
        if answer.refusal:  # decide asks a person before it comes to this
            return None
        return Adopted(
            file=found.file,
            train=found.train,
            test=found.test,
            offsets_ev=dict(answer.offsets_ev),
            message=answer.message,
        )
