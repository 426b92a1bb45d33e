"""What a task of Selection has chosen, and why not more."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.values import about, value

#: What becomes of a frame that is not chosen.
Fate = Literal[
    "below_window",
    "above_window",
    "near_audit",
    "too_short",
    "duplicates",
    "not_offered",
    "not_embedded",
    "beyond_pool",
    "capped",
    "not_chosen",
]


@value
class Certificate:
    """What embedding found out about one frame, before anything was spent on it."""

    origin: str
    kept: bool = field(metadata=about("whether there is a cell to label"))
    source_atoms: int = field(metadata=about(gt=0))
    centre: int = field(metadata=about("the extrapolating atom of the frame", ge=0))
    verdict: Literal["periodic", "cluster", "whole", "rejected"]
    reason: str = field(
        metadata=about("what was wrong; of a whole frame, with every cell that was tried")
    )
    attempts: int = field(default=0, metadata=about("cells that were tried", ge=0))
    n_atoms: int | None = None
    core_atoms: int | None = field(
        default=None, metadata=about("whose environment is that of the source: the force mask")
    )
    intact_angstrom: float | None = field(
        default=None, metadata=about("radius of the ball that is the source, untouched")
    )
    shift_angstrom: float | None = field(
        default=None, metadata=about("from its centre to the extrapolating atom")
    )
    lattice: bool | None = field(default=None, metadata=about("whether the cut follows a crystal"))
    removed: int | None = field(
        default=None, metadata=about("copies and overlaps that went at the seam")
    )
    relax_steps: int | None = None
    distance_min_angstrom: float | None = None
    projections_off: float | None = field(
        default=None, metadata=about("largest relative change of a core B-projection")
    )
    gamma_before: float | None = None
    gamma_after: float | None = None
    gamma_buffer_max: float | None = None
    electrons: int | None = None
    electrons_odd: bool | None = None
    cost: float | None = field(default=None, metadata=about("(electrons / 100)³"))


@value
class SelectMetrics:
    """What was chosen, and what was dropped for which reason.

    The artefact `candidates` tells it of every frame.
    """

    kind: Literal["select"] = "select"
    frames: int = field(metadata=about(ge=0))
    cloud: int = field(
        default=0, metadata=about("displaced copies of halting frames, beside the frames", ge=0)
    )
    below_window: int = field(metadata=about(ge=0))
    above_window: int = field(default=0, metadata=about(ge=0))
    near_audit: int = field(default=0, metadata=about(ge=0))
    too_short: int = field(metadata=about(ge=0))
    duplicates: int = field(metadata=about(ge=0))
    not_offered: int = field(
        default=0, metadata=about("large frames beyond embedding.frames_max", ge=0)
    )
    not_embedded: int = field(
        default=0, metadata=about("large frames without a cell that proves itself", ge=0)
    )
    beyond_pool: int = field(default=0, metadata=about("frames beyond selection.pool_max", ge=0))
    capped: int = field(default=0, metadata=about(ge=0))
    not_chosen: int = field(metadata=about(ge=0))
    certificates: tuple[Certificate, ...] = field(default=(), metadata=about(max_length=100))
    structures: tuple[Structure, ...]
