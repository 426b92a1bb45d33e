"""Selection: what is labelled of what the walkers met."""

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.contract.values import given
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import ExplorationDigest, GammaLevels, SelectionDigest
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.orchestration.levels import gamma_levels
from mlip_autopipec.orchestration.needs import audits_wanted
from mlip_autopipec.orchestration.shares import batch_size, has_settled, shares_of
from mlip_autopipec.orchestration.strategies import digest_of
from mlip_autopipec.phases.common import current_potential, done, potential_inputs
from mlip_autopipec.phases.seeds import seed_for


class Selection:
    """One task that reads the frames of every walker."""

    def __init__(self, config: WorkflowConfig) -> None:
        self._config = config

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        """One task; none if no walker kept a frame."""
        exploration = digest_of(state, ExplorationDigest)
        if exploration is None or not exploration.frames:
            return ()
        section, rules = self._config.selection, self._config.convergence
        audits = audits_wanted(state.cycles, exploration, rules, section.audit)
        remedy = state.cycles[-1].remedy if state.cycles else None
        batch = section.acquisition == "batch"
        now = {
            "shares": shares_of(section.shares, state.cycles),
            "gain_min": section.gain_min if has_settled(state.cycles) else 0.0,
            "candidates_max": batch_size(section.candidates_max, state.cycles)
            if batch
            else section.candidates_max,
            "audit": max(section.audit, sum(audits.values())),
        }
        parameters = SelectParameters(
            **{**given(section), **now},
            fingerprint=current_potential(state).fingerprint,
            evaluator=current_potential(state).evaluator,
            elements=self._config.campaign.elements,
            audit_conditions=audits,
            gamma_select=(exploration.levels or self._levels(state)).select,
            distance_min_angstrom=self._config.distance_min_angstrom,
            random_min=remedy.random_frames if remedy else 0,
            random_conditions=remedy.conditions if remedy else (),
            seed=seed_for(self._config.campaign.seed, "selection", state.cycle_index),
        )
        inputs = (
            *potential_inputs(current_potential(state)),
            *(Input(name="frames", file=frames) for frames in exploration.frames),
            *(Input(name="dataset", file=file) for file in (state.datasets if batch else ())),
        )
        resources = self._config.site.resources_of(Phase.SELECTION)
        return (make_task(state.cycle_index, Phase.SELECTION, 0, parameters, inputs, resources),)

    def _levels(self, state: WorkflowState) -> GammaLevels:
        return gamma_levels(self._config.exploration, self._config.selection, state.cycles)

    def digest(self, state: WorkflowState) -> SelectionDigest:
        """What is to be labelled."""
        results = [metrics for _, _, metrics in done(state, SelectMetrics)]
        structures = tuple(structure for metrics in results for structure in metrics.structures)
        frames = sum(metrics.frames for metrics in results)
        return SelectionDigest(
            structures=structures, frames=frames, dropped=frames - len(structures)
        )
