"""The terminal of a process: what it cannot show must not end what it is told of."""

import sys
from io import TextIOWrapper


def take_every_letter() -> None:
    """Let standard output and error show a mark for each letter that their encoding lacks.

    Such a letter is Å under LANG=C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # else a test's, or none at all
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
