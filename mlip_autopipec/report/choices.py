"""The report's section on candidates: what Selection did with every frame, and why.

Counts per word, the chosen structures and the certificates of embedding are in the journal. What
became of each single frame is in the `candidates.json` of its task, of which the last cycle's is
shown (leftovers.py tells where it is read).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import Field, TypeAdapter

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.select import Certificate, Fate, SelectMetrics
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Model
from mlip_autopipec.report.blocks import ROWS_MAX, details, quiet, rest
from mlip_autopipec.report.leftovers import content_or_why
from mlip_autopipec.report.markup import element, table
from mlip_autopipec.telling.words import count, figures3, one_line

#: The one word with which a frame ends → what it means; in the order in which they are asked.
FATES: Mapping[str, str] = {
    "below_window": "γ below γ select",
    "above_window": "γ above selection.gamma_max, taken for unphysical",
    "near_audit": "close in time to a test structure",
    "too_short": "two atoms too close",
    "duplicates": "nearly the same as another, of higher γ",
    "not_offered": "large, and beyond embedding.frames_max",
    "not_embedded": "large, and no cell proved itself",
    "beyond_pool": "beyond selection.pool_max",
    "capped": "no room left for its walker or condition",
    "not_chosen": "known to the active set beside those that were chosen, or beyond candidates_max",
    "not_drawn": "kept at random for an audit, and not drawn",
    "halt": "chosen: its walker halted there",
    "d_optimal": "chosen: it widens the active set most",
    "informed": (
        "chosen: its label was expected to lower the errors most, beside all others of the batch"
    ),
    "farthest": "chosen: farthest from all that was known, and from all others of the batch",
    "random": "chosen by chance",
    "element_floor": "chosen: the floor of an element",
    "audit": "chosen at random, whatever its γ: to test on",
}
_TEXT_MAX = 300


@dataclass(frozen=True, slots=True)
class Choice:
    """What one task of Selection did."""

    cycle: int
    frames: int  # that walkers kept, and displaced copies of halting ones
    fates: Mapping[str, int]  # frames by the word they ended with, without zeros
    chosen: tuple[Structure, ...]
    certificates: tuple[Certificate, ...]
    table: FileRef | None  # candidates.json


class Considered(Model):
    """One line of candidates.json."""

    origin: str
    walker: str
    step: int
    kind: str
    n_atoms: int
    gamma_max: float
    verdict: str
    embedding: Mapping[str, bool | int | float | str | None] | None = Field(
        description="its certificate"
    )


def choices(events: Iterable[ev.Event]) -> tuple[Choice, ...]:
    """One entry per task of Selection that gave its result, in order."""
    found, cycle = [], 0
    for event in events:
        match event:
            case ev.PhaseStarted():
                cycle = event.cycle
            case ev.TaskEnded() if isinstance(event.outcome.metrics, SelectMetrics):
                artefact = event.outcome.artefacts.get("candidates")
                found.append(_choice(cycle, event.outcome.metrics, artefact))
            case _:
                pass
    return tuple(found)


def _choice(cycle: int, metrics: SelectMetrics, found: FileRef | None) -> Choice:
    frames = metrics.frames + metrics.cloud
    known = {word: getattr(metrics, word) for word in get_args(Fate)}
    why = Counter(structure.why for structure in metrics.structures)
    known["not_drawn"] = max(frames - sum(known.values()) - len(metrics.structures), 0)
    fates = {word: number for word in FATES if (number := known.get(word, 0) or why[word])}  # type: ignore[index]
    return Choice(cycle, frames, fates, metrics.structures, metrics.certificates, found)


def candidates(made: Sequence[Choice], root: Path) -> str:
    """Every cycle's counts, chosen structures, refused embeddings, and the last cycle's frames."""
    if not made:
        return quiet("Nothing has been selected yet.")
    fates = [word for word in FATES if any(word in choice.fates for choice in made)]
    rows = [
        (str(choice.cycle), str(choice.frames), *(str(choice.fates.get(word, 0)) for word in fates))
        for choice in made[-ROWS_MAX:]
    ]
    head = ("cycle", "frames", *(word.replace("_", " ") for word in fates))
    meanings = element(
        "p", "; ".join(f"{word.replace('_', ' ')}: {FATES[word]}" for word in fates) + "."
    )
    return (
        element("p", _summary(made))
        + table(head, rows)
        + rest(len(made))
        + details("What the words mean", meanings)
        + _chosen(made)
        + _refused(made)
        + _each_frame(made[-1], root)
    )


def _summary(made: Sequence[Choice]) -> str:
    frames, chosen = (
        sum(choice.frames for choice in made),
        sum(len(choice.chosen) for choice in made),
    )
    tried = [certificate for choice in made for certificate in choice.certificates]
    text = f"Of {count(frames, 'frame')} that walkers kept, {chosen} were chosen to be labelled."
    if tried:
        kept = sum(trial.kept for trial in tried)
        text += (
            f" Of {count(len(tried), 'large frame')} whose certificates are in the journal, {kept}"
            " gave a cell."
        )
    return text


def _chosen(made: Sequence[Choice]) -> str:
    every = [(choice.cycle, structure) for choice in made for structure in choice.chosen]
    rows = [
        (
            str(cycle),
            structure.origin,
            "–" if structure.gamma_max is None else figures3(structure.gamma_max),
            str(structure.n_atoms),
            structure.why.replace("_", " "),
            structure.role.value,
        )
        for cycle, structure in every[-ROWS_MAX:]
    ]
    head = ("cycle", "from", "γ", "atoms", "why", "to")
    return (
        details("Every chosen structure", table(head, rows, text_columns=(1, 4, 5)), len(every))
        if every
        else ""
    )


def _refused(made: Sequence[Choice]) -> str:
    every = [
        (choice.cycle, certificate)
        for choice in made
        for certificate in choice.certificates
        if not certificate.kept
    ]
    rows = [
        (
            str(cycle),
            each.origin,
            str(each.source_atoms),
            str(each.attempts),
            one_line(each.reason, _TEXT_MAX),
        )
        for cycle, each in every[-ROWS_MAX:]
    ]
    head = ("cycle", "from", "atoms", "cells tried", "why there is none")
    unfolded = table(head, rows, text_columns=(1, 4))
    return details("Every embedding that was refused", unfolded, len(every)) if every else ""


def _each_frame(choice: Choice, root: Path) -> str:
    """Every frame of one cycle with its word: those of highest γ first."""
    frames = read_candidates(root / choice.table.path) if choice.table else "its task left none"
    if isinstance(frames, str):
        return quiet(
            f"What became of each frame of cycle {choice.cycle} is not at hand: {one_line(frames)}."
        )
    shown = sorted(frames, key=lambda frame: -frame.gamma_max)[:ROWS_MAX]
    rows = [
        (
            frame.origin,
            figures3(frame.gamma_max),
            str(frame.n_atoms),
            frame.verdict.replace("_", " "),
            _embedded(frame.embedding) if frame.embedding else "",
        )
        for frame in shown
    ]
    unfolded = table(("from", "γ", "atoms", "word", "embedding"), rows, text_columns=(0, 3, 4))
    if choice.table and len(frames) > len(shown):
        unfolded += quiet(
            f"The {len(shown)} of highest γ of {len(frames)}; {choice.table.path} has all."
        )
    return details(f"Every frame of cycle {choice.cycle}, and its word", unfolded)


def _embedded(certificate: Mapping[str, bool | int | float | str | None]) -> str:
    verdict, reason = (
        one_line(str(certificate.get(name, "")), _TEXT_MAX) for name in ("verdict", "reason")
    )
    return f"{verdict}: {reason}" if reason else verdict


_CONSIDERED = TypeAdapter(tuple[Considered, ...])


def read_candidates(path: Path) -> tuple[Considered, ...] | str:
    """The file's content, or in words why there is none."""
    return content_or_why(_CONSIDERED, path)
