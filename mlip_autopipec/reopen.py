"""Steering where no daemon runs.

A campaign is made to go on, or its site file is compared with what is in force.
"""

from mlip_autopipec.config.loader import LoadedConfig
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import NoJournal
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.lock import CampaignLock
from mlip_autopipec.journal.replay import replay
from mlip_autopipec.orchestration.changing import change_to
from mlip_autopipec.orchestration.restart import reopened
from mlip_autopipec.process import SystemClock, person


async def reopen(loaded: LoadedConfig, reason: str) -> tuple[int, ev.CampaignReopened | None]:
    """Write down that the campaign goes on; its number and the event, None if it has not ended.

    Raises CampaignLocked if a daemon has the campaign, OperatorError if there is no journal.
    """
    folder, now = loaded.config.campaign.folder, SystemClock().now()
    path = folder / "journal"
    if not path.is_dir():
        raise NoJournal(path)
    with CampaignLock(folder, now=now):
        journal, state = FileJournal.open(path, now=now)
        try:
            if state.verdict is None:
                return state.seq, None
            event = reopened(state, now, person(), reason)
            return await journal.append([event]), event
        finally:
            await journal.close()


def difference(loaded: LoadedConfig) -> tuple[WorkflowState, tuple[str, ...]]:
    """The campaign, and what the next daemon would take of the site file, one line each.

    Nothing is written.
    """
    path = loaded.config.campaign.folder / "journal"
    if not path.is_dir():
        raise NoJournal(path)
    state = replay(path)
    change = change_to(state, loaded.config, starting=True)
    return state, ("the site file says what is in force",) if change is None else change.lines()
