"""Feed: events on their way to live subscribers.

The loop publishes and never waits. Each subscriber has a bounded queue; one that does not keep up
is dropped, and may come back with the number of the last event it saw: the journal has the rest.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlip_autopipec.data_models.events import Event
from mlip_autopipec.data_models.state import WorkflowState


class Subscription:
    """One subscriber's queue.

    `on_drop` is called at most once, from the publisher: it must be quick.
    """

    def __init__(self, on_drop: Callable[[], None], queue_max: int) -> None:
        self._on_drop = on_drop
        self._queue_max = queue_max
        self._queue: deque[tuple[int, Event]] = deque()
        self._wake = asyncio.Event()
        self.ended = False

    def put(self, seq: int, event: Event) -> None:
        """Add an event; a full queue ends the subscription."""
        if self.ended:
            return
        if len(self._queue) >= self._queue_max:
            self._queue.clear()
            self.end()
            self._on_drop()
            return
        self._queue.append((seq, event))
        self._wake.set()

    def end(self) -> None:
        """No more will come."""
        self.ended = True
        self._wake.set()

    async def take(self) -> tuple[tuple[int, Event], ...]:
        """All that is waiting, at least one; empty only when the subscription has ended.

        Waits without bound.
        """
        await self._wake.wait()
        taken = tuple(self._queue)
        self._queue.clear()
        if not self.ended:
            self._wake.clear()
        return taken


class Feed:
    """All live subscriptions; each may be `queue_max` events behind."""

    def __init__(self, queue_max: int) -> None:
        self._queue_max = queue_max
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def observe(self, event: Event, state: WorkflowState) -> None:
        """orchestration.loop.Observer: hand the event to every subscriber."""
        for subscription in self._subscriptions:
            subscription.put(state.seq, event)

    @contextmanager
    def subscribe(self, on_drop: Callable[[], None]) -> Iterator[Subscription]:
        """All events from now on, until the block is left; none if the feed is closed."""
        subscription = Subscription(on_drop, self._queue_max)
        if self._closed:
            subscription.end()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription, in good order, and those to come."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.end()
