"""autopipecctl: query and control the daemon of one campaign.

Exit codes: 0 done, 2 usage or configuration, 3 no daemon answers, and no journal does for it, 4
denied, 5 in conflict with how the campaign stands; any other error ends with its own (sysexits.h).
"""

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mlip_autopipec.cli import controlling, journal, overview, program, results, starting, tasks
from mlip_autopipec.cli.options import Config, Socket, keep_for_command
from mlip_autopipec.data_models.terminal import say
from mlip_autopipec.errors import AutopipecError
from mlip_autopipec.streams import take_every_letter

#: click's, which later versions of typer have within themselves.
_UsageError: Any = typer.BadParameter.__mro__[1]
#: What people type who have not read --help.
_MEANT = {
    **dict.fromkeys(
        ("run", "start"), "`autopipecd --config site.yaml` starts the daemon of a campaign"
    ),
    "init": "`autopipecctl config init` writes a first site file",
    **dict.fromkeys(
        ("check", "validate"), "`autopipecctl config check -c site.yaml` reads a site file"
    ),
    **dict.fromkeys(
        ("help", "man"),
        "`autopipecctl --help` and `autopipecctl COMMAND --help` tell what there is",
    ),
}


class _Group(TyperGroup):
    """Ends every error of ours in one message and its exit code."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except _UsageError as error:
            if meant := _MEANT.get(args[0]):
                error.message = f"No such command {args[0]!r}: {meant}."
            raise

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            if error.message.startswith("Got unexpected extra argument") and ".y" in error.message:
                error.message += ". A site file is named by an option: -c site.yaml"
            raise
        except AutopipecError as error:
            say(f"{program.PROGRAM}: {error}", error=True)
            raise typer.Exit(error.exit_code) from error


_CODES = (
    "Exit codes: 0 done, 2 wrong usage or site file, 3 no daemon answers and no journal does for"
    " it, 4 denied, 5 in conflict with how the campaign stands, 75 the site does not answer, 78 a"
    " person must mend something, 70 a bug"
)
#: Of commands that end with more.
_CODES_MORE: dict[Callable[..., None], str] = {
    starting.doctor: "; 1 something is red",
    results.export: "; 1 with --verify: a file is not as it was written",
    results.whatif: "; 1 a fit failed",
    overview.watch: "; 3 also when the daemon has gone",
    starting.demo: "; without a converged verdict as autopipecd --exit-on-verdict",
}

#: In the order in which --help lists them.
_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("status", overview.status),
    ("explain", overview.explain),
    ("doctor", starting.doctor),
    ("pause", controlling.pause),
    ("resume", controlling.resume),
    ("retry", controlling.retry),
    ("cancel", controlling.cancel),
    ("reopen", controlling.reopen),
    ("reload", controlling.reload),
    ("set", controlling.set_value),
    ("add", controlling.add),
    ("restart", controlling.restart),
    ("skip", controlling.skip),
    ("stop", controlling.stop),
    ("events", journal.events),
    ("tasks", tasks.tasks),
    ("task", tasks.task),
    ("plan", starting.plan),
    ("watch", overview.watch),
    ("logs", tasks.logs),
    ("report", results.report),
    ("export", results.export),
    ("whatif", results.whatif),
    ("demo", starting.demo),
    ("schema", program.schema),
    ("completion", program.completion),
    ("replay", journal.replay),
)
_CONFIG_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("init", starting.init),
    ("schema", starting.site_file_schema),
    ("check", starting.check),
)
_JOURNAL_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("verify", journal.verify),
    ("tail", journal.tail),
    ("export", journal.export),
    ("repair", journal.repair),
    ("rebuild", journal.rebuild),
)

app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    help="Ask and steer a campaign's daemon.",
    epilog=(
        f"{_CODES}. `autopipecctl schema COMMAND` prints the JSON schema of what a command answers"
        " with --json."
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(no_args_is_help=True, help="Site files.")
journal_app = typer.Typer(no_args_is_help=True, help="The event log of a campaign.")
app.add_typer(config_app, name="config")
app.add_typer(journal_app, name="journal")

for _group, _commands in (
    (app, _COMMANDS),
    (config_app, _CONFIG_COMMANDS),
    (journal_app, _JOURNAL_COMMANDS),
):
    for _name, _command in _commands:
        # it takes those of others
        _group.command(
            _name,
            epilog=f"{_CODES}{_CODES_MORE.get(_command, '')}.",
            context_settings={"ignore_unknown_options": _command is program.schema},
        )(_command)

Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=program.version, is_eager=True, help="Print the version, and end."
    ),
]


@app.callback()
def common(config: Config = None, socket: Socket = None, *, version: Version = False) -> None:
    """Ask and steer a campaign's daemon.

    --config and --socket may stand before or behind the command.
    """
    del version  # its callback has answered
    keep_for_command(config=config, socket=socket)


def main() -> None:
    """Entry point."""
    take_every_letter()
    if program.COMPLETE_VARIABLE in os.environ:  # a shell asks, by the script of `completion`
        from typer._completion_classes import completion_init  # noqa: PLC0415 - no public name has it

        completion_init()
    app(prog_name=program.PROGRAM)
