"""autopipecctl: what it prints, and how it ends."""

import asyncio
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kit.campaign import Campaign, calculate, structure, walk, whole_campaign
from kit.files import DEMO
from typer.testing import CliRunner, Result

from mlip_autopipec.answers import schema_of
from mlip_autopipec.cli import app
from mlip_autopipec.config.loader import effective_yaml, load_config
from mlip_autopipec.config.schemas.phases import ConvergenceSection
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.words import Role
from mlip_autopipec.control.address import socket_path
from mlip_autopipec.control.api import Status, Steered
from mlip_autopipec.control.server import ControlServer
from mlip_autopipec.control.task_files import FilePart, SiteFiles
from mlip_autopipec.control.tasks import TaskDocument, TaskList, book_of
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.events import EVENT_ADAPTER
from mlip_autopipec.data_models.state import TaskStatus
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.replay import read
from mlip_autopipec.orchestration.loop import Observer
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.plan import Plan
from mlip_autopipec.transports.local import LocalTransport

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
CREATED = ev.CampaignCreated(
    at=BEGIN, campaign="copper-3f9a1c", name="copper", version="0", config_sha256="0" * 64
)
NAME = pwd.getpwuid(os.getuid()).pw_name


@dataclass(frozen=True)
class Place:
    """A site file, and where the daemon keeps its files."""

    config: Path
    folder: Path

    @property
    def journal(self) -> Path:
        return self.folder / "journal"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The demo's site file, in a folder of its own."""
    config = tmp_path / "site.yaml"
    config.write_text(DEMO.read_text().replace("../campaigns/copper", "copper"))
    return Place(config, tmp_path / "copper")


def ctl(place: Place | None, *arguments: str) -> Result:
    """Run autopipecctl; the site file comes by the environment."""
    return CliRunner(env={"AUTOPIPEC_CONFIG": str(place.config) if place else None}).invoke(
        app, arguments
    )


class SmallDaemon:
    """A control server over a real journal."""

    def __init__(self, place: Place, progress: Mapping[str, Progress] | None = None) -> None:
        self.policy = Policy(convergence=ConvergenceSection(), grace=timedelta(seconds=60))
        self.stopped: list[tuple[str, ev.Actor]] = []
        self._journal, self.state = FileJournal.open(place.journal, now=BEGIN)
        self._turn = asyncio.Lock()
        self.server = ControlServer(
            socket=socket_path(place.folder),
            workflow=self,
            history=lambda after: (
                (record.seq, record.event) for record in read(place.journal, after)
            ),
            clock=self,
            stop=lambda reason, actor: self.stopped.append((reason, actor)),
            version="1.2.3",
            progress=lambda: progress or {},
            files=SiteFiles(LocalTransport(place.folder / "root"), lambda: "n0nce"),
        )
        self._observe: Observer = self.server.observe

    def now(self) -> datetime:
        return BEGIN

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError(f"nobody sleeps here, not even {delay_s} s")

    async def record(self, event: ev.Event, subject: str | None = None) -> bool:
        assert subject is None
        async with self._turn:
            after = evolve(self.state, event)
            await self._journal.append([event])
            self.state = after
            self._observe(event, after)
        return True

    async def followed(self) -> None:
        """Wait for the first follower."""
        while not self.server._feed._subscriptions:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.001)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        started = asyncio.Event()
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(self.server.serve(started))
            await started.wait()
            yield
            serving.cancel()
        await self._journal.close()


Script = Callable[[SmallDaemon], Awaitable[None]]


@contextmanager
def daemon(
    place: Place,
    *events: ev.Event,
    script: Script | None = None,
    progress: Mapping[str, Progress] | None = None,
) -> Iterator[SmallDaemon]:
    """A daemon in a thread of its own.

    With a script, it stops at the script's end, else when the block is left.
    """
    ready, leaving = threading.Event(), threading.Event()
    made: list[SmallDaemon] = []

    async def main() -> None:
        small = SmallDaemon(place, progress)
        for event in (CREATED, *events):
            await small.record(event)
        async with small.serving():
            made.append(small)
            ready.set()
            await (script(small) if script else asyncio.to_thread(leaving.wait, 30))

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, main())
        assert ready.wait(30)
        yield made[0]
        leaving.set()
        running.result(30)


def journalled(place: Place) -> list[ev.Event]:
    return [record.event for record in read(place.journal)]


# --- asking ---------------------------------------------------------------------------------------


def test_status_as_json_is_the_servers_document(place: Place) -> None:
    """Programs get all of it, and it reads back."""
    with daemon(place):
        result = ctl(place, "status", "--json")
    status = Status.model_validate_json(result.stdout)
    assert (result.exit_code, status.campaign, status.status, status.seq) == (
        0,
        "copper-3f9a1c",
        "running",
        1,
    )


def test_status_for_people_names_campaign_and_status(place: Place) -> None:
    """The view without JSON."""
    with daemon(place, ev.Paused(at=BEGIN, by=ev.Actor(uid=1, pid=2, name="ada"), reason="budget")):
        result = ctl(place, "status")
    assert result.exit_code == 0
    assert "copper-3f9a1c  paused" in result.stdout
    assert "paused by ada since 2026-01-31 12:00:00 UTC: budget" in result.stdout


def test_explain_prints_sentences(place: Place) -> None:
    """One per line, nothing else."""
    with daemon(place):
        result = ctl(place, "explain")
    assert result.stdout.splitlines() == [
        "Cycle 0 is between two phases (last: none yet).",
        "Next: PlanPhase (campaign).",
    ]


def test_a_socket_does_without_a_site_file(place: Place) -> None:
    """--socket is enough."""
    with daemon(place):
        result = ctl(None, "explain", "--socket", str(socket_path(place.folder)))
    assert (result.exit_code, result.stderr) == (0, "")


# --- steering -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_options_may_stand_before_the_command(place: Place) -> None:
    """`autopipecctl --config site.yaml logs` equals `autopipecctl logs --config site.yaml`."""
    for message in (
        ["--config", str(place.config), "config", "check"],
        ["config", "check", "--config", str(place.config)],
    ):
        done = ctl(None, *message)
        assert done.exit_code == 0
        assert done.output.startswith(
            f"{place.config} is in order.\n- the bootstrap asks for 31 labels"
        )


def test_pause_and_resume_are_in_the_journal_when_they_return(place: Place) -> None:
    """With who it was and why; the second pause says that it changed nothing."""
    with daemon(place):
        results = [
            ctl(place, "pause", "--reason", "maintenance"),
            ctl(place, "pause"),
            ctl(place, "resume", "-r", "done"),
        ]
        by = ev.Actor(uid=os.getuid(), pid=os.getpid(), name=NAME)
        paused, resumed = (
            ev.Paused(at=BEGIN, by=by, reason="maintenance"),
            ev.Resumed(at=BEGIN, by=by, reason="done"),
        )
        assert journalled(place) == [CREATED, paused, resumed]
    assert [(result.exit_code, result.stdout) for result in results] == [
        (0, "The campaign is paused (event 2).\n"),
        (0, "The campaign is paused already (event 2).\n"),
        (0, "The campaign is running (event 3).\n"),
    ]


def test_stop_asks_the_daemon(place: Place) -> None:
    """Reason and actor reach it."""
    with daemon(place) as small:
        result = ctl(place, "stop", "--reason", "update")
        assert small.stopped == [("update", ev.Actor(uid=os.getuid(), pid=os.getpid(), name=NAME))]
    assert (result.exit_code, result.stdout) == (0, "The daemon stops.\n")


# --- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["status"], ["explain"], ["pause"], ["resume"], ["stop"], ["events", "--follow"]]
)
def test_without_a_daemon_the_code_is_3(place: Place, arguments: list[str]) -> None:
    """One message on stderr, nothing on stdout, no traceback."""
    result = ctl(place, *arguments)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(
        f"autopipecctl: no daemon answers on {socket_path(place.folder)}: "
    )
    assert result.stderr.count("\n") == 1
    assert "`autopipecd --config site.yaml` starts a daemon" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["status", "site.yaml"], "-c site.yaml"),
        (["run"], "autopipecd --config site.yaml"),
        (["start"], "autopipecd --config site.yaml"),
        (["init"], "autopipecctl config init"),
        (["check"], "autopipecctl config check -c site.yaml"),
        (["statsu"], "status"),
        (["status"], "autopipecctl config init"),
        (["status", "-c", "nowhere.yaml"], "autopipecctl config init"),
        (["cancel", "--phase", "Traning", "-c", "nowhere.yaml"], "did you mean training?"),
    ],
)
def test_what_a_newcomer_types_is_answered_with_what_to_do(
    arguments: list[str], remedy: str
) -> None:
    """As wrong usage, and with the command that was meant."""
    result = CliRunner().invoke(app, arguments, env={"AUTOPIPEC_CONFIG": None, "COLUMNS": "200"})
    assert result.exit_code == 2
    assert remedy in " ".join(result.stderr.replace("│", " ").split())


def ended(place: Place) -> None:
    """A campaign whose daemon was killed after its verdict."""
    verdict = ev.VerdictReached(
        at=BEGIN + timedelta(minutes=4), verdict=Verdict.STALLED, reason="no progress"
    )
    with daemon(place, verdict):
        pass


@pytest.mark.slow
def test_where_no_daemon_runs_the_campaign_is_told_as_the_journal_has_it(place: Place) -> None:
    """With the number and the time of the last event, by the site file or by the socket alone."""
    ended(place)
    head = "no daemon runs; as of event 2, 2026-01-31 12:04:00 UTC"
    for result in (
        ctl(place, "status"),
        ctl(None, "status", "--socket", str(socket_path(place.folder))),
    ):
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.startswith(f"{head}.\n")
        assert "verdict stalled: no progress" in result.stdout
    done = Status.model_validate_json(ctl(place, "status", "--json").stdout)
    assert (done.standstill, done.seq, done.verdict) == (head, 2, Verdict.STALLED)
    explained = ctl(place, "explain")
    assert (explained.exit_code, explained.stdout.splitlines()[0]) == (0, f"{head}.")
    assert "stalled" in explained.stdout


@pytest.mark.slow
def test_events_are_told_where_no_daemon_runs_and_nothing_follows(place: Place) -> None:
    """By the socket alone, too; who asked to follow is told that nobody will write more."""
    ended(place)
    plain = ctl(place, "events").stdout
    assert len(plain.splitlines()) == 2
    by_socket = ctl(None, "events", "--socket", str(socket_path(place.folder)))
    assert (by_socket.exit_code, by_socket.stdout) == (0, plain)
    followed = ctl(place, "events", "--follow")
    assert (followed.exit_code, followed.stdout) == (3, plain)
    assert "no daemon answers" in followed.stderr


@pytest.mark.slow
def test_a_daemon_that_holds_the_lock_and_does_not_answer_is_told_from_none(place: Place) -> None:
    """It may be starting, hang, or be on another login node; one that was killed is none."""
    ended(place)
    lock, boot = place.folder / "lock", Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    signed = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "boot_id": boot,
        "since": BEGIN.isoformat(),
    }
    for changes, message in (
        (
            {},
            (
                f"the daemon (process {os.getpid()}) does not answer yet or any more: no daemon"
                " answers on"
            ),
        ),
        (
            {"host": "login7"},
            "the daemon runs on login7 and can be asked there only; as of event 2",
        ),
        ({"boot_id": "another"}, "no daemon runs; as of event 2"),
        ({"pid": 2**22 + 1}, "no daemon runs; as of event 2"),
    ):
        lock.write_text(json.dumps({**signed, **changes}))
        done = Status.model_validate_json(ctl(place, "status", "--json").stdout).standstill
        assert done.startswith(message)


@pytest.mark.slow
def test_status_is_told_from_a_torn_journal(place: Place) -> None:
    """As kill -9 leaves it; nothing is repaired by looking."""
    ended(place)
    (segment,) = place.journal.glob("journal-*.jsonl")
    with segment.open("ab") as stream:
        stream.write(b"1234abcd {")
    before = segment.read_bytes()
    assert "as of event 2" in ctl(place, "status").stdout
    assert segment.read_bytes() == before


def test_a_denial_ends_with_4(place: Place) -> None:
    """Whatever the daemon's reason is, it is told."""
    path = socket_path(place.folder)
    path.parent.mkdir(parents=True)
    body = b'{"error":{"code":"denied","message":"uid 7 may not"}}'
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(str(path))
        listener.listen()

        def deny() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
                )

        denying = pool.submit(deny)
        result = ctl(place, "status")
        denying.result(10)
    assert (result.exit_code, result.stderr) == (4, "autopipecctl: uid 7 may not\n")


def test_a_conflict_ends_with_5(place: Place) -> None:
    """A campaign that has ended cannot be paused."""
    with daemon(place, ev.VerdictReached(at=BEGIN, verdict=Verdict.STALLED, reason="no progress")):
        result = ctl(place, "pause")
    assert result.exit_code == 5
    assert result.stderr.startswith(
        "autopipecctl: the campaign has ended: stalled. To go on from here: "
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "--nonsense"],
        ["nonsense"],
        ["events", "--after", "-1"],
        ["config", "check"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    """No campaign named, or words that are no command."""
    result = ctl(None, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


@pytest.mark.slow
def test_a_wrong_site_file_ends_with_2(place: Place) -> None:
    """Every command that reads it lists the mistakes."""
    place.config.write_text(
        DEMO.read_text().replace("seed: 7", "sede: 7").replace("stride: 5", "stride: -5")
    )
    for message in (["status"], ["config", "check"], ["events"], ["logs"]):
        result = ctl(place, *message)
        assert result.exit_code == 2
        assert "sede" in result.stderr
        assert "stride" in result.stderr


# --- events ---------------------------------------------------------------------------------------


def test_events_are_read_without_a_daemon(place: Place) -> None:
    """One line each: number, time, words."""
    with daemon(place, ev.SiteChanged(at=BEGIN, health=ev.SiteHealth.DEGRADED, message="no route")):
        pass
    result = ctl(place, "events")
    assert result.stdout.splitlines() == [
        "     1  2026-01-31 12:00:00  campaign copper-3f9a1c created by version 0",
        "     2  2026-01-31 12:00:00  the site is degraded: no route",
    ]


def test_events_as_json_read_back(place: Place) -> None:
    """From the journal and from the daemon alike."""
    with daemon(place, ev.SiteChanged(at=BEGIN, health=ev.SiteHealth.DEGRADED, message="no route")):
        asked = ctl(
            None, "events", "--json", "--after", "1", "--socket", str(socket_path(place.folder))
        )
    result = ctl(place, "events", "--json", "--after", "1")
    assert asked.stdout == result.stdout
    (line,) = (json.loads(line) for line in result.stdout.splitlines())
    assert (line["seq"], EVENT_ADAPTER.validate_python(line["event"])) == (2, journalled(place)[1])


def test_following_goes_on_until_the_daemon_stops(place: Place) -> None:
    """History, then what happens; the end is told on stderr, with where to go on."""

    async def script(small: SmallDaemon) -> None:
        await small.followed()
        await small.record(
            ev.SiteChanged(at=BEGIN, health=ev.SiteHealth.DEGRADED, message="no route")
        )

    with daemon(place, script=script):
        result = ctl(place, "events", "-f")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["1", "2"]
    assert result.exit_code == 3
    assert result.stderr == "autopipecctl: the daemon ended the stream of events after event 2\n"


@pytest.mark.parametrize("arguments", [["events"], ["report"], ["journal", "verify"]])
def test_a_campaign_without_a_journal_is_told(place: Place, arguments: list[str]) -> None:
    """Nothing is made up where no daemon has run."""
    result = ctl(place, *arguments)
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.startswith(f"autopipecctl: there is no journal at {place.journal}: ")
    assert "`autopipecd --config site.yaml` starts one" in result.stderr


# --- tasks ----------------------------------------------------------------------------------------


def sampled(place: Place) -> Campaign:
    """A journal of four cycles, and no daemon."""
    campaign = whole_campaign()
    asyncio.run(_write(place, *campaign.events))
    return campaign


def test_tasks_are_listed_from_the_journal(place: Place) -> None:
    """By the site file, or by the socket alone; as JSON they read back."""
    sampled(place)
    result = ctl(place, "tasks", "--phase", "training")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("fit by linear") == 4
    assert (
        ctl(None, "tasks", "--phase", "training", "--socket", str(socket_path(place.folder))).stdout
        == result.stdout
    )
    listed = TaskList.model_validate_json(ctl(place, "tasks", "--state", "done", "--json").stdout)
    assert {line.state for line in listed.tasks} == {TaskStatus.DONE}
    failed = ctl(place, "tasks", "--failed")
    assert "failed 2×, last: crashed" in failed.stdout


def test_a_task_is_shown_whole(place: Place) -> None:
    """With its folder on the site, and its attempts.

    An unfinished id gets the nearest, and ends with 2.
    """
    campaign = sampled(place)
    name = next(name for name in book_of(campaign.events).records if "training" in name)
    result = ctl(place, "task", name)
    assert result.exit_code == 0
    assert f"{load_config(place.config).config.site.root}/cycles/000/training/" in result.stdout
    assert "attempt 1  done: job 4711_0 on node1" in result.stdout
    document = TaskDocument.model_validate_json(ctl(place, "task", name, "--json").stdout)
    assert document.task == name
    wrong = ctl(place, "task", name.replace("training", "trainin"))
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert name in wrong.stderr


def test_a_task_that_runs_says_how_far_it_is(place: Place) -> None:
    """Where a daemon answers; the journal has none of it."""
    campaign = Campaign()
    campaign.create()
    campaign.generation()
    (task,) = campaign.start(
        Phase.CALCULATION, [(calculate(structure("a.xyz", Role.TRAIN, "rattled")), ())]
    )
    campaign.submit([task])
    with daemon(
        place, *campaign.events[1:], progress={task.id: Progress(done=0.25, message="a quarter")}
    ):
        result = ctl(place, "task", task.id)
    assert "so far     25%, a quarter" in result.stdout
    assert "so far" not in ctl(place, "task", task.id).stdout


def with_output(place: Place, text: str) -> tuple[Campaign, str]:
    """A campaign with a walker in the queue, and what its LAMMPS has written."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    (task,) = campaign.start(Phase.EXPLORATION, [(walk(300.0, 1), ())])
    campaign.submit([task])
    folder = place.folder / "root" / task.workdir / "run-1"
    folder.mkdir(parents=True)
    (folder / "log.lammps").write_text(text)
    return campaign, task.id


def test_what_a_task_s_code_has_written_is_shown(place: Place) -> None:
    """By the daemon, and where none runs from this machine.

    Its last lines are shown, and nothing that a terminal would obey.
    """
    campaign, name = with_output(place, "Step 1\nStep 2\n\x1b[2J\x1b]0;t\x07Step 3\n")
    with daemon(place, *campaign.events[1:]):
        by_daemon = ctl(place, "logs", "--task", name, "-n", "2")
        listed = ctl(place, "logs", "--task", name.rpartition("-")[0], "--files")
        part = FilePart.model_validate_json(ctl(place, "logs", "--task", name, "--json").stdout)
    here = ctl(place, "logs", "--task", name, "-n", "2")
    assert by_daemon.stdout == here.stdout == "Step 2\n�[2J�]0;t�Step 3\n"
    assert "run-1/log.lammps" in listed.stdout
    assert part.live
    (
        place.folder
        / "root"
        / "cycles/001/exploration"
        / name.rpartition(".")[2]
        / "run-1"
        / "gamma.csv"
    ).write_text("1,2")
    # the prompt begins a line
    assert ctl(place, "logs", "--task", name, "--file", "gamma.csv").stdout == "1,2\n"
    wrong = ctl(place, "logs", "--task", name, "--file", "log.lamps")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "the nearest is run-1/log.lammps" in wrong.stderr


def test_a_file_is_of_a_task_and_a_far_site_needs_the_daemon(place: Place) -> None:
    """Both are told, with what to do."""
    sampled(place)
    assert ctl(place, "logs", "--file", "x").exit_code == 2
    far = "transport: {kind: ssh, host: login.example.org}\n  python: /usr/bin/python3"
    text = (
        place.config.read_text()
        .replace("transport: {kind: local}", far)
        .replace("copper/root", "/scratch/cu")
    )
    place.config.write_text(text)
    done = ctl(place, "logs", "--task", "c000.training.0000")
    assert done.exit_code == 3
    assert (
        "Its connection is the way to the files; without it, look below login.example.org:"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--phase", "trainng"], "training?"), (["--state", "runing"], "running?")],
)
def test_a_word_that_is_no_phase_or_state_gets_the_nearest(
    place: Place, arguments: list[str], message: str
) -> None:
    result = ctl(place, "tasks", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.slow
def test_a_plan_is_made_before_a_start_and_from_the_journal(place: Place) -> None:
    """As words and as a document that reads back."""
    before = Plan.model_validate_json(ctl(place, "plan", "--json").stdout)
    assert (before.started, sum(part.tasks for part in before.bootstrap)) == (False, 33)
    sampled(place)
    result = ctl(place, "plan")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("copper-3f9a1c, as of event ")


# --- answers --------------------------------------------------------------------------------------

#: Commands that need nothing but a journal, and a task of it.
ANSWERED = {
    "status": [],
    "explain": [],
    "tasks": [],
    "task": ["c000.training"],
    "events": [],
    "journal tail": [],
    "journal export": [],
    "journal verify": [],
    "replay": [],
    "plan": [],
    "config check": [],
    "report": [],
    "report --missing": [],
    "logs --task": ["c000.training", "--file", "log.txt"],
    "logs --task --files": ["c000.training"],
    "reopen": ["--reason", "more"],
    "cancel --offline": ["--all"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command", ANSWERED)
def test_what_a_command_answers_is_as_its_schema_says(place: Place, command: str) -> None:
    """Every field is known, and those that are always there are there."""
    campaign = sampled(place)
    if command in {"cancel --offline", "reopen"}:  # of one that has not converged
        shutil.rmtree(place.journal)
        asyncio.run(_write(place, *campaign.events[:3]))
    name = next(name for name in book_of(campaign.events).records if "c000.training" in name)
    folder = (
        place.folder / "root" / "cycles" / "000" / "training" / name.rpartition(".")[2] / "run-1"
    )
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("words\n")
    arguments = command.split() if "--task" not in command else ["logs"]
    arguments += (
        ["--task"] * ("--task" in command)
        + ANSWERED[command]
        + ["--files"] * ("--files" in command)
    )
    result = ctl(
        place,
        *arguments,
        *(["--json"] if command not in {"journal export", "report --missing"} else []),
    )
    assert (result.exit_code, result.stderr) == (0, "")
    one_each = command in {"events", "journal tail", "journal export"}
    documents = (
        [json.loads(line) for line in result.stdout.splitlines()]
        if one_each
        else [json.loads(result.stdout)]
    )
    schema = schema_of(command)
    assert documents
    for document in documents:
        if isinstance(document, list):
            assert schema["type"] == "array"
            continue
        parts = [
            schema["$defs"][part["$ref"].rpartition("/")[2]] for part in schema.get("anyOf", ())
        ] or [schema]
        assert any(set(document) <= set(part["properties"]) for part in parts)
        assert any(set(part.get("required", ())) <= set(document) for part in parts)


def test_steering_answers_as_json(place: Place) -> None:
    """The same document as the daemon's."""
    with daemon(place):
        paused = Steered.model_validate_json(ctl(place, "pause", "--json").stdout)
        stopped = json.loads(ctl(place, "stop", "--json").stdout)
    assert (paused.changed, paused.status) == (True, "paused")
    assert stopped == {"version": 1, "stopping": True}


# --- files ----------------------------------------------------------------------------------------


def test_journal_verify_counts(place: Place) -> None:
    """A whole journal, and one with a torn end."""
    with daemon(place):
        pass
    (segment,) = sorted(place.journal.glob("*"))
    whole = ctl(place, "journal", "verify")
    size = segment.stat().st_size
    assert whole.stdout == f"{place.journal} is in order: 1 events, {size} bytes, 1 segments.\n"
    with segment.open("ab") as stream:
        stream.write(b"torn")
    torn = ctl(place, "journal", "verify")
    assert "1 segments; 4 torn bytes at the end" in torn.stdout
    assert (whole.exit_code, torn.exit_code) == (0, 0)


async def _write(place: Place, *events: ev.Event) -> None:
    """A journal that no daemon would have written."""
    journal, _ = FileJournal.open(place.journal, now=BEGIN)
    await journal.append(events)
    await journal.close()


def test_journal_verify_holds_the_records_against_each_other(place: Place) -> None:
    """Each is whole, and one is not allowed after the others: its subject's story is told."""
    job_name = "copper-3f9a1c.c000.generation.b00"
    asyncio.run(
        _write(place, CREATED, ev.SubmissionAccepted(at=BEGIN, job_name=job_name, job_id="1"))
    )
    result = ctl(place, "journal", "verify")
    assert (result.exit_code, result.stdout) == (70, "")
    assert "SubmissionAccepted is not allowed here" in result.stderr
    assert f"Batch {job_name} was never begun" in result.stderr


def test_journal_verify_looks_at_the_state_that_the_records_lead_to(place: Place) -> None:
    """Bounds of convergence that count from a cycle which is still to come would never be met."""
    ada = ev.Actor(uid=1000, pid=77, name="ada")
    with daemon(
        place,
        ev.VerdictReached(at=BEGIN, verdict=Verdict.FAILED, reason="quorum"),
        ev.CampaignReopened(at=BEGIN, by=ada, reason="mended", first_cycle=9),
    ):
        pass
    result = ctl(place, "journal", "verify")
    assert (result.exit_code, result.stdout) == (70, "")
    assert (
        "contradicts itself: convergence counts from cycle 9, and the current one is 0"
        in result.stderr
    )


def test_a_damaged_journal_ends_with_78(place: Place) -> None:
    """The message has the place and what to do."""
    with daemon(
        place,
        *(ev.SiteChanged(at=BEGIN, health=ev.SiteHealth.OK, message=str(n)) for n in range(5)),
    ):
        pass
    (segment,) = sorted(place.journal.glob("*"))
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b"copper-3f9a1c", b"copper-000000"))
    result = ctl(place, "journal", "verify")
    assert (result.exit_code, result.stdout) == (78, "")
    assert "is damaged at byte" in result.stderr


def test_journal_tail_and_export_need_no_daemon(place: Place) -> None:
    """The last events in words, and all of them as JSON lines."""
    with daemon(
        place,
        *(ev.SiteChanged(at=BEGIN, health=ev.SiteHealth.OK, message=str(n)) for n in range(5)),
    ):
        pass
    tail = ctl(place, "journal", "tail", "-n", "2").stdout.splitlines()
    assert [line.split()[0] for line in tail] == ["5", "6"]
    assert tail[-1].endswith("the site is ok: 4")
    lines = [
        json.loads(line)
        for line in ctl(place, "journal", "export", "--after", "1").stdout.splitlines()
    ]
    assert [line["seq"] for line in lines] == [2, 3, 4, 5, 6]
    assert [EVENT_ADAPTER.validate_python(line["event"]) for line in lines] == journalled(place)[1:]


def test_replay_shows_any_moment(place: Place) -> None:
    """The state after an event, at a glance or whole; a number that is not there yet is told."""
    paused = ev.Paused(at=BEGIN, by=ev.Actor(uid=1, pid=2, name="ada"), reason="maintenance")
    with daemon(place, paused, ev.Resumed(at=BEGIN, by=ev.Actor(uid=1, pid=2, name="ada"))):
        pass
    assert "maintenance" in ctl(place, "replay", "--at", "2").stdout
    assert "maintenance" not in ctl(place, "replay").stdout
    assert (
        json.loads(ctl(place, "replay", "--at", "2", "--json").stdout)["pause"]["reason"]
        == "maintenance"
    )
    beyond = ctl(place, "replay", "--at", "9")
    assert (beyond.exit_code, beyond.stderr) == (78, "autopipecctl: the journal ends at event 3\n")


def test_config_schema_is_json_schema(place: Place) -> None:
    """Editors can read it, and it needs no site file."""
    result = ctl(None, "config", "schema")
    assert (result.exit_code, json.loads(result.stdout)["type"]) == (0, "object")
    assert place


@pytest.mark.slow
def test_config_check_says_that_a_file_is_in_order(place: Place) -> None:
    """Or prints it with every default."""
    assert ctl(place, "config", "check").stdout.startswith(f"{place.config} is in order.\n- ")
    shown = ctl(place, "config", "check", "--effective").stdout
    assert shown == effective_yaml(load_config(place.config).config)


def test_logs_are_put_into_words(place: Place) -> None:
    """The last lines of the daemon's log, readable or as they are."""
    entry = '{"timestamp": "2026-01-31T12:00:00.5Z", "level": "info", "event": "paused", "seq": %d}'
    place.folder.mkdir()
    (place.folder / "autopipecd.log").write_text("".join(entry % seq + "\n" for seq in range(9)))
    assert ctl(place, "logs", "-n", "1").stdout == "2026-01-31T12:00:00 info     paused  seq=8\n"
    assert ctl(place, "logs", "--lines", "2", "--json").stdout == f"{entry % 7}\n{entry % 8}\n"


def test_no_log_is_told(place: Place) -> None:
    """A campaign that never ran has none."""
    result = ctl(place, "logs")
    assert result.exit_code == 78
    assert result.stderr.startswith(
        f"autopipecctl: there is no log at {place.folder / 'autopipecd.log'}"
    )


def test_report_is_written_where_it_is_wanted(place: Place, tmp_path: Path) -> None:
    """Beside the journal, or where --output says."""
    with daemon(place):
        pass
    for message, target in (
        ([], place.folder / "report.html"),
        (["-o", str(tmp_path / "r.html")], tmp_path / "r.html"),
    ):
        result = ctl(place, "report", *message)
        assert (result.exit_code, result.stdout) == (0, f"{target}\n")
        assert "copper" in target.read_text()


def test_it_starts_without_what_it_does_not_need() -> None:
    """Help and completion must not wait for the imports of every command."""
    code = (
        "import sys, mlip_autopipec.cli; print(*{'aiohttp', 'pydantic', 'matplotlib', 'numpy'} &"
        " set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "encoding"),
    [
        (["status"], "latin-1"),
        (["status"], "ascii"),
        (["events"], "ascii"),
        (["logs"], "ascii"),
        (["config", "check", "--effective"], "ascii"),
    ],
)
def test_no_letter_that_an_encoding_lacks_ends_a_command(
    place: Place, arguments: list[str], encoding: str
) -> None:
    """γ, Å and – are in every answer: a mark takes their place."""
    with daemon(
        place,
        ev.SiteChanged(
            at=BEGIN, health=ev.SiteHealth.DEGRADED, message="γ of 3 Å – kein Schlüssel 鍵"
        ),
    ):
        pass
    (place.folder / "autopipecd.log").write_text(
        json.dumps({"level": "info", "event": "γ 3 Å 鍵"}, ensure_ascii=False) + "\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "from mlip_autopipec.cli import main; main()", *arguments],
        env={**os.environ, "PYTHONIOENCODING": encoding, "AUTOPIPEC_CONFIG": str(place.config)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout


@pytest.mark.slow
def test_a_verdict_is_reopened_by_the_daemon_and_without_one(place: Place) -> None:
    """By the socket where a daemon answers, else in the journal.

    A second time there is nothing to do.
    """
    verdict = ev.VerdictReached(
        at=BEGIN + timedelta(minutes=4), verdict=Verdict.STALLED, reason="no progress"
    )
    with daemon(place, verdict):
        done = ctl(place, "pause")
        assert done.exit_code == 5
        assert "autopipecctl reopen --reason" in done.stderr
        assert "running" in ctl(place, "reopen", "--reason", "mended").stdout
        assert "already" in ctl(place, "reopen", "--reason", "again").stdout
    assert isinstance(journalled(place)[-1], ev.CampaignReopened)


def test_a_verdict_is_reopened_where_no_daemon_runs(place: Place) -> None:
    """The next daemon goes on; who did it, and why, is in the journal."""
    ended(place)
    done = ctl(place, "reopen", "--reason", "a larger budget")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "start autopipecd" in done.stdout
    event = journalled(place)[-1]
    assert isinstance(event, ev.CampaignReopened)
    assert (event.by.uid, event.reason) == (os.getuid(), "a larger budget")
    assert "no verdict" in ctl(place, "reopen", "--reason", "again").stdout


def test_converged_is_reopened_too(place: Place) -> None:
    """Somebody wants more of it."""
    verdict = ev.VerdictReached(
        at=BEGIN + timedelta(minutes=4), verdict=Verdict.CONVERGED, reason="quiet"
    )
    with daemon(place, verdict):
        assert ctl(place, "reopen", "--reason", "more").exit_code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    """The script asks the program by the variable that it knows."""
    result = ctl(None, "completion", shell)
    assert result.exit_code == 0
    assert "_AUTOPIPECCTL_COMPLETE=complete_" in result.output
    assert ctl(None, "completion", "dos").exit_code == 2


def test_a_shell_that_asks_hears_commands() -> None:
    """As bash asks, by the environment; nothing else is done."""
    asked = {
        "_AUTOPIPECCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "autopipecctl re",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-c", "from mlip_autopipec.cli import main; main()"]
    done = subprocess.run(
        command,
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert {"report", "resume", "retry", "reopen"} <= set(done.stdout.split()), done.stderr
