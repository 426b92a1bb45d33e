"""A potential's two files that belong together: the B-basis .yaml and the .asi of its active set."""

import hashlib
from pathlib import Path

from mlip_autopipec.work.job import AnyJob, TaskFailed


def fingerprint(potential_yaml: Path, potential_asi: Path) -> str:
    """One name for both."""
    return hashlib.sha256(potential_yaml.read_bytes() + potential_asi.read_bytes()).hexdigest()


def checked_potential(job: AnyJob, expected: str | None) -> tuple[Path, Path]:
    """Both files of a task. Raises TaskFailed (bad_input) unless they are those that the `expected` fingerprint names.

    γ by the active set of another fit is a number like any other, and says nothing.
    """
    paths = job.one("potential_yaml"), job.one("potential_asi")
    if expected is not None and (found := fingerprint(*paths)) != expected:
        raise TaskFailed("bad_input", f"potential and active set have fingerprint {found}, expected {expected}")
    return paths
