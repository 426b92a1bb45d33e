"""How the process of a daemon uses memory and shares its one Python lock."""

import ctypes
from collections.abc import Callable

#: For gc.set_threshold: with a million objects of state, the defaults spend half of the time
#: looking at them again.
GC_THRESHOLDS = (50_000, 20, 100)
#: For sys.setswitchinterval: a thread that computes gives the loop its turn after this long, not
#: after 5 ms.
SWITCH_S = 0.001
#: For mallopt: how many heaps there may be (malloc.h).
_M_ARENA_MAX = -8


def _glibc(name: str) -> Callable[..., object] | None:
    """A function of its malloc; other libraries have none of the kind, and need none."""
    return getattr(ctypes.CDLL(None), name, None)


def share_one_heap() -> None:
    """One heap for all threads, which compute one at a time anyway.

    One heap for each costs 10 MiB with 10,000 tasks.
    """
    if set_option := _glibc("mallopt"):
        set_option(_M_ARENA_MAX, 1)


def give_memory_back() -> None:
    """What a start or a phase took and needs no more goes to the system.

    It is 33 MiB after a snapshot of 10,000 tasks.
    """
    if trim := _glibc("malloc_trim"):
        trim(0)
