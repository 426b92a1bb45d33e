"""Commands about tasks and what their codes write, and the log of the daemon."""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

import asyncio
import secrets
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from mlip_autopipec.cli import options
from mlip_autopipec.cli.campaign import Campaign, campaign
from mlip_autopipec.cli.options import Config, Json, Socket, one_of
from mlip_autopipec.cli.printing import width
from mlip_autopipec.data_models.terminal import say, say_json
from mlip_autopipec.errors import DaemonUnreachable, OperatorError

if TYPE_CHECKING:
    from mlip_autopipec.contract.progress import Progress
    from mlip_autopipec.control.task_files import FilesOfTasks

#: Between two looks at the end of a log.
_LOG_INTERVAL_S = 0.5
#: The same of a file on the site: each look is a command there.
_TASK_LOG_INTERVAL_S = 2.0


def tasks(
    phase: Annotated[str | None, typer.Option("--phase", help="Only of this phase.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state", help="Only what is ready, waiting, held, running, done, …; may be repeated."
        ),
    ] = None,
    config: Config = None,
    socket: Socket = None,
    *,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only with an attempt that gave no result.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the tasks of the campaign, of earlier cycles too.

    The journal is read, and no daemon is needed.
    """
    from mlip_autopipec.control.task_screen import list_lines
    from mlip_autopipec.control.tasks import STATES, task_list
    from mlip_autopipec.data_models.base import Phase

    in_phase = (
        Phase(one_of("--phase", phase, tuple(map(str, Phase)))) if phase is not None else None
    )
    states = [one_of("--state", each, STATES) for each in state or ()]
    found = task_list(campaign(config, socket).task_book(), in_phase, states, failed=failed)
    if as_json:
        say_json(found.model_dump_json(indent=1))
        return
    for line in list_lines(found, width()):
        say(line)


def task(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="a task's id, or how it begins; `tasks` lists them")
    ],
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Show what a task is, its files, and its attempts: reasons, nodes, what they asked and used.

    The journal is read, and no daemon is needed; where one runs, it adds how far the task is.
    """
    from mlip_autopipec.control.task_screen import document_lines
    from mlip_autopipec.control.tasks import task_document
    from mlip_autopipec.data_models.state import TaskStatus

    named = campaign(config, socket)
    found = task_document(named.task_book(), name, named.root())
    if found.state is TaskStatus.SUBMITTED:
        found = found.model_copy(update={"progress": _progress_of(found.task, named)})
    if as_json:
        say_json(found.model_dump_json(indent=1))
        return
    for line in document_lines(found, width()):
        say(line)


def logs(
    config: Config = None,
    socket: Socket = None,
    lines: Annotated[int, options.last("How many of the last lines.")] = 50,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="ID", help="Instead: what this task's code has written."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            metavar="NAME",
            help="Of a task: this file; its code's own output if left out.",
        ),
    ] = None,
    *,
    files: Annotated[
        bool, typer.Option("--files", help="Of a task: list its files on the site.")
    ] = False,
    follow: Annotated[bool, options.follow("Go on with new lines.")] = False,
    as_json: Annotated[
        bool, options.as_json("As they are in the file; of a task, as one document.")
    ] = False,
) -> None:
    """Print a log's end: the daemon's; with --task, that of LAMMPS, pw.x or pacemaker on the site.

    Files of tasks come over the daemon's own connection. Where no daemon runs they are read if the
    site is this machine. With -f it goes on until the task's attempt is over.
    """
    from mlip_autopipec.control import logs as log

    named = campaign(config, socket)
    if task is not None:
        asyncio.run(
            _task_logs(named, task, file, lines, files=files, follow=follow, as_json=as_json)
        )
        return
    if file is not None or files:
        raise typer.BadParameter(
            "it is of a task: name one with --task", param_hint="--file" if file else "--files"
        )
    path = named.folder() / "autopipecd.log"
    if not path.is_file():
        raise OperatorError(
            f"there is no log at {path}: no daemon has run for this campaign yet; `autopipecd"
            " --config site.yaml` starts one"
        )

    def show(line: str) -> None:
        (say_json if as_json else say)(line if as_json else log.render_line(line))

    async def show_all() -> None:
        if follow:
            async with aclosing(
                log.follow(path, lines, lambda: asyncio.sleep(_LOG_INTERVAL_S))
            ) as tail:
                async for line in tail:
                    show(line)
        else:
            for line in await log.last_lines(path, lines):
                show(line)

    asyncio.run(show_all())


def _progress_of(name: str, named: Campaign) -> "Progress | None":
    """How far a task is in its own words; None where no daemon answers."""
    try:
        return asyncio.run(named.client().status()).progress.get(name)
    except DaemonUnreachable:
        return None


async def _task_logs(
    named: Campaign,
    task: str,
    file: str | None,
    lines: int,
    *,
    files: bool,
    follow: bool,
    as_json: bool,
) -> None:
    from mlip_autopipec.control import task_logs
    from mlip_autopipec.control.task_files import file_named
    from mlip_autopipec.control.tasks import task_named

    name = task_named(named.task_book().records, task)
    site: FilesOfTasks = named.client()
    try:
        listing = await site.task_files(name)
    except DaemonUnreachable as error:
        site = _files_here(named, error)
        listing = await site.task_files(name)
    if files:
        if as_json:
            say_json(listing.model_dump_json(indent=1))
        else:
            for line in task_logs.listing_lines(listing):
                say(line)
        return
    part = await site.task_file(name, file_named(listing, file).name)
    if as_json:
        say_json(part.model_dump_json(indent=1))
        return
    shown = task_logs.for_terminal(task_logs.last_lines(part, lines))
    say(shown, end="" if follow or shown.endswith("\n") or not shown else "\n")
    if follow:
        async with aclosing(
            task_logs.follow(site, part, lambda: asyncio.sleep(_TASK_LOG_INTERVAL_S))
        ) as written:
            async for text in written:
                say(task_logs.for_terminal(text), end="")


def _files_here(named: Campaign, unreachable: DaemonUnreachable) -> "FilesOfTasks":
    """Files of tasks where no daemon answers.

    Raises `unreachable` unless the site is this machine.
    """
    from mlip_autopipec.control.task_files import FilesHere, SiteFiles
    from mlip_autopipec.transports.local import LocalTransport

    if named.config is None:
        raise unreachable
    site = named.load().config.site
    if site.transport.kind != "local":
        raise DaemonUnreachable(
            f"{unreachable}. Its connection is the way to the files; without it, look below"
            f" {named.root()}"
        )
    return FilesHere(SiteFiles(LocalTransport(site.root), lambda: secrets.token_hex(16)))
