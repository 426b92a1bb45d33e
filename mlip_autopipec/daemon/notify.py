"""What systemd is told over the socket named in NOTIFY_SOCKET. Without one, nothing happens."""

import os
import socket
import time
from collections.abc import Mapping

from mlip_autopipec.data_models.events import SiteHealth
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.telling.words import count


class SystemdNotifier:
    """sd_notify(3) for one process.

    Nothing here blocks or raises; each call says whether systemd took the message.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often to call `watchdog`: half the time after which systemd gives up.

        None means that it does not watch us.
        """
        usec = self._environ.get("WATCHDOG_USEC", "")
        pid = self._environ.get("WATCHDOG_PID") or str(os.getpid())
        if (
            self._address is None
            or not usec.isascii()
            or not usec.isdigit()
            or pid != str(os.getpid())
        ):
            return None
        return int(usec) / 2e6 or None

    def ready(self) -> bool:
        """Start-up is finished."""
        return self._send("READY=1")

    def reloading(self) -> bool:
        """The site file is read again; `ready` tells when that is over."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def status(self, message: str) -> bool:
        """One line for `systemctl status`; line breaks become blanks."""
        return self._send(f"STATUS={' '.join(message.split())}")

    def watchdog(self) -> bool:
        """Still alive."""
        return self._send("WATCHDOG=1")

    def stopping(self) -> bool:
        """The shutdown has begun."""
        return self._send("STOPPING=1")

    def _send(self, message: str) -> bool:
        if self._address is None:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(message.encode(), self._address)
            # gone, full, or closed to us: all three are systemd's to mend, and the caller is told
            except OSError:
                return False
        return True


def status_text(state: WorkflowState) -> str:
    """The campaign in one line, as `systemctl status` shows it."""
    where = f"cycle {state.cycle_index}, {state.current_phase or 'between two phases'}"
    site = "site ok" if state.site is SiteHealth.OK else f"site {state.site}: {state.site_message}"
    if not state.site_prepared:
        site = f"{site}, not prepared yet"
    live = sum(len(batch.live) for batch in state.batches.values())
    return f"{state.status}: {where}; {count(live, 'live attempt')}; {site}"


def _address(name: str) -> str | None:
    """The socket's address: a path, or a name in the abstract namespace.

    Such a name is written with `@` for its leading NUL.
    """
    if name.startswith("@"):
        return f"\0{name[1:]}"
    return name if name.startswith("/") else None
