"""The γ levels for a cycle's walkers: the site file's, or what a target in force makes of them.

γ says how far an environment lies outside the active set, and not how wrong its forces are; which γ
is too much differs from one system and basis to the next. With
`exploration.force_error_target_mev_per_angstrom`, γ select becomes the γ at which the calibration
of the last fit expects that error (`gamma_at`), and γ halt keeps its ratio to it. Positions:

- **The site file's level stays the anchor.** γ select moves no farther than to its double or its
  half, and never nearer to 1 than half the way, as a logarithm (its root): at 1 and below nothing
  extrapolates, and every frame would be collected; far above, MD would walk on under forces that
  mean nothing. So an odd calibration can cost labels, or leave some out, and can't run away: the
  bounds are the same in every cycle, whatever came before.
- **The calibration is over all labels so far**, those of early and worse potentials among them. At
  a given γ it expects rather too much error than too little, and the level errs to the side of
  asking.
- **The first element to reach the target decides.** One that never erred so much sets no level.
  Where none did, the error stays below the target as far up as anything has been labelled, and that
  highest γ is the level.
- **A walk is stopped by what is unphysical, not by what is new.** Behind its core repulsion and the
  guards of temperature, pressure, volume and distance a bootstrap potential walks on at γ of tens
  of thousands, and what it meets there is what the choice needs to see. So γ halt begins at
  `gamma_halt_first`, and follows the evidence down: to half the γ at which a guard last struck, and
  to ten times the largest γ that a whole walk met, but never below `gamma_halt`, which is the level
  up to which a walk is quiet. With `selection.acquisition: gamma_window` γ halt is `gamma_halt`
  from the first cycle, as in the literature.
- **A cycle has one level**: of the cycles closed before it. Exploration and Selection of a cycle
  agree on it, and a campaign without a calibration yet (its first cycles) walks at the site file's.
"""

from collections.abc import Sequence
from itertools import pairwise

from mlip_autopipec.config.schemas.phases import ExplorationSection
from mlip_autopipec.contract.results.train import Calibration
from mlip_autopipec.contract.select import SelectionSettings
from mlip_autopipec.data_models.digest import CycleSummary, GammaLevels

_DECIMALS = 3


#: γ halt is so many times the largest γ that a whole walk met …
_HEADROOM = 10.0
#: … and this part of the smallest at which a guard struck.
_BEFORE_GUARD = 0.5


def gamma_levels(
    section: ExplorationSection, selection: SelectionSettings, cycles: Sequence[CycleSummary]
) -> GammaLevels:
    """What the next cycle's walkers are watched at, with what set it. `cycles` are the closed ones.

    Where a batch is chosen γ halt begins high and comes down, and `quiet` is the level to which it
    comes.
    """
    levels = _aimed(section, cycles)
    if selection.acquisition == "gamma_window":
        return levels
    first = min(section.gamma_halt_first, selection.gamma_max or section.gamma_halt_first)
    halt = max(_halt(first, cycles), levels.halt)
    return levels.model_copy(update={"halt": halt, "quiet": levels.halt})


def _halt(first: float, cycles: Sequence[CycleSummary]) -> float:
    """Down from the first level, cycle by cycle, as far as the evidence goes."""
    halt = first
    for cycle in cycles:
        if cycle.levels is None or cycle.levels.quiet is None:
            continue
        if cycle.gamma_exploded_min is not None:
            halt = min(halt, _BEFORE_GUARD * cycle.gamma_exploded_min)
        if cycle.gamma_completed_max is not None:
            halt = min(halt, _HEADROOM * cycle.gamma_completed_max)
    return float(f"{halt:.3g}")


def _aimed(section: ExplorationSection, cycles: Sequence[CycleSummary]) -> GammaLevels:
    """The site file's levels, or what a target in force makes of them."""
    target = section.force_error_target_mev_per_angstrom
    given = GammaLevels(
        select=section.gamma_select,
        halt=section.gamma_halt,
        force_error_target_mev_per_angstrom=target,
    )
    calibration = next((cycle.calibration for cycle in reversed(cycles) if cycle.calibration), ())
    if target is None or not calibration:
        return given
    reached = gamma_at(calibration, target)
    expected = max(fit.curve[-1][0] for fit in calibration) if reached is None else reached
    lowest, highest = section.gamma_select_bounds()
    select = min(max(round(expected, _DECIMALS), lowest), highest)
    return GammaLevels(
        select=select,
        halt=section.gamma_halt * (select / section.gamma_select),
        force_error_target_mev_per_angstrom=target,
        expected_at=round(expected, _DECIMALS),
        reached=reached is not None,
    )


def levels_text(levels: GammaLevels) -> str:
    """Both levels, and what set them."""
    message = f"γ select {levels.select:.3g}, γ halt {levels.halt:.3g}"
    if levels.quiet is not None:
        message += f" (quiet up to {levels.quiet:.3g})"
    target, at = levels.force_error_target_mev_per_angstrom, levels.expected_at
    if target is None:
        return message
    if at is None:
        return f"{message}: no label tells yet where {target:g} meV/Å are to be expected"
    if levels.reached:
        expected = f"{target:g} meV/Å are expected at γ {at:.3g}"
    else:
        expected = (
            f"less than {target:g} meV/Å are expected up to γ {at:.3g}, the highest of any label"
        )
    bound = (
        ""
        if abs(levels.select - at) < 10**-_DECIMALS
        else ", and the level moves no farther from the site file's"
    )
    return f"{message}: {expected}{bound}"


def gamma_at(calibration: Sequence[Calibration], force_mev_per_angstrom: float) -> float | None:
    """The γ where the first element's expected force error hits a target; None if no label says so.

    Between two knots of the monotone fit it is interpolated. An element that never erred so much
    sets no level.
    """
    levels = [_level(fit.curve, force_mev_per_angstrom) for fit in calibration]
    return min((level for level in levels if level is not None), default=None)


def _level(curve: Sequence[tuple[float, float]], target: float) -> float | None:
    for (gamma, error), (gamma_next, error_next) in pairwise(curve):
        if error < target <= error_next:
            return gamma + (gamma_next - gamma) * (target - error) / (error_next - error)
    return curve[0][0] if curve and curve[0][1] >= target else None
