"""`campaign:` what is to be learned, and where the daemon keeps its own files."""

from pathlib import Path

from pydantic import Field

from mlip_autopipec.config.schemas.units import MemoryMib
from mlip_autopipec.data_models.base import Model


class CampaignSection(Model):
    """The campaign itself."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9-]{0,30}$",
        description="short name of lower-case letters, digits and '-'; job names begin with it",
    )
    elements: tuple[str, ...] = Field(
        min_length=1, description="chemical symbols; their order is LAMMPS's type order"
    )
    seed: int = Field(
        default=1, ge=0, description="every random choice of the campaign derives from it"
    )
    folder: Path = Field(
        description="the daemon's own files: journal, state, log, report; relative to this file"
    )
    log_max: MemoryMib = Field(
        default=32,
        validate_default=False,
        description="a log that is as large is put aside, and a new one begun",
    )
    logs_kept: int = Field(
        default=4, ge=0, le=99, description="logs that were put aside; older ones are removed"
    )
