"""What the site file says of it."""

from typing import ClassVar, Literal

from pydantic import Field

from mlip_autopipec.config.schemas.schedulers import SchedulerSection


class TurnsSection(SchedulerSection):
    """Tasks take turns on the machine that the transport leads to."""

    is_the_machine: ClassVar[bool] = True

    kind: Literal["turns"] = "turns"
    at_a_time: int = Field(default=1, ge=1, le=8, description="tasks of one core each")
    batch_max: int = Field(default=4, ge=1, description="tasks of one batch")

    def batch_tasks_max(self) -> int | None:
        """As it says."""
        return self.batch_max

    def cores_max(self) -> int | None:
        """Each core is one turn."""
        return self.at_a_time
