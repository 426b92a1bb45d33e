"""A site folder with the work half in it, and tasks as the control half writes them.

There is also one small fitted potential.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from kit.judged import judged_value_json
from kit.once import shared_folder
from mlip_autopipec.contract.explore import ExploreParameters, Walker
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.contract.tasks import AnyParameters, Input, Resources
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.task import Parameters, Task, TaskFile, make_task
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.structures import crystal, write_frames

CAMPAIGN = "stand-0a1b2c"
JOB_NAME = f"{CAMPAIGN}.c001.b00"
PHASES = {
    "generate": Phase.GENERATION,
    "explore": Phase.EXPLORATION,
    "select": Phase.SELECTION,
    "calculate": Phase.CALCULATION,
    "train": Phase.TRAINING,
}
P = TypeVar("P", bound=AnyParameters)
#: Seconds that any one task of these tests may take on a busy machine.
TASK_TIMEOUT_S = 100


@dataclass(frozen=True)
class Site:
    """A root folder on this machine, with the shipped work half in it."""

    root: Path

    @classmethod
    def at(cls, root: Path) -> "Site":
        """Put the work half there, as the daemon does."""
        shipment = pack()
        (root / shipment.path).parent.mkdir(parents=True)
        (root / shipment.path).write_bytes(shipment.content)
        return cls(root)

    def place(self, task: Task) -> Path:
        """Write task.json; the task's folder."""
        folder = self.root / task.workdir
        folder.mkdir(parents=True, exist_ok=True)
        content = TaskFile(campaign=CAMPAIGN, **dict(task)).model_dump_json(indent=1)
        (folder / "task.json").write_text(content, encoding="utf-8")
        return folder

    def command(
        self, task: Task, job_id: str = "17", index: int = 0, job_name: str = JOB_NAME
    ) -> list[str]:
        """The words that run one attempt."""
        arguments = {
            "--root": self.root,
            "--workdir": task.workdir,
            "--uid": job_name,
            "--index": index,
            "--job-id": job_id,
        }
        flat = [str(word) for pair in arguments.items() for word in pair]
        return [sys.executable, str(self.root / pack().path), "task", *flat]

    def run(
        self, task: Task, job_id: str = "17", **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run one attempt to its end, in a process of its own."""
        return subprocess.run(
            self.command(task, job_id),
            cwd=self.root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=TASK_TIMEOUT_S,
            check=False,
        )

    def outcome(self, index: int = 0, job_name: str = JOB_NAME) -> Outcome:
        """What lies in the outbox, as the daemon reads it."""
        return Outcome.model_validate_json(
            (self.root / "outbox" / f"{job_name}.{index}.json").read_bytes()
        )


def ref(root: Path, path: Path) -> FileRef:
    """A file as the control half names it."""
    return FileRef(
        path=path.relative_to(root).as_posix(), sha256=sha256(path.read_bytes()).hexdigest()
    )


def task_of(
    parameters: Parameters,
    inputs: Sequence[tuple[str, FileRef]] = (),
    *,
    number: int = 0,
    walltime_s: int = 600,
) -> Task:
    """One task of cycle 1."""
    named = [Input(name=name, file=file) for name, file in inputs]
    phase = PHASES[parameters.kind]
    return make_task(1, phase, number, parameters, named, Resources(walltime_s=walltime_s))


def job_of(root: Path, parameters: P, inputs: Mapping[str, list[Path]] | None = None) -> Job[P]:
    """The task as its module sees it, for calls within this process; the folder is made."""
    task = task_of(parameters)
    folder = root / task.workdir
    folder.mkdir(parents=True, exist_ok=True)
    return Job(
        root=root,
        workdir=folder,
        task=task.id,
        parameters=read(type(parameters), plain(task.parameters)),
        inputs=inputs or {},
        cores=1,
    )


def start_of(job: Job[ExploreParameters]) -> Atoms:
    """The crystal that a walker starts from."""
    prototype = job.parameters.walker.prototype
    assert prototype is not None
    return crystal(prototype)


def copper(
    repeat: tuple[int, int, int] = (1, 1, 1), rattle_angstrom: float = 0.0, seed: int = 0
) -> Atoms:
    """Fcc copper in its orthogonal cell."""
    atoms: Atoms = bulk("Cu", "fcc", a=3.61, cubic=True).repeat(repeat)
    atoms.positions += np.random.default_rng(seed).normal(
        0.0, rattle_angstrom, atoms.positions.shape
    )
    return atoms


def labelled(atoms: Atoms, role: str = "train", name: str = "one") -> Atoms:
    """The structure with the numbers of EMT, as Calculation would leave it."""
    truth = atoms.copy()
    truth.calc = EMT()
    label = atoms.copy()
    label.calc = SinglePointCalculator(
        label,
        energy=truth.get_potential_energy(),
        forces=truth.get_forces(),
        stress=truth.get_stress(),
    )
    label.info = {"task": name, "role": role, "origin": "a test", "settings": "EMT"}
    return label


def strained_copper(seed: int) -> Atoms:
    """Eight atoms of copper, strained by up to 3 % and rattled by 0.02 to 0.06 Å."""
    rng = np.random.default_rng([8, seed])
    atoms = copper((1, 1, 2), 0.02 * (1 + seed % 3), seed)
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True
    )
    return atoms


def training_set(folder: Path, train: int = 10, test: int = 4) -> list[Path]:
    """Label files of copper, one structure each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(train + test):
        role = "train" if number < train else "test"
        paths.append(folder / f"{number:02d}.extxyz")
        write_frames(paths[-1], [labelled(strained_copper(number), role, f"label-{number:02d}")])
    return paths


def train_parameters(**changes: Any) -> TrainParameters:
    """A fit small enough for tests."""
    settings: dict[str, Any] = {
        "elements": ("Cu",),
        "cutoff_angstrom": 4.5,
        "functions_per_element": 20,
        "energy_weight": 100.0,
        "force_weight": 1.0,
        "ridge": 1e-8,
        "potential_folder": "potentials/001",
        "dataset_file": "dataset/001.extxyz",
        "reference_energies_ev": None,
        "seed": 5,
    }
    return TrainParameters(**{**settings, **changes})


def explore_parameters(
    walker: Mapping[str, Any] | None = None, **changes: Any
) -> ExploreParameters:
    """A walker of 32 atoms of copper over 40 steps.

    Its γ guards are out of reach unless a test sets them.
    """
    item: dict[str, Any] = {
        "prototype": Prototype(
            structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.61, repeat=(2, 2, 2)
        ),
        "ensemble": "nvt",
        "temperature_kelvin": 300.0,
        "steps": 40,
        "timestep_fs": 2.0,
        "seed": 11,
    }
    if walker and "file" in walker:
        item["prototype"] = None
    whole = read(Walker, plain({**item, **(walker or {})}))
    settings: dict[str, Any] = {
        "walker": whole,
        "label": whole.label,
        "elements": ("Cu",),
        "gamma_select": 1e6,
        "gamma_halt": 1e7,
        "stride": 5,
        "distance_min_angstrom": 1.5,
        "audit_frames": 2,
    }
    return ExploreParameters(**{**settings, **changes})


@dataclass(frozen=True)
class Fitted:
    """A root folder in which Training has run once, and what it said."""

    root: Path
    metrics: TrainMetrics
    labels: list[Path]

    @property
    def yaml(self) -> Path:
        return self.root / "potentials/001/potential.yaml"

    @property
    def asi(self) -> Path:
        return self.root / "potentials/001/potential.asi"

    @property
    def inputs(self) -> dict[str, list[Path]]:
        """The potential as Exploration and Selection get it."""
        return {"potential_yaml": [self.yaml], "potential_asi": [self.asi]}


def fit_alloy(root: Path) -> Fitted:
    """A small potential for copper and gold: every prototype of theirs, strained and rattled."""
    from mlip_autopipec.work.steps import train as training  # noqa: PLC0415 - needs pyace, which not every machine has

    labels = []
    for number in range(12):
        rng = np.random.default_rng([9, number])
        atoms = copper((1, 1, 2), 0.05, number)
        atoms.set_chemical_symbols(
            [("Cu", "Au")[kind] for kind in rng.permutation([0, 0, 0, 0, 1, 1, 1, 1])]
        )
        atoms.set_cell(atoms.cell.array * rng.uniform(1.02, 1.14), scale_atoms=True)
        labels.append(root / "labels" / f"{number:02d}.extxyz")
        labels[-1].parent.mkdir(parents=True, exist_ok=True)
        write_frames(
            labels[-1], [labelled(atoms, "train" if number < 9 else "test", f"label-{number:02d}")]
        )
    result = training.run(job_of(root, train_parameters(elements=("Cu", "Au")), {"label": labels}))
    return Fitted(root, result.metrics, labels)


def fit_once(factory: pytest.TempPathFactory) -> Fitted:
    """The small copper potential, fitted at the first call of the whole test run.

    This holds whichever process makes it.
    """
    with shared_folder(factory, "fitted") as root:
        if not (root / "metrics.json").exists():
            from mlip_autopipec.work.steps import train as training  # noqa: PLC0415 - needs pyace, which not every machine has

            labels = training_set(root / "labels")
            result = training.run(job_of(root, train_parameters(), {"label": labels}))
            (root / "metrics.json").write_text(json.dumps(plain(result.metrics)), encoding="utf-8")
    metrics = judged_value_json(TrainMetrics, (root / "metrics.json").read_bytes())
    return Fitted(root, metrics, sorted((root / "labels").iterdir()))
