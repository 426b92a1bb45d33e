"""The one door through which others' words go to a terminal, a log shown there, and systemd.

Job ids, owners' names, Slurm's and the doctor's words may hold anything: escape sequences, which a
terminal takes for commands, and letters that turn the direction of writing.
"""

import re
import sys
from typing import TextIO

from mlip_autopipec.data_models.text import printable

#: In JSON, letters that are no ASCII stand in strings alone; so does DEL.
_SUSPECT = re.compile(r"[^\x00-\x7e]")


def say(text: str, *, error: bool = False, end: str = "\n", stream: TextIO | None = None) -> None:
    """Write words to standard output or error.

    A mark stands in place of every control character but the newline.
    """
    stream = stream or (sys.stderr if error else sys.stdout)
    stream.write(printable(text) + end)
    stream.flush()


def say_json(text: str) -> None:
    """Write a JSON document to standard output.

    It is as it is for a program, and harmless for a terminal.
    """
    sys.stdout.write(harmless_json(text) + "\n")
    sys.stdout.flush()


def harmless_json(text: str) -> str:
    """The same JSON document, with each letter that a terminal may not show in its escaped form."""
    return text if text.isascii() and "\x7f" not in text else _SUSPECT.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    if letter.isprintable():
        return letter
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
