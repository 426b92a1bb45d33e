"""From an outcome file's bytes to an event: the boundary where the work half's word is checked."""

from datetime import datetime

from pydantic import ValidationError

from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import AttemptLost, TaskEnded
from mlip_autopipec.data_models.faults import Heard, fault_of
from mlip_autopipec.data_models.ids import attempt_file
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.orchestration.contract import breach

_TEXT_MAX = 2000


def live_attempts(state: WorkflowState) -> dict[str, tuple[Batch, int]]:
    """Outbox file name → the live attempt it would end."""
    return {
        attempt_file(batch.job_name, index): (batch, index)
        for batch in state.batches.values()
        for index in batch.live
    }


def judge_outcome(
    content: bytes, batch: Batch, index: int, state: WorkflowState, now: datetime
) -> TaskEnded | AttemptLost:
    """What an outcome file means for its attempt.

    One that breaks the contract ends the attempt as `bad_outcome`.
    """
    try:
        outcome = Outcome.model_validate_json(content)
    except ValidationError as error:
        return _bad(batch, index, now, f"its outcome cannot be read: {_message(error)}")
    expected = (state.campaign, batch.tasks[index], batch.job_name, index)
    found = (outcome.campaign, outcome.task, outcome.job_name, outcome.index)
    if found != expected:
        return _bad(batch, index, now, f"its outcome speaks of {found}, expected {expected}")
    task = state.tasks[outcome.task].task
    kind = task.parameters.kind
    if outcome.kind != kind:
        return _bad(
            batch, index, now, f"its outcome is of kind {outcome.kind!r}, expected {kind!r}"
        )
    if broken := breach(outcome, task):
        return _bad(batch, index, now, f"its outcome breaks the contract: {broken}")
    return TaskEnded(at=now, outcome=_sorted(outcome))


def _sorted(outcome: Outcome) -> Outcome:
    """A crash by its words: what ended the code was perhaps the memory, the disk or the node."""
    if outcome.reason is not Reason.CRASHED:
        return outcome
    fault = fault_of(Heard.JOB, outcome.message)
    reason = fault.reason if fault is not None else None
    return outcome if reason is None else outcome.model_copy(update={"reason": reason})


def _bad(batch: Batch, index: int, now: datetime, message: str) -> AttemptLost:
    return AttemptLost(
        at=now,
        job_name=batch.job_name,
        index=index,
        reason=Reason.BAD_OUTCOME,
        message=message[:_TEXT_MAX],
    )


def _message(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'file'}: {item['msg']}"
        for item in error.errors(include_input=False)[:5]
    )
