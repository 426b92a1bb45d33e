"""What several commands print."""
# ruff: noqa: PLC0415 - each command imports what it needs: rich takes longer than the answer

import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from textwrap import wrap
from typing import TYPE_CHECKING

from mlip_autopipec.data_models.terminal import say, say_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mlip_autopipec.control.api import Reloaded, Status, Steered
    from mlip_autopipec.data_models.events import Event

#: rich takes a dumb terminal for one of 80 columns, unless it is told both; nothing that is printed
#: has a height.
_HEIGHT = 1000


def width() -> int | None:
    """Columns of the terminal; None where standard output is none, as programs get whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def say_document(document: "BaseModel") -> None:
    """As JSON, for programs."""
    say_json(document.model_dump_json(indent=1))


def say_folded(text: str, margin: int = 0) -> None:
    """Lines, folded between words to the terminal, with a margin where they go on.

    A program gets them as they are.
    """
    columns = width()
    whole = {
        "break_long_words": False,
        "break_on_hyphens": False,
        "subsequent_indent": " " * margin,
    }
    for line in text.splitlines():
        folded = [line] if columns is None else wrap(line, max(columns, 20), **whole)  # type: ignore[arg-type]
        for each in folded or [""]:
            say(each)


def print_status(document: "Status") -> None:
    """The campaign at a glance."""
    from rich.console import Console

    from mlip_autopipec.control.screen import render_status

    Console(markup=False, emoji=False, width=width(), height=_HEIGHT).print(render_status(document))


def tell(steered: "Steered", *, as_json: bool) -> None:
    """How the campaign stands after a command that controls it."""
    if as_json:
        say_document(steered)
        return
    already = "" if steered.changed else " already"
    say(f"The campaign is {steered.status}{already} (event {steered.seq}).")


def tell_lines(answer: "Reloaded", *, as_json: bool) -> None:
    """What a command changes, line by line, and how the campaign stands then."""
    if as_json:
        say_document(answer)
        return
    for line in answer.lines:
        say(line)
    if answer.changed:
        say(f"The campaign is {answer.status} (event {answer.seq}).")


def print_event(seq: int, event: "Event", *, as_json: bool) -> None:
    """On a line of its own, with its number and time."""
    from mlip_autopipec.telling.describe import describe

    if as_json:
        say_json(f'{{"seq":{seq},"event":{event.model_dump_json()}}}')
    else:
        say_folded(f"{seq:>6}  {event.at:%Y-%m-%d %H:%M:%S}  {describe(event)}", 8)


async def print_all(stream: AsyncGenerator[tuple[int, "Event"], None], *, as_json: bool) -> None:
    """Events as they come."""
    async with aclosing(stream) as closing:
        async for seq, event in closing:
            print_event(seq, event, as_json=as_json)
