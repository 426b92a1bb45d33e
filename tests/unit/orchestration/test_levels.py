"""What a target in force makes of the levels of γ."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlip_autopipec.config.schemas.phases import ExplorationSection
from mlip_autopipec.contract.results.train import Calibration
from mlip_autopipec.contract.select import SelectionSettings
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.orchestration.levels import gamma_levels, levels_text
from mlip_autopipec.testing.examples import copper_config

#: γ halt is what the site file says from the first cycle.
WINDOW = SelectionSettings(acquisition="gamma_window")


def section(target: float | None, select: float = 2.0, halt: float = 10.0) -> ExplorationSection:
    """The copper campaign's, with these levels."""
    keys = {
        "gamma_select": select,
        "gamma_halt": halt,
        "force_error_target_mev_per_angstrom": target,
    }
    return copper_config(exploration=keys).exploration


def closed(*curves: Sequence[tuple[float, float]], cycle: int = 1) -> CycleSummary:
    """A cycle that closed with a calibration of one element for each curve."""
    fits = [
        Calibration(element=f"X{number}", pairs=40, curve=tuple(curve))
        for number, curve in enumerate(curves)
    ]
    return CycleSummary(cycle=cycle, bootstrap=cycle == 0, calibration=tuple(fits))


@pytest.mark.parametrize(
    ("curves", "target", "select", "message"),
    [
        (
            [((1.0, 10.0), (4.0, 70.0))],
            50.0,
            3.0,
            "γ select 3, γ halt 15: 50 meV/Å are expected at γ 3",
        ),
        (
            [((1.0, 10.0), (9.0, 50.0))],
            45.0,
            4.0,
            (
                "γ select 4, γ halt 20: 45 meV/Å are expected at γ 8, and the level moves no"
                " farther from the site file's"
            ),
        ),
        (
            [((0.4, 80.0), (9.0, 90.0))],
            45.0,
            2**0.5,
            (
                "γ select 1.41, γ halt 7.07: 45 meV/Å are expected at γ 0.4, and the level moves no"
                " farther …"
            ),
        ),
        (
            [((1.0, 10.0), (4.0, 70.0)), ((1.0, 5.0), (1.2, 6.0))],
            50.0,
            3.0,
            "γ select 3, γ halt 15: 50 meV/Å …",
        ),
        (
            [((1.0, 10.0), (1.5, 20.0)), ((1.0, 5.0), (3.2, 6.0))],
            50.0,
            3.2,
            (
                "γ select 3.2, γ halt 16: less than 50 meV/Å are expected up to γ 3.2, the highest"
                " of any label"
            ),
        ),
        (
            [],
            50.0,
            2.0,
            "γ select 2, γ halt 10: no label tells yet where 50 meV/Å are to be expected",
        ),
        ([((1.0, 10.0), (4.0, 70.0))], None, 2.0, "γ select 2, γ halt 10"),
    ],
)
def test_the_levels_follow_the_target_within_their_bounds(
    curves: list[tuple[tuple[float, float], ...]], target: float | None, select: float, message: str
) -> None:
    """The first element to reach it decides; γ halt keeps its ratio.

    Without a calibration the site file's hold.
    """
    levels = gamma_levels(section(target), WINDOW, [closed(cycle=0), closed(*curves)])
    assert levels.select == pytest.approx(select)
    assert levels.halt == pytest.approx(5 * select)
    found = levels_text(levels)
    assert found.startswith(message.rstrip("…")) if message.endswith("…") else found == message


def test_the_last_calibration_counts_and_a_cycle_without_a_fit_forgets_none() -> None:
    """A quiet cycle that labels nothing closes without one."""
    cycles = [
        closed(((1.0, 10.0), (4.0, 70.0))),
        closed(((1.0, 10.0), (3.0, 70.0)), cycle=2),
        closed(cycle=3),
    ]
    assert gamma_levels(section(40.0), WINDOW, cycles).select == pytest.approx(2.0)
    assert gamma_levels(section(40.0), WINDOW, cycles[:1]).select == pytest.approx(2.5)
    assert gamma_levels(section(40.0), WINDOW, cycles[:1]) == gamma_levels(
        section(40.0), WINDOW, [*cycles[:1], closed(cycle=4)]
    )


_RISING = st.lists(
    st.tuples(st.floats(0, 1e4, allow_subnormal=False), st.floats(0, 1e6, allow_subnormal=False)),
    min_size=1,
    max_size=24,
).map(
    lambda points: tuple(
        zip(sorted(x for x, _ in points), sorted(y for _, y in points), strict=True)
    )
)
_SELECT = st.floats(1, 50, exclude_min=True)


@settings(derandomize=True, max_examples=100, deadline=None, database=None)
@given(
    curves=st.lists(_RISING, max_size=3),
    select=_SELECT,
    ratio=st.floats(1.01, 30),
    targets=st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)),
)
def test_no_calibration_lets_the_levels_run_away(
    curves: list[tuple[tuple[float, float], ...]],
    select: float,
    ratio: float,
    targets: tuple[float, float],
) -> None:
    """Whatever has been calibrated: half to double, above 1, in proportion.

    They are no lower where the target is higher.
    """
    cycles = [closed(*curves)]
    halt = select * ratio
    low, high = (
        gamma_levels(section(target, select, halt), WINDOW, cycles) for target in sorted(targets)
    )
    for levels in (low, high):
        assert max(1.0, select / 2) <= levels.select <= 2 * select
        assert select**0.5 <= levels.select * (1 + 1e-12)
        assert levels.halt / levels.select == pytest.approx(ratio)
        assert levels.halt > levels.select
        assert levels.model_validate_json(levels.model_dump_json()) == levels
    assert low.select <= high.select
