"""Notes which lines of the work half a process runs, where AUTOPIPEC_MUTANTS_TRACE names a file.

Every Python of the copy loads it as it starts. Each line is written as it runs for the first time,
so that nothing is lost with a process that is killed; forks go on with it.
"""

import os
import sys
import threading
from types import CodeType, FrameType
from typing import Any

VARIABLE = "AUTOPIPEC_MUTANTS_TRACE"
_WORK = "mlip_autopipec/work/"


def start(path: str) -> None:
    """Trace this process from now on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    seen = set[tuple[CodeType, int]]()

    def line(frame: FrameType, event: str, _: Any) -> Any:
        key = frame.f_code, frame.f_lineno
        if event == "line" and key not in seen:
            seen.add(key)
            name = frame.f_code.co_filename
            os.write(descriptor, f"{name[name.index(_WORK) :]}\t{frame.f_lineno}\n".encode())
        return line

    def call(frame: FrameType, _event: str, _: Any) -> Any:
        return line if _WORK in frame.f_code.co_filename else None

    threading.settrace(call)
    sys.settrace(call)


if VARIABLE in os.environ:
    start(os.environ[VARIABLE])
