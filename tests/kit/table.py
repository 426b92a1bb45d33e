"""A table of measurements: for a person by rich, and as JSON for whoever compares runs."""

import json
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One measured thing.

    `target` is what it may take at most, in its own unit; None: nothing is promised.
    """

    what: str
    value: float
    unit: str
    target: float | None = None
    note: str = ""
    details: dict[str, object] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.target is None else self.value <= self.target


def show(
    title: str, rows: Sequence[Row], json_file: Path | None, console: Console | None = None
) -> None:
    """Print the table, and write the same to a file if one is named."""
    table = Table(title=title, title_justify="left")
    for name in ("what", "measured", "target", "", "note"):
        table.add_column(name, justify="right" if name in {"measured", "target"} else "left")
    for row in rows:
        target = "" if row.target is None else f"≤ {row.target:g}"
        verdict = {True: "met", False: "MISSED", None: ""}[row.met]
        table.add_row(row.what, f"{row.value:.4g} {row.unit}", target, verdict, row.note)
    (console or Console(width=150)).print(table)
    if json_file is not None:
        machine = {"machine": platform.machine(), "python": platform.python_version()}
        content = {"title": title, **machine, "rows": [asdict(row) for row in rows]}
        json_file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of all do not exceed."""
    ranked = sorted(values)
    return ranked[min(int(len(ranked) * percent / 100), len(ranked) - 1)]
