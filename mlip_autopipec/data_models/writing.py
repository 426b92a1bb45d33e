"""Values as JSON, without holding up other threads.

pydantic writes a value at one stroke, during which no other thread runs: for the 10,000 tasks of
one event that is a tenth of a second, in which the loop answers nobody.
"""

import functools
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json

from mlip_autopipec.contract.values import plain
from mlip_autopipec.data_models.base import Model

#: Items of a list that are written at one stroke: a millisecond or two.
_ITEMS_MAX = 100


def json_of(value: object) -> bytes:
    """A value as JSON; of a model, the bytes of its `model_dump_json()`."""
    return b"".join(pieces(value))


def pieces(value: object) -> Iterator[bytes]:
    """The same, cut wherever there is a long list; what is in its items is not cut again."""
    if not holds_many(value):
        yield _at_one_stroke(value)
    elif isinstance(value, tuple) and len(value) > _ITEMS_MAX:
        for first in range(0, len(value), _ITEMS_MAX):
            yield (b"," if first else b"[") + _at_one_stroke(value[first : first + _ITEMS_MAX])[
                1:-1
            ]
        yield b"]"
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield b"," if number else b"["
            yield from pieces(item)
        yield b"]"
    else:
        for number, (name, key) in enumerate(_written(value)):
            yield (b"," if number else b"{") + to_json(key) + b":"
            yield from pieces(getattr(value, name))
        yield b"}"


def _at_one_stroke(value: Any) -> bytes:
    """As JSON; a value of the contract says itself what it leaves out."""
    if is_dataclass(value):
        return _writer(type(value)).dump_json(value)  # type: ignore[arg-type] # it is no class
    if isinstance(value, tuple) and any(map(is_dataclass, value)):
        return b"[" + b",".join(map(_at_one_stroke, value)) + b"]"
    return to_json(plain(value) if isinstance(value, dict) else value)


@functools.cache
def _writer(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _written(value: Any) -> Iterator[tuple[str, str]]:
    """The fields that are written, some only where they hold something, and their keys."""
    if isinstance(value, Model):
        known = type(value).model_fields.items()
        rules = [(name, field.serialization_alias, field.exclude_if) for name, field in known]
    else:
        rules = [
            (field.name, field.metadata.get("alias"), field.metadata.get("exclude_if"))
            for field in fields(value)
        ]
    for name, alias, exclude_if in rules:
        if exclude_if is None or not exclude_if(getattr(value, name)):
            yield name, alias or name


def holds_many(value: object) -> bool:
    """Whether there is a long list in it, however deep."""
    if isinstance(value, tuple):
        return len(value) > _ITEMS_MAX or any(map(holds_many, value))
    is_record = isinstance(value, Model) or (is_dataclass(value) and not isinstance(value, type))
    return is_record and any(map(holds_many, value.__dict__.values()))
