"""Commands that show the campaign as it stands."""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

import asyncio

import typer

from mlip_autopipec.cli.campaign import campaign
from mlip_autopipec.cli.options import Config, Json, Socket
from mlip_autopipec.cli.printing import print_status, say_document, say_folded
from mlip_autopipec.data_models.terminal import say_json
from mlip_autopipec.errors import DaemonUnreachable


def status(config: Config = None, socket: Socket = None, *, as_json: Json = False) -> None:
    """Show the campaign at a glance; where no daemon runs, as the journal has it."""
    try:
        document = asyncio.run(campaign(config, socket).client().status())
    except DaemonUnreachable as error:
        stands = campaign(config, socket).standing(error)
        document = stands.view.status.model_copy(update={"standstill": stands.message})
    if as_json:
        say_json(document.model_dump_json(indent=1))
        return
    print_status(document)


def explain(config: Config = None, socket: Socket = None, *, as_json: Json = False) -> None:
    """Say what the campaign does and waits for; where no daemon runs, as the journal has it."""
    try:
        found = asyncio.run(campaign(config, socket).client().explain())
    except DaemonUnreachable as error:
        stands = campaign(config, socket).standing(error)
        lines = (f"{stands.message}.", *stands.view.explanation.lines)
        found = stands.view.explanation.model_copy(update={"lines": lines})
    if as_json:
        say_document(found)
        return
    for line in found.lines:
        say_folded(line)


def watch(config: Config = None, socket: Socket = None) -> None:
    """Show a campaign live, in place: phases, walkers, labels, the fit, the queue, errors, events.

    It ends with the campaign's verdict or ^C (0), and when the daemon has gone (3). Where no daemon
    runs it shows the campaign once, as the journal has it. Where nothing can be painted (a pipe,
    TERM=dumb) events follow line by line.
    """
    from mlip_autopipec.follow import Follower, run, this_terminal
    from mlip_autopipec.process import SystemClock

    clock = SystemClock()
    named = campaign(config, socket)
    raise typer.Exit(
        run(Follower(named.folder(), named.client().status, clock), this_terminal(), clock)
    )
