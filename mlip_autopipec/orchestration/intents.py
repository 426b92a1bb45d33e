"""Intents on the site: what a batch will submit, written beside its files before any submission.

The journal has the same as SubmissionBegun; on the site it lets a person, and `journal rebuild`,
tell array indices from tasks when the journal is gone.
"""

from pydantic import Field

from mlip_autopipec.data_models.base import Model, RunsOn
from mlip_autopipec.data_models.state import Batch


class Intent(Model):
    """The content of `intent.json`."""

    campaign: str
    job_name: str = Field(alias="uid")
    tasks: tuple[str, ...]
    runs_on: RunsOn = Field(default=RunsOn.QUEUE, alias="place")


def intent_path(job_name: str) -> str:
    """Where the intent to submit a batch lies, relative to the root."""
    return f".ap/submit/{job_name}/intent.json"


def intent_file(batch: Batch, campaign: str) -> bytes:
    """The content of an intent."""
    intent = Intent(
        campaign=campaign, job_name=batch.job_name, tasks=batch.tasks, runs_on=batch.runs_on
    )
    return (intent.model_dump_json(indent=1) + "\n").encode()
