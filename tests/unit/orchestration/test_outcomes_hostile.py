"""Outcome files, spoiled in every way: attempts end with a reason, the daemon never by itself."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from kit.hostile import JSON, places, spoiled
from kit.stages import walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.outcomes import judge_outcome
from mlip_autopipec.testing.walk import Walk


def calculating() -> Walk:
    """Bootstrap's calculations are running."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    return campaign


CALCULATING = calculating()
BATCH = next(iter(CALCULATING.state.batches.values()))
GOOD = CALCULATING.outcome(BATCH.job_name, 0).model_dump(mode="json")


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(places(GOOD)), JSON)
def test_an_outcome_with_anything_anywhere_is_judged(place: tuple[Any, ...], value: Any) -> None:
    """It ends its attempt, as done or failed or as a bad outcome, and the state takes that."""
    content = json.dumps(spoiled(GOOD, place, value)).encode()
    event = judge_outcome(content, BATCH, 0, CALCULATING.state, CALCULATING.now)
    after = evolve(CALCULATING.state, event)
    assert 0 not in after.batches[BATCH.job_name].live
    if isinstance(event, ev.AttemptLost):
        assert event.reason is Reason.BAD_OUTCOME


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 5000), st.binary(max_size=30))
def test_an_outcome_cut_and_soiled_is_judged(cut: int, soil: bytes) -> None:
    """Half a file, garbage behind it, another encoding: a bad outcome with its reason.

    It is none where nothing was cut.
    """
    content = json.dumps(GOOD).encode()
    event = judge_outcome(content[:cut] + soil, BATCH, 0, CALCULATING.state, CALCULATING.now)
    if cut < len(content):
        assert isinstance(event, ev.AttemptLost)
        assert event.message.startswith("its outcome cannot be read: ")
