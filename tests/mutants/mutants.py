"""`scripts/mutants [ROOM …]`: break the code in small ways, and see whether a test notices.

Of each room so many small edits are made by chance, from a fixed seed, and those of
mutants_named.toml. What no test catches is a promise that no test holds: it gets its test, or its
reason in mutants_explained.toml. It ends with 1 if any is left.
"""

import argparse
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from mutants_rooms import ROOMS
from mutants_run import Copy, Ran
from mutants_table import RoomReport, render, seen_now, tell
from mutation import Mutant, compiles, edit, mutants_of, sample

ROOT = Path(__file__).resolve().parents[2]
NAMED, EXPLAINED = (
    Path(__file__).with_name(f"mutants_{name}.toml") for name in ("named", "explained")
)
_TABLE = "docs/results/mutants.md"
#: What the last whole run of each room has shown.
_KEPT = ROOT / ".mutants"
_NAMED_S = 240.0
_OF_FILE = {"room", "file"}
Key = tuple[str, str, str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the mutants, print the table, and say whether all of them are caught or explained."""
    args = _parser().parse_args(argv)
    rooms = args.rooms or list(ROOMS)
    if unknown := set(rooms) - ROOMS.keys():
        raise SystemExit(
            f"no room is named {', '.join(sorted(unknown))}: choose of {', '.join(ROOMS)}"
        )
    explained = read_explained()
    with Copy(ROOT) as copy:
        reports = [_run_room(copy, room, args, explained) for room in rooms]
    shown = _kept(explained) if args.write else reports
    page = render(shown, args.seed)
    print(page)
    if args.write:
        (ROOT / _TABLE).write_text(page, encoding="utf-8")
    return 1 if any(report.survivors for report in reports) else 0


def named(room: str, root: Path = ROOT) -> list[Mutant]:
    """The mutants of a room that were written by hand.

    Raises ValueError for one that fits no longer.
    """
    rows = tomllib.loads(NAMED.read_text(encoding="utf-8")).get("mutant", [])
    return [
        edit(
            row["file"],
            (root / row["file"]).read_text(encoding="utf-8"),
            **{name: row[name] for name in row.keys() - _OF_FILE},
        )
        for row in rows
        if row["room"] == room
    ]


def by_chance(room: str, number: int, seed: int, root: Path = ROOT) -> list[Mutant]:
    """Some of the mutants that the sources of a room allow."""
    sources = {file: (root / file).read_text(encoding="utf-8") for file in ROOMS[room].files(root)}
    every = [mutant for file, source in sources.items() for mutant in mutants_of(file, source)]
    return sample(every, number, seed, lambda mutant: compiles(mutant.apply(sources[mutant.file])))


def read_explained() -> Mapping[Key, str]:
    """Why a mutant breaks no promise, by its key."""
    rows = tomllib.loads(EXPLAINED.read_text(encoding="utf-8")).get("mutant", [])
    return {(row["file"], row["function"], row["old"], row["new"]): row["reason"] for row in rows}


def _run_room(
    copy: Copy, room: str, args: argparse.Namespace, explained: Mapping[Key, str]
) -> RoomReport:
    began_s = time.monotonic()
    number = ROOMS[room].mutants if args.number is None else args.number
    mutants = [*named(room), *by_chance(room, number, args.seed)]
    if args.only:
        mutants = [
            mutant
            for mutant in mutants
            if args.only in f"{mutant.file}:{mutant.line} {mutant.function}"
        ]
    sys.stderr.write(f"{room}: {len(mutants)} mutants; first its tests as they are …\n")
    whole = args.number is None and not args.only
    known = _caught_before(room) if args.again or args.quick else {}
    ran = [known[mutant.key] for mutant in mutants if mutant.key in known]
    mutants = [mutant for mutant in mutants if mutant.key not in known]
    seen = seen_now(ROOT)
    if args.named:
        return _run_named(copy, room, explained, seen)
    quick = ("-m", "not slow") if args.quick else ()
    with copy.serve([*quick, *ROOMS[room].tests]) as server:
        baseline = copy.baseline(server, ROOMS[room])
        for name in baseline.not_passed:
            sys.stderr.write(f"{room}: left out, as it does not pass as it is: {name}\n")
        sys.stderr.write(
            f"{room}: {len(baseline.tests)} tests, {time.monotonic() - began_s:.0f} s\n"
        )
        for number, mutant in enumerate(mutants, 1):
            ran.append(copy.run(server, mutant, baseline))
            tell(ran[-1], room, number, len(mutants), explained)
            report = RoomReport(room, ran, explained, time.monotonic() - began_s, seen)
            if whole:
                report.save(_KEPT / f"{room}.json")
    return RoomReport(room, ran, explained, time.monotonic() - began_s, seen)


def _run_named(copy: Copy, room: str, explained: Mapping[Key, str], seen: str) -> RoomReport:
    """Those by hand, each against the test named with it, beside what the last whole run showed."""
    began_s, path = time.monotonic(), _KEPT / f"{room}.json"
    mutants = [mutant for mutant in named(room) if mutant.first]
    done = {mutant.key for mutant in mutants}
    ran = (
        [each for each in RoomReport.load(path, {}).ran if each.mutant.key not in done]
        if path.exists()
        else []
    )
    with copy.serve(ROOMS[room].tests) as server:
        for number, mutant in enumerate(mutants, 1):
            names = [name for name in server.collected if mutant.first in name]
            if not names:
                raise ValueError(
                    f"{room} has no test {mutant.first}, which is to catch: {mutant.promise}"
                )
            ran.append(copy.run_tests(server, mutant, names, _NAMED_S))
            tell(ran[-1], room, number, len(mutants), explained)
    report = RoomReport(room, ran, explained, time.monotonic() - began_s, seen)
    report.save(path)
    return report


def _caught_before(room: str) -> Mapping[Key, Ran]:
    """By the last whole run of a room."""
    path = _KEPT / f"{room}.json"
    return (
        {ran.mutant.key: ran for ran in RoomReport.load(path, {}).caught} if path.exists() else {}
    )


def _kept(explained: Mapping[Key, str]) -> list[RoomReport]:
    """The last whole run of each room."""
    return [
        RoomReport.load(path, explained)
        for room in ROOMS
        if (path := _KEPT / f"{room}.json").exists()
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}; without any, all of them"
    )
    parser.add_argument(
        "--number",
        type=int,
        metavar="N",
        help="mutants by chance in each room, in place of its own number",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the choice (1)")
    parser.add_argument(
        "--only", metavar="TEXT", help="only those whose FILE:LINE FUNCTION has this in it"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="only those that the last whole run of the room left over",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="without the tests that are marked as slow; what is known stays",
    )
    parser.add_argument(
        "--named",
        action="store_true",
        help="only those by hand, each against the test named with it",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"write the last whole run of each room to {_TABLE}"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
