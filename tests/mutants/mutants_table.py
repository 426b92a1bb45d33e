"""What mutants have shown: a line as each is done, and a page of tables."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from mutants_run import Ran
from mutation import Mutant

Key = tuple[str, str, str, str]
_TEXT_MAX = 110
_SIMULATOR = "few_seeds"


@dataclass(frozen=True, slots=True)
class RoomReport:
    """All mutants of one room."""

    room: str
    ran: Sequence[Ran]
    explained: Mapping[Key, str]
    took_s: float
    #: Day, commit and machine.
    seen: str

    @property
    def caught(self) -> list[Ran]:
        """Those that something noticed."""
        return [each for each in self.ran if each.caught]

    @property
    def harmless(self) -> list[Ran]:
        """Those that nothing noticed, and whose reason is written down."""
        return [each for each in self.ran if not each.caught and each.mutant.key in self.explained]

    @property
    def survivors(self) -> list[Ran]:
        """Those that nothing noticed, and nobody has explained."""
        return [
            each for each in self.ran if not each.caught and each.mutant.key not in self.explained
        ]

    def save(self, path: Path) -> None:
        """Keep it for the page, and for a later run of those that survived."""
        found = {
            "room": self.room,
            "took_s": self.took_s,
            "seen": self.seen,
            "ran": [asdict(each) for each in self.ran],
        }
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, explained: Mapping[Key, str]) -> "RoomReport":
        """What was kept.

        Raises OSError, and ValueError or TypeError for what another version has written.
        """
        found = json.loads(path.read_bytes())
        ran = [Ran(**{**each, "mutant": Mutant(**each["mutant"])}) for each in found.pop("ran")]
        return cls(ran=ran, explained=explained, **found)


def tell(ran: Ran, room: str, number: int, total: int, explained: Mapping[Key, str]) -> None:
    """Say what became of one mutant."""
    how = f"caught by {_short(ran.by)}" if ran.by else "hung"
    if not ran.caught:
        how = "explained" if ran.mutant.key in explained else "SURVIVED"
    mutant = ran.mutant
    sys.stderr.write(
        f"{room} {number}/{total} {ran.took_s:5.1f} s {mutant.file}:{mutant.line} {mutant.kind}:"
        f" {how}\n"
    )
    if how == "SURVIVED":
        sys.stderr.write(
            f"    in {mutant.function}, {ran.tests} tests\n    - {mutant.old!r}\n    +"
            f" {mutant.new!r}\n"
        )
    sys.stderr.flush()


def render(rooms: Sequence[RoomReport], seed: int) -> str:
    """The page, in Markdown."""
    explained = {key: reason for room in rooms for key, reason in room.explained.items()}
    ran = [each for room in rooms for each in room.ran]
    total = RoomReport("**all**", ran, explained, sum(room.took_s for room in rooms), "")
    lines = [
        "# Mutants",
        "",
        "Written by `scripts/mutants --write`.",
        (
            "A mutant is a small edit that breaks something, made in a copy of the checkout, one"
            " at a time."
        ),
        "Each meets the quick tests that run its lines, or a few seeds of the simulator.",
        f"Most are made by chance (seed {seed}); some are written by hand, each against a promise",
        "(`tests/mutants/mutants_named.toml`).",
        "What no test notices is a promise that no test holds, and gets one, or its reason below;",
        "then it is run again, alone (`--again`): the shares are of the end, not of the first run.",
        "",
        (
            "| room | mutants | caught by tests | by the simulator | by a hang | explained |"
            " survived | caught, of those not explained | took | seen |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_row(room) for room in (*rooms, total)),
        "",
    ]
    lines += _named(total)
    lines += _section(
        "Explained: nothing that is promised breaks",
        total.harmless,
        lambda ran: total.explained[ran.mutant.key],
    )
    lines += _section(
        "Survived: no test holds these", total.survivors, lambda ran: ran.mutant.promise or ""
    )
    return "\n".join(lines).rstrip() + "\n"


def _row(room: RoomReport) -> str:
    caught = room.caught
    hung = sum(each.hung for each in caught)
    simulated = sum(_SIMULATOR in each.by for each in caught)
    open_ = len(room.ran) - len(room.harmless)
    share = f"{100 * len(caught) / open_:.1f} %" if open_ else ""
    seen = (
        f"by hand alone; {room.seen}"
        if all(each.mutant.promise for each in room.ran)
        else room.seen
    )
    numbers = (
        len(room.ran),
        len(caught) - hung - simulated,
        simulated,
        hung,
        len(room.harmless),
        len(room.survivors),
    )
    return (
        f"| {room.room} | {' | '.join(map(str, numbers))} | {share} | {room.took_s / 60:.0f} min |"
        f" {seen} |"
    )


def _named(room: RoomReport) -> list[str]:
    rows = [each for each in room.ran if each.mutant.promise]
    if not rows:
        return []
    lines = ["## Written by hand", "", "| what breaks | where | caught by |", "|---|---|---|"]
    for each in rows:
        by = f"`{_short(each.by)}`" if each.by else "a hang" if each.hung else "**nothing**"
        lines.append(f"| {each.mutant.promise} | {_where(each)} | {by} |")
    return [*lines, ""]


def _section(title: str, rows: Sequence[Ran], message: Callable[[Ran], str]) -> list[str]:
    if not rows:
        return []
    lines = [f"## {title}", "", "| where | was | became | |", "|---|---|---|---|"]
    lines += [
        (
            f"| {_where(each)} | {_code(each.mutant.old)} | {_code(each.mutant.new)} |"
            f" {message(each)} |"
        )
        for each in rows
    ]
    return [*lines, ""]


def _where(ran: Ran) -> str:
    file = ran.mutant.file.partition("/")[2]
    return f"`{file}`" + (f", `{ran.mutant.function}`" if ran.mutant.function else "")


def _code(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|").replace("`", "'")
    return f"`{flat if len(flat) <= _TEXT_MAX else flat[:_TEXT_MAX].rpartition(' ')[0] + ' …'}`"


def _short(test: str) -> str:
    return test.rpartition("::")[2] or test


def seen_now(root: Path) -> str:
    """Day, commit and machine."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") + (
        " and changes" if git("status", "--porcelain") else ""
    )
    machine = f"{platform.system()} {platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}, {commit}; {machine}, Python {platform.python_version()}"
