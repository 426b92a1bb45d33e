"""Outcomes and events: what the boundary takes, and what it sends back."""

import random
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from kit.judged import judged_value
from pydantic import ValidationError

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.contract.values import plain
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.events import EVENT_ADAPTER
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.physics import Attempt, done_outcome, failed_outcome
from mlip_autopipec.testing.walk import Walk

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def attempt(phase: Phase, cycle: int = 1) -> Attempt:
    """An attempt at the first task of a phase."""
    config = copper_config()
    campaign = Walk(config, phase_runners(config))
    task = next(iter(campaign.planned(phase, cycle).tasks.values())).task
    return Attempt(campaign.state.campaign, task, "b", 0, "17", NOON, NOON + timedelta(seconds=90))


@pytest.mark.parametrize("phase", Phase)
def test_an_outcome_of_every_kind_survives_its_file(phase: Phase) -> None:
    """Written as JSON and read back, every kind of outcome is equal."""
    outcome = done_outcome(attempt(phase, 0 if phase is Phase.GENERATION else 1), random.Random(1))  # noqa: S311 - the same in every run is the point
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


@pytest.mark.parametrize("reason", Reason)
def test_an_outcome_may_fail_for_any_reason(reason: Reason) -> None:
    """A failed outcome needs its reason and no metrics."""
    outcome = failed_outcome(attempt(Phase.CALCULATION), reason)
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": None}, "carries metrics and no reason"),
        ({"reason": "crashed"}, "carries metrics and no reason"),
        ({"status": "failed", "reason": None}, "says its reason"),
        ({"kind": "train"}, "kind is 'train' but the metrics are of 'calculate'"),
        ({"version": 2}, "Input should be 1"),
        ({"index": -1}, "greater than or equal to 0"),
        ({"started_at": "2030-01-01T12:00:00"}, "timezone"),
        ({"message": "x" * 9000}, "at most 8000"),
        ({"colour": "blue"}, "Extra inputs"),
        ({"artefacts": {"label": {"path": "a", "sha256": "short"}}}, "should match pattern"),
    ],
)
def test_a_broken_outcome_is_refused_with_words(changes: dict[str, Any], message: str) -> None:
    """Each rule of the contract names itself."""
    outcome = done_outcome(attempt(Phase.CALCULATION), random.Random(1))  # noqa: S311 - the same in every run is the point
    with pytest.raises(ValidationError, match=message):
        Outcome.model_validate(outcome.model_dump(mode="json") | changes)


def test_a_walker_that_completed_took_all_its_steps() -> None:
    """A shortened run can't pass for a quiet one."""
    outcome = done_outcome(attempt(Phase.EXPLORATION), random.Random(1))  # noqa: S311 - the same in every run is the point
    assert isinstance(outcome.metrics, ExploreMetrics)
    changes = {"ending": Ending.COMPLETED, "steps": outcome.metrics.steps_planned - 1}
    with pytest.raises(ValidationError, match="completed, but only 1499 of 1500 steps"):
        judged_value(ExploreMetrics, {**plain(outcome.metrics), **changes})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
def test_numbers_that_are_no_errors_are_refused(number: float) -> None:
    """NaN must not pass a gate by comparing false."""
    with pytest.raises(ValidationError):
        judged_value(
            Errors, Errors(structures=1, energy_mev_per_atom=1.0, force_mev_per_angstrom=number)
        )


def test_values_never_change() -> None:
    """Models are frozen: state is changed by evolve or not at all."""
    file = FileRef(path="a", sha256="0" * 64)
    with pytest.raises(FrozenInstanceError):
        file.path = "b"  # type: ignore[misc] # the point of the test
    with pytest.raises(ValidationError, match="frozen"):
        ev.Resumed(at=NOON, by=ev.DAEMON).at = NOON  # type: ignore[misc] # the same


def test_every_event_has_its_own_type_word() -> None:
    """The journal's discriminator is the class name, so no two kinds can be mixed up."""
    kinds = get_args(ev.Event)
    assert [kind.model_fields["type"].default for kind in kinds] == [
        kind.__name__ for kind in kinds
    ]


def test_an_event_of_another_version_is_refused() -> None:
    """Unknown types and unknown keys raise; nothing is skipped in silence."""
    resumed = ev.Resumed(at=NOON, by=ev.Actor(uid=1, pid=1))
    assert EVENT_ADAPTER.validate_json(resumed.model_dump_json()) == resumed
    with pytest.raises(ValidationError):
        EVENT_ADAPTER.validate_python(resumed.model_dump() | {"type": "Rewound"})
    with pytest.raises(ValidationError):
        EVENT_ADAPTER.validate_python(resumed.model_dump() | {"mood": "good"})


def test_the_state_shows_every_live_attempt_with_its_job() -> None:
    """active_tasks is what people look for: task, batch, index and job id."""
    config = copper_config()
    campaign = Walk(config, phase_runners(config))
    assert WorkflowState().active_tasks == ()
    batch = campaign.submitted(Phase.CALCULATION)
    shown = [
        (each.task, each.job_name, each.index, each.job_id) for each in campaign.state.active_tasks
    ]
    assert shown == [
        (name, batch.job_name, index, "4711") for index, name in enumerate(batch.tasks)
    ]
    campaign.tell(campaign.ended(batch.job_name, 0))
    assert [each.index for each in campaign.state.active_tasks] == [1, 2]
