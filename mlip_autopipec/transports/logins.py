"""When the next site login may be tried: no storm of logins, and no lock-out by refused ones."""

import asyncio
import random

from mlip_autopipec.errors import LoginRefused
from mlip_autopipec.ports import Clock

_DELAY_FIRST_S = 1.0
_DOUBLINGS_MAX = 6  # 64 s
#: A connection that lived so long was a good one; the next login need not wait.
_GOOD_AFTER_S = 60.0
#: After a refusal nothing is tried for so long, and twice as long after the next: some sites lock a
#: user out.
_REFUSAL_FIRST_S = 300.0
_REFUSALS_MAX = 4  # doublings: 80 min


class Logins:
    """Paces one transport's logins: at once, then 1 s to 64 s apart at most, by full jitter."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._tries = 0
        self._last_s = 0.0
        self._refused: tuple[str, float] | None = None
        self._refusals = 0

    async def turn(self) -> None:
        """Wait until a login may be tried, and count it.

        Raises LoginRefused while a refusal is fresh.
        """
        if self._refused is not None and _monotonic_s() < self._refused[1]:
            raise LoginRefused(self._refused[0])
        if self._tries:
            cap_s = _DELAY_FIRST_S * 2 ** min(self._tries - 1, _DOUBLINGS_MAX)
            await self._clock.sleep(self._rng.uniform(0, cap_s))
        self._tries += 1
        self._last_s = _monotonic_s()

    def lost(self) -> None:
        """The connection that the last login made has ended."""
        if _monotonic_s() - self._last_s >= _GOOD_AFTER_S:
            self._tries = 0

    def made(self) -> None:
        """A login has succeeded."""
        self._refused, self._refusals = None, 0

    def refused(self, message: str) -> LoginRefused:
        """A login was refused: remember it, and give the error to raise."""
        pause_s = _REFUSAL_FIRST_S * 2 ** min(self._refusals, _REFUSALS_MAX)
        self._refusals += 1
        self._refused = (message, _monotonic_s() + pause_s)
        return LoginRefused(message)

    def forgive(self) -> None:
        """A person says that the login is mended: the next one may be tried at once."""
        self._refused, self._refusals, self._tries = None, 0, 0


def _monotonic_s() -> float:
    """Time that is never set."""
    return asyncio.get_running_loop().time()
