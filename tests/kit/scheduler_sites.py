"""All that implement ports.Scheduler, on empty sites; tasks do as tests say and count their starts.

Real ones run the whole work half, of which only what a task calculates is replaced; simulated ones
run in virtual time.
"""

import asyncio
import random
import secrets
import sys
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from kit.simulated import SLURM_VERBS
from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.contract.generate import GenerateParameters, Prototype
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task, TaskFile, make_task
from mlip_autopipec.ports import Clock, Scheduler
from mlip_autopipec.process import SystemClock
from mlip_autopipec.schedulers.local import LocalScheduler
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.schedulers.slurm import SlurmScheduler
from mlip_autopipec.testing.clock import SimulatedClock, run_simulated
from mlip_autopipec.testing.cluster import SimulatedCluster
from mlip_autopipec.testing.jobs import SimulatedJobs
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.testing.slurm import SimulatedSlurm, SlurmTransport
from mlip_autopipec.testing.weather import FaultRates, Weather
from mlip_autopipec.transports.local import LocalTransport

_LIMIT_S = 7200.0
_LOOK_S = 0.3
_MODULE = "mlip_autopipec/work/steps/generate.py"
#: What a task calculates: nothing. It says that it has begun, and then does what `how` in the root
#: says.
_PROGRAM = """
import os, time
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.work.job import Result, TaskFailed

def run(job):
    with open(job.root / "starts" / job.task, "a") as starts:
        starts.write("x")
    how = (job.root / "how").read_text()
    if how == "die":
        os._exit(3)
    while how == "last":
        if job.stopping.wait(0.05):
            raise TaskFailed("crashed", "it was asked to stop")
    return Result(GenerateMetrics(structures=(), environments={}, redrawn=0))
"""


class Site(ABC):
    """A site, and how many times its tasks have begun."""

    clock: Clock
    #: On a busy machine; jobs of a real Slurm begin on a tick of a second or more.
    patience_s = 90.0
    #: What a task that dies by itself is called.
    death: frozenset[Reason] = frozenset({Reason.CRASHED})

    @abstractmethod
    def scheduler(self) -> Scheduler:
        """A new one, as after a restart of the daemon."""

    @abstractmethod
    def place(self, path: str, content: bytes) -> None:
        """Put a file below the root."""

    @abstractmethod
    def starts(self, batch: Batch) -> list[int]:
        """How often each task has done its work, or begun to."""

    @abstractmethod
    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run a test to its end."""

    def tasks_do(self, how: str) -> None:
        """`end` at once, `last` until they are asked to stop, or `die` without a word."""
        self.place("how", how.encode())

    def impossible(self) -> Resources | None:
        """Let the next batch be refused for good, by what it asks for if that is given."""
        return None

    def batch(self, number: int, resources: Resources | None = None) -> tuple[Batch, list[Task]]:
        """Tasks whose files are in place."""
        tasks = [_task(index, resources) for index in range(number)]
        campaign = self.name
        for task in tasks:
            self.place(
                f"{task.workdir}/task.json",
                TaskFile(campaign=campaign, **dict(task)).model_dump_json().encode(),
            )
        job_name = f"{campaign}.c000.generation.b00"
        return Batch(
            job_name=job_name, tasks=tuple(task.id for task in tasks), live=frozenset(range(number))
        ), tasks

    @property
    def name(self) -> str:
        """Of the campaign."""
        return "contract-0a1b2c"

    async def eventually(self, true: Callable[[], Awaitable[bool]]) -> None:
        """Ask again and again until it is true."""
        for _ in range(round(self.patience_s / _LOOK_S)):
            if await true():
                return
            await self.clock.sleep(_LOOK_S)
        raise AssertionError(f"not within {self.patience_s} s")


class RealSite(Site):
    """A folder of this machine."""

    clock = SystemClock()

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("starts", "outbox", ".ap"):
            (root / folder).mkdir(parents=True)
        shipment = pack()
        self.payload = shipment.path
        _replace(root / self.payload, shipment.content)
        self.tasks_do("end")

    def place(self, path: str, content: bytes) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)

    def starts(self, batch: Batch) -> list[int]:
        files = [self.root / "starts" / task for task in batch.tasks]
        return [len(file.read_text(encoding="utf-8")) if file.exists() else 0 for file in files]

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        asyncio.run(test)

    @property
    def name(self) -> str:
        return f"contract{abs(hash(self.root)) % 10**9:09d}-0a1b2c"


class LocalSite(RealSite):
    """The queue of this machine, two tasks at a time."""

    def scheduler(self) -> Scheduler:
        return LocalScheduler(
            LocalTransport(self.root),
            root=str(self.root),
            cores=2,
            payload=self.payload,
            python=sys.executable,
        )

    def impossible(self) -> Resources:
        return Resources(cores=3)


class SlurmSite(RealSite):
    """The lab's Slurm, over its own file system; SLURM_CONF says where."""

    options = SlurmQueue()

    def scheduler(self) -> Scheduler:
        return SlurmScheduler(
            LocalTransport(self.root),
            options=self.options,
            payload=self.payload,
            root=str(self.root),
            python=sys.executable,
            clock=self.clock,
            nonce=lambda: secrets.token_hex(16),
        )

    def impossible(self) -> None:
        self.options = SlurmQueue(partition="nowhere")


class SimulatedSite(Site):
    """In virtual time, with no fault but those that `weather` is told."""

    death = frozenset(Reason)
    patience_s = 1200.0  # of virtual time, which costs nothing

    def __init__(self) -> None:
        self._clock = SimulatedClock()
        self.clock = self._clock
        self._chance = random.Random(7)  # noqa: S311 - seeded
        self.weather = Weather(self._clock, self._chance, FaultRates())
        self.transport, self.jobs, self._make = self._site()

    @abstractmethod
    def _site(self) -> tuple[MemoryTransport, SimulatedJobs, Callable[[], Scheduler]]:
        """Files, jobs, and what makes a scheduler."""

    def fault(self, name: str, rate: float = 1.0) -> None:
        """Let it happen from now on, or not any more."""
        self.weather.rates = FaultRates(**{name: rate})

    def tasks_do(self, how: str) -> None:
        self.fault("dies", 1.0 if how == "die" else 0.0)

    def impossible(self) -> None:
        self.fault("rejected")

    def scheduler(self) -> Scheduler:
        return self._make()

    def place(self, path: str, content: bytes) -> None:
        self.transport.files[path] = content

    def starts(self, batch: Batch) -> list[int]:
        begun = [0] * len(batch.tasks)
        for job in self.jobs._all():
            if job.job_name == batch.job_name and not job.idle:
                begun[job.index] += len(job.starts)
        return begun

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        run_simulated(test, self._clock, limit_s=_LIMIT_S)
        assert self.jobs.violations == []


class ClusterSite(SimulatedSite):
    """The shipped fake of the port."""

    def _site(self) -> tuple[MemoryTransport, SimulatedJobs, Callable[[], Scheduler]]:
        transport = MemoryTransport()
        cluster = SimulatedCluster(transport, self._clock, self.weather, self._chance)
        return transport, cluster, lambda: cluster


class SimulatedSlurmSite(SimulatedSite):
    """The real Slurm scheduler over the shipped fake of Slurm."""

    def _site(self) -> tuple[MemoryTransport, SimulatedJobs, Callable[[], Scheduler]]:
        transport = SlurmTransport(self.weather, self._chance, SLURM_VERBS)
        transport.slurm = SimulatedSlurm(transport, self._clock, self.weather, self._chance)

        def made() -> Scheduler:
            return SlurmScheduler(
                transport,
                options=SlurmQueue(),
                payload="p.pyz",
                root="/site",
                python="python3",
                clock=self._clock,
                nonce=lambda: f"{self._chance.getrandbits(64):x}",
            )

        return transport, transport.slurm, made


def _replace(path: Path, content: bytes) -> None:
    """Write the zipapp with another module in the place of what generates structures."""
    path.with_suffix(".whole").write_bytes(content)
    with (
        zipfile.ZipFile(path.with_suffix(".whole")) as whole,
        zipfile.ZipFile(path, "w") as archive,
    ):
        for name in whole.namelist():
            archive.writestr(name, _PROGRAM if name == _MODULE else whole.read(name))


def _task(index: int, resources: Resources | None) -> Task:
    parameters = GenerateParameters(
        prototypes=(Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6),),
        structures=1,
        test_structures=0,
        strain_max=0.0,
        rattle_angstrom=(0.1,),
        distance_min_angstrom=1.0,
        seed=index,
    )
    asked = resources or Resources(memory_mib=200, walltime_s=300)
    return make_task(0, Phase.GENERATION, index, parameters, resources=asked)
