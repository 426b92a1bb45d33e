"""restore: a journal that is damaged or gone, made good from what the site holds.

The daemon never does it itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from mlip_autopipec.config.loader import LoadedConfig
from mlip_autopipec.config.supplies import supplies
from mlip_autopipec.daemon.reload import configuration
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import JournalDamaged, OperatorError
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.lock import CampaignLock
from mlip_autopipec.journal.mend import (
    STATE_FILE,
    begin_mending,
    complete_mending,
    end_mending,
    find_damage,
)
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.journal.snapshot import save_state
from mlip_autopipec.orchestration.changing import ADDED
from mlip_autopipec.orchestration.deeds import Deed, contents_of, deed_files, is_deed
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.rebuild import Relics, first_moment, rebuild, unearth
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import PhaseRunner
from mlip_autopipec.process import VERSION, SystemClock
from mlip_autopipec.site import way_there


async def restore(loaded: LoadedConfig) -> ev.JournalRebuilt:
    """Make a journal again that is damaged or gone, of what is left of it and what the site tells.

    It is made beside the old one, which is touched when all is done (see `journal.mend`). Returns
    the last event that is written, which says what was done. Raises OperatorError, and nothing has
    changed, if the journal is in order, if the site holds nothing of the campaign, or if the site
    file is not the one that it was run with.
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
                message = (
                    f"the journal in {path} is of {state.campaign}, and site.root holds"
                    f" {relics.campaign}"
                )
                raise OperatorError(message)
            events = _missing(loaded, relics, state, made)
            await journal.append(events)
            event = ev.JournalRebuilt(
                at=clock.now(),
                events=len(events),
                kept_as=kept.name if kept else "",
                unused=_unused(made, relics),
            )
            await journal.append([event])
        finally:
            await journal.close()
        save_state(made / STATE_FILE, replay(made))
        await _keep_deeds(loaded, clock, relics, made)
        end_mending(path, made, kept)
    return event


async def _keep_deeds(loaded: LoadedConfig, clock: SystemClock, relics: Relics, made: Path) -> None:
    """The deeds of the new journal, under its numbers.

    Whoever is killed after it finds them whole, as they were.
    """
    files = deed_files(relics.campaign, ((record.seq, record.event) for record in read(made)))
    way = way_there(loaded.config.site, clock)
    try:
        await way.transport.write(contents_of(files, relics.generation + 1))
    finally:
        await way.close()


async def _relics(loaded: LoadedConfig, clock: SystemClock) -> Relics:
    way = way_there(loaded.config.site, clock)
    try:
        return _where_it_lies(
            await unearth(way.transport, loaded.config.campaign.name), str(loaded.config.site.root)
        )
    finally:
        await way.close()


def _where_it_lies(relics: Relics, root: str) -> Relics:
    """The relics, with settings that name the root which they were found in.

    All of it may have been moved since.
    """
    return replace(relics, deeds=tuple(_moved(deed, root) for deed in relics.deeds))


def _moved(deed: Deed, root: str) -> Deed:
    if not isinstance(deed.event, ev.SettingsTaken):
        return deed
    settings = dict(deed.event.settings)
    settings["site"] = {**_mapping(settings.get("site")), "root": root}
    return deed.model_copy(update={"event": deed.event.model_copy(update={"settings": settings})})


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _kept(path: Path, relics: Relics, damage: JournalDamaged | None, now: datetime) -> Path | None:
    """The present journal's new name, or None without one. Raises OperatorError if it is in order.

    One that a daemon has begun anew for want of the old one, and that was refused the root, is put
    aside as unused.
    """
    if damage is not None:
        return path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}")
    state = replay(path)
    begun = (
        state.cycle_index
        or state.batches_begun
        or state.current_phase not in {None, Phase.GENERATION}
    )
    if state.stage is not Stage.EMPTY and (begun or state.campaign == relics.campaign):
        raise OperatorError(f"the journal in {path} is in order: there is nothing to restore")
    return path.with_name(f"{path.name}.unused-{now:%Y%m%dT%H%M%S}") if path.exists() else None


def _missing(
    loaded: LoadedConfig, relics: Relics, state: WorkflowState, path: Path
) -> Sequence[ev.Event]:
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
    done = sum(is_deed(record.event) for record in read(path))
    return tuple(rebuild(state, relics, lambda now: _follow(loaded, now), created, deeds_done=done))


def _follow(
    loaded: LoadedConfig, state: WorkflowState
) -> tuple[Mapping[Phase, PhaseRunner], Policy]:
    """Runners and policy by the settings that were in force.

    Raises ConfigurationError if a file of theirs is gone.
    """
    config = configuration(state, loaded)
    added = {config.campaign.folder / ADDED / walk.name: walk.file for walk in state.walks}
    own = [walkers for walkers in config.exploration.walkers if walkers.source not in added]
    named = config.model_copy(
        update={"exploration": config.exploration.model_copy(update={"walkers": tuple(own)})}
    )
    files = {path: supply.ref for path, supply in supplies(named).items()}
    return phase_runners(config, {**files, **added}), Policy.from_config(config)


def _unused(path: Path, relics: Relics) -> tuple[str, ...]:
    """Submissions on the site that the journal does not know.

    They are of a later time, or by another site file.
    """
    begun = {
        record.event.job_name
        for record in read(path)
        if isinstance(record.event, ev.SubmissionBegun)
    }
    return tuple(job_name for job_name in relics.intents if job_name not in begun)
