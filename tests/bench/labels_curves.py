"""Curves of `scripts/bench labels`.

They are errors against labels, medians over draws, and labels to a given error.
"""

import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from labels_fit import Scores

Say = Callable[[str], None]

#: What is measured of a potential: name → unit.
MEASURES: Mapping[str, str] = {
    "force, all": "meV/Å",
    "force, worst condition": "meV/Å",
    "force, 99 %": "meV/Å",
    "energy, all": "meV/atom",
    "energy, worst condition": "meV/atom",
}
COUNTS = (5, 10, 20, 40, 60, 100)
#: Where the aim is set.
COMPARED_AT = (20, 50, 100)


def values(scores: Scores) -> dict[str, float]:
    """Each measure of a potential, and each condition's force tail as `force, 99 %, CONDITION`."""
    return {
        "force, all": scores.everything.force,
        "force, worst condition": scores.worst,
        "force, 99 %": scores.everything.tail,
        "energy, all": scores.everything.energy,
        "energy, worst condition": max(errors.energy for errors in scores.by_condition.values()),
        **{f"force, {name}": errors.force for name, errors in scores.by_condition.items()},
        **{f"energy, {name}": errors.energy for name, errors in scores.by_condition.items()},
        **{f"force, 99 %, {name}": errors.tail for name, errors in scores.by_condition.items()},
    }


@dataclass(frozen=True)
class Point:
    """After so many labels."""

    labels: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """One draw of one way to choose: points with more and more labels; the first may have none."""

    way: str
    points: Sequence[Point]

    def at(self, labels: float, measure: str) -> float | None:
        """The error after so many labels, logarithms interpolated; None outside of the curve."""
        for left, right in zip(self.points, self.points[1:], strict=False):
            if left.labels <= labels <= right.labels and right.labels > left.labels:
                part = (math.log1p(labels) - math.log1p(left.labels)) / (
                    math.log1p(right.labels) - math.log1p(left.labels)
                )
                low, high = left.values[measure], right.values[measure]
                return math.exp((1 - part) * math.log(low) + part * math.log(high))
        return None

    def labels_to(self, error: float, measure: str) -> float:
        """Labels until the error is so small, logarithms interpolated; infinity if it never is."""
        # a condition of another site file
        if any(measure not in point.values for point in self.points):
            return math.inf
        if self.points and self.points[0].values[measure] <= error:
            return float(self.points[0].labels)
        for left, right in zip(self.points, self.points[1:], strict=False):
            low, high = left.values[measure], right.values[measure]
            if high <= error < low:
                part = (math.log(low) - math.log(error)) / (math.log(low) - math.log(high))
                return math.expm1(
                    (1 - part) * math.log1p(left.labels) + part * math.log1p(right.labels)
                )
        return math.inf


def curves_as_json(curves: Iterable[Curve]) -> list[Any]:
    """To keep."""
    return [
        {
            "way": curve.way,
            "points": [{"labels": p.labels, "values": dict(p.values)} for p in curve.points],
        }
        for curve in curves
    ]


def as_text(curves: Iterable[Curve]) -> str:
    """JSON."""
    return json.dumps(curves_as_json(curves))


def curves_of_json(content: Sequence[Any]) -> list[Curve]:
    """What was kept."""
    return [
        Curve(entry["way"], [Point(p["labels"], p["values"]) for p in entry["points"]])
        for entry in content
    ]


def spread(numbers: Sequence[float]) -> tuple[float, float, float]:
    """Median, least, largest; infinities are fine."""
    return statistics.median(numbers), min(numbers), max(numbers)


def with_spread(numbers: Sequence[float], digits: int = 3) -> str:
    """Median and range, or the one number."""
    if not numbers:
        return "–"
    median, least, largest = (_number(number, digits) for number in spread(numbers))
    return median if len(numbers) == 1 or least == largest else f"{median} ({least}-{largest})"


def _number(number: float, digits: int) -> str:
    if not math.isfinite(number):
        return "never"
    return f"{number:.{digits}g}" if number < 10**digits else f"{number:.0f}"


def by_way(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """Draws of each way together, in the order in which the ways come."""
    return {
        way: [curve for curve in curves if curve.way == way]
        for way in dict.fromkeys(c.way for c in curves)
    }


def pool_table(curves: Sequence[Curve], measure: str) -> list[str]:
    """Markdown: labels by ways, median and range over draws."""
    ways = by_way(curves)
    counts = sorted({point.labels for curve in curves for point in curve.points})
    lines = ["| labels | " + " | ".join(ways) + " |", "|" + "---|" * (len(ways) + 1)]
    for count in counts:
        cells = []
        for draws in ways.values():
            found = [
                p.values[measure] for curve in draws for p in curve.points if p.labels == count
            ]
            cells.append(with_spread(found) if found else "")
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return lines


def ratio_table(curves: Sequence[Curve], base: str, measure: str) -> list[str]:
    """Markdown: labels with which each way is as good as `base` after 20, 50 and 100.

    They are also given as a part of these.
    """
    ways = by_way(curves)
    lines = [
        "| labels of "
        + base
        + " | its error | "
        + " | ".join(way for way in ways if way != base)
        + " |"
    ]
    lines.append("|" + "---|" * (len(ways) + 1))
    for count in COMPARED_AT:
        error = error_of(ways[base], count, measure)
        if error is None:
            continue
        cells = []
        for way, draws in ways.items():
            if way == base:
                continue
            needed = [curve.labels_to(error, measure) for curve in draws]
            cells.append(
                f"{with_spread(needed)} · {with_spread([item / count for item in needed], 2)}"
            )
        lines.append(f"| {count} | {_number(error, 3)} | " + " | ".join(cells) + " |")
    return lines


def condition_table(curves: Sequence[Curve], base: str, count: int) -> list[str]:
    """Markdown: by condition the tail that `base` has after so many labels.

    Beside it stand labels to it as a part of these.
    """
    ways = by_way(curves)
    prefix = "force, 99 %, "
    lines = [
        f"| condition | tail at {count} | " + " | ".join(way for way in ways if way != base) + " |"
    ]
    lines.append("|" + "---|" * (len(ways) + 1))
    for measure in curves[0].points[0].values:
        error = error_of(ways[base], count, measure) if measure.startswith(prefix) else None
        if error is None:
            continue
        cells = [
            with_spread([curve.labels_to(error, measure) / count for curve in draws], 2)
            for way, draws in ways.items()
            if way != base
        ]
        lines.append(
            f"| {measure.removeprefix(prefix)} | {_number(error, 3)} | " + " | ".join(cells) + " |"
        )
    return lines


def error_of(draws: Sequence[Curve], count: float, measure: str) -> float | None:
    """The median over draws after so many labels."""
    found = [error for curve in draws if (error := curve.at(count, measure)) is not None]
    return statistics.median(found) if found else None


def picture(curves: Sequence[Curve], path: Path, title: str) -> None:
    """Error against labels, each way a colour: median as a line, range as a shade."""
    import matplotlib as mpl  # noqa: PLC0415 - slow, and needed at the end alone

    mpl.use("Agg")
    import matplotlib.ticker  # noqa: PLC0415
    from matplotlib import pyplot as plt  # noqa: PLC0415

    shown = ("force, all", "force, worst condition", "force, 99 %", "energy, all")
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for axis, measure in zip(axes.flat, shown, strict=True):
        for number, (way, draws) in enumerate(by_way(curves).items()):
            colour, marker = f"C{number}", "o" if way.startswith("a") else ""
            if way.startswith("a"):
                for index, curve in enumerate(draws):
                    points = [point for point in curve.points if point.labels > 0]
                    axis.plot(
                        [p.labels for p in points],
                        [p.values[measure] for p in points],
                        color=colour,
                        marker=marker,
                        label=way if index == 0 else None,
                    )
                continue
            counts = sorted({p.labels for curve in draws for p in curve.points if p.labels > 0})
            found = [
                [p.values[measure] for c in draws for p in c.points if p.labels == count]
                for count in counts
            ]
            axis.plot(counts, [float(np.median(each)) for each in found], color=colour, label=way)
            axis.fill_between(
                counts,
                [min(each) for each in found],
                [max(each) for each in found],
                color=colour,
                alpha=0.15,
            )
        axis.set(
            xscale="log", yscale="log", xlabel="training labels beyond the generated", title=measure
        )
        axis.set_ylabel(
            f"RMSE, {MEASURES[measure]}"
            if "99" not in measure
            else f"99th percentile, {MEASURES[measure]}"
        )
        axis.grid(visible=True, which="both", alpha=0.2)
        axis.set_xticks(COUNTS, labels=[str(count) for count in COUNTS])
        axis.minorticks_off()
        axis.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axes[0, 0].legend(fontsize=8)
    figure.suptitle(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def read_curves(path: Path) -> list[Curve]:
    """Of a file that was kept; none if there is no file."""
    return curves_of_json(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []
