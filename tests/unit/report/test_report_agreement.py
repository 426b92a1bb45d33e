"""The oracle against itself, in the report's section on labels."""

from datetime import UTC, datetime

from mlip_autopipec.data_models.digest import CalculationDigest, OracleFigure
from mlip_autopipec.data_models.events import Actor, Event, Paused, PhaseEnded, Resumed
from mlip_autopipec.report.agreement import agreement, oracle

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEPT = OracleFigure(
    check="pressure", crystal="Mg hcp", message="Mg hcp: 1.20 and 1.25 GPa", contradiction=False
)
WRONG = OracleFigure(
    check="bulk modulus", crystal="Mg hcp", message="Mg hcp: 92.6 and 40.0 GPa", contradiction=True
)
ADA = Actor(uid=1000, pid=1, name="ada")


def section(*events: Event) -> str:
    return oracle(agreement(events))


def test_nothing_is_said_of_what_was_not_checked() -> None:
    """As of a campaign of before there was a check."""
    assert "have not been held against each other" in section()


def test_a_contradiction_is_told_with_who_went_on_and_why() -> None:
    """Also once the round has closed, and after pauses and resumptions of other kinds."""
    paused = Paused(
        at=AT, by=Actor(uid=-1, pid=0, name="the check"), reason="...", oracle=(KEPT, WRONG)
    )
    waiting = section(paused)
    assert "contradicts itself in 1 of 2 figures" in waiting
    assert "has waited for a person since 2026-01-01" in waiting
    assert waiting.index("92.6 and 40.0") < waiting.index("1.20 and 1.25")
    closed = PhaseEnded(
        at=AT, cycle=0, digest=CalculationDigest(labels=(), failed=0, oracle=(KEPT, WRONG))
    )
    later = (Paused(at=AT, by=ADA, reason="lunch"), Resumed(at=AT, by=ADA, reason="back"))
    found = section(paused, Resumed(at=AT, by=ADA, reason="known & accepted"), closed, *later)
    assert "gone on with all the same by ada" in found
    assert "known &amp; accepted" in found


def test_agreement_is_told_as_well() -> None:
    """With its figures."""
    closed = PhaseEnded(
        at=AT, cycle=0, digest=CalculationDigest(labels=(), failed=0, oracle=(KEPT,))
    )
    assert "agrees with itself in all 1 figures" in section(closed)
