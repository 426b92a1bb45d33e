"""What goes wrong on a simulated site, how often, and until when."""

import random
from collections import Counter
from dataclasses import dataclass, fields
from typing import Self

from mlip_autopipec.errors import TransientError
from mlip_autopipec.testing.clock import SimulatedClock


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRates:
    """Probabilities in 0…1; all zero is a perfect site."""

    # per wait on the wire
    transient: float = 0.0
    slow: float = 0.0  # replies come late, and out of order
    hangs: float = 0.0  # longer than any effect may take
    outage: float = 0.0  # nothing gets through for minutes
    torn: float = 0.0  # the answer ends in the middle
    # per submission
    reply_lost: float = 0.0
    submit_lost: float = 0.0
    landing_late: float = 0.0
    doubled: float = 0.0  # the scheduler takes it twice, under two ids
    limited: float = 0.0
    rejected: float = 0.0
    locate_unclear: float = 0.0
    # per look at the scheduler
    sight_none: float = 0.0
    sight_empty: float = 0.0  # a whole, successful answer that names nothing
    sight_frozen: float = 0.0  # the past is shown for minutes
    left_out: float = 0.0
    post_mortem_none: float = 0.0
    # per look at the outbox
    listing_empty: float = 0.0
    # per start of an attempt
    preempted: float = 0.0
    dies: float = 0.0
    node_dies: float = 0.0  # with everything that runs on it
    cancelled: float = 0.0  # by a person, with its whole batch
    fails: float = 0.0
    garbled: float = 0.0
    outcome_late: float = 0.0  # it shows up after the scheduler has said that the job is over
    outcome_twice: float = 0.0
    # per step of the daemon
    killed: float = 0.0  # before or after an effect
    killed_in_append: float = 0.0
    disk_full: float = 0.0  # in an append, or as the state is saved
    # per minute
    clock_jumps: float = 0.0  # the daemon's, by seconds or hours, in both directions
    # per death of an attempt
    lives_on: float = (
        0.0  # its node is called lost, or a code outlives its job: it goes on writing for minutes
    )
    # spells: per submission, start of an attempt, end of one, and life of a daemon
    drained: float = 0.0  # the partition takes nothing
    sick_node: float = 0.0  # a node ends every job before it begins
    storage_full: float = 0.0  # nothing can be written under the root
    mistyped: float = 0.0  # the site file has a typing error, until a person mends it
    reopened: float = 0.0  # per verdict that it can go on from: a person reopens the campaign, once
    unknown: float = 0.0  # a spell, per submission: it is refused in words that nobody knows
    # a spell, per end of an attempt: whatever ends dies with the same words, that nobody knows
    broken: float = 0.0
    # per answer of the scheduler
    foreign: float = 0.0  # every answer has lines of others in it, also when it is calm
    helper_killed: float = 0.0  # a spell: what lists the jobs is killed in the middle of its answer

    @classmethod
    def drawn(cls, chance: random.Random) -> Self:
        """A climate of its own for each seed: most faults are absent, some rare, some common.

        What came later draws from a chance of its own: the stories of seeds that once found
        something stay as they are.
        """
        first = [item.name for item in fields(cls) if item.name not in {*_LATER, *_LATEST}]
        rates = {
            name: chance.choice((0.0, 0.0, 0.05, 0.2)) * _SCALE.get(name, 1.0) for name in first
        }
        aside, further = chance_aside(chance), chance_aside(chance, "further")
        later = {name: aside.choice(_LATER[name]) for name in _LATER}
        return cls(**rates, **later, **{name: further.choice(_LATEST[name]) for name in _LATEST})


def chance_aside(chance: random.Random, name: str = "") -> random.Random:
    """Another chance, the same wherever `chance` stands at the same point.

    `chance` itself is not touched.
    """
    return random.Random(f"{chance.getstate()!r}{name}")


#: What ends tasks for good is drawn less often, or no campaign would see its second cycle.
_SCALE = {
    **dict.fromkeys(("outage", "hangs"), 0.02),
    **dict.fromkeys(
        ("rejected", "fails", "node_dies", "cancelled", "killed", "killed_in_append"), 0.1
    ),
    **dict.fromkeys(("garbled", "clock_jumps"), 0.2),
    "disk_full": 0.03,
    "dies": 0.5,
}
#: Faults that were thought of later, with their rates.
_LATER = {
    "lives_on": (0.0, 0.5, 1.0),
    "drained": (0.0, 0.0, 0.1, 0.3),
    "sick_node": (0.0, 0.0, 0.02, 0.1),
    "storage_full": (0.0, 0.0, 0.02, 0.1),
    "mistyped": (0.0, 0.0, 0.2, 0.5),
    "reopened": (0.0, 0.0, 1.0),
}
#: And those that were thought of after them.
_LATEST = {
    "unknown": (0.0, 0.0, 0.05),
    "broken": (0.0, 0.0, 0.05),
    "foreign": (0.0, 0.0, 1.0),
    "helper_killed": (0.0, 0.0, 0.1),
}
_FAST_S, _SLOW_S, _HANGS_S = (0.001, 0.1), (1.0, 30.0), (300.0, 1200.0)
#: How long a spell lasts.
_SPELL_S = (10.0, 600.0)


class Weather:
    """Draws faults until `calm_after_s`.

    From then on the site is perfect, and what was begun must come to its end.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        chance: random.Random,
        rates: FaultRates,
        *,
        calm_after_s: float = float("inf"),
    ) -> None:
        self.rates = rates
        #: How often each fault has happened.
        self.struck: Counter[str] = Counter()
        self._clock = clock
        self._chance = chance
        self._calm_after_s = calm_after_s
        self._aside = chance_aside(chance)
        self._further = chance_aside(chance, "further")
        self._spells: dict[str, float] = {}

    @property
    def is_calm(self) -> bool:
        """Whether faults have stopped."""
        return self._clock.elapsed_s >= self._calm_after_s

    def clear(self) -> None:
        """Stop all faults now."""
        self._calm_after_s = min(self._calm_after_s, self._clock.elapsed_s)

    def strikes(self, fault: str) -> bool:
        """Whether this fault, a field of FaultRates, happens now."""
        rate: float = getattr(self.rates, fault)
        if not rate and fault in {*_LATER, *_LATEST}:
            return False  # and no chance is spent on it
        chance = (
            self._aside if fault in _LATER else self._further if fault in _LATEST else self._chance
        )
        struck = chance.random() < rate and not self.is_calm
        self.struck[fault] += struck
        return struck

    def holds(self, fault: str) -> bool:
        """Whether a fault that lasts is over the site.

        It begins at its rate, and goes on for 10 s to 10 min.
        """
        if self.strikes(fault):
            self._spells[fault] = self._clock.elapsed_s + self._chance.uniform(*_SPELL_S)
        return self._clock.elapsed_s < self._spells.get(fault, 0.0) and not self.is_calm

    def lasts(self, fault: str, *, begins: bool = True) -> bool:
        """As `holds`, for faults thought of later; with `begins` False it never begins here."""
        if begins and not self._is_in_spell(fault) and self.strikes(fault):
            chance = self._aside if fault in _LATER else self._further
            self._spells[fault] = self._clock.elapsed_s + chance.uniform(*_SPELL_S)
        return self._is_in_spell(fault)

    def _is_in_spell(self, fault: str) -> bool:
        return self._clock.elapsed_s < self._spells.get(fault, 0.0) and not self.is_calm

    def notices(self) -> str:
        """What others write into an answer, at its begin; on some sites always."""
        if not self.rates.foreign:
            return ""
        self.struck["foreign"] += 1
        return "Notice: /scratch is purged on Sunday\nquota: 93% | of 500G | used\n"

    async def pass_by(self, operation: str) -> None:
        """One wait on the wire: 1-100 ms, seldom up to 30 s, very seldom up to 20 min.

        Raises TransientError.
        """
        span_s = _HANGS_S if self.strikes("hangs") else _SLOW_S if self.strikes("slow") else _FAST_S
        await self._clock.sleep(self._chance.uniform(*span_s))
        if self.holds("outage") or self.strikes("transient"):
            raise TransientError(f"the connection was cut in {operation}")
        if operation == "write" and self.lasts("storage_full", begins=False):
            raise TransientError("the site's files: [Errno 28] No space left on device")
