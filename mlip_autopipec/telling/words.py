"""How numbers, times and walkers are put into words, the same everywhere."""

from collections.abc import Sequence

from mlip_autopipec.data_models.text import printable

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400


def count(number: int, noun: str) -> str:
    """`1 task`, `3 tasks`, `2 batches`."""
    plural = f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def beside(labels: int, adopted: int) -> str:
    """Labels of the campaign, and those that the user has brought: `7`, `0 + 60`."""
    return f"{labels} + {adopted}" if adopted else str(labels)


def duration(seconds: float) -> str:
    """A time span, with the precision that a reader wants.

    Examples are `0.8 s`, `12 s`, `3 min 05 s`, `2 h 10 min` and `4 d 06 h`.
    """
    if seconds < 10:  # noqa: PLR2004 - below it, tenths are worth reading
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S:02d} h"


def elapsed(seconds: float) -> str:
    """A time span of fixed shape, for columns: `0:03:05`, `26:10:00`."""
    whole = max(0, int(seconds))
    return f"{whole // _HOUR_S}:{whole % _HOUR_S // _MINUTE_S:02d}:{whole % _MINUTE_S:02d}"


def figures3(value: float) -> str:
    """Three significant figures, without an exponent where people would not write one.

    Examples are `0.0512`, `5.12` and `1230`.
    """
    if value == 0:
        return "0"
    if 1000 <= abs(value) < 1_000_000:  # noqa: PLR2004 - `g` would write 1.23e+03
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".")


def one_line(text: str, length_max: int = 400) -> str:
    """The text without line breaks, cut with an ellipsis at `length_max` characters."""
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= length_max else f"{flat[: length_max - 1]}…"


def loss_texts(curve: Sequence[tuple[int, int, float, float, float]]) -> list[str]:
    """Of each stage, where its loss began and where it ended."""
    stages: dict[int, list[float]] = {}
    for stage, _, loss, _, _ in curve:
        stages.setdefault(stage, []).append(loss)
    return [
        f"stage {stage} {figures3(losses[0])} → {figures3(losses[-1])}"
        for stage, losses in stages.items()
    ]
