"""Virtual time: an asyncio loop whose clock jumps to the next timer once nothing else can run.

Everything that waits by asyncio's own timers (`sleep`, `timeout`, `wait`, `call_later`) waits in
virtual time, so a campaign of weeks takes a second and every bound on an await is exercised.
Nothing is left to chance: what is given to a thread is done inline, and its answer comes when the
simulation says; there is no real input or output, and timers due at the same instant fire in the
order of asyncio's heap, which is the same in every run.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, TypeVarTuple, Unpack

from mlip_autopipec.errors import BugError

T = TypeVar("T")
V = TypeVar("V")
Ts = TypeVarTuple("Ts")

#: A loop that turns this often without time passing is caught in a circle.
_TURNS_PER_INSTANT_MAX = 100_000
_START = datetime(2030, 1, 1, tzinfo=UTC)


class SimulationStuck(BugError):  # noqa: N818 - the name is the fact
    """Nothing will ever happen again, time stands still, or virtual time's limit is reached."""


class SimulatedClock:
    """ports.Clock in virtual time.

    `sleep` works on a SimulatedLoop that was made with this clock.
    """

    def __init__(self, start: datetime = _START) -> None:
        self._start = start
        #: Virtual time since the start; it is never set.
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        """What the wall clock shows, in UTC."""
        return self._start + timedelta(seconds=self.elapsed_s)

    def jump(self, by_s: float) -> None:
        """Set the wall clock, forward or back, in no time."""
        self._start += timedelta(seconds=by_s)

    def advance(self, delay_s: float) -> None:
        """Let time pass by hand, as when something blocks the loop. Negative delays are refused."""
        if delay_s < 0:
            raise BugError(f"time cannot pass by {delay_s} s")
        self.elapsed_s += delay_s

    async def sleep(self, delay_s: float) -> None:
        """Wait in virtual time.

        Raises BugError on any other loop, where this would wait in vain.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, SimulatedLoop) or loop.clock is not self:
            raise BugError("a SimulatedClock sleeps on its own SimulatedLoop: use run_simulated")
        await asyncio.sleep(delay_s)


class _JumpingSelector(selectors.SelectSelector):
    """The loop asks it to wait for a file; with none to wait for, it lets the clock jump."""

    def __init__(self, clock: SimulatedClock, limit_s: float) -> None:
        super().__init__()
        self._clock = clock
        self._limit_s = limit_s
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise SimulationStuck("every task waits for another and no timer is set")
        if timeout > 0:
            self._jump(timeout)
        self._turns += 1
        if self._turns > _TURNS_PER_INSTANT_MAX:
            raise SimulationStuck(f"time does not pass any more at {self._clock.now()}")
        return []

    def _jump(self, delay_s: float) -> None:
        if self._clock.elapsed_s + delay_s > self._limit_s:
            raise SimulationStuck(f"the limit of {self._limit_s:g} s of virtual time is reached")
        self._clock.advance(delay_s)
        self._turns = 0


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Plain asyncio in virtual time.

    `thread_s` says how long each piece of work takes in its thread.
    """

    def __init__(
        self, clock: SimulatedClock, *, limit_s: float, thread_s: Callable[[], float]
    ) -> None:
        self.clock = clock
        self._thread_s = thread_s
        #: What callbacks and forgotten tasks raised; `run_simulated` raises the first of them.
        self.unhandled: list[BaseException] = []
        super().__init__(_JumpingSelector(clock, limit_s))

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self.clock.elapsed_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run at once, in this thread: the order of threads is chance.

        Whoever awaits it hears of it later.
        """
        del executor
        future: asyncio.Future[T] = self.create_future()
        try:
            self._tell(future.set_result, func(*args), future)
        except Exception as error:  # noqa: BLE001 - handed on to whoever awaits, as an executor does
            self._tell(future.set_exception, error, future)
        return future

    def _tell(self, tell: Callable[[V], None], what: V, future: asyncio.Future[T]) -> None:
        delay_s = self._thread_s()
        if delay_s > 0:
            self.call_later(delay_s, lambda: None if future.done() else tell(what))
        else:
            tell(what)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody caught."""
        self.unhandled.append(context.get("exception") or BugError(str(context["message"])))


def run_simulated(
    main: Coroutine[Any, Any, T],
    clock: SimulatedClock,
    *,
    limit_s: float,
    thread_s: Callable[[], float] = lambda: 0.0,
) -> T:
    """asyncio.run in virtual time.

    Raises SimulationStuck when `limit_s` has passed, or nothing can happen any more.
    """
    loop = SimulatedLoop(clock, limit_s=limit_s, thread_s=thread_s)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result = runner.run(main)
    if loop.unhandled:
        raise loop.unhandled[0]
    return result
