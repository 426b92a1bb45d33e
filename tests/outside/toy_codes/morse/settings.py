"""What the site file says of it, which is what tasks carry, too."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.oracle import Oracle
from mlip_autopipec.contract.values import about, value


@value
class MorseOracle(Oracle):
    """A Morse potential of one element (P. M. Morse, Phys. Rev. 34, 57 (1929))."""

    kind: Literal["morse"] = "morse"
    depth_ev: float = field(metadata=about("of the well of two atoms", gt=0))
    distance_angstrom: float = field(metadata=about("of two atoms at the bottom of the well", gt=0))
    stiffness: float = field(
        default=6.0, metadata=about("of the well, in units of that distance", gt=0, le=20)
    )
