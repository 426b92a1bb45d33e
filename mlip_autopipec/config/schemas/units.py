"""Quantities with a unit, as a person writes them in site.yaml; a bare number is refused.

Durations become whole seconds, memory whole MiB. Every other quantity has its unit as the last part of its key.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_MEBIBYTES = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")
_CLOCK = re.compile(r"(?:(\d+)-)?(\d{1,2}):(\d{2}):(\d{2})")


def parse_duration_s(value: object) -> int:
    """`90 s`, `20 min`, `1.5 h`, `2 d`, or Slurm's `[D-]HH:MM:SS`, as whole seconds. Raises ValueError."""
    if isinstance(value, str):
        if clock := _CLOCK.fullmatch(value.strip()):
            days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
            return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if (match := _QUANTITY.fullmatch(value)) and match[2] in _SECONDS:
            return round(float(match[1]) * _SECONDS[match[2]])
    raise ValueError("expected a duration with its unit, such as '90 s', '20 min', '2 h', '1 d' or '0-02:00:00'")


def parse_memory_mib(value: object) -> int:
    """`512 MiB`, `2 GiB`, as whole MiB. Raises ValueError."""
    if isinstance(value, str) and (match := _QUANTITY.fullmatch(value)) and match[2] in _MEBIBYTES:
        return round(float(match[1]) * _MEBIBYTES[match[2]])
    raise ValueError("expected an amount of memory with its unit, such as '512 MiB' or '2 GiB'")


DurationS = Annotated[
    int,
    BeforeValidator(parse_duration_s),
    Field(gt=0),
    WithJsonSchema({"type": "string", "examples": ["20 min", "2 h"], "description": "duration with its unit"}),
]
MemoryMib = Annotated[
    int,
    BeforeValidator(parse_memory_mib),
    Field(gt=0),
    WithJsonSchema({"type": "string", "examples": ["512 MiB", "2 GiB"], "description": "memory with its unit"}),
]
