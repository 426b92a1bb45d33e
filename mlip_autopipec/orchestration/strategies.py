"""The choices of active learning, all pure.

They say what comes next, what is tried again, what is promoted, and when it is over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from mlip_autopipec.config.schemas.phases import ConvergenceSection
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Mender, Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import (
    CalculationDigest,
    CycleSummary,
    Digest,
    ExplorationDigest,
    GenerationDigest,
    SelectionDigest,
    TrainingDigest,
)
from mlip_autopipec.data_models.faults import MENDERS
from mlip_autopipec.data_models.state import Failure, Stage, TaskRecord, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.adoption import check_tasks
from mlip_autopipec.orchestration.census import census
from mlip_autopipec.orchestration.first_labels import property_tasks
from mlip_autopipec.orchestration.machine import ENDED, is_bootstrap, next_in_flow
from mlip_autopipec.orchestration.needs import (
    Shortcoming,
    gate_condition,
    needs_of,
    no_nearer,
    remedy_of,
    shortcoming_of,
)
from mlip_autopipec.orchestration.policy import Policy

D = TypeVar("D", bound=Digest)

#: How many attempts of one task may end for this reason before it is given up; None: as many as the
#: user allows. Trying a deterministic failure again only wastes an allocation. What is no task's
#: fault counts against none.
ATTEMPTS_MAX: Mapping[Reason, int | None] = {
    Reason.NUMERICAL: 1,
    Reason.BAD_INPUT: 1,
    Reason.REJECTED: 1,
    Reason.CRASHED: 2,
    Reason.BAD_OUTCOME: 2,
    Reason.TIMEOUT: None,
    Reason.OUT_OF_MEMORY: None,
    Reason.NODE_FAILURE: None,
    Reason.PREEMPTED: None,
    Reason.CANCELLED: None,
    Reason.LOST: None,
    Reason.STORAGE: None,
    Reason.NODE_UNFIT: None,
    Reason.ACCESS: None,
}
_MEMORY_FACTOR = 1.5
_WALLTIME_FACTOR = 2


def digest_of(state: WorkflowState, kind: type[D]) -> D | None:
    """The digest of that kind in the current cycle, if its phase has ended."""
    return next((digest for digest in state.digests.values() if isinstance(digest, kind)), None)


def structures_to_label(state: WorkflowState) -> tuple[Structure, ...]:
    """What this cycle's Generation or Selection wants labelled, and what people added since."""
    return (*_chosen(state), *state.to_label)


def _chosen(state: WorkflowState) -> tuple[Structure, ...]:
    source = digest_of(state, GenerationDigest) or digest_of(state, SelectionDigest)
    return source.structures if source else ()


def next_phase(state: WorkflowState) -> Phase | None:
    """The phase to plan now; None closes the cycle. What has nothing to work on is passed over."""
    phase = next_in_flow(state)
    if phase is Phase.CALCULATION and not structures_to_label(state) and not state.tasks:
        return None
    if phase is Phase.TRAINING:
        labels = digest_of(state, CalculationDigest)
        return phase if labels and labels.labels else None
    return phase


def is_phase_over(state: WorkflowState, policy: Policy, now: datetime) -> bool:
    """Whether a phase can be digested: its tasks ended, or a Calculation round closes without some.

    Labels that are late wait for nobody and nobody for them, unless there is nothing else in the
    round. No round closes without its isolated atoms: the first fit begins from their energies; nor
    before a check that is still to come: it may show that oracle or the user's labels are wrong.
    """
    counted = census(state)
    members = counted.own
    if state.current_phase is Phase.CALCULATION and not any(members.values()):
        members = counted.late
    size, done = sum(members.values()), members[TaskStatus.DONE]
    if size == sum(members[status] for status in ENDED):
        return True
    if state.current_phase is not Phase.CALCULATION or not done:
        return False
    if first := {**property_tasks(state), **check_tasks(state)}:  # no fit can be made of them
        if any(record.status not in ENDED for record in first.values()):
            return False
        size -= len(first)
        done -= sum(record.status is TaskStatus.DONE for record in first.values())
        if not done:
            return False
    closes_at = round_deadline(state, policy)
    enough = done >= policy.round_quorum * size or (closes_at is not None and now >= closes_at)
    return enough and all(
        record.status in ENDED or not _isolated_atom(record) for record in state.own_tasks
    )


def round_deadline(state: WorkflowState, policy: Policy) -> datetime | None:
    """When the current Calculation round closes, if it has a label by then; None: never by time."""
    if state.current_phase is not Phase.CALCULATION or state.stage is not Stage.WORKING:
        return None
    if policy.round_deadline is None or state.phase_started_at is None:
        return None
    return state.phase_started_at + policy.round_deadline


def may_try_again(record: TaskRecord, attempts_max: int) -> bool:
    """Whether a failed task gets another attempt.

    Attempts that brought it farther than ever before are not counted, nor are those that were not
    its fault. What a person has cancelled gets none.
    """
    if record.cancelled:
        return False
    vain = [failure for failure in _in_vain(record) if MENDERS[failure.reason] is Mender.TASK]
    if not record.failures or MENDERS[record.failures[-1].reason] is not Mender.TASK:
        return True
    if len(vain) >= attempts_max:
        return False
    last = record.failures[-1].reason
    bound = ATTEMPTS_MAX[last]
    return bound is None or sum(failure.reason is last for failure in vain) < bound


def resources_for(
    record: TaskRecord, of_phases: Mapping[Phase, Resources] | None = None
) -> Resources:
    """What the next attempt asks for: more memory, or more time, after running out of it.

    Not after a walltime that brought the task on: what is left fits into as much time as it had,
    again and again. `of_phases` is what the site file says today, which may have been mended since
    the task was planned.
    """
    asked = (of_phases or {}).get(record.task.phase, record.task.resources)
    if not record.failures:
        return asked
    reasons = [failure.reason for failure in _in_vain(record)]
    return replace(
        asked,
        memory_mib=round(asked.memory_mib * _MEMORY_FACTOR ** reasons.count(Reason.OUT_OF_MEMORY)),
        walltime_s=asked.walltime_s * _WALLTIME_FACTOR ** reasons.count(Reason.TIMEOUT),
    )


def _in_vain(record: TaskRecord) -> list[Failure]:
    """The attempts that left their task no nearer to its end than it had been before them."""
    reached, vain = 0.0, []
    for failure in record.failures:
        if failure.reached > reached:
            reached = failure.reached
        else:
            vain.append(failure)
    return vain


def quorum_lost(state: WorkflowState, quorum: float) -> str | None:
    """Why the phase cannot give what the cycle needs, in words; None while it still can."""
    counted = census(state)
    given_up, size = counted.given_up, sum(counted.own.values())
    for record in given_up:
        if atom := _isolated_atom(record):
            message = _last_message(record)
            return (
                f"{record.task.id} ({atom.origin}) failed for good, and every fit needs its"
                f" energy: {message}"
            )
    if not given_up or size - len(given_up) >= quorum * size:
        return None
    last = given_up[-1]
    return (
        f"{len(given_up)} of {size} tasks of {state.current_phase} in cycle {state.cycle_index}"
        f" failed for good, and a quorum of {quorum:.0%} is out of reach. The last was"
        f" {last.task.id}: {_last_message(last)}"
    )


def _last_message(record: TaskRecord) -> str:
    return record.failures[-1].message if record.failures else "no reason recorded"


def _isolated_atom(record: TaskRecord) -> CalculateParameters | None:
    """What the task is asked to do, if its label is to be a reference energy."""
    parameters = record.task.parameters
    if isinstance(parameters, CalculateParameters) and parameters.role is Role.ISOLATED_ATOM:
        return parameters
    return None


def closed(state: WorkflowState, policy: Policy) -> CycleSummary:
    """The current cycle, whose last phase has ended.

    With it comes what was needed of its errors and what it calls for.
    """
    summary = summarise(state)
    cycles, rules = (*state.cycles, summary), policy.convergence
    remedy = remedy_of(cycles, rules, policy.basis)
    return summary.model_copy(update={"needs": needs_of(cycles, rules), "remedy": remedy})


def summarise(state: WorkflowState) -> CycleSummary:
    """Fold the current cycle, whose last phase has ended."""
    exploration = digest_of(state, ExplorationDigest)
    calculation = digest_of(state, CalculationDigest)
    training = digest_of(state, TrainingDigest)
    labels = calculation.labels if calculation else ()
    return CycleSummary(
        cycle=state.cycle_index,
        bootstrap=is_bootstrap(state) or digest_of(state, GenerationDigest) is not None,
        walkers=len(exploration.walkers) if exploration else 0,
        halts=exploration.halts if exploration else 0,
        quiet=exploration.quiet if exploration else False,
        levels=exploration.levels if exploration else None,
        loud=exploration.loud if exploration else 0,
        gamma_completed_max=exploration.gamma_completed_max if exploration else None,
        gamma_exploded_min=exploration.gamma_exploded_min if exploration else None,
        candidates=sum(structure.role is Role.TRAIN for structure in _chosen(state)),
        labels_train=sum(label.role is Role.TRAIN for label in labels),
        labels_test=sum(label.role is Role.TEST for label in labels),
        adopted_train=calculation.adopted.train if calculation and calculation.adopted else 0,
        adopted_test=calculation.adopted.test if calculation and calculation.adopted else 0,
        labels_failed=calculation.failed if calculation else 0,
        promoted=training.promoted if training else False,
        potential=training.potential.file if training and training.promoted else None,
        test=training.potential.test if training else None,
        test_of_current=training.test_of_current if training else None,
        test_of_first=training.history[0].errors if training and training.history else None,
        gate=training.verdict if training else None,
        gate_message=training.gate if training else "",
        calibration=training.calibration if training else (),
        functions=training.functions if training else None,
        walked=exploration.conditions if exploration else (),
        conditions=training.conditions if training else (),
        lessons=training.lessons if training else (),
    )


def verdict_of(state: WorkflowState, rules: ConvergenceSection) -> tuple[Verdict, str] | None:
    """The campaign's end and its reason in words, or None while it goes on.

    It is asked between two cycles.
    """
    cycles = state.cycles[state.first_cycle :]
    if cycles and state.potential is None:
        return Verdict.FAILED, "the bootstrap cycle gave no potential"
    asked = state.cycles[max(state.first_cycle, state.quiet_from) :]
    for judge, of_these in ((_quiet, asked), (_stalled, cycles), (_spent, cycles)):
        if (answer := judge(of_these, rules)) is None:
            continue
        if answer[0] in {Verdict.CONVERGED, Verdict.INACCURATE} and (state.tasks or state.to_label):
            continue  # labels that were asked for have not been learned from
        return answer
    return None


# The bootstrap cycle needs no special case below: it is never quiet, and it promotes.


def _quiet(cycles: Sequence[CycleSummary], rules: ConvergenceSection) -> tuple[Verdict, str] | None:
    """Converged if quiet, settled and right; inaccurate if quiet and coming no nearer to right."""
    last = cycles[-rules.quiet_cycles :]
    if len(last) < rules.quiet_cycles or not all(cycle.quiet for cycle in last):
        return None
    settled = settled_text(cycles[-1], rules)
    if settled is None:
        return None
    walkers = sum(cycle.walkers for cycle in last)
    whose = "the one walker" if walkers == 1 else f"all {walkers} walkers"
    when = "the last cycle" if len(last) == 1 else f"the last {len(last)} cycles"
    quiet = f"{whose} of {when} completed without a halt"
    if lack := shortcoming_of(cycles, rules):
        return _inaccurate(cycles, rules, lack, quiet)
    return Verdict.CONVERGED, f"{quiet}, and {settled}{_right_text(cycles, rules)}"


def _inaccurate(
    cycles: Sequence[CycleSummary], rules: ConvergenceSection, lack: Shortcoming, quiet: str
) -> tuple[Verdict, str] | None:
    if not no_nearer(cycles, rules):
        return None
    remedy = cycles[-1].remedy
    message = remedy.message if remedy else lack.message
    number = (
        f"for {rules.inaccurate_cycles} cycles it has come no nearer"
        if rules.inaccurate_cycles > 1
        else "so it is"
    )
    return (
        Verdict.INACCURATE,
        f"{quiet}, but the potential is not as right as asked: {message}. {number.capitalize()}",
    )


def _right_text(cycles: Sequence[CycleSummary], rules: ConvergenceSection) -> str:
    """How many needs are met; without needs, what the gate had to say."""
    if rules.needs is not None:
        return f"; all errors are below their needs at {rules.needs.confidence:.0%} confidence"
    condition = gate_condition(cycles)
    return f"; the gate let the potential pass on a condition: {condition}" if condition else ""


def _stalled(
    cycles: Sequence[CycleSummary], rules: ConvergenceSection
) -> tuple[Verdict, str] | None:
    last = cycles[-rules.stalled_cycles :]
    if len(last) < rules.stalled_cycles or any(cycle.quiet or cycle.promoted for cycle in last):
        return None
    return (
        Verdict.STALLED,
        f"{len(last)} cycles in a row met the unknown and none gave a better potential",
    )


def _spent(cycles: Sequence[CycleSummary], rules: ConvergenceSection) -> tuple[Verdict, str] | None:
    labels = sum(cycle.labels_train + cycle.labels_test for cycle in cycles)
    learning = sum(not cycle.bootstrap for cycle in cycles)
    if rules.labels_max is not None and labels >= rules.labels_max:
        message = f"{labels} labels were made, {rules.labels_max} are allowed"
    elif learning >= rules.cycles_max:
        message = f"{learning} cycles were run, {rules.cycles_max} are allowed"
    else:
        return None
    lack = shortcoming_of(cycles, rules)
    return Verdict.BUDGET_EXHAUSTED, f"{message}; {lack.message}" if lack else message


def settled_text(cycle: CycleSummary, rules: ConvergenceSection) -> str | None:
    """How this cycle's fit moved the force error on the same test set; None if it moved too far."""
    if cycle.test is None or cycle.test_of_current is None:
        return "no new label asked for another fit"
    before = cycle.test_of_current.force_mev_per_angstrom
    change = abs(cycle.test.force_mev_per_angstrom - before)
    allowed = max(rules.force_change_max * before, rules.force_change_max_mev_per_angstrom)
    if change > allowed:
        return None
    return f"the test force error moved by {change:.1f} meV/Å (at most {allowed:.1f} allowed)"
