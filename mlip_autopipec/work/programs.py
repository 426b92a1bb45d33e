"""What another program says of itself."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.work.job import TaskFailed

_TIMEOUT_S = 60.0
_TEXT_MAX = 200


def said_by(
    command: Sequence[str], folder: Path | None = None, timeout_s: float = _TIMEOUT_S
) -> str:
    """All that a command prints. Raises TaskFailed (bad_input) if it cannot be run."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise TaskFailed("bad_input", f"{command[0]} cannot be run: {error.strerror}") from error
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def short(said: str) -> str:
    """The beginning of it, on one line."""
    return " ".join(said.split())[:_TEXT_MAX]
