"""A few campaigns of the simulator, for mutants alone: tests/simulation runs hundreds.

They are not collected unless named.
"""

import pytest
from kit.simulated import Parts, Simulation

SEEDS = range(10)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_seed_breaks_an_invariant(seed: int) -> None:
    """Every promise is kept, and a verdict is reached."""
    assert Simulation(seed, Parts()).run().violations == []
