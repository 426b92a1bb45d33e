"""The end of a daemon: who asks for it, and why."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mlip_autopipec.data_models import events as ev


@dataclass
class DaemonEnding:
    """Why the daemon is to end; set once."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""
    by: ev.Actor | None = None

    def ask(self, why: str, by: ev.Actor | None = None) -> None:
        if not self.asked.is_set():
            self.why, self.by = why, by
            self.asked.set()


@contextlib.contextmanager
def signals(ending: DaemonEnding, hung_up: asyncio.Event | None = None) -> Iterator[None]:
    """The first SIGTERM or SIGINT asks for a good end; a second one has its usual effect.

    SIGHUP sets `hung_up`.
    """
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)

    def handler(number: signal.Signals) -> Callable[[], None]:
        def handle() -> None:
            ending.ask(number.name)
            for each in numbers:
                loop.remove_signal_handler(each)

        return handle

    for number in numbers:
        loop.add_signal_handler(number, handler(number))
    if hung_up is not None:
        loop.add_signal_handler(signal.SIGHUP, hung_up.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
        if hung_up is not None:
            loop.remove_signal_handler(signal.SIGHUP)
