"""Campaigns on a simulated cluster with every fault that it knows, and a daemon that is killed at random moments.

A failing seed runs again alone, to the same end, by `scripts/soak --seed N`.
"""

from collections import Counter
from dataclasses import fields
from typing import get_args

import pytest
from simulated_campaign import Findings, Parts, Simulation, Sites, behind_slurm, in_memory

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.orchestration.first_labels import property_tasks
from mlip_autopipec.orchestration.machine import ENDED, evolve
from mlip_autopipec.testing.weather import FaultRates

#: `scripts/soak` runs many more; those at the end have found something there.
SEEDS = (*range(300), 339, 869, 9331, 9775, 21277)
PERFECT = FaultRates()


@pytest.fixture(scope="module")
def findings() -> list[Findings]:
    """What every seed has shown; each has a climate of its own."""
    return [Simulation(seed, Parts()).run() for seed in SEEDS]


@pytest.mark.timeout(900)
def test_no_seed_breaks_an_invariant(findings: list[Findings]) -> None:
    """Whatever the site does and whenever the daemon dies, every promise is kept and a verdict is reached."""
    assert [str(found) for found in findings if found.violations] == []


@pytest.mark.timeout(900)
def test_the_seeds_go_everywhere(findings: list[Findings]) -> None:
    """The search is wide: every fault strikes, every event that a campaign can hold comes up, and most verdicts."""
    struck = sum((found.struck for found in findings), Counter[str]())
    assert {item.name for item in fields(FaultRates)} - {name for name, times in struck.items() if times} == set()
    seen = Counter(type(event) for found in findings for event in found.events)
    # Orderly stops and repaired files belong to the tests of the daemon and of the real journal.
    never: set[type] = {ev.DaemonStopped, ev.JournalRepaired, ev.JournalRebuilt}
    assert set(get_args(ev.Event)) - seen.keys() == never
    assert {found.verdict for found in findings} >= {Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED, Verdict.FAILED}
    assert sum(found.lives for found in findings) > 3 * len(findings)


@pytest.mark.timeout(900)
def test_no_campaign_fails_through_a_passing_fault(findings: list[Findings]) -> None:
    """Whatever drains, fills or falls sick: what was given up had failures of its own, or a person cancelled it."""
    assert any(found.verdict is Verdict.FAILED for found in findings)
    assert [str(found) for found in findings if found.innocent] == []


@pytest.mark.parametrize("seed", [4, 5])
def test_a_seed_tells_the_same_story_twice(seed: int) -> None:
    """A failing seed is the bug report: it gives the same events in every run."""
    first, again = (Simulation(seed, Parts()).run() for _ in range(2))
    assert first.lives > 1
    assert first.events == again.events


@pytest.mark.parametrize("seed", range(6))
def test_the_first_labels_come_first_whatever_befalls(seed: int) -> None:
    """Nothing else of the first round is begun before each property cell is labelled or given up."""
    found = Simulation(seed, Parts(k_mesh="family")).run()
    assert found.violations == []
    state, cells = WorkflowState(), set[str]()
    for event in found.events:
        of_cells = property_tasks(state)
        if isinstance(event, ev.SubmissionBegun) and of_cells and not set(event.tasks) <= of_cells.keys():
            assert all(record.status in ENDED for record in of_cells.values())
            cells |= of_cells.keys()
        state = evolve(state, event)
    assert len(cells) == 2


@pytest.mark.parametrize("site", [in_memory(), behind_slurm()], ids=["in memory", "behind Slurm"])
def test_on_a_perfect_site_nothing_is_tried_twice(site: Sites) -> None:
    """Without faults and kills every batch is the first of its phase, and the campaign ends as its walkers will."""
    found = Simulation(0, Parts(site=site, rates=PERFECT, crashes=False)).run()
    assert str(found).endswith("nothing to complain of")
    assert found.verdict in {Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED}
    begun = [event.uid for event in found.events if isinstance(event, ev.SubmissionBegun)]
    assert {uid.rpartition(".")[2] for uid in begun} == {"b00"}
