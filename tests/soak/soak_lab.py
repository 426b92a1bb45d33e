"""Random real faults on scripts/lab's one-host cluster: nodes, controller, sshd, line, daemon."""

import random
import tempfile
import time
from pathlib import Path

from kit.lab_faults import strike_at_random
from soak_table import Row, Tell


def soak_lab(number: int, seed: int, tell: Tell) -> Row:
    """Campaigns of aluminium one after another, until that many faults have struck.

    Needs root on Debian.
    """
    row, began_s = Row("real faults on the lab"), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autopipec-soak-") as folder:
        found = strike_at_random(number, random.Random(seed), Path(folder).resolve(), tell)  # noqa: S311
    row.runs, row.faults, row.took_s = found.campaigns, found.faults, time.monotonic() - began_s
    row.verdicts, row.doubled, row.lost = (
        found.converged,
        len(found.count.doubled),
        len(found.count.lost),
    )
    row.counted = (
        f"{found.count.jobs} jobs by slurmctld's own records, {found.count.labels} labels in the"
        " data sets"
    )
    for message in found.complaints:
        row.complain(message)
    return row
