"""The daemon's real machinery on the lab; phases plan tasks of no work, every moment is noted.

Journal, transport, watcher, Slurm scheduler, effects and WorkflowManager are the daemon's own; only
the physics is left out. Slurm's commands are counted by wrappers that stand before them on PATH,
where the site runs them.
"""

import asyncio
import os
import random
import secrets
import shutil
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import GenerateParameters, Prototype
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import (
    CalculationDigest,
    Digest,
    ExplorationDigest,
    GenerationDigest,
    Label,
    SelectionDigest,
    TrainingDigest,
)
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.orchestration.effects import Effects
from mlip_autopipec.orchestration.loop import WorkflowManager
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.ports import Transport, Watcher
from mlip_autopipec.process import SystemClock
from mlip_autopipec.schedulers.slurm import SlurmScheduler
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.transports.local import LocalTransport
from mlip_autopipec.transports.ssh import SshTransport
from mlip_autopipec.watch.local import LocalWatcher
from mlip_autopipec.watch.remote import RemoteWatcher

COMMANDS = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
_HERE = Path(__file__).parent
NO_FILE = FileRef(path="none", sha256="0" * 64)
_ERRORS = Errors(structures=1, energy_mev_per_atom=1, force_mev_per_angstrom=1)
_STRUCTURE = Structure(file=NO_FILE, role=Role.TRAIN, origin="bench", n_atoms=1, why="generated")


@dataclass(frozen=True)
class Counters:
    """Wrappers of Slurm's commands in `folder`.

    Each of them writes its name down before it is the command.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Counters":
        """Anyone may run and count."""
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        (folder / "calls").touch()
        (folder / "calls").chmod(0o666)
        for name in COMMANDS:
            if real := shutil.which(name, path="/usr/local/bin:/usr/bin:/bin"):
                script = f'#!/bin/sh\necho {name} >>{folder}/calls\nexec {real} "$@"\n'
                (folder / name).write_text(script, encoding="utf-8")
                (folder / name).chmod(0o755)
        return cls(folder)

    def take(self) -> Counter[str]:
        """Calls since the last time."""
        counted = Counter((self.folder / "calls").read_text(encoding="utf-8").split())
        (self.folder / "calls").write_text("", encoding="utf-8")
        return counted


@dataclass
class Moments:
    """When what was known, in seconds of the wall clock, as files' times are."""

    seen: dict[str, float] = field(default_factory=dict)
    recorded: list[tuple[float, ev.Event]] = field(default_factory=list)
    polls: int = 0

    def observe(self, event: ev.Event, _: WorkflowState) -> None:
        """An Observer: the event is durable."""
        self.recorded.append((time.time(), event))

    def of(self, kind: type[ev.Event]) -> list[float]:
        """Moments of all events of one kind."""
        return [at for at, event in self.recorded if isinstance(event, kind)]


@dataclass(frozen=True)
class _NotedWatcher:
    """A watcher, with the moment at which each name was told first."""

    watcher: Watcher
    moments: Moments

    async def names(self) -> AsyncGenerator[frozenset[str], None]:
        async with aclosing(self.watcher.names()) as sets:
            async for names in sets:
                now = time.time()
                for name in names:
                    self.moments.seen.setdefault(name, now)
                yield names


class _NotedScheduler(SlurmScheduler):
    """Counts the polls, to hold the commands against."""

    moments: Moments

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], ev.Sighting] | None:
        self.moments.polls += 1
        return await super().sight(batches)


@dataclass(frozen=True)
class NoWork:
    """A phase of `number` tasks, whose outcomes mean nothing."""

    phase: Phase
    number: int

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        return tuple(
            no_work_task(state.cycle_index, self.phase, index) for index in range(self.number)
        )

    def digest(self, state: WorkflowState) -> Digest:
        """The smallest that lets the next phase begin."""
        match self.phase:
            case Phase.GENERATION:
                return GenerationDigest(structures=(_STRUCTURE,))
            case Phase.EXPLORATION:
                return ExplorationDigest(walkers=(), frames=())
            case Phase.SELECTION:
                return SelectionDigest(structures=(_STRUCTURE,), frames=1, dropped=0)
            case Phase.CALCULATION:
                labels = tuple(
                    Label(
                        task=task.id,
                        file=NO_FILE,
                        role=Role.TRAIN,
                        origin="bench",
                        settings="bench",
                    )
                    for task in self.plan(state)
                )
                return CalculationDigest(labels=labels, failed=0)
            case Phase.TRAINING:
                return trained(state.cycle_index)


def no_work_task(cycle: int, phase: Phase, index: int) -> Task:
    """A task by its number; 100 MiB and a few minutes."""
    prototype = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6)
    parameters = GenerateParameters(
        prototypes=(prototype,),
        structures=1,
        test_structures=0,
        strain_max=0,
        rattle_angstrom=(0.1,),
        distance_min_angstrom=1,
        seed=index,
    )
    return make_task(
        cycle, phase, index, parameters, resources=Resources(memory_mib=100, walltime_s=300)
    )


def trained(cycle: int) -> TrainingDigest:
    """A fit that is promoted."""
    potential = Potential(
        cycle=cycle,
        folder="none",
        files={"yaml": NO_FILE, "asi": NO_FILE, "yace": NO_FILE},
        fingerprint="none",
        test=_ERRORS,
        reference_energies_ev={},
    )
    return TrainingDigest(
        potential=potential,
        dataset=NO_FILE,
        train=_ERRORS,
        test_of_current=None,
        promoted=True,
        gate="bench",
    )


@dataclass(frozen=True)
class BenchSite:
    """An empty root on the lab, and the daemon's way there."""

    root: Path
    folder: Path  # the daemon's own
    transport: Transport
    watcher: Watcher
    counters: Counters
    python: str
    payload: str = ".ap/none"
    array_max: int = 1000
    poll_interval_s: float = 15.0

    def sleep(self, seconds: float) -> None:
        """Let every task last so long."""
        (self.root / "sleep_s").write_text(f"{seconds}\n", encoding="utf-8")

    def outbox(self) -> dict[str, float]:
        """Ended attempts, and when each was placed."""
        return {path.name: path.stat().st_ctime for path in (self.root / "outbox").glob("*.json")}

    def accepted_at(self, job_name: str) -> float:
        """When sbatch had ended."""
        return (self.root / ".ap" / "submit" / job_name / "try.0" / "rc").stat().st_ctime


@contextmanager
def lab_settings(settings: Mapping[str, str]) -> Iterator[None]:
    """Let Slurm's commands of this process speak to the lab."""
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = settings["SLURM_CONF"]
    try:
        yield
    finally:
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


@asynccontextmanager
async def bench_site(
    way: str, settings: Mapping[str, str], folder: Path, name: str
) -> AsyncIterator[BenchSite]:
    """`way` is `ssh` or `shared`. Adapters are made as the daemon makes them."""
    lab = Path(settings["AUTOPIPEC_LAB"])
    root = Path(settings["AUTOPIPEC_LAB_HOME"]) / "bench" / name
    (root / "outbox").mkdir(parents=True)
    counters = Counters.make(lab / "bench-bin")
    counters.take()
    stand_in = lab / "bench-bin" / "no_work.sh"
    shutil.copy(_HERE / "no_work.sh", stand_in)
    stand_in.chmod(0o755)
    rng, clock = random.Random(), SystemClock()  # noqa: S311 - jitter
    path = f"{counters.folder}:/usr/local/bin:/usr/bin:/bin"
    if way == "ssh":
        _give_away(root.parent, settings["AUTOPIPEC_LAB_USER"])
        far = SshTransport(
            "lab",
            root=str(root),
            clock=clock,
            rng=rng,
            config=[Path(settings["AUTOPIPEC_LAB_SSH_CONFIG"])],
            prologue=f"export PATH={path}",
        )
        try:
            yield BenchSite(
                root,
                folder,
                far,
                RemoteWatcher(far, clock=clock, rng=rng),
                counters,
                python=str(stand_in),
            )
        finally:
            await far.close()
        return
    # The jobs' login shell reads the profile of HOME: the lab's has none, as the floor's jobs read
    # none.
    before = {name: os.environ[name] for name in ("PATH", "HOME")}
    os.environ.update(PATH=path, HOME=settings["AUTOPIPEC_LAB_HOME"])
    try:
        watcher = LocalWatcher(root / "outbox", rescan_s=2.0)
        yield BenchSite(root, folder, LocalTransport(root), watcher, counters, python=str(stand_in))
    finally:
        os.environ.update(before)


def _give_away(folder: Path, user: str) -> None:
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user, user)


async def _prepared() -> int | None:
    """The stand-in is there, and the arrays' size is the measurement's own."""
    return None


async def run_phases(
    site: BenchSite, tasks: Mapping[Phase, int], *, phases: int, timeout_s: float = 300.0
) -> Moments:
    """Run a campaign until so many phases have ended, with `tasks` in each (1 if not said)."""
    moments, clock = Moments(), SystemClock()
    journal, state = await asyncio.to_thread(lambda: FileJournal.open(site.folder, now=clock.now()))
    scheduler = _NotedScheduler(
        site.transport,
        options=SlurmQueue(kind="slurm", array_max=site.array_max),
        payload=site.payload,
        root=str(site.root),
        python=site.python,
        clock=clock,
        nonce=lambda: secrets.token_hex(16),
    )
    scheduler.moments = moments
    runners = {phase: NoWork(phase, tasks.get(phase, 1)) for phase in Phase}
    begun = ev.CampaignCreated(
        at=clock.now(),
        campaign=f"bench-{os.urandom(3).hex()}",
        name="bench",
        version="0",
        config_sha256="0" * 64,
    )
    await journal.append([begun])
    ended = asyncio.Event()

    def enough(_: ev.Event, __: WorkflowState) -> None:
        if len(moments.of(ev.PhaseEnded)) >= phases:
            ended.set()

    config = copper_config(convergence={"cycles_max": phases + 1, "stalled_cycles": phases + 1})
    manager = WorkflowManager(
        state=evolve(state, begun),
        policy=Policy.from_config(config).model_copy(update={"batch_tasks_max": site.array_max}),
        journal=journal,
        effects=Effects(runners, scheduler, site.transport, clock, prepare=_prepared),
        scheduler=scheduler,
        transport=site.transport,
        watcher=_NotedWatcher(site.watcher, moments),
        clock=clock,
        poll_interval_s=site.poll_interval_s,
        observers=[moments.observe, enough],
        save=lambda _: None,
    )
    async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
        running = group.create_task(manager.run())
        await ended.wait()
        await manager.record(ev.DaemonStopped(at=clock.now(), why="measured"))
        await running
    await journal.close()
    return moments
