"""A structure that is to be labelled, as Generation, Selection and people offer it."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.origin import Origin, is_absent
from mlip_autopipec.contract.values import about, value
from mlip_autopipec.contract.words import Role

#: Why a structure is to be labelled.
Why = Literal[
    "generated",
    "halt",
    "informed",
    "farthest",
    "d_optimal",
    "random",
    "element_floor",
    "audit",
    "property",
    "check",
    "reference",
    "added",
]


@value
class PropertyCell:
    """What a property cell is of its crystal."""

    crystal: str = field(metadata=about("such as `Cu fcc`"))
    kind: Literal["volume", "strain", "moved", "twin"] = field(
        metadata=about(
            "all lengths scaled; strained; one atom of the unit cell moved; the same in a cell of"
            " another shape"
        )
    )
    scale: float = field(default=1.0, metadata=about("of the lattice constant", gt=0))
    axis: int = field(
        default=0, metadata=about("Voigt's index of the strain: xx, yy, zz, yz, xz, xy", ge=0, le=5)
    )
    strain: float = field(
        default=0.0, metadata=about("engineering strain: a shear is the change of the angle")
    )


@value
class Structure:
    """A structure offered for labelling, as one extended-XYZ file of one frame."""

    file: FileRef
    role: Role
    origin: str
    came_from: Origin | None = field(default=None, metadata=about(exclude_if=is_absent))
    n_atoms: int = field(metadata=about(gt=0))
    gamma_max: float | None = field(
        default=None, metadata=about("None where no potential existed yet", ge=0)
    )
    why: Why
    cell: PropertyCell | None = field(
        default=None, metadata=about("of a property cell of a crystal")
    )
