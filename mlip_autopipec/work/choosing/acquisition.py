"""The choice of a batch: which of the candidates are labelled, with all of the batch in view.

Halting frames come first, for a walker whose halt is not labelled halts there again. Then, in this
order, each of what was left by those before:

1. `informed` (`information.py`), or `farthest` where the basis is not linear (`farthest.py`):
   greedily, who teaches most beside the training set and all that is chosen already. It ends where
   a label would take less than `gain_min` from the expected error, so that a batch is large while
   labels teach much, and small in the end. It comes first, for beside an extreme frame it chooses
   worse: the ten labels of a first batch, one of them D-optimal, gave 14.8 meV/Å on Ni3Al, 43.0 on
   silicon and 13.6 on CuAu where that one came first, and 13.4, 41.7 and 13.0 where it came after.
2. `d_optimal`: the ranking of `pace_select`, which is D-optimal over the candidates together with
   the current active set, and ranks only what enters it. These bring γ down.
3. `random`: by chance, in the conditions with fewest labels so far, in proportion to what the
   first way came to. What teaches forces most is hot, and a cold crystal whose energy no label
   holds is left with the bias of a basis that cannot have it all; chance keeps the batch honest,
   and tells what any label would have taught.

No two of one walker are closer in time than its decorrelation, and the caps per walker and per
condition hold for all. At last each element is given its floor of structures in which it
extrapolates.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.results.select import Certificate, Fate
from mlip_autopipec.contract.results.structure import Why
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.work.origins import origin_of

#: Ways of choosing whose frames give way to the floor of an element.
_GIVE_WAY = ("random", "informed", "farthest", "d_optimal")


@dataclass(eq=False)
class Candidate:
    """A frame, what has become of it, and the cell that would be labelled."""

    frame: Atoms
    verdict: Fate | Why = "not_chosen"
    cell: Atoms | None = None
    certificate: Certificate | None = None

    @property
    def gamma_max(self) -> float:
        """The largest γ of an atom of the frame."""
        return float(self.frame.info["gamma_max"])

    @property
    def halts(self) -> bool:
        """Whether its walker was stopped there by γ."""
        return bool(self.frame.info["kind"] == "halt")

    @property
    def walker(self) -> str:
        """The task that walked."""
        return str(self.frame.info["walker"])

    @property
    def condition(self) -> str:
        """What the walker walked in, which its replicas share."""
        return origin_of(self.frame).condition

    @property
    def centre(self) -> int:
        """The atom that extrapolates most."""
        return int(np.argmax(self.frame.arrays["gamma"]))

    @property
    def labelled(self) -> Atoms:
        """What would be labelled: its cell, or the frame as it is."""
        return self.frame if self.cell is None else self.cell

    def gamma_of(self, element: str) -> float:
        """The largest γ of the element's atoms in what would be labelled; 0 without such atoms."""
        atoms = self.cell if self.cell is not None and "gamma" in self.cell.arrays else self.frame
        return float(atoms.arrays["gamma"][atoms.symbols == element].max(initial=0.0))

    def is_near(self, other: "Candidate") -> bool:
        """Whether both are of one walker, and closer in time than its decorrelation."""
        gap = abs(int(self.frame.info["step"]) - int(other.frame.info["step"]))
        return bool(self.walker == other.walker) and gap < int(self.frame.info.get("apart", 0))


class LabelJudge(Protocol):
    """Knows how much each candidate's label teaches, beside the training set and what was taken."""

    #: The word for what it chooses.
    name: Why

    def gain(self, index: int) -> float:
        """Part of the expected error that a label of this candidate would take, in 0 … 1."""

    def take(self, index: int) -> None:
        """Count the candidate as labelled."""


class ChosenBatch:
    """What is chosen so far, under the caps."""

    def __init__(self, parameters: SelectParameters) -> None:
        self._parameters = parameters
        self.chosen: list[Candidate] = []

    @property
    def is_full(self) -> bool:
        """Whether there is room for no more."""
        return len(self.chosen) >= self._parameters.candidates_max

    def has_room(self, candidate: Candidate) -> bool:
        """Whether the caps and the decorrelation leave room for this one."""
        of_walker = sum(other.walker == candidate.walker for other in self.chosen)
        of_condition = sum(other.condition == candidate.condition for other in self.chosen)
        caps = (
            (self._parameters.per_walker_max, of_walker),
            (self._parameters.per_condition_max, of_condition),
        )
        if any(cap is not None and count >= cap for cap, count in caps):
            return False
        return not any(map(candidate.is_near, self.chosen))

    def offer(self, candidate: Candidate, why: Why) -> bool:
        """Choose it if there is room; else it is `capped`, and may be offered once more."""
        if not self.has_room(candidate):
            candidate.verdict = "capped"
            return False
        candidate.verdict = why
        self.chosen.append(candidate)
        return True


def by_window(
    candidates: Sequence[Candidate],
    ranking: Sequence[int],
    parameters: SelectParameters,
    rng: np.random.Generator,
) -> list[Candidate]:
    """Halting frames, then pace_select's ranking to the caps. No filling: the rest teaches nothing.

    But for `random_min` of those that passed the window, by chance.
    """
    batch = ChosenBatch(parameters)
    _anchors(batch, candidates, ranking)
    for candidate in (candidates[index] for index in ranking):
        if not candidate.halts and not batch.is_full:
            batch.offer(candidate, "d_optimal")
    _random(
        batch, candidates, parameters.random_min, parameters.random_conditions, rng, beyond=True
    )
    return _with_floors(batch.chosen, candidates, parameters)


def by_batch(
    candidates: Sequence[Candidate],
    ranking: Sequence[int],
    teacher: Callable[[], LabelJudge],
    parameters: SelectParameters,
    rng: np.random.Generator,
    labelled: Mapping[str, int] = MappingProxyType({}),
) -> list[Candidate]:
    """The batch as this file's head tells; `teacher` is made only if anything is left to choose.

    `labelled` are the training labels so far, by condition.
    """
    batch, most, shares = ChosenBatch(parameters), parameters.candidates_max, parameters.shares
    _anchors(batch, candidates, ranking)
    room = most - len(batch.chosen)
    ranked = [candidates[index] for index in ranking if not candidates[index].halts]
    d_optimal = min(round(shares.d_optimal * room), len(ranked))
    chance = round(shares.random * room)
    informed = room - d_optimal - chance
    taken = (
        _informed(batch, candidates, teacher, informed, parameters.gain_min) if informed > 0 else 0
    )
    _ranked(batch, ranked, d_optimal)
    if informed > 0:
        chance = -(-chance * taken // informed)
    _random(batch, candidates, chance, (), rng, labelled)
    asked, conditions = parameters.random_min, parameters.random_conditions
    _random(batch, candidates, asked, conditions, rng, labelled, beyond=True)
    return _with_floors(batch.chosen, candidates, parameters)


def _anchors(batch: ChosenBatch, candidates: Sequence[Candidate], ranking: Sequence[int]) -> None:
    """The halting frames, those that rank high first."""
    rank = {index: number for number, index in enumerate(ranking)}
    halting = sorted(
        (rank.get(index, len(ranking)), index)
        for index, candidate in enumerate(candidates)
        if candidate.halts
    )
    for _, index in halting:
        if not batch.is_full:
            batch.offer(candidates[index], "halt")


def _informed(
    batch: ChosenBatch,
    candidates: Sequence[Candidate],
    make: Callable[[], LabelJudge],
    most: int,
    gain_min: float,
) -> int:
    """Choose greedily up to so many; how many were chosen."""
    left = [index for index, candidate in enumerate(candidates) if candidate not in batch.chosen]
    if not left:
        return 0
    teacher = make()
    for candidate in batch.chosen:
        teacher.take(candidates.index(candidate))
    for taken in range(most):
        left = [index for index in left if batch.has_room(candidates[index])]
        gains = [teacher.gain(index) for index in left]
        if not left or max(gains) < gain_min:
            return taken
        best = left.pop(int(np.argmax(gains)))
        batch.offer(candidates[best], teacher.name)
        teacher.take(best)
    return most


def _ranked(batch: ChosenBatch, ranked: Sequence[Candidate], most: int) -> None:
    """The first of the ranking that are not chosen yet."""
    for candidate in ranked:
        if most and candidate not in batch.chosen:
            most -= batch.offer(candidate, "d_optimal")


def _random(
    batch: ChosenBatch,
    candidates: Sequence[Candidate],
    most: int,
    conditions: Sequence[str],
    rng: np.random.Generator,
    labelled: Mapping[str, int] = MappingProxyType({}),
    *,
    beyond: bool = False,
) -> None:
    """So many by chance, each of the condition with fewest labels.

    `beyond`: also beyond `candidates_max`.
    """
    by_condition: dict[str, list[Candidate]] = {}
    for index in rng.permutation(len(candidates)):
        candidate = candidates[index]
        if candidate not in batch.chosen and (not conditions or candidate.condition in conditions):
            by_condition.setdefault(candidate.condition, []).append(candidate)
    held = Counter(labelled) + Counter(candidate.condition for candidate in batch.chosen)
    drawn = 0
    while by_condition and drawn < most and (beyond or not batch.is_full):
        condition = min(by_condition, key=held.__getitem__)
        taken = batch.offer(by_condition[condition].pop(), "random")
        held[condition] += taken
        drawn += taken
        if not by_condition[condition]:
            del by_condition[condition]


def _with_floors(
    chosen: list[Candidate], candidates: Sequence[Candidate], parameters: SelectParameters
) -> list[Candidate]:
    """Each element extrapolates in `per_element_min` structures if there are so many.

    The least ranked give way.
    """
    for element in parameters.elements:
        offers = [
            candidate
            for candidate in candidates
            if candidate.gamma_of(element) >= parameters.gamma_select
        ]
        offers.sort(key=lambda candidate: -candidate.gamma_of(element))
        missing = parameters.per_element_min - sum(
            any(candidate is other for other in chosen) for candidate in offers
        )
        for candidate in [candidate for candidate in offers if candidate not in chosen][
            : max(missing, 0)
        ]:
            if len(chosen) == parameters.candidates_max:
                weakest = next(_weakest(chosen), None)
                if weakest is None:
                    break
                weakest.verdict = "not_chosen"
                chosen.remove(weakest)
            candidate.verdict = "element_floor"
            chosen.append(candidate)
    return chosen


def _weakest(chosen: Sequence[Candidate]) -> Iterator[Candidate]:
    """What may give way, the last of the least important way first."""
    for why in _GIVE_WAY:
        yield from (candidate for candidate in reversed(chosen) if candidate.verdict == why)
