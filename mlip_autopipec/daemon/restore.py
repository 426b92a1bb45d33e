"""restore: a journal that is damaged or gone, made good from what the site holds. The daemon never does it itself."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mlip_autopipec.config.loader import LoadedConfig
from mlip_autopipec.config.supplies import supplies
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import JournalDamaged, OperatorError
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.lock import CampaignLock
from mlip_autopipec.journal.mend import STATE_FILE, begin_mending, complete_mending, end_mending, find_damage
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.journal.snapshot import save_state
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.rebuild import Relics, first_moment, rebuild, unearth
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.process import VERSION, SystemClock
from mlip_autopipec.site import way_there


async def restore(loaded: LoadedConfig) -> ev.JournalRebuilt:
    """Make a damaged journal, or one that is gone, again, of what is left of it and what the site tells.

    It is made beside the old one, which is touched when all is done (see `journal.mend`). Returns the last event that
    is written, which says what was done. Raises OperatorError, and nothing has changed, if the journal is in order, if
    the site holds nothing of the campaign, or if the site file is not the one that it was run with.
    """
    folder, clock = loaded.config.campaign.folder, SystemClock()
    path = folder / "journal"
    with CampaignLock(folder, now=clock.now()):
        complete_mending(path)
        relics = await _relics(loaded, clock)
        damage = find_damage(path)
        kept = _kept(path, relics, damage, clock.now())
        made = begin_mending(path, damage)
        journal, state = FileJournal.open(made, now=clock.now())
        try:
            if state.campaign not in {"", relics.campaign}:
                words = f"the journal in {path} is of {state.campaign}, and site.root holds {relics.campaign}"
                raise OperatorError(words)
            events = _missing(loaded, relics, state, made)
            await journal.append(events)
            told = ev.JournalRebuilt(
                at=clock.now(), events=len(events), kept_as=kept.name if kept else "", unused=_unused(made, relics)
            )
            await journal.append([told])
        finally:
            await journal.close()
        save_state(made / STATE_FILE, replay(made))
        end_mending(path, made, kept)
    return told


async def _relics(loaded: LoadedConfig, clock: SystemClock) -> Relics:
    way = way_there(loaded.config.site, clock)
    try:
        return await unearth(way.transport, loaded.config.campaign.name)
    finally:
        await way.close()


def _kept(path: Path, relics: Relics, damage: JournalDamaged | None, now: datetime) -> Path | None:
    """The name under which the present journal is kept; None if there is none. Raises OperatorError if it is in order.

    One that a daemon has begun anew for want of the old one, and that was refused the root, is put aside as unused.
    """
    if damage is not None:
        return path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}")
    state = replay(path)
    begun = state.cycle_index or state.batches_begun or state.current_phase not in {None, Phase.GENERATION}
    if state.stage is not Stage.EMPTY and (begun or state.campaign == relics.campaign):
        raise OperatorError(f"the journal in {path} is in order: there is nothing to restore")
    return path.with_name(f"{path.name}.unused-{now:%Y%m%dT%H%M%S}") if path.exists() else None


def _missing(loaded: LoadedConfig, relics: Relics, state: WorkflowState, path: Path) -> Sequence[ev.Event]:
    """The events after those that are left."""
    last = max((record.event.at for record in read(path)), default=first_moment(relics))
    created = ev.CampaignCreated(
        at=last or SystemClock().now(),
        campaign=relics.campaign,
        name=loaded.config.campaign.name,
        version=VERSION,
        config_sha256=loaded.sha256,
        k_mesh=relics.k_mesh,
    )
    config = loaded.config
    runners = phase_runners(config, {path: supply.ref for path, supply in supplies(config).items()})
    return tuple(rebuild(state, relics, runners, Policy.from_config(config), created))


def _unused(path: Path, relics: Relics) -> tuple[str, ...]:
    """Submissions on the site that the journal does not know: of a later time, or by another site file."""
    begun = {record.event.uid for record in read(path) if isinstance(record.event, ev.SubmissionBegun)}
    return tuple(uid for uid in relics.intents if uid not in begun)
