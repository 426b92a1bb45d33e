"""How a campaign stands where no daemon answers: the documents of `/v1`, made of the journal alone.

Nothing is changed, and nothing is locked: a daemon may start meanwhile.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from mlip_autopipec.config.schemas.phases import ConvergenceSection
from mlip_autopipec.control.documents import View, view
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import DaemonUnreachable
from mlip_autopipec.journal.lock import Holder, read_holder
from mlip_autopipec.journal.records import Record
from mlip_autopipec.journal.replay import fold, read
from mlip_autopipec.journal.snapshot import load_snapshot
from mlip_autopipec.orchestration.policy import Policy

#: Of a campaign whose site file is not at hand: its bounds are not shown.
_ANY_POLICY = Policy(convergence=ConvergenceSection(), grace=timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class Standing:
    """The campaign after the last event of its journal, and why no daemon was asked."""

    view: View
    message: str


def standing(
    folder: Path, unreachable: DaemonUnreachable, policy: Policy | None = None
) -> Standing:
    """The campaign whose files are in `folder`, read from disk. A second or two for a long journal.

    Raises `unreachable` where there is no journal, JournalDamaged and StateUnreadable as a start
    would.
    """
    last: list[datetime] = []

    def noted(records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            last[:] = [record.event.at]
            yield record

    journal = folder / "journal"
    kept = load_snapshot(journal)
    state = kept.state if kept is not None else WorkflowState()
    state = fold(state, noted(read(journal, state.seq)))
    if not last:  # no snapshot is newer than the journal, but it may be of its last event
        state = fold(WorkflowState(), noted(read(journal)))
    if not last:
        raise unreachable
    message = (
        f"{_why(read_holder(folder), unreachable)}; as of event {state.seq},"
        f" {last[0]:%Y-%m-%d %H:%M:%S} UTC"
    )
    return Standing(view(state, policy or _ANY_POLICY, last[0]), message)


def _why(holder: Holder | None, unreachable: DaemonUnreachable) -> str:
    if holder is None:
        return "no daemon runs"
    if not holder.is_here:
        return f"the daemon runs on {holder.host} and can be asked there only"
    return f"the daemon (process {holder.pid}) does not answer yet or any more: {unreachable}"
