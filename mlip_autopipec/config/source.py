"""The text of a site file as plain values, each with the line it stands in.

Values are taken from ruamel's node tree, not constructed by it: nothing in the file can name a
type. What JSON has no word for (tags, keys that are no words, numbers without end) is a mistake; a
date is its text.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from mlip_autopipec.contract.mistakes import KeyPath, Mistake, clipped, shown

_TAG = "tag:yaml.org,2002:"
#: What an untagged scalar may be besides null, bool, int and float; all of it is text here.
_TEXT = frozenset({"str", "timestamp", "value", "merge"})
_PREFIXED = re.compile(r"[-+]?0[box]", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, from an escape such as "\\ud800"
_DIRECTIVE = re.compile(r"^%YAML\s+(?!1\.2\s).*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """What a text says: its values, their lines, and what is wrong with it as YAML."""

    data: Mapping[str, object] | None
    lines: Mapping[KeyPath, int]
    mistakes: tuple[Mistake, ...]
    #: Where there is a value of no known kind; None stands in the data for it.
    refused: frozenset[KeyPath] = frozenset()


def parse(text: str) -> Source:
    """Read a whole site file; never raises for what the text says.

    A text that cannot be read has no data.
    """
    if directive := _DIRECTIVE.search(text):
        return _unreadable(
            directive[0],
            "expected YAML 1.2; leave this line out",
            _line_at(text, directive.start()),
        )
    try:
        root = _compose(text)
        if not isinstance(root, MappingNode):
            return _no_mapping(root)
        reader = _Reader()
        data = reader.mapping(root, ())
    except ReaderError as error:
        line = _line_at(text, error.position)
        return _unreadable(
            f"the character {chr(error.character)!r}", "expected printable text", line
        )
    except MarkedYAMLError as error:
        return _unreadable("YAML", _complaint(error), _line_of(error))
    except RecursionError:
        return _unreadable("YAML", "is nested too deeply, or a name in it stands for itself", 1)
    return Source(data, reader.lines, tuple(reader.mistakes), frozenset(reader.refused))


def _compose(text: str) -> Node | None:
    yaml = YAML(typ="rt", pure=True)
    yaml.composer.warn_double_anchors = (
        False  # a name may be used again; a library's warning is nobody's business
    )
    root: Node | None = yaml.compose(text)
    return root


def _no_mapping(root: Node | None) -> Source:
    if root is None or _kind(root) == "null":
        return _unreadable("an empty file", "expected sections such as `campaign:` and `site:`", 1)
    line = root.start_mark.line + 1
    return _unreadable(
        _brief(root), "expected sections such as `campaign:` and `site:` at the top", line
    )


def _unreadable(given: str, expected: str, line: int) -> Source:
    return Source(None, {}, (Mistake((), given, expected, line=line),))


def _complaint(error: MarkedYAMLError) -> str:
    """The library's own words, in one line, with where the trouble began."""
    message = " ".join(str(error.problem or error.context).split()).removeprefix("but ")
    if "'\\t'" in message:
        message += " (indent with spaces, not tabs)"
    if error.problem and error.context_mark and str(error.context).startswith("while "):
        message += f", {error.context} that begins in line {error.context_mark.line + 1}"
    return f"is broken here: {message}"


def _line_of(error: MarkedYAMLError) -> int:
    mark = error.problem_mark or error.context_mark
    return int(mark.line) + 1 if mark else 1


def _line_at(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _kind(node: Node) -> str:
    """`map`, `seq`, `str`, `int` …; a tag of the file's own as it is written."""
    return str(node.tag).removeprefix(_TAG)


def _is_text(node: Node) -> bool:
    return (
        isinstance(node, ScalarNode) and _kind(node) in _TEXT and not _SURROGATE.search(node.value)
    )


class _Reader:
    """One walk over the node tree; collects lines and mistakes on its way."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.mistakes: list[Mistake] = []
        self.refused: set[KeyPath] = set()

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, object]:
        """A section. A key that is given again is a mistake, and its first value counts."""
        values: dict[str, object] = {}
        for key, value in self._entries(node, path):
            index, line = (*path, key.value), key.start_mark.line + 1
            if key.value in values:
                expected = f"expected only once; line {self.lines[index]} has it too"
                self.mistakes.append(Mistake(index, _brief(value), expected, line=line))
            else:
                self.lines[index] = line
                values[key.value] = self._value(value, index)
        return values

    def _entries(self, node: MappingNode, path: KeyPath) -> list[tuple[Node, Node]]:
        """The mapping's own keys, then those that `<<` brings in where it has none of that name."""
        entries: list[tuple[Node, Node]] = []
        merged: list[Node] = []
        for key, value in node.value:
            if _kind(key) == "merge":
                merged += value.value if isinstance(value, SequenceNode) else [value]
            elif _is_text(key):
                entries.append((key, value))
            else:
                self._refuse(path, key, "expected a word as key; put it in quotes")
        for other in merged:
            if not isinstance(other, MappingNode):
                self._refuse(path, other, "expected a section to merge in")
                continue
            names = {key.value for key, _ in entries}
            entries += [
                entry for entry in self._entries(other, path) if entry[0].value not in names
            ]
        return entries

    def _value(self, node: Node, path: KeyPath) -> object:
        if isinstance(node, MappingNode) and _kind(node) == "map":
            return self.mapping(node, path)
        if isinstance(node, SequenceNode) and _kind(node) == "seq":
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            return _plain(node)
        except (ValueError, OverflowError):
            self.refused.add(path)
            self._refuse(
                path,
                node,
                "expected text, a finite number, true, false, a list or a section, without a tag",
            )
            return None

    def _item(self, node: Node, path: KeyPath) -> object:
        self.lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _refuse(self, path: KeyPath, node: Node, expected: str) -> None:
        self.mistakes.append(Mistake(path, _brief(node), expected, line=node.start_mark.line + 1))


def _plain(node: Node) -> object:
    """The value of a scalar. Raises ValueError or OverflowError if JSON has none such."""
    kind, text = _kind(node), node.value
    if not isinstance(node, ScalarNode):
        raise ValueError(kind)  # noqa: TRY004 - it is the tag that is wrong
    if _is_text(node):
        return text
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if kind in _NUMBERS and math.isfinite(number := _NUMBERS[kind](text)):
        return number
    raise ValueError(text)


def _integer(text: str) -> int:
    return int(text, 0) if _PREFIXED.match(text) else int(text)


_BOOLEANS = {"true": True, "false": False}
_NUMBERS: Mapping[str, Callable[[str], float]] = {"int": _integer, "float": float}


def _brief(node: Node) -> str:
    """A node as it is quoted in a message."""
    if not isinstance(node, ScalarNode):
        return f"a {'list' if isinstance(node, SequenceNode) else 'section'}"
    kind = _kind(node)
    if kind in _TEXT:
        return shown(node.value)
    if kind == "null":
        return shown(None)
    tag = (
        "" if kind in {"bool", *_NUMBERS} else f"{kind} " if kind.startswith("!") else f"!!{kind} "
    )
    return clipped(f"{tag}{node.value}")
