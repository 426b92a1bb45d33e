"""Numbers and times in words."""

from dataclasses import replace

import pytest

from mlip_autopipec.contract.explore import Walker
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.telling.words import count, duration, elapsed, figures3


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (0.84, "0.8 s"),
        (12.4, "12 s"),
        (59.7, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (4 * 86400 + 6 * 3600, "4 d 06 h"),
    ],
)
def test_duration_has_the_precision_that_its_length_asks_for(seconds: float, message: str) -> None:
    """The smaller unit is written with two digits, and rounding never gives 60 of anything."""
    assert message == duration(seconds)


def test_elapsed_has_a_fixed_shape() -> None:
    """Hours are never folded into days, and a clock that was set back shows zero."""
    assert [elapsed(-3), elapsed(185.9), elapsed(94200)] == ["0:00:00", "0:03:05", "26:10:00"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "0"),
        (0.0512, "0.0512"),
        (5.1249, "5.12"),
        (80, "80.0"),
        (500, "500"),
        (1234.5, "1234"),
        (2.5e7, "2.50e+07"),
    ],
)
def test_three_figures(value: float, message: str) -> None:
    """Three significant figures, without a dangling point."""
    assert message == figures3(value)


def test_plurals() -> None:
    """One task, two batches."""
    assert [count(1, "task"), count(0, "task"), count(2, "batch")] == [
        "1 task",
        "0 tasks",
        "2 batches",
    ]


def test_pressure_belongs_to_npt() -> None:
    """A walker at constant volume has no pressure to name."""
    prototype = Prototype(structure="l1_2", elements=("Ni", "Al"), lattice_constant_angstrom=3.57)
    walker = Walker(
        prototype=prototype,
        ensemble="npt",
        temperature_kelvin=300,
        pressure_gpa=10,
        steps=1,
        timestep_fs=1,
        seed=1,
    )
    assert walker.label == "NiAl3 l1_2 300 K npt 10 GPa"
    assert replace(walker, ensemble="nvt").label == "NiAl3 l1_2 300 K nvt"
