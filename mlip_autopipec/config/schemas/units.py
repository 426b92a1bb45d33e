"""Quantities with a unit, as a person writes them in site.yaml; a bare number is refused.

Durations become whole seconds, memory whole MiB; written out as JSON they have their unit again.
Every other quantity has its unit as the last part of its key.
"""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

# From small to large: a quantity is written in the largest unit that divides it.
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_DURATION_MAX_S = 366 * 86400
_MEBIBYTES = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([A-Za-z]+)\s*")
_CLOCK_TEXT = r"(?:(\d{1,3})-)?(\d{1,2}):([0-5]\d):([0-5]\d)"
_CLOCK = re.compile(_CLOCK_TEXT)


def parse_duration_s(value: object) -> int:
    """`90 s`, `20 min`, `1.5 h`, `2 d` or Slurm's `[D-]HH:MM:SS`, as whole seconds, up to 366 d.

    Raises ValueError.
    """
    if isinstance(value, str) and (seconds := _seconds(value)) is not None:
        if seconds > _DURATION_MAX_S:
            raise ValueError("expected a duration of no more than 366 d")
        return seconds
    raise ValueError(
        "expected a duration with its unit, such as '90 s', '20 min', '2 h', '1 d' or '0-02:00:00'"
    )


def _seconds(text: str) -> int | None:
    if clock := _CLOCK.fullmatch(text.strip()):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if (match := _QUANTITY.fullmatch(text)) and match[2] in _SECONDS:
        return round(float(match[1]) * _SECONDS[match[2]])
    return None


def parse_memory_mib(value: object) -> int:
    """`512 MiB`, `2 GiB`, as whole MiB. Raises ValueError."""
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)) and match[2] in _MEBIBYTES:
        return round(float(match[1]) * _MEBIBYTES[match[2]])
    raise ValueError("expected an amount of memory with its unit, such as '512 MiB' or '2 GiB'")


def format_duration(duration_s: int) -> str:
    """Whole seconds as parse_duration_s reads them: 600 is `10 min`."""
    return _in_largest_unit(duration_s, _SECONDS)


def format_memory(memory_mib: int) -> str:
    """Whole MiB as parse_memory_mib reads them: 2048 is `2 GiB`."""
    return _in_largest_unit(memory_mib, _MEBIBYTES)


def _in_largest_unit(amount: int, units: Mapping[str, int]) -> str:
    unit, size = [(unit, size) for unit, size in units.items() if amount % size == 0][-1]
    return f"{amount // size} {unit}"


def _with_unit(write: Callable[[int], str]) -> Callable[[dict[str, Any]], None]:
    """For a JSON Schema: the default as it would be written, not as it is held."""

    def rewrite(schema: dict[str, Any]) -> None:
        if "default" in schema:
            schema["default"] = write(schema["default"])

    return rewrite


def _pattern(units: Mapping[str, int], *others: str) -> str:
    """What an editor checks while a person types; it says no more than the parsers do."""
    forms = [rf"{_NUMBER}\s*({'|'.join(units)})", *others]
    return rf"^\s*({'|'.join(forms)})\s*$"


DurationS = Annotated[
    int,
    BeforeValidator(parse_duration_s),
    Field(gt=0, json_schema_extra=_with_unit(format_duration)),
    PlainSerializer(format_duration, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": _pattern(_SECONDS, _CLOCK_TEXT),
            "examples": ["20 min", "2 h"],
        }
    ),
]
MemoryMib = Annotated[
    int,
    BeforeValidator(parse_memory_mib),
    Field(gt=0, json_schema_extra=_with_unit(format_memory)),
    PlainSerializer(format_memory, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": _pattern(_MEBIBYTES), "examples": ["512 MiB", "2 GiB"]}
    ),
]
