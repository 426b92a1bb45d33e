"""Generated structures, test set and pools of `scripts/bench labels`.

Each is made once and kept in a folder.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from labels_fit import Fitter, Rows
from labels_md import Condition, Forces, Sampling, conditions, sample, start

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.results.train import FittedSettings
from mlip_autopipec.contract.train import FitSettings
from mlip_autopipec.contract.values import plain
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.phases.generation import Generation
from mlip_autopipec.work.ace.choice import choose, fixed
from mlip_autopipec.work.ace.evaluator import AceEvaluator
from mlip_autopipec.work.ace.labels import fit_references
from mlip_autopipec.work.codes.ase.run import calculator_of
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.steps import generate as generation
from mlip_autopipec.work.structures import read_frames, write_frames

#: Changes with whatever makes kept files worthless.
_VERSION = 1
_POOL = Sampling(frames=260, spacing_fs=80, settling_fs=500)
_TEST = Sampling(frames=48, spacing_fs=160, settling_fs=500)
_TEST_SEED = 977_001
#: Random frames of the oracle's MD that `auto` is chosen on, beside the generated structures.
_CHOSEN_ON = 60

Say = Callable[[str], None]


@dataclass(frozen=True)
class Store:
    """Files that are made once; their names change with what they are made of."""

    folder: Path
    config: WorkflowConfig

    def frames(self, name: str, make: Callable[[], list[Atoms]], *made_of: object) -> list[Atoms]:
        """Labelled frames by name, made if they are not there yet."""
        path = self.folder / f"{name}-{self._mark(made_of)}.extxyz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_frames(path, make())
        return read_frames(path)

    def json(self, name: str, make: Callable[[], Any], *made_of: object) -> Any:
        """The same for what JSON can hold."""
        path = self.folder / f"{name}-{self._mark((*made_of, self._training()))}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(make()), encoding="utf-8")
        return json.loads(path.read_text(encoding="utf-8"))

    def _training(self) -> dict[str, Any]:
        training = self.config.training
        names = (
            "cutoff_angstrom",
            "functions_per_element",
            "energy_weight",
            "force_weight",
            "ridge",
            "buffer_weight",
        )
        return {name: getattr(training, name) for name in names}

    def _mark(self, made_of: Sequence[object]) -> str:
        config = self.config
        content = {
            "version": _VERSION,
            "elements": config.campaign.elements,
            "distance_min": config.distance_min_angstrom,
            "generation": config.generation.model_dump(mode="json"),
            "walkers": [
                section.model_dump(mode="json", exclude={"replicas", "steps"})
                for section in config.exploration.walkers
            ],
            "oracle": plain(config.calculation.oracle),
            "made_of": made_of,
        }
        return hashlib.sha256(
            json.dumps(content, sort_keys=True, default=str).encode()
        ).hexdigest()[:8]


@dataclass(frozen=True)
class Oracle:
    """The site file's ASE calculator."""

    calculator: Any
    needs_stress: bool = False

    @classmethod
    def of(cls, config: WorkflowConfig) -> "Oracle":
        """Raises ValueError for an oracle that is no ASE calculator: MD by it would take days."""
        oracle = config.calculation.oracle
        if isinstance(oracle, AseOracle):
            return cls(calculator_of(oracle))
        raise ValueError(
            "calculation.oracle.kind must be ase: the bench runs MD by the oracle itself"
        )

    def forces(self, *, stress: bool) -> Forces:
        """For MD."""
        held: list[Atoms] = []

        def evaluate(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
            # One Atoms object for all steps: a calculator keeps its neighbour list only for the
            # same.
            if not held or len(held[0]) != len(atoms):
                held[:] = [atoms.copy()]
                held[0].calc = self.calculator
            mine = held[0]
            mine.set_cell(atoms.cell)
            mine.positions[:] = atoms.positions
            if not np.array_equal(mine.numbers, atoms.numbers):
                mine.numbers[:] = atoms.numbers
            energy, forces = float(mine.get_potential_energy()), mine.get_forces()
            return energy, forces, mine.get_stress()[:3] if stress else np.zeros(3)

        return evaluate

    def label(self, frames: Sequence[Atoms]) -> list[Atoms]:
        """Copies with energy and forces, and with stress where the calculator knows it."""
        labelled = []
        knows_stress = "stress" in getattr(self.calculator, "implemented_properties", ())
        for frame in frames:
            bare = Atoms(frame.numbers, positions=frame.positions, cell=frame.cell, pbc=frame.pbc)
            bare.calc = self.calculator
            found = frame.copy()
            energy, forces = float(bare.get_potential_energy()), bare.get_forces().copy()
            stress = bare.get_stress().copy() if knows_stress and bare.pbc.all() else None
            found.calc = SinglePointCalculator(found, energy=energy, forces=forces, stress=stress)
            labelled.append(found)
        return labelled


def of_potential(evaluator: AceEvaluator) -> Forces:
    """Forces of a potential, for MD."""

    def evaluate(atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        found = evaluator.evaluate(atoms, graded=False)
        return found.energy_ev, found.forces, -found.virial_ev[:3] / atoms.get_volume()

    return evaluate


def generated(config: WorkflowConfig, folder: Path) -> list[Atoms]:
    """The training structures of Generation, by the task's own code, with their labels."""
    supplies = {
        path: FileRef(path=f"{number}-{path.name}", sha256="0" * 64)
        for number, path in enumerate(config.generation.files)
    }
    (task,) = Generation(config, supplies).plan(WorkflowState())
    parameters = task.parameters
    assert isinstance(parameters, GenerateParameters)
    workdir = folder / "generation"
    workdir.mkdir(parents=True, exist_ok=True)
    for path, ref in supplies.items():
        (workdir / ref.path).write_bytes(path.read_bytes())
    job = Job(
        root=folder,
        workdir=workdir,
        task=task.id,
        parameters=parameters,
        inputs={"structure": [workdir / ref.path for ref in supplies.values()]} if supplies else {},
        cores=1,
    )
    made = [
        read_frames(folder / structure.file.path)[0]
        for structure in generation.run(job).metrics.structures
        if structure.role == "train"
    ]
    return Oracle.of(config).label(made)


def by_oracle(
    config: WorkflowConfig, sampling: Sampling, seed: int, say: Say, what: str
) -> list[Atoms]:
    """Frames of the oracle's own MD, all conditions evenly."""
    oracle = Oracle.of(config)

    def forces(condition: Condition) -> Forces:
        return oracle.forces(stress=condition.section.ensemble == "npt")

    return oracle.label(_walked(config, forces, sampling, seed, say, what))


def by_potential(
    config: WorkflowConfig, potential: Path, sampling: Sampling, seed: int, say: Say, what: str
) -> list[Atoms]:
    """Frames of MD by a potential, all conditions evenly, with the oracle's labels."""
    forces = of_potential(AceEvaluator(potential))
    return Oracle.of(config).label(_walked(config, lambda _: forces, sampling, seed, say, what))


def _walked(
    config: WorkflowConfig,
    forces: Callable[[Condition], Forces],
    sampling: Sampling,
    seed: int,
    say: Say,
    what: str,
) -> list[Atoms]:
    found: list[Atoms] = []
    every = conditions(config)
    for number, condition in enumerate(every):
        each = Sampling(
            -(-sampling.frames // len(every)),
            sampling.spacing_fs,
            sampling.settling_fs,
            sampling.trajectories,
        )
        frames = list(
            sample(
                condition,
                start(condition, config.campaign.elements),
                forces(condition),
                each,
                distance_min_angstrom=config.distance_min_angstrom,
                rng=np.random.default_rng([seed, number]),
            )
        )
        short = "" if len(frames) == each.frames else f" of {each.frames}: the rest exploded"
        say(f"{what}: {condition.name}, {len(frames)} frames{short}")
        found += frames
    return found


@dataclass(frozen=True)
class Pools:
    """Everything of one seed that does not depend on the program's loop."""

    fitter: Fitter
    generated: list[Rows]
    test: list[Rows]
    of_oracle: list[Rows]
    of_bootstrap: list[Rows]


def test_frames(config: WorkflowConfig, store: Store, say: Say) -> list[Atoms]:
    """The independent test set, the same for every seed."""
    return store.frames(
        "test", lambda: by_oracle(config, _TEST, _TEST_SEED, say, "test set"), _TEST, _TEST_SEED
    )


def generated_frames(config: WorkflowConfig, store: Store) -> list[Atoms]:
    """The generated training structures of this campaign seed."""
    seed = config.campaign.seed
    return store.frames(
        f"seed-{seed}/generated", lambda: generated(config, store.folder / f"seed-{seed}"), seed
    )


def oracle_pool(config: WorkflowConfig, store: Store, say: Say) -> list[Atoms]:
    """Frames of the oracle's own MD, to draw from."""
    seed = config.campaign.seed
    return store.frames(
        f"seed-{seed}/pool-oracle",
        lambda: by_oracle(config, _POOL, 1000 + seed, say, "oracle's MD"),
        _POOL,
        seed,
    )


def fitter_of(config: WorkflowConfig, store: Store, say: Say) -> Fitter:
    """With reference energies from the generated structures, as the campaign pins them.

    What the site file leaves to `auto` is chosen once, by the product's own cross-validation over
    the generated structures and some random frames of the oracle's MD, so that every way of
    choosing labels has the same fit.
    """
    frames = generated_frames(config, store)
    training = config.training
    asked = training.reference_energies_ev
    references: Mapping[str, float] = (
        asked if isinstance(asked, Mapping) else fit_references(frames)
    )
    asked_fit = FitSettings(
        elements=config.campaign.elements,
        buffer_weight=training.buffer_weight,
        cutoff_angstrom=training.cutoff_angstrom,
        functions_per_element=training.functions_per_element,
        force_weight=training.force_weight,
        **training.balance()._asdict(),
    )

    def chosen() -> dict[str, Any]:
        pool = oracle_pool(config, store, say)
        drawn = np.random.default_rng(config.campaign.seed).permutation(len(pool))[:_CHOSEN_ON]
        return asdict(
            choose([*frames, *(pool[index] for index in drawn)], references, asked_fit).settings
        )

    settings = fixed(asked_fit)
    if settings is None:
        settings = FittedSettings(
            **store.json(f"seed-{config.campaign.seed}/settings", chosen, _CHOSEN_ON)
        )
        say(f"auto: {settings}")
    return Fitter(config.campaign.elements, settings, training.buffer_weight, references)


def pools(config: WorkflowConfig, store: Store, say: Say) -> Pools:
    """Make them, or read them."""
    seed = config.campaign.seed
    (store.folder / f"seed-{seed}").mkdir(parents=True, exist_ok=True)
    frames = generated_frames(config, store)
    fitter = fitter_of(config, store, say)
    rows = fitter.rows(frames)
    bootstrap = store.folder / f"seed-{seed}" / "bootstrap.yaml"
    fitter.save(fitter.fit(rows), bootstrap)
    of_oracle = oracle_pool(config, store, say)
    of_bootstrap = store.frames(
        f"seed-{seed}/pool-bootstrap",
        lambda: by_potential(
            config, bootstrap, _POOL, 2000 + seed, say, "bootstrap potential's MD"
        ),
        _POOL,
        seed,
        store._training(),
        fitter.digest,
    )
    say(f"rows of {len(of_oracle) + len(of_bootstrap)} structures")
    return Pools(
        fitter=fitter,
        generated=rows,
        test=fitter.rows(test_frames(config, store, say)),
        of_oracle=fitter.rows(of_oracle),
        of_bootstrap=fitter.rows(of_bootstrap),
    )
