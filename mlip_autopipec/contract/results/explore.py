"""What one walker of Exploration has met."""

from dataclasses import field
from enum import StrEnum
from typing import Literal

from mlip_autopipec.contract.values import about, value


class Ending(StrEnum):
    """How a walker ended. An infrastructure failure is no ending: it is a failed attempt."""

    COMPLETED = "completed"
    HALTED = "halted"
    EXPLODED = "exploded"


@value
class Probe:
    """A distorted cell by the engine and by the evaluator, before the first step.

    Differences are relative.
    """

    gamma_max: float = field(metadata=about("below, the active set would be blind", gt=1))
    energy_difference: float = field(metadata=about(ge=0))
    forces_difference: float = field(metadata=about(ge=0))
    gamma_difference: float = field(metadata=about(ge=0))


@value
class ExploreMetrics:
    """What one walker met. `gamma_trace` is thinned to at most 200 points (step, γ max)."""

    kind: Literal["explore"] = "explore"
    ending: Ending
    detail: str = field(default="", metadata=about("the guard that ended it, in words"))
    steps: int = field(metadata=about(ge=0))
    steps_planned: int = field(metadata=about(gt=0))
    time_ps: float = field(metadata=about(ge=0))
    gamma_max: float = field(metadata=about(ge=0))
    frames_collected: int = field(metadata=about("frames offered to Selection, audits apart", ge=0))
    probe: Probe | None = None
    gamma_share: float | None = field(
        default=None, metadata=about("part of MD's time that γ costs", ge=0, le=1)
    )
    restart_step: int | None = field(
        default=None, metadata=about("of a halted walker: where it may go on from", ge=0)
    )
    decorrelation_steps: int | None = field(
        default=None, metadata=about("steps after which a frame is a new one", ge=0)
    )
    temperature_mean_kelvin: float = field(metadata=about(ge=0))
    gamma_trace: tuple[tuple[int, float], ...] = field(metadata=about(max_length=200))
    gamma_counts: tuple[tuple[float, int], ...] = field(
        default=(),
        metadata=about(
            "looks at γ by its value: lower edge, an eighth of a decade below the next",
            max_length=64,
        ),
    )
    gamma_selected: int | None = field(
        default=None,
        metadata=about(
            "looks at or above gamma_select; None: an earlier version did not count them", ge=0
        ),
    )

    def __post_init__(self) -> None:
        if self.ending is Ending.COMPLETED and self.steps < self.steps_planned:
            raise ValueError(f"completed, but only {self.steps} of {self.steps_planned} steps")
