"""scripts/campaign: what it makes ready, what it tests on, and when it says no."""

from collections import Counter
from pathlib import Path

import pytest
from campaign_check import TARGETS, Targets, check, independent
from campaign_frames import Condition, as_walkers, copper_and_gold, snapshots
from kit.files import CAMPAIGNS
from kit.shortened import moved

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.contract.generate import Prototype

pytestmark = [pytest.mark.codes, pytest.mark.timeout(300)]

ALUMINIUM = Prototype(
    structure="fcc", elements=("Al",), lattice_constant_angstrom=3.95, repeat=(1, 1, 1)
)
COPPER = Prototype(
    structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.84, repeat=(1, 1, 1)
)


def test_another_folder_changes_where_and_nothing_else(tmp_path: Path) -> None:
    """`--folder`: journal and jobs lie there, the physics is that of the file that is shipped."""
    here = load_config(CAMPAIGNS / "cuau.yaml").config
    there = load_config(moved(CAMPAIGNS / "cuau.yaml", tmp_path / "elsewhere")).config
    assert (there.campaign.folder, there.site.root) == (
        tmp_path / "elsewhere/campaign",
        tmp_path / "elsewhere/root",
    )
    same = {"campaign": {"folder": here.campaign.folder}, "site": {"root": here.site.root}}
    moved_back = {
        name: getattr(there, name).model_copy(update=same.get(name, {}))
        for name in type(there).model_fields
        if hasattr(getattr(there, name), "model_copy")
    }
    assert there.model_copy(update=moved_back) == here


def test_a_campaign_that_has_no_verdict_misses(tmp_path: Path) -> None:
    """An empty journal is no success, whatever is promised."""
    config = load_config(moved(CAMPAIGNS / "cuau.yaml", tmp_path)).config
    (config.campaign.folder / "journal").mkdir(parents=True)
    for targets in TARGETS.values():
        assert [row.met for row in check(config, targets)] == [False, None]


def test_copper_and_gold_are_tested_on_every_kind_of_structure() -> None:
    """Ordered, random and liquid; at least three compositions of each; no seed twice."""
    conditions = list(copper_and_gold(load_config(CAMPAIGNS / "cuau.yaml").config, None))
    kinds = Counter(
        (condition.group, condition.name.partition(" Au")[0]) for condition in conditions
    )
    groups = Counter(group for group, _ in kinds)
    assert groups == {"solid, ordered": 5, "solid, random": 3, "liquid": 5}
    seeds = [condition.seed for condition in conditions]
    assert len(set(seeds)) == len(seeds)


def test_snapshots_have_the_composition_and_the_box_that_are_asked_for() -> None:
    """And come again from the same seed."""
    alloy = Condition(
        "solid, random", "one", COPPER, 600.0, 2, 5, {"Cu": 0.25, "Au": 0.75}, settling_steps=4
    )
    frames = snapshots(alloy)
    assert [frame.get_chemical_formula("metal") for frame in frames] == ["Au3Cu"] * 2
    assert frames[0].get_volume() != frames[1].get_volume()
    assert all(
        (frame.positions == other.positions).all()
        for frame, other in zip(frames, snapshots(alloy), strict=True)
    )
    (scaled,) = snapshots(
        Condition("solid", "two", ALUMINIUM, 600.0, 1, 6, lattice_angstrom=3.95, settling_steps=4)
    )
    assert scaled.cell.lengths() == pytest.approx(3.95)


def test_the_test_set_is_labelled_by_the_campaigns_own_oracle(tmp_path: Path) -> None:
    """As a task would do it, with what the oracle is told beside the label."""
    config = load_config(moved(CAMPAIGNS / "cuau.yaml", tmp_path)).config
    (label,) = independent(
        config, iter([Condition("solid, ordered", "one", COPPER, 300.0, 1, 7, settling_steps=4)])
    )
    assert label.info["group"] == "solid, ordered"
    assert label.info["settings"].startswith("ase.calculators.emt.EMT")
    assert abs(label.get_forces()).max() > 0.05


def test_walkers_of_a_campaign_say_what_is_tested() -> None:
    """Aluminium at the temperatures of its walkers; twenty structures or so."""
    conditions = list(as_walkers(load_config(CAMPAIGNS / "al.yaml").config, 3.96))
    assert {condition.prototype.elements for condition in conditions} == {("Al",)}
    assert 12 <= sum(condition.snapshots for condition in conditions) <= 30
    assert TARGETS["al"].force_mev_per_angstrom == 50
    assert isinstance(TARGETS["al"], Targets)
