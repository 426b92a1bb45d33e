"""The state as JSON files, `state.json` for people and tools, `snapshot.json` for the next start. Both are caches.

The journal is the truth. A snapshot lets a start fold only what came after it; every line of the journal is checked
all the same. It is believed if it is whole (sha256), was made by this very program, and names the crc that its record
has in the journal; else it is passed over, and everything is folded anew.
"""

import hashlib
import json
from functools import cache
from pathlib import Path

from pydantic import Field

from mlip_autopipec.data_models import events
from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import OperatorError, StateUnreadable
from mlip_autopipec.journal.durable import replace_file
from mlip_autopipec.journal.records import first_fault
from mlip_autopipec.orchestration import machine

_SNAPSHOT = "snapshot.json"
_COMPUTED = set(WorkflowState.model_computed_fields)


def save_state(path: Path, state: WorkflowState) -> None:
    """Put the state in place, durably; whoever reads sees the old one or the new. Raises OperatorError."""
    try:
        replace_file(path, state.model_dump_json(indent=2).encode() + b"\n")
    except OSError as error:
        raise OperatorError(
            f"The state cannot be saved as {path}: {error}. Nothing is lost: the journal has it."
        ) from error


class Snapshot(Model):
    """A state, and the record after which it was so."""

    program: str = Field(description="sha256 over what decides how events become a state")
    crc: str = Field(pattern=r"^[0-9a-f]{8}$", description="of record state.seq")
    state: WorkflowState


def save_snapshot(folder: Path, state: WorkflowState, crc: int) -> None:
    """Put a snapshot into a journal's folder, durably and at once. Raises OSError."""
    fields = {"program": program(), "crc": f"{crc:08x}"}
    body = Snapshot(state=state, **fields).model_dump_json(exclude={"state": _COMPUTED}).encode()
    replace_file(folder / _SNAPSHOT, hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n")


def load_snapshot(folder: Path) -> Snapshot | None:
    """The snapshot in a journal's folder, if there is one that can be believed so far; its crc is not looked at."""
    try:
        digest, _, body = (folder / _SNAPSHOT).read_bytes().removesuffix(b"\n").partition(b" ")
        snapshot = Snapshot.model_validate_json(body)
    except (OSError, ValueError):  # it is a cache: what cannot be read is not there
        return None
    sound = digest == hashlib.sha256(body).hexdigest().encode() and snapshot.program == program()
    return snapshot if sound else None


@cache
def program() -> str:
    """One name for the code that makes states of events: another one may make other states of them."""
    sources = [Path(machine.__file__), *sorted(Path(events.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def load_state(path: Path) -> WorkflowState:
    """Read a saved state. Raises StateUnreadable if there is none, or none that this program can read."""
    try:
        fields = json.loads(path.read_bytes())
        if isinstance(fields, dict):
            # Computed fields are in the file for its readers; they follow from the rest.
            fields = {name: value for name, value in fields.items() if name not in _COMPUTED}
        return WorkflowState.model_validate(fields)
    except OSError as error:
        raise StateUnreadable(f"There is no saved state to be read: {error}. The daemon writes one.") from error
    except ValueError as error:
        raise StateUnreadable(
            f"{path} is no saved state that this program can read: {first_fault(error)}. "
            "It is only a copy of what the journal holds: remove it, and the daemon writes it anew."
        ) from error
