"""Long lists are written piece by piece, and what comes out is what pydantic would have written."""

import pytest
from pydantic_core import to_json

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.writing import json_of, pieces
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk


def story(structures: int) -> tuple[ev.Event, ...]:
    """A bootstrap cycle with so many labels, from its first event to its summary."""
    config = copper_config(generation={"structures": structures})
    campaign = Walk(config, phase_runners(config))
    campaign.until(lambda state: state.cycle_index == 1)
    return tuple(campaign.events)


@pytest.mark.parametrize("structures", [2, 230])
def test_the_bytes_are_pydantic_s_own(structures: int) -> None:
    """Whatever is in an event, and however long its lists are."""
    for event in story(structures):
        assert json_of(event) == event.model_dump_json().encode()


def test_no_piece_holds_more_than_a_hundred_items() -> None:
    """Between two pieces another thread may run.

    The plan of a phase and the task over all of its labels are cut.
    """
    begun = [event for event in story(230) if isinstance(event, ev.PhaseStarted)]
    many = {
        event.phase: [piece for piece in pieces(event) if piece.count(b"sha256") > 1]
        for event in begun
    }
    for phase in (Phase.CALCULATION, Phase.TRAINING):
        assert len(many[phase]) == 3
        assert max(piece.count(b"sha256") for piece in many[phase]) == 100


def test_anything_else_is_written_at_one_stroke() -> None:
    """Short lists, words, numbers, nothing."""
    for value in ((), (1, 2), "ä", 3, None):
        assert json_of(value) == to_json(value)
