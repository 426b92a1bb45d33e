"""Physics in milliseconds, with the standard library only, for a daemon killed a thousand times.

Everything else of the work half is the real one: the claim, the checked inputs, the outcome and the
outbox. The same task gives the same files in every run, so that data sets can be compared byte for
byte.
"""

import hashlib
import random
from dataclasses import replace

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.generate import AdoptedSet, GenerateMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics, LabelDifference
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.structure import Structure, Why
from mlip_autopipec.contract.results.train import Errors, PastErrors, TrainMetrics
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work.job import AnyJob, Job, Result, place_new


def _chance(job: AnyJob) -> random.Random:
    return random.Random(job.task)  # noqa: S311 - the same in every run is the point


def _structures(
    job: AnyJob, number: int, tests: int, why: Why, *, first: int = 0
) -> tuple[Structure, ...]:
    structures = []
    for index in range(first, first + number + tests):
        path = job.workdir / f"{index:04d}.extxyz"
        path.write_text(f"structure {index} of {job.task}\n", encoding="utf-8")
        role = Role.TRAIN if index < first + number else Role.TEST
        structures.append(
            Structure(file=job.ref(path), role=role, origin="soak", n_atoms=4, why=why)
        )
    return tuple(structures)


def generate(job: Job[GenerateParameters]) -> Result[GenerateMetrics]:
    """As many structures as are asked for."""
    structures = _structures(
        job, job.parameters.structures, job.parameters.test_structures, "generated"
    )
    dataset = None
    if job.parameters.dataset is not None:
        written = job.workdir / "adopted.extxyz"
        written.write_text(
            "".join(path.read_text() for path in job.inputs["labelled"]), encoding="utf-8"
        )
        dataset = AdoptedSet(file=job.ref(written), train=5, test=1)
        checks = _structures(job, job.parameters.dataset.checks, 0, "check", first=len(structures))
        origin = "check: frame 1 of mine"
        structures += tuple(replace(each, role=Role.CHECK, origin=origin) for each in checks)
    return Result(
        GenerateMetrics(structures=structures, environments={"Cu": 4}, redrawn=0, dataset=dataset)
    )


def explore(job: Job[ExploreParameters]) -> Result[ExploreMetrics]:
    """Of ever fewer walkers that halt."""
    walker, cycle = job.parameters.walker, int(job.task[1:4])
    halts = _chance(job).random() < 0.5**cycle
    frames = job.workdir / "frames.extxyz"
    frames.write_text(f"frames of {job.task}\n", encoding="utf-8")
    steps = walker.steps // 2 if halts else walker.steps
    metrics = ExploreMetrics(
        ending=Ending.HALTED if halts else Ending.COMPLETED,
        steps=steps,
        steps_planned=walker.steps,
        time_ps=steps * walker.timestep_fs / 1000,
        gamma_max=2 * job.parameters.gamma_halt if halts else 1.0,
        frames_collected=3 if halts else 0,
        temperature_mean_kelvin=walker.temperature_kelvin,
        gamma_trace=(),
    )
    return Result(metrics, {"frames": frames})


def select(job: Job[SelectParameters]) -> Result[SelectMetrics]:
    """Two structures and an audit."""
    structures = _structures(job, 2, 1, "d_optimal")
    metrics = SelectMetrics(
        frames=len(structures),
        below_window=0,
        too_short=0,
        duplicates=0,
        not_chosen=0,
        structures=structures,
    )
    return Result(metrics)


def calculate(job: Job[CalculateParameters]) -> Result[CalculateMetrics]:
    """A label that says whose it is."""
    label = job.workdir / "label.extxyz"
    label.write_text(f"energy={_chance(job).random():.6f} task={job.task}\n", encoding="utf-8")
    difference = None
    if job.parameters.role is Role.CHECK:  # the user's energies have other zeros
        difference = LabelDifference(
            set_energy_ev=-10.0,
            composition={"Cu": 4},
            force_mev_per_angstrom=0.0,
            oracle_force_mev_per_angstrom=1000.0,
            stress_gpa=0.0,
        )
    metrics = CalculateMetrics(
        energy_ev=-14.0,
        n_atoms=4,
        force_max_ev_per_angstrom=1.0,
        pressure_gpa=0.0,
        settings="soak",
        difference=difference,
    )
    return Result(metrics, {"label": label})


def train(job: Job[TrainParameters]) -> Result[TrainMetrics]:
    """The cycle's data set, and a potential that is a little better than the one before."""
    written, making = job.workdir / "dataset.extxyz", job.workdir / "potential"
    written.write_text(
        "".join(path.read_text() for path in job.inputs.get("label", [])), encoding="utf-8"
    )
    making.mkdir()
    for kind in ("yaml", "asi", "yace"):
        (making / f"potential.{kind}").write_text(job.task, encoding="utf-8")
    dataset = place_new(written, job.root / job.parameters.dataset_file)
    folder = place_new(making, job.root / job.parameters.potential_folder)
    files = {f"potential_{kind}": folder / f"potential.{kind}" for kind in ("yaml", "asi", "yace")}
    cycle = int(job.task[1:4])
    metrics = TrainMetrics(
        functions=1,
        train=_errors(cycle),
        test=_errors(cycle),
        test_of_current=_errors(cycle - 1) if "current_yaml" in job.inputs else None,
        history=tuple(
            PastErrors(cycle=each, errors=_errors(each)) for each in job.parameters.earlier_cycles
        ),
        probe_gamma=20.0,
        reference_energies_ev=dict.fromkeys(job.parameters.elements, -1.0),
        fingerprint=hashlib.sha256(job.task.encode()).hexdigest(),
        fit_s=0.0,
        active_set_s=0.0,
    )
    return Result(metrics, {"dataset": dataset, **files})


def _errors(cycle: int) -> Errors:
    force = 4.0 + 100.0 * 0.1**cycle
    return Errors(structures=6, energy_mev_per_atom=force / 10, force_mev_per_angstrom=force)
