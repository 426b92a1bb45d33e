"""Training: what a fit is asked for, and by which code."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.trainer import AnyTrainer
from mlip_autopipec.contract.values import Within, about, value

#: The most functions per element of the linear basis, by the number of elements.
_FUNCTIONS_MAX: Mapping[int, int] = {1: 1000, 2: 600, 3: 600}
_FUNCTIONS_MAX_OF_MORE = 300

#: A setting of the fit that the training task chooses by cross-validation.
Auto = Literal["auto"]
AUTO: Auto = "auto"
Positive = Annotated[float, Within(gt=0)]
PositiveInt = Annotated[int, Within(gt=0)]
NotNegative = Annotated[float, Within(ge=0)]


def functions_max(elements: int) -> int:
    """The most functions per element in a linear basis of so many elements."""
    return _FUNCTIONS_MAX.get(elements, _FUNCTIONS_MAX_OF_MORE)


@value
class PacemakerStage:
    """One run of pacemaker."""

    kappa: float = field(
        metadata=about("share of the forces in the loss, energies have the rest", ge=0, le=1)
    )
    iterations: int = field(
        metadata=about("of BFGS at most; on a ladder, for each step of it", gt=0)
    )


@value
class PacemakerSettings:
    """How pacemaker fits."""

    python: str | None = field(
        default=None,
        metadata=about("Python of the site with tensorpotential; that of the jobs if left out"),
    )
    densities: Literal[1, 2] = field(
        default=2, metadata=about("of Finnis-Sinclair's embedding; 1 is a linear potential")
    )
    stages: tuple[PacemakerStage, ...] = field(
        default=(
            PacemakerStage(kappa=0.95, iterations=400),
            PacemakerStage(kappa=0.1, iterations=200),
        ),
        metadata=about("one after the other: forces first, then energies", min_length=1),
    )
    ladder_step: int | None = field(
        default=None,
        metadata=about("functions by which the basis grows; all at once if left out", gt=0),
    )
    l1: float = field(default=1e-8, metadata=about("L1 penalty on the coefficients", ge=0))
    l2: float = field(default=1e-8, metadata=about("L2 penalty on the coefficients", ge=0))
    batch_structures: int = field(
        default=100, metadata=about("evaluated at once; fewer take less memory", ge=1)
    )


def _is_of_before(choice: object) -> bool:
    """A task of before there was such a choice keeps its name."""
    return not choice


@value
class FitSettings:
    """A fit to labels: its basis, weights and penalty, and what a chosen basis has to reach."""

    elements: tuple[str, ...]
    cutoff_angstrom: Positive | Auto
    functions_per_element: PositiveInt | Auto
    energy_weight: Positive | Auto
    force_weight: float = field(metadata=about(gt=0))
    stress_weight: NotNegative | Auto = field(
        default=0.0,
        metadata=about(
            "of the mean square of ∂(energy per atom)/∂strain; 0: labels' stress is not fitted"
        ),
    )
    ridge: Positive | Auto = field(metadata=about("L2 penalty of the linear fit"))
    smoothness: NotNegative | Auto = field(
        default=0.0,
        metadata=about(
            "power with which the penalty rises with the roughness of a function; 0: all alike"
        ),
    )
    energy_need_mev_per_atom: Positive | None = field(
        default=None,
        metadata=about("a basis that is chosen may be larger to meet it; None: nothing is asked"),
    )
    force_need_mev_per_angstrom: Positive | None = field(default=None, metadata=about("the same"))
    buffer_weight: float = field(
        default=0.3, metadata=about("of an atom outside the core of an embedded cell", gt=0, le=1)
    )
    functions_min: int = field(
        default=0, metadata=about("for each element, where the basis is chosen by the fit", ge=0)
    )
    any_cost: bool = field(
        default=False,
        metadata=about(
            "what is chosen errs least, however slow MD by it is", exclude_if=_is_of_before
        ),
    )


@value
class TrainParameters(FitSettings):
    """Fit the next potential to every label so far.

    Make its active set, and compare it with the current one.
    """

    kind: Literal["train"] = "train"
    trainer: AnyTrainer = "linear"
    pacemaker: PacemakerSettings = PacemakerSettings()
    from_scratch: bool = field(
        default=False, metadata=about("pacemaker: fit from scratch too, and keep the better")
    )
    core_repulsion_angstrom: float | None = field(
        default=None, metadata=about("ZBL below it; None: no such thing", gt=0)
    )
    prototypes: tuple[Prototype, ...] = field(
        default=(), metadata=about("crystals whose properties are measured")
    )
    probes: GateProbes = GateProbes()
    distance_min_angstrom: float = field(default=1.0, metadata=about(gt=0))
    potential_folder: str = field(metadata=about("where the potential goes, relative to the root"))
    dataset_file: str = field(metadata=about("where this cycle's labels go, relative to the root"))
    conditions: tuple[str, ...] = field(
        default=(), metadata=about("whose audit frames are compared one by one")
    )
    audits_max: int = field(default=16, metadata=about("of one condition: the latest count", ge=2))
    earlier_cycles: tuple[int, ...] = field(
        default=(), metadata=about("of the inputs `earlier_yaml`, in their order")
    )
    adopted_offsets_ev: dict[str, float] = field(
        default_factory=dict,
        metadata=about(
            "added to energies of the input `adopted`, for each atom of an element",
            exclude_if=_is_of_before,
        ),
    )
    reference_energies_ev: dict[str, float] | None = field(
        metadata=about("None: fit them once; after that they are pinned")
    )
    seed: int
