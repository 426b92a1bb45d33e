"""When the next login to a site may be tried: no storm of logins, and no lock-out by refused ones."""

import random
from datetime import datetime, timedelta

from mlip_autopipec.errors import OperatorError
from mlip_autopipec.ports import Clock

_DELAY_FIRST_S = 1.0
_DOUBLINGS_MAX = 6  # 64 s
#: A connection that lived so long was a good one; the next login need not wait.
_GOOD_AFTER = timedelta(seconds=60)
#: After a refusal nothing is tried for so long: some sites lock a user out after a few.
_REFUSAL = timedelta(minutes=5)


class Logins:
    """Paces the logins of one transport: at once, then 1 s to 64 s apart at most, by full jitter."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._tries = 0
        self._last: datetime | None = None
        self._refused: tuple[str, datetime] | None = None

    async def turn(self) -> None:
        """Wait until a login may be tried, and count it. Raises OperatorError while a refusal is fresh."""
        self.raise_refused()
        if self._tries:
            cap_s = _DELAY_FIRST_S * 2 ** min(self._tries - 1, _DOUBLINGS_MAX)
            await self._clock.sleep(self._rng.uniform(0, cap_s))
        self._tries += 1
        self._last = self._clock.now()

    def lost(self) -> None:
        """The connection that the last login made has ended."""
        if self._last is not None and self._clock.now() - self._last >= _GOOD_AFTER:
            self._tries = 0

    def refused(self, message: str) -> OperatorError:
        """A login was refused: remember it, and give the error to raise."""
        self._refused = (message, self._clock.now() + _REFUSAL)
        return OperatorError(message)

    def raise_refused(self) -> None:
        """Raise OperatorError, without asking the site, while a refusal is fresh."""
        if self._refused is not None and self._clock.now() < self._refused[1]:
            raise OperatorError(self._refused[0])
        self._refused = None
