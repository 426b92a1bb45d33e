"""How a value of the contract is declared, and read from JSON with the standard library alone."""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from typing import Annotated, Any, Literal, TypeVar, Union, dataclass_transform

T = TypeVar("T")

#: How the control half judges these values: unknown keys, NaN and infinities are refused, also in
#: values that the program made itself. This is the name under which pydantic looks for it in a
#: dataclass.
_JUDGED = {
    "extra": "forbid",
    "frozen": True,
    "allow_inf_nan": False,
    "revalidate_instances": "always",
    "validate_by_name": True,
    "serialize_by_alias": True,
}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(kind: type[T]) -> type[T]:
    """A frozen dataclass whose fields are given by name."""
    kind.__pydantic_config__ = _JUDGED  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, kw_only=True)(kind)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def excerpt(kind: type[T]) -> type[T]:
    """A value that is part of what a file holds: keys that it does not know are passed over.

    For what a program of another version may have written, or for who needs no more of it.
    """
    made = value(kind)
    made.__pydantic_config__ = {**_JUDGED, "extra": "ignore"}  # type: ignore[attr-defined]
    return made


def about(description: str = "", **bounds: object) -> Mapping[str, Any]:
    """A field's `metadata`: what it is, for people, and bounds for pydantic, by pydantic's names.

    An `alias` is the field's key in files, where it was written before the field had its name of
    now. The bounds are `ge`, `gt`, `le`, `lt` of numbers, `pattern` of texts, `min_length` of lists
    and mappings; and `exclude_if`, which tells values that are left out where the field is written.
    """
    return {"description": description, **bounds} if description else bounds


class Within:
    """Bounds of what is in a list or mapping, as in `dict[str, Annotated[float, Within(ge=0)]]`."""

    def __init__(self, **bounds: float) -> None:
        self.bounds = bounds

    def __get_pydantic_core_schema__(
        self, source: Any, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """Pydantic's schema of the value with these bounds.

        It is a mapping, so that nothing of pydantic is needed.
        """
        return {**handler(source), **self.bounds}


class Judged:
    """A field's rule beside its bounds: a function that returns the value or raises ValueError."""

    def __init__(self, rule: Callable[[Any], Any]) -> None:
        self.rule = rule

    def __get_pydantic_core_schema__(
        self, source: Any, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        """Pydantic's schema of the value that is judged by the rule, once it is of its type."""
        return {
            "type": "function-after",
            "function": {"type": "no-info", "function": self.rule},
            "schema": handler(source),
        }


def is_nothing(content: object) -> bool:
    """Of a field that need not be there, or that earlier versions had not.

    None, 0 or empty is not written.
    """
    return not content


def given(settings: object, of: type | None = None) -> dict[str, Any]:
    """The fields of a value by name, to make another of them that has these and more.

    With `of`, those of that kind.
    """
    return {each.name: getattr(settings, each.name) for each in dataclasses.fields(of or settings)}  # type: ignore[arg-type]


def plain(settings: Any) -> Any:
    """A value as JSON has it, without what its fields say is left out."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        fields = ((each, getattr(settings, each.name)) for each in dataclasses.fields(settings))
        return {
            _key(each): plain(content)
            for each, content in fields
            if not each.metadata.get("exclude_if", lambda _: False)(content)
        }
    if isinstance(settings, tuple | list):
        return [plain(item) for item in settings]
    if isinstance(settings, dict):
        return {name: plain(item) for name, item in settings.items()}
    return settings.value if isinstance(settings, Enum) else settings


def _key(each: dataclasses.Field[Any]) -> str:
    """Its name in files."""
    key: str = each.metadata.get("alias", each.name)
    return key


def check(settings: Any) -> None:
    """Judge a value by its own fields' bounds. Raises ValueError that names the first beyond them.

    For what a code reads out of a file: it can't ask pydantic, which judges all else, nor looks
    this into lists.
    """
    for each in dataclasses.fields(settings):
        content, bounds = getattr(settings, each.name), each.metadata
        if content is None:
            continue
        for name, holds in _HOLDS.items():
            if name in bounds and not holds(content, bounds[name]):
                raise ValueError(
                    f"{each.name}: expected {_BOUND[name]} {bounds[name]}, got {content!r:.80}"
                )


#: Bounds by pydantic's names: whether a value keeps to one, and how it is told.
_HOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": lambda content, bound: bool(content > bound),
    "ge": lambda content, bound: bool(content >= bound),
    "lt": lambda content, bound: bool(content < bound),
    "le": lambda content, bound: bool(content <= bound),
    "pattern": lambda content, bound: re.search(bound, content) is not None,
    "min_length": lambda content, bound: len(content) >= bound,
}
_BOUND = {
    "gt": "more than",
    "ge": "at least",
    "lt": "less than",
    "le": "at most",
    "pattern": "text that matches",
    "min_length": "in number at least",
}


def read(kind: type[T], content: object, where: str = "") -> T:
    """A value from JSON.

    Raises ValueError that names the key; bounds are judged where the value was made.
    """
    read_value: T = _read(kind, content, where)
    return read_value


def _read(kind: Any, content: Any, where: str) -> Any:
    origin, members = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _read(_chosen(members, content, where), content, where)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, content, where)
    if origin in {Union, types.UnionType}:
        return _read_union(members, content, where)
    if origin is tuple:
        return _read_items(members, content, where)
    if origin is dict:
        named = _expect(dict, "a mapping", content, where)
        return {name: _read(members[1], item, f"{where}.{name}") for name, item in named.items()}
    return _read_plain(kind, content, where)


def _chosen(members: tuple[Any, ...], content: Any, where: str) -> Any:
    """The type that an annotation is about.

    Of a value of any code, it is the one that its `kind` names, or a word.
    """
    choice = next((each for each in members[1:] if hasattr(each, "member")), None)
    if choice is None:
        return members[0]
    if isinstance(content, str) and choice.literals:
        return Literal[choice.literals]
    named = _expect(dict, "a mapping", content, where)
    try:
        return choice.member(named.get("kind"))
    except ValueError as error:
        raise ValueError(f"{where or 'the parameters'}.kind: {error}") from error


def _read_plain(kind: Any, content: Any, where: str) -> Any:
    """A word of a Literal or an enumeration, a number, a text."""
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)
    if is_enum or typing.get_origin(kind) is Literal:
        values = [each.value for each in kind] if is_enum else typing.get_args(kind)
        if content not in values:
            raise _unexpected(where, f"one of {', '.join(map(str, values))}", content)
        return kind(content) if is_enum else content
    if kind is float and isinstance(content, int) and not isinstance(content, bool):
        return float(content)
    if kind is not Any and (
        not isinstance(content, kind) or (isinstance(content, bool) and kind is not bool)
    ):
        raise _unexpected(where, f"a {kind.__name__}", content)
    return content


def _read_items(members: tuple[Any, ...], content: Any, where: str) -> tuple[Any, ...]:
    """A list as the tuple that it stands for."""
    items = _expect(list, "a list", content, where)
    kinds = [members[0]] * len(items) if members[-1] is Ellipsis else members
    if len(items) != len(kinds):
        raise _unexpected(where, f"{len(kinds)} items", content)
    each = enumerate(zip(kinds, items, strict=True))
    return tuple(_read(kind, item, f"{where}[{index}]") for index, (kind, item) in each)


def _read_fields(kind: Any, content: Any, where: str) -> Any:
    names, hints = _names(kind), _hints(kind)
    named = {
        names.get(key, key): item
        for key, item in _expect(dict, "a mapping", content, where).items()
    }
    unknown = sorted(named.keys() - hints.keys())
    if unknown and kind.__pydantic_config__["extra"] == "forbid":
        raise ValueError(
            f"{where or kind.__name__}: no such key: {unknown[0]}; there are"
            f" {', '.join(sorted(hints))}"
        )
    try:
        return kind(
            **{
                # most are texts and numbers
                name: item
                if type(item) is hints[name]
                else _read(hints[name], item, f"{where}.{name}".lstrip("."))
                for name, item in named.items()
                if name in hints
            }
        )
    except TypeError as error:  # what a dataclass says of a field that is missing
        raise ValueError(f"{where or kind.__name__}: {error}") from None


def _read_union(members: tuple[Any, ...], content: Any, where: str) -> Any:
    """The first member that the content is one of.

    Of several values of the contract it is the one that its `kind` names.
    """
    if content is None and types.NoneType in members:
        return None
    wrong: list[ValueError] = []
    others = [member for member in members if member is not types.NoneType]
    given = content.get("kind") if isinstance(content, dict) else None
    named = [member for member in others if given is not None and given in _kinds(member)]
    for member in named or others:
        try:
            return _read(member, content, where)
        except ValueError as error:
            wrong.append(error)
    raise wrong[0]


def _expect(kind: type[T], expected: str, content: object, where: str) -> T:
    if not isinstance(content, kind):
        raise _unexpected(where, expected, content)
    return content


def _unexpected(where: str, expected: str, content: object) -> ValueError:
    return ValueError(f"{where or 'the parameters'}: expected {expected}, got {content!r:.80}")


@functools.cache
def _hints(kind: Any) -> Mapping[str, Any]:
    """The types of a dataclass's own fields, by name."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}


@functools.cache
def _names(kind: Any) -> Mapping[str, str]:
    """Names of a dataclass's fields by their keys in files."""
    return {_key(each): each.name for each in dataclasses.fields(kind)}


def _kinds(member: Any) -> tuple[Any, ...]:
    """The words of `kind` that a value of the contract answers to."""
    hints: Mapping[str, Any] = _hints(member) if dataclasses.is_dataclass(member) else {}  # type: ignore[arg-type] # it is a type
    return typing.get_args(hints.get("kind"))
