"""Hostile files rain on a running campaign's root, outbox, tasks and queue; it must converge.

Whoever rains may make new names and change nothing that is there. Most names are anybody's; some
are those that the program itself will want next, so that it must wait, say it, or go round it. A
person reads what the daemon says of a name that is taken, and moves that away.
"""

import contextlib
import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kit.daemons import Campaign, assert_labels_once, assert_replays
from soak_table import Row, Tell

from mlip_autopipec.daemon.service import VERDICT_EXIT_CODES
from mlip_autopipec.data_models import events as ev

#: Between two drops; and how long a daemon that is asked to end may take, and a campaign in all.
_EVERY_S, _END_S, _PATIENCE_S = 0.05, 120.0, 2400.0
_GUESSES = 0.03  # this part of all names is wanted by the program itself
_GROWING_MAX, _GROWN_BYTES_MAX = 8, 2**20
_PERSON_EVERY_S = 2.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NAMES = (
    "new\nline", (
        "tab\tand\rreturn"
    ), (
        "\x1b]0;owned\x07"
    ), (
        "\x1b[2J"
    ), (
        "[/]"
    ), (
        "[bold red]"
    ), (
        "--option=x"
    ), (
        "-rf"
    ), (
        "$(id)"
    ),
    "`id`", (
        "a"
    ) * 250, (
        "semi;colon&"
    ), (
        "star*?[a]"
    ), (
        "quote'\""
    ), (
        "back\\slash"
    ), (
        "Zürich-原子"
    ), (
        "\udcff\udcfe"
    ), (
        ".hidden"
    ),
    " ", "%s%n", "9" * 200, "outcome.json", "\u202egnp.exe",
)  # fmt: skip


@dataclass
class Rain:
    """What falls on one campaign."""

    campaign: Campaign
    rng: random.Random
    fallen: Counter[str] = field(default_factory=Counter)
    #: Names that are anybody's: nobody may touch them. And those that the program wants.
    strange: list[Path] = field(default_factory=list)
    wanted: list[Path] = field(default_factory=list)
    moved: int = 0
    resumed: int = 0
    _growing: list[Path] = field(default_factory=list)

    def drop(self) -> None:
        """One more, if the name is free."""
        guess = self.rng.random() < _GUESSES
        path = self._guess() if guess else self._anywhere()
        kind = self.rng.choice(list(_KINDS))
        if path is None or os.path.lexists(path):
            return
        try:
            _KINDS[kind](self, path)
        # of a folder that has gone, a name that is too long, or that is taken since
        except OSError as error:
            if error.errno not in {
                errno.ENOENT,
                errno.EEXIST,
                errno.ENAMETOOLONG,
                errno.ENOTDIR,
                errno.EADDRINUSE,
            }:
                raise
            return
        self.fallen[kind] += 1
        (self.wanted if guess else self.strange).append(path)
        for each in self._growing[-_GROWING_MAX:]:
            if each.lstat().st_size < _GROWN_BYTES_MAX:
                with each.open("ab") as stream:
                    stream.write(b'{"more": ' * 1000)

    def mend(self, seen: int) -> int:
        """Move away what the daemon says is in its way, and resume, as a person does.

        Returns the number of events read.
        """
        events = self.campaign.events()
        for event in events[seen:]:
            if isinstance(event, ev.EffectDeferred):
                for path in [
                    each
                    for each in self.wanted
                    if each.name in event.message and os.path.lexists(each)
                ]:
                    path.rename(self.campaign.config.parent / f"moved-{self.moved}")
                    self.moved += 1
        pauses = [event for event in events if isinstance(event, ev.Paused | ev.Resumed)]
        if pauses and isinstance(pauses[-1], ev.Paused):
            self.resumed += self.campaign.ctl("resume").returncode == 0
        return len(events)

    def grow(self, path: Path) -> None:
        """A file to which more is written with each drop."""
        _new(path, b"{")
        self._growing.append(path)

    def outcome(self, **changes: object) -> bytes:
        """One of the campaign's own, if there is any yet, with something else in it."""
        there = [
            path
            for path in self._outcomes()
            if path not in self.strange and path not in self.wanted
        ]
        content = json.loads(self.rng.choice(there).read_bytes()) if there else {"version": 1}
        return json.dumps({**content, **changes}).encode()

    def _outcomes(self) -> list[Path]:
        return sorted(
            path for path in (self.campaign.root / "outbox").glob("*.json") if path.is_file()
        )

    def _anywhere(self) -> Path | None:
        folders = [*self._folders()]
        name = self.rng.choice(_NAMES)[: self.rng.choice((255, 12))]
        return self.rng.choice(folders) / f"{name}{self.rng.randrange(10**6)}" if folders else None

    def _folders(self) -> Iterator[Path]:
        """Of its root, where a neighbour may make names; the outbox and queue come more often."""
        root = self.campaign.root
        tasks = [*root.glob("cycles/*/*/*/")]
        queue = [*root.glob(".ap/submit/*.b[0-9][0-9]/")]
        yield from [
            root,
            root / "outbox",
            root / "outbox",
            root / ".ap" / "submit",
            root / "dataset",
            root / "potentials",
        ]
        yield from self.rng.sample(tasks, min(len(tasks), 2))
        yield from self.rng.sample(queue, min(len(queue), 2))

    def _guess(self) -> Path | None:
        """A name that the program will want."""
        root = self.campaign.root
        job_names = [path.name for path in root.glob(".ap/submit/*.b[0-9][0-9]/")]
        tasks = [*root.glob("cycles/*/*/*/")]
        if not job_names or not tasks:
            return None
        job_name, task, index = (
            max(job_names, key=_age(root)),
            self.rng.choice(tasks),
            self.rng.randrange(4),
        )
        batch, _, number = job_name.rpartition(".b")
        later = f"{batch}.b{int(number) + self.rng.choice((0, 1, 1)):02d}"
        queue = root / ".ap" / "submit" / later
        return self.rng.choice((
            root / "outbox" / f"{later}.{index}.json",
            task / f"claim.{later}",
            task / "progress.json",
            task / f"job-{later}.out",
            task / f"run-{self.rng.choice((1, 2, 3, 10**9, 10**200))}",
            queue,
            *(queue / f"runner.{suffix}" for suffix in ("json", "lock", "log")),
            *(queue / name for name in ("batch.json", "intent.json", "0.running")),
            root / "potentials" / f"{self.rng.randrange(6):03d}",
            root / "dataset" / f"{self.rng.randrange(6):03d}.extxyz",
        ))  # fmt: skip


def _age(root: Path) -> Callable[[str], float]:
    return lambda job_name: (root / ".ap" / "submit" / job_name).lstat().st_ctime


def _new(path: Path, content: bytes, mode: int = 0o644) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:  # noqa: PTH123 - a descriptor
        stream.write(content)


def _huge(_: Rain, path: Path) -> None:
    _new(path, b"{")
    os.truncate(path, 2**30)


def _socket(_: Rain, path: Path) -> None:
    """Bound beside, and renamed: the name of a socket may not be long."""
    beside = path.with_name(f".s{os.getpid()}")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            listener.bind(f"/proc/self/fd/{folder}/{beside.name}")
        finally:
            os.close(folder)
    if os.path.lexists(path):
        beside.unlink()
        return
    beside.rename(path)


def _folder(rain: Rain, path: Path, mode: int = 0o755) -> None:
    path.mkdir()
    if mode == 0o755:
        _new(path / rain.rng.choice(_NAMES[:9]), b"inside")
    path.chmod(mode)


_KINDS: Mapping[str, Callable[[Rain, Path], None]] = {
    "pipe": lambda _, path: os.mkfifo(path),
    "socket": _socket,
    "folder": _folder,
    "folder without rights": lambda rain, path: _folder(rain, path, 0),
    "dangling link": lambda _, path: path.symlink_to("nowhere"),
    "looping link": lambda _, path: path.symlink_to(path.name),
    "link to a device": lambda _, path: path.symlink_to("/dev/zero"),
    "link to a file": lambda _, path: path.symlink_to("/etc/passwd"),
    # Nothing is written there by it.
    "link to a folder": lambda _, path: path.symlink_to("/tmp"),  # noqa: S108
    "huge file": _huge,
    "file without rights": lambda _, path: _new(path, b"{}", 0),
    "empty file": lambda _, path: _new(path, b""),
    "half JSON": lambda rain, path: _new(path, (whole := rain.outcome())[: len(whole) // 2]),
    "lone surrogate": lambda rain, path: _new(path, rain.outcome(message="\ud800", host="\udfff")),
    (
        "absurd numbers"
    ): lambda rain, path: _new(path, rain.outcome(wall_s=1e308, metrics={(
        "n_atoms"
    ): 10**400})),
    "no number": lambda rain, path: _new(path, rain.outcome(cpu_s=float("nan"))),
    (
        "another campaign's outcome"
    ): lambda rain, path: _new(path, rain.outcome(campaign=(
        "other-0a1b2c"
    ))),
    "deep JSON": lambda _, path: _new(path, b"[" * 100_000),
    (
        "words for a terminal"
    ): lambda rain, path: _new(path, rain.outcome(message=(
        "\x1b[2J[/]\x07"
    ), reason=(
        "\x1b"
    ))),
    "no text": lambda rain, path: _new(path, rain.rng.randbytes(4096)),
    "growing file": Rain.grow,
}  # fmt: skip


def soak_hostile(
    number: int,
    seed: int,
    tell: Tell,
    campaign_in: Callable[[Row], contextlib.AbstractContextManager[Campaign]],
) -> Row:
    """Campaigns one after another, until so many files fell; each is judged at its verdict."""
    rng, row = random.Random(seed), Row("hostile files on running campaigns")  # noqa: S311 - files, not secrets
    began_s, counted = time.monotonic(), Counter[str]()
    while row.faults.total() < number:
        with campaign_in(row) as campaign:
            rain = Rain(campaign, rng)
            code = _run(rain, number - row.faults.total(), row, tell)
            row.faults += rain.fallen
            row.runs += 1
            counted["names of ours taken"] += len(rain.wanted)
            counted["names moved away"] += rain.moved
            counted["pauses resumed"] += rain.resumed
            _judge(rain, code, row, counted)
    row.took_s = time.monotonic() - began_s
    row.counted = ", ".join(f"{times} {what}" for what, times in counted.items())
    return row


def _run(rain: Rain, number: int, row: Row, tell: Tell) -> int | None:
    """Daemons until the verdict, the first of which is asked to end amid the rain.

    Returns how the last one ended.
    """
    campaign, fallen = rain.campaign, row.faults.total()
    daemon = campaign.start("--exit-on-verdict")
    try:
        until_s, person_s, seen, asked = time.monotonic() + _PATIENCE_S, 0.0, 0, False
        while daemon.poll() is None and time.monotonic() < until_s:
            time.sleep(_EVERY_S)
            falls = rain.fallen.total()
            if falls < number and (campaign.root / "outbox").is_dir():
                rain.drop()
            if not asked and falls >= min(number // 2, 500):
                asked = True
                daemon = _again(campaign, daemon, row)
            if time.monotonic() >= person_s:
                person_s, seen = time.monotonic() + _PERSON_EVERY_S, rain.mend(seen)
            tell(f"{fallen + falls} hostile files, campaign {row.runs + 1}")
        return daemon.poll()
    finally:
        daemon.kill()
        daemon.wait()


def _again(
    campaign: Campaign, daemon: "subprocess.Popen[str]", row: Row
) -> "subprocess.Popen[str]":
    """SIGTERM is heard in time, and the next daemon goes on."""
    daemon.send_signal(signal.SIGTERM)
    try:
        code = daemon.wait(timeout=_END_S)
        if code not in {75, *VERDICT_EXIT_CODES.values()}:
            row.complain(f"asked to end, the daemon ended with {code}: {campaign.output()[-500:]}")
    except subprocess.TimeoutExpired:
        row.complain(f"asked to end, the daemon did not within {_END_S:g} s")
        daemon.kill()
        daemon.wait()
    return campaign.start("--exit-on-verdict")


def _judge(rain: Rain, code: int | None, row: Row, counted: Counter[str]) -> None:
    """A campaign that has come to its end under the rain."""
    campaign, where = rain.campaign, rain.campaign.config.parent
    if code not in VERDICT_EXIT_CODES.values():
        row.complain(f"{where}: the daemon ended with {code}: {campaign.output()[-800:]}")
        return
    row.verdicts += 1
    events = campaign.events()
    verdict = next(event for event in reversed(events) if isinstance(event, ev.VerdictReached))
    counted[f"{verdict.verdict}"] += 1
    if verdict.verdict == "failed":
        row.complain(f"{where}: {verdict.reason}")
    try:
        assert_labels_once(events, _datasets(campaign, events))
        assert_replays(campaign)
    except AssertionError as error:
        row.complain(f"{where}: {error}")
    for message in (*_lost(events), *_changed(campaign, events), *_touched(rain), *_said(campaign)):
        row.complain(f"{where}: {message}")
    planned = {
        task.id for event in events if isinstance(event, ev.PhaseStarted) for task in event.tasks
    }
    over = [event.outcome.task for event in events if isinstance(event, ev.TaskEnded)]
    row.doubled += len(over) - len(set(over))
    row.lost += len(
        planned
        - set(over)
        - {event.task for event in events if isinstance(event, ev.TaskQuarantined)}
    )
    counted["attempts lost"] += sum(isinstance(event, ev.AttemptLost) for event in events)


def _datasets(campaign: Campaign, events: list[ev.Event]) -> list[str]:
    """Those that the journal knows: there are others' names beside them."""
    ends = [event.outcome for event in events if isinstance(event, ev.TaskEnded)]
    files = [file.path for end in ends for name, file in end.artefacts.items() if name == "dataset"]
    return [(campaign.root / path).read_text() for path in files]


def _lost(events: list[ev.Event]) -> Iterator[str]:
    """Nothing of the rain is taken for an outcome."""
    for event in events:
        if isinstance(event, ev.TaskEnded) and event.outcome.campaign.startswith("other"):
            yield f"{event.outcome.task} was ended by another campaign's outcome"


def _changed(campaign: Campaign, events: list[ev.Event]) -> Iterator[str]:
    """Files that the journal knows are as it knows them."""
    for event in events:
        if isinstance(event, ev.TaskEnded):
            for file in event.outcome.artefacts.values():
                if (
                    hashlib.sha256((campaign.root / file.path).read_bytes()).hexdigest()
                    != file.sha256
                ):
                    yield f"{file.path} is not what the outcome of {event.outcome.task} says"


def _touched(rain: Rain) -> Iterator[str]:
    """Names of others are left alone."""
    gone = [path for path in rain.strange if not os.path.lexists(path)]
    if gone:
        yield f"{len(gone)} files of others are gone, as {gone[0]!r}"


def _said(campaign: Campaign) -> Iterator[str]:
    """No daemon and no runner ended by an error that nobody expects; people read words alone."""
    root = campaign.root
    logs = [
        path
        for path in root.glob(".ap/submit/*/runner*.log")
        if path.is_file() and not path.is_symlink()
    ]
    for name, text in (
        ("the daemon", campaign.output()),
        *(
            (str(path), path.read_text(errors="replace"))
            for path in logs
            if path.lstat().st_size < _GROWN_BYTES_MAX
        ),
    ):
        if "Traceback" in text:
            yield f"{name} said: {text[text.index('Traceback') :][-1500:]}"
    for message in (("status",), ("events",), ("explain",)):
        done = campaign.ctl(*message)
        if done.returncode or "Traceback" in done.stderr:
            yield f"{message} ended with {done.returncode}: {done.stderr[-500:]}"
        if found := _CONTROL.search(done.stdout):
            yield f"{message} wrote {found[0]!r} to the terminal"


@contextlib.contextmanager
def real_campaign(row: Row) -> Iterator[Campaign]:
    """The small campaign of EMT with the codes of the demo.

    Its folder is removed if nothing is found there.
    """
    folder = Path(tempfile.mkdtemp(prefix="soak-hostile-"))
    yield Campaign.small(folder)
    if not row.complaints:
        shutil.rmtree(folder)
