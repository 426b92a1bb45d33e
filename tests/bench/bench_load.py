"""autopipecd itself with many live tasks and a long journal: what it costs, and how soon it answers.

The process is the real one. Slurm is a program on its PATH that shows all tasks running; nothing is submitted.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import aiohttp
from bench_events import CAMPAIGN, campaign_with_live_tasks, outcome
from bench_table import Row, median, percentile

from mlip_autopipec.control.address import socket_path
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.replay import replay

ANSWER_TARGET_MS, STALL_TARGET_MS, MEMORY_TARGET_MIB, CPU_TARGET_PERCENT = 50.0, 100.0, 150.0, 5.0
_POLL_S = 15.0
_PING_EVERY_S, _ASK_EVERY_S = 0.01, 0.1
_START_TIMEOUT_S, _END_TIMEOUT_S = 300.0, 60.0
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
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def memory_mib(self, key: str) -> float:
        """`VmRSS` now, `VmHWM` at its most."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{key}:"))


async def prepare(folder: Path, live: int, events: int) -> WorkflowState:
    """Site file, journal, and a Slurm that shows every live task running."""
    journal, _ = FileJournal.open(folder / "daemon" / "journal", now=datetime.now(UTC))
    every = campaign_with_live_tasks(events, live)
    while group := list(islice(every, 10_000)):
        await journal.append(group)
    await journal.close()
    state = await asyncio.to_thread(replay, folder / "daemon" / "journal")
    (folder / "root" / "outbox").mkdir(parents=True)
    (folder / "site.yaml").write_text(_SITE.format(folder=folder, poll_s=_POLL_S), encoding="utf-8")
    lines = [
        f"{batch.job_id}|{index}|RUNNING|None|node01|{batch.uid}\n"
        for batch in state.batches.values()
        for index in sorted(batch.live)
    ]
    (folder / "queue.txt").write_text("".join(lines), encoding="utf-8")
    _program(folder / "bin" / "squeue", f"exec cat {folder}/queue.txt")
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
    """Started, and ended by SIGTERM."""
    environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    with (folder / "words.txt").open("wb") as words:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlip_autopipec.daemon", "--config", folder / "site.yaml"],
            env=environment,
            stdout=words,
            stderr=words,
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
            words = (daemon.folder / "words.txt").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the daemon has ended: {words[-2000:]}")
        try:
            async with _session(daemon) as session, session.get("/v1/info") as answer:
                await answer.read()
                return time.monotonic() - began
        except (OSError, aiohttp.ClientError):
            if time.monotonic() - began > _START_TIMEOUT_S:
                raise
            await asyncio.sleep(0.05)


async def asked(daemon: Daemon, path: str, every_s: float, until: asyncio.Event) -> list[float]:
    """Milliseconds of each answer."""
    took_ms = []
    async with _session(daemon) as session:
        while not until.is_set():
            began = time.perf_counter()
            async with session.get(path) as answer:
                await answer.read()
            took_ms.append(1000 * (time.perf_counter() - began))
            await asyncio.sleep(every_s)
    return took_ms


async def _stuck_client(daemon: Daemon) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """One that asks for every event there is, and never reads."""
    reader, writer = await asyncio.open_unix_connection(str(daemon.socket), limit=1024)
    writer.write(b"GET /v1/events?after=0&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    return reader, writer


async def _ends(daemon: Daemon, state: WorkflowState, number: int, for_s: float) -> None:
    """Let tasks end, evenly, by placing outcomes as the work half does; the queue goes on showing the rest."""
    outbox = daemon.folder / "root" / "outbox"
    attempts = [(batch, index) for batch in state.batches.values() for index in sorted(batch.live)]
    for batch, index in attempts[:number]:
        name = f"{batch.uid}.{index}.json"
        content = outcome(state.tasks[batch.tasks[index]].task, batch.uid, index).model_dump_json()
        (outbox / f".{name}").write_text(content, encoding="utf-8")
        (outbox / f".{name}").rename(outbox / name)
        await asyncio.sleep(for_s / number)


async def _part(daemon: Daemon, for_s: float, *others: "asyncio.Task[None]") -> tuple[list[float], list[float], float]:
    """Pings, answers to status, and the share of a core, over so many seconds."""
    until = asyncio.Event()
    used, began = daemon.cpu_s(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        pings = group.create_task(asked(daemon, "/v1/info", _PING_EVERY_S, until))
        answers = group.create_task(asked(daemon, "/v1/status", _ASK_EVERY_S, until))
        await asyncio.sleep(for_s)
        await asyncio.gather(*others)
        until.set()
    return pings.result(), answers.result(), (daemon.cpu_s() - used) / (time.monotonic() - began)


async def _measure(folder: Path, live: int, events: int, for_s: float) -> list[Row]:
    state = await prepare(folder, live, events)
    assert state.campaign == CAMPAIGN
    with daemon(folder) as one:
        rows = [Row("start until it answers", await started(one), "s", note=f"{state.seq} events")]
        await asyncio.sleep(_POLL_S / 3)
        used, began = one.cpu_s(), time.monotonic()
        await asyncio.sleep(for_s)
        share = 100 * (one.cpu_s() - used) / (time.monotonic() - began)
        rows += [
            Row(
                "left alone: CPU",
                share,
                "% of a core",
                CPU_TARGET_PERCENT,
                f"{live} tasks run, squeue every {_POLL_S:g} s",
            ),
            Row("left alone: memory", one.memory_mib("VmRSS"), "MiB", MEMORY_TARGET_MIB),
        ]
        rows += _answer_rows("asked", *await _part(one, for_s))
        ending = asyncio.ensure_future(_ends(one, state, max(live // 20, 1), for_s))
        stuck = await _stuck_client(one)
        rows += _answer_rows("asked, tasks end, a client is stuck", *await _part(one, for_s, ending))
        stuck[1].close()
        burst = asyncio.ensure_future(_ends(one, await _now(one), max(live // 10, 1), 0.0))
        rows += _answer_rows("asked, a tenth ends at once", *await _part(one, for_s, burst))
        rows.append(Row("memory at its most", one.memory_mib("VmHWM"), "MiB", MEMORY_TARGET_MIB))
    return rows


async def _now(daemon: Daemon) -> WorkflowState:
    return await asyncio.to_thread(replay, daemon.folder / "daemon" / "journal")


def _answer_rows(what: str, pings_ms: list[float], answers_ms: list[float], share: float) -> list[Row]:
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
            f"of {len(pings_ms)} pings, median {median(pings_ms):.1f} ms, p99 {percentile(pings_ms, 99):.1f} ms",
        ),
        Row(f"{what}: CPU", 100 * share, "% of a core", note="answers included"),
    ]


def measure(*, live: int, events: int, for_s: float) -> list[Row]:
    """A table of it."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder), live, events, for_s))
