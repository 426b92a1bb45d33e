"""Our copy of a value is pydantic's own."""

import copy

import pytest
from pydantic import BaseModel, ValidationError

from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.events import JobState, Sighting


@pytest.mark.parametrize(
    "update", [None, {}, {"state": JobState.ENDED}, {"detail": "x", "index": 3}]
)
def test_it_is_the_same_as_pydantics(update: dict[str, object] | None) -> None:
    """In its values, in which of them were given, and as JSON; the original stays as it was."""
    seen = Sighting(job_name="u", index=1, state=JobState.RUNNING)
    expected = BaseModel.model_copy(seen, update=update)

    made = seen.model_copy(update=update)

    assert made == expected
    assert type(made) is Sighting
    assert made.model_fields_set == expected.model_fields_set
    assert made.model_dump_json(exclude_unset=True) == expected.model_dump_json(exclude_unset=True)
    assert (seen.state, seen.index, seen.model_fields_set) == (
        JobState.RUNNING,
        1,
        {"job_name", "index", "state"},
    )
    assert made.model_copy(deep=True) == copy.deepcopy(made) == made


def test_a_copy_is_as_frozen_as_its_original() -> None:
    """A value never changes."""
    made = Sighting(job_name="u", index=1, state=JobState.RUNNING).model_copy(update={"index": 2})

    with pytest.raises(ValidationError):
        made.index = 3  # type: ignore[misc]


def test_no_model_has_what_the_copy_leaves_out() -> None:
    """Neither private attributes nor further fields, anywhere."""

    def kinds(of: type[Model]) -> set[type[Model]]:
        return {of}.union(*(kinds(each) for each in of.__subclasses__()))

    for kind in kinds(Model):
        assert not kind.__private_attributes__
        assert kind.model_config["extra"] == "forbid"


def test_equal_sets_of_given_fields_are_one() -> None:
    """Of values that were read, made and copied: 10,000 tasks would hold 34 MB of them."""
    read = [
        Sighting.model_validate_json(b'{"uid":"u","index":1,"state":"running"}') for _ in range(2)
    ]
    made = Sighting(job_name="v", index=2, state=JobState.ENDED)
    copied = [value.model_copy(update={"index": 3}) for value in (*read, made)]

    assert len({id(value.model_fields_set) for value in (*read, made, *copied)}) == 1
    longer = [value.model_copy(update={"detail": "x"}).model_fields_set for value in copied]
    assert longer[0] is longer[1] == {"job_name", "index", "state", "detail"}
