"""What tasks left beside their outcomes for people to look at, as far as the report can reach it."""

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def content_or_why(kind: TypeAdapter[T], path: Path) -> T | str:
    """The file's content, or in words why there is none: a report is written with what is there."""
    try:
        return kind.validate_json(path.read_bytes())
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except ValidationError as error:
        return f"{path} is not as it should be: {error.errors(include_input=False)[0]['msg']}"
