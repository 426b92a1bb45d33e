"""Copper and gold, shortened: two elements from the bootstrap to a verdict.

It is judged as `scripts/campaign` judges.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from campaign_check import TARGETS, check
from campaign_frames import Condition, copper_and_gold
from kit.daemons import Campaign, assert_nothing_doubled_or_lost, assert_replays
from kit.shortened import shortened

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict

pytestmark = [pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(900)]

ORDERED = {
    "structure": "l1_0",
    "elements": ["Cu", "Au"],
    "lattice_constant_angstrom": 3.85,
    "repeat": [2, 2, 2],
}
WALKER = {
    "prototype": ORDERED,
    "ensemble": "npt",
    "temperatures_kelvin": [900],
    "steps": 100,
    "timestep_fs": 3,
}
COPPER = {
    "structure": "fcc",
    "elements": ["Cu"],
    "lattice_constant_angstrom": 3.85,
    "repeat": [2, 2, 2],
}
SHORT = {
    "site": {"poll_interval": "1 s"},
    "generation": {
        "prototypes": [ORDERED, COPPER],
        "structures": 8,
        "test_structures": 4,
        "variations": [{"kind": "alloy", "elements": ["Cu", "Au"], "count": 6}],
    },
    "exploration": {
        "gamma_halt": 4,
        "walkers": [WALKER, {**WALKER, "swaps": {"every_steps": 10, "attempts": 10}}],
    },
    "selection": {"candidates_max": 6},
    "training": {"functions_per_element": 40, "gate": {"md_steps": 40}},
    "convergence": {"cycles_max": 1},
}
#: What so little makes of it; the whole campaign is held to a tenth of this.
LOOSE = replace(
    TARGETS["cuau"],
    verdicts=frozenset({Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED}),
    energy_mev_per_atom=20,
    force_mev_per_angstrom=150,
)


def some(config: WorkflowConfig, lattice_angstrom: float | None) -> Iterator[Condition]:
    """Solids of one composition, ordered and random."""
    every = copper_and_gold(config, lattice_angstrom)
    return (
        condition
        for condition in every
        if condition.name.startswith("50% Au") and not condition.liquid
    )


def test_copper_and_gold_run_to_a_verdict_and_are_judged(tmp_path: Path) -> None:
    """Both elements have their errors and their γ, and no label is doubled.

    The table of targets is all met.
    """
    site_file = shortened("cuau", tmp_path, SHORT)
    config = load_config(site_file).config
    campaign = Campaign(site_file, config.campaign.folder, config.site.root)
    campaign.to_verdict(timeout_s=800)
    outcomes = [
        event.outcome.metrics for event in campaign.events() if isinstance(event, ev.TaskEnded)
    ]
    assert any(isinstance(metrics, SelectMetrics) and metrics.structures for metrics in outcomes), (
        campaign.output()
    )
    last = [metrics for metrics in outcomes if isinstance(metrics, TrainMetrics)][-1]
    assert {group.name for group in last.groups if group.by == "element"} == {"Cu", "Au"}
    assert {fit.element for fit in last.calibration} == {"Cu", "Au"}
    assert {measure.subject for measure in last.measures if measure.rule == "bulk_modulus"} == {
        "CuAu l1_0"
    }
    rows = check(config, replace(LOOSE, conditions=some))
    assert [(row.what, row.value) for row in rows if row.met is False] == []
    assert sum(row.met is True for row in rows) == 3
    assert_nothing_doubled_or_lost(campaign)
    assert_replays(campaign)
