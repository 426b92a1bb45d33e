"""What the site file says of it, which is what tasks carry, too."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.trainer import TrainerSettings
from mlip_autopipec.contract.values import about, value


@value
class PairsTrainer(TrainerSettings):
    """Least squares with a penalty, on Gaussians of the distance.

    Their number is functions_per_element.
    """

    kind: Literal["pairs"] = "pairs"
    penalty: float = field(default=1e-6, metadata=about("on the squared coefficients", gt=0, le=1))
