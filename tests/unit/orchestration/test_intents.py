"""Intents on the site, when a journal is made again of them."""

import json

import pytest

from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.rebuild import _intent


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"uid": 7}', b"\xff", json.dumps({"uid": "x"}).encode()]
)
def test_a_file_that_is_no_intent_is_told_by_its_path(content: bytes) -> None:
    """Anybody may have written it; nothing is guessed."""
    with pytest.raises(
        OperatorError, match=r"^\.ap/submit/x/intent\.json on the site is no intent: "
    ):
        _intent(".ap/submit/x/intent.json", content)
