"""How a batch is divided between the ways of choosing."""

from mlip_autopipec.contract.results.train import Lesson
from mlip_autopipec.contract.select import Shares
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.orchestration.shares import batch_size, has_settled, shares_of


def cycle(number: int, **before_mev_per_angstrom: float) -> CycleSummary:
    """A cycle whose labels of each source had so much to teach."""
    lessons = tuple(
        Lesson(source=source, labels=4, before_mev_per_angstrom=error, after_mev_per_angstrom=1)
        for source, error in before_mev_per_angstrom.items()
    )
    return CycleSummary(cycle=number, bootstrap=number == 0, lessons=lessons)


def test_without_random_labels_there_is_nothing_to_compare() -> None:
    """What was asked for stays."""
    assert shares_of(Shares(), ()) == Shares()
    assert shares_of(Shares(), [cycle(1, informed=80)]) == Shares()


def test_a_way_that_taught_more_than_chance_gets_more() -> None:
    """And one that taught less gets less; all together take as much as before."""
    asked = Shares()
    found = shares_of(asked, [cycle(1, informed=30, d_optimal=80, random=60)])
    assert found.d_optimal > asked.d_optimal
    assert found.informed < asked.informed
    assert abs(found.informed + found.d_optimal + found.random - 1) < 0.01


def test_a_share_keeps_within_bounds() -> None:
    """However little a way taught, it goes on being tried; old cycles are forgotten."""
    least = shares_of(
        Shares(), [cycle(1, informed=1000, random=1), cycle(2, random=50, d_optimal=0.1), cycle(3)]
    )
    assert 0.04 <= least.d_optimal <= 0.1
    most = shares_of(Shares(), [cycle(1, informed=1000, random=1)])
    assert 0.7 < most.informed < 0.8


def test_chance_keeps_its_share() -> None:
    """However little its forces taught, it holds the energies.

    Without any other way it stays as it is, too.
    """
    cycles = [cycle(1, informed=1000, d_optimal=1000, random=1)]
    assert shares_of(Shares(), cycles).random == Shares().random
    assert shares_of(Shares(random=0.35), cycles).random == 0.35
    alone = Shares(informed=0, d_optimal=0, random=1)
    assert shares_of(alone, cycles) == alone


def test_a_batch_may_be_small_only_where_labels_have_ceased_to_teach() -> None:
    """A potential far worse before its last labels than after is not trusted with its own noise."""
    assert not has_settled(())
    assert not has_settled([cycle(1, informed=2, random=1)])
    assert has_settled([cycle(1, informed=30), cycle(2, informed=1.4, random=1.2), cycle(3)])


def test_shares_that_ask_for_more_than_a_batch_stay_parts_of_one() -> None:
    """A site file may ask for the whole batch twice; no share that follows exceeds all of it."""
    found = shares_of(
        Shares(informed=1.0, d_optimal=1.0), [cycle(1, informed=90, d_optimal=10, random=30)]
    )
    assert found.informed == 1.0
    assert found.d_optimal < 1.0


def test_the_first_batch_is_half_of_what_is_asked_for() -> None:
    """The bootstrap potential knows little of what it does not know.

    A cycle without labels teaches nothing.
    """
    assert [batch_size(asked, ()) for asked in (20, 5, 1)] == [10, 3, 1]
    assert batch_size(20, [cycle(0), cycle(1)]) == 10
    assert batch_size(20, [cycle(0), cycle(1, random=30), cycle(2)]) == 20
