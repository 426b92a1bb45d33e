"""How a value of the contract is declared, and how it is read from JSON with the standard library alone."""

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal, TypeVar, Union, dataclass_transform

T = TypeVar("T")

#: How the control half judges these values: unknown keys, NaN and infinities are refused, also in values that the
#: program made itself. This is the name under which pydantic looks for it in a dataclass.
_JUDGED = {"extra": "forbid", "frozen": True, "allow_inf_nan": False, "revalidate_instances": "always"}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def value(kind: type[T]) -> type[T]:
    """A frozen dataclass whose fields are given by name."""
    kind.__pydantic_config__ = _JUDGED  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, kw_only=True)(kind)


def about(description: str = "", **bounds: float) -> Mapping[str, Any]:
    """The `metadata` of a field: what it is, for people, and its bounds (`ge`, `gt`, `le`, `lt`), for pydantic."""
    return {"description": description, **bounds} if description else bounds


def given(settings: object) -> dict[str, Any]:
    """The fields of a value by name, to make another of them that has these and more."""
    return {each.name: getattr(settings, each.name) for each in dataclasses.fields(settings)}  # type: ignore[arg-type]


def read(kind: type[T], content: object, where: str = "") -> T:
    """A value from JSON. Raises ValueError that names the key; bounds are judged where the value was made."""
    read_value: T = _read(kind, content, where)
    return read_value


def _read(kind: Any, content: Any, where: str) -> Any:
    origin, members = typing.get_origin(kind), typing.get_args(kind)
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


def _read_plain(kind: Any, content: Any, where: str) -> Any:
    """A word of a Literal, a number, a text."""
    if typing.get_origin(kind) is Literal:
        words = typing.get_args(kind)
        if content not in words:
            raise _unexpected(where, f"one of {', '.join(map(str, words))}", content)
        return content
    if kind is float and isinstance(content, int) and not isinstance(content, bool):
        return float(content)
    if kind is not Any and (not isinstance(content, kind) or (isinstance(content, bool) and kind is not bool)):
        raise _unexpected(where, f"a {kind.__name__}", content)
    return content


def _read_items(members: tuple[Any, ...], content: Any, where: str) -> tuple[Any, ...]:
    """A list as the tuple that it stands for."""
    items = _expect(list, "a list", content, where)
    kinds = [members[0]] * len(items) if members[-1] is Ellipsis else members
    if len(items) != len(kinds):
        raise _unexpected(where, f"{len(kinds)} items", content)
    each = enumerate(zip(kinds, items, strict=True))
    return tuple(_read(kind, item, f"{where}[{place}]") for place, (kind, item) in each)


def _read_fields(kind: Any, content: Any, where: str) -> Any:
    named, hints = _expect(dict, "a mapping", content, where), _hints(kind)
    if unknown := sorted(named.keys() - hints.keys()):
        raise ValueError(f"{where or kind.__name__}: no such key: {unknown[0]}; there are {', '.join(sorted(hints))}")
    try:
        return kind(**{name: _read(hints[name], item, f"{where}.{name}".lstrip(".")) for name, item in named.items()})
    except TypeError as error:  # what a dataclass says of a field that is missing
        raise ValueError(f"{where or kind.__name__}: {error}") from None


def _read_union(members: tuple[Any, ...], content: Any, where: str) -> Any:
    """The first member that the content is one of."""
    if content is None and types.NoneType in members:
        return None
    wrong: list[ValueError] = []
    for member in members:
        if member is types.NoneType:
            continue
        try:
            return _read(member, content, where)
        except ValueError as error:
            wrong.append(error)
    raise wrong[0]


def _expect(kind: type[T], words: str, content: object, where: str) -> T:
    if not isinstance(content, kind):
        raise _unexpected(where, words, content)
    return content


def _unexpected(where: str, words: str, content: object) -> ValueError:
    return ValueError(f"{where or 'the parameters'}: expected {words}, got {content!r:.80}")


@functools.cache
def _hints(kind: Any) -> Mapping[str, Any]:
    """The types of a dataclass's own fields, by name."""
    hints = typing.get_type_hints(kind)
    return {each.name: hints[each.name] for each in dataclasses.fields(kind)}
