"""Processes of this machine, as /proc shows them."""

import contextlib
from pathlib import Path


def children(pid: int) -> list[int]:
    """Pids of the processes that this one started and that live; none if it has ended itself."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, tasks.read_text(encoding="utf-8").split())
    return found


def descendants(pid: int) -> list[int]:
    """Children and their children, and so on."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def runs(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


def is_pending(pid: int, number: int) -> bool:
    """Whether a signal waits for a process that stands still."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    masks = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    return bool(int(masks["ShdPnd"], 16) >> number - 1 & 1)
