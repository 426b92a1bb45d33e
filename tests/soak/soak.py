"""`scripts/soak`: nothing lost, nothing doubled, always a verdict; as a figure that anyone can reproduce.

Without options it does all of it but the lab. It ends with 1 if anything was found.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence

from soak_hostile import real_campaign, soak_hostile
from soak_journal import soak_journal
from soak_kills import quick_campaign, soak_disk, soak_kills
from soak_seeds import run_seed, soak_seeds
from soak_table import Progress, Row, render

from mlip_autopipec.telling.describe import describe

_SEEDS, _KILLS, _REFUSALS, _FLIPS, _FILES = 10_000, 1_000, 60, 5_000, 5_000


def main(argv: Sequence[str] | None = None) -> int:
    """Soak, print the table, and say whether all is well."""
    words = _parser().parse_args(argv)
    if words.seed is not None:
        return _tell_seed(words.seed)
    asked = (words.seeds, words.kill, words.disk, words.journal, words.hostile, words.lab)
    if asked == (None,) * len(asked):
        words.seeds, words.kill, words.disk, words.journal = _SEEDS, _KILLS, _REFUSALS, _FLIPS
        words.hostile = _FILES
    rows = _soak(words)
    sys.stderr.write("\n")
    print(render(rows))
    return 1 if any(row.complaints for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    more = {"nargs": "?", "type": int, "metavar": "N"}
    parser.add_argument("--seeds", const=_SEEDS, help=f"simulated campaigns ({_SEEDS})", **more)  # type: ignore[arg-type]
    parser.add_argument("--kill", const=_KILLS, help=f"kills of real daemons ({_KILLS})", **more)  # type: ignore[arg-type]
    parser.add_argument("--disk", const=_REFUSALS, help=f"failing disks under real daemons ({_REFUSALS})", **more)  # type: ignore[arg-type]
    parser.add_argument("--journal", const=_FLIPS, help=f"a journal cut everywhere, and flips in it ({_FLIPS})", **more)  # type: ignore[arg-type]
    parser.add_argument("--hostile", const=_FILES, help=f"hostile files on a running campaign ({_FILES})", **more)  # type: ignore[arg-type]
    parser.add_argument("--quick", action="store_true", help="with --hostile: physics that is stood in for")
    parser.add_argument(
        "--lab", type=int, metavar="N", help="real faults on the lab; only if asked for, as root on Debian"
    )
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="where the seeds begin (0)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="cores for the simulated ones")
    parser.add_argument("--seed", type=int, help="run this one alone, and tell its whole story")
    return parser


def _soak(words: argparse.Namespace) -> list[Row]:
    tell, rows = Progress(), []
    if words.seeds:
        rows.append(soak_seeds(range(words.first, words.first + words.seeds), words.jobs, tell))
    if words.kill:
        rows.append(soak_kills(words.kill, words.first, tell))
    if words.disk and shutil.which("strace"):
        rows.append(soak_disk(words.disk, words.first, tell))
    elif words.disk:
        sys.stderr.write("no strace here: disks are left alone\n")
    if words.journal:
        rows.append(soak_journal(words.journal, words.first, tell))
    if words.hostile:
        campaign_in = quick_campaign if words.quick else real_campaign
        rows.append(soak_hostile(words.hostile, words.first, tell, campaign_in))
    if words.lab:
        from soak_lab import soak_lab  # noqa: PLC0415 - it needs pytest, and a machine that can be a cluster

        rows.append(soak_lab(words.lab, words.first, tell))
    return rows


def _tell_seed(seed: int) -> int:
    found = run_seed(seed)
    for number, event in enumerate(found.events, start=1):
        print(f"{number:5} {event.at:%d %H:%M:%S} {describe(event)}")
    print("\n".join([*found.violations, str(found)]))
    return 1 if found.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
