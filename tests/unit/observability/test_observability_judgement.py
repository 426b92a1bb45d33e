"""The report's section on the gate."""

from datetime import UTC, datetime

from observability_campaign import errors, file_ref, potential

from mlip_autopipec.data_models.digest import GateRule, TrainingDigest
from mlip_autopipec.data_models.events import PhaseEnded
from mlip_autopipec.data_models.outcome import Calibration, Measure
from mlip_autopipec.observability.judgement import gate, last_judgement

MODULUS = Measure(
    rule="bulk_modulus", subject="Cu fcc", unit="GPa", scale=134.2, oracle=134.2, potential=141.7, current=151.3
)
UNSTABLE = Measure(rule="lowest_frequency", subject="Cu bcc", unit="THz", oracle=None, potential=-1.138, current=-2.25)
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
    """Verdict, properties beside the oracle's, every rule with what was allowed, and the meaning of γ."""
    events = (
        ended(2),
        ended(3, verdict="conditional", measures=(MODULUS, UNSTABLE), rules=(RULE,), calibration=(FIT,)),
    )
    told = gate(last_judgement(events))
    assert "The fit of cycle 3 was promoted on a condition: by hand." in told
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
        assert number in told, number


def test_a_young_campaign_has_no_judgement() -> None:
    """Nothing was fitted, or a fit was the first: the section says so and stays."""
    assert "No potential has been fitted yet" in gate(last_judgement(()))
    assert "The fit of cycle 0 passed: by hand." in gate(last_judgement((ended(0),)))
