"""judge_outcome: the work half's word is checked before it becomes an event."""

import json

import pytest
from kit.stages import walk

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.orchestration.outcomes import judge_outcome, live_attempts
from mlip_autopipec.testing.walk import Walk


def judged(campaign: Walk, content: bytes) -> ev.TaskEnded | ev.AttemptLost:
    """What `content` would mean for the first attempt of the live batch."""
    batch = next(iter(campaign.state.batches.values()))
    return judge_outcome(content, batch, 0, campaign.state, campaign.now)


@pytest.fixture
def campaign() -> Walk:
    """Bootstrap's calculations are running."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    return campaign


@pytest.mark.parametrize("reason", [None, *Reason])
def test_a_good_outcome_ends_its_task(campaign: Walk, reason: Reason | None) -> None:
    """Done or failed, an outcome that keeps the contract becomes TaskEnded as it is."""
    job_name = next(iter(campaign.state.batches))
    outcome = campaign.outcome(job_name, 0, reason)
    assert judged(campaign, outcome.model_dump_json().encode()) == ev.TaskEnded(
        at=campaign.now, outcome=outcome
    )


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"null", b"[]", b"{}", b'{"version": 2}', b"0" * 100_000],
    ids=repr,
)
def test_an_unreadable_outcome_ends_its_attempt(campaign: Walk, content: bytes) -> None:
    """Torn, empty or foreign files give `bad_outcome`, in words of bounded length."""
    event = judged(campaign, content)
    assert isinstance(event, ev.AttemptLost)
    assert (event.reason, event.index) == (Reason.BAD_OUTCOME, 0)
    assert event.message.startswith("its outcome cannot be read: ")
    assert len(event.message) <= 2000


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "done", "metrics": None},
        {"status": "done", "reason": "crashed"},
        {"status": "failed", "reason": None},
        {"kind": "train"},
        {"wall_s": -1},
        {"ended_at": "2030-01-01T00:00:00"},
        {"surprise": 1},
    ],
    ids=repr,
)
def test_an_outcome_that_contradicts_itself_ends_its_attempt(
    campaign: Walk, changes: dict[str, object]
) -> None:
    """Metrics, status, kind, times and keys must agree."""
    job_name = next(iter(campaign.state.batches))
    content = campaign.outcome(job_name, 0).model_dump(mode="json") | changes
    event = judged(campaign, json.dumps(content).encode())
    assert isinstance(event, ev.AttemptLost)
    assert event.reason is Reason.BAD_OUTCOME


@pytest.mark.parametrize(
    "changes",
    [
        {"campaign": "copper-000000"},
        {"task": "c000.calculation.0001-000000"},
        {"job_name": "copper-3f9a1c.c000.calculation.b07"},
        {"index": 1},
    ],
    ids=repr,
)
def test_an_outcome_of_something_else_ends_its_attempt(
    campaign: Walk, changes: dict[str, object]
) -> None:
    """A file under this attempt's name must speak of this attempt."""
    job_name = next(iter(campaign.state.batches))
    outcome = campaign.outcome(job_name, 0).model_copy(update=changes)
    event = judged(campaign, outcome.model_dump_json().encode())
    assert isinstance(event, ev.AttemptLost)
    assert "its outcome speaks of" in event.message


def test_an_outcome_of_another_kind_ends_its_attempt(campaign: Walk) -> None:
    """A failed outcome carries no metrics, so its kind is held against the task's."""
    job_name = next(iter(campaign.state.batches))
    outcome = campaign.outcome(job_name, 0, Reason.CRASHED).model_copy(update={"kind": "train"})
    event = judged(campaign, outcome.model_dump_json().encode())
    assert isinstance(event, ev.AttemptLost)
    assert event.message == "its outcome is of kind 'train', expected 'calculate'"


def test_every_live_attempt_has_one_name_in_the_outbox(campaign: Walk) -> None:
    """Attempts that have ended are looked for no longer."""
    batch = next(iter(campaign.state.batches.values()))
    names = [f"{batch.job_name}.{index}.json" for index in range(3)]
    assert list(live_attempts(campaign.state)) == names
    assert list(live_attempts(campaign.tell(campaign.ended(batch.job_name, 1)))) == [
        names[0],
        names[2],
    ]
