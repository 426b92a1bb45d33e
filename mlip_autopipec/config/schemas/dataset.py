"""`dataset:` and `start:`: labels and a potential that the user has already."""

from dataclasses import field
from pathlib import Path
from typing import Literal

from mlip_autopipec.contract.dataset import DatasetSettings
from mlip_autopipec.contract.values import about, value


@value
class StartSection:
    """`start:` a potential that you have already; the first walkers explore with it."""

    potential: Path = field(
        metadata=about(
            "as the trainer's evaluator has it (python-ace's B-basis, a .yaml); of the campaign's"
            " elements"
        )
    )
    active_set: Path | None = field(
        default=None, metadata=about("its .asi; made from the first labels if left out")
    )


@value
class DatasetSection(DatasetSettings):
    """`dataset:` labels you already have, adopted once the campaign's oracle agrees with some."""

    files: tuple[Path, ...] = field(
        metadata=about(
            "in any format that ASE reads, or pacemaker's data frames (.pckl.gzip)", min_length=1
        )
    )
    offsets: Literal["none", "fit"] = field(
        default="none",
        metadata=about(
            "fit: energies may differ from the oracle's by one number for each element, which is"
            " fitted"
        ),
    )
    energy_max_mev_per_atom: float = field(
        default=5.0,
        metadata=about("between the set and the oracle, in a frame that is labelled again", gt=0),
    )
    force_max_mev_per_angstrom: float = field(
        default=50.0, metadata=about("the same, of any atom's force", gt=0)
    )
    stress_max_gpa: float = field(
        default=1.0, metadata=about("the same, of any stress component", gt=0)
    )
