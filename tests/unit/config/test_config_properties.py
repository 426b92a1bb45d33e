"""Whatever is misspelled, and whatever a file says, the answer is a message or a configuration."""

import re
import string
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kit.site_files import SITE, write

from mlip_autopipec.config.loader import effective_yaml, load_config
from mlip_autopipec.config.schemas.units import (
    format_duration,
    format_memory,
    parse_duration_s,
    parse_memory_mib,
)
from mlip_autopipec.errors import ConfigurationError
from mlip_autopipec.work.codes.ase.settings import AseOracle

DEMO = (Path(__file__).resolve().parents[3] / "config" / "demo.yaml").read_text(encoding="utf-8")
#: Where in the text each key is; comments are blanked out.
KEYS = [
    key.span()
    for key in re.finditer(r"\b[a-z_]+(?=:)", re.sub(r"#.*", lambda it: " " * len(it[0]), DEMO))
]


def edits(word: str) -> st.SearchStrategy[str]:
    """One letter left out, put in, put for another, or changed with its neighbour."""
    indices, letters = st.integers(0, len(word) - 1), st.sampled_from(string.ascii_lowercase)
    return st.one_of(
        indices.map(lambda index: word[:index] + word[index + 1 :]),
        st.builds(lambda index, letter: word[:index] + letter + word[index:], indices, letters),
        st.builds(
            lambda index, letter: word[:index] + letter + word[index + 1 :], indices, letters
        ),
        indices.map(lambda index: word[:index] + word[index : index + 2][::-1] + word[index + 2 :]),
    ).filter(lambda other: other != word)


def one_letter_apart(written: str, word: str) -> bool:
    """Whether one letter was changed: `saeps` may have meant `steps` as well as `swaps`."""
    return (
        len(written) == len(word) and sum(a != b for a, b in zip(written, word, strict=True)) == 1
    )


def message_for(text: str) -> str:
    """What a text is refused with; empty if it is in order."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            load_config(write(Path(folder), text))
        except ConfigurationError as error:
            return str(error)
    return ""


def test_every_line_of_the_demo_file_gives_its_key() -> None:
    """The property below looks at real keys: as many as a look at the file would count."""
    assert {"campaign", "elements", "transport", "kind", "structure", "functions_per_element"} <= {
        DEMO[start:end] for start, end in KEYS
    }


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_key_that_is_misspelled_by_one_letter_is_recognised(data: st.DataObject) -> None:
    """The message has the line, the word as it is written, and asks for the word that was meant."""
    start, end = data.draw(st.sampled_from(KEYS))
    word = DEMO[start:end]
    written = data.draw(edits(word))
    message = message_for(DEMO[:start] + written + DEMO[end:])
    line = DEMO.count("\n", 0, start) + 1
    seen = [item for item in message.splitlines() if item.startswith(f"site.yaml:{line}  ")]
    meant = [
        re.search(rf"\b{written}  .* → no such key; did you mean '(\w+)'\?", item) for item in seen
    ]
    assert any(
        found and (found[1] == word or one_letter_apart(written, found[1])) for found in meant
    ), message


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_file_that_is_damaged_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    """A text cut, doubled or scribbled over gives no other error than ConfigurationError."""
    start = data.draw(st.integers(0, len(SITE)))
    end = data.draw(st.integers(start, min(len(SITE), start + 40)))
    scribble = data.draw(
        st.text(
            alphabet="ab1:-[]{},&*<!%|>'\"\\#?\n\t é\x00\ud800".replace("\ud800", ""), max_size=8
        )
    )
    message = message_for(SITE[:start] + scribble + SITE[end:])
    assert message == "" or re.search(r"\nsite\.yaml:\d+  ", message)


#: Unicode's own line breaks do not survive in a key; no keyword of a calculator has one.
ARGUMENT_NAMES = st.text(
    st.characters(exclude_characters="\x85\u2028\u2029", exclude_categories=["Cs"])
)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(ARGUMENT_NAMES, inner, max_size=3)
        ),
        max_leaves=8,
    )
)
@example("a\n b \n\n c ")
@example({"<<": "x", "=": "~"})
@example("\x85")
def test_any_arguments_are_written_out_and_read_back(value: object) -> None:
    """Of a calculator: all that JSON can say."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = load_config(write(folder, SITE)).config
        assert isinstance(config.calculation.oracle, AseOracle)
        oracle = replace(config.calculation.oracle, arguments={"value": value})
        calculation = config.calculation.model_copy(update={"oracle": oracle})
        changed = config.model_copy(update={"calculation": calculation})
        assert load_config(write(folder, effective_yaml(changed))).config == changed


@given(st.integers(1, 366 * 86400))
def test_durations_read_back_from_what_is_written(duration_s: int) -> None:
    """To the second."""
    assert parse_duration_s(format_duration(duration_s)) == duration_s


@given(st.integers(1, 10**9 - 1))
def test_memory_reads_back_from_what_is_written(memory_mib: int) -> None:
    """To the MiB."""
    assert parse_memory_mib(format_memory(memory_mib)) == memory_mib
