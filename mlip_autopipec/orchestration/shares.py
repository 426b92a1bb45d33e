"""How a batch is divided between the ways of choosing, by what each of them has taught.

A label teaches as much as the current potential erred at it before it was learned. Labels drawn by
chance tell what any label would have taught; a way whose labels err no more than those is worth no
more than chance. So a way's share is multiplied by the ratio of its mean square error to that of
the random labels, within bounds: every way goes on being tried, for what teaches much early may
teach little late. Chance keeps its own share: what it teaches is energies, most of all those of
cold crystals, and that no force tells.
"""

from collections.abc import Sequence

from mlip_autopipec.contract.results.train import Lesson
from mlip_autopipec.contract.select import Shares
from mlip_autopipec.contract.values import given
from mlip_autopipec.data_models.digest import CycleSummary

#: A share moves to half, or to half as much again, of what was asked at most.
_LEAST, _MOST = 0.5, 1.5
#: Cycles whose labels are looked at: older ones were learned by a potential that is long gone.
_CYCLES = 2
_DECIMALS = 3
#: Labels have little to teach that were wrong by no more than so many times what is left of it
#: afterwards.
_SETTLED = 1.5


def shares_of(asked: Shares, cycles: Sequence[CycleSummary]) -> Shares:
    """The shares of the next batch; those asked for where there is nothing to compare yet."""
    lessons = [lesson for cycle in cycles[-_CYCLES:] for lesson in cycle.lessons]
    chance = _mean_square(lessons, "random")
    if not chance:
        return asked
    parts = given(asked)
    for name in ("informed", "d_optimal"):
        taught = _mean_square(lessons, *_SOURCES[name])
        if taught is not None:
            parts[name] *= min(max(taught / chance, _LEAST), _MOST)
    ways = parts.keys() - {"random"}
    before, after = (sum(shares[name] for name in ways) for shares in (given(asked), parts))
    for name in ways if after else ():
        parts[name] = min(round(parts[name] * before / after, _DECIMALS), 1.0)
    return Shares(**parts)


_SOURCES = {"informed": ("informed", "farthest"), "d_optimal": ("d_optimal", "collected")}


def batch_size(asked: int, cycles: Sequence[CycleSummary]) -> int:
    """Labels of the next batch at most: half of those asked for, rounded up, until any are learned.

    The first potential knows least of what it does not know, so what is chosen by it is small; the
    next batch knows what these labels taught.
    """
    return asked if any(cycle.lessons for cycle in cycles) else (asked + 1) // 2


def has_settled(cycles: Sequence[CycleSummary]) -> bool:
    """Whether the last labels taught little: the potential's error at them hardly fell with them.

    Only then may a batch end before it is full. What a batch is expected to teach rests on the
    potential's own noise, and that says nothing of what a potential that is still wrong does not
    know.
    """
    lessons = next((cycle.lessons for cycle in reversed(cycles) if cycle.lessons), ())
    labels = sum(lesson.labels for lesson in lessons)
    before = sum(lesson.labels * lesson.before_mev_per_angstrom**2 for lesson in lessons)
    after = sum(lesson.labels * lesson.after_mev_per_angstrom**2 for lesson in lessons)
    return labels > 0 and before <= _SETTLED**2 * after


def _mean_square(lessons: Sequence[Lesson], *sources: str) -> float | None:
    """Of the force error before these sources' labels were learned; None without such labels."""
    counted = [lesson for lesson in lessons if lesson.source in sources]
    labels = sum(lesson.labels for lesson in counted)
    return (
        sum(lesson.labels * lesson.before_mev_per_angstrom**2 for lesson in counted) / labels
        if labels
        else None
    )
