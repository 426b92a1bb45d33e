"""This process: its clock, its version, what it may do, and the person who has started it."""

import asyncio
import mmap
import os
from datetime import UTC, datetime
from importlib import metadata

from mlip_autopipec.control.names import UserNames
from mlip_autopipec.data_models import events as ev

VERSION = metadata.version("mlip-autopipec")


class SystemClock:
    """ports.Clock of the real world."""

    def now(self) -> datetime:
        """Wall-clock time in UTC."""
        return datetime.now(UTC)

    async def sleep(self, delay_s: float) -> None:
        """Wait."""
        await asyncio.sleep(delay_s)


def may_run_what_it_wrote() -> bool:
    """Whether memory may be both written and run here, as codes that compile as they run need."""
    try:
        mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    except OSError:
        return False
    return True


def person() -> ev.Actor:
    """Who has started this process."""
    uid = os.getuid()
    return ev.Actor(uid=uid, pid=os.getpid(), name=UserNames().name_now(uid))
