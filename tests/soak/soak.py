"""`scripts/soak`: nothing lost or doubled, always a verdict; as a figure that anyone can reproduce.

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
    args = _parser().parse_args(argv)
    if args.seed is not None:
        return _tell_seed(args.seed)
    asked = (args.seeds, args.kill, args.disk, args.journal, args.hostile, args.lab)
    if asked == (None,) * len(asked):
        args.seeds, args.kill, args.disk, args.journal = _SEEDS, _KILLS, _REFUSALS, _FLIPS
        args.hostile = _FILES
    rows = _soak(args)
    sys.stderr.write("\n")
    print(render(rows))
    return 1 if any(row.complaints for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parts = {
        "--seeds": (_SEEDS, "simulated campaigns"),
        "--kill": (_KILLS, "kills of real daemons, amid what people do"),
        "--disk": (_REFUSALS, "failing disks under real daemons"),
        "--journal": (_FLIPS, "a journal cut everywhere, and flips in it"),
        "--hostile": (_FILES, "hostile files on a running campaign"),
    }
    for name, (many, what) in parts.items():
        parser.add_argument(
            name, nargs="?", type=int, metavar="N", const=many, help=f"{what} ({many})"
        )
    parser.add_argument(
        "--quick", action="store_true", help="with --hostile: physics that is stood in for"
    )
    parser.add_argument(
        "--lab",
        type=int,
        metavar="N",
        help="real faults on the lab; only if asked for, as root on Debian",
    )
    parser.add_argument(
        "--first", type=int, default=0, metavar="SEED", help="where the seeds begin (0)"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="cores for the simulated ones",
    )
    parser.add_argument("--seed", type=int, help="run this one alone, and tell its whole story")
    return parser


def _soak(args: argparse.Namespace) -> list[Row]:
    tell, rows = Progress(), []
    if args.seeds:
        rows.append(soak_seeds(range(args.first, args.first + args.seeds), args.jobs, tell))
    if args.kill:
        rows.append(soak_kills(args.kill, args.first, tell))
    if args.disk and shutil.which("strace"):
        rows.append(soak_disk(args.disk, args.first, tell))
    elif args.disk:
        sys.stderr.write("no strace here: disks are left alone\n")
    if args.journal:
        rows.append(soak_journal(args.journal, args.first, tell))
    if args.hostile:
        campaign_in = quick_campaign if args.quick else real_campaign
        rows.append(soak_hostile(args.hostile, args.first, tell, campaign_in))
    if args.lab:
        from soak_lab import soak_lab  # noqa: PLC0415 - it needs pytest, and a machine that can be a cluster

        rows.append(soak_lab(args.lab, args.first, tell))
    return rows


def _tell_seed(seed: int) -> int:
    found = run_seed(seed)
    for number, event in enumerate(found.events, start=1):
        print(f"{number:5} {event.at:%d %H:%M:%S} {describe(event)}")
    print("\n".join([*found.violations, str(found)]))
    return 1 if found.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
