"""What the queue without Slurm says, as values. Pure; nothing in an answer is believed to be as it should be."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import QueuedJob, Sighting
from mlip_autopipec.data_models.words import Words
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import PostMortem


class RunnerAnswer(BaseModel):
    """One answer of the work half's `queue` command; what is not said is None."""

    model_config = ConfigDict(frozen=True)

    accepted: Words | None = None
    rejected: Words | None = None
    unclear: Words | None = None
    void: Words | None = None
    sightings: tuple[Sighting, ...] = ()
    sighting: Sighting | None = None
    jobs: tuple[QueuedJob, ...] = ()
    reason: Words | None = None
    message: Words = ""

    @property
    def post_mortem(self) -> PostMortem:
        """How an attempt ended; a reason that this program does not know is a loss, told with its word."""
        try:
            return PostMortem(Reason(self.reason or ""), self.message)
        except ValueError:
            return PostMortem(Reason.LOST, f"it ended for a reason that is not known, {self.reason!r}: {self.message}")


def read_answer(said: Mapping[str, Any]) -> RunnerAnswer:
    """Raises TransientError, with what is wrong, for an answer that is none of ours."""
    try:
        return RunnerAnswer.model_validate(said)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise TransientError(f"the queue's answer is not as it should be: {where}: {first['msg']}") from error
