"""What people did to a running campaign: settings changed, structures added, ways back, pauses."""

from collections.abc import Iterable

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.report.blocks import ROWS_MAX, quiet, rest
from mlip_autopipec.report.markup import table
from mlip_autopipec.telling.describe import describe

_NONE = "Nobody has changed anything since it began."


def deeds(events: Iterable[ev.Event]) -> tuple[ev.Event, ...]:
    """The events that stand for a person's word, in order; the program's own deeds are left out."""
    return tuple(event for event in events if _is_a_deed(event))


def people(found: tuple[ev.Event, ...]) -> str:
    """When, and what."""
    if not found:
        return quiet(_NONE)
    rows = [(f"{event.at:%Y-%m-%d %H:%M:%S} UTC", describe(event)) for event in found[-ROWS_MAX:]]
    return table(("when", "what"), rows, text_columns=(0, 1)) + rest(len(found))


def _is_a_deed(event: ev.Event) -> bool:
    match event:
        case ev.SettingsTaken():
            return bool(event.changes)  # the first of a campaign changes nothing
        case ev.Paused() | ev.Resumed():
            return event.by != ev.DAEMON
        case (
            ev.StructuresAdded()
            | ev.PhaseRedone()
            | ev.CampaignReopened()
            | ev.TasksCancelled()
            | ev.TaskRetried()
            | ev.JournalRepaired()
            | ev.JournalRebuilt()
        ):
            return True
        case _:
            return False
