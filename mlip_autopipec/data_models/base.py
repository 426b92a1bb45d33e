"""What every model of the project shares.

It is frozen, unknown keys are refused, and the sets of words are closed.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

#: Which fields were given, in every combination that was met. pydantic keeps such a set with each
#: value, of 216 to 728 bytes: a fifth of the memory of a daemon with 10,000 live tasks. Values
#: never change, so equal sets are shared.
_GIVEN: dict[frozenset[str], set[str]] = {}
#: So many combinations are kept: what comes from outside may make any.
_GIVEN_MAX = 4096


def _shared(given: set[str]) -> set[str]:
    """The one set that is equal to this one."""
    key = frozenset(given)
    return _GIVEN.setdefault(key, given) if len(_GIVEN) < _GIVEN_MAX else _GIVEN.get(key, given)


class Model(BaseModel):
    """A value: it never changes, and it takes no key that it does not know."""

    #: An alias is the key of a field in files and answers: what was written before a field had its
    #: name of now is read, and written, as it was.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_by_name=True,
        serialize_by_alias=True,
    )

    def model_post_init(self, _: object, /) -> None:
        """Share the set of the fields that were given."""
        object.__setattr__(self, "__pydantic_fields_set__", _shared(self.__pydantic_fields_set__))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's own, in a fifth of the time: a replay makes seven for each event.

        With no extra fields and no private ones, a value is its fields and which of them were
        given.
        """
        if deep:
            return super().model_copy(update=update, deep=True)
        given, before = update or {}, self.__pydantic_fields_set__
        copy = self.__class__.__new__(self.__class__)
        object.__setattr__(copy, "__dict__", {**self.__dict__, **given})
        after = before if given.keys() <= before else _shared(before | given.keys())
        object.__setattr__(copy, "__pydantic_fields_set__", after)
        object.__setattr__(copy, "__pydantic_extra__", None)
        object.__setattr__(copy, "__pydantic_private__", None)
        return copy


class Phase(StrEnum):
    """The five phases of a cycle; the values name folders and keys of site.yaml."""

    GENERATION = "generation"
    EXPLORATION = "exploration"
    SELECTION = "selection"
    CALCULATION = "calculation"
    TRAINING = "training"


class RunsOn(StrEnum):
    """Where a batch runs."""

    QUEUE = "queue"  # whatever site.scheduler is
    LOGIN = "login"  # on the machine that the transport leads to, with no job in between


class Verdict(StrEnum):
    """How a campaign ends."""

    CONVERGED = "converged"
    BUDGET_EXHAUSTED = "budget_exhausted"
    STALLED = "stalled"
    INACCURATE = "inaccurate"  # quiet, and not as right as was asked
    FAILED = "failed"


class Reason(StrEnum):
    """Why an attempt ended without its result: one word per remedy."""

    NUMERICAL = "numerical"  # the code ran and gave no usable numbers
    BAD_INPUT = "bad_input"  # the task cannot be done as it was asked
    CRASHED = "crashed"  # the code or the payload died by itself
    TIMEOUT = "timeout"  # the scheduler's walltime
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAILURE = "node_failure"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"  # by a person
    LOST = "lost"  # gone, and nobody knows why
    BAD_OUTCOME = "bad_outcome"  # its outcome contradicts itself
    REJECTED = "rejected"  # the scheduler refused it for good
    STORAGE = "storage"  # the site's file system: full, over quota, read-only, stale or failing
    NODE_UNFIT = (
        "node_unfit"  # it ended before the work half began, or the node cannot run the code
    )
    ACCESS = "access"  # a ticket, token or permission that a person must renew


class Mender(StrEnum):
    """Who can mend a failure."""

    SITE = "site"  # it passes: waited for, and it counts against no task
    NODE = "node"  # the node is excluded for a while, and it counts against no task
    PERSON = "person"  # the campaign pauses with the reason and the remedy
    TASK = "task"  # the task has a bounded number of attempts
    PROGRAM = "program"  # a bug of this program: the daemon ends with 70
