"""Intents on the site: what a batch is to submit, written beside its files before anything is submitted.

The journal has the same as SubmissionBegun; on the site it lets a person, and `journal rebuild`, tell array indices
from tasks when the journal is gone.
"""

from mlip_autopipec.data_models.base import Model, Place
from mlip_autopipec.data_models.state import Batch


class Intent(Model):
    """The content of `intent.json`."""

    campaign: str
    uid: str
    tasks: tuple[str, ...]
    place: Place = Place.QUEUE


def intent_path(uid: str) -> str:
    """Where the intent to submit a batch lies, relative to the root."""
    return f".ap/submit/{uid}/intent.json"


def intent_file(batch: Batch, campaign: str) -> bytes:
    """The content of an intent."""
    intent = Intent(campaign=campaign, uid=batch.uid, tasks=batch.tasks, place=batch.place)
    return (intent.model_dump_json(indent=1) + "\n").encode()
