"""The report's section on the gate: each rule the last fit was held to, and what γ means by now."""

from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from mlip_autopipec.contract.results.train import Calibration, Measure
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.digest import CycleSummary, GateRule, TrainingDigest
from mlip_autopipec.report.canvas import BLUE, GREEN, PURPLE, VERMILLION, Drawing, svg
from mlip_autopipec.report.markup import element, table
from mlip_autopipec.telling.words import figures3

_VERDICTS = {"pass": "passed", "conditional": "was promoted on a condition", "fail": "was refused"}
_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE)
#: Whose oracle is zero, and no number of its own.
_OF_NO_ORACLE = frozenset({"frequencies", "wall", "md"})


def last_judgement(events: Iterable[ev.Event]) -> tuple[int, TrainingDigest] | None:
    """The cycle and the digest of the last fit."""
    found = None
    for event in events:
        if isinstance(event, ev.PhaseEnded) and isinstance(event.digest, TrainingDigest):
            found = event.cycle, event.digest
    return found


def needs(cycles: Sequence[CycleSummary]) -> str:
    """The current potential's errors by condition, beside those needed as the last cycle closed."""
    if not cycles or not cycles[-1].needs:
        return element("p", "No error has been compared with a need yet.", class_="quiet")
    last = cycles[-1]
    met = sum(need.met for need in last.needs)
    text = (
        f"As cycle {last.cycle} closed, {met} of {len(last.needs)} needs were met. Errors are"
        " root-mean-square values on random frames of each condition's MD, which no fit sees, at"
        " most the latest sixteen. A need is met where the upper confidence bound is below it."
    )
    parts = [element("p", text)]
    if last.remedy is not None:
        parts.append(
            element("p", f"Remedy ({last.remedy.kind}): {last.remedy.message}.", class_="unmet")
        )
    head = ("condition", "error of", "audit frames", "error", "at most", "needed", "unit", "answer")
    rows = [
        (
            need.condition,
            need.quantity,
            str(need.frames),
            *(_number(value) for value in (need.error, need.bound, need.need)),
            need.unit,
            "met" if need.met else "not met",
        )
        for need in last.needs
    ]
    colours = ["met" if need.met else "unmet" for need in last.needs]
    return "\n".join([*parts, table(head, rows, text_columns=(0, 1, 6, 7), row_classes=colours)])


def gate(last: tuple[int, TrainingDigest] | None) -> str:
    """What the gate saw of the last fit."""
    if last is None:
        return element("p", "No potential has been fitted yet.", class_="quiet")
    cycle, digest = last
    parts = [element("p", f"The fit of cycle {cycle} {_VERDICTS[digest.verdict]}: {digest.gate}.")]
    properties = [measure for measure in digest.measures if measure.rule not in _OF_NO_ORACLE]
    if properties:
        head = ("property", "unit", "oracle", "new potential", "the one before")
        parts.append(table(head, [_property(rule) for rule in properties], text_columns=(0, 1)))
    if digest.rules:
        asked = ("rule", "of", "value", "allowed", "the one before", "unit", "answer")
        parts.append(
            table(asked, [_rule(rule) for rule in digest.rules], text_columns=(0, 1, 5, 6))
        )
    if digest.calibration:
        parts.append(_calibration(digest.calibration))
    return "\n".join(parts)


def _property(measure: Measure) -> tuple[str, ...]:
    name = f"{measure.subject} {measure.rule.replace('_', ' ')}"
    return (
        name,
        measure.unit,
        *(_number(value) for value in (measure.oracle, measure.potential, measure.current)),
    )


def _rule(rule: GateRule) -> tuple[str, ...]:
    numbers = (_number(value) for value in (rule.value, rule.allowed, rule.current))
    return rule.rule, rule.subject or "all", *numbers, rule.unit, rule.answer


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _calibration(fits: Sequence[Calibration]) -> str:
    curves = ", ".join(
        f"{fit.element} {figures3(fit.curve[-1][1])} meV/Å at γ {figures3(fit.curve[-1][0])}"
        for fit in fits
    )
    drawing = svg(
        _curves(fits), "calibration", f"Force error expected at a γ; at the upper end {curves}."
    )
    text = (
        "Mean force error of the atoms of every new label under the potential that had not yet"
        " seen it, against their γ: a fit that can only rise, for each element."
    )
    return f"<figure>\n{drawing}\n{element('figcaption', text)}</figure>"


def _curves(fits: Sequence[Calibration]) -> Drawing:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for index, fit in enumerate(fits):
            gammas, errors = zip(*fit.curve, strict=True)
            label = f"{fit.element}, {fit.pairs} atoms"
            axes.plot(gammas, errors, ".-", color=_COLOURS[index % len(_COLOURS)], label=label)
        axes.set(title="What γ means here", xlabel="γ", ylabel="force error, meV/Å", xscale="log")
        axes.legend(loc="best", fontsize=8)

    return draw
