"""WorkflowState.check: each invariant is seen where it does not hold, and none where all do."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pytest

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.state import (
    BatchStatus,
    Deferral,
    Stage,
    TaskRecord,
    TaskStatus,
    WorkflowState,
)
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

NOW = datetime(2030, 1, 1, tzinfo=UTC)
Changes = Callable[[WorkflowState], Mapping[str, object]]


def working() -> WorkflowState:
    """A Calculation round: one batch, its first task done, its second failed, its third at work."""
    config = copper_config()
    campaign = Walk(config, phase_runners(config))
    batch = campaign.submitted(Phase.CALCULATION)
    return campaign.tell(
        campaign.ended(batch.job_name, 0), campaign.ended(batch.job_name, 1, Reason.NUMERICAL)
    )


def test_a_state_that_evolve_gave_is_sound() -> None:
    """So is the empty one, before there is a campaign."""
    assert (working().check(), WorkflowState().check()) == ((), ())


def _task(number: int, **changes: object) -> Changes:
    """Change a task by its place in the round."""

    def change(state: WorkflowState) -> Mapping[str, object]:
        name, record = list(state.tasks.items())[number]
        return {"tasks": {**state.tasks, name: record.model_copy(update=changes)}}

    return change


def _batch(**changes: object) -> Changes:
    def change(state: WorkflowState) -> Mapping[str, object]:
        ((job_name, batch),) = state.batches.items()
        return {"batches": {job_name: batch.model_copy(update=changes)}}

    return change


def _put_off(subject: str) -> Changes:
    deferral = Deferral(until=NOW, times=1, message="cut")
    return lambda state: {
        "deferrals": {subject.format(job_name=next(iter(state.batches))): deferral}
    }


def _first(state: WorkflowState) -> tuple[str, TaskRecord]:
    return next(iter(state.tasks.items()))


BROKEN: dict[str, tuple[Changes, str]] = {
    "no name": (lambda _: {"campaign": ""}, "the stage is working, and the campaign is called ''"),
    "a verdict at work": (
        lambda _: {"verdict": Verdict.FAILED},
        "the stage is working, and the verdict is failed",
    ),
    "an end without a verdict": (
        lambda _: {"stage": Stage.ENDED},
        "the stage is ended, and the verdict is None",
    ),
    "no phase at work": (
        lambda _: {"stage": Stage.BETWEEN},
        "the stage is between, and phase calculation is open",
    ),
    "a phase that is over": (
        lambda state: {"digests": {Phase.CALCULATION: next(iter(state.digests.values()))}},
        "phase calculation is not open",
    ),
    "a cycle too many": (
        lambda _: {"cycles": (CycleSummary(cycle=0, bootstrap=True),)},
        "the current cycle is 0, and the closed ones are [0]",
    ),
    "bounds of the future": (
        lambda _: {"first_cycle": 2},
        "convergence counts from cycle 2, and the current one is 0",
    ),
    "another name": (
        lambda state: {"tasks": {**state.tasks, "c000.calculation.0099-000000": _first(state)[1]}},
        "is kept under the name c000.calculation.0099-000000",
    ),
    "done without an outcome": (_task(0, outcome=None), "is done without an outcome"),
    "an outcome too early": (_task(0, status=TaskStatus.READY), "is ready with an outcome"),
    "failed without a failure": (_task(1, failures=()), "is failed without a failure"),
    "a job that is over": (
        _task(1, job_state=ev.JobState.RUNNING),
        "is failed, and its job is running",
    ),
    "missed at work": (
        _task(2, job_state=ev.JobState.RUNNING, missing_since=NOW),
        "is missed since 2030-01-01 00:00:00+00:00, and its job is running",
    ),
    "at work elsewhere": (_task(2, index=1), "b00.1 is not its live one"),
    "waiting at work": (_task(2, status=TaskStatus.READY), "is ready, and attempt"),
    "an older phase": (
        lambda _: {"current_phase": Phase.TRAINING, "cycle_index": 0},
        "",  # these are calculations, which may be late
    ),
    "a plan that is over": (
        lambda state: {
            "tasks": {
                **state.tasks,
                "c009.training.0000-000000": TaskRecord(
                    task=_first(state)[1].task.model_copy(
                        update={
                            "id": "c009.training.0000-000000",
                            "phase": Phase.TRAINING,
                            "cycle": 9,
                        }
                    )
                ),
            }
        },
        "task c009.training.0000-000000 is of a phase that is over, and is no calculation",
    ),
    "given up, and done": (
        lambda state: {"quarantine": dict([_first(state)])},
        "of calculation is done, and kept with calculations given up",
    ),
    "given up, and at hand": (
        lambda state: {"quarantine": dict([_first(state)])},
        "is both at hand and given up with an earlier round",
    ),
    "a batch of the dead": (_batch(live=frozenset()), "of 3 tasks has the live attempts []"),
    "a batch of nobody": (
        _batch(live=frozenset({2, 7})),
        "of 3 tasks has the live attempts [2, 7]",
    ),
    "another batch": (
        _batch(job_name="x"),
        "batch x is kept under the name copper-3f9a1c.c000.calculation.b00",
    ),
    "accepted by nobody": (_batch(job_id=None), "is accepted, and its job id is None"),
    "unclear, with a job": (
        _batch(status=BatchStatus.UNCLEAR),
        "is unclear, and its job id is 4711",
    ),
    "a task that knows nothing": (_task(2, job_name="x"), "does not know of it"),
    "a batch put off": (_put_off("batch:x"), "batch:x is put off, and there is no such batch"),
    "an end put off": (_put_off("cancel:x"), "cancel:x is put off, and there is no such batch"),
    "an attempt put off": (
        _put_off("attempt:{job_name}.0"),
        "b00.0 is put off, and there is no such live attempt",
    ),
    "a site put off": (
        _put_off("site"),
        "the site's preparation is put off, and the site is prepared",
    ),
}


@pytest.mark.parametrize(("change", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_does_not_hold_is_told(change: Changes, message: str) -> None:
    """In one sentence each, which names the task, the batch or the subject."""
    state = working()
    broken = state.model_copy(update=dict(change(state))).check()
    assert any(message in sentence for sentence in broken) if message else broken == ()
