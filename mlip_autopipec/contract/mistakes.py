"""Mistakes in a site file, and how they are told: every one at once, each with its line."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter

#: Where something stands in site.yaml: keys, and indices of lists.
KeyPath = tuple[str | int, ...]

#: What is given where a key is not.
MISSING = "missing"

_SHOWN_MAX = 60


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to correct. `line` is that of the path unless it is given."""

    path: KeyPath
    given: str
    expected: str
    suggestion: str | None = None
    line: int | None = None


def dotted(path: KeyPath) -> str:
    """A path as people write it: `exploration.walkers[0].steps`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value as it is quoted in a message, words in quotes."""
    if value is None:
        return "nothing"
    return clipped(str(value).lower() if isinstance(value, bool) else repr(value))


def import_path(path: KeyPath, given: str) -> Iterator[Mistake]:
    """What is wrong with the name of a class, as Python imports it."""
    parts = given.split(".")
    if len(parts) == 1 or not all(part.isidentifier() for part in parts):
        yield Mistake(
            path, shown(given), "expected an import path such as 'ase.calculators.emt.EMT'"
        )


def clipped(text: str) -> str:
    """The beginning of a text that may be long."""
    return text if len(text) <= _SHOWN_MAX else f"{text[: _SHOWN_MAX - 1]}…"


def nearest(given: object, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name that `given` was most likely meant to be; None if there is none.

    Case does not count, and a name without its unit is near.
    """
    if not isinstance(given, str):
        return None
    folded, word = {name.casefold(): name for name in names}, given.casefold()
    near = difflib.get_close_matches(word, folded, n=3, cutoff=cutoff)
    # Of names that are as near, one whose letters stand where they were written: `stwps` is
    # `steps`, not `swaps`.
    close = sorted(
        near,
        key=lambda name: (-difflib.SequenceMatcher(None, name, word).ratio(), _moved(name, word)),
    )
    without_unit = [name for name in folded if name.startswith(f"{word}_")]
    return next((folded[name] for name in close + without_unit), None)


def _moved(name: str, word: str) -> int:
    """Letters of either that the other has not in the same place."""
    return max(len(name), len(word)) - sum(
        letter == other for letter, other in zip(name, word, strict=False)
    )


def report(file: str, mistakes: Iterable[Mistake], lines: Mapping[KeyPath, int]) -> str:
    """One line per mistake, in the file's order; `lines` (from 1) says where keys and items are."""
    placed = [
        (mistake.line or _line(mistake.path, lines), _message(mistake, lines))
        for mistake in mistakes
    ]
    return "\n".join(
        f"{file}:{line}  {message}" for line, message in sorted(placed, key=itemgetter(0))
    )


def _line(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    """The line of the nearest section around it that the file has."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _message(mistake: Mistake, lines: Mapping[KeyPath, int]) -> str:
    where = f"{dotted(mistake.path)}  " if mistake.path else ""
    written = mistake.line or mistake.path in lines or mistake.given == MISSING
    default = "" if written else " (the default)"
    question = f"; did you mean {mistake.suggestion!r}?" if mistake.suggestion else ""
    return f"{where}{mistake.given}{default} → {mistake.expected}{question}"
