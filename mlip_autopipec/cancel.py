"""cancel: tasks of a campaign ended without a daemon, as `autopipecctl cancel --offline` does."""

from mlip_autopipec.config.codes import outside
from mlip_autopipec.config.loader import LoadedConfig
from mlip_autopipec.control.api import Cancel
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import NoJournal
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.lock import CampaignLock
from mlip_autopipec.orchestration.cancelling import cancelled
from mlip_autopipec.orchestration.end_jobs import end_all_jobs
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.ports import Clock, Scheduler
from mlip_autopipec.process import SystemClock, person
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.site import adapters


async def cancel(loaded: LoadedConfig, asked: Cancel) -> tuple[str, ...]:
    """Write down what is cancelled, and end its jobs; the names of the tasks.

    With everything asked for it returns when no job of the campaign lives or may yet begin. Raises
    CampaignLocked if a daemon has the campaign, OperatorError if a task is not at work, or if jobs
    may live after all.
    """
    folder, clock = loaded.config.campaign.folder, SystemClock()
    path = folder / "journal"
    if not path.is_dir():
        raise NoJournal(path)
    shipment = pack(outside(loaded.config))
    site = adapters(loaded.config.site, shipment.path, clock)
    with CampaignLock(folder, now=clock.now()):
        journal, state = FileJournal.open(path, now=clock.now())
        try:
            names = cancelled(state, asked.tasks, asked.phase, everything=asked.everything)
            if names:
                event = ev.TasksCancelled(
                    at=clock.now(), tasks=names, by=person(), reason=asked.reason
                )
                await journal.append([event])
                state = evolve(state, event)
            await site.way.transport.write({shipment.path: shipment.content})
            await _end(site.scheduler, state, clock, everything=asked.everything)
        finally:
            await journal.close()
            await site.way.close()
    return names


async def _end(
    scheduler: Scheduler, state: WorkflowState, clock: Clock, *, everything: bool
) -> None:
    if everything:
        await end_all_jobs(scheduler, state, clock)
        return
    for batch in state.batches.values():
        unwanted = frozenset(
            index for index in batch.live if state.tasks[batch.tasks[index]].cancelled
        )
        # one whose answer was lost is looked up by the next daemon
        if unwanted and batch.job_id is not None:
            await scheduler.cancel(batch, unwanted)
