"""The state as a JSON file, for people and tools to read. The journal is the truth; this is a cache of it."""

import json
from pathlib import Path

from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import OperatorError, StateUnreadable
from mlip_autopipec.journal.durable import replace_file
from mlip_autopipec.journal.records import first_fault


def save_state(path: Path, state: WorkflowState) -> None:
    """Put the state in place, durably; whoever reads sees the old one or the new. Raises OperatorError."""
    try:
        replace_file(path, state.model_dump_json(indent=2).encode() + b"\n")
    except OSError as error:
        raise OperatorError(
            f"The state cannot be saved as {path}: {error}. Nothing is lost: the journal has it."
        ) from error


def load_state(path: Path) -> WorkflowState:
    """Read a saved state. Raises StateUnreadable if there is none, or none that this program can read."""
    try:
        fields = json.loads(path.read_bytes())
        if isinstance(fields, dict):
            # Computed fields are in the file for its readers; they follow from the rest.
            fields = {name: value for name, value in fields.items() if name not in WorkflowState.model_computed_fields}
        return WorkflowState.model_validate(fields)
    except OSError as error:
        raise StateUnreadable(f"There is no saved state to be read: {error}. The daemon writes one.") from error
    except ValueError as error:
        raise StateUnreadable(
            f"{path} is no saved state that this program can read: {first_fault(error)}. "
            "It is only a copy of what the journal holds: remove it, and the daemon writes it anew."
        ) from error
