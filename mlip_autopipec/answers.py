"""What each command of autopipecctl answers with `--json`: one model for each, and its JSON schema.

A command that prints a line for each of many things (events, lines of a log) has the model of one
line.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.control.api import Explanation, Reloaded, Status, Steered
from mlip_autopipec.control.task_files import FilePart, TaskListing
from mlip_autopipec.control.tasks import TaskDocument, TaskList
from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.events import Event
from mlip_autopipec.data_models.finding import Finding
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.plan import Plan
from mlip_autopipec.whatif import WhatIf


class NumberedEvent(Model):
    """One event of the journal."""

    seq: int = Field(ge=1, description="journal sequence number")
    event: Event = Field(description="what has happened; `type` says what, and the kinds are many")


class Stopping(Model):
    """The daemon was asked to stop, and is about to."""

    version: Literal[1] = 1
    stopping: Literal[True] = True


class Cancelled(Model):
    """What `cancel --offline` has ended."""

    version: Literal[1] = 1
    tasks: tuple[str, ...]


class Reopened(Model):
    """What `reopen` has written where no daemon runs."""

    version: Literal[1] = 1
    changed: bool = Field(description="false: there was no verdict to go on from")
    seq: int = Field(description="journal sequence number of the last event")


class SiteFileChecked(Model):
    """A site file in order; one that is not ends with 2 and its mistakes on standard error."""

    version: Literal[1] = 1
    path: str
    notes: tuple[str, ...]


class JournalChecked(Model):
    """A journal in figures. One that is damaged ends with 78."""

    version: Literal[1] = 1
    folder: str
    events: int
    bytes: int = Field(description="valid ones, headers included")
    segments: int
    torn_bytes: int = Field(description="at the end, which the next daemon keeps aside")


class ReportWritten(Model):
    """Where a report is."""

    version: Literal[1] = 1
    path: str


class FiguresWritten(Model):
    """Where the figures of a report are: each as SVG, and its numbers as CSV."""

    version: Literal[1] = 1
    files: tuple[str, ...]


#: Command → what it answers. Of a command with two answers, the second stands under its option.
ANSWERS: Mapping[str, Any] = {
    "status": Status,
    "explain": Explanation,
    "tasks": TaskList,
    "task": TaskDocument,
    "plan": Plan,
    "logs --task": FilePart,
    "logs --task --files": TaskListing,
    "events": NumberedEvent,
    "journal tail": NumberedEvent,
    "journal export": NumberedEvent,
    "journal verify": JournalChecked,
    "replay": WorkflowState,
    "doctor": tuple[Finding, ...],
    "pause": Steered,
    "resume": Steered,
    "retry": Steered,
    "cancel": Steered,
    "reload": Reloaded,
    "set": Reloaded,
    "add": Reloaded,
    "restart": Reloaded,
    "skip": Steered,
    "cancel --offline": Cancelled,
    "reopen": Steered | Reopened,
    "stop": Stopping,
    "report": ReportWritten,
    "report --missing": tuple[FileRef, ...],
    "report --figures": FiguresWritten,
    "config check": SiteFileChecked,
    "whatif": WhatIf,
}


def schema_of(command: str) -> dict[str, Any]:
    """The JSON schema of a command's answer. Raises KeyError for a command that has none."""
    schema: dict[str, Any] = TypeAdapter(ANSWERS[command]).json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
