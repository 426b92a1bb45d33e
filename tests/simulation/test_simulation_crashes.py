"""Campaigns on a simulated cluster with every fault that it knows, and a daemon that is killed at random moments."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import get_args

import planted_bugs as bugs
import pytest
from simulated_campaign import Findings, Parts, Simulation

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.testing.weather import FaultRates

#: More of them for a soak.
SEEDS = range(int(os.environ.get("AUTOPIPEC_SIMULATION_SEEDS", "200")))
PLANTED_SEEDS_MAX = 100
PERFECT = FaultRates()
#: Where the scheduler shows the past and every answer takes its time, jobs end while they are asked after.
SLOW = FaultRates(slow=0.5, sight_frozen=0.3, dies=0.1)


@pytest.fixture(scope="module")
def findings() -> list[Findings]:
    """What every seed has shown; each has a climate of its own, and every eighth the slow one."""
    return [Simulation(seed, Parts(rates=None if seed % 8 else SLOW)).run() for seed in SEEDS]


@pytest.mark.timeout(120 + len(SEEDS))
def test_no_seed_breaks_an_invariant(findings: list[Findings]) -> None:
    """Whatever the site does and whenever the daemon dies, every promise is kept and a verdict is reached."""
    assert [str(found) for found in findings if found.violations] == []


@pytest.mark.timeout(120 + len(SEEDS))
def test_the_seeds_go_everywhere(findings: list[Findings]) -> None:
    """The search is wide: kills, every event that a campaign can hold, and more than one verdict come up."""
    seen = Counter(type(event) for found in findings for event in found.events)
    # Orderly stops and repaired files belong to the tests of the daemon and of the real journal.
    never: set[type] = {ev.DaemonStopped, ev.JournalRepaired}
    assert set(get_args(ev.Event)) - seen.keys() == never
    assert {found.verdict for found in findings} >= {Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED, Verdict.FAILED}
    assert sum(found.lives for found in findings) > 3 * len(findings)


def test_a_seed_tells_the_same_story_twice() -> None:
    """A failing seed is the bug report: it gives the same events in every run."""
    first, again = (Simulation(5, Parts()).run() for _ in range(2))
    assert first.lives > 1
    assert first.events == again.events


def test_on_a_perfect_site_nothing_is_tried_twice() -> None:
    """Without faults and kills every batch is the first of its phase, and the campaign converges."""
    found = Simulation(0, Parts(rates=PERFECT, crashes=False)).run()
    assert str(found).endswith("nothing to complain of")
    assert found.verdict is Verdict.CONVERGED
    begun = [event.uid for event in found.events if isinstance(event, ev.SubmissionBegun)]
    assert {uid.rpartition(".")[2] for uid in begun} == {"b00"}


@dataclass(frozen=True)
class Planted:
    """A mistake, and the words by which it must be found."""

    parts: Parts
    words: str


PLANTED = {
    "tries again when unclear": Planted(Parts(effects=bugs.TriesAgainWhenUnclear), "was not over"),
    "takes silence for death": Planted(Parts(effects=bugs.TakesSilenceForDeath), "was not over"),
    "looks before it asks": Planted(Parts(effects=bugs.LooksBeforeItAsks, rates=SLOW), "was done by"),
    "never comes back": Planted(Parts(effects=bugs.NeverComesBack), "no verdict"),
    "takes absence for death": Planted(Parts(manager=bugs.TakesAbsenceForDeath), "was not over"),
    "starts twice": Planted(Parts(manager=bugs.StartsTwice), "the daemon died by itself: IllegalTransition"),
    "works through pauses": Planted(Parts(manager=bugs.WorksThroughPauses), "while paused"),
    "remembers what nobody wrote": Planted(Parts(manager=bugs.RemembersWhatNobodyWrote), "another state"),
    "acknowledges early": Planted(Parts(journal=bugs.AcknowledgesEarly), "on the disk"),
    "says void at once": Planted(Parts(cluster=bugs.SaysVoidAtOnce), "was not over"),
    "forgets a label": Planted(Parts(runners=bugs.forgetful_runners), "does not read"),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_bug_is_found(planted: Planted) -> None:
    """The simulation is no rubber stamp: it finds each of these mistakes within a few seeds, by its own words."""
    for seed in range(PLANTED_SEEDS_MAX):
        found = Simulation(seed, planted.parts).run()
        if any(planted.words in violation for violation in found.violations):
            return
    pytest.fail(f"not found in {PLANTED_SEEDS_MAX} seeds")
