"""Real faults on a real cluster: a campaign behind a line one can cut, and all that may go wrong.

    PYTHONPATH=tests python -m kit.lab_faults --rounds N [--seed S] [--folder F]

lets N random faults strike, one after another, at random moments of as many campaigns as that
takes, and judges each campaign at its end; the exit code is 1 when one did not come out as it
should. The tests let chosen ones strike.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from kit.lab import LAB, running_lab
from kit.lab_aluminium import WRITTEN_LAB, aluminium_site
from kit.processes import descendants
from kit.slurm_lab import Lab, Record, process_of
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.journal.snapshot import load_state

T = TypeVar("T")
AUTOPIPECD = Path(sys.executable).with_name("autopipecd")
Change = tuple[str, str]
#: Any step of a fault; jobs begin on a tick of a second, on two cores that others use too.
PATIENCE_S = 120.0
_LOOK_EVERY_S = 0.1
#: How long a line is cut: beyond what keepalives and TCP bear. How long a controller stands still:
#: twice its patience.
CUT_S = 120.0
FROZEN_S = 20.0


class Missed(Exception):  # noqa: N818 - no error: the campaign came to its end before the moment did
    """The moment for a fault did not come."""


# --- the line between daemon and cluster ----------------------------------------------------------


class Line:
    """A network namespace for the daemon.

    At the other end of its cable is an sshd that leads into the cluster.
    """

    def __init__(self, lab: Mapping[str, str], folder: Path) -> None:
        number = os.getpid() % 16384
        self._name = f"ap{number}"
        self._net = f"10.231.{number // 64}.{number % 64 * 4}"
        self.host = _address(self._net, 1)
        self.port = int(lab["AUTOPIPEC_LAB_SSH_PORT"])
        self.known_hosts = folder / "known_hosts"
        key = Path(lab["AUTOPIPEC_LAB_KNOWN_HOSTS"]).read_text(encoding="utf-8").partition(" ")[2]
        self.known_hosts.write_text(f"[{self.host}]:{self.port} {key}", encoding="utf-8")
        self._config = Path(lab["AUTOPIPEC_LAB"]) / "ssh" / "sshd_config"
        self._log = folder / "sshd.log"
        self._sshd: subprocess.Popen[bytes] | None = None

    def inside(self, *command: str | Path) -> list[str | Path]:
        """The command, to be run at the daemon's end."""
        return ["ip", "netns", "exec", self._name, *command]

    @contextmanager
    def laid(self) -> Iterator[None]:
        """Lay the cable, start the sshd, and take both away again."""
        near, far = f"{self._name}a", f"{self._name}b"
        _ip("netns", "add", self._name)
        try:
            _ip("link", "add", far, "type", "veth", "peer", "name", near, "netns", self._name)
            _ip("addr", "add", f"{self.host}/30", "dev", far)
            _ip("link", "set", far, "up")
            _ip("-n", self._name, "addr", "add", f"{_address(self._net, 2)}/30", "dev", near)
            _ip("-n", self._name, "link", "set", near, "up")
            self.start_sshd()
            yield
        finally:
            self.kill_sshd()
            _ip("netns", "del", self._name)  # and with it the cable

    def cut(self) -> None:
        """From now on nothing comes through; nobody is told."""
        _ip("link", "set", f"{self._name}b", "down")

    def mend(self) -> None:
        """The address stays with the interface."""
        _ip("link", "set", f"{self._name}b", "up")

    def start_sshd(self) -> None:
        """Start an sshd of its own, set up as the lab's is."""
        where = [f"ListenAddress={self.host}:{self.port}", "PidFile=none"]
        options = [word for line in where for word in ("-o", line)]
        with self._log.open("ab") as log:
            self._sshd = subprocess.Popen(
                [
                    shutil.which("sshd") or "/usr/sbin/sshd",
                    "-D",
                    "-e",
                    "-f",
                    self._config,
                    *options,
                ],
                stderr=log,
            )

    def kill_sshd(self) -> None:
        """The sshd and every connection through it: as when a login node goes down."""
        if self._sshd is None:
            return
        pids = [self._sshd.pid, *descendants(self._sshd.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._sshd.wait()
        self._sshd = None


def _address(net: str, number: int) -> str:
    head, _, last = net.rpartition(".")
    return f"{head}.{int(last) + number}"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=20)


# --- a campaign to be struck ----------------------------------------------------------------------


@dataclass(frozen=True)
class Element:
    """One task that squeue shows: an array element, or a job alone."""

    name: str  # as Slurm's commands take it
    index: int
    own_id: str
    node: str
    state: str
    job_name: str

    @property
    def phase(self) -> str:
        """As the job's name says."""
        return self.job_name.split(".")[2]


@dataclass
class Struck:
    """One campaign on the lab, its daemon at the far end of the line."""

    lab: Lab
    line: Line
    config: Path
    folder: Path
    root: Path
    told: list[str] = field(default_factory=list)
    met: set[str] = field(default_factory=set)
    _daemon: "subprocess.Popen[bytes] | None" = None

    # --- its daemon

    def start(self) -> None:
        """Start the daemon; it resumes if there is a journal."""
        command = self.line.inside(AUTOPIPECD, "--config", self.config, "--exit-on-verdict")
        with (self.config.parent / "daemon.out").open("ab") as output:
            self._daemon = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        """Kill -9."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    def finish(self, patience_s: float = 600.0) -> int:
        """Wait for the verdict; the daemon's exit code."""
        assert self._daemon is not None
        return self._daemon.wait(timeout=patience_s)

    @property
    def over(self) -> bool:
        """Whether the daemon has ended."""
        return self._daemon is None or self._daemon.poll() is not None

    def output(self) -> str:
        """What all its daemons have printed."""
        return (self.config.parent / "daemon.out").read_text(encoding="utf-8")

    # --- what is known of it

    def events(self) -> list[ev.Event]:
        """The journal so far."""
        return [record.event for record in read(self.folder / "journal")]

    def campaign(self) -> str:
        """Its name with the random end; every job's name begins with it."""
        created = self.until(
            lambda: next((e for e in self.events() if isinstance(e, ev.CampaignCreated)), None)
        )
        return created.campaign

    def in_submission(self) -> str | None:
        """The batch that sbatch hands over now, and about which there is no answer yet."""
        begun: str | None = None
        for event in self.events():
            match event:
                case ev.SubmissionBegun():
                    begun = event.job_name
                case (
                    ev.SubmissionAccepted()
                    | ev.SubmissionRejected()
                    | ev.SubmissionUnclear()
                    | ev.SubmissionVoided()
                ):
                    begun = None if event.job_name == begun else begun
                case _:
                    pass
        return begun if begun is not None and _sbatch_of(self.root, begun) else None

    def elements(self) -> list[Element]:
        """What squeue shows of it now that has not ended."""
        prefix = f"{self.campaign()}."
        try:
            shown = self.lab.run("squeue", "-h", "-r", "-o", "%F|%K|%A|%N|%T|%j")
        # a controller that has just begun does not answer yet
        except subprocess.CalledProcessError:
            return []
        rows = [line.split("|") for line in shown.splitlines()]
        return [
            Element(
                own if at == "N/A" else f"{array}_{at}",
                0 if at == "N/A" else int(at),
                own,
                node,
                state,
                name,
            )
            for array, at, own, node, state, name in rows
            if name.startswith(prefix)
        ]

    def running(self, *phases: Phase) -> Element:
        """Wait for a task that has begun its work, and that no fault has met."""
        found = self.until(
            lambda: next((each for each in self.elements() if self._works(each, phases)), None)
        )
        self.met.add(found.name)
        return found

    def _works(self, element: Element, phases: tuple[Phase, ...]) -> bool:
        wanted = (not phases or element.phase in phases) and element.name not in self.met
        return wanted and element.state == "RUNNING" and bool(self.processes(element))

    def processes(self, element: Element) -> list[int]:
        """The task's process and all that it has started."""
        pid = process_of(element.job_name, element.index)
        return [] if pid is None else [pid, *descendants(pid)]

    def code(self, element: Element, phases: tuple[Phase, ...]) -> list[int]:
        """What a running task of these phases has started."""
        wanted = not phases or element.phase in phases
        return self.processes(element)[1:] if wanted and element.state == "RUNNING" else []

    def until(self, look: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
        """Look until there is something. Raises Missed if the campaign ends before."""
        until = time.monotonic() + patience_s
        while (found := look()) is None:
            if self.over:
                raise Missed("the campaign was over first")
            if time.monotonic() > until:
                raise Missed(f"not within {patience_s:g} s")
            time.sleep(_LOOK_EVERY_S)
        return found

    def tell(self, message: str) -> None:
        """Keep and show what is done to it."""
        self.told.append(message)
        print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


# --- faults: each waits for its moment, strikes, and mends what no site would leave broken --------

Fault = Callable[[Struck], None]


def scancel(struck: Struck, *phases: Phase) -> None:
    """A person ends a running task."""
    element = struck.running(*phases)
    # it has just ended
    while subprocess.run(["scancel", element.name], check=False, timeout=60).returncode != 0:
        element = struck.running(*phases)
    struck.tell(f"scancel of {element.name} ({element.job_name})")


def requeue(struck: Struck, *phases: Phase) -> None:
    """A person, or a maintenance, sends a running task back to the queue."""
    element = struck.running(*phases)
    # it may have ended this moment
    subprocess.run(["scontrol", "requeue", element.name], check=False, timeout=60)
    struck.tell(f"requeue of {element.name} ({element.job_name})")


def kill_slurmd(struck: Struck, *phases: Phase) -> None:
    """The daemon of a node dies under a running task, which goes on; it is started again."""
    element = struck.running(*phases)
    _end(struck.lab.pid(element.node))
    struck.tell(f"slurmd of {element.node} killed under {element.name} ({element.job_name})")
    time.sleep(2)
    bring_up()


def lose_node(struck: Struck, *phases: Phase) -> None:
    """A node goes down with a task and comes back.

    Other tasks on it may live on, unknown to the controller.
    """
    element = struck.running(*phases)
    _end(struck.lab.pid(element.node), *_steps(element), *struck.processes(element))
    struck.lab.run("scontrol", "update", f"NodeName={element.node}", "State=DOWN", "Reason=lost")
    struck.tell(f"{element.node} lost with {element.name} ({element.job_name})")
    bring_up()


def hang(struck: Struck, *phases: Phase) -> None:
    """The code of a task hangs, and its walltime is over soon."""
    element = struck.until(
        lambda: next((each for each in struck.elements() if _stopped(struck, each, phases)), None)
    )
    struck.met.add(element.name)
    struck.lab.run("scontrol", "update", f"JobId={element.name}", "TimeLimit=1")
    struck.tell(f"{element.name} ({element.job_name}) hangs")


def _stopped(struck: Struck, element: Element, phases: tuple[Phase, ...]) -> bool:
    """Stop what a task has started; False if there was nothing, or it has just ended."""
    pids = struck.code(element, phases)
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    return bool(pids)


def freeze_controller(struck: Struck) -> None:
    """The controller stands still amid an sbatch, and for twice as long as a client waits."""
    with _sbatch_in_vain(struck) as job_name:
        struck.tell(f"slurmctld stands still for {FROZEN_S:g} s in the middle of {job_name}")
        time.sleep(FROZEN_S)


def kill_daemon_in_submission(struck: Struck) -> None:
    """Kill -9 between the intent to submit and the answer of sbatch."""
    with _sbatch_in_vain(struck) as job_name:
        struck.kill()
        struck.tell(f"daemon killed before sbatch's answer about {job_name}")
    struck.start()


def kill_daemon(struck: Struck) -> None:
    """Kill -9 at any moment."""
    struck.kill()
    struck.tell("daemon killed")
    struck.start()


def restart_controller(struck: Struck, *phases: Phase) -> None:
    """The controller dies under a running task and comes back with what it had saved."""
    element = struck.running(*phases)
    _end(struck.lab.pid("slurmctld"), number=signal.SIGTERM)
    struck.tell(f"slurmctld ended under {element.name} ({element.job_name})")
    time.sleep(3)
    bring_up()


def restart_sshd(struck: Struck) -> None:
    """The login node goes down and comes back."""
    struck.line.kill_sshd()
    struck.tell("sshd killed")
    time.sleep(5)
    struck.line.start_sshd()


def cut_line(struck: Struck, cut_s: float = CUT_S) -> None:
    """The network is gone; both ends learn of it by silence only."""
    struck.line.cut()
    struck.tell(f"line cut for {cut_s:g} s")
    try:
        time.sleep(cut_s)
    finally:
        struck.line.mend()


@contextmanager
def _sbatch_in_vain(struck: Struck) -> Iterator[str]:
    """Let slurmctld stand still from before a submission.

    Within, sbatch and the daemon wait for an answer.
    """
    while True:
        struck.until(lambda: _all_run(struck.elements()))
        with struck.lab.frozen_controller():
            job_name = _submission(struck)
            if job_name is not None:
                yield job_name
                return
        # There was more to come of this batch, and a controller that stands still lets nothing
        # begin.
        time.sleep(10)


def _submission(struck: Struck) -> str | None:
    """A batch whose sbatch runs and has no answer; None if there is none soon.

    Raises Missed at the campaign's end.
    """
    try:
        return struck.until(struck.in_submission, patience_s=30)
    except Missed:
        if struck.over:
            raise
        return None


def _all_run(elements: list[Element]) -> bool | None:
    return (bool(elements) and all(element.state == "RUNNING" for element in elements)) or None


def _sbatch_of(root: Path, job_name: str) -> int | None:
    """The sbatch that hands a batch over."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (process / "comm").read_text(encoding="utf-8").strip()
            if (
                name == "sbatch"
                and (process / "cwd").readlink() == root / ".ap" / "submit" / job_name
            ):
                return int(process.name)
    return None


def _steps(element: Element) -> list[int]:
    """The slurmstepd of an element."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (
                (process / "cmdline")
                .read_bytes()
                .decode()
                .startswith(f"slurmstepd: [{element.own_id}.")
            ):
                found.append(int(process.name))
    return found


def _end(*pids: int, number: signal.Signals = signal.SIGKILL) -> None:
    """End processes and wait until they are gone: what still dies counts as running."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    until = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)


def bring_up() -> None:
    """Start whatever of the lab does not run."""
    subprocess.run([LAB, "up"], check=True, capture_output=True, timeout=120)


#: In site.yaml, lets the first attempt at generation use more memory than its 1 GiB.
OVER_MEMORY: Change = (
    "scheduler: {kind: slurm, partition: main}",
    """scheduler:
    kind: slurm
    partition: main
    prologue:
      - 'case $uid in *.generation.b00)
        exec "$python" -c "import time; x = bytearray(1200 << 20); time.sleep(300)" ;; esac'""",
)

#: What may strike at any time of a campaign. A cut of random length is among them; see
#: `strike_at_random`.
FAULTS: Mapping[str, Fault] = {
    "scancel": scancel,
    "requeue": requeue,
    "code hangs": hang,
    "slurmd killed": kill_slurmd,
    "node lost": lose_node,
    "controller frozen": freeze_controller,
    "controller restarted": restart_controller,
    "sshd restarted": restart_sshd,
    "daemon killed": kill_daemon,
    "daemon killed in a submission": kill_daemon_in_submission,
}


# --- the judgement --------------------------------------------------------------------------------


@dataclass
class Count:
    """What is left of one campaign, or of several.

    These are tasks, labels and jobs, and what there is too much or too few of.
    """

    labels: int = 0
    jobs: int = 0  # that slurmctld knew, array elements each for itself
    # batches with more jobs than tasks, labels with a second place
    doubled: list[str] = field(default_factory=list)
    # tasks without their one outcome, labels that no data set holds
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # anything else

    def add(self, other: "Count") -> None:
        """Take another campaign in."""
        self.labels += other.labels
        self.jobs += other.jobs
        self.doubled += other.doubled
        self.lost += other.lost
        self.wrong += other.wrong


def judge(struck: Struck) -> None:
    """What must be true of any campaign that has converged, whatever struck it.

    Raises AssertionError.
    """
    found = counted(struck)
    assert (found.doubled, found.lost, found.wrong) == ([], [], [])


def counted(struck: Struck) -> Count:
    """Labels as the data sets have them, and jobs as slurmctld has written them down.

    They stand beside what the journal says.
    """
    events, found = struck.events(), Count()
    state = replay(struck.folder / "journal")
    found.wrong += state.check()
    if state != load_state(struck.folder / "state.json"):
        found.wrong.append("replay gives another state than the daemon left")
    count_labels(struck.root, events, found)
    count_jobs(struck.root, events, struck.lab.records(struck.campaign()), found)
    return found


def count_labels(root: Path, events: Sequence[ev.Event], found: Count) -> None:
    """Every task ended well once, and every label is in the data sets once."""
    planned = [
        task for event in events if isinstance(event, ev.PhaseStarted) for task in event.tasks
    ]
    done = Counter(
        e.outcome.task for e in events if isinstance(e, ev.TaskEnded) and e.outcome.status == "done"
    )
    asked = Counter(task.id for task in planned)
    wanted = Counter(task.id for task in planned if task.parameters.kind == "calculate")
    texts = [
        path.read_text(encoding="utf-8") for path in sorted((root / "dataset").glob("*.extxyz"))
    ]
    held = Counter(re.findall(r"\btask=(\S+)", "\n".join(texts)))
    found.labels = held.total()
    found.lost += [f"the outcome of {task}" for task in (asked - done).elements()]
    found.lost += [f"the label {task}" for task in (wanted - held).elements()]
    found.doubled += [f"the outcome of {task}" for task in (done - asked).elements()]
    found.doubled += [f"the label {task}" for task in (held - wanted).elements()]


def count_jobs(
    root: Path, events: Sequence[ev.Event], records: Sequence[Record], found: Count
) -> None:
    """Slurm ran each element of each batch once.

    Each attempt was claimed by the job that its batch is.
    """
    begun = {
        event.job_name: event.tasks for event in events if isinstance(event, ev.SubmissionBegun)
    }
    accepted = {
        event.job_name: event.job_id for event in events if isinstance(event, ev.SubmissionAccepted)
    }
    ids: dict[str, set[str]] = defaultdict(set)
    for record in records:
        ids[record.name].add(record.job_id)
    found.jobs = sum(map(len, ids.values()))
    found.doubled += [
        f"{sorted(known)} of {job_name}"
        for job_name, known in ids.items()
        if len(known) > len(begun[job_name])
    ]
    missing = sorted(job_name for job_name in accepted if len(ids[job_name]) < len(begun[job_name]))
    found.wrong += [f"slurmctld has no record of all of {job_name}" for job_name in missing]
    if len(set(accepted.values())) < len(accepted):
        found.wrong.append(f"two batches are one job: {accepted}")
    for claim in root.glob("cycles/*/*/*/claim.*/started.json"):
        job_name, job_id = (
            claim.parent.name.removeprefix("claim."),
            json.loads(claim.read_bytes())["job_id"],
        )
        if job_id not in ids[job_name]:
            found.wrong.append(
                f"job {job_id} has claimed {job_name}, which is {sorted(ids[job_name])}"
            )


# --- the whole of it ------------------------------------------------------------------------------


@contextmanager
def lab_and_line(folder: Path) -> Iterator[tuple[dict[str, str], Lab, Line]]:
    """A lab that runs, with the settings that faults want, and a line to it."""
    with running_lab() as settings, _environment("SLURM_CONF", settings["SLURM_CONF"]):
        lab, line = Lab(Path(settings["AUTOPIPEC_LAB"])), Line(settings, folder)
        # Records vanish at once; and what does not end when it is told to is killed soon.
        with lab.setting("MinJobAge=2"), lab.setting("KillWait=5"), line.laid():
            yield settings, lab, line


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def campaign_on(
    settings: Mapping[str, str], lab: Lab, line: Line, folder: Path, *changes: Change
) -> Iterator[Struck]:
    """A campaign whose daemon runs; `changes` of texts in its site file."""
    root = Path(settings["AUTOPIPEC_LAB_HOME"]) / f"struck-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    config = _site_file(settings, line, root, folder, *changes)
    struck = Struck(lab, line, config, folder / "campaign", root)
    struck.start()
    try:
        yield struck
    finally:
        struck.kill()
        _clear(struck)


def _site_file(
    settings: Mapping[str, str], line: Line, root: Path, folder: Path, *changes: Change
) -> Path:
    """The aluminium campaign, by way of the line."""
    way = {
        "kind": "ssh",
        "host": line.host,
        "port": line.port,
        "user": settings["AUTOPIPEC_LAB_USER"],
        "identity_file": settings["AUTOPIPEC_LAB_SSH_KEY"],
        "known_hosts": line.known_hosts,
    }
    message = ", ".join(f"{key}: {value}" for key, value in way.items())
    return aluminium_site(
        dict(settings),
        root,
        folder,
        (f"kind: ssh, host: lab, config_file: {WRITTEN_LAB}/ssh/config", message),
        *changes,
    )


def _clear(struck: Struck) -> None:
    """End what may still run of a campaign, and take its root away."""
    with contextlib.suppress(Missed):
        for element in struck.elements():
            subprocess.run(["scancel", "--quiet", element.name], check=False, timeout=60)
    shutil.rmtree(struck.root, ignore_errors=True)


@dataclass
class Rounds:
    """What came of random faults."""

    campaigns: int = 0
    converged: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    count: Count = field(default_factory=Count)

    @property
    def complaints(self) -> list[str]:
        """All that should not be."""
        doubled = [f"doubled: {message}" for message in self.count.doubled]
        return [*doubled, *(f"lost: {message}" for message in self.count.lost), *self.count.wrong]


def strike_at_random(
    rounds: int, chance: random.Random, folder: Path, tell: Callable[[str], None]
) -> Rounds:
    """Let so many faults strike, in as many campaigns as that takes.

    Count what each has left at its end.
    """
    found = Rounds()
    with lab_and_line(folder) as (settings, lab, line):
        while found.faults.total() < rounds:
            found.campaigns += 1
            with campaign_on(settings, lab, line, folder / f"{found.campaigns:03d}") as struck:
                while found.faults.total() < rounds and not struck.over:
                    time.sleep(chance.uniform(0, 8))
                    if name := _strike(struck, chance):
                        found.faults[name] += 1
                        tell(
                            f"{found.faults.total()} of {rounds} faults, campaign"
                            f" {found.campaigns}: {name}"
                        )
                found.converged += _ended_well(struck, found.count)
    return found


def _strike(struck: Struck, chance: random.Random) -> str | None:
    """One fault; None if its moment did not come."""
    name = chance.choice([*FAULTS, "line cut"])
    try:
        if name == "line cut":
            cut_line(struck, chance.uniform(5, CUT_S))
        else:
            FAULTS[name](struck)
    except Missed:
        return None
    return name


def _ended_well(struck: Struck, count: Count) -> bool:
    """Whether it has converged; adds to the count what it left.

    Where that is wrong, what was done to it is said.
    """
    try:
        code = struck.finish()
    except subprocess.TimeoutExpired:
        count.wrong.append(f"no verdict after {struck.told}: {struck.output()[-2000:]}")
        return False
    if code != 0:
        count.wrong.append(
            f"the daemon ended with {code} after {struck.told}: {struck.output()[-2000:]}"
        )
        return False
    mine = counted(struck)
    if mine.doubled or mine.lost or mine.wrong:
        mine.wrong.append(f"that was after {struck.told}")
    count.add(mine)
    return True


def main() -> int:
    """Rounds of random faults from a shell."""
    parser = argparse.ArgumentParser(
        description="Let random faults strike campaigns on the one-host lab."
    )
    parser.add_argument("--rounds", type=int, required=True, help="faults in all")
    parser.add_argument("--seed", type=int, default=0, help="the same one chooses the same faults")
    parser.add_argument(
        "--folder", type=Path, required=True, help="where the daemons keep their journals"
    )
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(args.seed)  # noqa: S311 - the same faults for the same seed
    found = strike_at_random(
        args.rounds, chance, args.folder.resolve(), lambda found: print(found, flush=True)
    )
    print(
        f"{found.campaigns} campaigns, {found.count.labels} labels, {found.count.jobs} jobs of"
        " slurmctld's records"
    )
    print(
        "\n".join(
            [f"WRONG {message}" for message in found.complaints]
            or ["every campaign came out as it should"]
        )
    )
    return 1 if found.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
