"""What report sections are built of: a figure with its words, folded rows, a word for nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mlip_autopipec.report.canvas import Drawing, svg
from mlip_autopipec.report.markup import element

#: Rows of a table that could grow without end.
ROWS_MAX = 200


#: Figures by their names, with their heights in inches, where somebody collects them.
_COLLECTING: ContextVar[dict[str, tuple[Drawing, float]] | None] = ContextVar(
    "figures of a report", default=None
)


@contextmanager
def collected() -> Iterator[dict[str, tuple[Drawing, float]]]:
    """The figures that are made meanwhile."""
    figures: dict[str, tuple[Drawing, float]] = {}
    token = _COLLECTING.set(figures)
    try:
        yield figures
    finally:
        _COLLECTING.reset(token)


def figure(draw: Drawing, name: str, alt: str, caption: str, *, height_inch: float = 3.2) -> str:
    """A drawing above its caption; `alt` is for those who cannot see it."""
    if (figures := _COLLECTING.get()) is not None:
        figures[name] = (draw, height_inch)
    drawing = svg(draw, name, alt, height_inch=height_inch)
    return f"<figure>\n{drawing}\n{element('figcaption', caption)}</figure>"


def details(summary: str, content: str, rows: int = 0) -> str:
    """Content to be unfolded; of more than ROWS_MAX `rows` it says that only the last are shown."""
    return f"<details>{element('summary', summary)}{content}{rest(rows)}</details>"


def rest(rows: int) -> str:
    """Where a table of so many rows goes on."""
    return quiet(f"The last {ROWS_MAX} of {rows}; the journal has all.") if rows > ROWS_MAX else ""


def quiet(text: str) -> str:
    """A sentence that need not be read: a remark, or that there is nothing yet."""
    return element("p", text, class_="quiet")
