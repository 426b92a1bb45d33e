"""What the work half is told of the user's labels, from the site file."""

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.dataset import AdoptParameters, DatasetSettings
from mlip_autopipec.contract.values import given


def adopting(config: WorkflowConfig) -> AdoptParameters | None:
    """How they are read and judged; None if there are none."""
    if config.dataset is None:
        return None
    return AdoptParameters(
        **given(config.dataset, DatasetSettings),
        force_max_ev_per_angstrom=config.calculation.force_max_ev_per_angstrom,
        pressure_max_gpa=config.calculation.pressure_max_gpa,
    )
