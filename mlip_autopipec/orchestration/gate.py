"""The gate: whether a new potential becomes the current one. Pure; it says each number it saw.

Every rule compares the new potential with the current one on the same labels, and has one of three
answers. *kept*; *broken*, and the current one is no better, which makes a promotion conditional;
*worse*, where the current one keeps the rule or errs by less than half, which refuses it.

So the gate asks for progress and not for perfection: an absolute rule would refuse the first
potential, which has only seen a crystal at rest, and a campaign that refuses its first potential
explores nothing. The two kinds of tolerance stand for the same reason: a tame test set, where 0.9
meV/Å becomes 1.3, is no reason to stand still.

What is measured of crystals, and what is expected of that, each measure's own folder says
(work/codes).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from mlip_autopipec.config.schemas.training import TrainingSection
from mlip_autopipec.contract.measure import Expected, asked_of
from mlip_autopipec.contract.results.train import Errors, GroupErrors, Measure, TrainMetrics
from mlip_autopipec.data_models.digest import GateRule

Verdict = Literal["pass", "conditional", "fail"]

_ORIGINS_NAMED_MAX = 3
#: A property that errs by more than this many times the current one's error has become worse.
_WORSE_FACTOR = 2.0


@dataclass(frozen=True)
class GateAnswer:
    """What the gate says."""

    verdict: Verdict
    rules: tuple[GateRule, ...]
    message: str

    @property
    def promoted(self) -> bool:
        """Whether the potential becomes the current one."""
        return self.verdict != "fail"


def gate(metrics: TrainMetrics, training: TrainingSection) -> GateAnswer:
    """The verdict on a new potential, and why."""
    rules = (
        *_error_rules(metrics, training),
        *_group_rules(metrics, training),
        *(
            _property_rule(measure, expected)
            for measure, expected in _expected(metrics.measures, training)
        ),
    )
    worse = [rule for rule in rules if rule.answer == "worse"]
    broken = [rule for rule in rules if rule.answer == "broken"]
    if worse:
        return GateAnswer(
            "fail",
            rules,
            "; ".join([*map(_message, worse[:_ORIGINS_NAMED_MAX]), *_needed(metrics)]),
        )
    message = _progress(metrics)
    if broken:
        reasons = "; ".join(map(_message, broken[:_ORIGINS_NAMED_MAX]))
        more = (
            f"; and {len(broken) - _ORIGINS_NAMED_MAX} more"
            if len(broken) > _ORIGINS_NAMED_MAX
            else ""
        )
        return GateAnswer(
            "conditional",
            rules,
            "; ".join([f"{message}, though {reasons}{more}", *_needed(metrics)]),
        )
    return GateAnswer("pass", rules, message)


def _progress(metrics: TrainMetrics) -> str:
    if metrics.test_of_current is None:
        return "the first potential"
    before, now = (
        metrics.test_of_current.force_mev_per_angstrom,
        metrics.test.force_mev_per_angstrom,
    )
    return f"force error {before:.1f} → {now:.1f} meV/Å on the same test set"


def _error_rules(metrics: TrainMetrics, training: TrainingSection) -> Iterator[GateRule]:
    test, current = metrics.test, metrics.test_of_current
    if current is None:
        return
    before = current.force_mev_per_angstrom
    allowed = before + max(before * training.worse_max, training.worse_force_max_mev_per_angstrom)
    yield _error_rule("force error", "", test.force_mev_per_angstrom, before, allowed, "meV/Å")
    before = current.energy_mev_per_atom
    allowed = before + training.worse_energy_max_mev_per_atom
    yield _error_rule("energy error", "", test.energy_mev_per_atom, before, allowed, "meV/atom")
    yield from _tail_rule(test, current, training)


def _tail_rule(test: Errors, current: Errors, training: TrainingSection) -> Iterator[GateRule]:
    value, before = test.force_p95_mev_per_angstrom, current.force_p95_mev_per_angstrom
    if value is not None and before is not None:
        yield _error_rule(
            "tail of the force error", "", value, before, _of_group(before, training), "meV/Å"
        )


def _group_rules(metrics: TrainMetrics, training: TrainingSection) -> Iterator[GateRule]:
    current = {(group.by, group.name): group for group in metrics.groups_of_current}
    for group in metrics.groups:
        before = current.get((group.by, group.name))
        if before is not None:
            value, was = group.force_mev_per_angstrom, before.force_mev_per_angstrom
            yield _error_rule(
                "force error", _called(group), value, was, _of_group(was, training), "meV/Å"
            )


def _called(group: GroupErrors) -> str:
    return f"the {group.name} set" if group.by == "set" else group.name


def _of_group(before: float, training: TrainingSection) -> float:
    gate_ = training.gate
    return before + max(
        before * gate_.group_worse_max, gate_.group_worse_force_max_mev_per_angstrom
    )


def _error_rule(
    rule: str, subject: str, value: float, before: float, allowed: float, unit: str
) -> GateRule:
    answer: Literal["kept", "worse"] = "worse" if value > allowed else "kept"
    return GateRule(
        rule=rule,
        subject=subject,
        value=value,
        allowed=allowed,
        current=before,
        unit=unit,
        answer=answer,
    )


def _expected(
    measures: Iterable[Measure], training: TrainingSection
) -> Iterator[tuple[Measure, Expected]]:
    """Those of which something is expected.

    The site file may have changed since they were taken.
    """
    asked = [
        (each.code.names, each.code.control(), each.section) for each in asked_of(training.gate)
    ]
    for measure in measures:
        for names, rules, section in asked:
            if measure.rule in names and (expected := rules.expected(section, measure)) is not None:
                truth = measure.oracle if expected.oracle is None else expected.oracle
                yield replace(measure, oracle=truth), expected


def _property_rule(measure: Measure, expected: Expected) -> GateRule:
    value, before = _error(measure, measure.potential), _error(measure, measure.current)
    return GateRule(
        rule=expected.called,
        subject=measure.subject,
        value=value,
        allowed=expected.allowed,
        current=before,
        unit=expected.unit,
        answer=_answer(value, before, expected.allowed),
    )


def _answer(
    value: float | None, before: float | None, allowed: float
) -> Literal["kept", "broken", "worse"]:
    if value is not None and value <= allowed:
        return "kept"
    if before is None:
        return "broken"
    return "worse" if value is None or (value > _WORSE_FACTOR * before) else "broken"


def _error(measure: Measure, value: float | None) -> float | None:
    if value is None or measure.oracle is None:
        return None
    return abs(value - measure.oracle) / measure.scale


def _message(rule: GateRule) -> str:
    of = f" of {rule.subject}" if rule.subject else ""
    value, allowed, unit = rule.value, rule.allowed, rule.unit
    if value is None and unit == "THz RMS":
        return (
            f"its {rule.rule}{of} cannot be compared: a label is missing, or a force is no number"
        )
    if value is None:
        return f"it has no {rule.rule}{of}"
    match unit:
        case "meV/Å" | "meV/atom" if rule.current is not None:
            message = (
                f"is {value:.1f} {unit}, at most {allowed:.1f} is allowed beside"
                f" {rule.current:.1f} before"
            )
        case "eV":
            message = f"falls by {value:.2f} eV, {allowed:g} is allowed"
        case "THz":
            message = f"is imaginary, {value:.2f} THz, {allowed:g} is allowed"
        case "THz RMS":
            message = f"are off by {value:.2f} {unit}, {allowed:g} is allowed"
        case "of its steps":
            message = f"broke off with {value:.0%} {unit} to go"
        case _ if unit.startswith("of "):
            message = f"is off by {value:.1%} {unit}, {allowed:.1%} is allowed"
        case _:
            message = f"is off by {value:.3g} {unit}, {allowed:g} is allowed"
    return f"its {rule.rule}{of} {message}"


def _needed(metrics: TrainMetrics) -> Iterator[str]:
    """The origins of the test set that need labels most: those that err by more than the whole."""
    overall = metrics.test.force_mev_per_angstrom
    worst = sorted(
        (
            group
            for group in metrics.groups
            if group.by == "origin" and group.force_mev_per_angstrom > overall
        ),
        key=lambda group: -group.force_mev_per_angstrom,
    )
    if worst:
        named = [
            f"{group.name} ({group.force_mev_per_angstrom:.1f} meV/Å)"
            for group in worst[:_ORIGINS_NAMED_MAX]
        ]
        yield f"labels are needed most of {', '.join(named)}"
