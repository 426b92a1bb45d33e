"""Words of others: the answer among them, and what a message shows of them."""

import pytest

from mlip_autopipec.data_models.text import answer_in, first_lines


@pytest.mark.parametrize(
    "before",
    [b"", b"Loading module python/3.11\n", b"{a notice in braces}\n", b'["a list"]\n\xff\n'],
)
@pytest.mark.parametrize("behind", [b"", b"bye\n", b"\n\n{\n", b"Segmentation fault (core dumped)"])
def test_an_answer_is_found_among_notices(before: bytes, behind: bytes) -> None:
    """Profiles, modules and exit hooks print around it."""
    assert answer_in(before + b'{"fit": true, "words": "LAMMPS"}\n' + behind) == {
        "fit": True,
        "words": "LAMMPS",
    }


@pytest.mark.parametrize("output", [b"", b"a notice\n", b"[1, 2]\n", b'{"torn": \n'])
def test_no_answer_is_none(output: bytes) -> None:
    """Nothing is made of what is no JSON object."""
    assert answer_in(output) is None


def test_a_message_shows_the_first_lines() -> None:
    """Without control characters, on one line, and not all of it."""
    assert first_lines("") == "nothing"
    assert first_lines("one\n\n  two \x1b[1m\n") == "one / two �[1m"
    assert first_lines("1\n2\n3\n4\n") == "1 / 2 / 3…"
    assert first_lines("x" * 1000) == "x" * 300 + "…"
