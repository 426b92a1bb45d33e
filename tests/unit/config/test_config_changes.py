"""What of a site file may change while its campaign goes on.

Every key has its row, and every change its words.
"""

from pathlib import Path
from typing import Any

import pytest

from mlip_autopipec.config.changes import (
    RULES,
    CampaignProgress,
    May,
    asks_for_more,
    config_of,
    differences,
    merged,
    objection,
    path_of,
    rule_of,
    settings_of,
    value_at,
    waits,
    whole,
    with_value,
)
from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.config.shape import keys
from mlip_autopipec.contract.mistakes import dotted
from mlip_autopipec.testing.examples import copper_config

EXAMPLES = sorted((Path(__file__).parents[3] / "config").glob("*.yaml"))
BEGUN = CampaignProgress(has_labels=True, has_potential=True, starting=False)
STARTING = CampaignProgress(has_labels=True, has_potential=True, starting=True)
NEW = CampaignProgress(has_labels=False, has_potential=False, starting=False)


def test_every_key_of_the_schema_has_its_row() -> None:
    """A key that is added to a section is refused here until somebody has thought of it.

    Sections have no rows.
    """
    whole_rows = {"distance_min_angstrom", "dataset", "start"}
    sections = WorkflowConfig.model_fields.keys() - whole_rows
    assert not sections & RULES.keys()
    asked = {path for path in keys(WorkflowConfig) if len(path) > 1 or path[0] not in sections}
    assert sorted(dotted(path) for path in asked if rule_of(path) is None) == []


def test_every_row_is_of_a_key_that_there_is() -> None:
    """And whatever is not live says why."""
    there = {dotted(path) for path in keys(WorkflowConfig)}
    assert sorted(RULES.keys() - there) == []
    assert [key for key, rule in RULES.items() if rule.may is not May.LIVE and not rule.why] == []


@pytest.mark.parametrize(
    ("key", "progress", "may"),
    [
        ("campaign.name", NEW, False),
        ("campaign.elements", NEW, False),
        ("site.root", STARTING, False),
        ("calculation.oracle.ecutwfc_ry", NEW, True),
        ("calculation.oracle.ecutwfc_ry", STARTING, False),
        ("calculation.oracle.command", BEGUN, True),
        ("training.reference_energies_ev", NEW, True),
        ("training.reference_energies_ev", BEGUN, False),
        ("convergence.needs.force_mev_per_angstrom", BEGUN, True),
        ("exploration.walkers[0].temperatures_kelvin", BEGUN, True),
        ("site.resources.training.walltime", BEGUN, True),
        ("nonsense.key", BEGUN, False),
    ],
)
def test_what_may_change_and_when(key: str, progress: CampaignProgress, may: bool) -> None:  # noqa: FBT001 - a table
    """A reason stands where it may not."""
    why = objection(path_of(key), progress)
    assert (why is None) is may
    assert why is None or len(why) > 10


def test_what_a_running_daemon_leaves_to_the_next() -> None:
    """The way to the site, the rhythm of looking, the log; all else at once."""
    assert waits(path_of("site.poll_interval"), BEGUN)
    assert not waits(path_of("site.poll_interval"), STARTING)
    assert not waits(path_of("site.grace"), BEGUN)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_settings_are_read_back_to_the_same(example: Path) -> None:
    """What the journal keeps means what the file meant."""
    config = load_config(example).config
    assert config_of(settings_of(config)) == config
    assert config_of(settings_of(config)).training.balance() == config.training.balance()
    assert whole(settings_of(config)) == config.model_dump(mode="json")


def test_settings_of_an_earlier_schema_are_compared_by_the_keys_that_are_left() -> None:
    """A key that is gone since is no difference; what nobody can read is compared as it is."""
    settings = settings_of(copper_config())
    old: Any = {**settings, "selektion_of_then": {"cloud": 3}}
    assert whole(old) == whole(settings)
    broken: Any = {**settings, "distance_min_angstrom": "far"}
    assert whole(broken) == broken


def test_differences_name_keys_as_people_write_them() -> None:
    """Lists of sections item by item, lists of numbers whole."""
    before: Any = {"a": {"b": 1, "c": [1, 2]}, "w": [{"x": 1}, {"x": 2}]}
    after: Any = {"a": {"b": 1, "c": [1, 3]}, "w": [{"x": 1}, {"x": 5}, {"x": 9}]}
    found = [(dotted(each.path), each.before, each.after) for each in differences(before, after)]
    assert found == [("a.c", [1, 2], [1, 3]), ("w[1].x", 2, 5), ("w[2]", None, {"x": 9})]


def test_a_value_is_put_where_its_key_says() -> None:
    """Sections that are not there are made, items of lists are not."""
    settings = settings_of(copper_config())
    changed = merged(
        settings, {"site.resources.training.walltime": "2 h", "exploration.walkers[0].steps": 7}
    )
    assert value_at(changed, path_of("site.resources.training.walltime")) == "2 h"
    assert config_of(changed).exploration.walkers[0].steps == 7
    assert value_at(settings, path_of("exploration.walkers[0].steps")) == 1500
    with pytest.raises(ValueError, match="no item 3"):
        with_value(settings, path_of("exploration.walkers[3].steps"), 1)
    for wrong in ("", "a..b", "[0]", "a b[x]"):
        with pytest.raises(ValueError, match="is no key"):
            path_of(wrong)


@pytest.mark.parametrize(
    ("change", "more"),
    [
        ({"temperatures_kelvin": [300, 900, 1500, 1800]}, True),
        ({"temperatures_kelvin": [300, 900]}, False),
        ({"steps": 3000}, True),
        ({"steps": 500}, False),
        ({"replicas": 2}, True),
        ({"pressures_gpa": [0.0, 5.0], "ensemble": "npt"}, True),
    ],
)
def test_walkers_ask_for_more_where_none_went_before(change: dict[str, object], more: bool) -> None:  # noqa: FBT001
    """Fewer, and shorter ones, are no more."""
    before = settings_of(copper_config())
    walkers: Any = value_at(before, path_of("exploration.walkers[0]"))
    after = settings_of(copper_config(exploration={"walkers": [{**walkers, **change}]}))
    assert asks_for_more(before, after) is more
