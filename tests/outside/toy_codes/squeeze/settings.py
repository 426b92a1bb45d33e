"""What tasks carry, and what the site file says beside: another tolerance makes no other task."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.measure import MeasureSettings
from mlip_autopipec.contract.values import about, value


@value
class SqueezeSettings(MeasureSettings):
    """How far a crystal is squeezed."""

    kind: Literal["squeeze"] = "squeeze"
    part: float = field(
        default=0.97, metadata=about("of each edge, when it is squeezed", gt=0.8, lt=1)
    )


@value
class SqueezeSection(SqueezeSettings):
    """The energy that it takes to squeeze a crystal, beside the oracle's."""

    error_max_mev_per_atom: float = field(
        default=20.0, metadata=about("largest difference from the oracle's", gt=0)
    )
