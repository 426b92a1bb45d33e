"""The whole of site.yaml."""

from pydantic import Field

from mlip_autopipec.config.schemas.campaign import CampaignSection
from mlip_autopipec.config.schemas.dataset import DatasetSection, StartSection
from mlip_autopipec.config.schemas.phases import (
    CalculationSection,
    ConvergenceSection,
    ExplorationSection,
    GenerationSection,
)
from mlip_autopipec.config.schemas.site import SiteSection
from mlip_autopipec.config.schemas.training import TrainingSection
from mlip_autopipec.contract.select import SelectionSettings
from mlip_autopipec.data_models.base import Model


class WorkflowConfig(Model):
    """One campaign on one site."""

    campaign: CampaignSection
    site: SiteSection
    distance_min_angstrom: float = Field(
        gt=0, description="shorter distances are unphysical, in every phase"
    )
    dataset: DatasetSection | None = Field(default=None, description="labels that you have already")
    start: StartSection | None = Field(
        default=None, description="a potential that you have already"
    )
    generation: GenerationSection = GenerationSection()
    exploration: ExplorationSection
    selection: SelectionSettings = SelectionSettings()
    calculation: CalculationSection
    training: TrainingSection
    convergence: ConvergenceSection = ConvergenceSection()
