"""The report's section on the last fit.

It shows the fit's loss, the ways it was tried, and its errors by part of the test set.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mlip_autopipec.contract.results.train import (
    FitReport,
    FittedSettings,
    GroupErrors,
    TrainMetrics,
)
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.report.blocks import figure, quiet
from mlip_autopipec.report.canvas import BLUE, GREY, MUTED, VERMILLION, Drawing, plain_log
from mlip_autopipec.report.markup import element, table
from mlip_autopipec.telling.words import count, duration, figures3, loss_texts

_BY = {"set": "test set", "origin": "origin", "element": "element"}
_STARTS = {
    "scratch": "from scratch",
    "warm": "on from the potential before",
    "given": "brought by the user",
}


@dataclass(frozen=True, slots=True)
class LastFit:
    """The last training that gave its result."""

    cycle: int
    wall_s: float
    metrics: TrainMetrics


def last_fit(events: Iterable[ev.Event]) -> LastFit | None:
    """Its cycle and numbers; None where nothing has been fitted."""
    found, cycle = None, 0
    for event in events:
        match event:
            case ev.PhaseStarted():
                cycle = event.cycle
            case ev.TaskEnded() if isinstance(event.outcome.metrics, TrainMetrics):
                found = LastFit(cycle, event.outcome.wall_s, event.outcome.metrics)
            case _:
                pass
    return found


def fitting(fit: LastFit | None) -> str:
    """What the last fit was like; nothing of it is said elsewhere."""
    if fit is None:
        return quiet("No potential has been fitted yet.")
    metrics = fit.metrics
    text = (
        f"The fit of cycle {fit.cycle} has {count(metrics.functions, 'function')}. Of"
        f" {duration(fit.wall_s)}, {duration(metrics.fit_s)} went to the fit and"
        f" {duration(metrics.active_set_s)} to its active set."
    )
    if len(metrics.fits) > 1:
        ways = ", ".join(
            f"{_STARTS[way.start]} {figures3(way.force_mev_per_angstrom)} meV/Å"
            for way in metrics.fits
        )
        text += (
            f" It was made in {len(metrics.fits)} ways, and the first was kept: {ways} on the test"
            " set."
        )
    return (
        element("p", text)
        + _made_of(metrics)
        + _choice(metrics.fit)
        + _loss(metrics.loss)
        + _parts(metrics.groups, metrics.groups_of_current)
    )


def _made_of(metrics: TrainMetrics) -> str:
    """What was fitted, by element, with the settings of a linear fit."""
    if not metrics.functions_per_element:
        return ""
    text = (
        "Functions: "
        + ", ".join(f"{name} {size}" for name, size in metrics.functions_per_element.items())
        + "."
    )
    if metrics.fit is not None:
        text += f" {_settings(metrics.fit.settings)}."
        if metrics.fit.cost_us is not None:
            text += (
                f" Measured, {figures3(metrics.fit.cost_us)} µs per atom and step on one core,"
                " without γ."
            )
        if metrics.fit.left_out:
            text += (
                f" {count(metrics.fit.left_out, 'direction')} of the fit were lost to rounding and"
                " left out."
            )
    return element("p", text)


def _settings(fitted: FittedSettings) -> str:
    return (
        f"Cutoff {fitted.cutoff_angstrom:g} Å; weights of energy, force and stress"
        f" {fitted.energy_weight:g}, {fitted.force_weight:g} and {fitted.stress_weight:g}; penalty"
        f" {fitted.ridge:.0e}, smoothness {fitted.smoothness:g}"
    )


def _choice(fit: FitReport | None) -> str:
    """The trials of `auto`, as they were made."""
    if fit is None or fit.choice is None:
        return ""
    choice = fit.choice
    text = quiet(
        f"Chosen by cross-validation in {choice.folds} folds (independent trajectories:"
        f" {choice.trajectories}), in {duration(choice.seconds)}; the test set was not looked at."
        " Root-mean-square errors but for the mean absolute one of energies, which is what is"
        " compared; the smallest basis that is surely within a tenth of the best is taken."
    )
    rows = [
        (
            trial.why,
            f"{trial.settings.cutoff_angstrom:g}",
            str(trial.settings.functions_per_element),
            f"{trial.settings.energy_weight:g}",
            f"{trial.settings.smoothness:g}",
            f"{trial.settings.ridge:.0e}",
            figures3(trial.energy_mae_mev_per_atom),
            figures3(trial.energy_mev_per_atom),
            figures3(trial.force_mev_per_angstrom),
            _number(trial.stress_mev_per_atom),
            _number(trial.cost_us),
        )
        for trial in choice.trials
    ]
    head = (
        *(
            "decides",
            "cutoff, Å",
            "functions per element",
            "energy weight",
            "smoothness",
            "penalty",
        ),
        *(
            "energy, MAE, meV/atom",
            "RMS",
            "force, meV/Å",
            "stress, meV/atom",
            "µs per atom and step",
        ),
    )
    return text + table(head, rows, text_columns=(0,))


def _loss(curve: Sequence[tuple[int, int, float, float, float]]) -> str:
    if not curve:
        return quiet(
            "A fit that is solved at once tells no loss; one that takes iterations is drawn here."
        )
    alt = "Loss over the iterations of each stage: " + "; ".join(loss_texts(curve)) + "."
    caption = (
        "The trainer's loss over its iterations, stage after stage, with the errors on the training"
        " set that it counts. Stages weigh forces and energies differently, so the loss may jump"
        " between two of them."
    )
    return figure(_drawn(curve), "loss", alt, caption)


def _drawn(curve: Sequence[tuple[int, int, float, float, float]]) -> Drawing:
    def draw(page: Figure) -> None:
        left, right = page.subplots(1, 2)
        begins = [index for index in range(1, len(curve)) if curve[index][0] != curve[index - 1][0]]
        stages = list(pairwise((0, *begins, len(curve))))
        lines = (
            (left, 2, BLUE, "loss"),
            (right, 4, VERMILLION, "force, meV/Å"),
            (right, 3, GREY, "energy, meV/atom"),
        )
        for axes, column, colour, label in lines:
            for number, (first, end) in enumerate(stages):
                values = [point[column] for point in curve[first:end]]
                axes.plot(
                    range(first, end), values, ".-", color=colour, label="" if number else label
                )
        left.set(title="Loss", yscale="log")
        right.set(title="Errors on the training set", yscale="log")
        right.legend(loc="best", fontsize=8)
        shown = sorted({0, *begins, len(curve) - 1})
        for axes in (left, right):
            plain_log(axes.yaxis)
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("iteration of its stage")
            axes.set_xticks(shown, labels=[str(curve[index][1]) for index in shown])
            for index in begins:
                axes.axvline(index - 0.5, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))

    return draw


def _parts(groups: Sequence[GroupErrors], before: Sequence[GroupErrors]) -> str:
    """Errors of the new potential by set, origin and element, beside those of the one before it."""
    if not groups:
        return ""
    earlier = {(group.by, group.name): group for group in before}
    rows = []
    for group in sorted(groups, key=lambda group: list(_BY).index(group.by)):
        current = earlier.get((group.by, group.name))
        rows.append(
            (
                _BY[group.by],
                group.name,
                str(group.atoms),
                _number(group.energy_mev_per_atom),
                _number(current.energy_mev_per_atom if current else None),
                _number(group.force_mev_per_angstrom),
                _number(current.force_mev_per_angstrom if current else None),
                _number(group.stress_gpa),
                _number(group.force_p95_mev_per_angstrom),
                _number(group.force_max_mev_per_angstrom),
            )
        )
    head = (
        "by",
        "part of the test set",
        "atoms",
        "energy, meV/atom",
        "before",
        "force, meV/Å",
        "before",
        "stress, GPa",
        "95 %",
        "worst",
    )
    text = quiet(
        "Root-mean-square errors on one and the same test set, of the new potential and of the one"
        " before it; 95 % of the atoms err in force by less than the last but one column says, and"
        " the worst by the last."
    )
    return text + table(head, rows, text_columns=(0, 1))


def _number(value: float | None) -> str:
    return "–" if value is None else figures3(value)
