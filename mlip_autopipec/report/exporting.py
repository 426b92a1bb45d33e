"""Figures of a report as files: each as SVG, and what it shows as numbers (CSV).

So it can be drawn again for a paper.
"""

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import AxLine
from matplotlib.patches import StepPatch

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.text import printable
from mlip_autopipec.report.blocks import collected
from mlip_autopipec.report.canvas import drawn, svg_file
from mlip_autopipec.report.page import report_html

HEAD = ("panel", "title", "x is", "y is", "series", "x", "y")
#: With these a spreadsheet takes a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_figures(events: Sequence[ev.Event], root: Path, folder: Path) -> tuple[Path, ...]:
    """Every figure of the report as NAME.svg and NAME.csv in `folder`.

    Earlier ones are replaced. Raises OSError.
    """
    with collected() as figures:
        report_html(events, root)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, (draw, height_inch) in figures.items():
        for ending, content in (
            ("svg", svg_file(draw, name, height_inch=height_inch)),
            ("csv", drawn(draw, height_inch, csv_of)),
        ):
            path = folder / f"{name}.{ending}"
            path.write_text(content, encoding="utf-8")
            written.append(path)
    return tuple(written)


def csv_of(figure: Figure) -> str:
    """What is drawn in data coordinates: a line per point, and per bar its middle and height."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for number, axes in enumerate(figure.axes, 1):
        title = axes.get_title(loc="left") or axes.get_title()
        about = [str(number), *map(_cell, (title, axes.get_xlabel(), axes.get_ylabel()))]
        for series, x, y in _points(axes):
            writer.writerow([*about, _cell(series), f"{x:.10g}", f"{y:.10g}"])
    return text.getvalue()


def _points(axes: Axes) -> Iterator[tuple[str, float, float]]:
    for line in axes.lines:
        # no level, drawn across
        if not isinstance(line, AxLine) and line.get_transform() == axes.transData:
            yield from _paired(_label(line), line.get_xdata(), line.get_ydata())
    for container in axes.containers:
        if isinstance(container, BarContainer):
            for bar in container.patches:
                yield _label(container), bar.get_x() + bar.get_width() / 2, bar.get_height()
    for patch in axes.patches:
        if isinstance(patch, StepPatch):
            values, edges, _ = patch.get_data()
            limits = np.asarray(edges, dtype=float)
            yield from _paired(_label(patch), (limits[:-1] + limits[1:]) / 2, values)


def _paired(label: str, x: object, y: object) -> Iterator[tuple[str, float, float]]:
    points = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    yield from ((label, float(point), float(other)) for point, other in points)


def _label(artist: Any) -> str:
    """As the legend has it; matplotlib's own names begin with an underscore."""
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _cell(text: str) -> str:
    """One line, and no formula."""
    plain = printable(" ".join(text.split()))
    return f"'{plain}" if plain.startswith(_FORMULA) else plain
