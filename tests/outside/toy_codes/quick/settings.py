"""What the site file says of it, which is what tasks carry, too."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.trainer import TrainerSettings
from mlip_autopipec.contract.values import about, value


@value
class QuickTrainer(TrainerSettings):
    """Least squares with a penalty (A. E. Hoerl, R. W. Kennard, Technometrics 12, 55 (1970))."""

    kind: Literal["quick"] = "quick"
    penalty: float = field(default=1e-6, metadata=about("on the squared coefficients", gt=0, le=1))
