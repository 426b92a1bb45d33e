"""What a person means by a cancel: names of tasks, and what becomes of them."""

from collections.abc import Sequence

from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.machine import can_cancel

_NAMES_MAX = 5


def cancelled(
    state: WorkflowState, tasks: Sequence[str], phase: Phase | None, *, everything: bool
) -> tuple[str, ...]:
    """The tasks to end, in the plan's order; none where none is at work or all are named twice.

    Raises OperatorError, with what there is, if a task that is named is not at work, or nothing is
    named at all.
    """
    if not (tasks or phase or everything):
        raise OperatorError("name tasks to cancel, or --phase PHASE, or --all")
    open_ = [name for name in state.tasks if can_cancel(state, name)]
    for name in tasks:
        known = state.tasks.get(name)
        if name not in open_ and not (known is not None and known.cancelled):
            there = ", ".join(open_[:_NAMES_MAX]) + (" …" if len(open_) > _NAMES_MAX else "")
            raise OperatorError(
                f"{name} is"
                f" {known.status if known else 'no task of this campaign that is known now'};"
                f" {f'at work or waiting are {there}' if open_ else 'nothing is at work'}"
            )
    return tuple(
        name
        for name in open_
        if everything or name in tasks or (phase and state.tasks[name].task.phase is phase)
    )
