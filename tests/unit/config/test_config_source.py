"""The text of a site file: its values, their lines, and broken YAML."""

import pytest

from mlip_autopipec.config.source import parse

SECTIONS = "expected sections such as `campaign:` and `site:`"
PLAIN = "expected text, a finite number, true, false, a list or a section, without a tag"
WORD = "expected a word as key; put it in quotes"
LOOP = "is nested too deeply, or a name in it stands for itself"
TAB = (
    "is broken here: found character '\\t' that cannot start any token (indent with spaces, not"
    " tabs)"
)
OPEN = (
    "is broken here: expected ',' or ']', but got ':', while parsing a flow sequence that begins"
    " in line 1"
)
SECOND = "is broken here: found another document"


@pytest.mark.parametrize(
    ("text", "line", "given", "expected"),
    [
        ("", 1, "an empty file", SECTIONS),
        ("# nothing\n", 1, "an empty file", SECTIONS),
        ("---\n", 1, "an empty file", SECTIONS),
        ("\n- a\n", 2, "a list", f"{SECTIONS} at the top"),
        ("word", 1, "'word'", f"{SECTIONS} at the top"),
        ("a: [1\nb: 2\n", 2, "YAML", OPEN),
        ("a:\n\tb: 1\n", 2, "YAML", TAB),
        ("a: b: c\n", 1, "YAML", "is broken here: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2\n", 2, "YAML", SECOND),
        ("b: 1\na: *nowhere\n", 2, "YAML", "is broken here: found undefined alias 'nowhere'"),
        ("a: &a [*a]\n", 1, "YAML", LOOP),
        ("a: &a {<<: *a, b: 1}\n", 1, "YAML", LOOP),
        ("[" * 500, 1, "YAML", LOOP),
        ("a: 1\nb: \x01\n", 2, r"the character '\x01'", "expected printable text"),
        ("%YAML 1.1\n---\na: yes\n", 1, "%YAML 1.1", "expected YAML 1.2; leave this line out"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_mistake(
    text: str, line: int, given: str, expected: str
) -> None:
    """It has the line, and there is no data to be looked at any further."""
    source = parse(text)
    [mistake] = source.mistakes
    assert source.data is None
    assert (mistake.line, mistake.path, mistake.given, mistake.expected) == (
        line,
        (),
        given,
        expected,
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x", "x"),
        ("'1'", "1"),
        ("1", 1),
        ("-1_000", -1000),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-8", 1e-8),
        ("-.5", -0.5),
        ("True", True),
        ("false", False),
        ("~", None),
        ("", None),
        ("No", "No"),
        ("yes", "yes"),
        ("0-02:00:00", "0-02:00:00"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        ("!!str 5", "5"),
        ("[1, [a]]", [1, ["a"]]),
        ("{b: {c: 1}}", {"b": {"c": 1}}),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: object) -> None:
    """Nobelium is no boolean, and what JSON cannot say is text."""
    source = parse(f"a: {text}\n")
    assert source.data == {"a": value}
    assert type(source.data["a"]) is type(value)
    assert source.mistakes == ()


@pytest.mark.parametrize(
    ("text", "given"),
    [
        (".nan", ".nan"),
        ("-.inf", "-.inf"),
        ("1e999", "1e999"),
        ("!!python/object:os.system x", "!!python/object:os.system x"),
        ("!mine x", "!mine x"),
        ("!mine {b: 1}", "a section"),
        ("!!str {b: 1}", "a section"),
        ("!!set {b, c}", "a section"),
        ("!!binary aGk=", "!!binary aGk="),
        ("!!int x", "x"),
        ("!!bool yes", "yes"),
        ("0x" + "f" * 300, "0x" + "f" * 57 + "…"),
        ("1" + "0" * 5000, "1" + "0" * 58 + "…"),
        ('"\\ud800"', r"'\ud800'"),
    ],
)
def test_a_value_of_no_plain_kind_is_a_mistake(text: str, given: str) -> None:
    """Nothing in a site file names a type, and numbers end."""
    source = parse(f"b: 1\na: {text}\n")
    [mistake] = source.mistakes
    assert (mistake.line, mistake.path, mistake.expected) == (2, ("a",), PLAIN)
    assert mistake.given == given
    assert source.refused == {("a",)}


@pytest.mark.parametrize("key", ["1", "null", "[b]", "{b: 1}", "true", '"\\ud800"'])
def test_a_key_is_a_word(key: str) -> None:
    """Whatever else YAML takes for a key is a mistake of the section around it."""
    source = parse(f"a:\n  b: 1\n  ? {key}\n  : 2\n")
    [mistake] = source.mistakes
    assert (mistake.line, mistake.path, mistake.expected) == (3, ("a",), WORD)
    assert source.data == {"a": {"b": 1}}


def test_every_duplicate_key_is_told_with_the_line_of_the_first() -> None:
    """Two in one file are two mistakes; the first value stands for the rest of the looks."""
    source = parse("a:\n  b: 1\n  b: 2\n'a': 3\n")
    assert [(mistake.line, mistake.path, mistake.given) for mistake in source.mistakes] == [
        (3, ("a", "b"), "2"),
        (4, ("a",), "3"),
    ]
    assert source.mistakes[0].expected == "expected only once; line 2 has it too"
    assert source.data == {"a": {"b": 1}}


def test_merged_keys_give_way_to_the_sections_own() -> None:
    """`<<` with one section or several; the earlier wins, and lines are where the text stands."""
    source = parse("a: &a {k: 1, l: 2}\nb: &b\n  l: 3\n  m: 4\nc:\n  <<: [*a, *b]\n  k: 5\n")
    assert source.mistakes == ()
    assert source.data is not None
    assert source.data["c"] == {"k": 5, "l": 2, "m": 4}
    assert [source.lines["c", key] for key in "klm"] == [7, 1, 4]


def test_only_sections_are_merged() -> None:
    """A mistake of the section that would have it."""
    [mistake] = parse("a:\n  <<: 3\n").mistakes
    assert (mistake.line, mistake.path, mistake.given) == (2, ("a",), "3")
    assert mistake.expected == "expected a section to merge in"


def test_a_name_may_be_given_again() -> None:
    """An anchor that is used twice is good YAML, and no warning."""
    assert parse("a: &x 1\nb: &x 2\nc: *x\n").data == {"a": 1, "b": 2, "c": 2}


def test_keys_and_items_have_lines() -> None:
    """In block and in flow style, also over several lines."""
    lines = parse("a:\n  - b: 1\n  -\n    c: [1,\n        2]\n").lines
    assert lines == {("a",): 1, ("a", 0): 2, ("a", 0, "b"): 2, ("a", 1): 4, ("a", 1, "c"): 4} | {
        ("a", 1, "c", 0): 4,
        ("a", 1, "c", 1): 5,
    }
