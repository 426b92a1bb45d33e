"""The report's section on the gate."""

from datetime import UTC, datetime

from kit.campaign import errors, file_ref, potential

from mlip_autopipec.contract.results.train import Calibration, Measure
from mlip_autopipec.data_models.digest import CycleSummary, GateRule, Need, Remedy, TrainingDigest
from mlip_autopipec.data_models.events import PhaseEnded
from mlip_autopipec.report.judgement import gate, last_judgement, needs

MODULUS = Measure(
    rule="bulk_modulus",
    subject="Cu fcc",
    unit="GPa",
    scale=134.2,
    oracle=134.2,
    potential=141.7,
    current=151.3,
)
UNSTABLE = Measure(
    rule="lowest_frequency",
    subject="Cu bcc",
    unit="THz",
    oracle=None,
    potential=-1.138,
    current=-2.25,
)
RULE = GateRule(
    rule="bulk modulus",
    subject="Cu fcc",
    value=0.0559,
    allowed=0.05,
    current=0.127,
    unit="of the oracle's",
    answer="broken",
)
FIT = Calibration(element="Cu", pairs=123, curve=((1.0, 12.0), (4.0, 50.0)))


def ended(cycle: int, **more: object) -> PhaseEnded:
    """Training has ended."""
    digest = TrainingDigest.model_validate(
        {
            "potential": potential(cycle, 10.0),
            "dataset": file_ref("dataset/003.extxyz"),
            "train": errors(10.0),
            "test_of_current": None,
            "promoted": True,
            "gate": "by hand",
            **more,
        }
    )
    return PhaseEnded(at=datetime(2026, 1, 1, tzinfo=UTC), cycle=cycle, digest=digest)


def test_the_last_fit_is_told_with_all_its_numbers() -> None:
    """Verdict, properties beside the oracle's, and every rule with what was allowed.

    The meaning of γ is told too.
    """
    events = (
        ended(2),
        ended(
            3,
            verdict="conditional",
            measures=(MODULUS, UNSTABLE),
            rules=(RULE,),
            calibration=(FIT,),
        ),
    )
    found = gate(last_judgement(events))
    assert "The fit of cycle 3 was promoted on a condition: by hand." in found
    for number in (
        "134.2",
        "141.7",
        "151.3",
        "0.0559",
        "0.05",
        "0.127",
        "-1.138",
        "-2.25",
        "broken",
        "Cu, 123 atoms",
        "50",
    ):
        assert number in found, number


def test_a_young_campaign_has_no_judgement() -> None:
    """Nothing was fitted, or a fit was the first: the section says so and stays."""
    assert "No potential has been fitted yet" in gate(last_judgement(()))
    assert "The fit of cycle 0 passed: by hand." in gate(last_judgement((ended(0),)))


def test_errors_stand_beside_needs() -> None:
    """One row for each condition and quantity, coloured by its answer, and what is done.

    They are the last cycle's alone.
    """
    first = CycleSummary(cycle=1, bootstrap=False)
    met = Need(
        condition="Si <diamond>",
        quantity="energy",
        unit="meV/atom",
        frames=8,
        error=1.5,
        bound=2.2,
        need=5.0,
        met=True,
    )
    missed = met.model_copy(
        update={
            "condition": "liquid",
            "quantity": "force",
            "unit": "meV/Å",
            "error": 170.0,
            "met": False,
            "bound": None,
        }
    )
    remedy = Remedy(kind="basis", message="the next fit has more")
    found = needs(
        (first, CycleSummary(cycle=2, bootstrap=False, needs=(met, missed), remedy=remedy))
    )
    assert "As cycle 2 closed, 1 of 2 needs were met." in found
    assert "Remedy (basis): the next fit has more." in found
    good, bad = (line for line in found.splitlines() if line.startswith("<tr class"))
    assert good.startswith(
        '<tr class="met"><td class="text" data-head="condition">Si &lt;diamond&gt;</td>'
    )
    assert [number for number in ("1.5", "2.2", "5") if f">{number}</td>" in good] == [
        "1.5",
        "2.2",
        "5",
    ]
    assert bad.startswith('<tr class="unmet">')
    assert ">–</td>" in bad, "no bound yet"


def test_without_needs_nothing_is_compared() -> None:
    """A campaign that asks for none, or has only begun."""
    assert "yet" in needs(())
    assert "yet" in needs((CycleSummary(cycle=1, bootstrap=False),))
