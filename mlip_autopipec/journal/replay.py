"""Replay: the journal as records, as a state, as figures."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import BugError
from mlip_autopipec.journal.records import Record
from mlip_autopipec.journal.segments import Scan
from mlip_autopipec.orchestration.machine import evolve

__all__ = ["Record", "Verification", "check", "fold", "read", "replay", "verify"]


@dataclass(frozen=True, slots=True)
class Verification:
    """A journal in figures.

    `bytes` are the valid ones, headers included; `torn_bytes` stand behind them.
    """

    segments: int
    records: int
    bytes: int
    torn_bytes: int


def read(folder: Path, after: int = 0) -> Iterator[Record]:
    """Records with a number above `after`, in order; stops silently before a torn tail.

    Nothing is changed, and a daemon may be writing meanwhile. No folder is no records. Raises
    JournalDamaged for damage before the end, StateUnreadable for what a later version wrote.
    """
    return iter(Scan(folder, after))


def replay(folder: Path) -> WorkflowState:
    """The state after every record.

    Raises as `read` does, and IllegalTransition where one record forbids the next.
    """
    return fold(WorkflowState(), read(folder))


def fold(state: WorkflowState, records: Iterable[Record]) -> WorkflowState:
    """The state after these records, the first of which must be the one after `state.seq`."""
    for record in records:
        state = evolve(state, record.event)
        if state.seq != record.seq:
            raise BugError(f"record {record.seq} made a state with the number {state.seq}")
    return state


def check(folder: Path) -> None:
    """Fold the whole journal and check the state that it leads to.

    Raises as `replay` does; BugError, naming what.
    """
    if broken := replay(folder).check():
        more = f"; and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise BugError(
            f"{folder}: every record is whole, but the state that they lead to contradicts itself:"
            f" {broken[0]}{more}. Nothing is changed. Keep the journal, and report this"
        )


def verify(folder: Path) -> Verification:
    """Check every line and every event of a journal, change nothing. Raises as `read` does."""
    scan = Scan(folder)
    records = sum(1 for _ in scan)
    return Verification(scan.segment, records, scan.bytes, scan.torn_bytes)
