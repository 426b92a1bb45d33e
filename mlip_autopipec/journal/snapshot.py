"""JSON caches of the state: `state.json` for people and tools, `snapshot.json` for the next start.

The journal is the truth. A snapshot lets a start fold only what came after it; every line of the
journal is checked all the same. It is believed if it is whole (sha256), was made by this very
program, and names the crc that its record has in the journal; else it is passed over, and
everything is folded anew.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_core import to_json

from mlip_autopipec.data_models import events
from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.writing import json_of
from mlip_autopipec.errors import OperatorError, StateUnreadable
from mlip_autopipec.journal import upcast
from mlip_autopipec.journal.durable import replace_file
from mlip_autopipec.journal.records import first_fault
from mlip_autopipec.orchestration import lives, machine

_SNAPSHOT = "snapshot.json"
_DIGEST_LENGTH = hashlib.sha256().digest_size * 2 + 1
_STORED = tuple(WorkflowState.model_fields)
_COMPUTED = tuple(WorkflowState.model_computed_fields)
#: How `state.json` begins.
_HEAD = re.compile(rb'\{\s*"version":\s*1,\s*"seq":\s*(\d+),')
_HEAD_BYTES = 200
_REMEDY = "It is only a copy of what the journal holds: remove it, and the daemon writes it anew."
_PIECE_BYTES = 2**18


def save_state(path: Path, state: WorkflowState) -> None:
    """Put the state in place, durably.

    Whoever reads sees the old one or the new. Raises OperatorError.
    """
    try:
        replace_file(path, _gathered(_json(state, (*_STORED, *_COMPUTED))))
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
    head = b'{"program":"%b","crc":"%08x","state":' % (program().encode(), crc)
    body = [head, *_gathered(_json(state, _STORED)), b"}"]
    digest = hashlib.sha256()
    for piece in body:
        digest.update(piece)
    replace_file(folder / _SNAPSHOT, [digest.hexdigest().encode(), b" ", *body])


def load_snapshot(folder: Path) -> Snapshot | None:
    """The snapshot in a journal's folder, if one can be believed so far.

    Its crc is not looked at.
    """
    try:
        with (folder / _SNAPSHOT).open("rb") as file:
            digest, body = file.read(_DIGEST_LENGTH), file.read()
        snapshot = Snapshot.model_validate_json(body)
    except (OSError, ValueError):  # it is a cache: what cannot be read is not there
        return None
    sound = (
        digest == hashlib.sha256(body).hexdigest().encode() + b" " and snapshot.program == program()
    )
    return snapshot if sound else None


@cache
def program() -> str:
    """One name for the code that makes states of events.

    Another one may make other states of them.
    """
    sources = [
        Path(machine.__file__),
        Path(lives.__file__),
        Path(upcast.__file__),
        *sorted(Path(events.__file__).parent.glob("*.py")),
    ]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def _json(state: WorkflowState, names: Iterable[str]) -> Iterator[bytes]:
    """The state as JSON, each task on a line of its own and written by itself."""
    for number, name in enumerate(names):
        yield (b",\n  " if number else b"{\n  ") + to_json(name) + b": "
        value = getattr(state, name)
        if not value or not isinstance(value, Mapping | tuple):
            yield json_of(value)
            continue
        opening, closing = (b"{", b"}") if isinstance(value, Mapping) else (b"[", b"]")
        for index, item in enumerate(value):
            yield (b",\n    " if index else opening + b"\n    ")
            if isinstance(value, Mapping):
                yield to_json(str(item)) + b": " + json_of(value[item])
            else:
                yield json_of(item)
        yield b"\n  " + closing
    yield b"\n}\n"


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that are worth a write."""
    waiting, size = [], 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def saved_seq(path: Path) -> int:
    """Of which event a saved state is, without reading all of it.

    Raises StateUnreadable if it does not say.
    """
    with path.open("rb") as file:
        head = _HEAD.match(file.read(_HEAD_BYTES))
    if head is None:
        raise StateUnreadable(
            f"{path} is no saved state that this program can read: it does not begin as one."
            f" {_REMEDY}"
        )
    return int(head[1])


def load_state(path: Path) -> WorkflowState:
    """Read a saved state.

    Raises StateUnreadable if there is none, or none that this program can read.
    """
    try:
        fields = json.loads(path.read_bytes())
        if isinstance(fields, dict):
            # Computed fields are in the file for its readers; they follow from the rest.
            fields = {name: value for name, value in fields.items() if name not in _COMPUTED}
        return WorkflowState.model_validate(fields)
    except OSError as error:
        raise StateUnreadable(
            f"There is no saved state to be read: {error}. The daemon writes one."
        ) from error
    except ValueError as error:
        raise StateUnreadable(
            f"{path} is no saved state that this program can read: {first_fault(error)}. {_REMEDY}"
        ) from error
