"""Selection: what is labelled of what was met."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.evaluator import DEFAULT_EVALUATOR, is_default
from mlip_autopipec.contract.values import about, value

Acquisition = Literal["batch", "gamma_window"]


@value
class Embedding:
    """How the environment of an atom in a large frame becomes a cell that the oracle can label."""

    mode: Literal["periodic", "cluster", "whole"] = field(
        default="periodic",
        metadata=about("cells that close on themselves; molecules in vacuum; every frame as it is"),
    )
    atoms_max: int = field(
        default=150, metadata=about("frames above are embedded, in cells of at most so many", ge=1)
    )
    whole_atoms_max: int = field(
        default=200, metadata=about("frames up to this are labelled whole where all fails", ge=0)
    )
    margin_angstrom: float = field(
        default=1.0, metadata=about("half the box is at least the cutoff and this", ge=0)
    )
    attempts_max: int = field(
        default=8, metadata=about("cells tried for one frame, the smallest first", ge=1)
    )
    frames_max: int = field(
        default=40, metadata=about("frames tried per cycle, walkers in turn", ge=1)
    )
    relax_steps: int = field(
        default=60, metadata=about("steps in which buffer atoms mend the seam; 0: none", ge=0)
    )
    relax_force_ev_per_angstrom: float = field(
        default=0.5, metadata=about("it is mended when no force is larger", gt=0)
    )
    projection_tolerance: float = field(
        default=1e-6,
        metadata=about("relative change of B-projections that still counts as none", gt=0),
    )
    vacuum_angstrom: float = field(
        default=8.0, metadata=about("around a cluster, on each side", gt=0)
    )
    charges: dict[str, float] = field(
        default_factory=dict, metadata=about("per element; if given, cells are neutral")
    )
    valence_electrons: dict[str, int] = field(
        default_factory=dict,
        metadata=about("per element, as the oracle counts them; else by the periodic table"),
    )
    electrons_max: int | None = field(
        default=None, metadata=about("cells with more are refused", ge=1)
    )


@value
class Shares:
    """Parts of a batch by the way they are chosen; what no way takes is left to `informed`."""

    informed: float = field(
        default=0.7, metadata=about("by what the whole batch teaches", ge=0, le=1)
    )
    d_optimal: float = field(
        default=0.1, metadata=about("by pace_select, against the active set", ge=0, le=1)
    )
    random: float = field(
        default=0.2, metadata=about("by chance, where there are fewest labels", ge=0, le=1)
    )


@value
class SelectionSettings:
    """`selection:` what is labelled of what was met."""

    acquisition: Acquisition = field(
        default="batch",
        metadata=about(
            "batch: what teaches most of all that was met, chosen with the whole batch in view,"
            " and some by chance; gamma_window: MD halts at gamma_halt, and pace_select chooses"
            " among the frames above gamma_select"
        ),
    )
    shares: Shares = field(
        default=Shares(), metadata=about("of a batch; they follow what each way has taught")
    )
    gain_min: float = field(
        default=0.005,
        metadata=about(
            "part of the expected error that a label must be worth, or the batch ends before"
            " candidates_max",
            ge=0,
            lt=1,
        ),
    )
    pool_max: int = field(
        default=400, metadata=about("frames that a batch is chosen from, over all walkers", ge=1)
    )
    candidates_max: int = field(
        default=20,
        metadata=about(
            "per cycle; a batch that is the first to teach anything has half of them", ge=1
        ),
    )
    audit: int = field(
        default=2, metadata=about("random frames per cycle labelled as test structures", ge=0)
    )
    gamma_max: float | None = field(
        default=None, metadata=about("frames above it are taken for unphysical", gt=1)
    )
    duplicate_rmsd_angstrom: float = field(
        default=0.02, metadata=about("frames closer than this are one", ge=0)
    )
    per_walker_max: int | None = field(
        default=None, metadata=about("candidates chosen of one walker", ge=1)
    )
    per_condition_max: int | None = field(
        default=None, metadata=about("of all replicas of one condition", ge=1)
    )
    per_element_min: int = field(
        default=1, metadata=about("of those in which the element extrapolates, if there are", ge=0)
    )
    cloud: int = field(
        default=0, metadata=about("displaced copies of each halting frame to choose from", ge=0)
    )
    cloud_angstrom: float = field(
        default=0.05, metadata=about("standard deviation of their displacements", gt=0)
    )
    embedding: Embedding = field(
        default=Embedding(), metadata=about("cutting large frames down to what is labelled")
    )


@value
class SelectParameters(SelectionSettings):
    """Choose what to label from the frames that this cycle's walkers collected."""

    kind: Literal["select"] = "select"
    #: As it was before there was a choice: what a task of then does not say.
    acquisition: Acquisition = field(
        default="gamma_window",
        metadata=about(
            "batch: with the whole batch in view; or frames above γ by pace_select alone"
        ),
    )
    gain_min: float = field(
        default=0.0,
        metadata=about("of the expected error; who gains less is not chosen", ge=0, lt=1),
    )
    fingerprint: str | None = field(
        default=None, metadata=about("of potential and active set, which belong together")
    )
    evaluator: str = field(
        default=DEFAULT_EVALUATOR,
        metadata=about("of the potential, by its name", exclude_if=is_default),
    )
    elements: tuple[str, ...]
    audit_conditions: dict[str, int] = field(
        default_factory=dict,
        metadata=about(
            "condition → how many audits of it at least; what is left of `audit` is spread"
        ),
    )
    gamma_select: float = field(metadata=about(gt=0))
    distance_min_angstrom: float = field(metadata=about(gt=0))
    random_min: int = field(
        default=0,
        metadata=about("random frames, whatever their γ, to train on; beside the candidates", ge=0),
    )
    random_conditions: tuple[str, ...] = field(
        default=(), metadata=about("that they are spread over; all if empty")
    )
    seed: int
