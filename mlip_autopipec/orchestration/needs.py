"""Whether the potential is as right as the user asks in each condition; what is done if not. Pure.

γ says whether the basis extrapolates. It cannot say that the basis is too small or its cutoff
wrong, so a quiet exploration proves nothing about errors. They are measured: in each condition, on
frames drawn at random from its MD and labelled as test structures, which no fit sees. Positions:

- **A bound decides, not an estimate.** A few frames say little, so the upper confidence bound of
  each error must be below the need (`orchestration/bounds.py`). Where the estimate is and the bound
  is not, more audits are asked for.
- **The latest frames count**, at most `AUDITS_MAX` of a condition: what is meant is the MD of
  today's potential, and early potentials led elsewhere.
- **A need is absolute or a part of the spread**, whichever is larger. Defaults: 5 meV/atom, about
  what potentials with hundreds of parameters reach on the diverse sets of Zuo et al., J. Phys.
  Chem. A 124, 731 (2020) (mean absolute test errors of 0.4 to 3 meV/atom and 10 to 90 meV/Å for Cu,
  Si and Mo), and 30 meV/Å or a tenth of the RMS force, which explains 99 % of the forces' variance;
  a liquid's forces are ten times those of a cold crystal, and so are its errors.
- **What to do follows from the training frames of the same condition**: if they are as wrong as the
  audits, more of them teach nothing, and the basis has to grow; if they are fitted better, labels
  are missing.
- **What the site file pins is never changed**: then the remedy is said, and a person decides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Literal, Self

from pydantic import Field

from mlip_autopipec.config.schemas.phases import ConvergenceSection, NeedsSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.results.train import ConditionErrors
from mlip_autopipec.contract.train import functions_max
from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.digest import CycleSummary, ExplorationDigest, Need, Remedy
from mlip_autopipec.orchestration.bounds import mean_square_bound, rms_bound

FORCE_NEED = (30.0, 0.1)  # meV/Å, and a part of the spread
ENERGY_NEED = (5.0, 0.1)  # meV/atom, and a part of the spread
#: Audit frames of a condition that count: the latest.
AUDITS_MAX = 16
#: How many more a cycle asks for where only the bound is above the need.
_AUDITS_MORE = 2
#: Test errors up to this multiple of the training errors are said to agree with them.
_AGREE = 1.25
#: The worst error over its need must fall to this part of what it was, or a cycle has come no
#: nearer.
_NEARER = 0.9
_BASIS_FACTOR = 1.5
#: Random frames for training of each condition that is wrong, and of all together.
RANDOM_EACH, RANDOM_MAX = 3, 12
_NAMED_MAX = 3

Quantity = Literal["force", "energy", "stress"]
_UNITS: Mapping[Quantity, str] = {"force": "meV/Å", "energy": "meV/atom", "stress": "GPa"}


@dataclass(frozen=True, slots=True)
class JudgedNeed:
    """One error of one condition beside its need, all in `unit`."""

    condition: str
    quantity: Quantity
    frames: int
    error: float
    bound: float
    need: float
    train: float | None
    audits_min: int

    @property
    def unit(self) -> str:
        """Of error, bound and need."""
        return _UNITS[self.quantity]

    @property
    def met(self) -> bool:
        """Whether the need is met with confidence."""
        return self.frames >= self.audits_min and self.bound <= self.need

    @property
    def wrong(self) -> bool:
        """Whether more audits would not help.

        The error itself is above the need, or there are as many as count.
        """
        return not self.met and (self.error > self.need or self.frames >= AUDITS_MAX)

    @property
    def agrees(self) -> bool:
        """Whether the training frames of the condition are as wrong as its audits."""
        return self.train is not None and self.error <= _AGREE * self.train

    @property
    def message(self) -> str:
        """The figures in one clause."""
        return need_text(self.seen)

    @property
    def seen(self) -> Need:
        """The same for people to see."""
        return Need(
            condition=self.condition,
            quantity=self.quantity,
            unit=self.unit,
            frames=self.frames,
            error=self.error,
            bound=self.bound if isfinite(self.bound) else None,
            need=self.need,
            met=self.met,
        )


@dataclass(frozen=True, slots=True)
class Shortcoming:
    """Why a campaign that is quiet has not converged."""

    judged: tuple[JudgedNeed, ...] = ()  # needs that are not met
    unmeasured: tuple[str, ...] = ()  # conditions with no audit frame compared
    gate: str = ""  # what the gate had to say against the current potential

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.judged or self.unmeasured or self.gate)

    @property
    def wrong(self) -> tuple[JudgedNeed, ...]:
        """Those that more audits would not help."""
        return tuple(each for each in self.judged if each.wrong)

    @property
    def waits_for_audits(self) -> bool:
        """Whether audits still to come may change the answer.

        They may not where a need is missed without them.
        """
        return bool(self.unmeasured) or (bool(self.judged) and not self.wrong)

    @property
    def excess(self) -> float:
        """The worst bound over its need.

        It is infinite without a bound, and 1 where only the gate is in the way.
        """
        if self.unmeasured:
            return inf
        return max((each.bound / each.need for each in self.judged), default=1.0)

    @property
    def message(self) -> str:
        """All of it, the worst first."""
        worst = sorted(self.judged, key=lambda each: -each.bound / each.need)
        parts = [each.message for each in worst[:_NAMED_MAX]]
        if len(worst) > _NAMED_MAX:
            parts.append(f"and {len(worst) - _NAMED_MAX} more needs are not met")
        if self.unmeasured:
            named = "; ".join(self.unmeasured[:_NAMED_MAX])
            more = (
                f" and {len(self.unmeasured) - _NAMED_MAX} more"
                if len(self.unmeasured) > _NAMED_MAX
                else ""
            )
            parts.append(f"no audit frame has been compared yet of {named}{more}")
        if self.gate:
            parts.append(f"the gate let the potential pass on a condition: {self.gate}")
        return "; ".join(parts)


class PinnedBasis(Model):
    """What the site file pins of the basis; None is chosen by the fit."""

    functions: int | None = Field(default=None, description="for each element")
    cutoff_angstrom: float | None = None
    elements: int = Field(default=1, ge=1)

    @classmethod
    def of(cls, config: WorkflowConfig) -> Self:
        """That of a site file."""
        training = config.training
        return cls(
            functions=_number(training.functions_per_element),
            cutoff_angstrom=_number(training.cutoff_angstrom),
            elements=len(config.campaign.elements),
        )

    @property
    def keys(self) -> str:
        """The keys that are pinned."""
        pinned = {
            "training.functions_per_element": self.functions,
            "training.cutoff_angstrom": self.cutoff_angstrom,
        }
        return " and ".join(
            f"{key}: {value:g}" for key, value in pinned.items() if value is not None
        )


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def judge(errors: ConditionErrors, needs: NeedsSection) -> Iterator[JudgedNeed]:
    """Every error of a condition that something is asked of, beside its need."""
    force = _need(
        (needs.force_mev_per_angstrom, needs.force_part),
        errors.force_spread_mev_per_angstrom,
        FORCE_NEED,
    )
    energy = _need(
        (needs.energy_mev_per_atom, needs.energy_part),
        errors.energy_spread_mev_per_atom,
        ENERGY_NEED,
    )
    stress = _need((needs.stress_gpa, needs.stress_part), errors.stress_spread_gpa, (None, None))
    n, confidence = errors.frames, needs.confidence
    force_bound = mean_square_bound(
        errors.force_mev_per_angstrom, errors.force_variation, n, confidence
    )
    energy_bound = rms_bound(errors.energy_mev_per_atom, n, confidence)
    found: list[tuple[Quantity, float | None, float, float | None, float | None]] = [
        (
            "force",
            errors.force_mev_per_angstrom,
            force_bound,
            force,
            errors.train_force_mev_per_angstrom,
        ),
        (
            "energy",
            errors.energy_mev_per_atom,
            energy_bound,
            energy,
            errors.train_energy_mev_per_atom,
        ),
    ]
    if errors.stress_gpa is not None:
        stress_bound = mean_square_bound(errors.stress_gpa, errors.stress_variation, n, confidence)
        found.append(("stress", errors.stress_gpa, stress_bound, stress, None))
    for quantity, error, bound, need, train in found:
        if error is not None and need is not None:
            yield JudgedNeed(
                errors.condition, quantity, n, error, bound, need, train, needs.audits_min
            )


def _need(
    asked: tuple[float | None, float | None],
    spread: float,
    default: tuple[float | None, float | None],
) -> float | None:
    absolute, part = default if asked == (None, None) else asked
    candidates = ([] if absolute is None else [absolute]) + (
        [] if part is None else [part * spread]
    )
    return max(candidates, default=None)


def shortcoming_of(cycles: Sequence[CycleSummary], rules: ConvergenceSection) -> Shortcoming:
    """What the last closed cycle's potential lacks; nothing where nothing is asked."""
    needs = rules.needs
    if needs is None:
        return Shortcoming()
    measured = {errors.condition: errors for errors in latest_conditions(cycles)}
    walked = next((cycle.walked for cycle in reversed(cycles) if cycle.walked), ())
    judged = [need for name in walked if name in measured for need in judge(measured[name], needs)]
    return Shortcoming(
        judged=tuple(need for need in judged if not need.met),
        unmeasured=tuple(name for name in walked or ("any condition",) if name not in measured),
        gate=gate_condition(cycles) if needs.gate else "",
    )


def needs_of(cycles: Sequence[CycleSummary], rules: ConvergenceSection) -> tuple[Need, ...]:
    """What is known of the current potential in the last walkers' conditions, for people to see."""
    if rules.needs is None:
        return ()
    measured = {errors.condition: errors for errors in latest_conditions(cycles)}
    walked = next((cycle.walked for cycle in reversed(cycles) if cycle.walked), ())
    return tuple(
        need.seen
        for name in walked
        if name in measured
        for need in judge(measured[name], rules.needs)
    )


def latest_conditions(cycles: Sequence[CycleSummary]) -> tuple[ConditionErrors, ...]:
    """Errors of the current potential by condition, as the last fit measured them."""
    return next((cycle.conditions for cycle in reversed(cycles) if cycle.conditions), ())


def gate_condition(cycles: Iterable[CycleSummary]) -> str:
    """What the gate had to say against the current potential; empty if it passed."""
    promoted = [cycle for cycle in cycles if cycle.promoted]
    return promoted[-1].gate_message if promoted and promoted[-1].gate == "conditional" else ""


def no_nearer(cycles: Sequence[CycleSummary], rules: ConvergenceSection) -> bool:
    """Whether the last `inaccurate_cycles` were quiet and missed the needs.

    The worst excess has not fallen in them, either.
    """
    number = rules.inaccurate_cycles
    last = cycles[-number:]
    if len(last) < number or not all(cycle.quiet for cycle in last):
        return False
    ends = [shortcoming_of(cycles[: len(cycles) - back], rules) for back in range(number)]
    if not all(ends) or ends[0].waits_for_audits:
        return False
    now, then = ends[0].excess, ends[-1].excess
    return number == 1 or not now <= _NEARER * then


def audits_wanted(
    cycles: Sequence[CycleSummary],
    exploration: ExplorationDigest,
    rules: ConvergenceSection,
    audit: int,
) -> dict[str, int]:
    """How many audit frames of each condition are to be drawn in this cycle, at least.

    While exploration is not quiet, as many as `audit` in all, where there are fewest: the potential
    will be another. Once it is, all that are missing, and more where the bound alone is above the
    need.
    """
    if rules.needs is None:
        return {}
    measured = {errors.condition: errors for errors in latest_conditions(cycles)}
    frames = {
        name: measured[name].frames if name in measured else 0 for name in exploration.conditions
    }
    if not exploration.quiet:
        return dict.fromkeys(sorted(frames, key=lambda name: frames[name])[:audit], 1)
    wanted = {name: _missing(measured.get(name), rules.needs) for name in frames}
    return {name: number for name, number in wanted.items() if number}


def _missing(errors: ConditionErrors | None, needs: NeedsSection) -> int:
    if errors is None or errors.frames < needs.audits_min:
        return needs.audits_min - (errors.frames if errors else 0)
    if all(need.met or need.wrong for need in judge(errors, needs)):
        return 0
    return min(_AUDITS_MORE, AUDITS_MAX - errors.frames)


def remedy_of(
    cycles: Sequence[CycleSummary], rules: ConvergenceSection, basis: PinnedBasis
) -> Remedy | None:
    """What the last closed cycle calls for.

    None unless it was quiet and its potential is not right.
    """
    if not cycles or not cycles[-1].quiet:
        return None
    lack = shortcoming_of(cycles, rules)
    wrong = sorted(lack.wrong, key=lambda item: -item.bound / item.need)
    if not wrong and not lack.gate:
        return None
    conditions = tuple(dict.fromkeys(need.condition for need in wrong))
    # The worst decides: a condition whose labels are missing may well be the one that a larger
    # basis needs.
    if wrong and not wrong[0].agrees:
        return _labels(lack, conditions, _beside(wrong[0]))
    why = _beside(wrong[0]) if wrong else "the errors are as needed, the properties are not"
    if basis.functions is None:
        return _larger(cycles, basis, lack, conditions, why)
    if not wrong:
        return _labels(lack, cycles[-1].walked, why)
    return _pinned(cycles, basis, lack, conditions, why)


def _pinned(
    cycles: Sequence[CycleSummary],
    basis: PinnedBasis,
    lack: Shortcoming,
    conditions: tuple[str, ...],
    why: str,
) -> Remedy:
    """The cutoff that errs least, if that is free; else words alone."""
    if basis.cutoff_angstrom is None and not at_any_cost(cycles):
        return _at_any_cost(lack, conditions, f"{why}, and the site file pins {basis.keys}", None)
    return Remedy(
        kind="advice",
        message=(
            f"{lack.message}. {why}, so labels of the same kind will not help, and the site file"
            f" pins {basis.keys}: ask for more functions or another cutoff"
        ),
        conditions=conditions,
    )


def _larger(
    cycles: Sequence[CycleSummary],
    basis: PinnedBasis,
    lack: Shortcoming,
    conditions: tuple[str, ...],
    why: str,
) -> Remedy:
    """More functions, as long as the fit takes them and the basis has them.

    Then it is the cutoff that errs least.
    """
    before = max(cycle.functions or 0 for cycle in cycles) / basis.elements
    most = functions_max(basis.elements)
    if before < functions_min(cycles):  # the fit had labels for no more, or more made it worse
        return _labels(
            lack, conditions or cycles[-1].walked, f"{why}, and more functions take more labels"
        )
    if before >= most:
        why = f"{why}, and the basis has no more than {most} functions for each element"
        if basis.cutoff_angstrom is None and not at_any_cost(cycles):
            return _at_any_cost(lack, conditions, why, most)
        return Remedy(kind="advice", message=f"{lack.message}. {why}", conditions=conditions)
    functions = min(ceil(_BASIS_FACTOR * before), most)
    return Remedy(
        kind="basis",
        message=(
            f"{lack.message}. {why}: the next fit has at least {functions} functions for each"
            " element"
        ),
        conditions=conditions,
        functions_min=functions,
    )


def _at_any_cost(
    lack: Shortcoming, conditions: tuple[str, ...], why: str, functions: int | None
) -> Remedy:
    return Remedy(
        kind="basis",
        message=(
            f"{lack.message}. {why}: the next fit takes the cutoff that errs least, however slow"
            " MD by it is"
        ),
        conditions=conditions,
        functions_min=functions,
        any_cost=True,
    )


def _labels(lack: Shortcoming, conditions: tuple[str, ...], why: str) -> Remedy:
    frames = min(RANDOM_EACH * max(len(conditions), 1), RANDOM_MAX)
    return Remedy(
        kind="labels",
        message=f"{lack.message}. {why}: {frames} random frames are labelled to train on",
        conditions=conditions,
        random_frames=frames,
    )


def _beside(need: JudgedNeed) -> str:
    """How the errors on training frames compare, in words."""
    if need.train is None:
        return f"no training frame is from {need.condition}"
    verb = "agree" if need.agrees else "differ"
    figures = f"{_figure(need.train)} and {_figure(need.error)} {need.unit}"
    return f"there, errors on training and audit frames {verb} ({figures})"


def need_text(need: Need) -> str:
    """The figures of one need in a clause."""
    frames = f"{need.frames} audit frame{'s' if need.frames != 1 else ''}"
    bound = (
        "no bound yet" if need.bound is None else f"at most {_figure(need.bound)} with confidence"
    )
    return (
        f"the {need.quantity} error of {need.condition} is {_figure(need.error)} {need.unit} on"
        f" {frames} ({bound}), {_figure(need.need)} is needed"
    )


def functions_min(cycles: Iterable[CycleSummary]) -> int:
    """The most functions for each element that a remedy has asked for; 0 if none has."""
    return max((cycle.remedy.functions_min or 0 for cycle in cycles if cycle.remedy), default=0)


def at_any_cost(cycles: Iterable[CycleSummary]) -> bool:
    """Whether a remedy has asked for what errs least, whatever it costs."""
    return any(cycle.remedy.any_cost for cycle in cycles if cycle.remedy)


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"  # noqa: PLR2004 - three figures, and none cut
