"""What holds in every state that a campaign can reach.

Each property is first shown to catch a planted bug.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import cast

import pytest
from kit.random_walk import (
    Check,
    holds,
    late_news,
    perfect_journal,
    perfect_states,
    random_steps,
)

from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.data_models.events import EVENT_ADAPTER
from mlip_autopipec.data_models.state import BatchStatus, TaskStatus, WorkflowState
from mlip_autopipec.errors import IllegalTransition
from mlip_autopipec.orchestration.census import Census, census
from mlip_autopipec.orchestration.decide import decide, next_deadline
from mlip_autopipec.orchestration.explain import explain
from mlip_autopipec.orchestration.lives import BATCH_LIFE, TASK_LIFE
from mlip_autopipec.orchestration.machine import evolve, is_stale
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.testing.walk import Walk

MOMENT = timedelta(microseconds=1)
YEAR = timedelta(days=365)
Decide = Callable[[WorkflowState, Policy, datetime], tuple[cm.Command, ...]]
Deadline = Callable[[WorkflowState, Policy, datetime], datetime | None]
Evolve = Callable[[WorkflowState, ev.Event], WorkflowState]
Explain = Callable[[WorkflowState, Policy, datetime], tuple[str, ...]]


# --- the properties, each over the function that it judges ----------------------------------------


def one_command_per_subject(decide_: Decide) -> Check:
    """No two commands of one answer have the same subject."""

    def check(campaign: Walk) -> None:
        subjects = [
            command.subject for command in decide_(campaign.state, campaign.policy, campaign.now)
        ]
        assert len(subjects) == len(set(subjects))

    return check


def a_pause_holds_back_submission_only(decide_: Decide) -> Check:
    """The same state, paused and not paused, differs only in what submits and in what pauses."""

    def check(campaign: Walk) -> None:
        pause = WorkflowState().pause
        free = decide_(
            campaign.state.model_copy(update={"pause": pause}), campaign.policy, campaign.now
        )
        by = ev.Actor(uid=0, pid=1)
        paused_state = evolve(campaign.state, ev.Paused(at=campaign.now, by=by))
        paused = decide_(paused_state, campaign.policy, campaign.now)
        assert paused == tuple(
            each
            for each in free
            if not isinstance(each, (cm.BeginBatch, cm.SubmitBatch, cm.PauseCampaign))
        )

    return check


def deferrals_are_respected(decide_: Decide) -> Check:
    """No command is asked for whose subject is put off."""

    def check(campaign: Walk) -> None:
        put_off = {
            subject
            for subject, each in campaign.state.deferrals.items()
            if campaign.now < each.until
        }
        commands = decide_(campaign.state, campaign.policy, campaign.now)
        assert put_off.isdisjoint(command.subject for command in commands)

    return check


def deadlines_are_sound(deadline: Deadline) -> Check:
    """Decide gives the same answer from now to just before the deadline; without one, for ever."""

    def check(campaign: Walk) -> None:
        until = deadline(campaign.state, campaign.policy, campaign.now)
        assert until is None or until > campaign.now
        span = (until - MOMENT if until else campaign.now + YEAR) - campaign.now
        answers = {
            decide(campaign.state, campaign.policy, campaign.now + span * part)
            for part in (0, 0.3, 0.9, 1)
        }
        assert len(answers) == 1

    return check


def evolve_is_total_and_pure(evolve_: Evolve) -> Check:
    """Any event at all gives a state or IllegalTransition, and the state it met stays as it was."""

    def check(campaign: Walk) -> None:
        before = campaign.state.model_dump_json()
        for event in perfect_journal()[campaign.state.seq % 7 :: 7]:
            try:
                after = evolve_(campaign.state, event)
            except IllegalTransition:
                continue
            assert after.seq == campaign.state.seq + 1
        assert campaign.state.model_dump_json() == before

    return check


def everything_is_explained(explain_: Explain) -> Check:
    """There is always a first sentence.

    Commands that are due, batches, orphans and what is held are named.
    """

    def check(campaign: Walk) -> None:
        lines = explain_(campaign.state, campaign.policy, campaign.now)
        assert all(lines)
        said = "\n".join(lines)
        for command in campaign.commands():
            assert f"{command.type} ({command.subject})" in said
        for job_name in campaign.state.batches:
            assert job_name in said
        for job in campaign.state.orphans:
            assert f"scancel {job.job_id}" in said
        for record in campaign.state.tasks.values():
            assert record.job_state is not ev.JobState.HELD or "will not start by itself" in said

    return check


def no_label_is_lost_or_named_twice(evolve_: Evolve) -> Check:
    """A label that was made waits for a round or is named by one; never both, neither or twice."""

    def check(campaign: Walk) -> None:
        found = campaign.events[1:]
        state = perfect_states()[campaign.state.seq - len(found) - 1]
        try:
            state = reduce(evolve_, found, state)
        except IllegalTransition as error:
            raise AssertionError("the labels that a round names are gone") from error
        named = Counter(
            label.task
            for event in found
            if isinstance(event, ev.PhaseEnded) and isinstance(event.digest, CalculationDigest)
            for label in event.digest.labels
        )
        for event in found:
            if isinstance(event, ev.TaskEnded) and isinstance(
                event.outcome.metrics, CalculateMetrics
            ):
                assert (event.outcome.task in state.tasks) + named[event.outcome.task] == 1

    return check


def the_census_counts_every_task(census_: Callable[[WorkflowState], Census]) -> Check:
    """One pass over the tasks says what one question after another would.

    Each live attempt is in one batch's count.
    """

    def check(campaign: Walk) -> None:
        state, counted = campaign.state, census_(campaign.state)
        assert counted.own == {
            status: sum(own_task.status is status for own_task in state.own_tasks)
            for status in TaskStatus
        }
        assert counted.late == {
            status: sum(late_task.status is status for late_task in state.late_tasks)
            for status in TaskStatus
        }
        submitted = [task for task in state.tasks.values() if task.status is TaskStatus.SUBMITTED]
        assert counted.missing == tuple(
            item for item in submitted if item.missing_since is not None
        )
        assert counted.held == tuple(
            item for item in submitted if item.job_state is ev.JobState.HELD
        )
        assert counted.given_up == tuple(
            own_task for own_task in state.own_tasks if own_task.status is TaskStatus.QUARANTINED
        )
        waiting = {TaskStatus.READY, TaskStatus.FAILED}
        assert counted.open == tuple(
            task for task in state.tasks.values() if task.status in waiting
        )
        live = Counter(
            (job_name, state.tasks[batch.tasks[index]].job_state)
            for job_name, batch in state.batches.items()
            for index in batch.live
        )
        assert counted.seen == live

    return check


def no_state_contradicts_itself(evolve_: Evolve) -> Check:
    """Every invariant holds."""

    def check(campaign: Walk) -> None:
        *_, after = _last_step(campaign, evolve_)
        assert after.check() == ()

    return check


def every_step_is_in_the_tables(evolve_: Evolve) -> Check:
    """No task and no batch gets another status than its table has for the event."""

    def check(campaign: Walk) -> None:
        before, event, after = _last_step(campaign, evolve_)
        for kind, status, then in steps(before, after):
            rows = TASK_LIFE if kind == "task" else BATCH_LIFE
            assert status is then or then in rows[status].get(type(event), ())  # type: ignore[index]

    return check


def _last_step(campaign: Walk, evolve_: Evolve) -> tuple[WorkflowState, ev.Event, WorkflowState]:
    """The last event told of this walk, with what was before it and what `evolve_` makes of it."""
    found = campaign.events[1:]
    if not found:
        return campaign.state, campaign.events[0], campaign.state
    before = reduce(evolve, found[:-1], perfect_states()[campaign.state.seq - len(found) - 1])
    return before, found[-1], evolve_(before, found[-1])


def steps(before: WorkflowState, after: WorkflowState) -> Iterator[tuple[str, object, object]]:
    """Of each task and batch: which it is, the status that it had, and that which it has."""
    had, has = ({**state.quarantine, **state.tasks} for state in (before, after))
    for name in {**had, **has}:
        yield (
            "task",
            had[name].status if name in had else None,
            has[name].status if name in has else None,
        )
    for job_name in {**before.batches, **after.batches}:
        was, then = before.batches.get(job_name), after.batches.get(job_name)
        yield "batch", was and was.status, then and then.status


# --- planted bugs ---------------------------------------------------------------------------------


def _asks_twice(state: WorkflowState, policy: Policy, now: datetime) -> tuple[cm.Command, ...]:
    commands = decide(state, policy, now)
    return (*commands, *(command for command in commands if isinstance(command, cm.QuarantineTask)))


def _rests_while_paused(
    state: WorkflowState, policy: Policy, now: datetime
) -> tuple[cm.Command, ...]:
    return () if state.pause else decide(state, policy, now)


def _works_while_paused(
    state: WorkflowState, policy: Policy, now: datetime
) -> tuple[cm.Command, ...]:
    return decide(state.model_copy(update={"pause": None}), policy, now)


def _cannot_wait(state: WorkflowState, policy: Policy, now: datetime) -> tuple[cm.Command, ...]:
    return decide(state.model_copy(update={"deferrals": {}}), policy, now)


def _forgets_the_grace(state: WorkflowState, policy: Policy, now: datetime) -> datetime | None:
    return next_deadline(state.model_copy(update={"tasks": {}}), policy, now)


def _forgets_deferrals(state: WorkflowState, policy: Policy, now: datetime) -> datetime | None:
    return next_deadline(state.model_copy(update={"deferrals": {}}), policy, now)


def _a_moment_late(state: WorkflowState, policy: Policy, now: datetime) -> datetime | None:
    deadline = next_deadline(state, policy, now)
    return deadline + MOMENT if deadline else None


def _changes_in_place(state: WorkflowState, event: ev.Event) -> WorkflowState:
    if isinstance(event, ev.TaskEnded):
        cast("dict[str, object]", state.deferrals).clear()
    return evolve(state, event)


def _raises_what_it_likes(state: WorkflowState, event: ev.Event) -> WorkflowState:
    if isinstance(event, ev.TaskEnded):
        assert event.outcome.task in state.tasks
    return evolve(state, event)


def _forgets_late_labels(state: WorkflowState, event: ev.Event) -> WorkflowState:
    after = evolve(state, event)
    if isinstance(event, ev.PhaseEnded):
        left = {name: record for name, record in after.tasks.items() if record.outcome is None}
        return after.model_copy(update={"tasks": left})
    return after


def _keeps_what_was_named(state: WorkflowState, event: ev.Event) -> WorkflowState:
    after = evolve(state, event)
    if isinstance(event, ev.PhaseEnded) and isinstance(event.digest, CalculationDigest):
        return after.model_copy(update={"tasks": state.tasks})
    return after


def _keeps_what_was_put_off(state: WorkflowState, event: ev.Event) -> WorkflowState:
    return evolve(state, event).model_copy(update={"deferrals": state.deferrals})


def _keeps_the_batch(state: WorkflowState, event: ev.Event) -> WorkflowState:
    return evolve(state, event).model_copy(
        update={"batches": {**state.batches, **evolve(state, event).batches}}
    )


def _ends_without_a_result(state: WorkflowState, event: ev.Event) -> WorkflowState:
    after = evolve(state, event)
    tasks = {
        name: record.model_copy(update={"outcome": None}) for name, record in after.tasks.items()
    }
    return after.model_copy(update={"tasks": tasks})


def _works_on_after_the_verdict(state: WorkflowState, event: ev.Event) -> WorkflowState:
    after = evolve(state, event)
    return (
        after.model_copy(update={"stage": state.stage})
        if isinstance(event, ev.VerdictReached)
        else after
    )


def _tries_again_by_itself(state: WorkflowState, event: ev.Event) -> WorkflowState:
    after = evolve(state, event)
    if not isinstance(event, ev.AttemptLost):
        return after
    ready = {
        name: record.model_copy(update={"status": TaskStatus.READY})
        for name, record in after.tasks.items()
    }
    return after.model_copy(update={"tasks": ready})


def _forgets_who_is_late(state: WorkflowState, event: ev.Event) -> WorkflowState:
    after = evolve(state, event)
    return after.model_copy(update={"tasks": {}}) if isinstance(event, ev.PhaseEnded) else after


def _takes_silence_for_acceptance(state: WorkflowState, event: ev.Event) -> WorkflowState:
    after = evolve(state, event)
    if not isinstance(event, ev.SubmissionUnclear):
        return after
    accepted = {
        job_name: batch.model_copy(update={"status": BatchStatus.ACCEPTED})
        for job_name, batch in after.batches.items()
    }
    return after.model_copy(update={"batches": accepted})


def _is_silent_about_batches(
    state: WorkflowState, policy: Policy, now: datetime
) -> tuple[str, ...]:
    return explain(state.model_copy(update={"batches": {}}), policy, now)


def _is_silent_about_orphans(
    state: WorkflowState, policy: Policy, now: datetime
) -> tuple[str, ...]:
    return explain(state.model_copy(update={"orphans": ()}), policy, now)


def _is_silent_about_what_is_held(
    state: WorkflowState, policy: Policy, now: datetime
) -> tuple[str, ...]:
    return tuple(line for line in explain(state, policy, now) if "will not start" not in line)


def _counts_once_for_all(state: WorkflowState) -> Census:
    return census(perfect_states()[min(state.seq, 30)])


def _takes_late_labels_for_its_own(state: WorkflowState) -> Census:
    counted = census(state)
    return replace(
        counted, own={status: counted.own[status] + counted.late[status] for status in TaskStatus}
    )


def _overlooks_what_is_missing(state: WorkflowState) -> Census:
    return replace(census(state), missing=())


@dataclass(frozen=True)
class Property:
    """A check of the real function, and the same check of functions with one mistake each."""

    real: Check
    planted: tuple[Check, ...]


PROPERTIES = {
    "one command per subject": Property(
        one_command_per_subject(decide), (one_command_per_subject(_asks_twice),)
    ),
    "a pause holds back submission only": Property(
        a_pause_holds_back_submission_only(decide),
        (
            a_pause_holds_back_submission_only(_rests_while_paused),
            a_pause_holds_back_submission_only(_works_while_paused),
        ),
    ),
    "deferrals are respected": Property(
        deferrals_are_respected(decide), (deferrals_are_respected(_cannot_wait),)
    ),
    "deadlines are sound": Property(
        deadlines_are_sound(next_deadline),
        (
            deadlines_are_sound(_forgets_the_grace),
            deadlines_are_sound(_forgets_deferrals),
            deadlines_are_sound(_a_moment_late),
        ),
    ),
    "evolve is total and pure": Property(
        evolve_is_total_and_pure(evolve),
        (
            evolve_is_total_and_pure(_changes_in_place),
            evolve_is_total_and_pure(_raises_what_it_likes),
        ),
    ),
    "no label is lost or named twice": Property(
        no_label_is_lost_or_named_twice(evolve),
        (
            no_label_is_lost_or_named_twice(_forgets_late_labels),
            no_label_is_lost_or_named_twice(_keeps_what_was_named),
        ),
    ),
    "no state contradicts itself": Property(
        no_state_contradicts_itself(evolve),
        tuple(
            no_state_contradicts_itself(bug)
            for bug in (
                _keeps_what_was_put_off,
                _keeps_the_batch,
                _ends_without_a_result,
                _works_on_after_the_verdict,
                _keeps_what_was_named,
            )
        ),
    ),
    "every step is in the tables": Property(
        every_step_is_in_the_tables(evolve),
        (
            every_step_is_in_the_tables(_tries_again_by_itself),
            every_step_is_in_the_tables(_takes_silence_for_acceptance),
            every_step_is_in_the_tables(_forgets_who_is_late),
        ),
    ),
    "the census counts every task": Property(
        the_census_counts_every_task(census),
        (
            the_census_counts_every_task(_counts_once_for_all),
            the_census_counts_every_task(_takes_late_labels_for_its_own),
            the_census_counts_every_task(_overlooks_what_is_missing),
        ),
    ),
    "everything is explained": Property(
        everything_is_explained(explain),
        (
            everything_is_explained(_is_silent_about_batches),
            everything_is_explained(_is_silent_about_orphans),
            everything_is_explained(_is_silent_about_what_is_held),
        ),
    ),
}


@pytest.mark.parametrize("prop", PROPERTIES.values(), ids=PROPERTIES.keys())
def test_it_holds_in_every_state(prop: Property) -> None:
    """Random walks through whatever may happen find no state in which it does not."""
    holds(prop.real)


@pytest.mark.parametrize("prop", PROPERTIES.values(), ids=PROPERTIES.keys())
def test_it_catches_a_planted_bug(prop: Property) -> None:
    """The same search finds every one of its planted bugs."""
    for planted in prop.planted:
        with pytest.raises(AssertionError):
            holds(planted, examples=400)  # it ends with the first that shows it


def test_events_and_state_survive_the_journal_s_text() -> None:
    """Every event read back from its JSON is equal, and folds to the same state."""
    events = perfect_journal()
    again = [EVENT_ADAPTER.validate_json(event.model_dump_json()) for event in events]
    assert again == list(events)
    first, second = WorkflowState(), WorkflowState()
    for event, copy in zip(events, again, strict=True):
        first, second = evolve(first, event), evolve(second, copy)
    assert first == second
    assert first.verdict is not None


@pytest.mark.slow
def test_what_comes_late_is_stale_or_allowed() -> None:
    """A person's request or news of the site may meet any later state, a verdict among them."""
    late = [(state, event) for state, event in late_news(30) if not is_stale(state, event)]
    for state, event in late:
        evolve(state, event)  # raises IllegalTransition
    assert {type(event) for _, event in late} >= {ev.TaskRetried, ev.StructuresAdded, ev.TaskEnded}


#: Steps that walks at random come by too seldom; test_lives takes each of them.
RARE = {
    (TaskStatus.SUBMITTED, ev.SubmissionRejected, TaskStatus.READY),
    (TaskStatus.FAILED, ev.Resumed, TaskStatus.READY),
    (TaskStatus.FAILED, ev.Resumed, TaskStatus.FAILED),
    (TaskStatus.DONE, ev.TaskQuarantined, TaskStatus.QUARANTINED),
    (TaskStatus.QUARANTINED, ev.CampaignReopened, TaskStatus.READY),
    (TaskStatus.QUARANTINED, ev.PhaseRedone, TaskStatus.DONE),
    (None, ev.PhaseRedone, TaskStatus.DONE),
    (BatchStatus.BEGUN, ev.AttemptLost, None),
    (BatchStatus.UNCLEAR, ev.SubmissionRejected, None),
    (BatchStatus.UNCLEAR, ev.AttemptLost, BatchStatus.UNCLEAR),
    (BatchStatus.UNCLEAR, ev.AttemptLost, None),
}


@pytest.mark.slow
def test_the_tables_have_no_step_that_is_never_taken() -> None:
    """Random walks take every one of them, but for those that are too rare."""
    taken = {
        (status, type(event), then)
        for before, event, after in random_steps(120)
        for _, status, then in steps(before, after)
    }
    all_steps = {
        (status, event, then)
        for rows in (TASK_LIFE, BATCH_LIFE)
        for status, row in rows.items()
        for event, thens in row.items()
        for then in thens
    }
    assert all_steps - taken <= RARE
    assert all_steps >= RARE
