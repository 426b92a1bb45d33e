"""reopen: a campaign with a verdict, made to go on where no daemon runs. The next daemon finds it so."""

from mlip_autopipec.config.loader import LoadedConfig
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.lock import CampaignLock
from mlip_autopipec.orchestration.machine import can_reopen
from mlip_autopipec.orchestration.restart import reopened
from mlip_autopipec.process import SystemClock, person


async def reopen(loaded: LoadedConfig, reason: str) -> tuple[int, ev.CampaignReopened | None]:
    """Write down that the campaign goes on; its number and the event, None if it has not ended.

    Raises CampaignLocked if a daemon has the campaign, OperatorError if nothing goes on from its verdict.
    """
    folder, now = loaded.config.campaign.folder, SystemClock().now()
    path = folder / "journal"
    if not path.is_dir():
        raise OperatorError(f"there is no journal at {path}: no daemon has run for this campaign")
    with CampaignLock(folder, now=now):
        journal, state = FileJournal.open(path, now=now)
        try:
            if state.verdict is None:
                return state.seq, None
            if not can_reopen(state):
                raise OperatorError(f"the campaign has ended: {state.verdict}; nothing goes on from that")
            event = reopened(state, now, person(), reason)
            return await journal.append([event]), event
        finally:
            await journal.close()
