"""Simulated campaigns by the thousand."""

import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from kit.simulated import Findings, Parts, Simulation
from soak_table import Row, Tell

_DOUBLED = ("runs twice", "was done by", "was not over", "landed twice")
_LOST = ("does not read", "nobody trained", "reads again", "which nobody has made")


def soak_seeds(seeds: range, jobs: int, tell: Tell) -> Row:
    """Every seed, on so many cores."""
    row, began_s = Row("simulated campaigns"), time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for found in pool.map(_run, seeds, chunksize=8):
            _count(found, row)
            tell(f"{row.runs} of {len(seeds)} seeds, {len(row.complaints)} findings")
    row.took_s = time.monotonic() - began_s
    row.counted = f"{row.innocent} campaigns ended `failed` through a passing fault"
    return row


def run_seed(seed: int) -> Findings:
    """One seed, as everywhere else."""
    return Simulation(seed, Parts()).run()


def _run(seed: int) -> Findings:
    found = run_seed(seed)
    found.events = ()  # they would only be carried to and fro
    return found


def _count(found: Findings, row: Row) -> None:
    row.runs += 1
    row.verdicts += found.verdict is not None
    row.faults += found.struck
    row.innocent += found.innocent
    row.doubled += _number(found.violations, _DOUBLED)
    row.lost += _number(found.violations, _LOST)
    if found.violations:
        row.complain(f"{found}\n  again: scripts/soak --seed {found.seed}")


def _number(violations: Iterable[str], arguments: tuple[str, ...]) -> int:
    return sum(any(word in violation for word in arguments) for violation in violations)
