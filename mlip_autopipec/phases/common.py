"""What the phases share in reading the outcomes of their tasks."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.data_models.outcome import Metrics, Outcome
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import TaskRecord, WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import BugError

M = TypeVar("M", bound=Metrics)


def done(state: WorkflowState, kind: type[M]) -> Iterator[tuple[Task, Outcome, M]]:
    """Task, outcome and metrics of each done task of the current phase, in the plan's order."""
    yield from results(state.own_tasks, kind)


def results(records: Iterable[TaskRecord], kind: type[M]) -> Iterator[tuple[Task, Outcome, M]]:
    """The same of any tasks."""
    for record in records:
        if record.outcome is None:
            continue
        metrics = record.outcome.metrics
        if not isinstance(metrics, kind):
            raise BugError(
                f"{record.task.id} has metrics of kind {metrics.kind if metrics else None}"
            )
        yield record.task, record.outcome, metrics


def artefact(outcome: Outcome, name: str) -> FileRef:
    """One artefact of a done outcome.

    Raises BugError, naming what there is, if the work half left it out.
    """
    try:
        return outcome.artefacts[name]
    except KeyError:
        raise BugError(
            f"{outcome.task} wrote no artefact {name!r}, only {sorted(outcome.artefacts)}"
        ) from None


def current_potential(state: WorkflowState) -> Potential:
    """The potential that Exploration and Selection ask."""
    if state.potential is None:
        raise BugError("no potential has been promoted yet")
    return state.potential


def potential_inputs(potential: Potential, name: str = "potential") -> tuple[Input, ...]:
    """The files that γ needs, which belong together."""
    graded = evaluator_code(potential.evaluator).graded
    return tuple(Input(name=f"{name}_{each}", file=potential.files[each]) for each in graded)
