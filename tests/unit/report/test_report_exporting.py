"""Figures of a report as files: SVG that is whole, and the numbers that are drawn."""

import csv
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from kit.campaign import whole_campaign, write_parity
from matplotlib.figure import Figure

from mlip_autopipec.report.canvas import drawn
from mlip_autopipec.report.exporting import HEAD, csv_of, write_figures

Rows = list[dict[str, str]]
NAMES = ("force_mev_per_angstrom", "energy_mev_per_atom")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a finished campaign, by name."""
    root, campaign = tmp_path_factory.mktemp("root"), whole_campaign()
    write_parity(campaign, root)
    return {path.name: path for path in write_figures(campaign.events, root, root / "figures")}


def rows_of(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_every_figure_is_a_drawing_and_numbers(files: dict[str, Path]) -> None:
    """Each SVG is whole by itself, and each table has numbers."""
    names = {name.partition(".")[0] for name in files}
    assert {"learning", "gamma", "origins", "parity", "time"} <= names
    assert set(files) == {f"{name}.{ending}" for name in names for ending in ("svg", "csv")}
    for name in names:
        assert ET.parse(files[f"{name}.svg"]).getroot().tag.endswith("svg")  # noqa: S314 - of our own
        rows = rows_of(files[f"{name}.csv"])
        assert rows
        assert tuple(rows[0]) == HEAD
        assert all(float(row["x"]) == float(row["x"]) and row["panel"].isdigit() for row in rows)


@pytest.mark.slow
def test_the_numbers_are_those_of_the_campaign(files: dict[str, Path]) -> None:
    """Force and energy errors on the last test set.

    Residuals are predictions less labels, in meV.
    """
    curve = [float(row["y"]) for row in rows_of(files["learning.csv"]) if "today" in row["series"]]
    errors = [past.errors for past in whole_campaign().state.measured]
    assert len(errors) == 4
    forces, energies = ([getattr(error, name) for error in errors] for name in NAMES)
    assert curve == pytest.approx([*forces, *energies])
    parity = rows_of(files["parity.csv"])
    predicted = [row for row in parity if row["title"] == "Energy, cycle 0"]
    residuals = [
        row for row in parity if row["title"] == "Residual (meV/atom)" and row["panel"] == "2"
    ]
    assert len(residuals) == len(predicted) > 10
    for message, left in zip(predicted, residuals, strict=True):
        assert (message["series"], message["x"]) == (left["series"], left["x"])
        off = 1e3 * (float(message["y"]) - float(message["x"]))
        assert float(left["y"]) == pytest.approx(off, abs=1e-5)


def test_words_of_others_are_no_formula_and_no_line() -> None:
    """A spreadsheet would reckon what begins with an equals sign."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([1.0, 2.0], [3.0, 4.0], label='=cmd|"x"\n\x1b[2J')
        axes.plot([1.0], [2.0])
        axes.axhline(7.0)
        axes.bar([1, 2], [5, 6], label="bars")
        axes.set(title="a, b")

    text = drawn(draw, 2.0, csv_of)
    rows = list(csv.DictReader(text.splitlines()))
    assert [(row["series"], float(row["x"]), float(row["y"])) for row in rows] == [
        ('\'=cmd|"x" �[2J', 1, 3),
        ('\'=cmd|"x" �[2J', 2, 4),
        ("", 1, 2),
        ("bars", 1, 5),
        ("bars", 2, 6),
    ]
    assert "\x1b" not in text
