"""The feed never waits: it hands on, drops, or ends."""

import asyncio

from kit.control import CREATED, deferred

from mlip_autopipec.control.feed import Feed
from mlip_autopipec.data_models.state import WorkflowState


def publish(feed: Feed, first: int, last: int) -> None:
    for seq in range(first, last + 1):
        feed.observe(deferred(seq), WorkflowState(seq=seq))


async def test_a_subscriber_takes_all_that_waits_in_order() -> None:
    """From its subscription on; what was before is not its matter."""
    feed = Feed(queue_max=10)
    publish(feed, 1, 2)
    with feed.subscribe(lambda: None) as subscription:
        publish(feed, 3, 5)
        assert await subscription.take() == tuple((seq, deferred(seq)) for seq in (3, 4, 5))
        publish(feed, 6, 6)
        assert await subscription.take() == ((6, deferred(6)),)


async def test_take_waits_for_the_next_event() -> None:
    """Nothing waiting is no reason to answer."""
    feed = Feed(queue_max=10)
    with feed.subscribe(lambda: None) as subscription:
        taking = asyncio.create_task(subscription.take())
        await asyncio.sleep(0)
        assert not taking.done()
        feed.observe(CREATED, WorkflowState(seq=1))
        assert await taking == ((1, CREATED),)


async def test_a_full_queue_drops_its_subscriber_once_and_no_other() -> None:
    """The queue may be full; one more is too many, and frees the memory."""
    feed, dropped = Feed(queue_max=3), []
    with (
        feed.subscribe(lambda: dropped.append("slow")) as slow,
        feed.subscribe(lambda: dropped.append("good")) as good,
    ):
        publish(feed, 1, 3)
        assert (len(await good.take()), dropped) == (3, [])
        publish(feed, 4, 6)
        assert dropped == ["slow"]
        assert (slow.ended, await slow.take()) == (True, ())
        assert (good.ended, len(await good.take())) == (False, 3)


async def test_an_end_lets_what_waits_be_taken() -> None:
    """Closing is no drop: nothing that was published is lost."""
    feed = Feed(queue_max=3)
    with feed.subscribe(lambda: None) as subscription:
        publish(feed, 1, 2)
        feed.close()
        publish(feed, 3, 3)
        assert [seq for seq, _ in await subscription.take()] == [1, 2]
        assert await subscription.take() == ()


async def test_a_closed_feed_takes_no_subscriber() -> None:
    """Who comes while the daemon stops is not kept waiting."""
    feed = Feed(queue_max=3)
    feed.close()
    with feed.subscribe(lambda: None) as subscription:
        assert (subscription.ended, await subscription.take()) == (True, ())
