"""The gate as a table: what it lets pass, what it lets pass with words, and what it refuses."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from mlip_autopipec.config.schemas.training import GateSection, PhononsSection, TrainingSection
from mlip_autopipec.contract.results.train import Errors, GroupErrors, Measure, TrainMetrics
from mlip_autopipec.orchestration.gate import gate

SECTION = TrainingSection(
    cutoff_angstrom=6.0,
    functions_per_element=60,
    worse_max=0.2,
    worse_force_max_mev_per_angstrom=1.0,
    worse_energy_max_mev_per_atom=2.0,
    gate=GateSection(
        group_worse_max=0.5,
        group_worse_force_max_mev_per_angstrom=5.0,
        lattice_constant_max=0.005,
        bulk_modulus_max=0.1,
        elastic_constant_max=0.2,
        wall_drop_max_ev=0.05,
        phonons=PhononsSection(imaginary_max_thz=0.1, frequency_rms_max_thz=0.3),
    ),
)


def errors(force: float, energy: float = 1.0, tail: float | None = None) -> Errors:
    """Test errors in meV/Å and meV/atom."""
    return Errors(
        structures=6,
        energy_mev_per_atom=energy,
        force_mev_per_angstrom=force,
        force_p95_mev_per_angstrom=tail,
    )


def trained(test: Errors, current: Errors | None = None, **more: Any) -> TrainMetrics:
    """What Training said of a potential."""
    return TrainMetrics(
        functions=60,
        train=test,
        test=test,
        test_of_current=current,
        probe_gamma=10.0,
        reference_energies_ev={"Cu": 0.0},
        fingerprint="f",
        fit_s=1.0,
        active_set_s=1.0,
        **more,
    )


def group(by: Literal["element", "origin", "set"], name: str, force: float) -> GroupErrors:
    """A part of the test set."""
    return GroupErrors(
        by=by,
        name=name,
        atoms=32,
        force_mev_per_angstrom=force,
        force_p95_mev_per_angstrom=2 * force,
        force_max_mev_per_angstrom=3 * force,
    )


def measure(
    rule: Any, potential: float | None, current: float | None, oracle: float = 100.0
) -> Measure:
    """A property with a tenth of the oracle's value as scale of its own."""
    scale = oracle if oracle > 0 else 1.0
    return Measure(
        rule=rule,
        subject="Cu fcc",
        unit="",
        scale=scale,
        oracle=oracle,
        potential=potential,
        current=current,
    )


@pytest.mark.parametrize(
    ("test", "current", "verdict"),
    [
        (errors(50.0), None, "pass"),
        (errors(5.0), errors(10.0), "pass"),
        (errors(11.9), errors(10.0), "pass"),
        (errors(12.1), errors(10.0), "fail"),
        (errors(2.9), errors(2.0), "pass"),
        (errors(3.1), errors(2.0), "fail"),
        (errors(5.0, energy=2.9), errors(10.0, energy=1.0), "pass"),
        (errors(5.0, energy=3.1), errors(10.0, energy=1.0), "fail"),
        (errors(5.0, tail=29.0), errors(10.0, tail=20.0), "pass"),
        (errors(5.0, tail=31.0), errors(10.0, tail=20.0), "fail"),
        (errors(5.0, tail=31.0), errors(10.0), "pass"),
    ],
    ids=[
        "first",
        "better",
        "a little worse",
        "worse",
        "small and a little worse",
        "small and worse",
        "energy",
        "energy worse",
        "tail",
        "tail worse",
        "no tail to compare with",
    ],
)
def test_errors_may_grow_by_a_fraction_or_by_a_floor(
    test: Errors, current: Errors | None, verdict: str
) -> None:
    """In force, energy and the tail; the answer says why, and every rule that was asked is told."""
    answer = gate(trained(test, current), SECTION)
    assert answer.verdict == verdict
    assert answer.promoted is (verdict != "fail")
    assert answer.message
    assert any(rule.answer == "worse" for rule in answer.rules) is (verdict == "fail")


@pytest.mark.parametrize(
    ("by", "message"), [("element", "of Au"), ("origin", "of Au"), ("set", "of the Au set")]
)
def test_no_part_of_the_test_set_is_given_up_for_the_whole(
    by: Literal["element", "origin", "set"], message: str
) -> None:
    """One element, origin or set that got much worse refuses a fit that is better in all.

    The others are kept.
    """
    before = (group(by, "Au", 20.0), group(by, "Cu", 20.0))
    answer = gate(
        trained(
            errors(5.0),
            errors(10.0),
            groups=(group(by, "Au", 31.0), group(by, "Cu", 1.0)),
            groups_of_current=before,
        ),
        SECTION,
    )
    assert answer.verdict == "fail"
    assert (
        f"its force error {message} is 31.0 meV/Å, at most 30.0 is allowed beside 20.0 before"
        in answer.message
    )
    assert [rule.answer for rule in answer.rules if rule.subject] == ["worse", "kept"]


def test_a_part_that_the_current_potential_was_not_measured_on_is_no_rule() -> None:
    """An origin that is new on both sides is compared; one without its counterpart is not."""
    answer = gate(
        trained(errors(5.0), errors(10.0), groups=(group("origin", "halt", 500.0),)), SECTION
    )
    assert answer.verdict == "pass"


@pytest.mark.parametrize(
    ("rule", "good", "bad", "oracle"),
    [
        ("lattice_constant", 100.4, 101.5, 100.0),
        ("bulk_modulus", 109.0, 125.0, 100.0),
        ("elastic_constant", 81.0, 40.0, 100.0),
        ("lowest_frequency", -0.04, -1.5, -0.05),
        ("frequencies", 0.2, 0.9, 0.0),
        ("wall", 0.04, 3.0, 0.0),
        ("md", 0.0, 0.9, 0.0),
    ],
)
def test_each_property_has_three_answers(rule: str, good: float, bad: float, oracle: float) -> None:
    """Within its tolerance it passes.

    Outside, it refuses beside a current one that keeps it, else it is told.
    """
    verdicts = {
        (potential, current): gate(
            trained(errors(5.0), measures=(measure(rule, potential, current, oracle),)), SECTION
        )
        for potential in (good, bad)
        for current in (good, bad, None)
    }
    assert {pair: answer.verdict for pair, answer in verdicts.items()} == {
        (good, good): "pass",
        (good, bad): "pass",
        (good, None): "pass",
        (bad, good): "fail",
        (bad, bad): "conditional",
        (bad, None): "conditional",
    }
    assert "Cu fcc" in verdicts[bad, None].message
    assert verdicts[bad, None].promoted
    assert verdicts[bad, good].rules[-1].allowed >= 0


@pytest.mark.parametrize(
    ("oracle", "stable", "verdict"),
    [
        (None, None, "conditional"),
        (None, ("Cu fcc",), "conditional"),
        (None, ("Cu bcc",), "pass"),
        (-0.05, ("Cu bcc",), "conditional"),
        (-0.5, ("Cu fcc",), "pass"),
    ],
)
def test_imaginary_modes_are_refused_where_the_crystal_is_known_to_be_stable(
    oracle: float | None, stable: tuple[str, ...] | None, verdict: str
) -> None:
    """By the oracle, and without its frequencies by the site file.

    All are taken for stable if that says nothing.
    """
    section = PhononsSection(stable=stable)
    asked = SECTION.model_copy(update={"gate": replace(SECTION.gate, phonons=section)})
    seen = replace(measure("lowest_frequency", -1.5, None), oracle=oracle, scale=1.0)
    answer = gate(trained(errors(5.0), measures=(seen,)), asked)
    assert answer.verdict == verdict
    assert ("imaginary, 1.50 THz, 0.1 is allowed" in answer.message) is (verdict == "conditional")
    off = SECTION.model_copy(update={"gate": replace(SECTION.gate, phonons=None)})
    assert gate(trained(errors(5.0), measures=(seen,)), off).verdict == "pass"


def test_a_potential_without_an_equilibrium_is_worse_than_one_that_has_it() -> None:
    """No minimum of the energy over the volumes is no lattice constant, and never a kept rule."""
    with_measure = trained(errors(5.0), measures=(measure("lattice_constant", None, 100.1),))
    assert gate(with_measure, SECTION).verdict == "fail"
    assert "no lattice constant of Cu fcc" in gate(with_measure, SECTION).message
    assert (
        gate(
            trained(errors(5.0), measures=(measure("lattice_constant", None, None),)), SECTION
        ).verdict
        == "conditional"
    )


def test_crossing_a_tolerance_by_a_hair_is_no_step_back() -> None:
    """From 9.9 % to 10.1 % the rule is broken and told, but the potential is not refused for it."""
    answer = gate(trained(errors(5.0), measures=(measure("bulk_modulus", 110.1, 109.9),)), SECTION)
    assert answer.verdict == "conditional"


def test_a_failing_potential_tells_which_origins_need_labels() -> None:
    """Those that err by more than the whole, the worst first."""
    groups = (
        group("origin", "generated", 2.0),
        group("origin", "halt 900 K", 40.0),
        group("origin", "halt", 90.0),
    )
    answer = gate(trained(errors(20.0), errors(5.0), groups=groups), SECTION)
    assert answer.verdict == "fail"
    assert answer.message.endswith(
        "labels are needed most of halt (90.0 meV/Å), halt 900 K (40.0 meV/Å)"
    )
