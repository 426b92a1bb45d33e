"""What is promised of a campaign beside its twin, and that they differ only in how they label."""

from dataclasses import replace
from pathlib import Path

import pytest
from campaign_twin import Cycle, conditions, rows_of_curves, twin_of
from kit.files import CAMPAIGNS
from kit.shortened import moved

from mlip_autopipec.config.loader import load_config

SITE_FILE = CAMPAIGNS / "embedded.yaml"


def test_the_twin_labels_whole_frames_and_differs_in_nothing_else(tmp_path: Path) -> None:
    """But for name and folders, which it must not share."""
    file = moved(SITE_FILE, tmp_path)
    ours = load_config(file).config
    theirs = load_config(twin_of(file, ours)).config
    assert theirs.selection.embedding.mode == "whole"
    assert theirs.campaign.folder != ours.campaign.folder
    assert not ours.site.root.is_relative_to(theirs.campaign.folder)
    assert not theirs.site.root.is_relative_to(ours.campaign.folder)
    campaign = theirs.campaign.model_copy(
        update={"name": ours.campaign.name, "folder": ours.campaign.folder}
    )
    site = theirs.site.model_copy(update={"root": ours.site.root})
    embedding = replace(theirs.selection.embedding, mode="periodic")
    selection = replace(theirs.selection, embedding=embedding)
    assert (
        theirs.model_copy(update={"campaign": campaign, "site": site, "selection": selection})
        == ours
    )


def test_walkers_are_of_four_thousand_atoms_and_tests_are_smaller() -> None:
    """At each temperature of the walkers, in their box, and no seed twice."""
    config = load_config(SITE_FILE).config
    (walkers,) = config.exploration.walkers
    assert walkers.prototype is not None
    assert walkers.prototype.repeat == (10, 10, 10)
    assert config.selection.embedding.atoms_max < 4000
    tested = list(conditions(config))
    assert tuple(item.temperature_kelvin for item in tested) == walkers.temperatures_kelvin
    assert {item.lattice_angstrom for item in tested} == {
        walkers.prototype.lattice_constant_angstrom
    }
    assert len({item.seed for item in tested}) == len(tested)


@pytest.mark.parametrize(
    ("ours", "theirs", "met"),
    [
        ((30.0, 6.0, 4.0), (30.0, 5.0, 3.0), {True}),
        ((30.0, 6.0, 4.0), (30.0, 5.0, 2.0), {True, False}),  # twice as bad
        ((30.0, 29.0, 28.0), (30.0, 29.0, 28.0), {True, False}),  # as good, but neither has learned
        ((30.0,), (30.0, 5.0), {True, False}),  # one cycle in common
    ],
)
def test_a_curve_that_does_not_fall_as_the_other_misses(
    ours: tuple[float, ...], theirs: tuple[float, ...], met: set[bool]
) -> None:
    """In the last cycle that both have: at most 1.5 times the twin's.

    It is also at most a third of the bootstrap's.
    """
    curves = (
        [Cycle(force, 3, 300) for force in ours],
        [Cycle(force, 3, 12000) for force in theirs],
    )
    assert {row.met for row in rows_of_curves(*curves)} - {None} == met
