"""Options that several commands have."""

from collections.abc import Mapping
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="AUTOPIPEC_CONFIG", help="Site file of the campaign."),
]
Socket = Annotated[
    Path | None,
    typer.Option("--socket", help="Control socket, where there is no site file at hand."),
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the journal.")]
After = Annotated[int, typer.Option("--after", min=0, help="Only events behind this number.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


def as_json(meaning: str) -> Any:
    """Of `--json`."""
    return typer.Option("--json", help=meaning)


def follow(meaning: str) -> Any:
    """Of `--follow`: go on with what comes."""
    return typer.Option("--follow", "-f", help=meaning)


def last(meaning: str) -> Any:
    """Of `--lines`: how many from the end."""
    return typer.Option("--lines", "-n", min=0, help=meaning)


Json = Annotated[bool, as_json("As JSON, for programs.")]

#: Options that stood before the command.
_BEFORE_COMMAND: ContextVar[Mapping[str, Path | None]] = ContextVar(
    "options before the command",
    default={},  # noqa: B039 - never changed
)


def keep_for_command(**options: Path | None) -> None:
    """Take options that stand before the command for those of the command."""
    _BEFORE_COMMAND.set(options)


def before_command(name: str) -> Path | None:
    """An option that stood before the command."""
    return _BEFORE_COMMAND.get().get(name)


def one_of(option: str, word: str, known: tuple[str, ...]) -> str:
    """The word, if it is known. Raises BadParameter, naming the nearest."""
    if word in known:
        return word
    near = get_close_matches(word, known, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise typer.BadParameter(f"{word!r} is none of {', '.join(known)}{meant}", param_hint=option)
