"""Commands about this program itself."""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

import json
from importlib import metadata
from typing import Annotated

import typer

from mlip_autopipec.cli.options import one_of
from mlip_autopipec.data_models.terminal import say, say_json

PROGRAM = "autopipecctl"
#: By which a shell asks what may come next.
COMPLETE_VARIABLE = "_AUTOPIPECCTL_COMPLETE"


def version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    """Print the version, and end."""
    if wanted:
        say(f"{PROGRAM} {metadata.version('mlip-autopipec')}")
        raise typer.Exit


def schema(
    command: Annotated[
        list[str] | None,
        typer.Argument(help="such as `status`, `journal verify` or `logs --task`; all if left out"),
    ] = None,
) -> None:
    """Print the JSON schema of what a command answers with --json.

    Without a command, print the commands that have a schema.
    """
    from mlip_autopipec.answers import ANSWERS, schema_of

    if not command:
        for name in ANSWERS:
            say(name)
        return
    name = one_of("COMMAND", " ".join(command), tuple(ANSWERS))
    say_json(json.dumps(schema_of(name), indent=1))


def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh or fish")] = "bash",
) -> None:
    """Print what lets a shell complete commands and options.

    Use it as in `source <(autopipecctl completion bash)`.
    """
    from typer._completion_shared import get_completion_script  # no public name has it

    shells = ("bash", "zsh", "fish")
    if shell not in shells:
        raise typer.BadParameter(f"{shell!r} is none of {', '.join(shells)}", param_hint="SHELL")
    say(get_completion_script(prog_name=PROGRAM, complete_var=COMPLETE_VARIABLE, shell=shell))
