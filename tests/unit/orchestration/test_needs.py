"""Needs: when a potential is right, what is said and done if not, and how many audits it takes."""

import pytest
from kit.judged import judged_value

from mlip_autopipec.config.schemas.phases import ConvergenceSection, NeedsSection
from mlip_autopipec.contract.results.explore import Ending
from mlip_autopipec.contract.results.train import ConditionErrors, Errors
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.digest import CycleSummary, ExplorationDigest, Remedy, WalkerEnd
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.orchestration.needs import (
    PinnedBasis,
    at_any_cost,
    audits_wanted,
    judge,
    remedy_of,
    shortcoming_of,
)
from mlip_autopipec.orchestration.strategies import verdict_of
from mlip_autopipec.testing.physics import file_ref

COLD, LIQUID = "Si diamond 300 K nvt", "liquid.xyz 2000 K nvt"
PINNED, FREE = PinnedBasis(functions=143, cutoff_angstrom=5.0), PinnedBasis()
PINNED_CUTOFF, PINNED_FUNCTIONS = PinnedBasis(cutoff_angstrom=5.0), PinnedBasis(functions=1000)
RULES = ConvergenceSection(quiet_cycles=1, cycles_max=9)


def measured(
    condition: str = COLD, force: float = 20.0, energy: float = 1.0, **update: object
) -> ConditionErrors:
    """Errors on eight audit frames; training frames of the condition are as wrong."""
    given: dict[str, object] = {
        "condition": condition,
        "frames": 8,
        "energy_mev_per_atom": energy,
        "energy_spread_mev_per_atom": 5.0,
        "force_mev_per_angstrom": force,
        "force_variation": 0.3,
        "force_spread_mev_per_angstrom": 250.0 if condition == COLD else 1300.0,
        "train_energy_mev_per_atom": energy,
        "train_force_mev_per_angstrom": force,
    }
    return judged_value(ConditionErrors, {**given, **update})


def cycle(*conditions: ConditionErrors, quiet: bool = True, **update: object) -> CycleSummary:
    """A cycle that walked in both conditions, promoted its fit and had settled."""
    errors = Errors(structures=9, energy_mev_per_atom=1, force_mev_per_angstrom=20)
    summary = CycleSummary(
        cycle=1,
        bootstrap=False,
        walkers=2,
        quiet=quiet,
        promoted=True,
        gate="pass",
        test=errors,
        test_of_current=errors,
        functions=143,
        walked=(COLD, LIQUID),
        conditions=conditions,
    )
    return summary.model_copy(update=update)


RIGHT = cycle(measured(), measured(LIQUID, 60.0))
#: What a basis too small made of liquid silicon: quiet, settled, and wrong.
WRONG = cycle(measured(), measured(LIQUID, 170.0, 27.4))


def answer(*cycles: CycleSummary, rules: ConvergenceSection = RULES) -> tuple[Verdict, str] | None:
    """What is said after these cycles."""
    potential = Potential(
        cycle=0,
        folder="potentials/000",
        files={"yaml": file_ref("y"), "asi": file_ref("a"), "yace": file_ref("c")},
        fingerprint="f",
        test=Errors(structures=1, energy_mev_per_atom=1, force_mev_per_angstrom=1),
        reference_energies_ev={},
    )
    return verdict_of(WorkflowState(cycles=cycles, potential=potential), rules)


def rules(**needs: float | bool) -> ConvergenceSection:
    """The same with needs of one's own."""
    return RULES.model_copy(update={"needs": NeedsSection.model_validate(needs)})


# --- when it is right -----------------------------------------------------------------------------


def test_a_potential_that_is_right_everywhere_has_converged() -> None:
    """Quiet, settled, every bound below its need, the gate passed."""
    said = answer(RIGHT)
    assert said is not None
    assert said[0] is Verdict.CONVERGED
    assert "below their needs at 90% confidence" in said[1]


def test_quiet_and_settled_is_not_enough() -> None:
    """A liquid off by 170 meV/Å and 27 meV/atom, γ below 1: the campaign goes on."""
    assert answer(WRONG) is None
    lack = shortcoming_of((WRONG,), RULES)
    assert [(need.condition, need.quantity, need.need) for need in lack.judged] == [
        (LIQUID, "force", 130.0),
        (LIQUID, "energy", 5.0),
    ]


def test_without_needs_it_is_as_it_was() -> None:
    """`needs: null` asks for nothing but quiet and settled."""
    said = answer(WRONG, rules=RULES.model_copy(update={"needs": None}))
    assert said is not None
    assert said[0] is Verdict.CONVERGED


@pytest.mark.parametrize(
    ("needs", "force", "energy"),
    [
        ({}, 130.0, 5.0),
        ({"force_mev_per_angstrom": 30.0}, 30.0, 5.0),
        ({"force_part": 0.05}, 65.0, 5.0),
        ({"force_part": 0.01, "force_mev_per_angstrom": 50.0}, 50.0, 5.0),
        ({"energy_mev_per_atom": 2.0}, 130.0, 2.0),
        ({"energy_part": 0.1}, 130.0, 0.5),
    ],
)
def test_what_is_named_counts_and_the_larger_of_two(
    needs: dict[str, float], force: float, energy: float
) -> None:
    """A need of one's own is not widened by a default of the other kind."""
    judged = judge(measured(LIQUID), NeedsSection.model_validate(needs))
    assert [need.need for need in judged] == [pytest.approx(force), pytest.approx(energy)]


def test_stress_is_judged_where_it_is_asked_for_and_known() -> None:
    """A bound by its own scatter; a stress that was not compared is no reason to go on."""
    needs = NeedsSection(stress_gpa=0.5)
    off = measured(stress_gpa=0.6, stress_variation=0.2, stress_spread_gpa=2.0)
    assert [need.met for need in judge(off, needs)] == [True, True, False]
    assert len(list(judge(measured(), needs))) == len(list(judge(off, NeedsSection()))) == 2


def test_few_frames_are_not_believed() -> None:
    """4 meV/atom on three frames may be 9; on sixteen it is below 5.3, on eight of 3 below 4.6."""
    assert answer(cycle(measured(energy=3.0, frames=3), measured(LIQUID))) is None
    assert answer(cycle(measured(energy=2.0, frames=2), measured(LIQUID))) is None
    assert answer(cycle(measured(energy=3.0, frames=8), measured(LIQUID))) is not None
    assert answer(cycle(measured(energy=4.0, frames=16), measured(LIQUID))) is None


def test_of_many_needs_the_worst_are_named_and_the_rest_are_counted() -> None:
    """A person reads a few of them."""
    conditions = [
        measured(f"Si diamond {kelvin} K nvt", 100.0 + kelvin) for kelvin in range(300, 1000, 100)
    ]
    closed = cycle(*conditions, walked=tuple(each.condition for each in conditions))
    message = shortcoming_of([closed], RULES).message
    assert message.startswith("the force error of Si diamond 300 K nvt is 400 meV/Å")
    assert message.endswith("; and 4 more needs are not met")


def test_a_condition_without_audits_holds_it_open() -> None:
    """Also one that journals of before know nothing of."""
    assert answer(cycle(measured())) is None
    assert answer(cycle(walked=())) is None
    assert LIQUID in shortcoming_of((cycle(measured()),), RULES).message


def test_errors_of_the_current_potential_outlive_a_cycle_without_a_fit() -> None:
    """No new label asked for another fit, so the potential is the same."""
    assert answer(RIGHT, cycle(test=None, test_of_current=None, promoted=False)) is not None


def test_a_condition_of_the_gate_holds_it_open() -> None:
    """Unless the site file lets it."""
    broken = RIGHT.model_copy(
        update={"gate": "conditional", "gate_message": "its bulk modulus is off by 43 %"}
    )
    assert answer(broken) is None
    assert answer(broken, rules=rules(gate=False)) is not None
    refused = RIGHT.model_copy(update={"promoted": False, "gate": "fail"})
    assert answer(broken, refused) is None, "the current potential is still the one on a condition"
    assert answer(broken, RIGHT) is not None


# --- when it is not -------------------------------------------------------------------------------


def with_remedies(*cycles: CycleSummary, basis: PinnedBasis = PINNED) -> tuple[CycleSummary, ...]:
    """As they are closed one after the other."""
    done: tuple[CycleSummary, ...] = ()
    for each in cycles:
        done = (*done, each.model_copy(update={"remedy": remedy_of((*done, each), RULES, basis)}))
    return done


def test_a_pinned_basis_that_is_too_small_ends_inaccurate() -> None:
    """After three quiet cycles that came no nearer, with its figures and what a person can do."""
    cycles = with_remedies(WRONG, WRONG, WRONG)
    assert answer(*cycles[:2]) is None
    said = answer(*cycles)
    assert said is not None
    assert said[0] is Verdict.INACCURATE
    for message in (
        LIQUID,
        "27.4 meV/atom",
        "170 meV/Å",
        "130 is needed",
        "training.functions_per_element: 143",
    ):
        assert message in said[1]


def test_it_goes_on_while_it_comes_nearer_or_waits_for_audits() -> None:
    """A tenth less in three cycles is progress; a bound that only lacks frames is no answer."""
    nearer = [cycle(measured(), measured(LIQUID, force)) for force in (250.0, 220.0, 190.0)]
    assert answer(*with_remedies(*nearer)) is None
    few = [cycle(measured(), measured(LIQUID, 125.0, frames=4))] * 4
    assert answer(*with_remedies(*few)) is None


def test_audits_elsewhere_put_off_no_end() -> None:
    """One condition lacks frames; another is wrong whatever they will say, and comes no nearer."""
    wrong = cycle(measured(frames=4, energy=4.0), measured(LIQUID, 170.0))
    assert not all(need.wrong for need in shortcoming_of((wrong,), RULES).judged)
    said = answer(*with_remedies(*[wrong] * 3))
    assert said is not None
    assert said[0] is Verdict.INACCURATE
    loud = [WRONG, cycle(quiet=False), WRONG]
    assert answer(*with_remedies(*loud)) is None


def test_the_budget_says_what_was_missed() -> None:
    """A campaign that spends all its cycles is told how far it was."""
    said = answer(*[cycle(measured(), measured(LIQUID, 170.0), quiet=False)] * 9)
    assert said is not None
    assert said[0] is Verdict.BUDGET_EXHAUSTED
    assert "170 meV/Å" in said[1]


def test_where_training_errors_agree_the_basis_grows() -> None:
    """Half as many functions again, if the fit may choose; only words, if they are pinned."""
    free = remedy_of((WRONG,), RULES, FREE)
    assert free is not None
    assert (free.kind, free.functions_min, free.random_frames) == ("basis", 215, 0)
    pinned = remedy_of((WRONG,), RULES, PINNED)
    assert pinned is not None
    assert (pinned.kind, pinned.functions_min, pinned.random_frames) == ("advice", None, 0)
    assert "another cutoff" in pinned.message


def test_a_basis_grows_no_further_than_it_can() -> None:
    """Where the fit did not take as many as were asked for, labels are missing.

    At the end of the basis there is advice.
    """
    (grown,) = with_remedies(WRONG, basis=FREE)
    again = remedy_of((grown, WRONG), RULES, FREE)
    assert again is not None
    assert (again.kind, again.conditions) == ("labels", (LIQUID,))
    followed = remedy_of((grown, WRONG.model_copy(update={"functions": 300})), RULES, FREE)
    assert followed is not None
    assert followed.functions_min == 450
    last = remedy_of((WRONG.model_copy(update={"functions": 900}),), RULES, FREE)
    assert last is not None
    assert last.functions_min == 1000
    full = remedy_of((WRONG.model_copy(update={"functions": 1000}),), RULES, PINNED_CUTOFF)
    assert full is not None
    assert (full.kind, full.functions_min) == ("advice", None)


@pytest.mark.parametrize(("basis", "functions"), [(FREE, 1000), (PINNED_FUNCTIONS, None)])
def test_where_the_basis_ends_the_cutoff_is_chosen_at_any_cost(
    basis: PinnedBasis, functions: int | None
) -> None:
    """Once; then it is for a person to decide."""
    wrong = WRONG.model_copy(update={"functions": 1000})
    longer = remedy_of((wrong,), RULES, basis)
    assert longer is not None
    assert (longer.kind, longer.any_cost, longer.functions_min) == ("basis", True, functions)
    assert "the cutoff that errs least" in longer.message
    done = wrong.model_copy(update={"remedy": longer})
    assert at_any_cost((done,))
    after = remedy_of((done, wrong), RULES, basis)
    assert after is not None
    assert (after.kind, after.any_cost) == ("advice", False)


@pytest.mark.parametrize("trained", [None, 60.0])
def test_where_they_differ_labels_are_missing(trained: float | None) -> None:
    """Random frames of the condition that is wrong; the basis stays."""
    wrong = measured(LIQUID, 170.0, train_force_mev_per_angstrom=trained)
    remedy = remedy_of((cycle(measured(), wrong),), RULES, FREE)
    assert remedy is not None
    assert (remedy.kind, remedy.conditions, remedy.functions_min) == ("labels", (LIQUID,), None)
    assert remedy.random_frames > 0


def test_the_need_that_is_missed_most_decides() -> None:
    """By how many times it is missed.

    The cold is three times as wrong as it may be, the liquid hardly.
    """
    cold, liquid = measured(COLD, 90.0), measured(LIQUID, 170.0, train_force_mev_per_angstrom=60.0)
    remedy = remedy_of((cycle(cold, liquid),), RULES, FREE)
    assert remedy is not None
    assert (remedy.kind, remedy.conditions) == ("basis", (COLD, LIQUID))


def test_no_remedy_where_none_is_due() -> None:
    """Nothing is wrong, or exploration still finds what is new, or only audits are missing."""
    assert remedy_of((RIGHT,), RULES, FREE) is None
    assert remedy_of((WRONG.model_copy(update={"quiet": False}),), RULES, FREE) is None
    assert remedy_of((cycle(measured(), measured(LIQUID, 125.0, frames=4)),), RULES, FREE) is None
    assert remedy_of((), RULES, FREE) is None


def test_a_summary_without_the_new_fields_is_read() -> None:
    """As journals of before have them."""
    old = {"cycle": 3, "bootstrap": False, "walkers": 4, "quiet": True}
    summary = CycleSummary.model_validate(old)
    assert (summary.walked, summary.conditions, summary.remedy) == ((), (), None)
    assert Remedy(kind="advice", message="x").functions_min is None
    assert "any_cost" not in Remedy(kind="advice", message="x").model_dump()


# --- audits ---------------------------------------------------------------------------------------


def exploration(*, quiet: bool) -> ExplorationDigest:
    """Two replicas in the cold, one walker in the liquid."""
    ending = Ending.COMPLETED if quiet else Ending.HALTED
    walkers = tuple(
        WalkerEnd(task=label, label=label, ending=ending, steps=1, gamma_max=1, frames_collected=0)
        for label in (COLD, f"{COLD} #2", LIQUID)
    )
    return ExplorationDigest(walkers=walkers, frames=())


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        ((), {COLD: 3, LIQUID: 3}),
        ((cycle(measured(frames=2)),), {COLD: 1, LIQUID: 3}),
        ((RIGHT,), {}),
        ((WRONG,), {}),
        ((cycle(measured(), measured(LIQUID, 125.0, frames=4)),), {LIQUID: 2}),
        ((cycle(measured(), measured(LIQUID, 125.0, frames=15)),), {LIQUID: 1}),
    ],
    ids=[
        "none yet",
        "too few",
        "enough",
        "wrong already",
        "the bound is missing",
        "up to what counts",
    ],
)
def test_a_quiet_cycle_asks_for_the_audits_that_are_missing(
    before: tuple[CycleSummary, ...], wanted: dict[str, int]
) -> None:
    """By condition, replicas together."""
    assert audits_wanted(before, exploration(quiet=True), RULES, 2) == wanted


def test_a_loud_cycle_draws_no_more_than_it_did() -> None:
    """Where there are fewest."""
    assert audits_wanted((), exploration(quiet=False), RULES, 1) == {COLD: 1}
    assert audits_wanted((cycle(measured()),), exploration(quiet=False), RULES, 1) == {LIQUID: 1}
    assert audits_wanted((), exploration(quiet=False), RULES, 5) == {COLD: 1, LIQUID: 1}
    assert (
        audits_wanted((), exploration(quiet=True), RULES.model_copy(update={"needs": None}), 5)
        == {}
    )
