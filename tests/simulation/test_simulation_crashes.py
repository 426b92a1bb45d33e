"""Campaigns on a simulated cluster with all faults it knows, and a daemon killed at random moments.

A failing seed runs again alone, to the same end, by `scripts/soak --seed N`.
"""

from collections import Counter
from dataclasses import fields
from typing import get_args

import pytest
from kit.simulated import Findings, Parts, Simulation, Sites, behind_slurm, in_memory

from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.orchestration.adoption import check_tasks
from mlip_autopipec.orchestration.first_labels import property_tasks
from mlip_autopipec.orchestration.machine import ENDED, evolve
from mlip_autopipec.testing.weather import FaultRates

#: `scripts/soak` runs many more; those at the end have found something there.
SEEDS = (*range(120), 339, 869, 9091, 9331, 9775, 21277)
PERFECT = FaultRates()


@pytest.fixture(scope="module")
def findings() -> list[Findings]:
    """What every seed has shown; each has a climate of its own."""
    return [Simulation(seed, Parts()).run() for seed in SEEDS]


@pytest.mark.timeout(900)
def test_no_seed_breaks_an_invariant(findings: list[Findings]) -> None:
    """Whatever the site does, whenever the daemon dies, every promise holds and a verdict comes."""
    assert [str(found) for found in findings if found.violations] == []


@pytest.mark.timeout(900)
def test_the_seeds_go_everywhere(findings: list[Findings]) -> None:
    """The search is wide.

    Every fault strikes, and every event that a campaign can hold comes up, and most verdicts.
    """
    struck = sum((found.struck for found in findings), Counter[str]())
    assert {item.name for item in fields(FaultRates)} - {
        name for name, times in struck.items() if times
    } == set()
    seen = Counter(type(event) for found in findings for event in found.events)
    # Orderly stops and repaired files belong to the tests of the daemon and of the real journal.
    never: set[type] = {ev.DaemonStopped, ev.JournalRepaired, ev.JournalRebuilt}
    assert set(get_args(ev.Event)) - seen.keys() == never
    assert {found.verdict for found in findings} >= {
        Verdict.CONVERGED,
        Verdict.BUDGET_EXHAUSTED,
        Verdict.FAILED,
    }
    assert sum(found.lives for found in findings) > 3 * len(findings)


@pytest.mark.timeout(900)
def test_no_campaign_fails_through_a_passing_fault(findings: list[Findings]) -> None:
    """What was given up had failures of its own, or a person cancelled it.

    That holds whatever drains, fills or falls sick.
    """
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
    """Nothing else of a first round is begun before each property cell is labelled or given up.

    A way back to Generation has a first round of its own; a campaign of labels that are there may
    have no cells.
    """
    found = Simulation(seed, Parts(k_mesh="family")).run()
    assert found.violations == []
    state, cells = WorkflowState(), set[str]()
    for event in found.events:
        of_cells = property_tasks(state)
        first = of_cells.keys() | check_tasks(state).keys()
        if isinstance(event, ev.SubmissionBegun) and of_cells and not set(event.tasks) <= first:
            assert all(record.status in ENDED for record in of_cells.values())
            cells |= of_cells.keys()
        state = evolve(state, event)
    assert set(Counter(name.partition(".")[0] for name in cells).values()) <= {2}
    generated = next(e.tasks[0].parameters for e in found.events if isinstance(e, ev.PhaseStarted))
    assert isinstance(generated, GenerateParameters)
    assert bool(cells) == bool(generated.prototypes)


@pytest.mark.parametrize("site", [in_memory(), behind_slurm()], ids=["in memory", "behind Slurm"])
def test_on_a_perfect_site_nothing_is_tried_twice(site: Sites) -> None:
    """Without faults and kills every batch is the first of its phase.

    The campaign ends as its walkers will.
    """
    found = Simulation(0, Parts(site=site, rates=PERFECT, crashes=False)).run()
    assert str(found).endswith("nothing to complain of")
    assert found.verdict in {Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED}
    begun = [event.job_name for event in found.events if isinstance(event, ev.SubmissionBegun)]
    assert {job_name.rpartition(".")[2] for job_name in begun} == {"b00"}
