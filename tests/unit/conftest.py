"""What the daemon runs in its event loop may not block it."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster

#: What these rooms do, they do in the loop. Elsewhere tests call from a coroutine what the daemon
#: calls from a thread.
ROOMS = {"control", "orchestration", "transports", "watch"}


@pytest.fixture(autouse=True)
def nothing_blocks(request: pytest.FixtureRequest) -> Iterator[None]:
    """A package call that waits for a disk or a socket where a loop runs raises BlockingError."""
    if request.path.parent.name not in ROOMS:
        yield
        return
    guard = BlockBuster(scanned_modules="mlip_autopipec")
    # What ssh said lies in an unnamed file, and is short.
    guard.functions["io.BufferedRandom.read"].can_block_in("transports/openssh.py", {"_say"})
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()
