"""Labels as one extended XYZ: frames as written, with the cycle that added each. Text in, text out.

Nothing of a number is changed: only the comment line of a frame is, by its cycle and what is
redacted.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlip_autopipec.errors import OperatorError

_ROLE = re.compile(r'(?<!\S)role="?([^"\s]+)')


@dataclass(frozen=True)
class ExportedFrame:
    """One label as text."""

    text: str
    role: str
    atoms: int


def frames(
    content: bytes, path: str, cycle: int, redact: Callable[[str], str]
) -> Iterator[ExportedFrame]:
    """Every frame of a file.

    Raises OperatorError, naming file and frame, for what is no extended XYZ.
    """
    lines = content.decode("utf-8").splitlines()
    at = number = 0
    while at < len(lines):
        number += 1
        count = lines[at].strip()
        if not count.isdecimal() or at + 2 + int(count) > len(lines):
            raise OperatorError(
                f"frame {number} of {path} is no extended XYZ: its first line is {count[:40]!r}"
            )
        atoms = lines[at + 2 : at + 2 + int(count)]
        comment = lines[at + 1]
        role = _ROLE.search(comment)
        text = "\n".join((count, f"{redact(comment)} cycle={cycle}", *atoms, ""))
        yield ExportedFrame(text, role[1] if role else "", int(count))
        at += 2 + int(count)
