"""Commands that read the journal, or mend it."""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

import asyncio
import time
from collections import deque
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from mlip_autopipec.cli import options
from mlip_autopipec.cli.campaign import Campaign, campaign
from mlip_autopipec.cli.options import After, Config, Json, Socket
from mlip_autopipec.cli.printing import print_all, print_event, print_status, say_document
from mlip_autopipec.data_models.terminal import say, say_json
from mlip_autopipec.errors import DaemonUnreachable, OperatorError

#: Between two looks at the end of the journal.
_INTERVAL_S = 0.5


def events(
    config: Config = None,
    socket: Socket = None,
    after: After = 0,
    *,
    follow: Annotated[bool, options.follow("Go on with what happens.")] = False,
    as_json: Json = False,
) -> None:
    """Print what has happened.

    Given a site file and no --follow, the journal is read and no daemon is needed.
    """
    named = campaign(config, socket)
    if follow or named.socket is not None:
        try:
            asyncio.run(print_all(named.client().events(after, follow=follow), as_json=as_json))
        except DaemonUnreachable as error:
            if error.streamed or not (named.folder() / "journal").is_dir():
                raise
            _print_journal(named, after, as_json=as_json)
            if follow:  # nothing follows where no daemon runs
                raise
        return
    _print_journal(named, after, as_json=as_json)


def verify(config: Config = None, *, as_json: Json = False) -> None:
    """Read the whole journal, check every record and the state they lead to; nothing is changed."""
    from mlip_autopipec.journal.replay import check, verify

    folder = campaign(config).journal_folder()
    found = verify(folder)
    check(folder)
    if as_json:
        from mlip_autopipec.answers import JournalChecked

        figures = {"events": found.records, "bytes": found.bytes, "segments": found.segments}
        say_document(JournalChecked(folder=str(folder), torn_bytes=found.torn_bytes, **figures))
        return
    torn = (
        f"; {found.torn_bytes} torn bytes at the end, which the next daemon keeps aside"
        if found.torn_bytes
        else ""
    )
    say(
        f"{folder} is in order: {found.records} events, {found.bytes} bytes, {found.segments}"
        f" segments{torn}."
    )


def tail(
    config: Config = None,
    lines: Annotated[int, options.last("How many of the last events.")] = 20,
    *,
    follow: Annotated[bool, options.follow("Go on with what is written.")] = False,
    as_json: Json = False,
) -> None:
    """Print the end of the journal, straight from the disk: it needs no daemon."""
    named = campaign(config)
    printed = 0
    for printed, event in deque(named.events(), maxlen=lines):
        print_event(printed, event, as_json=as_json)
    while follow:
        time.sleep(_INTERVAL_S)
        for seq, event in named.events(printed):
            print_event(seq, event, as_json=as_json)
            printed = seq


def export(config: Config = None, after: After = 0) -> None:
    """Print every event as one line of JSON, for other programs."""
    _print_journal(campaign(config), after, as_json=True)


def repair(config: Config = None) -> None:
    """Cut a journal where its damage begins, and make what follows again from what the site holds.

    What people did is made again, too, as for rebuild. The damaged journal is copied aside first.
    Nothing is submitted, and running jobs go on.
    """
    campaign(config).journal_folder()
    _restore(config)


def rebuild(config: Config = None) -> None:
    """Make a lost journal again from intents and outcomes on the site, walked by the same rules.

    What people did lies there, too: settings, added structures, ways back, retries, cancellations,
    reopenings. Who paused and resumed is lost; an attempt that left no outcome counts as lost where
    a later submission shows that it was over. Refused, with what is missing, where files of the
    site are gone, or where an earlier version ran a campaign that people changed. Nothing is
    submitted, and running jobs are found again by the next daemon.
    """
    _restore(config)


def replay(
    config: Config = None,
    at: Annotated[
        int | None,
        typer.Option("--at", min=0, help="Number of the last event; all of them if left out."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show the campaign as it stood after any event, from the journal alone."""
    from mlip_autopipec.control.documents import view
    from mlip_autopipec.data_models.state import WorkflowState
    from mlip_autopipec.journal.replay import Record, fold
    from mlip_autopipec.orchestration.policy import Policy

    named = campaign(config)
    policy = Policy.from_config(named.load().config)
    records = (Record(seq, event) for seq, event in named.events())
    wanted = list(takewhile(lambda record: at is None or record.seq <= at, records))
    if not wanted or (at is not None and wanted[-1].seq < at):
        raise OperatorError(f"the journal ends at event {wanted[-1].seq if wanted else 0}")
    state = fold(WorkflowState(), wanted)
    if as_json:
        say_json(state.model_dump_json(indent=1))
        return
    print_status(view(state, policy, wanted[-1].event.at).status)


def _print_journal(named: Campaign, after: int, *, as_json: bool) -> None:
    for seq, event in named.events(after):
        print_event(seq, event, as_json=as_json)


def _restore(config: Path | None) -> None:
    from mlip_autopipec.daemon.restore import restore
    from mlip_autopipec.telling.describe import describe

    found = asyncio.run(restore(campaign(config).load()))
    say(f"{describe(found)}.")
    if found.unused:
        say(f"Not used, as the site file has no place for them: {', '.join(found.unused)}.")
    say(
        "Lost for good: who paused, resumed and retried, and how attempts without an outcome ended."
    )
