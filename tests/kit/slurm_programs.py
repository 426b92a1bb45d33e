"""A stand for SlurmScheduler: real shells and scripts, and Slurm programs that do as they are told.

Each program is a small script in a folder of the PATH. It notes that it was called, and then does
what a test has written for it. So everything but Slurm itself is what runs on a site.
"""

import os
import secrets
import subprocess
from pathlib import Path

import pytest

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.schedulers.slurm import SlurmScheduler
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.transports.local import LocalTransport
from mlip_autopipec.work.codes.ase.settings import AseOracle

JOB_NAME = "copper-3f9a1c.c003.calculation.b00"
#: What the work half is replaced by: it says what it was given, and what signals it gets.
PAYLOAD = """
import os, signal, sys, time
def told(number, _frame):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(7)
signal.signal(signal.SIGUSR1, told)
signal.signal(signal.SIGTERM, told)
print("began", *sys.argv[1:], os.environ["OMP_NUM_THREADS"], os.environ.get("SITE"), os.getcwd(), flush=True)
time.sleep(float(os.environ.get("PAYLOAD_SLEEP_S", "0")))
sys.exit(3)
"""  # noqa: E501 - text for another program


def some_tasks(number: int, resources: Resources | None = None) -> list[Task]:
    """Tasks that label nothing in particular."""
    oracle = AseOracle(calculator="ase.calculators.emt.EMT")
    return [
        make_task(
            3,
            Phase.CALCULATION,
            index,
            CalculateParameters(
                role=Role.TRAIN, origin=f"test {index}", oracle=oracle, force_max_ev_per_angstrom=50
            ),
            resources=resources,
        )
        for index in range(number)
    ]


def a_batch(tasks: list[Task], job_name: str = JOB_NAME, job_id: str | None = None) -> Batch:
    """The batch of these tasks, all of them live."""
    names = tuple(task.id for task in tasks)
    return Batch(job_name=job_name, tasks=names, job_id=job_id, live=frozenset(range(len(tasks))))


class SlurmStand:
    """One site with three tasks in one batch."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, options: SlurmQueue) -> None:
        self.root = folder / "a root"
        self._bin = folder / "bin"
        self._notes = folder / "notes"
        for made in (self.root / "outbox", self._bin, self._notes):
            made.mkdir(parents=True)
        monkeypatch.setenv("PATH", f"{self._bin}:{os.environ['PATH']}")
        self.clock = SimulatedClock()
        self.transport = LocalTransport(self.root)
        self.options = options
        self.scheduler = self.another_scheduler()
        self.tasks = some_tasks(3)
        self.batch = a_batch(self.tasks)
        for name in ("sbatch", "squeue", "scancel", "scontrol", "sinfo"):
            self.program(name, "true")
        self.answers("sacct", err="Slurm accounting storage is disabled\n", status=1)
        (self.root / "payload.py").write_text(PAYLOAD, encoding="utf-8")
        for task in self.tasks:
            (self.root / task.workdir).mkdir(parents=True)

    def another_scheduler(self) -> SlurmScheduler:
        """As after a restart of the daemon."""
        return SlurmScheduler(
            self.transport,
            options=self.options,
            payload="payload.py",
            root=str(self.root),
            python="python3",
            clock=self.clock,
            nonce=lambda: secrets.token_hex(16),
        )

    def program(self, name: str, body: str) -> None:
        """What a program of Slurm does from now on."""
        path = self._bin / name
        temporary = path.with_suffix(".new")
        temporary.write_text(
            f'#!/bin/sh\necho "$0 $*" >>"{self._notes}/{name}"\n{body}\n', encoding="utf-8"
        )
        temporary.chmod(0o755)
        temporary.rename(path)

    def answers(self, name: str, out: str = "", err: str = "", status: int = 0) -> None:
        """Let a program print this and end with this status."""
        (self._notes / f"{name}.out").write_text(out, encoding="utf-8")
        (self._notes / f"{name}.err").write_text(err, encoding="utf-8")
        self.program(
            name,
            f'cat "{self._notes}/{name}.out"; cat "{self._notes}/{name}.err" >&2; exit {status}',
        )

    def calls(self, name: str) -> list[str]:
        """The command lines with which a program was called."""
        notes = self._notes / name
        return notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []

    @property
    def folder(self) -> Path:
        """The batch's folder on the site."""
        return self.root / ".ap" / "submit" / JOB_NAME

    @property
    def gate(self) -> str | None:
        """What the gate says, once it is made."""
        return (
            str((self.folder / "gate").readlink()) if (self.folder / "gate").is_symlink() else None
        )

    def start_element(
        self, array: str, index: int, **environment: str
    ) -> "subprocess.Popen[bytes]":
        """Run the job script as slurmd would run one element.

        Slurm's own file of its output is slurm-INDEX.out.
        """
        slurm = {
            "SLURM_ARRAY_JOB_ID": array,
            "SLURM_ARRAY_TASK_ID": str(index),
            "SLURM_JOB_ID": array,
        }
        with (self.folder / f"slurm-{index}.out").open("ab") as output:
            return subprocess.Popen(
                ["bash", self.folder / "job.sh"],
                cwd=self.root,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], "SLURMD_NODENAME": "n1", **slurm, **environment},
            )

    def run_element(self, array: str, index: int, **environment: str) -> int:
        """The exit status of one element."""
        return self.start_element(array, index, **environment).wait(timeout=20)

    def output(self, index: int) -> str:
        """What the element's task has printed; empty if none ran."""
        path = self.root / self.tasks[index].workdir / f"job-{JOB_NAME}.out"
        return path.read_text(encoding="utf-8") if path.exists() else ""
