"""Commands that control the daemon, or the campaign where none runs."""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from mlip_autopipec.cli.campaign import campaign
from mlip_autopipec.cli.options import Config, DryRun, Json, Reason, Socket, one_of
from mlip_autopipec.cli.printing import say_document, tell, tell_lines
from mlip_autopipec.data_models.terminal import say
from mlip_autopipec.errors import DaemonUnreachable


def pause(
    reason: Reason = "", config: Config = None, socket: Socket = None, *, as_json: Json = False
) -> None:
    """Submit nothing new until resume; running jobs go on."""
    tell(asyncio.run(campaign(config, socket).client().pause(reason)), as_json=as_json)


def resume(
    reason: Reason = "", config: Config = None, socket: Socket = None, *, as_json: Json = False
) -> None:
    """Submit again, and try at once what was put off, also a refused login that is mended now."""
    tell(asyncio.run(campaign(config, socket).client().resume(reason)), as_json=as_json)


def retry(
    task: Annotated[
        str, typer.Argument(help="a calculation that was given up; explain names the last")
    ],
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Bring a calculation back that was given up; its label joins a later cycle."""
    tell(asyncio.run(campaign(config, socket).client().retry(task, reason)), as_json=as_json)


def cancel(
    tasks: Annotated[
        list[str] | None, typer.Argument(help="tasks that run or wait; status names them")
    ] = None,
    phase: Annotated[str | None, typer.Option(help="all tasks of this phase")] = None,
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="all tasks that run or wait")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="of a campaign whose daemon does not run")
    ] = False,
    as_json: Json = False,
) -> None:
    """End jobs of tasks, and give the tasks up: nothing more is tried of them.

    A calculation is brought back by `retry TASK`. What was done before it could be ended counts as
    done. With --offline and --all it returns when no job of the campaign is left.
    """
    from mlip_autopipec.control.api import Cancel
    from mlip_autopipec.data_models.base import Phase

    named = Phase(one_of("--phase", phase, tuple(map(str, Phase)))) if phase is not None else None
    asked = Cancel(tasks=tuple(tasks or ()), phase=named, everything=everything, reason=reason)
    if not offline:
        tell(asyncio.run(campaign(config, socket).client().cancel(asked)), as_json=as_json)
        return
    from mlip_autopipec.answers import Cancelled
    from mlip_autopipec.cancel import cancel as end

    names = asyncio.run(end(campaign(config).load(), asked))
    if as_json:
        say_document(Cancelled(tasks=names))
        return
    say(f"Cancelled: {', '.join(names) or 'nothing was at work'}.")


def reopen(
    reason: Reason,
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Go on from a verdict, losing nothing: retry what was given up, and count bounds from here.

    Where no daemon runs it is written into the journal, and the next daemon goes on.
    """
    try:
        tell(asyncio.run(campaign(config, socket).client().reopen(reason)), as_json=as_json)
    except DaemonUnreachable:
        if campaign(config, socket).socket is not None:
            raise
        from mlip_autopipec.reopen import reopen as write_down

        seq, event = asyncio.run(write_down(campaign(config).load(), reason))
        if as_json:
            from mlip_autopipec.answers import Reopened

            say_document(Reopened(changed=event is not None, seq=seq))
            return
        said = "is reopened" if event is not None else "has no verdict to go on from"
        say(f"The campaign {said} (event {seq}). No daemon runs: start autopipecd to go on.")


def reload(
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take the site file as it is now: tell what has changed, and go by it from here on.

    Nothing is taken of a file that changes what the campaign cannot change (elements, oracle, name,
    root). Where no daemon runs the difference is told; the next daemon takes it.
    """
    from mlip_autopipec.control.api import Reloaded

    try:
        answer = asyncio.run(campaign(config, socket).client().reload(reason, dry_run=dry_run))
    except DaemonUnreachable:
        if campaign(config, socket).socket is not None:
            raise
        from mlip_autopipec.reopen import difference

        state, lines = difference(campaign(config).load())
        offline = (*lines, "no daemon runs: start autopipecd to take it")
        answer = Reloaded(changed=False, lines=offline, status=state.status, seq=state.seq)
    tell_lines(answer, as_json=as_json)


def set_value(
    key: Annotated[str, typer.Argument(help="as in the site file: convergence.cycles_max")],
    value: Annotated[
        str, typer.Argument(help="as the site file would have it: 40, '2 h', [300, 900]")
    ],
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Give one key another value, until the site file has another one than now; status shows it."""
    tell_lines(
        asyncio.run(campaign(config, socket).client().set_value(key, value, reason)),
        as_json=as_json,
    )


def add(
    files: Annotated[
        list[Path], typer.Argument(help="structures in any format that ASE reads; all frames")
    ],
    reason: Reason,
    config: Config = None,
    socket: Socket = None,
    *,
    walk: Annotated[
        bool,
        typer.Option(
            "--walk/--label", help="Walkers start from them; left out: they are labelled."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring structures while a campaign runs: they are labelled in its next round, or walked from.

    All frames are judged first (elements, cell, periodicity, distances); if any cannot be used,
    none is taken. Walkers from them have the conditions of the first of exploration.walkers.
    """
    from mlip_autopipec.control.api import Add

    paths = tuple(str(file.absolute()) for file in files)
    asked = Add(files=paths, purpose="walk" if walk else "label", reason=reason)
    tell_lines(asyncio.run(campaign(config, socket).client().add(asked)), as_json=as_json)


def restart(
    cycle: Annotated[int, typer.Option("--cycle", metavar="N", help="whose phase")],
    phase: Annotated[
        str, typer.Option("--from", metavar="PHASE", help="the first that is done again")
    ],
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Go back to the begin of a phase and redo it, in a cycle of its own; nothing may be at work.

    Data sets and potential are those of before it; what came of it is set aside. Every file and
    event stays.
    """
    from mlip_autopipec.control.api import Redo
    from mlip_autopipec.data_models.base import Phase

    if cycle < 0:
        raise typer.BadParameter(f"{cycle} is no cycle: they count from 0", param_hint="--cycle")
    named = Phase(one_of("--from", phase, tuple(str(each) for each in Phase)))
    asked = Redo(cycle=cycle, phase=named, dry_run=dry_run, reason=reason)
    tell_lines(asyncio.run(campaign(config, socket).client().restart(asked)), as_json=as_json)


def skip(
    task: Annotated[
        str, typer.Argument(help="a task that runs, waits or has failed; tasks lists them")
    ],
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Go on without one task: no more is tried of it. `retry TASK` brings a calculation back."""
    from mlip_autopipec.control.api import Cancel

    tell(
        asyncio.run(campaign(config, socket).client().cancel(Cancel(tasks=(task,), reason=reason))),
        as_json=as_json,
    )


def stop(
    reason: Reason = "", config: Config = None, socket: Socket = None, *, as_json: Json = False
) -> None:
    """Stop the daemon; running jobs go on, and the next daemon takes them over."""
    asyncio.run(campaign(config, socket).client().stop(reason))
    if as_json:
        from mlip_autopipec.answers import Stopping

        say_document(Stopping())
        return
    say("The daemon stops.")
