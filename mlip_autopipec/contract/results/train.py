"""What a Training task made: the potential in numbers, and how it does beside the current one."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.values import about, value

#: How a fit was begun.
FitStart = Literal["scratch", "warm", "given"]
#: What a trial was to decide.
TrialWhy = Literal["cutoff", "functions", "weights", "evidence"]
#: A point of pacemaker's loss: stage, iteration, loss, meV/atom, meV/Å.
LossPoint = tuple[int, int, float, float, float]


@value
class Errors:
    """Root-mean-square errors over one set of labels."""

    structures: int = field(metadata=about(ge=0))
    energy_mev_per_atom: float = field(metadata=about(ge=0))
    force_mev_per_angstrom: float = field(metadata=about("over force components", ge=0))
    stress_gpa: float | None = field(
        default=None,
        metadata=about("over the six components; None where no label has stress", ge=0),
    )
    force_p95_mev_per_angstrom: float | None = field(
        default=None, metadata=about("95 % of the atoms err by less", ge=0)
    )
    force_max_mev_per_angstrom: float | None = field(
        default=None, metadata=about("the worst atom's |ΔF|", ge=0)
    )


@value
class PastErrors:
    """An earlier potential, measured again."""

    cycle: int = field(metadata=about(ge=0))
    errors: Errors


@value
class GroupErrors:
    """Errors over a part of the test set: one element, one origin, the fixed or the growing set."""

    by: Literal["element", "origin", "set"]
    name: str
    atoms: int = field(metadata=about(gt=0))
    energy_mev_per_atom: float | None = field(
        default=None, metadata=about("None: an element has no energy", ge=0)
    )
    force_mev_per_angstrom: float = field(metadata=about(ge=0))
    stress_gpa: float | None = field(
        default=None, metadata=about("None: an element has none, or no label has", ge=0)
    )
    force_p95_mev_per_angstrom: float = field(metadata=about(ge=0))
    force_max_mev_per_angstrom: float = field(metadata=about(ge=0))


@value
class ConditionErrors:
    """Errors on a condition's latest audit frames: drawn at random from its MD, and seen by no fit.

    A condition is what replicas share. Errors are root-mean-square values: of energies over frames,
    of forces and stresses over components. A *variation* is the standard deviation of the frames'
    mean squares over their mean. A *spread* is what an error is relative to: of energies the
    standard deviation of the labels, of forces and stresses the root mean square of theirs.
    """

    condition: str
    frames: int = field(metadata=about(gt=0))
    energy_mev_per_atom: float = field(metadata=about(ge=0))
    energy_spread_mev_per_atom: float = field(metadata=about(ge=0))
    force_mev_per_angstrom: float = field(metadata=about(ge=0))
    force_variation: float = field(metadata=about(ge=0))
    force_spread_mev_per_angstrom: float = field(metadata=about(ge=0))
    stress_gpa: float | None = field(default=None, metadata=about("None: not compared", ge=0))
    stress_variation: float = field(default=0.0, metadata=about(ge=0))
    stress_spread_gpa: float = field(default=0.0, metadata=about(ge=0))
    train_energy_mev_per_atom: float | None = field(
        default=None,
        metadata=about(
            "on the training frames of the same condition; None where there are none", ge=0
        ),
    )
    train_force_mev_per_angstrom: float | None = field(
        default=None, metadata=about("the same", ge=0)
    )


@value
class Measure:
    """One property of the oracle, the new potential and the current one; None where it has none."""

    rule: str = field(
        metadata=about(
            "its name, as the code that measures it has it", pattern="^[a-z][a-z0-9_]{0,63}$"
        )
    )
    subject: str = field(metadata=about("e.g. `Cu fcc` or `Cu fcc C44`"))
    unit: str
    scale: float = field(default=1.0, metadata=about("what an error is relative to", gt=0))
    oracle: float | None
    potential: float | None
    current: float | None = None


@value
class Calibration:
    """What γ has meant so far for one element.

    It is the mean force error of atoms with that γ, by a monotone fit.
    """

    element: str
    pairs: int = field(metadata=about(gt=0))
    curve: tuple[tuple[float, float], ...] = field(
        metadata=about("γ and meV/Å, both rising", max_length=24)
    )


@value
class Lesson:
    """What the labels of one source taught: the force error before they were learned, and after."""

    source: str = field(metadata=about("how they were chosen, e.g. `informed`, `random`, `halt`"))
    labels: int = field(metadata=about(gt=0))
    before_mev_per_angstrom: float = field(
        metadata=about("root-mean-square, by the potential before", ge=0)
    )
    after_mev_per_angstrom: float = field(
        metadata=about("the same labels, by the new potential", ge=0)
    )


@value
class FitTried:
    """One way that the fit was made; the better on the test set is the potential."""

    start: FitStart
    force_mev_per_angstrom: float = field(metadata=about("on the test set", ge=0))


@value
class FittedSettings:
    """What decides a linear fit."""

    cutoff_angstrom: float = field(metadata=about(gt=0))
    functions_per_element: int = field(metadata=about(gt=0))
    energy_weight: float = field(metadata=about(gt=0))
    force_weight: float = field(metadata=about(gt=0))
    stress_weight: float = field(metadata=about(ge=0))
    smoothness: float = field(metadata=about(ge=0))
    ridge: float = field(metadata=about(gt=0))

    @property
    def weights(self) -> dict[str, float]:
        """By kind of number."""
        return {
            "energy": self.energy_weight,
            "force": self.force_weight,
            "stress": self.stress_weight,
        }


@value
class FitTrial:
    """Settings that were tried, with their errors in cross-validation over trajectories."""

    why: TrialWhy
    settings: FittedSettings
    energy_mev_per_atom: float = field(metadata=about(ge=0))
    energy_mae_mev_per_atom: float = field(
        metadata=about("mean absolute error; what is compared", ge=0)
    )
    force_mev_per_angstrom: float = field(metadata=about(ge=0))
    stress_mev_per_atom: float | None = field(
        default=None,
        metadata=about("of ∂(energy per atom)/∂strain; None where no label has stress", ge=0),
    )
    cost_us: float | None = field(
        default=None, metadata=about("µs per atom and step, measured; None: not measured", ge=0)
    )


@value
class FitChoice:
    """How `auto` was settled."""

    named: tuple[str, ...] = field(
        default=(), metadata=about("settings that the site file pins", max_length=7)
    )
    trials: tuple[FitTrial, ...] = field(metadata=about(max_length=40))
    trajectories: int = field(
        metadata=about("groups of labels that are never split between fit and judgement", ge=1)
    )
    folds: int = field(metadata=about(ge=1))
    seconds: float = field(metadata=about(ge=0))


@value
class FitReport:
    """The fit that became the potential."""

    settings: FittedSettings
    choice: FitChoice | None = field(
        default=None, metadata=about("None: the site file pins every setting")
    )
    cost_us: float | None = field(
        default=None, metadata=about("µs per atom and step on one core, measured", ge=0)
    )
    condition: float = field(metadata=about("of the scaled normal equations", ge=0))
    left_out: int = field(
        default=0,
        metadata=about("directions that rounding has eaten, and that were left out", ge=0),
    )


@value
class TrainMetrics:
    """The new potential, and how it does beside the current one on the same test set."""

    kind: Literal["train"] = "train"
    functions: int = field(metadata=about(gt=0))
    functions_per_element: dict[str, int] = field(
        default_factory=dict,
        metadata=about("what was fitted, by element; empty in journals of before it was told"),
    )
    fit: FitReport | None = field(
        default=None, metadata=about("of a linear fit; None in journals of before it was told")
    )
    train: Errors
    test: Errors
    test_of_current: Errors | None = field(
        metadata=about("the current potential on the same test set; None at bootstrap")
    )
    groups: tuple[GroupErrors, ...] = field(default=(), metadata=about("the test set in parts"))
    groups_of_current: tuple[GroupErrors, ...] = ()
    conditions: tuple[ConditionErrors, ...] = field(
        default=(), metadata=about("on audit frames, by condition")
    )
    conditions_of_current: tuple[ConditionErrors, ...] = ()
    measures: tuple[Measure, ...] = field(
        default=(), metadata=about("properties beside the oracle's")
    )
    calibration: tuple[Calibration, ...] = field(
        default=(), metadata=about("what γ has meant so far, by element")
    )
    lessons: tuple[Lesson, ...] = field(
        default=(), metadata=about("what this cycle's labels taught, by source")
    )
    fits: tuple[FitTried, ...] = field(
        default=(), metadata=about("the first is the one that was kept")
    )
    loss: tuple[LossPoint, ...] = field(
        default=(),
        metadata=about("pacemaker's: stage, iteration, loss, meV/atom, meV/Å", max_length=200),
    )
    history: tuple[PastErrors, ...] = field(
        default=(), metadata=about("earlier potentials on the same test set, by cycle")
    )
    probe_gamma: float = field(metadata=about("γ of a distorted cell; must exceed 1", ge=0))
    reference_energies_ev: dict[str, float]
    fingerprint: str = field(
        metadata=about("sha256 over the files that γ needs: they belong together")
    )
    fit_s: float = field(metadata=about(ge=0))
    active_set_s: float = field(metadata=about(ge=0))
