"""The choices of active learning: what is tried again, promoted, given up, and when it is over."""

import pytest
from kit.judged import judged_value
from kit.stages import walk

from mlip_autopipec.config.schemas.phases import ConvergenceSection
from mlip_autopipec.contract.results.train import ConditionErrors, Errors
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Mender, Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import CalculationDigest, CycleSummary
from mlip_autopipec.data_models.faults import MENDERS
from mlip_autopipec.data_models.state import Failure, TaskRecord, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.strategies import (
    ATTEMPTS_MAX,
    may_try_again,
    quorum_lost,
    resources_for,
    summarise,
    verdict_of,
)

RULES = ConvergenceSection(
    quiet_cycles=2,
    force_change_max=0.2,
    force_change_max_mev_per_angstrom=0.5,
    cycles_max=5,
    labels_max=40,
    stalled_cycles=3,
)


def errors(force: float, energy: float = 1.0) -> Errors:
    """Test errors in meV/Å and meV/atom."""
    return Errors(structures=6, energy_mev_per_atom=energy, force_mev_per_angstrom=force)


def failed(*reasons: Reason) -> TaskRecord:
    """A task whose attempts ended so."""
    task = next(iter(walk().planned(Phase.CALCULATION).tasks.values())).task
    failures = tuple(Failure(job_name="b", reason=reason, message=reason) for reason in reasons)
    return TaskRecord(task=task, status=TaskStatus.FAILED, failures=failures)


# --- attempts -------------------------------------------------------------------------------------


def test_every_reason_has_its_bound() -> None:
    """No reason is forgotten in the ladder of attempts."""
    assert ATTEMPTS_MAX.keys() == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_the_ladder_of_attempts(reason: Reason) -> None:
    """A task is tried as often as its reason's bound allows, and never more than the user allows.

    What is no task's fault counts against none.
    """
    allowed = min(ATTEMPTS_MAX[reason] or 5, 5) if MENDERS[reason] is Mender.TASK else 1000
    for count in range(1, 7):
        assert may_try_again(failed(*[reason] * count), attempts_max=5) is (count < allowed)


def test_reasons_are_counted_apart() -> None:
    """A second crash after a lost node is the second of its kind; a first crash is not."""
    assert may_try_again(failed(Reason.NODE_FAILURE, Reason.CRASHED), attempts_max=5)
    assert not may_try_again(
        failed(Reason.CRASHED, Reason.NODE_FAILURE, Reason.CRASHED), attempts_max=5
    )


def test_attempts_max_bounds_all_reasons_together() -> None:
    """Whatever the mixture of a task's own failures, the user's number is the last word."""
    assert not may_try_again(
        failed(Reason.TIMEOUT, Reason.LOST, Reason.OUT_OF_MEMORY), attempts_max=3
    )
    assert may_try_again(
        failed(Reason.TIMEOUT, Reason.NODE_FAILURE, Reason.OUT_OF_MEMORY), attempts_max=3
    )


@pytest.mark.parametrize(
    ("reasons", "memory_mib", "walltime_s"),
    [
        ((), 1000, 600),
        ((Reason.OUT_OF_MEMORY,), 1500, 600),
        ((Reason.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY), 2250, 600),
        ((Reason.TIMEOUT,), 1000, 1200),
        ((Reason.TIMEOUT, Reason.OUT_OF_MEMORY, Reason.TIMEOUT), 1500, 2400),
        ((Reason.NODE_FAILURE, Reason.CRASHED), 1000, 600),
    ],
)
def test_resources_grow_with_what_was_lacking(
    reasons: tuple[Reason, ...], memory_mib: int, walltime_s: int
) -> None:
    """Half as much memory more after running out, twice the time after a timeout, nothing else."""
    record = failed(*reasons)
    asked = Resources(cores=4, memory_mib=1000, walltime_s=600)
    record = record.model_copy(update={"task": record.task.model_copy(update={"resources": asked})})
    assert resources_for(record) == Resources(cores=4, memory_mib=memory_mib, walltime_s=walltime_s)


def test_a_walltime_that_brought_a_task_on_is_no_failure_to_count() -> None:
    """While each attempt comes farther the walltime stays as it is.

    One that does not is counted, and doubles it.
    """
    record = failed(*[Reason.TIMEOUT] * 40)
    steps = [
        failure.model_copy(update={"reached": number / 41})
        for number, failure in enumerate(record.failures, start=1)
    ]
    onward = record.model_copy(update={"failures": tuple(steps)})
    assert may_try_again(onward, attempts_max=1)
    assert resources_for(onward).walltime_s == onward.task.resources.walltime_s
    stuck = record.model_copy(update={"failures": (*steps, steps[-1], steps[-2])})
    assert resources_for(stuck).walltime_s == 4 * onward.task.resources.walltime_s
    assert may_try_again(stuck, attempts_max=3)
    assert not may_try_again(stuck, attempts_max=2)


# --- quorum ---------------------------------------------------------------------------------------


def with_quarantined(count: int) -> WorkflowState:
    """Bootstrap's three calculations, of which so many are given up."""
    state = walk().planned(Phase.CALCULATION)
    records = dict(state.tasks)
    for name in list(records)[:count]:
        given_up = failed(Reason.NUMERICAL).model_copy(
            update={"task": records[name].task, "status": TaskStatus.QUARANTINED}
        )
        records[name] = given_up
    return state.model_copy(update={"tasks": records})


@pytest.mark.parametrize(
    ("given_up", "quorum", "lost"),
    [(0, 1.0, False), (1, 1.0, True), (1, 0.5, False), (2, 0.5, True)],
)
def test_the_quorum_is_lost_when_too_few_can_still_succeed(
    given_up: int,
    quorum: float,
    lost: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Tasks that are still open count as if they succeeded."""
    assert (quorum_lost(with_quarantined(given_up), quorum) is not None) is lost


def test_a_lost_quorum_says_which_task_was_the_last_and_why() -> None:
    """The verdict's reason is what a person needs first."""
    message = quorum_lost(with_quarantined(2), 0.5)
    assert message is not None
    assert "2 of 3 tasks of calculation in cycle 0" in message
    assert message.endswith(": numerical")


# --- summaries ------------------------------------------------------------------------------------


def test_a_cycle_is_folded_to_what_happened_in_it() -> None:
    """Bootstrap: every generated structure labelled, trained on, promoted; nobody walked."""
    campaign = walk()
    state = campaign.until(lambda state: bool(state.cycles))
    (summary,) = state.cycles
    assert summary.bootstrap
    assert (
        summary.candidates,
        summary.labels_train,
        summary.labels_test,
        summary.labels_failed,
    ) == (2, 2, 1, 0)
    assert (summary.walkers, summary.halts, summary.quiet, summary.promoted) == (0, 0, False, True)
    assert summary.test_of_current is None


def test_a_learning_cycle_counts_its_walkers_and_labels() -> None:
    """The numbers agree with the digests of the cycle, phase by phase."""
    campaign = walk()
    campaign.planned(Phase.TRAINING, cycle=1)
    summary = summarise(campaign.state)
    digest = campaign.state.digests[Phase.CALCULATION]
    assert isinstance(digest, CalculationDigest)
    labels = [record for record in digest.labels if record.role is Role.TRAIN]
    assert (summary.cycle, summary.bootstrap, summary.walkers) == (1, False, 3)
    assert summary.labels_train == summary.candidates == len(labels)
    assert (summary.promoted, summary.test) == (False, None)


# --- the verdict ----------------------------------------------------------------------------------

BOOTSTRAP = CycleSummary(cycle=0, bootstrap=True, labels_train=8, promoted=True, test=errors(50.0))


CONDITION = "Cu fcc 300 K nvt"


def measured(force: float = 10.0, energy: float = 1.0, **update: object) -> ConditionErrors:
    """Errors on eight audit frames of the one condition; its training frames have the same."""
    given: dict[str, object] = {
        "condition": CONDITION,
        "frames": 8,
        "energy_mev_per_atom": energy,
        "energy_spread_mev_per_atom": 10.0,
        "force_mev_per_angstrom": force,
        "force_variation": 0.3,
        "force_spread_mev_per_angstrom": 200.0,
        "train_energy_mev_per_atom": energy,
        "train_force_mev_per_angstrom": force,
    }
    return judged_value(ConditionErrors, {**given, **update})


def learning(
    *,
    quiet: bool = False,
    promoted: bool = True,
    force: float | None = 10.0,
    before: float = 10.0,
    labels: int = 4,
) -> CycleSummary:
    """A cycle of learning; `force` None is a cycle without a fit."""
    return CycleSummary(
        cycle=1,
        bootstrap=False,
        walkers=3,
        halts=0 if quiet else 2,
        quiet=quiet,
        promoted=promoted and force is not None,
        labels_train=labels,
        walked=(CONDITION,),
        conditions=(measured(),) if force is not None else (),
        test=errors(force) if force is not None else None,
        test_of_current=errors(before) if force is not None else None,
    )


QUIET = learning(quiet=True)
LOUD = learning()
WORSE = learning(promoted=False)

VERDICTS: dict[str, tuple[tuple[CycleSummary, ...], Verdict | None]] = {
    "bootstrap alone": ((BOOTSTRAP,), None),
    "one quiet cycle": ((BOOTSTRAP, QUIET), None),
    "two quiet cycles": ((BOOTSTRAP, QUIET, QUIET), Verdict.CONVERGED),
    "quiet, loud, quiet": ((BOOTSTRAP, QUIET, LOUD, QUIET), None),
    "quiet without a fit": (
        (BOOTSTRAP, QUIET, learning(quiet=True, force=None)),
        Verdict.CONVERGED,
    ),
    "quiet, but the error still falls": ((BOOTSTRAP, QUIET, learning(quiet=True, force=7.0)), None),
    "quiet, and it falls by a fifth": (
        (BOOTSTRAP, QUIET, learning(quiet=True, force=8.0)),
        Verdict.CONVERGED,
    ),
    "quiet, and it rises": ((BOOTSTRAP, QUIET, learning(quiet=True, force=13.0)), None),
    "quiet, and it moves by a floor": (
        (BOOTSTRAP, QUIET, learning(quiet=True, force=0.6, before=1.0)),
        Verdict.CONVERGED,
    ),
    "two cycles without promotion": ((BOOTSTRAP, WORSE, WORSE), None),
    "three cycles without promotion": ((BOOTSTRAP, WORSE, WORSE, WORSE), Verdict.STALLED),
    "a promotion among them": ((BOOTSTRAP, WORSE, LOUD, WORSE), None),
    "a quiet one among them": (
        (BOOTSTRAP, WORSE, learning(quiet=True, promoted=False), WORSE),
        None,
    ),
    "all cycles spent": ((BOOTSTRAP, *[LOUD] * 5), Verdict.BUDGET_EXHAUSTED),
    "bootstrap is not counted": ((BOOTSTRAP, *[LOUD] * 4), None),
    "all labels spent": ((BOOTSTRAP, learning(labels=32)), Verdict.BUDGET_EXHAUSTED),
    "one label left": ((BOOTSTRAP, learning(labels=31)), None),
    "converged with the last cycle": ((BOOTSTRAP, *[LOUD] * 3, QUIET, QUIET), Verdict.CONVERGED),
}


@pytest.mark.parametrize(("cycles", "verdict"), VERDICTS.values(), ids=VERDICTS.keys())
def test_the_verdict(cycles: tuple[CycleSummary, ...], verdict: Verdict | None) -> None:
    """Convergence before stalling before the budget, and a reason in words for each."""
    potential = walk().until(lambda state: state.potential is not None).potential
    answer = verdict_of(WorkflowState(cycles=cycles, potential=potential), RULES)
    assert (answer and answer[0]) is verdict
    assert answer is None or answer[1]


@pytest.mark.parametrize(
    ("walkers", "quiet_cycles", "whose"),
    [
        (3, 2, "all 6 walkers of the last 2 cycles "),
        (3, 1, "all 3 walkers of the last cycle "),
        (1, 1, "the one walker "),
    ],
)
def test_a_verdict_counts_as_a_person_does(walkers: int, quiet_cycles: int, whose: str) -> None:
    """No reason speaks of the last 1 cycles."""
    potential = walk().until(lambda state: state.potential is not None).potential
    quiet = QUIET.model_copy(update={"walkers": walkers})
    rules = RULES.model_copy(update={"quiet_cycles": quiet_cycles})
    answer = verdict_of(WorkflowState(cycles=(BOOTSTRAP, quiet, quiet), potential=potential), rules)
    assert answer is not None
    assert answer[1].startswith(whose)


def test_a_bootstrap_without_a_potential_has_failed() -> None:
    """There is nothing to explore with."""
    answer = verdict_of(
        WorkflowState(cycles=(BOOTSTRAP.model_copy(update={"promoted": False}),)), RULES
    )
    assert answer is not None
    assert answer[0] is Verdict.FAILED


def test_no_verdict_before_the_first_cycle_is_over() -> None:
    """A campaign that has just begun goes on."""
    assert verdict_of(WorkflowState(), RULES) is None
