"""The report's figures of γ: over the MD steps, a panel per cycle and a line per walker.

They also show how often it was met.
"""

from collections.abc import Collection, Sequence
from math import log10
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from mlip_autopipec.contract.explore import GAMMA_BINS_PER_DECADE
from mlip_autopipec.contract.results.explore import Ending
from mlip_autopipec.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PURPLE,
    VERMILLION,
    Drawing,
    plain_log,
)
from mlip_autopipec.report.projections import GammaHistogram, WalkerTrace

_FLOOR = 0.1  # lower values are drawn there: how far below gamma_select a frame is tells nothing
_COLUMNS = 4
_PANELS_MAX = 24
_POINTS_MAX = 12_000  # over all panels, so that a long campaign still makes a small page
_CONDITION_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, GREY)
_ENDING_MARKERS = {Ending.HALTED: "X", Ending.EXPLODED: "D"}


def gamma_cycles(traces: Sequence[WalkerTrace]) -> tuple[int, ...]:
    """The cycles that get a panel: all, or of a long campaign the first few and the last."""
    cycles = sorted({trace.cycle for trace in traces})
    if len(cycles) <= _PANELS_MAX:
        return tuple(cycles)
    first = _PANELS_MAX // 3
    return (*cycles[:first], *cycles[first - _PANELS_MAX :])


def gamma_height_inch(traces: Sequence[WalkerTrace]) -> float:
    """Height of the γ figure: a row per four cycles, and the legend."""
    return 0.6 + 1.9 * -(-len(gamma_cycles(traces)) // _COLUMNS)


def gamma_panels(traces: Sequence[WalkerTrace]) -> Drawing:
    """γ of every walker, one panel per cycle; at least one trace."""
    cycles = gamma_cycles(traces)
    conditions = list(dict.fromkeys(trace.label for trace in traces))
    shown = [trace for trace in traces if trace.cycle in cycles]
    points_max = max(12, _POINTS_MAX // len(shown))

    def draw(figure: Figure) -> None:
        columns = min(_COLUMNS, max(2, len(cycles)))
        rows = -(-len(cycles) // columns)
        panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
        for axes, cycle in zip(panels, cycles, strict=False):
            _panel(axes, [trace for trace in shown if trace.cycle == cycle], conditions, points_max)
            axes.set_title(f"cycle {cycle}")
        for axes in panels[len(cycles) :]:
            axes.set_visible(False)
        for axes in panels[max(0, len(cycles) - columns) : len(cycles)]:
            axes.tick_params(labelbottom=True)  # also where the panel below is left empty
        figure.supxlabel("MD steps", fontsize=9)
        figure.supylabel("extrapolation grade γ", fontsize=9)
        figure.legend(
            handles=_legend(shown, conditions), loc="outside upper left", ncols=6, fontsize=8
        )

    return draw


def _panel(
    axes: Any, traces: Sequence[WalkerTrace], conditions: Sequence[str], points_max: int
) -> None:
    axes.set_yscale("log")
    plain_log(axes.yaxis, subs=(1.0,))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    axes.axhline(traces[0].gamma_halt, color=INK, linewidth=0.9)
    axes.axhline(traces[0].gamma_select, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
    for trace in traces:
        points = [(step, max(gamma, _FLOOR)) for step, gamma in _peaks(trace.points, points_max)]
        colour = _condition_colour(trace.label, conditions)
        if points:
            axes.plot(
                *zip(*points, strict=True), color=colour, linewidth=1, alpha=0.9, label=trace.label
            )
        if marker := _ENDING_MARKERS.get(trace.ending):
            height = points[-1][1] if points else max(trace.gamma_max, _FLOOR)
            end = f"{trace.label}, {trace.ending}"
            axes.plot(
                trace.steps,
                height,
                marker,
                color=colour,
                markersize=7,
                markeredgecolor=INK,
                clip_on=False,
                label=end,
            )


def _peaks(points: Sequence[tuple[int, float]], points_max: int) -> list[tuple[int, float]]:
    """At most `points_max` points, each the highest of its stretch.

    So no peak is thinned away; the last point stays.
    """
    if len(points) <= points_max:
        return list(points)
    stride = -(-(len(points) - 1) // (points_max - 1))
    stretches = [points[begin : begin + stride] for begin in range(0, len(points) - 1, stride)]
    return [*(max(stretch, key=lambda point: point[1]) for stretch in stretches), points[-1]]


def _condition_colour(label: str, conditions: Sequence[str]) -> str:
    """A colour per condition while there are enough that can be told apart; else one for all."""
    return (
        _CONDITION_COLOURS[conditions.index(label)]
        if len(conditions) <= len(_CONDITION_COLOURS)
        else BLUE
    )


def _legend(traces: Sequence[WalkerTrace], conditions: Sequence[str]) -> list[Line2D]:
    few = conditions if len(conditions) <= len(_CONDITION_COLOURS) else ()
    lines = [
        Line2D([], [], color=_condition_colour(label, conditions), label=label) for label in few
    ]
    endings = {trace.ending for trace in traces}
    marks = [
        Line2D(
            [],
            [],
            color=GREY,
            markeredgecolor=INK,
            marker=marker,
            linestyle="none",
            markersize=7,
            label=str(ending),
        )
        for ending, marker in _ENDING_MARKERS.items()
        if ending in endings
    ]
    halt, select = (
        {getattr(trace, name) for trace in traces} for name in ("gamma_halt", "gamma_select")
    )
    return [
        *lines,
        *marks,
        Line2D([], [], color=INK, linewidth=0.9, label=f"γ halt {_range(halt)}"),
        Line2D(
            [],
            [],
            color=INK,
            linewidth=0.9,
            linestyle=(0, (2, 2)),
            label=f"γ select {_range(select)}",
        ),
    ]


def _range(values: Collection[float]) -> str:
    """One level, or the lowest and the highest of several."""
    low, high = min(values), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} … {high:.3g}"


def gamma_histogram(found: Sequence[GammaHistogram]) -> Drawing:
    """Share of all looks at γ by height, in the first and last cycle; at least one histogram."""
    shown = ((found[0], GREY, False), (found[-1], BLUE, True))[-min(len(found), 2) :]
    bins = [_bin(edge) for histogram, _, _ in shown for edge in histogram.looks]
    span = range(min(bins), max(bins) + 2)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        edges = [10 ** (index / GAMMA_BINS_PER_DECADE) for index in span]
        for histogram, colour, filled in shown:
            looks = {_bin(edge): number for edge, number in histogram.looks.items()}
            total = sum(looks.values())
            shares = [100 * looks.get(index, 0) / total for index in span[:-1]]
            label = f"cycle {histogram.cycle}, {total} looks"
            axes.stairs(
                shares,
                edges,
                color=colour,
                fill=filled,
                alpha=0.5 if filled else 1,
                linewidth=1.4,
                label=label,
            )
        last = found[-1]
        axes.axvline(
            last.gamma_halt, color=INK, linewidth=0.9, label=f"γ halt {last.gamma_halt:.3g}"
        )
        label = f"γ select {last.gamma_select:.3g}"
        axes.axvline(
            last.gamma_select, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label=label
        )
        axes.set(xscale="log", xlabel="extrapolation grade γ", ylabel="% of looks")
        plain_log(axes.xaxis, subs=(1.0, 2.0, 5.0))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)

    return draw


def _bin(edge: float) -> int:
    return round(GAMMA_BINS_PER_DECADE * log10(edge))
