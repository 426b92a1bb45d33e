"""What the site file says of it, which is what tasks carry, too."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.engine import EngineSettings
from mlip_autopipec.contract.values import about, value


@value
class CountedEngine(EngineSettings):
    """The wheel, with a file of its own."""

    kind: Literal["counted"] = "counted"
    runs_max: int = field(
        default=10, metadata=about("of one walker; more are a fault", ge=1, le=100)
    )
