"""A potential is its files, whatever an evaluator calls them.

What earlier versions wrote of it is read on.
"""

import json

from kit.campaign import potential

from mlip_autopipec.data_models.potential import Potential


def test_what_an_earlier_version_wrote_is_read() -> None:
    """Three fields, when every potential was python-ace's; today they are files by name."""
    today = potential(3, 20.0)
    before = json.loads(today.model_dump_json())
    files = before.pop("files")
    del before["first"]
    assert Potential.model_validate_json(json.dumps({**before, **files})) == today
    assert today.file.path == "potentials/003/potential.yaml"


def test_the_usual_evaluator_is_not_written() -> None:
    """Any other is."""
    today = potential(3, 20.0)
    assert "evaluator" not in json.loads(today.model_dump_json())
    other = today.model_copy(update={"evaluator": "another"})
    assert Potential.model_validate_json(other.model_dump_json()) == other
