"""The heart of the daemon as systemd hears it.

It beats when the loop has turned, not when a timer says so.
"""

from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from mlip_autopipec.daemon.notify import SystemdNotifier
from mlip_autopipec.ports import Clock

#: A loop that comes back this much later than it was to is worth a line in the log.
_LAG_WARN_S = 1.0


async def keep_watchdog(
    notifier: SystemdNotifier,
    turned: Callable[[], Awaitable[None]],
    clock: Clock,
    logger: FilteringBoundLogger,
) -> None:
    """Tell systemd of every turn asked for, until cancelled; return at once if it does not watch.

    `turned` returns when the loop has come round and the journal has taken what there was to write.
    If either hangs, so does this, and systemd starts the daemon anew.
    """
    interval_s = notifier.watchdog_interval_s
    while interval_s is not None:
        await turned()
        notifier.watchdog()
        began = clock.now()
        await clock.sleep(interval_s)
        lag_s = (clock.now() - began).total_seconds() - interval_s
        if lag_s > _LAG_WARN_S:
            logger.warning("the event loop was late", type="loop_lag", lag_s=round(lag_s, 3))
