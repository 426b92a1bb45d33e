"""Names of users, from a directory service that may hang.

NSS has no time limit. So it is asked in threads of its own, few of them, that neither a stop of the
daemon nor anything else waits for; where no name comes in time, the number stands alone.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable

from mlip_autopipec.control.listener import user_name

_THREADS_MAX = 2
_TIMEOUT_S = 2.0


class UserNames:
    """Looks users up by number."""

    def __init__(
        self,
        lookup: Callable[[int], str] = user_name,
        *,
        threads_max: int = _THREADS_MAX,
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._lookup = lookup
        self._timeout_s = timeout_s
        self._free = threading.Semaphore(threads_max)
        self._known: dict[int, str] = {}

    async def name(self, uid: int) -> str:
        """The name; empty where there is none, or none has come in time."""
        if uid in self._known:
            return self._known[uid]
        loop, found = asyncio.get_running_loop(), asyncio.Event()
        if not self._ask(uid, lambda: loop.call_soon_threadsafe(found.set)):
            return ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s):
                await found.wait()
        return self._known.get(uid, "")

    def name_now(self, uid: int) -> str:
        """The same for a process without an event loop."""
        found = threading.Event()
        if uid not in self._known and self._ask(uid, found.set):
            found.wait(self._timeout_s)
        return self._known.get(uid, "")

    def _ask(self, uid: int, tell: Callable[[], object]) -> bool:
        """Begin to look; False if as many as may be are looking already, and have not come back."""
        if not self._free.acquire(blocking=False):
            return False
        # No pool: the interpreter would wait for its threads as it ends.
        threading.Thread(
            target=self._look, args=(uid, tell), name="user names", daemon=True
        ).start()
        return True

    def _look(self, uid: int, tell: Callable[[], object]) -> None:
        try:
            self._known[uid] = self._lookup(uid)
        except OSError:  # the service is not there: the number does
            pass
        finally:
            self._free.release()
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                tell()
