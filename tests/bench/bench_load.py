"""autopipecd itself with many live tasks and a long journal: its cost, and how soon it answers.

The process is the real one. Slurm is a few programs on its PATH that take every array and show it
running; outcomes are placed as the work half would.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import aiohttp
from bench_events import CAMPAIGN, campaign_in_selection, outcome
from kit.table import Row, median, percentile

from mlip_autopipec.control.address import socket_path
from mlip_autopipec.control.api import Status
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.ids import attempt_file
from mlip_autopipec.data_models.state import TaskStatus, WorkflowState
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.replay import replay

ANSWER_TARGET_MS, STALL_TARGET_MS, MEMORY_TARGET_MIB, CPU_TARGET_PERCENT = 50.0, 100.0, 150.0, 5.0
_POLL_S = 15.0
_ASK_EVERY_S = 0.1
_CLIENT = Path(__file__).with_name("bench_client.py")
_START_TIMEOUT_S, _CHANGE_TIMEOUT_S, _END_TIMEOUT_S = 300.0, 600.0, 60.0
#: So many times each.
_PAUSES = 3
_SITE = """
campaign: {{name: bench, elements: [Cu], folder: {folder}/daemon}}
site:
  root: {folder}/root
  python: {folder}/bin/python
  scheduler: {{kind: slurm}}
  poll_interval: {poll_s:g} s
  grace: 1 h
distance_min_angstrom: 1.5
generation:
  prototypes: [{{structure: fcc, elements: [Cu], lattice_constant_angstrom: 3.61}}]
  structures: 40
exploration:
  walkers:
    - prototype: {{structure: fcc, elements: [Cu], lattice_constant_angstrom: 3.61}}
      temperatures_kelvin: [300]
      steps: 1000
      timestep_fs: 2
calculation:
  oracle: {{kind: ase, calculator: ase.calculators.emt.EMT}}
training: {{cutoff_angstrom: 6.0, functions_per_element: 60}}
convergence: {{cycles_max: 100000, stalled_cycles: 100000}}
"""
_SBATCH = """
uid=$(sed -n 's/^#SBATCH --job-name=//p' job.sh)
last=$(sed -n 's/^#SBATCH --array=0-//p' job.sh)
if [ -n "$last" ]; then indices=$(seq 0 "$last"); else indices=N/A; fi
for index in $indices; do echo "$$|$index|RUNNING|None|node01|$uid"; done >{folder}/queue/$uid
echo $$
"""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Daemon:
    """A running autopipecd."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def socket(self) -> Path:
        """Its control socket."""
        return socket_path(self.folder / "daemon")

    def cpu_s(self) -> float:
        """What it has used so far."""
        fields = (
            Path(f"/proc/{self.process.pid}/stat")
            .read_text(encoding="utf-8")
            .rpartition(")")[2]
            .split()
        )
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def memory_mib(self, key: str) -> float:
        """`VmRSS` now, `VmHWM` at its most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


async def prepare(folder: Path, events: int) -> WorkflowState:
    """Site file, journal, and a Slurm that takes every array.

    It shows all elements of each array running, for ever.
    """
    journal, _ = FileJournal.open(folder / "daemon" / "journal", now=datetime.now(UTC))
    every = campaign_in_selection(events)
    while group := list(islice(every, 10_000)):
        await journal.append(group)
    await journal.close()
    state = await asyncio.to_thread(replay, folder / "daemon" / "journal")
    (folder / "root" / "outbox").mkdir(parents=True)
    (folder / "queue").mkdir()
    (folder / "site.yaml").write_text(_SITE.format(folder=folder, poll_s=_POLL_S), encoding="utf-8")
    for batch in state.batches.values():
        line = f"{batch.job_id}|N/A|RUNNING|None|node01|{batch.job_name}\n"
        (folder / "queue" / batch.job_name).write_text(line, encoding="utf-8")
    _program(folder / "bin" / "squeue", f"exec cat {folder}/queue/*")
    _program(folder / "bin" / "sbatch", _SBATCH.format(folder=folder))
    _program(folder / "bin" / "scontrol", "echo MaxArraySize=1001")
    _program(folder / "bin" / "sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
    _program(folder / "bin" / "python", "exit 0")
    return state


def _program(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


@contextmanager
def daemon(folder: Path) -> Iterator[Daemon]:
    """Started, and ended by SIGTERM if it still runs."""
    environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    with (folder / "words.txt").open("wb") as message:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlip_autopipec.daemon", "--config", folder / "site.yaml"],
            env=environment,
            stdout=message,
            stderr=message,
        )
    try:
        yield Daemon(folder, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # its last report takes long where others have the cores
            process.kill()
            process.wait()


@asynccontextmanager
async def _session(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(path=str(daemon.socket))
    async with aiohttp.ClientSession("http://autopipecd", connector=connector) as session:
        yield session


async def started(daemon: Daemon) -> float:
    """Seconds until it answers."""
    began = time.monotonic()
    while True:
        if daemon.process.poll() is not None:
            message = (daemon.folder / "words.txt").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the daemon has ended: {message[-2000:]}")
        try:
            async with _session(daemon) as session, session.get("/v1/info") as answer:
                await answer.read()
                return time.monotonic() - began
        except (OSError, aiohttp.ClientError):
            if time.monotonic() - began > _START_TIMEOUT_S:
                raise
            await asyncio.sleep(0.05)


async def _stuck_client(daemon: Daemon) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """One that asks for every event there is, and never reads."""
    reader, writer = await asyncio.open_unix_connection(str(daemon.socket), limit=1024)
    writer.write(b"GET /v1/events?after=0&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    return reader, writer


async def _ends(daemon: Daemon, state: WorkflowState, number: int, for_s: float) -> None:
    """Let tasks end, evenly, by placing outcomes as the work half does.

    The queue goes on showing them.
    """
    attempts = [(batch, index) for batch in state.batches.values() for index in sorted(batch.live)]
    for batch, index in attempts[:number]:
        content = outcome(
            state.tasks[batch.tasks[index]].task, batch.job_name, index
        ).model_dump_json()
        _place(daemon, attempt_file(batch.job_name, index), content)
        await asyncio.sleep(for_s / number)


def _place(daemon: Daemon, name: str, content: str) -> None:
    outbox = daemon.folder / "root" / "outbox"
    (outbox / f".{name}").write_text(content, encoding="utf-8")
    (outbox / f".{name}").rename(outbox / name)


async def _reached(daemon: Daemon, phase: Phase, live: int) -> None:
    """Until so many tasks of the phase are submitted."""
    async with asyncio.timeout(_CHANGE_TIMEOUT_S), _session(daemon) as session:
        while True:
            async with session.get("/v1/status") as answer:
                status = Status.model_validate_json(await answer.read())
            if status.phase is phase and status.tasks[TaskStatus.SUBMITTED] == live:
                return
            await asyncio.sleep(_ASK_EVERY_S)


async def _plan_after(daemon: Daemon, selected: str, name: str, live: int) -> None:
    """Let the Selection end; its structures are planned and submitted."""
    _place(daemon, name, selected)
    await _reached(daemon, Phase.CALCULATION, live)


async def _fit_after(daemon: Daemon, state: WorkflowState) -> None:
    """Let every label arrive at once; they are digested, and the fit that follows is submitted."""
    await _ends(daemon, state, sum(len(batch.live) for batch in state.batches.values()), 0.0)
    await _reached(daemon, Phase.TRAINING, 1)


async def _steer(daemon: Daemon, for_s: float) -> float:
    """Pause and resume again and again; milliseconds until the slowest was answered."""
    took_ms = 0.0
    async with _session(daemon) as session:
        for verb in ("pause", "resume") * _PAUSES:
            began = time.perf_counter()
            async with session.post(f"/v1/{verb}") as answer:
                await answer.read()
            took_ms = max(took_ms, 1000 * (time.perf_counter() - began))
            await asyncio.sleep(for_s / _PAUSES / 2)
    return took_ms


async def _part(
    daemon: Daemon, for_s: float, *others: Awaitable[object]
) -> tuple[list[float], list[float], float]:
    """Pings, answers to status, and the share of a core, over so many seconds."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, _CLIENT, daemon.socket, stdin=PIPE, stdout=PIPE
    )
    assert client.stdout is not None
    await client.stdout.readline()  # it asks
    used, began = daemon.cpu_s(), time.monotonic()
    await asyncio.gather(asyncio.sleep(for_s), *others)
    share = (daemon.cpu_s() - used) / (time.monotonic() - began)
    # a daemon that hangs would hold up the measurement for ever
    async with asyncio.timeout(_END_TIMEOUT_S):
        said, _ = await client.communicate(b"")  # the end of its input
    pings_ms, answers_ms = json.loads(said)
    return pings_ms, answers_ms, share


async def _measure(folder: Path, live: int, events: int, for_s: float) -> list[Row]:
    state = await prepare(folder, events)
    assert state.campaign == CAMPAIGN
    with daemon(folder) as item:
        rows = [Row("start until it answers", await started(item), "s", note=f"{state.seq} events")]
        rows += await _begun(item, state, live)
        rows += await _lived_with(item, live, for_s)
        most = item.memory_mib("VmHWM")
        item.process.kill()
    with daemon(folder) as item:
        rows.append(Row(f"start with {live} live until it answers", await started(item), "s"))
        rows += _answer_rows("asked, it has just started", *await _part(item, for_s))
        rows += _answer_rows(
            "asked, all end", *await _part(item, 0.0, _fit_after(item, await _now(item)))
        )
        rows.append(Row("memory at its most, until they end", most, "MiB", MEMORY_TARGET_MIB))
        rows.append(
            Row(
                "memory at its most",
                item.memory_mib("VmHWM"),
                "MiB",
                note="with every outcome, digest and plan",
            )
        )
    return rows


async def _begun(daemon: Daemon, state: WorkflowState, live: int) -> list[Row]:
    """From the end of the Selection until all that it chose is submitted."""
    ((job_name, batch),) = state.batches.items()
    selected = outcome(
        state.tasks[batch.tasks[0]].task, job_name, 0, selected=live
    ).model_dump_json()
    return _answer_rows(
        "asked, a phase begins",
        *await _part(daemon, 0.0, _plan_after(daemon, selected, attempt_file(job_name, 0), live)),
    )


async def _lived_with(daemon: Daemon, live: int, for_s: float) -> list[Row]:
    """While tasks run, while they end, and while people steer."""
    await asyncio.sleep(min(_POLL_S / 3, for_s))
    used, began = daemon.cpu_s(), time.monotonic()
    await asyncio.sleep(for_s)
    share = 100 * (daemon.cpu_s() - used) / (time.monotonic() - began)
    note = f"{live} tasks run, squeue every {_POLL_S:g} s"
    rows = [
        Row("left alone: CPU", share, "% of a core", CPU_TARGET_PERCENT, note),
        Row("left alone: memory", daemon.memory_mib("VmRSS"), "MiB", MEMORY_TARGET_MIB),
    ]
    rows += _answer_rows("asked", *await _part(daemon, for_s))
    stuck = await _stuck_client(daemon)
    ending = _ends(daemon, await _now(daemon), max(live // 20, 1), for_s)
    rows += _answer_rows("asked, tasks end, a client is stuck", *await _part(daemon, for_s, ending))
    stuck[1].close()
    burst = _ends(daemon, await _now(daemon), max(live // 10, 1), 0.0)
    rows += _answer_rows("asked, a tenth ends at once", *await _part(daemon, for_s, burst))
    steering = asyncio.ensure_future(_steer(daemon, for_s))
    rows += _answer_rows("asked, paused and resumed", *await _part(daemon, for_s, steering))
    return [*rows, Row("pause or resume answered, at most", await steering, "ms")]


async def _now(daemon: Daemon) -> WorkflowState:
    return await asyncio.to_thread(replay, daemon.folder / "daemon" / "journal")


def _answer_rows(
    what: str, pings_ms: list[float], answers_ms: list[float], share: float
) -> list[Row]:
    return [
        Row(
            f"{what}: status, p99",
            percentile(answers_ms, 99),
            "ms",
            ANSWER_TARGET_MS,
            f"median {median(answers_ms):.1f} ms",
        ),
        Row(
            f"{what}: longest stall",
            max(pings_ms),
            "ms",
            STALL_TARGET_MS,
            f"of {len(pings_ms)} pings, median {median(pings_ms):.1f} ms, p99"
            f" {percentile(pings_ms, 99):.1f} ms",
        ),
        Row(f"{what}: CPU", 100 * share, "% of a core", note="answers included"),
    ]


def measure(*, live: int, events: int, for_s: float) -> list[Row]:
    """A table of it."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder), live, events, for_s))
