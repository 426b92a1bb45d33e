"""What an outcome must hold beyond its shape, so that every reader of the journal can use it. Pure.

The models say which fields there are. Here stands, per kind of task, which artefacts the next phase
needs, and how large a number or a text may be: n_atoms of 10^400 is an integer, and no reader can
divide by it. The bounds are no part of the models, since a journal of an earlier version may hold
what they forbid, and must still be read.
"""

from collections.abc import Iterator
from dataclasses import is_dataclass
from datetime import datetime

from pydantic import BaseModel

from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.trainer import evaluator_of
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import AttemptLost, Event, TaskEnded
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.task import Task

#: Of any count. The largest that a task makes are steps of MD.
INTEGER_MAX = 10**12
#: Of any other number, in its unit: its square, and its ratio to another, are finite.
NUMBER_MAX = 1e100
#: What an error is relative to may not be smaller.
_SCALE_MIN = 1e-12
#: Characters of any text but the message, which the model bounds.
TEXT_MAX = 20_000
_YEARS = range(2000, 2200)
#: What the phase that follows reads.
ARTEFACTS = {
    "generate": (),
    "explore": ("frames",),
    "select": (),
    "calculate": ("label",),
    "train": ("dataset",),
}


def artefacts(task: Task) -> tuple[str, ...]:
    """What an outcome of this task has to bring: of a fit also the files of its potential."""
    named = ARTEFACTS[task.parameters.kind]
    if isinstance(task.parameters, TrainParameters):
        files = evaluator_of(task.parameters.trainer).files
        return (*named, *(f"potential_{each.name}" for each in files))
    return named


def breach(outcome: Outcome, task: Task) -> str | None:
    """What an outcome of `task` breaks of the contract, in words; None if it keeps it."""
    return next(_of_kind(outcome, task), None) or next(_out_of_bounds(outcome, "outcome"), None)


def breach_of_kind(outcome: Outcome, task: Task) -> str | None:
    """The same without a look at every number and text: what a digest can't do without."""
    return next(_of_kind(outcome, task), None)


def readable(event: Event) -> Event:
    """The event, or a loss if its outcome is out of bounds, as an earlier version may have written.

    For a reader of all events that draws and divides.
    """
    if (
        not isinstance(event, TaskEnded)
        or (broken := next(_out_of_bounds(event.outcome, "outcome"), None)) is None
    ):
        return event
    message = f"its outcome is of no use: {broken}"
    outcome = event.outcome
    return AttemptLost(
        at=event.at,
        job_name=outcome.job_name,
        index=outcome.index,
        reason=Reason.BAD_OUTCOME,
        message=message,
    )


def _of_kind(outcome: Outcome, task: Task) -> Iterator[str]:
    if outcome.status != "done":
        return
    if outcome.metrics is None or outcome.metrics.kind != task.parameters.kind:
        yield f"metrics of kind {task.parameters.kind!r} are missing"
    for name in artefacts(task):
        if name not in outcome.artefacts:
            yield (
                f"the artefact {name!r} is missing; there is"
                f" {', '.join(sorted(outcome.artefacts)) or 'none'}"
            )[:500]
    match outcome.metrics:
        case ExploreMetrics(ending=Ending.HALTED, restart_step=int()) if (
            "restart" not in outcome.artefacts
        ):
            yield "a restart_step is given, and the artefact 'restart' is missing"
        case CalculateMetrics(n_atoms=n_atoms) if n_atoms > INTEGER_MAX:
            yield f"n_atoms is above {INTEGER_MAX:.0e}"
        case TrainMetrics(reference_energies_ev=found) if isinstance(
            task.parameters, TrainParameters
        ):
            if missing := [element for element in task.parameters.elements if element not in found]:
                yield f"reference_energies_ev has none of {', '.join(missing)}"
            if any(measure.scale < _SCALE_MIN for measure in outcome.metrics.measures):
                yield f"the scale of a measure is below {_SCALE_MIN:g}"
        case _:
            pass


def _out_of_bounds(value: object, name: str) -> Iterator[str]:
    """Each number, text and moment that is too large for a reader, by the name of its field."""
    match value:
        # a model, or a value of the contract
        case _ if isinstance(value, BaseModel) or is_dataclass(value):
            for field, inner in value.__dict__.items():
                yield from _out_of_bounds(inner, field)
        case dict():
            for key, inner in value.items():
                yield from _out_of_bounds(key, f"a key of {name}")
                yield from _out_of_bounds(inner, name)
        case tuple():
            for inner in value:
                yield from _out_of_bounds(inner, name)
        case _:
            if broken := _too_large(value):
                yield f"{name} {broken}"


def _too_large(value: object) -> str | None:
    match value:
        case int() if abs(value) > INTEGER_MAX:
            return f"is an integer beyond ±{INTEGER_MAX:.0e}"
        case float() if abs(value) > NUMBER_MAX:
            return f"is a number beyond ±{NUMBER_MAX:g}"
        case str() if len(value) > TEXT_MAX:
            return f"has {len(value)} characters, at most {TEXT_MAX} are allowed"
        case datetime() if value.year not in _YEARS:
            return f"is in the year {value.year}"
        case _:
            return None
