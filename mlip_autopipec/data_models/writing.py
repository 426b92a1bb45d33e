"""Values as JSON, without holding up other threads.

pydantic writes a value at one stroke, during which no other thread runs: for the 10,000 tasks of one event that is a
tenth of a second, in which the loop answers nobody.
"""

from collections.abc import Iterator
from dataclasses import is_dataclass

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
        yield to_json(plain(value) if is_dataclass(value) else value)  # a value of the contract says what it leaves out
    elif isinstance(value, Model):
        for number, name in enumerate(_written(value)):
            yield (b"," if number else b"{") + to_json(name) + b":"
            yield from pieces(getattr(value, name))
        yield b"}"
    elif isinstance(value, tuple) and len(value) > _ITEMS_MAX:
        for first in range(0, len(value), _ITEMS_MAX):
            yield (b"," if first else b"[") + to_json(value[first : first + _ITEMS_MAX])[1:-1]
        yield b"]"
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield b"," if number else b"["
            yield from pieces(item)
        yield b"]"


def _written(value: Model) -> Iterator[str]:
    """The fields that are written, which some are only where they hold something."""
    for name, field in type(value).model_fields.items():
        if field.exclude_if is None or not field.exclude_if(getattr(value, name)):
            yield name


def holds_many(value: object) -> bool:
    """Whether there is a long list in it, however deep."""
    if isinstance(value, tuple):
        return len(value) > _ITEMS_MAX or any(map(holds_many, value))
    return isinstance(value, Model) and any(map(holds_many, value.__dict__.values()))
