"""A small handmade copper campaign of real models: all events are legal, numbers can be worked out.

Times are whole seconds after BEGAN. The bootstrap cycle has 4 + 2 labels; each later cycle has two
walkers, selects 2 structures and audits 1, and every fit halves the force error.
"""

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlip_autopipec.contract.explore import ExploreParameters, Walker
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import GenerateParameters, Prototype
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.results.train import Errors, PastErrors, TrainMetrics
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import digest as dg
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.data_models.ids import batch_name
from mlip_autopipec.data_models.outcome import Metrics, Outcome
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.task import Parameters, Task, make_task
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.strategies import summarise
from mlip_autopipec.work.codes.ase.settings import AseOracle

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
FCC = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6)
ACTOR = ev.Actor(uid=1000, pid=77, name="ada")
TEMPERATURES = (300.0, 900.0)


def file_ref(path: str) -> FileRef:
    """A file that need not exist."""
    return FileRef(path=path, sha256="0" * 64)


def structure(path: str, role: Role, origin: str) -> Structure:
    """A structure of 32 atoms."""
    return Structure(
        file=file_ref(path), role=role, origin=f"{origin}: by hand", n_atoms=32, why="generated"
    )


def errors(force: float) -> Errors:
    """A force error in meV/Å, with a fifth of it as energy error."""
    return Errors(structures=2, energy_mev_per_atom=force / 5, force_mev_per_angstrom=force)


def potential(cycle: int, force: float) -> Potential:
    """The potential of a cycle."""
    folder = f"potentials/{cycle:03d}"
    return Potential(
        cycle=cycle,
        folder=folder,
        files={
            "yaml": file_ref(f"{folder}/potential.yaml"),
            "asi": file_ref(f"{folder}/potential.asi"),
            "yace": file_ref(f"{folder}/potential.yace"),
        },
        fingerprint=f"{cycle:02d}" * 32,
        test=errors(force),
        reference_energies_ev={"Cu": 0.0},
    )


class Campaign:
    """Events so far, the state after them, and a clock that moves when told to."""

    def __init__(self) -> None:
        self.at_s = 0.0
        self.state = WorkflowState()
        self.events: list[ev.Event] = []

    @property
    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.at_s)

    def add(self, event: ev.Event) -> ev.Event:
        """Take one more event; it has to be legal."""
        self.state = evolve(self.state, event)
        self.events.append(event)
        return event

    def create(self) -> None:
        """The first two events."""
        self.add(
            ev.CampaignCreated(
                at=self.now,
                campaign="copper-3f9a1c",
                name="copper",
                version="0.1.0",
                config_sha256="c" * 64,
            )
        )
        self.add(
            ev.DaemonStarted(
                at=self.now,
                version="0.1.0",
                host="login1",
                pid=42,
                config_sha256="c" * 64,
                payload_sha256="d" * 64,
            )
        )

    def start(
        self, phase: Phase, parameters: Iterable[tuple[Parameters, tuple[Input, ...]]]
    ) -> tuple[Task, ...]:
        """Plan a phase."""
        tasks = tuple(
            make_task(self.state.cycle_index, phase, index, item, inputs)
            for index, (item, inputs) in enumerate(parameters)
        )
        self.add(
            ev.PhaseStarted(at=self.now, cycle=self.state.cycle_index, phase=phase, tasks=tasks)
        )
        return tasks

    def submit(self, tasks: Iterable[Task]) -> str:
        """One second from intent to the scheduler's yes."""
        phase = self.state.current_phase
        assert phase is not None
        job_name = batch_name(
            self.state.campaign, self.state.cycle_index, phase, self.state.batches_begun
        )
        self.add(
            ev.SubmissionBegun(
                at=self.now, job_name=job_name, tasks=tuple(task.id for task in tasks)
            )
        )
        self.at_s += 1
        self.add(ev.SubmissionAccepted(at=self.now, job_name=job_name, job_id="4711"))
        return job_name

    def end(
        self,
        task: Task,
        metrics: Metrics | None,
        started_s: float,
        ended_s: float,
        artefacts: dict[str, FileRef] | None = None,
        reason: Reason | None = None,
    ) -> None:
        """A task's attempt ends; its outcome is seen a second later."""
        record = self.state.tasks[task.id]
        self.at_s = max(self.at_s, ended_s + 1)
        outcome = Outcome(
            campaign=self.state.campaign,
            task=task.id,
            job_name=record.job_name or "",
            index=record.index or 0,
            job_id="4711",
            host="node1",
            kind=task.parameters.kind,
            status="failed" if reason else "done",
            reason=reason,
            message="it broke" if reason else "",
            metrics=metrics,
            artefacts=artefacts or {},
            started_at=BEGAN + timedelta(seconds=started_s),
            ended_at=BEGAN + timedelta(seconds=ended_s),
            wall_s=ended_s - started_s,
            cpu_s=2 * (ended_s - started_s),
        )
        self.add(ev.TaskEnded(at=self.now, outcome=outcome))

    def close(self, digest: dg.Digest) -> None:
        """End the phase."""
        self.add(ev.PhaseEnded(at=self.now, cycle=self.state.cycle_index, digest=digest))

    # --- phases with tasks that take whole seconds, each starting 2 s after acceptance ---

    def generation(self) -> tuple[Structure, ...]:
        """One task of 5 s: 4 structures to train on, 2 to test on."""
        parameters = GenerateParameters(
            prototypes=(FCC,),
            structures=4,
            test_structures=2,
            strain_max=0.05,
            rattle_angstrom=(0.1,),
            distance_min_angstrom=1.5,
            seed=1,
        )
        (task,) = self.start(Phase.GENERATION, [(parameters, ())])
        self.submit([task])
        roles = [Role.TRAIN] * 4 + [Role.TEST] * 2
        made = tuple(
            structure(f"g/{number}.xyz", role, "generated") for number, role in enumerate(roles)
        )
        metrics = GenerateMetrics(structures=made, environments={"Cu": 128}, redrawn=0)
        self.end(task, metrics, self.at_s + 2, self.at_s + 7)
        self.close(dg.GenerationDigest(structures=made))
        return made

    def exploration(self, *, halts: bool) -> None:
        """Two walkers side by side for 10 s; the hot one halts at step 148 if it halts."""
        cycle = self.state.cycle_index
        tasks = self.start(
            Phase.EXPLORATION, [(walk(temperature, cycle), ()) for temperature in TEMPERATURES]
        )
        self.submit(tasks)
        begun_s, ends = self.at_s + 2, []
        for number, task in enumerate(tasks):
            metrics = explored(halted=halts and number == 1, number=number, cycle=cycle)
            self.end(task, metrics, begun_s, begun_s + 10)
            ends.append(
                dg.WalkerEnd(
                    task=task.id,
                    label=f"Cu fcc {TEMPERATURES[number]:g} K nvt",
                    ending=metrics.ending,
                    steps=metrics.steps,
                    gamma_max=metrics.gamma_max,
                    frames_collected=metrics.frames_collected,
                )
            )
        self.close(dg.ExplorationDigest(walkers=tuple(ends), frames=(file_ref("frames.xyz"),)))

    def selection(self) -> tuple[Structure, ...]:
        """One task of 4 s: 2 structures to train on, 1 audit."""
        cycle = self.state.cycle_index
        parameters = SelectParameters(
            elements=("Cu",),
            candidates_max=2,
            audit=1,
            gamma_select=2.0,
            distance_min_angstrom=1.5,
            duplicate_rmsd_angstrom=0.02,
            seed=cycle,
        )
        (task,) = self.start(Phase.SELECTION, [(parameters, ())])
        self.submit([task])
        chosen = (
            structure(f"s{cycle}/0.xyz", Role.TRAIN, "halt"),
            structure(f"s{cycle}/1.xyz", Role.TRAIN, "collected"),
            structure(f"s{cycle}/2.xyz", Role.TEST, "audit"),
        )
        metrics = SelectMetrics(
            frames=40, below_window=20, too_short=1, duplicates=6, not_chosen=10, structures=chosen
        )
        self.end(task, metrics, self.at_s + 2, self.at_s + 6)
        self.close(dg.SelectionDigest(structures=chosen, frames=40, dropped=37))
        return chosen

    def calculation(self, structures: Iterable[Structure], *, fails: int = 0) -> None:
        """All labels side by side for 20 s. The first task fails `fails` times before; 2 s each."""
        asked = tuple(structures)
        tasks = self.start(
            Phase.CALCULATION,
            [(calculate(item), (Input(name="structure", file=item.file),)) for item in asked],
        )
        for _ in range(fails):
            self.submit(tasks[:1])
            self.end(tasks[0], None, self.at_s + 2, self.at_s + 4, reason=Reason.CRASHED)
        self.submit(tasks)
        begun_s, labels = self.at_s + 2, []
        for task, item in zip(tasks, asked, strict=True):
            metrics = CalculateMetrics(
                energy_ev=-3.5 * item.n_atoms,
                n_atoms=item.n_atoms,
                force_max_ev_per_angstrom=1.25,
                pressure_gpa=0.5,
                settings="emt",
            )
            label = file_ref(f"{task.workdir}/label.xyz")
            self.end(task, metrics, begun_s, begun_s + 20, {"label": label})
            labels.append(
                dg.Label(
                    task=task.id,
                    file=label,
                    role=item.role,
                    origin=item.origin,
                    settings=metrics.settings,
                )
            )
        self.close(dg.CalculationDigest(labels=tuple(labels), failed=0))

    def training(self, *, promoted: bool = True) -> None:
        """One fit of 30 s with half the force error of the one before, 80 meV/Å at first."""
        cycle = self.state.cycle_index
        (task,) = self.start(Phase.TRAINING, [(train(cycle), ())])
        self.submit([task])
        new, current = potential(cycle, 80 / 2**cycle), self.state.potential
        metrics = TrainMetrics(
            functions=20,
            train=errors(40 / 2**cycle),
            test=new.test,
            test_of_current=errors(90 / 2 ** (cycle - 1)) if current else None,
            history=tuple(
                PastErrors(cycle=past, errors=errors(88 / 2**past)) for past in range(cycle)
            ),
            probe_gamma=12.0,
            reference_energies_ev={"Cu": 0.0},
            fingerprint=new.fingerprint,
            fit_s=20,
            active_set_s=5,
        )
        artefacts = {"parity": file_ref(f"{task.workdir}/parity.json")}
        self.end(task, metrics, self.at_s + 2, self.at_s + 32, artefacts)
        self.close(
            dg.TrainingDigest(
                potential=new,
                dataset=file_ref(f"dataset/{cycle:03d}.extxyz"),
                train=metrics.train,
                test_of_current=metrics.test_of_current,
                history=metrics.history,
                promoted=promoted,
                gate="the first potential" if current is None else "by hand",
            )
        )

    def close_cycle(self) -> None:
        """Fold the cycle."""
        self.add(ev.CycleClosed(at=self.now, summary=summarise(self.state)))

    def bootstrap(self) -> None:
        """Cycle 0."""
        self.calculation(self.generation())
        self.training()
        self.close_cycle()

    def learn(self, *, halts: bool, fails: int = 0, promoted: bool = True) -> None:
        """One later cycle."""
        self.exploration(halts=halts)
        self.calculation(self.selection(), fails=fails)
        self.training(promoted=promoted)
        self.close_cycle()


def whole_campaign(learning_cycles: int = 3) -> Campaign:
    """From creation to verdict; the last cycle is quiet, and in cycle 1 a task fails twice."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    for cycle in range(1, learning_cycles + 1):
        campaign.learn(halts=cycle < learning_cycles, fails=2 if cycle == 1 else 0)
    campaign.add(
        ev.VerdictReached(
            at=campaign.now, verdict=Verdict.CONVERGED, reason="all walkers <completed>"
        )
    )
    return campaign


def walk(temperature_kelvin: float, cycle: int) -> ExploreParameters:
    """2000 steps of fcc copper."""
    walker = Walker(
        prototype=FCC,
        ensemble="nvt",
        temperature_kelvin=temperature_kelvin,
        steps=2000,
        timestep_fs=1.0,
        seed=cycle,
    )
    return ExploreParameters(
        walker=walker,
        elements=("Cu",),
        gamma_select=2.0,
        gamma_halt=10.0,
        stride=10,
        distance_min_angstrom=1.5,
        audit_frames=1,
    )


def explored(*, halted: bool, number: int, cycle: int) -> ExploreMetrics:
    """A smooth γ; the one that halts rises to 12.3 at step 148."""
    steps = 148 if halted else 2000
    base = (1.0 + 2 * number) / cycle
    trace = tuple(
        (step, base * (1.3 + math.sin(step / 40) * math.cos(step / 170)))
        for step in range(0, steps, 20)
    )
    return ExploreMetrics(
        ending=Ending.HALTED if halted else Ending.COMPLETED,
        steps=steps,
        steps_planned=2000,
        time_ps=steps / 1000,
        gamma_max=12.3 if halted else max(gamma for _, gamma in trace),
        frames_collected=20,
        temperature_mean_kelvin=TEMPERATURES[number],
        gamma_trace=(*trace, (steps, 12.3)) if halted else trace,
        gamma_counts=((1.0, 6), (3.1623, 1), (10.0, 1)) if halted else ((0.7499, 60), (1.0, 40)),
    )


def calculate(item: Structure) -> CalculateParameters:
    """A label by EMT."""
    oracle = AseOracle(calculator="ase.calculators.emt.EMT")
    return CalculateParameters(
        role=item.role, origin=item.origin, oracle=oracle, force_max_ev_per_angstrom=50
    )


def train(cycle: int) -> TrainParameters:
    """A linear fit."""
    return TrainParameters(
        elements=("Cu",),
        cutoff_angstrom=5.0,
        functions_per_element=20,
        energy_weight=1,
        force_weight=1,
        ridge=1e-8,
        potential_folder=f"potentials/{cycle:03d}",
        dataset_file=f"dataset/{cycle:03d}.extxyz",
        reference_energies_ev=None,
        seed=cycle,
    )


def write_parity(campaign: Campaign, root: Path) -> None:
    """The parity file of every fit: predictions off by a fixed pattern that halves every cycle."""
    for event in campaign.events:
        if isinstance(event, ev.TaskEnded) and event.outcome.kind == "train":
            path = root / event.outcome.artefacts["parity"].path
            path.parent.mkdir(parents=True)
            cycle = int(event.outcome.task[1:4])
            path.write_text(
                json.dumps(
                    {"train": _parity(0.04 / 2**cycle, 60), "test": _parity(0.08 / 2**cycle, 20)}
                )
            )


def _parity(error: float, structures: int) -> dict[str, list[tuple[float, float]]]:
    def off(number: int) -> float:
        return error * math.sin(number * 12.9898) * 1.4

    energies = [-3.5 + 0.2 * math.sin(number) for number in range(structures)]
    forces = [2.0 * math.sin(number * 0.7) ** 3 for number in range(structures * 30)]
    return {
        "energy_ev_per_atom": [
            (value, value + off(number) / 5) for number, value in enumerate(energies)
        ],
        "force_ev_per_angstrom": [
            (value, value + off(number)) for number, value in enumerate(forces)
        ],
    }
