"""What the local scheduler and the queue say to each other: the bytes of before, read as values."""

import json
from typing import Any, get_args

import pytest

from mlip_autopipec.contract.local_queue import (
    CANCEL,
    LOCATE,
    POST_MORTEM,
    ROLL,
    SIGHT,
    SUBMIT,
    State,
    Verb,
)
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.work.queue import local_queue

TASK = (
    '{"index": 0, "id": "t", "workdir": "cycles/0", "cores": 6, "threads": 3, "walltime_s": 60, '
    '"memory_mib": 2048}'
)
SPEC = f'{{"uid": "b", "python": "python3", "payload": "p.pyz", "cores": null, "tasks": [{TASK}]}}'
SIGHTING = '{"uid": "b", "index": 0, "state": "running", "detail": "pid 7"}'


@pytest.mark.parametrize(
    ("verb", "question"),
    [
        (SUBMIT, SPEC),
        (SUBMIT, SPEC.replace(', "memory_mib": 2048', "")),  # as before memory was bounded
        (LOCATE, '{"uid": "b"}'),
        (SIGHT, '{"batches": [{"uid": "b", "live": [0, 2]}]}'),
        (POST_MORTEM, '{"uid": "b", "index": 0}'),
        (ROLL, '{"campaign": "c"}'),
        (CANCEL, '{"uid": "b", "live": [0]}'),
        (CANCEL, '{"uid": "b", "live": [0], "only": true}'),
    ],
)
def test_questions_have_the_bytes_of_before(verb: Verb[Any, Any], question: str) -> None:
    """Keys, their order, and what is left out."""
    assert json.dumps(plain(read(verb.question, json.loads(question)))) == question


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        (SUBMIT, '{"accepted": "7.1"}'),
        (SUBMIT, '{"rejected": "too big"}'),
        (SUBMIT, '{"unclear": "who knows"}'),
        (LOCATE, '{"void": "never"}'),
        (SIGHT, f'{{"sightings": [{SIGHTING}]}}'),
        (POST_MORTEM, f'{{"sighting": {SIGHTING}}}'),
        (POST_MORTEM, '{"reason": "lost", "message": ""}'),
        (ROLL, '{"jobs": [{"uid": "b", "job_id": "7.1", "detail": "pid 7"}]}'),
        (CANCEL, "{}"),
    ],
)
def test_answers_have_the_bytes_of_before(verb: Verb[Any, Any], answer: str) -> None:
    """Each says one thing, and no other key."""
    assert json.dumps(plain(read(verb.answer, json.loads(answer)))) == answer


def test_the_control_half_knows_every_state() -> None:
    """A state by another word would be a fault that no wait mends."""
    assert set(get_args(State)) < {state.value for state in JobState}


def test_every_verb_is_asked_by_its_name() -> None:
    """As the command line takes it."""
    verbs = (SUBMIT, LOCATE, SIGHT, POST_MORTEM, ROLL, CANCEL)
    assert list(local_queue.VERBS) == [verb.name for verb in verbs]
