"""Words of others: for a terminal, and with an answer among them."""

import json
from typing import Any


def printable(text: str) -> str:
    """The text with a mark in place of every control character.

    A terminal takes some of them for commands.
    """
    return "".join(letter if letter.isprintable() or letter == "\n" else "�" for letter in text)


_LINES_MAX = 3
_LETTERS_MAX = 300


def first_lines(text: str) -> str:
    """How an answer begins that cannot be used, for a message.

    Its first lines in one, cut where it says no more.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    shown = printable(" / ".join(lines[:_LINES_MAX]))
    cut = len(shown) > _LETTERS_MAX or len(lines) > _LINES_MAX
    return f"{shown[:_LETTERS_MAX]}{'…' if cut else ''}" or "nothing"


def answer_in(output: bytes) -> dict[str, Any] | None:
    """The last line that is a JSON object.

    It is the work half's answer, whatever profiles and modules print around it.
    """
    for line in reversed(output.splitlines()):
        if line.strip().startswith(b"{"):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):  # a notice of somebody's
                continue
            if isinstance(found, dict):
                return found
    return None
