"""Quantities with a unit: what a person may write, and what is refused."""

import pytest
from pydantic import TypeAdapter, ValidationError

from mlip_autopipec.config.schemas.units import (
    DurationS,
    MemoryMib,
    parse_duration_s,
    parse_memory_mib,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90 s", 90),
        ("90s", 90),
        ("  20 min ", 1200),
        ("1.5 h", 5400),
        ("2 d", 172800),
        ("0.4 s", 0),
        ("01:30:00", 5400),
        ("0-02:00:00", 7200),
        ("2-12:00:30", 216030),
    ],
)
def test_durations_become_seconds(text: str, seconds: int) -> None:
    """With a unit, or as Slurm writes them."""
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "90",
        90,
        1.5,
        None,
        True,
        "",
        "s",
        "-5 s",
        "90 S",
        "5 m",
        "1 h 30 min",
        "1:30",
        "1e3 s",
        "inf s",
        "٣ س",
    ],
)
def test_a_duration_without_a_clear_unit_is_refused(text: object) -> None:
    """Minutes or months, seconds or hours: nobody guesses."""
    with pytest.raises(ValueError, match="expected a duration with its unit"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [("512 MiB", 512), ("2 GiB", 2048), ("1.5GiB", 1536), (" 1 TiB ", 1048576)],
)
def test_memory_becomes_mebibytes(text: str, mebibytes: int) -> None:
    """Binary units only."""
    assert parse_memory_mib(text) == mebibytes


@pytest.mark.parametrize("text", ["2048", 2048, None, "2 GB", "2 G", "2 gib", "-1 GiB", "GiB", ""])
def test_memory_without_a_clear_unit_is_refused(text: object) -> None:
    """A GB may be either; a number may be anything."""
    with pytest.raises(ValueError, match="expected an amount of memory with its unit"):
        parse_memory_mib(text)


@pytest.mark.parametrize(
    ("adapter", "text"), [(TypeAdapter(DurationS), "0 s"), (TypeAdapter(MemoryMib), "0 MiB")]
)
def test_nothing_is_no_amount(adapter: TypeAdapter[int], text: str) -> None:
    """Zero seconds and zero bytes are mistakes."""
    with pytest.raises(ValidationError, match="greater than 0"):
        adapter.validate_python(text)
