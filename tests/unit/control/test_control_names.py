"""A directory service that hangs holds up neither steering, nor status, nor the end."""

import asyncio
import os
import subprocess
import sys
import threading

from mlip_autopipec.control.names import UserNames

HUNG = threading.Event()  # never set: who waits for it waits until the process ends


def hangs(uid: int) -> str:
    del uid
    HUNG.wait(60)
    return "late"


async def test_a_name_that_does_not_come_is_not_waited_for() -> None:
    """However many ask: few threads wait, the others get the number at once.

    The default threads are free.
    """
    names = UserNames(hangs, threads_max=2, timeout_s=0.2)

    async with asyncio.timeout(10):
        assert await asyncio.gather(*(names.name(uid) for uid in range(100))) == [""] * 100
        assert await asyncio.to_thread(os.getpid) == os.getpid()
    assert sum(thread.name == "user names" for thread in threading.enumerate()) == 2


async def test_a_name_is_looked_up_once() -> None:
    """Also by somebody without a loop."""
    asked = []

    def lookup(uid: int) -> str:
        asked.append(uid)
        return f"user{uid}"

    names = UserNames(lookup)
    assert [await names.name(7), await names.name(7), names.name_now(7), names.name_now(8)] == [
        "user7",
        "user7",
        "user7",
        "user8",
    ]
    assert asked == [7, 8]


async def test_a_service_that_fails_is_no_error() -> None:
    """It is asked again the next time."""
    asked = []

    def lookup(uid: int) -> str:
        asked.append(uid)
        if len(asked) == 1:
            raise OSError("no route to the service")
        return "ada"

    names = UserNames(lookup)
    assert [await names.name(7), await names.name(7)] == ["", "ada"]


def test_a_process_ends_beside_a_service_that_hangs() -> None:
    """Its thread is waited for by nobody."""
    program = (
        "import time; from mlip_autopipec.control.names import UserNames;"
        " print(repr(UserNames(lambda uid: time.sleep(600) or 'late', timeout_s=0.1).name_now(7)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"''\n"
