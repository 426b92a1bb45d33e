"""Whether a site is fit for a campaign.

Pure: what was asked and answered goes in, lines of green, yellow and red come out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.data_models.finding import Colour, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that was asked of a site. None: it could not be, and the findings before say why."""

    way: str
    trouble: str = ""  # of the connection; nothing else was asked then
    is_local: bool = False
    sessions: tuple[int, int] | None = (
        None  # that sshd allows at a time, and that a daemon would open
    )
    command_s: float | None = None  # from asking to the end of one that does nothing
    clock_skew_s: float | None = None
    file_system: str = ""
    free_bytes: int | None = None
    free_inodes: int | None = None
    quota: str = ""
    steps: str = ""  # what the root could not do; empty: all of it
    open_to: tuple[str, bool] | None = (
        None  # who else may write there, and whether a start is refused
    )
    local_jobs_compile: bool | None = (
        None  # whether local jobs may run memory that they have written
    )
    queue: tuple[Finding, ...] = ()  # what the scheduler has found
    wrong: tuple[str, ...] = ()  # of the files that the site file names, and of sizes
    notes: tuple[str, ...] = ()
    # what each code showed, and a remedy of its own; else it is by name, below
    examined: Mapping[str, tuple[Examined, str]] = field(default_factory=dict)


_SKEW_MAX_S = 5.0
#: Three round trips and a shell that reads nothing of note take less, wherever the site is.
_COMMAND_MAX_S = 1.5
_GIB = 2**30
_FREE_LOW, _FREE_OUT = 10 * _GIB, _GIB
_INODES_LOW, _INODES_OUT = 20_000, 1_000
#: Where inotify does not see what other hosts write.
_BLIND = (
    "nfs",
    "lustre",
    "gpfs",
    "fuse",
    "cifs",
    "smb",
    "ceph",
    "beegfs",
    "afs",
    "panfs",
    "gfs",
    "ocfs",
)
_REMEDIES = {
    "python": (
        "set site.python to one that has them; `pip install 'mlip-autopipec[demo]'` brings all"
        " there"
    ),
    "gamma": (
        "python-ace does not work as it must in site.python: install the version in constraints.txt"
    ),
    "teacher": (
        "mend generation.teacher (calculator, arguments, python), or leave it out: structures are"
        " then rattled"
    ),
}


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Every finding, in the order in which one would mend them."""
    return tuple(_findings(facts))


def _findings(facts: Facts) -> Iterator[Finding]:
    for message in facts.wrong:
        yield Finding(
            about="site file",
            colour=Colour.RED,
            seen=message,
            remedy="mend it before anything is submitted",
        )
    if facts.notes and not facts.wrong:
        yield Finding(about="site file", colour=Colour.GREEN, seen="; ".join(facts.notes))
    if facts.trouble:
        yield Finding(
            about="connection", colour=Colour.RED, seen=facts.trouble, remedy="mend the login first"
        )
        return
    yield Finding(about="connection", colour=Colour.GREEN, seen=facts.way)
    yield from _sessions(facts)
    yield from _commands(facts)
    yield from _clock(facts)
    yield from _root(facts)
    yield from _others(facts)
    if facts.local_jobs_compile is not None:
        yield _local_jobs(may=facts.local_jobs_compile)
    yield from facts.queue
    for name, (seen, remedy) in facts.examined.items():
        colour = Colour.GREEN if seen.fit else Colour.RED if seen.sure else Colour.YELLOW
        yield Finding(
            about=name,
            colour=colour,
            seen=seen.message,
            remedy="" if seen.fit else remedy or _REMEDIES[name],
        )


def _sessions(facts: Facts) -> Iterator[Finding]:
    if facts.sessions is None:
        return
    allowed, wanted = facts.sessions
    if allowed == wanted:
        yield Finding(
            about="sessions", colour=Colour.GREEN, seen=f"{wanted} at a time on one connection"
        )
        return
    seen = f"sshd allows {allowed} at a time on one connection (MaxSessions); {wanted} were tried"
    remedy = "calls take turns" + (
        "; the outbox is listed each second, not watched" if allowed == 1 else ""
    )
    yield Finding(about="sessions", colour=Colour.YELLOW, seen=seen, remedy=remedy)


def _commands(facts: Facts) -> Iterator[Finding]:
    """A daemon gives several commands for each batch, and one every few seconds to watch."""
    if facts.command_s is None:
        return
    slow = facts.command_s > _COMMAND_MAX_S
    yield Finding(
        about="commands",
        colour=Colour.YELLOW if slow else Colour.GREEN,
        seen=f"one that does nothing takes {facts.command_s:.1f} s",
        remedy="every command waits so long: let what the shell reads at a login (~/.bashrc,"
        " ~/.ssh/rc, site.transport.prologue) end at once where no terminal is asked for"
        if slow
        else "",
    )


def _clock(facts: Facts) -> Iterator[Finding]:
    skew_s = facts.clock_skew_s
    if skew_s is None:
        return
    seen = f"{abs(skew_s):.1f} s {'ahead' if skew_s > 0 else 'behind'}"
    if abs(skew_s) <= _SKEW_MAX_S:
        yield Finding(about="clock", colour=Colour.GREEN, seen=seen)
    else:
        remedy = "times in journal and outcomes will not agree; have both clocks set by NTP"
        yield Finding(about="clock", colour=Colour.YELLOW, seen=seen, remedy=remedy)


def _root(facts: Facts) -> Iterator[Finding]:
    if facts.steps:
        remedy = (
            "site.root must be on a file system with atomic mkdir, rename and links, and be yours"
            " to write"
        )
        yield Finding(about="root", colour=Colour.RED, seen=facts.steps, remedy=remedy)
        return
    yield Finding(
        about="root",
        colour=Colour.GREEN,
        seen="written, renamed, linked; mkdir and links are made once",
    )
    blind = facts.is_local and facts.file_system.lower().startswith(_BLIND)
    yield Finding(
        about="file system",
        colour=Colour.YELLOW if blind else Colour.GREEN,
        seen=facts.file_system,
        remedy="inotify may be blind to other hosts: ends are seen every 2 s, by listing"
        if blind
        else "",
    )
    yield from _room(
        "space",
        facts.free_bytes,
        (_FREE_LOW, _FREE_OUT),
        lambda free: f"{free / _GIB:.1f} GiB free",
    )
    yield from _room(
        "inodes", facts.free_inodes, (_INODES_LOW, _INODES_OUT), lambda free: f"{free} free"
    )
    if "*" in facts.quota:
        remedy = "make room: a full quota stops every job"
        yield Finding(
            about="quota", colour=Colour.YELLOW, seen=" ".join(facts.quota.split()), remedy=remedy
        )


def _others(facts: Facts) -> Iterator[Finding]:
    """Whoever may write where the program of the jobs lies, runs as the user."""
    if facts.open_to is None:
        return
    seen, refused = facts.open_to
    if not seen:
        yield Finding(
            about="others", colour=Colour.GREEN, seen="nobody else may write under site.root"
        )
        return
    remedy = (
        "a daemon would not start"
        if refused
        else "jobs run and read what lies there: close it if it is not meant"
    )
    yield Finding(
        about="others", colour=Colour.RED if refused else Colour.YELLOW, seen=seen, remedy=remedy
    )


def _local_jobs(*, may: bool) -> Finding:
    """Local jobs inherit what confines the daemon; this process stands for it."""
    if may:
        seen = (
            "may run memory that they have written (numba, JAX); of the hardened unit with"
            " local-jobs.conf alone"
        )
        return Finding(about="local jobs", colour=Colour.GREEN, seen=seen)
    return Finding(
        about="local jobs",
        colour=Colour.YELLOW,
        seen=(
            "may not run memory that they have written (MemoryDenyWriteExecute): numba and JAX die"
            " there"
        ),
        remedy="put systemd/local-jobs.conf into the unit's drop-in folder",
    )


def _room(
    about: str, free: int | None, bounds: tuple[int, int], describe: Callable[[int], str]
) -> Iterator[Finding]:
    """Some file systems count no inodes, and say that there are none at all."""
    if not free:
        return
    low, out = bounds
    colour = Colour.RED if free < out else Colour.YELLOW if free < low else Colour.GREEN
    remedy = "" if colour is Colour.GREEN else "a campaign leaves a folder for each task: make room"
    yield Finding(about=about, colour=colour, seen=describe(free), remedy=remedy)


def render(findings: Sequence[Finding]) -> Iterator[str]:
    """Lines for a terminal."""
    width = max((len(finding.about) for finding in findings), default=0)
    for finding in findings:
        yield f"{finding.colour:<6}  {finding.about:<{width}}  {finding.seen}"
        if finding.remedy:
            yield f"{'':<6}  {'':<{width}}  → {finding.remedy}"
