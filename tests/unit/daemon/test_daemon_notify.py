"""What systemd is told, over real datagram sockets."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlip_autopipec.daemon.notify import SystemdNotifier, status_text
from mlip_autopipec.daemon.watchdog import keep_watchdog
from mlip_autopipec.data_models.events import SiteHealth
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.process import SystemClock
from mlip_autopipec.telling.log import configure


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket as systemd opens it, and its name in NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@autopipec-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        receiver.settimeout(5)
        yield receiver, name


def test_messages_arrive(listener: tuple[socket.socket, str]) -> None:
    """Each call is one datagram in the protocol's words; a status stays one line."""
    receiver, name = listener
    notifier = SystemdNotifier({"NOTIFY_SOCKET": name})
    sent = [
        notifier.ready(),
        notifier.status("cycle 2\nγ rises"),
        notifier.watchdog(),
        notifier.stopping(),
    ]
    received = [receiver.recv(4096).decode() for _ in sent]
    assert sent == [True] * 4
    assert received == ["READY=1", "STATUS=cycle 2 γ rises", "WATCHDOG=1", "STOPPING=1"]


@pytest.mark.parametrize("name", ["", "relative", "vsock:2:1234"])
def test_without_a_socket_nothing_happens(name: str) -> None:
    """Outside systemd every call is a no-op that says so."""
    notifier = SystemdNotifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "10000000"})
    assert not any(
        [notifier.ready(), notifier.status("x"), notifier.watchdog(), notifier.stopping()]
    )
    assert notifier.watchdog_interval_s is None


def test_a_socket_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """Systemd may have closed it; the daemon goes on and is told."""
    assert SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready() is False


def test_a_full_socket_does_not_block(tmp_path: Path) -> None:
    """When nobody reads, a message is dropped and the caller is told."""
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name)
        notifier = SystemdNotifier({"NOTIFY_SOCKET": name})
        assert any(not notifier.watchdog() for _ in range(10_000))


@pytest.mark.parametrize(
    ("variables", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_interval(variables: dict[str, str], interval_s: float | None) -> None:
    """Half of what systemd allows, if it watches this very process."""
    assert (
        interval_s
        == SystemdNotifier({"NOTIFY_SOCKET": "/run/notify", **variables}).watchdog_interval_s
    )


async def test_the_watchdog_is_fed_by_turns_of_the_loop_and_not_by_time(
    listener: tuple[socket.socket, str], tmp_path: Path
) -> None:
    """Two turns are two messages; while the third does not come, nothing is said."""
    receiver, name = listener
    notifier = SystemdNotifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000"})
    turns = asyncio.Semaphore(2)
    stuck = asyncio.Event()

    async def turned() -> None:
        if turns.locked():
            stuck.set()
        await turns.acquire()

    feeding = asyncio.create_task(
        keep_watchdog(notifier, turned, SystemClock(), configure(tmp_path / "log", "info"))
    )
    await stuck.wait()
    await asyncio.sleep(0.2)
    receiver.setblocking(False)
    assert [receiver.recv(64) for _ in range(2)] == [b"WATCHDOG=1"] * 2
    with pytest.raises(BlockingIOError):
        receiver.recv(64)
    feeding.cancel()


def test_the_status_line_says_what_a_person_asks_first() -> None:
    """How it stands, where, how many jobs, and what is wrong with the site."""
    state = WorkflowState(cycle_index=3, site_prepared=False)
    assert status_text(state) == (
        "running: cycle 3, between two phases; 0 live attempts; site ok, not prepared yet"
    )
    wrong = WorkflowState(site=SiteHealth.AUTH_REQUIRED, site_message="no such key")
    assert status_text(wrong).endswith("; site auth_required: no such key")
