"""The site file of a running daemon: read again, compared with what is in force, and taken.

What is taken is one event. Until it is on the disk nothing follows it, and from then on the manager
has the daemon follow the state: there is no moment at which a kill could lose or double anything.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from mlip_autopipec.config.changes import checked, config_of, merged
from mlip_autopipec.config.loader import LoadedConfig, load_config, refusal
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.source import parse
from mlip_autopipec.config.supplies import Supply, supplies
from mlip_autopipec.daemon.added import Purpose, keep
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.errors import ConfigurationError
from mlip_autopipec.orchestration.changing import (
    Change,
    change_by_hand,
    change_to,
    in_force,
    taking,
    with_walks,
)
from mlip_autopipec.orchestration.machine import new_in, unexplored
from mlip_autopipec.ports import Clock
from mlip_autopipec.preview import preview


class ReloadedWorkflow(Protocol):
    """What is needed of WorkflowManager."""

    @property
    def state(self) -> WorkflowState:
        """The published state."""

    async def record(self, event: ev.Event, subject: str | None = None) -> bool:
        """Hand an event in and wait until it is durable and folded in.

        Returns False if it was stale and not written.
        """


class SettingsReader:
    """Takes the site file again while the campaign goes on. One call at a time."""

    def __init__(
        self,
        path: Path,
        workflow: ReloadedWorkflow,
        clock: Clock,
        bring: Callable[[Mapping[Path, Supply]], None],
    ) -> None:
        """`bring` is told the files that the settings name before these are in force."""
        self._path = path
        self._workflow = workflow
        self._clock = clock
        self._bring = bring
        self._lock = asyncio.Lock()

    async def reload(
        self, by: ev.Actor, reason: str, *, dry_run: bool
    ) -> tuple[bool, tuple[str, ...]]:
        """Take the site file as it is now; whether anything was taken, and the difference in lines.

        Raises ConfigurationError for a file with mistakes, or one that changes what this campaign
        cannot change.
        """
        async with self._lock:
            loaded = await asyncio.to_thread(load_config, self._path)
            state = self._workflow.state
            change = change_to(state, loaded.config, starting=False)
            if change is None:
                return False, ("the site file says what is in force",)
            if dry_run:
                return False, change.lines()
            if (refused := change.refusal(str(self._path))) is not None:
                raise refused
            if not change.is_news(state):
                return False, change.lines()
            self._bring(await asyncio.to_thread(_supplied, loaded))
            opened = await self._take(change, loaded.sha256, by, reason)
            return True, (*change.lines(), *opened)

    async def set_value(
        self, key: str, value: str, by: ev.Actor, reason: str
    ) -> tuple[bool, tuple[str, ...]]:
        """Give one key another value until the site file says otherwise.

        Raises ConfigurationError if it cannot be.
        """
        async with self._lock:
            state = self._workflow.state
            change = change_by_hand(state, key, _read(value))
            if change is None:
                return False, (f"{key} has this value already",)
            effect = config_of(merged(change.settings, change.overrides))
            self._bring(await asyncio.to_thread(supplies, effect))
            opened = await self._take(change, state.config_sha256, by, reason)
            return True, (*change.lines(), *opened)

    async def add(
        self, files: Sequence[str], purpose: Purpose, by: ev.Actor, reason: str
    ) -> tuple[bool, tuple[str, ...]]:
        """Take structures of these files, to be labelled in the next round or to be walked from.

        Raises ConfigurationError, with file and frame, if any cannot be used: nothing is taken
        then.
        """
        async with self._lock:
            state = self._workflow.state
            structures, walks, brought = await asyncio.to_thread(
                keep, in_force(state), files, purpose
            )
            if walks:
                effect = with_walks(merged(state.settings, state.overrides), (*state.walks, *walks))
                checked(
                    effect,
                    merged(state.settings, state.overrides),
                    "walkers from the added structures",
                )
            self._bring(brought)
            now = self._workflow.state
            event = ev.StructuresAdded(
                at=self._clock.now(),
                by=by,
                reason=reason,
                structures=structures,
                walks=walks,
                quiet_from=unexplored(now) if walks else None,
            )
            known = len(structures) + len(walks) - sum(map(len, new_in(now, event)))
            notes = (f"{known} of them were there already, by their content",) if known else ()
            if not await self._workflow.record(event):
                return False, notes or (
                    "the campaign has ended: autopipecctl reopen --reason WHY, then add again",
                )
            where = {
                "label": "are labelled in the next round",
                "walk": "are walked from in the next exploration",
            }
            return True, (
                f"{len(structures) + len(walks) - known} structures {where[purpose]}",
                *notes,
            )

    async def _take(
        self, change: Change, sha256: str, by: ev.Actor, reason: str
    ) -> tuple[str, ...]:
        """Write it down, with what follows: an ended campaign goes on where more is asked for."""
        events = taking(self._workflow.state, change, sha256, self._clock.now(), by, reason)
        await asyncio.gather(*(self._workflow.record(event) for event in events))
        return tuple(
            "the campaign goes on" for event in events if not isinstance(event, ev.SettingsTaken)
        )


def change_at_start(state: WorkflowState, loaded: LoadedConfig) -> Change | None:
    """What a daemon that begins takes of its site file; None if nothing is new.

    Raises ConfigurationError.
    """
    change = change_to(state, loaded.config, starting=True)
    if change is None or not (change.refused or change.is_news(state)):
        return None
    if (refused := change.refusal(str(loaded.path))) is not None:
        raise refused
    return change


def _supplied(loaded: LoadedConfig) -> Mapping[Path, Supply]:
    seen = preview(loaded.config, with_bootstrap=False)
    if seen.mistakes:
        raise refusal(loaded.path, seen.mistakes)
    return supplies(loaded.config)


def _read(value: str) -> JsonValue:
    """A value as YAML writes it. Raises ConfigurationError."""
    source = parse(f"value: {value}\n")
    if source.data is None or source.mistakes or set(source.data) != {"value"}:
        raise ConfigurationError(f"{value!r} cannot be read as one value")
    found: JsonValue = source.data["value"]  # type: ignore[assignment] # of JSON's kinds, as every site file
    return found


def configuration(state: WorkflowState, loaded: LoadedConfig) -> WorkflowConfig:
    """What is in force: as the journal says, where it says anything."""
    return in_force(state) if state.settings else loaded.config
