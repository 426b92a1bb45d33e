"""Outcomes: what the work half wrote about one attempt, checked at the boundary.

What a task has found is a value of the contract (`contract/results`). A file that breaks a rule
here or there never becomes an event: it is reported with its reason and the attempt counts as ended
with `bad_outcome`.
"""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results import AnyMetrics
from mlip_autopipec.data_models.base import Model, Reason

Metrics = Annotated[AnyMetrics, Field(discriminator="kind")]


class Outcome(Model):
    """One ended attempt, as `outcome.json` tells it.

    `status` is `done` when the task did what it was asked (a halted walker is done), else `failed`
    with a reason.
    """

    version: Literal[1] = 1
    campaign: str
    task: str
    job_name: str = Field(alias="uid")
    index: int = Field(ge=0)
    job_id: str
    host: str
    kind: Literal["generate", "explore", "select", "calculate", "train"]
    status: Literal["done", "failed"]
    reason: Reason | None = None
    message: str = Field(default="", max_length=8000)
    reached: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="of a failed attempt: part of the task that the next one need not do again",
    )
    metrics: Metrics | None = None
    artefacts: dict[str, FileRef] = Field(default_factory=dict)
    started_at: AwareDatetime
    ended_at: AwareDatetime
    wall_s: float = Field(ge=0)
    cpu_s: float = Field(ge=0)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.status == "done":
            if self.metrics is None or self.reason is not None:
                raise ValueError("a done outcome carries metrics and no reason")
            if self.metrics.kind != self.kind:
                raise ValueError(
                    f"kind is {self.kind!r} but the metrics are of {self.metrics.kind!r}"
                )
        elif self.reason is None:
            raise ValueError("a failed outcome says its reason")
        return self
