"""autopipecd ending with BlockingError and exit code 70 if it blocks its event loop once it serves.

    guarded_daemon.py SOCKET autopipecd's arguments …

`guarded` on standard error says that the guard is there: as soon as there is a control socket. What
is done before, is done before anybody waits.
"""

import sys
import threading
import time
from pathlib import Path

from blockbuster import BlockBuster

from mlip_autopipec.daemon import main


def guard(socket: Path) -> None:
    """Wait for the socket, then let no call block but those that are meant to."""
    while not socket.exists():
        time.sleep(0.01)
    guard = BlockBuster(scanned_modules="mlip_autopipec")
    # A line of the log is on its way to the disk before what it tells of goes on.
    for call in ("os.stat", "os.path.samestat", "os.write"):
        guard.functions[call].can_block_in("telling/log.py", {"write"})
    # The last report is begun when the loop has nothing else to do any more.
    guard.functions["os.read"].can_block_in("daemon/reporter.py", {"_detached"})
    guard.activate()
    print("guarded", file=sys.stderr, flush=True)


threading.Thread(target=guard, args=[Path(sys.argv[1])], daemon=True).start()
main(sys.argv[2:])
