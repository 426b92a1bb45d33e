"""What a soak has found, and how it is printed."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlip_autopipec.telling.words import duration

#: Says how far it is.
Tell = Callable[[str], None]
_COMPLAINTS_MAX = 20
_TELL_EVERY_S = 10.0


@dataclass(slots=True)
class Row:
    """One kind of soak."""

    what: str
    runs: int = 0
    verdicts: int = 0
    doubled: int = 0
    lost: int = 0
    innocent: int = 0  # campaigns that ended `failed` through a passing fault
    faults: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    took_s: float = 0.0
    counted: str = ""  # of what all of it was, in words

    def complain(self, message: str) -> None:
        """Tell at once what was found, and keep it; with the first nothing is well any more."""
        sys.stderr.write(f"\nFOUND: {message}\n")
        self.complaints.append(message)


def render(rows: Sequence[Row]) -> str:
    """The table, then faults by kind, then whatever was found."""
    head = (
        f"{'':36}{'runs':>7}{'faults':>9}{'doubled':>9}{'lost':>6}{'findings':>10}{'verdicts':>10}"
        "  took"
    )
    lines = [head]
    for row in rows:
        counts = (
            f"{row.runs:7}{row.faults.total():9}{row.doubled:9}{row.lost:6}{len(row.complaints):10}"
        )
        lines.append(f"{row.what:36}{counts}{row.verdicts:10}  {duration(row.took_s)}")
    for row in rows:
        lines += [
            "",
            *([f"{row.what}: {row.counted}"] if row.counted else []),
            f"{row.what}, by kind of fault:",
        ]
        lines += [f"  {name:34}{times:9}" for name, times in row.faults.most_common() if times]
        lines += [f"FOUND: {message}" for message in row.complaints[:_COMPLAINTS_MAX]]
    return "\n".join(lines)


class Progress:
    """One line again and again on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._reported_s = -_TELL_EVERY_S

    def __call__(self, message: str) -> None:
        """Say it, if it is time."""
        now_s = time.monotonic()
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{message:<78}")
        elif now_s - self._reported_s >= _TELL_EVERY_S:
            self._reported_s = now_s
            sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
