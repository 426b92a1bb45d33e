"""A root folder with the real work half in it, a queue on this machine, and quick or slow tasks."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from kit.files import newest_run
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.tasks import Input, Resources
from mlip_autopipec.contract.values import read
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task, TaskFile, make_task
from mlip_autopipec.ports import Accepted, Transport
from mlip_autopipec.schedulers.local import LocalScheduler
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.transports.local import LocalTransport
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.job import Identity
from mlip_autopipec.work.queue import local_queue

JOB_NAME = "stand-0a1b2c.c000.calculation.b00"
#: For what should come within a second or two, on a busy machine.
PATIENCE_S = 60.0
STRUCTURE = """\
4
Lattice="3.61 0 0 0 3.61 0 0 0 3.61" Properties=species:S:1:pos:R:3 pbc="T T T"
Cu 0 0 0
Cu 0 1.805 1.805
Cu 1.805 0 1.805
Cu 1.805 1.805 0.1
"""


@dataclass(frozen=True)
class Queue:
    """One root, one scheduler."""

    root: Path
    scheduler: LocalScheduler

    @classmethod
    def at(
        cls,
        root: Path,
        cores: int = 2,
        python: str | None = None,
        transport: Transport | None = None,
    ) -> "Queue":
        """Put the work half there, as the daemon does."""
        shipment = pack()
        (root / shipment.path).parent.mkdir(parents=True, exist_ok=True)
        (root / shipment.path).write_bytes(shipment.content)
        (root / "structure.extxyz").write_text(STRUCTURE, encoding="utf-8")
        scheduler = LocalScheduler(
            transport or LocalTransport(root),
            root=str(root),
            cores=cores,
            payload=shipment.path,
            python=python or sys.executable,
        )
        return cls(root, scheduler)

    def stage(self, batch: Batch, tasks: Sequence[Task]) -> bool:
        """What a submission does before it starts a runner."""
        return local_queue.stage(self.root, self.scheduler.spec(batch, tasks))

    def batch(self, tasks: Sequence[Task], job_name: str = JOB_NAME) -> Batch:
        """A batch of these tasks, whose files are in place."""
        for task in tasks:
            folder = self.root / task.workdir
            folder.mkdir(parents=True, exist_ok=True)
            content = TaskFile(campaign="stand-0a1b2c", **dict(task)).model_dump_json()
            (folder / "task.json").write_text(content, encoding="utf-8")
        return Batch(
            job_name=job_name,
            tasks=tuple(task.id for task in tasks),
            live=frozenset(range(len(tasks))),
        )

    def folder(self, job_name: str = JOB_NAME) -> Path:
        """Where the runner of a batch leaves its files."""
        return self.root / ".ap/submit" / job_name

    def runner(self, job_name: str = JOB_NAME) -> dict[str, Any] | None:
        """What the runner, or whoever forbade it, has said."""
        path = self.folder(job_name) / "runner.json"
        return json.loads(path.read_text()) if path.exists() else None

    def runner_command(self, job_name: str = JOB_NAME) -> list[str | Path]:
        """The words that run a batch, here without leaving the session."""
        return [
            sys.executable,
            str(self.root / pack().path),
            "batch",
            "--root",
            str(self.root),
            "--uid",
            job_name,
        ]

    def has_begun(self, task: Task) -> bool:
        """Whether a slow task is at work."""
        return (self.run_of(task) / "begun").exists()

    def run_of(self, task: Task) -> Path:
        """Where the last life of a task has written; the task's folder where none has begun."""
        return newest_run(self.root / task.workdir)

    def claims(self, task: Task) -> int:
        """How many attempts at a task were ever begun or forbidden."""
        return len(list((self.root / task.workdir).glob("claim.*")))

    def outcome(self, index: int, job_name: str = JOB_NAME) -> Outcome | None:
        """What lies in the outbox."""
        path = self.root / "outbox" / f"{job_name}.{index}.json"
        return Outcome.model_validate_json(path.read_bytes()) if path.exists() else None

    async def states(self, batch: Batch) -> list[JobState]:
        """Where every attempt of a batch stands."""
        seen = await self.scheduler.sight([batch])
        assert seen is not None
        assert {(sighting.job_name, sighting.index) for sighting in seen.values()} == set(seen)
        return [seen[batch.job_name, index].state for index in sorted(batch.live)]

    async def until_states(self, batch: Batch, *states: JobState) -> None:
        """Wait until the attempts stand so."""
        found: list[JobState] = []
        until = time.monotonic() + PATIENCE_S
        while (found := await self.states(batch)) != list(states):
            assert time.monotonic() < until, found
            await asyncio.sleep(0.02)

    async def accepted(self, batch: Batch, tasks: Sequence[Task]) -> str:
        """Submit; the job id."""
        answer = await self.scheduler.submit(batch, tasks)
        assert isinstance(answer, Accepted), answer
        return answer.job_id

    def kill_all(self) -> None:
        """End every process that this queue has started and that still runs."""
        found = [
            *self.root.glob(".ap/submit/*/runner.json"),
            *self.root.glob(".ap/submit/*/*.running"),
        ]
        for path in [*found, *self.root.glob("cycles/**/claim.*/started.json")]:
            with contextlib.suppress(ValueError):  # the proof that no runner ever will begin
                process = read(Identity, json.loads(path.read_text()))
                if process.pid != os.getpid() and local_queue.is_alive(process):
                    os.killpg(process.pid, signal.SIGKILL)


def make(
    number: int, calculator: str, arguments: dict[str, Any], digest: str, **resources: Any
) -> Task:
    """One task of the first cycle."""
    parameters = CalculateParameters(
        role=Role.TRAIN,
        origin="a test",
        oracle=AseOracle(calculator=calculator, arguments=arguments),
        force_max_ev_per_angstrom=50.0,
    )
    structure = Input(name="structure", file=FileRef(path="structure.extxyz", sha256=digest))
    return make_task(0, Phase.CALCULATION, number, parameters, [structure], Resources(**resources))


def quick(number: int = 0, **resources: int) -> Task:
    """A task that is over as soon as it has begun: its input is not what it should be."""
    return make(number, "ase.calculators.emt.EMT", {}, "0" * 64, **resources)


def slow(number: int = 0, seconds: float = 60.0, **resources: int) -> Task:
    """A label that takes its time."""
    return make(number, "kit.oracles.Slow", {"seconds": seconds}, structure_digest(), **resources)


def odd(number: int, oracle: str, **resources: int) -> Task:
    """A label by another of the oracles for tests."""
    return make(number, f"kit.oracles.{oracle}", {}, structure_digest(), **resources)


def structure_digest() -> str:
    """Of the structure that is labelled."""
    return sha256(STRUCTURE.encode()).hexdigest()


def run_now(command: Iterable[str | Path]) -> int:
    """Run a command to its end; its exit status."""
    done = subprocess.run(list(command), capture_output=True, timeout=PATIENCE_S, check=False)
    assert done.stderr == b""
    return done.returncode
