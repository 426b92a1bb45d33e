"""Jobs of a campaign whose daemon does not run, ended on a person's word."""

import asyncio
import os
from pathlib import Path

import pytest
from kit.restored import Place

from mlip_autopipec.cancel import cancel
from mlip_autopipec.control.api import Cancel
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.work.queue import local_queue


@pytest.mark.slow
def test_a_submission_whose_answer_was_lost_never_begins_after_a_cancel(tmp_path: Path) -> None:
    """It is looked up by its name and shut out; who wanted it, and why, is in the journal."""
    place = Place(tmp_path / "place")
    named = asyncio.run(cancel(place.loaded, Cancel(everything=True, reason="a wrong oracle")))
    assert named == place.tasks
    last = [record.event for record in read(place.journal)][-1]
    assert isinstance(last, ev.TasksCancelled)
    assert (last.tasks, last.by.uid, last.reason) == (place.tasks, os.getuid(), "a wrong oracle")
    assert local_queue.answer(place.root, "locate", {"uid": place.job_name}).keys() == {"void"}
    assert all(record.cancelled for record in replay(place.journal).tasks.values())
    assert asyncio.run(cancel(place.loaded, Cancel(everything=True))) == ()


def test_a_name_that_is_not_known_changes_nothing(tmp_path: Path) -> None:
    """What there is, is told."""
    place = Place(tmp_path / "place")
    before = place.files()
    with pytest.raises(OperatorError, match=f"at work or waiting are {place.tasks[0]}"):
        asyncio.run(cancel(place.loaded, Cancel(tasks=("c000.generation.0009-ffffff",))))
    assert place.files() == before
