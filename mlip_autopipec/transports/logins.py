"""When the next login to a site may be tried: no storm of logins, and no lock-out by refused ones."""

import asyncio
import random

from mlip_autopipec.errors import OperatorError
from mlip_autopipec.ports import Clock

_DELAY_FIRST_S = 1.0
_DOUBLINGS_MAX = 6  # 64 s
#: A connection that lived so long was a good one; the next login need not wait.
_GOOD_AFTER_S = 60.0
#: After a refusal nothing is tried for so long: some sites lock a user out after a few.
_REFUSAL_S = 300.0


class Logins:
    """Paces the logins of one transport: at once, then 1 s to 64 s apart at most, by full jitter."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._tries = 0
        self._last_s = 0.0
        self._refused: tuple[str, float] | None = None

    async def turn(self) -> None:
        """Wait until a login may be tried, and count it. Raises OperatorError while a refusal is fresh."""
        if self._refused is not None and _monotonic_s() < self._refused[1]:
            raise OperatorError(self._refused[0])
        if self._tries:
            cap_s = _DELAY_FIRST_S * 2 ** min(self._tries - 1, _DOUBLINGS_MAX)
            await self._clock.sleep(self._rng.uniform(0, cap_s))
        self._tries += 1
        self._last_s = _monotonic_s()

    def lost(self) -> None:
        """The connection that the last login made has ended."""
        if _monotonic_s() - self._last_s >= _GOOD_AFTER_S:
            self._tries = 0

    def refused(self, message: str) -> OperatorError:
        """A login was refused: remember it, and give the error to raise."""
        self._refused = (message, _monotonic_s() + _REFUSAL_S)
        return OperatorError(message)


def _monotonic_s() -> float:
    """Time that is never set."""
    return asyncio.get_running_loop().time()
