"""Policy: the numbers that decide needs, taken from site.yaml once."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Self

from pydantic import Field

from mlip_autopipec.config.schemas.dataset import DatasetSection
from mlip_autopipec.config.schemas.phases import ConvergenceSection, FirstLabelsSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.data_models.base import Model, Phase, RunsOn
from mlip_autopipec.orchestration.needs import PinnedBasis


class Policy(Model):
    """Bounds on what is tried, how often and for how long."""

    convergence: ConvergenceSection
    batch_tasks_max: int = Field(default=1000, ge=1, description="array elements per submission")
    queued_max: int | None = Field(
        default=None, ge=1, description="live attempts at a time; None: no bound"
    )
    login: frozenset[Phase] = Field(
        default=frozenset(), description="phases that run without a job"
    )
    round_quorum: float = Field(
        default=1.0, gt=0, le=1, description="part of a round's labels that closes it"
    )
    round_deadline: timedelta | None = Field(
        default=None, description="from the begin of a round; None: no end by time"
    )
    basis: PinnedBasis = Field(
        default=PinnedBasis(), description="what the site file pins of the basis"
    )
    first_labels: FirstLabelsSection = FirstLabelsSection()
    dataset: DatasetSection | None = Field(
        default=None, description="how far the user's labels may differ"
    )
    resources: Mapping[Phase, Resources] = Field(
        default_factory=dict, description="of a first attempt, today"
    )
    grace: timedelta = Field(
        description="how long an attempt may be missing before it is asked after"
    )

    @classmethod
    def from_config(cls, config: WorkflowConfig) -> Self:
        """The policy of a site file."""
        scheduler, closing = config.site.scheduler, config.calculation.round
        bounds = {"queued_max": scheduler.tasks_max()}
        if (of_batch := scheduler.batch_tasks_max()) is not None:
            bounds["batch_tasks_max"] = of_batch
        return cls(
            convergence=config.convergence,
            basis=PinnedBasis.of(config),
            first_labels=config.calculation.first_labels,
            dataset=config.dataset,
            grace=timedelta(seconds=config.site.grace),
            resources={phase: config.site.resources_of(phase) for phase in Phase},
            round_quorum=closing.quorum,
            round_deadline=timedelta(seconds=closing.deadline)
            if closing.deadline is not None
            else None,
            login=frozenset(
                phase
                for phase, asked in config.site.resources.items()
                if asked.where is RunsOn.LOGIN
            ),
            **bounds,
        )
