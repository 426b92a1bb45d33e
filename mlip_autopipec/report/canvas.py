"""What every figure shares: its look, and how it becomes SVG that stands inside HTML, or pixels.

Text stays text, in the reader's own font, and the ink has one colour of its own, so that a style
sheet can turn it light on a dark page. Data colours are from the palette of Okabe and Ito, kept or
shifted so that they have a contrast of 3:1 on white and on near-black. What colour tells is told by
marker, dash or place as well.
"""

from collections.abc import Callable, Mapping
from io import BytesIO, StringIO
from typing import Any, TypeVar

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mlip_autopipec.report.markup import inline_svg
from mlip_autopipec.telling.words import one_line

T = TypeVar("T")
INK, MUTED, GRID = "#1f2328", "#6e7681", "#d9dde3"
BLUE, VERMILLION, GREEN, PURPLE, GREY = "#0072b2", "#d55e00", "#009e73", "#b8659a", "#7d848d"
SKY, ORANGE = "#56b4e9", "#e69f00"

#: Draws on an empty figure. It is called inside `svg` or `png`, under the style below.
Drawing = Callable[[Figure], None]

_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
}
_WIDTH_INCH = 9.2
#: Characters of a label; a longer one would leave no room for what it is about.
_LABEL_MAX = 60


def svg(draw: Drawing, name: str, alt: str, *, height_inch: float = 3.2) -> str:
    """An `<svg>` element as wide as the page; `name` keeps its ids apart from other figures'."""
    return inline_svg(_svg_text(draw, name, height_inch, _STYLE), name, alt)


def svg_file(draw: Drawing, name: str, *, height_inch: float = 3.2) -> str:
    """The same figure as a file by itself, on white."""
    return _svg_text(draw, name, height_inch, {**_STYLE, "figure.facecolor": "white"})


def drawn(draw: Drawing, height_inch: float, look: Callable[[Figure], T]) -> T:
    """What `look` finds in the figure, drawn as the report has it."""
    with rc_context(dict(_STYLE)):
        return look(_drawn(draw, height_inch))


def _svg_text(draw: Drawing, name: str, height_inch: float, style: Mapping[str, Any]) -> str:
    text = StringIO()
    with rc_context({**style, "svg.hashsalt": name}):
        figure = _drawn(draw, height_inch)
        FigureCanvasSVG(figure).print_svg(
            text, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    return text.getvalue()


def png(draw: Drawing, *, height_inch: float = 3.2) -> bytes:
    """The same figure as pixels on white, 200 per inch, for a slide."""
    content = BytesIO()
    with rc_context({**_STYLE, "figure.facecolor": "white", "figure.dpi": 200}):
        FigureCanvasAgg(_drawn(draw, height_inch)).print_png(content)
    return content.getvalue()


def _drawn(draw: Drawing, height_inch: float) -> Figure:
    figure = Figure(figsize=(_WIDTH_INCH, height_inch), layout="constrained")
    draw(figure)
    _keep_text_plain(figure)
    return figure


def _keep_text_plain(figure: Figure) -> None:
    """Let no word of others be taken for mathematics, which may not parse, or break the SVG.

    Ticks are left alone: their words are matplotlib's own, and the numbers that were given to it.
    """
    axes = [each for ax in figure.axes for each in (ax.xaxis, ax.yaxis)]
    ticks = {
        label
        for axis in axes
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
    }
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in ticks and text.get_text():
            text.set_parse_math(False)
            text.set_text(one_line(text.get_text(), _LABEL_MAX))


def plain_log(axis: Any, subs: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    """Numbers on a logarithmic axis as people write them, at `subs` of every decade."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
