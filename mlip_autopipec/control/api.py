"""What the control socket says: documents of `/v1` and errors, as values that both ends share."""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Literal

from pydantic import AwareDatetime, Field

from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.results.train import Errors, PastErrors
from mlip_autopipec.data_models.base import Model, Phase, Verdict
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.events import SiteHealth
from mlip_autopipec.data_models.state import ActiveTask, Pause, Stage, TaskStatus
from mlip_autopipec.errors import OperatorError

#: Version of the routes; in their paths.
API_VERSION = 1


class Info(Model):
    """Who answers."""

    api: Literal[1] = 1
    version: str = Field(description="of the daemon")
    campaign: str
    pid: int


class PotentialBrief(Model):
    """The current potential, as far as a person asks at a glance."""

    cycle: int
    folder: str
    test: Errors
    functions_per_element: dict[str, int] = Field(
        default_factory=dict, description="empty where nobody told"
    )
    cutoff_angstrom: float | None = None
    cost_us: float | None = Field(default=None, description="µs per atom and step on one core")


class Status(Model):
    """The whole campaign at a glance."""

    version: Literal[1] = 1
    campaign: str
    status: str = Field(description="`running`, `paused` or the verdict")
    stage: Stage
    cycle: int
    phase: Phase | None
    verdict: Verdict | None
    verdict_reason: str
    pause: Pause | None
    site: SiteHealth
    site_message: str
    tasks: Mapping[TaskStatus, int] = Field(
        description="of the current phase, by status; every status is there"
    )
    active_tasks: tuple[ActiveTask, ...] = Field(description="the first live attempts")
    active_tasks_count: int = Field(ge=0, description="all live attempts")
    progress: Mapping[str, Progress] = Field(
        default_factory=dict,
        description="of the first running tasks that tell any, by task; as it was at the last poll",
    )
    potential: PotentialBrief | None
    cycles: tuple[CycleSummary, ...]
    measured: tuple[PastErrors, ...] = Field(
        default=(), description="errors of potentials by cycle, all on the test set of the last fit"
    )
    explain: tuple[str, ...] = Field(
        description="what the campaign does and waits for, one sentence each"
    )
    seq: int = Field(ge=0, description="journal sequence number that this document shows")
    now: AwareDatetime
    standstill: str = Field(
        default="",
        description="why this is of the journal alone, and of when; empty in a daemon's own answer",
    )


class Explanation(Model):
    """Why nothing is running, or what is."""

    version: Literal[1] = 1
    lines: tuple[str, ...]
    seq: int


class Steer(Model):
    """The body of every steering call."""

    reason: str = Field(default="", max_length=2000)


class Retry(Steer):
    """Which task is to be tried again."""

    task: str = Field(max_length=200)


class Cancel(Steer):
    """Which tasks are to be ended: by name, all of a phase, or all."""

    tasks: tuple[str, ...] = Field(default=(), max_length=500)
    phase: Phase | None = None
    everything: bool = False


class Reload(Steer):
    """Whether the site file is only to be compared."""

    dry_run: bool = False


class SetValue(Steer):
    """Which key of the site file is to have which value, as YAML writes it."""

    key: str = Field(max_length=200)
    value: str = Field(max_length=2000)


class Add(Steer):
    """Structures to be labelled in the next round, or to be walked from."""

    files: tuple[str, ...] = Field(
        min_length=1, max_length=200, description="full paths on the daemon's machine"
    )
    purpose: Literal["label", "walk"] = "label"


class Redo(Steer):
    """Which phase of which cycle is to be done again, and whether that is only to be told."""

    cycle: int = Field(ge=0)
    phase: Phase
    dry_run: bool = False


class Reloaded(Model):
    """What has changed, or would: one line for each key, with the value before and after."""

    version: Literal[1] = 1
    changed: bool = Field(description="False: nothing was taken")
    lines: tuple[str, ...]
    status: str
    seq: int


class Steered(Model):
    """The answer to a steering call; what it says is in the journal.

    `changed` is False if it was so already.
    """

    version: Literal[1] = 1
    changed: bool
    status: str
    seq: int


class ErrorCode(StrEnum):
    """Why a request was refused."""

    BAD_REQUEST = "bad_request"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"  # with how the campaign stands
    TOO_LARGE = "too_large"
    INTERNAL = "internal"
    BUSY = "busy"  # too many clients
    TIMEOUT = "timeout"  # of the daemon's own work; a steering call may still take effect
    SITE = "site"  # it does not answer, or not so that it can be used


HTTP_STATUS: Mapping[ErrorCode, int] = {
    ErrorCode.BAD_REQUEST: HTTPStatus.BAD_REQUEST,
    ErrorCode.DENIED: HTTPStatus.FORBIDDEN,
    ErrorCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ErrorCode.METHOD_NOT_ALLOWED: HTTPStatus.METHOD_NOT_ALLOWED,
    ErrorCode.CONFLICT: HTTPStatus.CONFLICT,
    ErrorCode.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.INTERNAL: HTTPStatus.INTERNAL_SERVER_ERROR,
    ErrorCode.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    ErrorCode.SITE: HTTPStatus.BAD_GATEWAY,
}
_EXIT_CODES: Mapping[ErrorCode, int] = {
    ErrorCode.DENIED: 4,
    ErrorCode.CONFLICT: 5,
    ErrorCode.SITE: 75,
}


class ErrorBody(Model):
    """A refusal in words."""

    code: ErrorCode
    message: str


class ErrorAnswer(Model):
    """The body of every answer that is no success."""

    error: ErrorBody


class Refused(OperatorError):  # noqa: N818 - the name is the fact
    """The daemon, or the way to it, refuses a request: `code` says why.

    The daemon goes on unharmed.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        self.exit_code = _EXIT_CODES.get(code, OperatorError.exit_code)
        super().__init__(message)

    def answer(self) -> ErrorAnswer:
        """The same as it goes over the wire."""
        return ErrorAnswer(error=ErrorBody(code=self.code, message=str(self)))
