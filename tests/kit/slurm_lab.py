"""The one-host cluster of scripts/lab and a root folder on it; batches do something or nothing."""

import asyncio
import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.contract.generate import GenerateParameters, Prototype
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task, TaskFile, make_task
from mlip_autopipec.process import SystemClock
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.schedulers.slurm import SlurmScheduler
from mlip_autopipec.transports.local import LocalTransport

T = TypeVar("T")
#: Jobs begin on a tick of 1 s, on two shared cores.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Record:
    """One line of slurmctld's own account of the jobs that have ended."""

    job_id: str
    name: str
    state: str


@dataclass(frozen=True)
class Lab:
    """A cluster that is up; commands of Slurm run as root."""

    folder: Path

    def run(self, *arguments: str) -> str:
        """What a command prints; it must succeed."""
        return subprocess.run(
            arguments, check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def pid(self, part: str) -> int:
        """The process of `munged`, `slurmctld`, `lab1`, `lab2` or `sshd`."""
        return int((self.folder / "run" / f"{part}.pid").read_text(encoding="utf-8").split()[0])

    @contextmanager
    def frozen_controller(self) -> Iterator[None]:
        """Let slurmctld stand still: commands reach it, and nothing answers."""
        os.kill(self.pid("slurmctld"), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid("slurmctld"), signal.SIGCONT)

    @contextmanager
    def setting(self, line: str) -> Iterator[None]:
        """Another slurm.conf for a while."""
        extra = self.folder / "extra.conf"
        before = extra.read_text(encoding="utf-8")
        key = line.partition("=")[0]
        extra.write_text(
            "".join(kept for kept in before.splitlines(True) if not kept.startswith(key))
            + line
            + "\n"
        )
        try:
            self.run("scontrol", "reconfigure")
            yield
        finally:
            extra.write_text(before, encoding="utf-8")
            self.run("scontrol", "reconfigure")

    def arrays(self, job_name: str) -> set[str]:
        """Ids of all jobs of that name that slurmctld knows, ended or not."""
        return set(self.run("squeue", "-h", "-t", "all", "-n", job_name, "-o", "%F").split())

    def records(self, campaign: str) -> list[Record]:
        """What slurmctld has written down about a campaign's jobs, all of which have ended."""
        until = time.monotonic() + PATIENCE_S
        while self._may_hold(campaign):
            assert time.monotonic() < until, f"jobs of {campaign} do not end"
            time.sleep(0.2)
        text = (self.folder / "log" / "jobs.txt").read_text(encoding="utf-8")
        rows = re.findall(r"^JobId=(\d+) .*? Name=(\S+) JobState=(\S+)", text, re.MULTILINE)
        return [Record(*row) for row in rows if row[1].startswith(f"{campaign}.")]

    def _may_hold(self, campaign: str) -> bool:
        """Whether squeue shows a job of a campaign, or does not answer.

        A controller may have just begun.
        """
        try:
            return f"{campaign}." in self.run("squeue", "-h", "-o", "%j")
        except subprocess.CalledProcessError:
            return True


@contextmanager
def partition(lab: Lab, state: str) -> Iterator[None]:
    """The partition in another state for a while."""
    lab.run("scontrol", "update", "partitionname=main", f"state={state}")
    try:
        yield
    finally:
        lab.run("scontrol", "update", "partitionname=main", "state=up")


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A file system in which nothing is left, until it is cleared."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], check=True)
    try:
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={folder}/full", "bs=4k"], check=False, capture_output=True
        )
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@dataclass
class Site:
    """A root folder, and a scheduler for it.

    The payload is the real work half unless another program is named.
    """

    root: Path
    payload: str = ""
    options: SlurmQueue = field(default_factory=lambda: SlurmQueue(kind="slurm"))
    resources: Resources = field(default_factory=lambda: Resources(memory_mib=500, walltime_s=300))

    def __post_init__(self) -> None:
        """Put the work half there, as the daemon does."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.transport = LocalTransport(self.root)
        shipment = pack()
        (self.root / ".ap").mkdir(exist_ok=True)
        (self.root / shipment.path).write_bytes(shipment.content)
        self.scheduler = SlurmScheduler(
            self.transport,
            options=self.options,
            payload=self.payload or shipment.path,
            root=str(self.root),
            python=sys.executable,
            clock=SystemClock(),
            nonce=lambda: secrets.token_hex(16),
        )

    def program(self, code: str) -> None:
        """Let every task be this program, in place of the work half."""
        (self.root / "program.py").write_text(code, encoding="utf-8")
        self.payload = "program.py"
        self.__post_init__()

    @property
    def job_name(self) -> str:
        """Name of its first batch."""
        return f"lab-{os.getpid()}.{self.root.name}.b00"

    def batch(self, number: int) -> tuple[Batch, list[Task]]:
        """Tasks that generate one structure each, staged; its name is the folder's."""
        tasks = [_task(index, self.resources) for index in range(number)]
        return self.stage(tasks), tasks

    def stage(self, tasks: list[Task], attempt: int = 0) -> Batch:
        """Put these tasks there as a batch of their own."""
        for task in tasks:
            (self.root / task.workdir).mkdir(parents=True, exist_ok=True)
            content = TaskFile(campaign="lab", **dict(task)).model_dump_json()
            (self.root / task.workdir / "task.json").write_text(content, encoding="utf-8")
        job_name = f"{self.job_name[:-2]}{attempt:02d}"
        return Batch(
            job_name=job_name,
            tasks=tuple(task.id for task in tasks),
            live=frozenset(range(len(tasks))),
        )

    def outcomes(self) -> list[Outcome]:
        """All that is in the outbox."""
        return [
            Outcome.model_validate_json(path.read_bytes())
            for path in sorted((self.root / "outbox").glob("*.json"))
        ]

    async def states(self, batch: Batch) -> list[JobState]:
        """Each element's state."""
        seen = await self.scheduler.sight([batch])
        assert seen is not None
        return [seen[batch.job_name, index].state for index in sorted(batch.live)]

    async def until(self, batch: Batch, *wanted: JobState) -> None:
        """Wait until all elements are in one of these states."""

        async def reached() -> bool:
            return set(await self.states(batch)) <= set(wanted)

        await eventually(reached)


def process_of(job_name: str, index: int = 0) -> int | None:
    """The process of a task that runs."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            arguments = (process / "cmdline").read_bytes().decode().split("\0")
            if job_name in arguments and arguments[-5:-1] == [
                "--uid",
                job_name,
                "--index",
                str(index),
            ]:
                return int(process.name)
    return None


def _task(index: int, resources: Resources) -> Task:
    prototype = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.61)
    parameters = GenerateParameters(
        prototypes=(prototype,),
        structures=1,
        test_structures=0,
        strain_max=0.02,
        rattle_angstrom=(0.05,),
        distance_min_angstrom=1.5,
        seed=index,
    )
    return make_task(0, Phase.GENERATION, index, parameters, resources=resources)


async def eventually(true: Callable[[], Awaitable[bool]], patience_s: float = PATIENCE_S) -> None:
    """Ask every 0.3 s until it is true."""
    until = time.monotonic() + patience_s
    while not await true():
        assert time.monotonic() < until, f"not within {patience_s} s"
        await asyncio.sleep(0.3)
