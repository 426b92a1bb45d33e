"""In what the oracle was held against itself, and who went on where it did not agree.

It belongs to the section on labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.digest import CalculationDigest, OracleFigure
from mlip_autopipec.report.blocks import quiet
from mlip_autopipec.report.markup import element, table

_NONE = (
    "The first labels have not been held against each other: no property cells were labelled, or"
    " calculation.first_labels.check is off, or it is too early."
)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the first labels said of the oracle, and the pause that came of it."""

    figures: tuple[OracleFigure, ...] = ()
    paused: ev.Paused | None = None
    resumed: ev.Resumed | None = None


def agreement(events: Iterable[ev.Event]) -> Agreement:
    """Fold the events to it."""
    figures: tuple[OracleFigure, ...] = ()
    paused: ev.Paused | None = None
    resumed: ev.Resumed | None = None
    for event in events:
        if isinstance(event, ev.Paused) and event.oracle:
            figures, paused, resumed = event.oracle, event, None
        elif isinstance(event, ev.Resumed) and paused is not None and resumed is None:
            resumed = event
        elif isinstance(event, ev.PhaseEnded) and isinstance(event.digest, CalculationDigest):
            figures = event.digest.oracle or figures
    return Agreement(figures, paused, resumed)


def oracle(found: Agreement) -> str:
    """Every figure, the contradictions first."""
    if not found.figures:
        return quiet(_NONE)
    wrong = sum(figure.contradiction for figure in found.figures)
    head = (
        (
            f"The oracle contradicts itself in {wrong} of {len(found.figures)} figures of the"
            " first labels."
        )
        if wrong
        else (
            f"The oracle agrees with itself in all {len(found.figures)} figures of the first"
            " labels."
        )
    )
    rows = [
        (
            figure.crystal,
            figure.check,
            figure.message,
            "contradiction" if figure.contradiction else "kept",
        )
        for figure in sorted(found.figures, key=lambda figure: not figure.contradiction)
    ]
    parts = [element("h3", "The oracle against itself"), element("p", head), *_who(found)]
    parts.append(table(("crystal", "check", "figures", "answer"), rows, text_columns=(0, 1, 2, 3)))
    parts.append(quiet("Elastic constants and bulk moduli of this table are with clamped ions."))
    return "\n".join(parts)


def _who(found: Agreement) -> Iterable[str]:
    if found.paused is None:
        return
    if found.resumed is None:
        yield element(
            "p",
            f"The campaign has waited for a person since {found.paused.at:%Y-%m-%d %H:%M:%S} UTC.",
        )
        return
    who, why = (
        found.resumed.by.name or f"uid {found.resumed.by.uid}",
        found.resumed.reason or "no reason given",
    )
    yield element(
        "p",
        f"It was gone on with all the same by {who} at {found.resumed.at:%Y-%m-%d %H:%M:%S} UTC:"
        f" {why}.",
    )
