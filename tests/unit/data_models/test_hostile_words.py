"""Paths and words that others wrote: they lead below the root, and never command a terminal."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.judged import judged_value
from pydantic import ValidationError

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.data_models.text import printable

SHA = "0" * 64


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["..", ".", "", "a", "~", "/etc", "\0"]), max_size=6).map("/".join)
)
def test_a_file_of_an_outcome_lies_below_the_root(path: str) -> None:
    """Whatever path is taken, it leads below the root and can be shown."""
    try:
        ref = judged_value(FileRef, {"path": path, "sha256": SHA})
    except ValidationError:
        return
    parts = PurePosixPath(ref.path).parts
    assert parts
    assert not PurePosixPath(ref.path).is_absolute()
    assert ".." not in parts
    assert printable(ref.path) == ref.path


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a/./b", "a\nb", "a\x1b[2Jb"]
)
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    """Such a file is neither read nor shown."""
    with pytest.raises(ValidationError, match="below the site's root"):
        judged_value(FileRef, {"path": path, "sha256": SHA})


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_no_word_reaches_a_terminal_as_a_command(text: str) -> None:
    """Control characters are marked; the rest is as it was."""
    shown = printable(text)
    assert len(shown) == len(text)
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
