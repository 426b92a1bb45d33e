"""What pydantic has against a site file, in the words of this project.

A misspelled key hides what stands under it. So it is taken for the key that it was most likely
meant to be, and the file is looked at again, until no key is unknown: one message holds every
mistake.
"""

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mlip_autopipec.config.shape import (
    KEY,
    KIND,
    SchemaPosition,
    fields_of,
    is_model,
    keys,
    kinds,
    locate,
)
from mlip_autopipec.contract import registry
from mlip_autopipec.contract.mistakes import MISSING, KeyPath, Mistake, dotted, nearest, shown

M = TypeVar("M", bound=BaseModel)

#: How alike (0 to 1) two keys must be for one to be read as the other; a mere suggestion may be
#: less alike.
_MEANT = 0.75
#: pydantic's type of error → what was expected instead; the names in braces are pydantic's own.
_EXPECTED: Mapping[str, str] = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a section of keys",
    "dataclass_type": "a section of keys",
    "dict_type": "a section of keys",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "too_short": "{min_length} or more in the list",
    "too_long": "no more than {max_length} in the list",
    "string_pattern_mismatch": "text that matches {pattern}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "union_tag_invalid": "{expected_tags}",
    "value_error": "{error}",
}


@dataclass(slots=True)
class Reading(Generic[M]):
    """A file as it was most likely meant, and its mistakes."""

    model: type[M]
    data: dict[str, Any]
    mistakes: list[Mistake] = field(default_factory=list)
    #: Path as it was meant → its last part as it is written.
    written: dict[KeyPath, str] = field(default_factory=dict)
    #: Where values are wrong, not only the spelling of keys.
    wrong: frozenset[KeyPath] = frozenset()

    def spelled(self, mistakes: Iterable[Mistake]) -> list[Mistake]:
        """Mistakes in the file as it was meant, by the paths that it has."""
        return [replace(mistake, path=self.as_written(mistake.path)) for mistake in mistakes]

    def as_written(self, path: KeyPath) -> KeyPath:
        """The path in the file's own spelling."""
        return tuple(self.written.get(path[: index + 1], part) for index, part in enumerate(path))

    def right(self) -> dict[str, Any]:
        """`section.key` → its value, for all that are right in themselves.

        A section that is none goes by its own key.
        """
        values: dict[str, Any] = {}
        for name, info in self.model.model_fields.items():
            section = info.annotation
            if not is_model(section):
                values |= self._right((), self.data, {name: info})
            elif (name,) not in self.wrong:
                values |= self._right((name,), self.data.get(name, {}), fields_of(section))
        return values

    def _right(
        self, around: KeyPath, data: Mapping[str, Any], fields: Mapping[str, FieldInfo]
    ) -> dict[str, Any]:
        wrong = {path[: len(around) + 1] for path in self.wrong}
        return {
            dotted((*around, name)): _value(data, name, info)
            for name, info in fields.items()
            if (*around, name) not in wrong
        }


def read(model: type[M], data: Mapping[str, object]) -> Reading[M]:
    """Hold the values of a file against a model. Ends, as each turn takes an unknown key away."""
    reading = Reading(model, copy.deepcopy(dict(data)))
    while True:
        errors = _errors(model, reading.data)
        unknown = {found[0]: found[1] for error in errors if (found := _unknown_key(model, error))}
        if not unknown:
            break
        for path, names in unknown.items():
            # One under another goes with it, and shows up again in the next turn.
            if not any(path[:depth] in unknown for depth in range(len(path))):
                _respell(reading, path, names)
    mistakes = list(_translated(model, errors))
    reading.mistakes += reading.spelled(mistakes)
    reading.wrong = frozenset(mistake.path for mistake in mistakes)
    return reading


def validated(kind: Any, value: object) -> Any:
    """A plain value as what it is in the models. Raises pydantic's ValidationError.

    Strict, as YAML has types: a number in quotes is text. As JSON, where a list may become a tuple
    even so.
    """
    return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)


def _value(data: Mapping[str, Any], name: str, info: FieldInfo) -> Any:
    if name in data:
        return validated(info.rebuild_annotation(), data[name])
    return info.get_default(call_default_factory=True, validated_data={})


def _errors(model: type[BaseModel], data: object) -> Sequence[ErrorDetails]:
    try:
        validated(model, data)
    except ValidationError as error:
        return error.errors(include_url=False)
    return ()


def _unknown_key(
    model: type[BaseModel], error: ErrorDetails
) -> tuple[KeyPath, Sequence[str]] | None:
    """The key that this error is about, and the names it might have; None if it is about no key."""
    position = locate(model, error["loc"])
    # of a model, of a value of the contract
    if error["type"] in {
        "extra_forbidden",
        "unexpected_keyword_argument",
    }:
        return position.path, tuple(fields_of(position.section)) if position.section else ()
    if error["loc"] and error["loc"][-1] == KEY:
        return position.path, _expected_values(error)
    if error["type"] == "union_tag_not_found" and (
        written := nearest(KIND, error["input"], _MEANT)
    ):
        return (*position.path, written), (KIND,)
    return None


def _respell(reading: Reading[Any], path: KeyPath, names: Sequence[str]) -> None:
    """Take an unknown key out, and put its value under the key that was meant, if that is free."""
    *around, key = path
    section = reading.data
    for part in around:
        section = section[part]  # type: ignore[index] # a path's parts are keys of mappings and indices of lists
    value = section.pop(str(key))
    expected, suggestion = "no such key", nearest(key, names) or _elsewhere(reading.model, path)
    if suggestion is None and names:
        expected += f" here; there are {', '.join(names)}"
    reading.mistakes.append(Mistake(reading.as_written(path), shown(value), expected, suggestion))
    meant = nearest(key, names, _MEANT)
    if meant and meant not in section:
        section[meant] = value
        reading.written[*around, meant] = str(key)


def _elsewhere(model: type[BaseModel], path: KeyPath) -> str | None:
    """Where a right key belongs that stands in the wrong section.

    None for a key of this section's other kind.
    """
    homes = [home for home in keys(model) if home[-1] == path[-1]]
    here = tuple(part for part in path if isinstance(part, str))
    return dotted(homes[0]) if homes and here not in homes else None


def _translated(model: type[BaseModel], errors: Sequence[ErrorDetails]) -> Iterable[Mistake]:
    """One mistake per path: members of a union complain one by one of the same value."""
    mistakes: dict[KeyPath, Mistake] = {}
    for error in _primary(errors):
        mistake = _mistake(error, locate(model, error["loc"]))
        earlier = mistakes.get(mistake.path, mistake)
        if mistake.expected not in earlier.expected:
            expected = f"{earlier.expected} or {mistake.expected.removeprefix('expected ')}"
            mistake = replace(
                earlier, expected=expected, suggestion=earlier.suggestion or mistake.suggestion
            )
        mistakes[mistake.path] = mistake
    return mistakes.values()


def _primary(errors: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Without lists too short only because an item is wrong, and words where a mapping stands."""
    inner = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    for error in errors:
        of_union = error["loc"] and str(error["loc"][-1]).startswith("literal[")
        if error["type"] == "too_short" and error["loc"] in inner:
            continue
        if of_union and isinstance(error["input"], Mapping):
            continue
        yield error


def _mistake(error: ErrorDetails, position: SchemaPosition) -> Mistake:
    path, kind = position.path, error["type"]
    if kind == "missing" and path and isinstance(path[-1], int):
        return Mistake(path[:-1], shown(error["input"]), f"expected a list of {position.items}")
    if kind == "missing":
        return Mistake(path, MISSING, _required(position))
    if kind == "union_tag_not_found":
        return Mistake(
            (*path, KIND), MISSING, f"required: {', '.join(map(repr, kinds(position.members)))}"
        )
    if kind == "union_tag_invalid":
        tag = error["ctx"]["tag"]
        near, expected = (
            nearest(tag, _expected_values(error)),
            _why_not(position, tag) or _expected(error),
        )
        if (
            position.choice is not None
            and near is None
            and str(tag) not in registry.entries(position.choice.seam)
        ):
            expected += (
                f", or one of {position.choice.seam} that a package brings which is installed here"
            )
        # some may be named by a word
        named = path if isinstance(error["input"], str) else (*path, KIND)
        return Mistake(named, shown(tag), expected, near)
    return Mistake(
        path,
        shown(error["input"]),
        _expected(error),
        nearest(error["input"], _expected_values(error)),
    )


def _why_not(position: SchemaPosition, tag: object) -> str:
    """Why a code cannot be used that there is; empty if there is none."""
    choice = position.choice
    entry = registry.entries(choice.seam).get(str(tag)) if choice else None
    if choice is None or entry is None:
        return ""
    if entry.refused:
        return f"expected a code that can be used: {entry.refused}"
    try:
        choice.member(tag)
    except registry.UnknownCode as error:
        return f"expected a code that can be used: {error}"
    return ""


def _expected(error: ErrorDetails) -> str:
    template = _EXPECTED.get(error["type"])
    if template is None:
        return f"refused: {error['msg']}"
    return f"expected {template.format(**error.get('ctx', {})).removeprefix('expected ')}"


def _expected_values(error: ErrorDetails) -> Sequence[str]:
    """The closed set of words that pydantic names in this error; empty if there is none."""
    ctx = error.get("ctx", {})
    return re.findall(r"'([^']*)'", str(ctx.get("expected") or ctx.get("expected_tags") or ""))


def _required(position: SchemaPosition) -> str:
    """What a missing key is for: its description, else that of the section that it holds."""
    purpose = (position.field and position.field.description) or ""
    if not purpose and position.members and is_model(position.members[0]):
        first_line = (position.members[0].__doc__ or "").partition("\n")[0]
        # a section's docstring may begin with its key
        purpose = first_line.partition(":` ")[2] or first_line
    return f"required: {purpose}" if purpose else "required"
