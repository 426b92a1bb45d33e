"""A potential: B-basis .yaml, .asi and .yace made together, with one fingerprint."""

from pydantic import Field

from mlip_autopipec.data_models.base import FileRef, Model
from mlip_autopipec.data_models.outcome import Errors


class Potential(Model):
    """A fitted potential; `folder` is relative to the site's root."""

    cycle: int
    folder: str
    yaml: FileRef
    asi: FileRef
    yace: FileRef
    fingerprint: str
    test: Errors
    reference_energies_ev: dict[str, float]
    functions_per_element: dict[str, int] = Field(
        default_factory=dict, description="empty in journals of before it was told"
    )
    cutoff_angstrom: float | None = Field(default=None, description="of a linear fit")
    cost_us: float | None = Field(default=None, description="µs per atom and step on one core, measured")
