"""Values of the contract as the control half takes them: judged by pydantic."""

from typing import TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


def judged_value(kind: type[T], content: object) -> T:
    """A value out of plain content, or a value once more. Raises ValidationError."""
    return TypeAdapter(kind).validate_python(content)


def judged_value_json(kind: type[T], content: str | bytes) -> T:
    """A value out of JSON. Raises ValidationError."""
    return TypeAdapter(kind).validate_json(content)
