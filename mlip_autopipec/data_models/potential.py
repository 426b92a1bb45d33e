"""A potential: B-basis .yaml, .asi and .yace made together, with one fingerprint."""

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
