"""The report's figures but for γ: each function takes a projection and gives back what draws it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
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


# --- learning curves ------------------------------------------------------------------------------


def learning_curves(fits: Sequence[LineFit]) -> Drawing:
    """Errors of force and energy against training labels; at least one fit."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _learning(left, fits, "Force error", "meV/Å", lambda errors: errors.force_mev_per_angstrom)
        _learning(
            right, fits, "Energy error", "meV/atom", lambda errors: errors.energy_mev_per_atom
        )
        left.legend(loc="best", fontsize=8)

    return draw


def _learning(
    axes: Any, fits: Sequence[LineFit], title: str, unit: str, pick: Callable[[Errors], float]
) -> None:
    train = [max(pick(fit.train), _ERROR_FLOOR) for fit in fits]
    axes.plot(
        [fit.labels_train for fit in fits],
        train,
        color=GREY,
        linestyle=(0, (4, 2)),
        linewidth=1.2,
        label=_TRAINING,
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


def _annotate(axes: Any, text: str, x: float, y: float) -> None:
    """To the upper right of a point, which a falling curve leaves free."""
    axes.annotate(
        f"{text} {figures3(y)}", (x, y), xytext=(6, 4), textcoords="offset points", fontsize=8
    )


def _spaced(labels: Sequence[int]) -> list[int]:
    """Numbers of labels to write below a logarithmic axis, far enough apart; about eight."""
    apart = max(1.2, (max(labels) / max(min(labels), 1)) ** (1 / 8))
    chosen: list[int] = []
    for label in sorted(set(labels)):
        if not chosen or label > chosen[-1] * apart:
            chosen.append(label)
    return chosen


# --- bars per cycle -------------------------------------------------------------------------------


def origin_bars(origins: Sequence[LabelOrigin]) -> Drawing:
    """Labels per cycle, stacked by where their structures came from."""
    kinds = dict.fromkeys((*_ORIGINS, *((origin.kind, origin.role) for origin in origins)))
    parts = []
    for kind, role in kinds:
        label, colour = _ORIGINS.get((kind, role), (f"{kind}, {role}", INK))
        heights = {
            origin.cycle: origin.count
            for origin in origins
            if (origin.kind, origin.role) == (kind, role)
        }
        if heights:
            parts.append((label, colour, heights))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _stacked(axes, sorted({origin.cycle for origin in origins}), parts, legend_columns=3)
        axes.set(title="Labels added per cycle", xlabel="cycle")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))

    return draw


def time_bars(times: Sequence[PhaseTime]) -> Drawing:
    """Wall time per cycle: by phase, and by what the time went to."""
    cycles = sorted({time.cycle for time in times})
    unit_s, unit = _time_unit(
        max(sum(time.wall_s for time in times if time.cycle == cycle) for cycle in cycles)
    )

    def per_cycle(
        some: Sequence[PhaseTime], pick: Callable[[PhaseTime], float]
    ) -> dict[int, float]:
        return {
            cycle: sum(pick(time) for time in some if time.cycle == cycle) / unit_s
            for cycle in cycles
        }

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        phases = [
            (
                phase.value,
                _PHASE_COLOURS[phase],
                per_cycle([time for time in times if time.phase is phase], _wall_s),
            )
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


def _stacked(
    axes: Any,
    cycles: Sequence[int],
    parts: Iterable[tuple[str, str, Mapping[int, float]]],
    *,
    legend_columns: int = 5,
) -> None:
    base = dict.fromkeys(cycles, 0.0)
    for label, colour, heights in parts:
        values = [heights.get(cycle, 0.0) for cycle in cycles]
        axes.bar(cycles, values, bottom=list(base.values()), width=0.7, color=colour, label=label)
        base = {cycle: base[cycle] + value for cycle, value in zip(cycles, values, strict=True)}
    axes.set_xlim(cycles[0] - 0.6, max(cycles[-1] + 0.6, cycles[0] + _CYCLES_SHOWN_MIN - 0.4))
    axes.set_xticks(cycles[:: -(-len(cycles) // _CYCLE_TICKS_MAX)])
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.12)
    look = {"fontsize": 8, "columnspacing": 1, "handlelength": 1}
    axes.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.2), ncols=legend_columns, **look)


def _wall_s(time: PhaseTime) -> float:
    return time.wall_s


def _time_unit(longest_s: float) -> tuple[float, str]:
    for unit_s, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if longest_s >= 2 * unit_s:
            return unit_s, unit
    return 1.0, "seconds"


# --- parity ---------------------------------------------------------------------------------------


def parity_panels(columns: Sequence[tuple[str, Parity, LineFit]]) -> Drawing:
    """Prediction against label: energies above, forces below; residuals beside, on their own scale.

    Each quantity has the same limits throughout. The errors written into the panels are those of
    the fit, over all labels: the forces shown may be thinned.
    """

    def draw(figure: Figure) -> None:
        energies, forces = figure.subplots(2, 2 * len(columns))
        for panels, (title, parity, fit) in zip(_by_twos(energies), columns, strict=True):
            _beside(panels, parity.train.energy_ev_per_atom, parity.test.energy_ev_per_atom)
            _corner(panels[0], f"test {figures3(fit.test.energy_mev_per_atom)} meV/atom")
            panels[0].set(title=f"Energy, {title}", xlabel="label (eV/atom)")
            panels[1].set(title="Residual (meV/atom)", xlabel="label (eV/atom)")
        for panels, (title, parity, fit) in zip(_by_twos(forces), columns, strict=True):
            _beside(panels, parity.train.force_ev_per_angstrom, parity.test.force_ev_per_angstrom)
            _corner(panels[0], f"test {figures3(fit.test.force_mev_per_angstrom)} meV/Å")
            panels[0].set(title=f"Force, {title}", xlabel="label (eV/Å)")
            panels[1].set(title="Residual (meV/Å)", xlabel="label (eV/Å)")
        for row in (energies, forces):
            _square(row[::2])
            _alike(row[::2], row[1::2])
            row[0].set_ylabel("prediction")
            row[1].set_ylabel("prediction - label")
        handles, labels = energies[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2, fontsize=8, markerscale=2)

    return draw


def _by_twos(row: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    """Each panel of predictions with that of its residuals."""
    return zip(row[::2], row[1::2], strict=True)


def _beside(panels: tuple[Any, Any], train: Pairs, test: Pairs) -> None:
    """Predictions, and residuals: a thousand times what a prediction is off by.

    What it is off by is nothing beside the labels.
    """
    _parity(panels[0], train, test)
    _parity(
        panels[1],
        *(
            tuple((label, 1e3 * (message - label)) for label, message in pairs)
            for pairs in (train, test)
        ),
    )


def _corner(axes: Any, text: str) -> None:
    axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", fontsize=8)


def _square(row: Sequence[Any]) -> None:
    """The same limits for label and prediction, and in every panel of the row."""
    limits = [limit for axes in row for limit in (*axes.get_xlim(), *axes.get_ylim())]
    for axes in row:
        axes.set(xlim=(min(limits), max(limits)), ylim=(min(limits), max(limits)), aspect="equal")
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.axline((0, 0), slope=1, color=MUTED, linewidth=0.8, zorder=1)


def _alike(parities: Sequence[Any], residuals: Sequence[Any]) -> None:
    """One quantity's residuals on one scale, zero in the middle, over the predictions' labels."""
    most = max(abs(limit) for axes in residuals for limit in axes.get_ylim())
    for parity, axes in zip(parities, residuals, strict=True):
        axes.set(xlim=parity.get_xlim(), ylim=(-most, most), box_aspect=1)
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)


def _parity(axes: Any, train: Pairs, test: Pairs) -> None:
    for pairs, colour, marker, label in (
        (train, BLUE, "o", "training set"),
        (test, VERMILLION, "^", "test set"),
    ):
        thinned = pairs[:: max(1, len(pairs) // _PARITY_POINTS_MAX)]
        if thinned:
            axes.plot(
                *zip(*thinned, strict=True),
                marker,
                color=colour,
                markersize=3,
                markeredgewidth=0,
                alpha=0.6,
                label=label,
                rasterized=True,  # thousands of points are smaller as pixels than as paths
            )
