"""The saved state."""

import json
import stat
from pathlib import Path

import pytest
from kit.journals import NOW, story

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.events import VerdictReached
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import OperatorError, StateUnreadable
from mlip_autopipec.journal.records import Record
from mlip_autopipec.journal.replay import fold
from mlip_autopipec.journal.snapshot import _gathered, load_state, save_state, saved_seq


def states() -> list[WorkflowState]:
    """Every state of the story, one with a potential and one with a verdict."""
    found = [WorkflowState()]
    for event in (*story(), VerdictReached(at=NOW, verdict=Verdict.STALLED, reason="no progress")):
        found.append(fold(found[-1], [Record(found[-1].seq + 1, event)]))
    ref = FileRef(path="potentials/000/x", sha256="f" * 64)
    errors = Errors(structures=3, energy_mev_per_atom=1 / 3, force_mev_per_angstrom=0.1)
    potential = Potential(
        cycle=0,
        folder="potentials/000",
        files={"yaml": ref, "asi": ref, "yace": ref},
        fingerprint="f",
        test=errors,
        reference_energies_ev={"Cu": -3.7},
    )
    return [*found, found[-1].model_copy(update={"potential": potential})]


@pytest.mark.parametrize("state", states(), ids=lambda state: str(state.seq))
def test_a_state_comes_back_as_it_was(tmp_path: Path, state: WorkflowState) -> None:
    """Equal, whatever it holds."""
    path = tmp_path / "state.json"
    save_state(path, state)
    assert state == load_state(path)
    assert saved_seq(path) == state.seq


@pytest.mark.parametrize("state", states(), ids=lambda state: str(state.seq))
def test_it_is_written_as_pydantic_would(tmp_path: Path, state: WorkflowState) -> None:
    """Task by task, each on its line, and yet the same document with its keys in the same order."""
    save_state(tmp_path / "state.json", state)
    text = (tmp_path / "state.json").read_text()
    assert json.dumps(json.loads(text)) == json.dumps(state.model_dump(mode="json"))
    for name in state.tasks:
        assert sum(line.startswith(f'    "{name}": {{') for line in text.splitlines()) == 1


def test_the_file_is_for_people(tmp_path: Path) -> None:
    """In lines, for its owner alone, with what follows from the rest written out.

    Nothing else lies beside it.
    """
    path = tmp_path / "state.json"
    save_state(path, states()[10])
    fields = json.loads(path.read_text())
    assert path.read_text().startswith('{\n  "version": 1,\n')
    assert {"status": "paused", "latest_potential_path": None}.items() <= fields.items()
    assert [task["job_id"] for task in fields["active_tasks"]] == ["1234", "1234"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [path] == list(tmp_path.iterdir())


def test_a_state_replaces_the_one_before(tmp_path: Path) -> None:
    """Also a longer one."""
    for state in (states()[-1], states()[1]):
        save_state(tmp_path / "state.json", state)
        assert state == load_state(tmp_path / "state.json")


def test_a_state_that_cannot_be_saved_leaves_the_one_before(tmp_path: Path) -> None:
    """Whatever stops the writing, the old file is in place, whole, and the operator hears why."""
    path = tmp_path / "state.json"
    save_state(path, states()[1])
    (tmp_path / ".state.json.tmp").mkdir()
    with pytest.raises(OperatorError, match=r"cannot be saved.*Nothing is lost"):
        save_state(path, states()[2])
    assert states()[1] == load_state(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"version":2}',
        b'{"weather":"fine"}',
        b'{"seq":"many"}',
        b'{"cycles":[1]}',
    ],
)
def test_what_is_no_state_is_refused(tmp_path: Path, content: bytes) -> None:
    """Nothing is guessed; the message names the file and says what to do."""
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(StateUnreadable, match=f"{path} is no saved state.*remove it"):
        load_state(path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b'{"seq": 3}', b'{"version": 2, "seq": 3,']
)
def test_a_file_that_does_not_begin_as_a_state_has_no_number(
    tmp_path: Path, content: bytes
) -> None:
    """It is not taken for an old one."""
    path = tmp_path / "state.json"
    path.write_bytes(content)
    with pytest.raises(StateUnreadable, match=f"{path} is no saved state.*remove it"):
        saved_seq(path)


def test_no_file_is_no_state(tmp_path: Path) -> None:
    """A missing file is not an empty campaign."""
    with pytest.raises(StateUnreadable, match="No such file"):
        load_state(tmp_path / "state.json")


def test_a_large_state_is_written_in_pieces() -> None:
    """Neither each field alone nor all of it at once: a state of a million tasks has a gigabyte."""
    small = [b"x" * 1000] * 1000
    pieces = list(_gathered(small))
    assert b"".join(pieces) == b"".join(small)
    assert all(len(piece) < 300_000 for piece in pieces)
    assert len(pieces) == 4
