"""The report's figures but for γ: each function takes a projection and gives back what draws it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.outcome import Errors
from mlip_autopipec.report.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Drawing,
    plain_log,
)
from mlip_autopipec.report.durations import PhaseTime
from mlip_autopipec.report.parity import Pairs, Parity
from mlip_autopipec.report.projections import LabelOrigin, LineFit, on_last_test_set
from mlip_autopipec.telling.words import figures3

_MANY_DECADES = 300  # a logarithmic axis that spans more is labelled at powers of ten only
_ERROR_FLOOR = 1e-3  # meV; a logarithmic axis knows no zero
_PARITY_POINTS_MAX = 20_000
_CYCLE_TICKS_MAX = 12
_CYCLES_SHOWN_MIN = 6  # so that the bars of a young campaign are no walls
_TRAINING = "each fit, its own training set"
_ON_LAST_TEST_SET = "each potential, today's test set"
_PHASE_COLOURS = {
    Phase.GENERATION: GREY,
    Phase.EXPLORATION: BLUE,
    Phase.SELECTION: PURPLE,
    Phase.CALCULATION: VERMILLION,
    Phase.TRAINING: GREEN,
}
_ORIGINS: Mapping[tuple[str, Role], tuple[str, str]] = {
    ("generated", Role.TRAIN): ("generated", GREY),
    ("halt", Role.TRAIN): ("halts", VERMILLION),
    ("collected", Role.TRAIN): ("collected before the end", BLUE),
    ("informed", Role.TRAIN): ("expected to teach most", BLUE),
    ("farthest", Role.TRAIN): ("farthest from what was known", BLUE),
    ("d_optimal", Role.TRAIN): ("chosen by pace_select", SKY),
    ("random", Role.TRAIN): ("random", ORANGE),
    ("generated", Role.TEST): ("generated, test only", PURPLE),
    ("audit", Role.TEST): ("audits of random frames, test only", GREEN),
    ("stray", Role.TEST): ("random frames of walks that led astray, test only", MUTED),
    ("property", Role.PROPERTY): ("volumes and strains, for the gate only", INK),
    ("isolated atom", Role.ISOLATED_ATOM): ("isolated atoms, for their energies only", MUTED),
}


# --- learning curves ---------------------------------------------------------------------------------------------


def learning_curves(fits: Sequence[LineFit]) -> Drawing:
    """Errors of force and energy against training labels; at least one fit."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _learning(left, fits, "Force error", "meV/Å", lambda errors: errors.force_mev_per_angstrom)
        _learning(right, fits, "Energy error", "meV/atom", lambda errors: errors.energy_mev_per_atom)
        left.legend(loc="best", fontsize=8)

    return draw


def _learning(axes: Any, fits: Sequence[LineFit], title: str, unit: str, pick: Callable[[Errors], float]) -> None:
    train = [max(pick(fit.train), _ERROR_FLOOR) for fit in fits]
    axes.plot(
        [fit.labels_train for fit in fits], train, color=GREY, linestyle=(0, (4, 2)), linewidth=1.2, label=_TRAINING
    )
    curve = on_last_test_set(fits)
    labels = [fit.labels_train for fit, _ in curve]
    test = [max(pick(errors), _ERROR_FLOOR) for _, errors in curve]
    axes.plot(labels, test, "o-", color=BLUE, label=_ON_LAST_TEST_SET)
    if not fits[-1].promoted:
        axes.plot(labels[-1], test[-1], "o", color=BLUE, markerfacecolor="white")
    axes.set(title=f"{title} (RMSE, {unit})", xlabel="training labels", xscale="log", yscale="log")
    wide = max(test + train) > _MANY_DECADES * min(test + train)
    plain_log(axes.yaxis, subs=(1.0,) if wide else (1.0, 2.0, 5.0))
    ticks = _spaced([fit.labels_train for fit in fits])
    axes.set_xticks(ticks, labels=[str(label) for label in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.2, y=0.18)
    _annotate(axes, "bootstrap", labels[0], test[0])
    if len(curve) > 1:
        _annotate(axes, "final" if fits[-1].promoted else "last", labels[-1], test[-1])


def _annotate(axes: Any, words: str, x: float, y: float) -> None:
    """To the upper right of a point, which a falling curve leaves free."""
    axes.annotate(f"{words} {figures3(y)}", (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8)


def _spaced(labels: Sequence[int]) -> list[int]:
    """Numbers of labels to write below a logarithmic axis, far enough from each other; about eight."""
    apart = max(1.2, (max(labels) / max(min(labels), 1)) ** (1 / 8))
    chosen: list[int] = []
    for label in sorted(set(labels)):
        if not chosen or label > chosen[-1] * apart:
            chosen.append(label)
    return chosen


# --- bars per cycle ----------------------------------------------------------------------------------------------


def origin_bars(origins: Sequence[LabelOrigin]) -> Drawing:
    """Labels per cycle, stacked by where their structures came from."""
    kinds = dict.fromkeys((*_ORIGINS, *((origin.kind, origin.role) for origin in origins)))
    parts = []
    for kind, role in kinds:
        words, colour = _ORIGINS.get((kind, role), (f"{kind}, {role}", INK))
        heights = {origin.cycle: origin.count for origin in origins if (origin.kind, origin.role) == (kind, role)}
        if heights:
            parts.append((words, colour, heights))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _stacked(axes, sorted({origin.cycle for origin in origins}), parts)
        axes.set(title="Labels added per cycle", xlabel="cycle")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))

    return draw


def time_bars(times: Sequence[PhaseTime]) -> Drawing:
    """Wall time per cycle: by phase, and by what the time went to."""
    cycles = sorted({time.cycle for time in times})
    unit_s, unit = _time_unit(max(sum(time.wall_s for time in times if time.cycle == cycle) for cycle in cycles))

    def per_cycle(some: Sequence[PhaseTime], pick: Callable[[PhaseTime], float]) -> dict[int, float]:
        return {cycle: sum(pick(time) for time in some if time.cycle == cycle) / unit_s for cycle in cycles}

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        phases = [
            (phase.value, _PHASE_COLOURS[phase], per_cycle([time for time in times if time.phase is phase], _wall_s))
            for phase in Phase
        ]
        shares = (
            ("tasks running", BLUE, per_cycle(times, lambda time: time.running_s)),
            ("waiting in the queue", GREY, per_cycle(times, lambda time: time.queued_s)),
            ("neither", VERMILLION, per_cycle(times, lambda time: time.overhead_s)),
        )
        _stacked(left, cycles, phases)
        _stacked(right, cycles, shares)
        left.set(title=f"Wall time by phase ({unit})", xlabel="cycle")
        right.set(title=f"Wall time by what it went to ({unit})", xlabel="cycle")

    return draw


def _stacked(axes: Any, cycles: Sequence[int], parts: Iterable[tuple[str, str, Mapping[int, float]]]) -> None:
    base = dict.fromkeys(cycles, 0.0)
    for words, colour, heights in parts:
        values = [heights.get(cycle, 0.0) for cycle in cycles]
        axes.bar(cycles, values, bottom=list(base.values()), width=0.7, color=colour, label=words)
        base = {cycle: base[cycle] + value for cycle, value in zip(cycles, values, strict=True)}
    axes.set_xlim(cycles[0] - 0.6, max(cycles[-1] + 0.6, cycles[0] + _CYCLES_SHOWN_MIN - 0.4))
    axes.set_xticks(cycles[:: -(-len(cycles) // _CYCLE_TICKS_MAX)])
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.12)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.2), ncols=5, fontsize=8, columnspacing=1, handlelength=1)


def _wall_s(time: PhaseTime) -> float:
    return time.wall_s


def _time_unit(longest_s: float) -> tuple[float, str]:
    for unit_s, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest_s >= 2 * unit_s:
            return unit_s, unit
    return 1.0, "seconds"


# --- parity ------------------------------------------------------------------------------------------------------


def parity_panels(columns: Sequence[tuple[str, Parity, LineFit]]) -> Drawing:
    """Prediction against label: energies of each potential, then forces; below them the residuals, on their own scale.

    Each quantity has the same limits throughout. The errors written into the panels are those of the fit, over all
    labels: the forces shown may be thinned.
    """

    def draw(figure: Figure) -> None:
        panels, below = figure.subplots(2, 2 * len(columns), height_ratios=(3, 2))
        energies, forces = panels[: len(columns)], panels[len(columns) :]
        residuals = below[: len(columns)], below[len(columns) :]
        for axes, (title, parity, fit) in zip(energies, columns, strict=True):
            _parity(axes, parity.train.energy_ev_per_atom, parity.test.energy_ev_per_atom)
            _corner(axes, f"test {figures3(fit.test.energy_mev_per_atom)} meV/atom")
            axes.set(title=f"Energy, {title}")
        for axes, (title, parity, fit) in zip(forces, columns, strict=True):
            _parity(axes, parity.train.force_ev_per_angstrom, parity.test.force_ev_per_angstrom)
            _corner(axes, f"test {figures3(fit.test.force_mev_per_angstrom)} meV/Å")
            axes.set(title=f"Force, {title}")
        _square(energies)
        _square(forces)
        for axes, (_, parity, _) in zip(residuals[0], columns, strict=True):
            _residuals(axes, parity.train.energy_ev_per_atom, parity.test.energy_ev_per_atom)
            axes.set(xlabel="label (eV/atom)", title="Residual (meV/atom)")
        for axes, (_, parity, _) in zip(residuals[1], columns, strict=True):
            _residuals(axes, parity.train.force_ev_per_angstrom, parity.test.force_ev_per_angstrom)
            axes.set(xlabel="label (eV/Å)", title="Residual (meV/Å)")
        for upper, lower in zip((energies, forces), residuals, strict=True):
            _alike(upper, lower)
        energies[0].set_ylabel("prediction")
        residuals[0][0].set_ylabel("prediction - label")
        handles, words = energies[0].get_legend_handles_labels()
        figure.legend(handles, words, loc="outside upper left", ncols=2, fontsize=8, markerscale=2)

    return draw


def _corner(axes: Any, words: str) -> None:
    axes.text(0.97, 0.04, words, transform=axes.transAxes, ha="right", fontsize=8)


def _square(row: Sequence[Any]) -> None:
    """The same limits for label and prediction, and in every panel of the row."""
    limits = [limit for axes in row for limit in (*axes.get_xlim(), *axes.get_ylim())]
    for axes in row:
        axes.set(xlim=(min(limits), max(limits)), ylim=(min(limits), max(limits)), aspect="equal")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.axline((0, 0), slope=1, color=MUTED, linewidth=0.8, zorder=1)


def _alike(upper: Sequence[Any], lower: Sequence[Any]) -> None:
    """Residuals of one quantity on one scale, zero in the middle, below the labels that they belong to."""
    most = max(abs(limit) for axes in lower for limit in axes.get_ylim())
    for above, axes in zip(upper, lower, strict=True):
        axes.set(xlim=above.get_xlim(), ylim=(-most, most))
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)


def _residuals(axes: Any, train: Pairs, test: Pairs) -> None:
    """Prediction less label, a thousand times: so small an error is nothing beside the labels themselves."""
    _parity(axes, *(tuple((label, 1e3 * (told - label)) for label, told in pairs) for pairs in (train, test)))


def _parity(axes: Any, train: Pairs, test: Pairs) -> None:
    for pairs, colour, marker, words in ((train, BLUE, "o", "training set"), (test, VERMILLION, "^", "test set")):
        thinned = pairs[:: max(1, len(pairs) // _PARITY_POINTS_MAX)]
        if thinned:
            axes.plot(
                *zip(*thinned, strict=True),
                marker,
                color=colour,
                markersize=3,
                markeredgewidth=0,
                alpha=0.6,
                label=words,
                rasterized=True,  # thousands of points are smaller as pixels than as paths
            )
