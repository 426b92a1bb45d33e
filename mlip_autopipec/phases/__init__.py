"""The control half of each phase: what tasks, and what their outcomes mean. All pure."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.phases.calculation import Calculation
from mlip_autopipec.phases.exploration import Exploration
from mlip_autopipec.phases.generation import Generation
from mlip_autopipec.phases.selection import Selection
from mlip_autopipec.phases.training import Training
from mlip_autopipec.ports import PhaseRunner

__all__ = ["phase_runners"]


def phase_runners(
    config: WorkflowConfig, files: Mapping[Path, FileRef] = MappingProxyType({})
) -> Mapping[Phase, PhaseRunner]:
    """Every phase's runner, for WorkflowManager.

    `files` are those of this machine that tasks read.
    """
    return {
        Phase.GENERATION: Generation(config, files),
        Phase.EXPLORATION: Exploration(config, files),
        Phase.SELECTION: Selection(config),
        Phase.CALCULATION: Calculation(config),
        Phase.TRAINING: Training(config, files),
    }
