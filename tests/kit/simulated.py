"""A whole campaign on a simulated cluster, with a daemon that is killed again and again.

What must always hold is here too.
"""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from mlip_autopipec.config.changes import config_of, merged, settings_of
from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.oracle import KMesh
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import CalculationDigest, GenerationDigest, TrainingDigest
from mlip_autopipec.data_models.faults import MENDERS, SUSPECT, signature
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Stage, TaskStatus, WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.orchestration.adoption import CHECK as REFUSED
from mlip_autopipec.orchestration.adoption import check_tasks
from mlip_autopipec.orchestration.changing import change_by_hand, change_to, in_force, taken, taking
from mlip_autopipec.orchestration.deeds import DeedKeeper
from mlip_autopipec.orchestration.effects import Effects
from mlip_autopipec.orchestration.loop import WorkflowManager
from mlip_autopipec.orchestration.machine import (
    can_cancel,
    can_reopen,
    can_retry,
    complaint_of,
    evolve,
)
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.redoing import redone
from mlip_autopipec.orchestration.restart import after_change, reopened
from mlip_autopipec.orchestration.strategies import next_phase
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import PhaseRunner, Scheduler
from mlip_autopipec.schedulers import slurm_script
from mlip_autopipec.schedulers.slurm import SlurmScheduler
from mlip_autopipec.testing.clock import SimulatedClock, SimulationStuck, run_simulated
from mlip_autopipec.testing.cluster import SimulatedCluster
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.jobs import SimulatedJobs
from mlip_autopipec.testing.memory import Crash, MemoryJournal, MemoryTransport
from mlip_autopipec.testing.physics import SHIFTED
from mlip_autopipec.testing.slurm import MIAN_PARTITION, SimulatedSlurm, SlurmTransport
from mlip_autopipec.testing.weather import FaultRates, Weather, chance_aside

#: Faults, crashes and pauses stop here; a verdict must follow within LIMIT_S - CALM_AFTER_S.
CALM_AFTER_S = 4 * 3600.0
LIMIT_S = 16 * 3600.0
#: This part of what is given to threads takes its time, so many seconds on average.
_SLOW_THREADS, _THREAD_S = 0.2, 10.0
#: Every campaign goes through a midnight.
_START = datetime(2030, 2, 28, 22, tzinfo=UTC)
_TOLERATED = timedelta(seconds=6)  # less of a step than this is none
_JUMPS_S = (1.0, 30.0, 120.0, 600.0, 7200.0)
#: How rounds of labels close in every third campaign.
ROUND = {"quorum": 0.6, "deadline": "300 s"}
_QUORUM, _DEADLINE = 0.6, timedelta(seconds=300)
#: What the next phase needs of a task that is done.
_NEEDED = {"calculate": {"label"}, "train": {"dataset", "potential_yaml"}, "explore": {"frames"}}
#: Where the scheduler shows the past and every answer takes its time, jobs end while they are asked
#: after.
SLOW = FaultRates(slow=0.5, sight_frozen=0.3, post_mortem_none=0.3, dies=0.1)
#: Where outcomes show up late, clocks are set and squeue is empty now and then, an end is hard to
#: tell.
LATE = FaultRates(outcome_late=0.4, clock_jumps=0.3, sight_empty=0.3, sight_frozen=0.1, dies=0.05)
#: Of every eight seeds three have a climate that is given, and five draw theirs.
CLIMATES = {0: SLOW, 4: LATE, 5: LATE}
#: So many equal failures in a row are no task's own.
_ROW_MAX = 3
_ACTOR = ev.Actor(uid=1000, pid=1, name="ada")
#: Each script for the far shell, and what the simulated one calls it.
SLURM_VERBS = {
    slurm_script.SUBMIT: "submit",
    slurm_script.LOCATE: "locate",
    slurm_script.CLOSE: "close",
    slurm_script.SIGHT: "sight",
    slurm_script.AUTOPSY: "autopsy",
    slurm_script.SEAL: "seal",
    slurm_script.ROLL: "roll",
    slurm_script.PARTITIONS: "partitions",
    slurm_script.CANCEL: "cancel",
}


#: Of the changes that people make: those by `set`, and those of the file that wait for the next
#: daemon.
_BY_HAND, _LEFT = 0.3, 0.3
#: And those that are made while walkers are being planned.
_AMID_PLANS = 0.5
#: Who has a pool alone lets walkers explore as well, now and then.
_WALKS_TOO = 0.5
#: Whoever's data set is refused leaves it out, or has one number for each element fitted.
_LEAVES_OUT = 0.3
#: Of the waits on the wire that deeds go over.
_TORN = 0.1
#: So often is a phase done again in one campaign.
_RETURNS_MAX = 2


@dataclass(frozen=True, slots=True)
class Begin:
    """What a person brings to a campaign.

    By default it is nothing, so that the campaign begins from crystals and walks from them.
    """

    dataset: str = ""
    alone: bool = False  # with a data set, and no structure that the program makes
    start: bool = False
    pool: bool = False
    walks: bool = True

    @property
    def files(self) -> Mapping[Path, bytes]:
        """What lies on the user's machine."""
        names = [self.dataset] if self.dataset else []
        names += ["mine.yaml", "mine.asi"] if self.start else []
        names += ["frames.extxyz"] if self.pool else []
        return {Path(name): f"{name} of a person's".encode() for name in names}

    def sections(self, dataset: Mapping[str, object] | None) -> dict[str, Any]:
        """Its part of the site file.

        `dataset` is what that says beside the files, None if it is left out.
        """
        sections: dict[str, Any] = {}
        if self.dataset and dataset is not None:
            sections["dataset"] = {"files": [self.dataset], **dataset}
        if self.alone:
            sections["generation"] = {"prototypes": [], "structures": 0, "test_structures": 0}
        if self.start:
            sections["start"] = {"potential": "mine.yaml", "active_set": "mine.asi"}
        return sections

    def walkers(self, kelvin: Sequence[int], *, walks: bool) -> list[dict[str, Any]]:
        """What is explored."""
        (walkers,) = copper_config().model_dump(mode="json", exclude_unset=True)["exploration"][
            "walkers"
        ]
        pool = [{"pool": "frames.extxyz"}] if self.pool else []
        return [*pool, *([{**walkers, "temperatures_kelvin": kelvin}] if walks else [])]


_KELVIN = [300, 900, 1500]
#: Of every eleven seeds four begin with what a person has.
BEGINS = {
    1: Begin(dataset="mine.extxyz", alone=True),
    4: Begin(dataset=SHIFTED),
    6: Begin(pool=True, start=True, walks=False),
    8: Begin(dataset="mine.extxyz", start=True, pool=True),
}


def brought(path: Path, content: bytes) -> FileRef:
    """A file of the user's as it goes to the site."""
    sha256 = hashlib.sha256(content).hexdigest()
    return FileRef(path=f"inputs/{sha256[:12]}-{path.name}", sha256=sha256)


#: Whatever a campaign may begin with.
SUPPLIES = {
    path: brought(path, content)
    for begin in BEGINS.values()
    for path, content in begin.files.items()
}


def runners_of(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """The runner of every phase, who knows the files of the user."""
    return phase_runners(config, SUPPLIES)


def site_file(
    begin: Begin,
    rounds: Mapping[str, object],
    dataset: Mapping[str, object] | None,
    **sections: dict[str, Any],
) -> WorkflowConfig:
    """The campaign's site file."""
    walkers = (
        {"exploration": {"walkers": begin.walkers(_KELVIN, walks=begin.walks)}}
        if begin.pool
        else {}
    )
    return copper_config(
        calculation=dict(rounds), **{**begin.sections(dataset), **walkers, **sections}
    )


def edited(
    chance: random.Random,
    rounds: Mapping[str, object],
    begin: Begin = Begin(),
    dataset: Mapping[str, object] | None = MappingProxyType({}),
) -> WorkflowConfig:
    """The campaign's site file as somebody may have changed it."""
    kelvin = chance.choice((_KELVIN, [300, 900, 1500, 1200], [300, 900, 600, 1500]))
    return site_file(
        begin,
        rounds,
        dataset,
        exploration={
            "walkers": begin.walkers(kelvin, walks=begin.walks or chance.random() < _WALKS_TOO)
        },
        convergence={"cycles_max": chance.choice((4, 5, 6)), "attempts_max": chance.choice((2, 3))},
        site={"resources": {"calculation": {"walltime": chance.choice(("1 h", "2 h"))}}},
    )


class Jobs(Protocol):
    """What the judges ask of either cluster."""

    violations: list[str]

    exclusions: dict[str, frozenset[str]]
    handed_over_s: dict[str, float]
    mistyped: bool

    def is_over(self, job_name: str, index: int) -> bool:
        """Whether this attempt can't run any more, nor yet begin to."""

    def ends_of(self, job_name: str, index: int) -> frozenset[Reason]:
        """Why attempts of this name have ended, as the cluster knows it."""

    def nodes_of(self, job_name: str, index: int) -> frozenset[str]:
        """Where attempts of this name were ended at once by their nodes."""


@dataclass(frozen=True, slots=True)
class Site:
    """One cluster, and the daemon's way to it. A new daemon has a new scheduler."""

    jobs: Jobs
    watcher: SimulatedJobs
    transport: MemoryTransport
    scheduler: Callable[[], Scheduler]


#: Makes a site of one climate.
Sites = Callable[[SimulatedClock, Weather, random.Random], Site]


def in_memory(cluster: type[SimulatedCluster] = SimulatedCluster) -> Sites:
    """A scheduler that is nothing but its promises."""

    def site(clock: SimulatedClock, weather: Weather, chance: random.Random) -> Site:
        transport = MemoryTransport(disturb=weather.pass_by)
        simulated = cluster(transport, clock, weather, chance)
        return Site(simulated, simulated, transport, lambda: simulated)

    return site


def behind_slurm(scheduler: type[SlurmScheduler] = SlurmScheduler) -> Sites:
    """The real Slurm scheduler; only ssh, the shell and Slurm itself are simulated."""

    def site(clock: SimulatedClock, weather: Weather, chance: random.Random) -> Site:
        transport = SlurmTransport(weather, chance, SLURM_VERBS)
        slurm = transport.slurm = SimulatedSlurm(transport, clock, weather, chance)
        nonces = random.Random(0)  # noqa: S311 - seeded, and not of the weather's chance

        def made() -> Scheduler:
            return scheduler(
                transport,
                options=SlurmQueue(partition=MIAN_PARTITION if slurm.mistyped else "main"),
                payload="payload.pyz",
                root="/site",
                python="python3",
                clock=clock,
                nonce=lambda: f"{nonces.getrandbits(64):x}",
            )

        return Site(transport.slurm, transport.slurm, transport, made)

    return site


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a simulation is made of; planted bugs come in here."""

    effects: type[Effects] = Effects
    manager: type[WorkflowManager] = WorkflowManager
    journal: type[MemoryJournal] = MemoryJournal
    site: Sites | None = None  # None: behind Slurm with odd seeds
    runners: Callable[[WorkflowConfig], Mapping[Phase, PhaseRunner]] = runners_of
    replay: Callable[[Sequence[ev.Event], WorkflowState], WorkflowState] | None = None
    restart: Callable[..., Iterable[ev.Event]] = after_change
    taking: Callable[..., Iterable[ev.Event]] = taking
    returning: Callable[[ev.PhaseRedone, WorkflowState], ev.PhaseRedone] = lambda event, _: event
    rates: FaultRates | None = None
    rounds: bool = True  # every third campaign closes its rounds early
    crashes: bool = True
    edits: bool = True  # in two campaigns of seven people change their minds
    k_mesh: KMesh = (
        "cell"  # family: as a campaign of today begins, whose first labels check the oracle
    )
    begin: Begin | None = None  # None: by the seed


@dataclass(slots=True)
class Findings:
    """What a simulation has shown."""

    seed: int
    violations: list[str] = field(default_factory=list)
    verdict: str | None = None
    innocent: bool = False  # it ended `failed`, and not through its tasks' own failures
    events: tuple[ev.Event, ...] = ()
    lives: int = 0
    elapsed_s: float = 0.0
    struck: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        message = "; ".join(self.violations[:3]) or "nothing to complain of"
        return f"seed {self.seed} ({self.lives} lives, {len(self.events)} events): {message}"


class Witness(Effects):
    """Carries out commands by another's hands, notes what is begun when it must not, and kills."""

    def __init__(
        self,
        inner: Effects,
        journal: MemoryJournal,
        paused: Callable[[], bool],
        true: Callable[[], WorkflowState],
        weather: Weather,
        found: list[str],
        files: Mapping[str, bytes],
    ) -> None:
        self._files = files
        self._inner = inner
        self._journal = journal
        self._paused = paused
        self._true = true
        self._weather = weather
        self._told = found

    def _look_at(self, command: cm.Command, state: WorkflowState) -> None:
        """What must not begin now."""
        if not isinstance(command, (cm.BeginBatch, cm.SubmitBatch)):
            return
        now = self._inner._clock.now()
        if complaint_of(state):
            self._told.append(
                f"{command.type} of {command.job_name} before a person has mended what is wrong"
            )
        if state.trouble is not None and now < state.trouble.until:
            self._told.append(f"{command.type} of {command.job_name} while the site is in trouble")

    async def carry_out(self, command: cm.Command, state: WorkflowState) -> ev.Event:
        self._look_at(command, self._true())
        if isinstance(command, (cm.BeginBatch, cm.SubmitBatch)) and self._paused():
            self._told.append(f"{command.type} of {command.job_name} while paused")
        if isinstance(command, (cm.BeginBatch, cm.SubmitBatch)) and not state.site_prepared:
            self._told.append(
                f"{command.type} of {command.job_name} on a site that is not prepared"
            )
        if isinstance(command, cm.BeginBatch) and len(command.tasks) > (
            state.array_tasks_max or len(command.tasks)
        ):
            self._told.append(f"{command.job_name} has more tasks than the site takes")
        if state.seq > len(self._journal.lines):
            self._told.append(f"{command.type} acts on event {state.seq}, which is not on the disk")
        if isinstance(command, cm.SubmitBatch) and (
            lack := self._lacking(state.batches[command.job_name].tasks, state)
        ):
            self._told.append(f"{command.job_name} is submitted, and {lack} are not on the site")
        self._die_perhaps(command)
        event = await self._inner.carry_out(command, state)
        self._die_perhaps(command)
        return event

    def _lacking(self, names: Sequence[str], state: WorkflowState) -> list[str]:
        """Files that people have added, of these tasks, which the site does not have."""
        tasks = (state.tasks[name].task for name in names)
        files = (
            item.file.path
            for task in tasks
            for item in task.inputs
            if item.file.path.startswith("inputs/")
        )
        return [path for path in files if path not in self._files]

    def _die_perhaps(self, command: cm.Command) -> None:
        if self._weather.strikes("killed"):
            raise Crash(f"killed beside {command.type}")


class Simulation:
    """One seed: a climate, a cluster, and a daemon's lives until the campaign has its verdict."""

    def __init__(self, seed: int, parts: Parts) -> None:
        self.findings = Findings(seed)
        self._parts = parts
        self._chance = random.Random(seed)  # noqa: S311 - the same in every run is the point
        self._cancels = random.Random(-1_000_000 - seed)  # noqa: S311 - the same in every run is the point
        self._threads = random.Random(-1 - seed)  # noqa: S311 - of its own: who asks for a thread changes no weather
        self._clock = SimulatedClock(_START)
        rates = parts.rates or CLIMATES.get(seed % 8) or FaultRates.drawn(self._chance)
        self._weather = Weather(self._clock, self._chance, rates, calm_after_s=CALM_AFTER_S)
        make = parts.site or (behind_slurm() if seed % 2 else in_memory())
        self._site = make(self._clock, self._weather, self._chance)
        rounds = parts.rounds and seed % 3 == 0
        self._rounds = {"round": ROUND} if rounds else {}
        self._begin = parts.begin or BEGINS.get(seed % 11, Begin())
        self._dataset: Mapping[str, object] | None = {}  # what the site file says of it
        self._judge = Judge(
            self._site.jobs,
            self._clock,
            steady=not rates.clock_jumps,
            deadline=_DEADLINE if rounds else None,
            begin=self._begin,
        )
        self._config = self._file = self._begun = site_file(
            self._begin, self._rounds, self._dataset
        )
        self._returned = 0
        #: What people have brought, as it is kept beside the journal.
        self._brought = {
            brought(path, content).path: content for path, content in self._begin.files.items()
        }
        self._edits = random.Random(-2_000_000 - seed)  # noqa: S311 - the same in every run is the point
        self._wire = random.Random(-3_000_000 - seed)  # noqa: S311 - the same in every run is the point
        self._lines: list[bytes] = []
        self._state = self._shadow = WorkflowState()
        self._over = asyncio.Event()
        self._chance_aside = chance_aside(self._chance)
        self._reopened = False

    def run(self) -> Findings:
        """Live, die and be born again until the verdict."""
        try:
            run_simulated(self._campaign(), self._clock, limit_s=LIMIT_S, thread_s=self._thread_s)
        except SimulationStuck as stuck:
            self.findings.violations.append(f"no verdict: {stuck}")
        self._judge.compare_files(self._site.transport.files)
        self.findings.violations += [*self._site.jobs.violations, *self._judge.violations]
        self.findings.events = MemoryJournal(self._lines).events()
        self.findings.innocent = failed_without_fault(self.findings.events)
        if self.findings.innocent:
            self.findings.violations.append(
                "failed through a passing fault: no task was given up for its own failures"
            )
        self.findings.elapsed_s = self._clock.elapsed_s
        self.findings.struck = self._weather.struck
        return self.findings

    def _thread_s(self) -> float:
        """Most work is done at once; some of it while the world goes on."""
        return (
            self._threads.expovariate(1 / _THREAD_S)
            if self._threads.random() < _SLOW_THREADS
            else 0.0
        )

    async def _campaign(self) -> None:
        journal = MemoryJournal()
        await journal.append([_created(self._clock.now(), self._parts.k_mesh)])
        self._lines = journal.lines
        self._resume(journal.events())
        jumping = asyncio.create_task(self._set_clock())
        while not self._over.is_set() and not self._broken():
            await self._life()
            await self._clock.sleep(self._chance.expovariate(1 / 60))
        jumping.cancel()

    def _broken(self) -> bool:
        return bool(
            self.findings.violations or self._judge.violations or self._site.jobs.violations
        )

    async def _life(self) -> None:
        """From replay to death; a daemon that has seen the end may die in peace."""
        self.findings.lives += 1
        journal = self._parts.journal(
            self._lines,
            crash=lambda count: self._lost_in_append("killed_in_append", count),
            full=lambda count: self._lost_in_append("disk_full", count),
            latency=self._disk,
        )
        since = (self._clock.now(), asyncio.get_running_loop().time())
        self._site.jobs.mistyped = self._weather.strikes("mistyped")
        sha256 = "mistyped" if self._site.jobs.mistyped else "0"
        settings = self._settings_at_start(sha256, since[0])
        self._config = self._in_force(
            evolve(self._state, settings) if settings is not None else self._state
        )
        policy = Policy.from_config(self._config)
        changed = self._parts.restart(self._state, sha256, policy, since[0], _ACTOR, settings)
        try:
            await journal.append([*changed, _started(since[0], sha256)])
        except (Crash, OperatorError):
            return
        finally:
            self._lines = journal.lines
            self._resume(journal.events())
        if (
            self._edited
            and config_of(self._state.settings or settings_of(self._file)) != self._file
        ):
            self.findings.violations.append(
                "the site file was changed, and the daemon goes by the old one"
            )
        # a daemon that was killed as it wrote the verdict has told nobody
        self._end_perhaps(self._state)
        manager = self._manager(self._state, journal, since)
        if (
            self._state.pause is not None
            and self._state.pause.mender is not None
            and self._was_mended(self._state)
        ):
            self.findings.violations.append(
                "the site file was mended, and the campaign is paused for it still"
            )
        lives = [manager.run(), self._people(manager), self._menders(manager), self._over.wait()]
        if self._site.jobs.mistyped:
            # then it is mended
            lives.append(self._clock.sleep(self._chance_aside.expovariate(1 / 600)))
        lives += [
            self._reopeners(manager),
            self._cancellers(manager),
            self._editors(manager),
            self._adders(manager),
        ]
        lives += [self._returners(manager), self._owners(manager), self._keeper.run(self._clock)]
        doings = {asyncio.create_task(life) for life in lives}
        await asyncio.wait(doings, timeout=self._span_s(), return_when=asyncio.FIRST_COMPLETED)
        for doing in doings:
            doing.cancel()
        for ended in await asyncio.gather(*doings, return_exceptions=True):
            self._note_death(ended)
        self._lines = journal.lines
        self._compare(manager.state, journal.events())

    def _manager(
        self, state: WorkflowState, journal: MemoryJournal, since: tuple[datetime, float]
    ) -> WorkflowManager:
        runners = self._parts.runners(self._config)
        scheduler = self._site.scheduler()
        keeper = self._keeper = DeedKeeper(self._beside(), state, self._past)
        policy = Policy.from_config(self._config)
        effects = self._parts.effects(
            runners,
            scheduler,
            self._site.transport,
            self._clock,
            prepare=self._prepare,
            resources=policy.resources,
            keep=keeper.keep,
        )

        def follow(state: WorkflowState) -> Policy:
            self._config = self._in_force(state)
            policy = Policy.from_config(self._config)
            effects.follow(self._parts.runners(self._config), policy.resources)
            return policy

        return self._parts.manager(
            state=state,
            policy=policy,
            journal=journal,
            effects=Witness(
                effects,
                journal,
                lambda: self._shadow.pause is not None,
                lambda: self._shadow,
                self._weather,
                self.findings.violations,
                self._site.transport.files,
            ),
            scheduler=scheduler,
            transport=self._site.transport,
            watcher=self._site.watcher,
            clock=self._clock,
            poll_interval_s=self._config.site.poll_interval,
            observers=(self._observe, keeper.observe),
            save=self._save,
            since=since,
            configure=follow,
        )

    def _beside(self) -> MemoryTransport:
        """The same files over a wire with a chance of its own: deeds change no seed's weather."""

        async def disturb(_: str) -> None:
            if self._wire.random() < _TORN and not self._weather.is_calm:
                raise TransientError("the line is cut")

        transport = MemoryTransport(disturb=disturb)
        transport.files = self._site.transport.files
        return transport

    async def _past(self, after: int, until: int) -> Sequence[tuple[int, ev.Event]]:
        return list(enumerate(MemoryJournal(self._lines).events(), start=1))[after:until]

    def _observe(self, event: ev.Event, state: WorkflowState) -> None:
        """After every step: what the disk gives is what the daemon has.

        After the verdict the weather clears.
        """
        self._shadow = evolve(self._shadow, _from_disk(event))
        if self._shadow != state:
            self.findings.violations.append(
                f"replay of {state.seq} events gives another state than the daemon had"
            )
        self._judge.see(event)
        self._end_perhaps(state)

    def _end_perhaps(self, state: WorkflowState) -> None:
        if state.verdict is not None and not self._goes_on(state):
            self.findings.verdict = state.verdict
            self._weather.clear()
            if not state.batches:
                self._over.set()

    async def _people(self, manager: WorkflowManager) -> None:
        """Pause and resume, until the weather is calm; and never end before the daemon does."""
        while True:
            if manager.state.pause is not None:
                await self._clock.sleep(self._chance.expovariate(1 / 300))
                await manager.record(ev.Resumed(at=self._clock.now(), by=_ACTOR))
            await self._clock.sleep(self._chance.expovariate(1 / 1800))
            if not self._weather.is_calm:
                await manager.record(
                    ev.Paused(at=self._clock.now(), by=_ACTOR, reason="to see what happens")
                )

    async def _menders(self, manager: WorkflowManager) -> None:
        """Bring back what was given up, now and then."""
        while True:
            await self._clock.sleep(self._chance.expovariate(1 / 600))
            state = manager.state
            names = [name for name in (*state.quarantine, *state.tasks) if can_retry(state, name)]
            if names and state.verdict is None and not self._weather.is_calm:
                task = self._chance.choice(names)
                await manager.record(
                    ev.TaskRetried(at=self._clock.now(), task=task, by=_ACTOR, reason="mended")
                )

    def _goes_on(self, state: WorkflowState) -> bool:
        """Whether somebody will reopen it; no more often than once, and not when all is calm."""
        return (
            can_reopen(state)
            and not self._reopened
            and self._weather.rates.reopened > 0
            and not self._weather.is_calm
        )

    async def _reopeners(self, manager: WorkflowManager) -> None:
        """Go on from the first verdict."""
        while True:
            await self._clock.sleep(30.0)
            state = manager.state
            if state.verdict is not None and self._goes_on(state):
                self._reopened = await manager.record(
                    reopened(state, self._clock.now(), _ACTOR, "go on")
                )
                self._weather.struck["reopened"] += 1
            elif state.verdict is not None:
                self._end_perhaps(state)

    def _was_mended(self, state: WorkflowState) -> bool:
        """Whether this daemon began with another site file than that which paused for a person."""
        events = MemoryJournal(self._lines).events()
        paused = [at for at, event in enumerate(events) if isinstance(event, ev.Paused)][-1]
        files = [
            event.config_sha256 for event in events[:paused] if isinstance(event, ev.DaemonStarted)
        ]
        return files[-1] != state.config_sha256

    async def _cancellers(self, manager: WorkflowManager) -> None:
        """In every fifth campaign people cancel what is at work, now and then."""
        while True:
            await self._clock.sleep(self._cancels.expovariate(1 / 1800))
            names = [name for name in manager.state.tasks if can_cancel(manager.state, name)]
            if names and not self.findings.seed % 5 and not self._weather.is_calm:
                task = self._cancels.choice(names)
                await manager.record(
                    ev.TasksCancelled(
                        at=self._clock.now(), tasks=(task,), by=_ACTOR, reason="enough"
                    )
                )

    @property
    def _edited(self) -> bool:
        """Whether people change the site file of this campaign while it goes on."""
        return self._parts.edits and self.findings.seed % 7 in {2, 5}

    def _in_force(self, state: WorkflowState) -> WorkflowConfig:
        return in_force(state) if state.settings else self._file

    def _settings_at_start(self, sha256: str, now: datetime) -> ev.SettingsTaken | None:
        """What a daemon that begins takes of the site file, as people have left it."""
        edited = self._edited or self._begin.dataset == SHIFTED
        change = change_to(self._state, self._file, starting=True) if edited else None
        if change is None or not change.is_news(self._state):
            return None
        return taken(self._state, change, sha256, now, _ACTOR, "")

    async def _editors(self, manager: WorkflowManager) -> None:
        """Change the site file now and then, or set one key.

        A changed file is taken, or that is left to the next daemon.
        """
        while True:
            await self._clock.sleep(self._edits.expovariate(1 / 900))
            if not self._edited or self._weather.is_calm or not manager.state.settings:
                continue
            if self._edits.random() < _AMID_PLANS:
                await self._until_planned(manager)
            if self._edits.random() < _BY_HAND:
                change = change_by_hand(
                    manager.state, "convergence.cycles_max", self._edits.choice((3, 4, 5))
                )
            else:
                self._file = edited(self._edits, self._rounds, self._begin, self._dataset)
                if self._edits.random() < _LEFT:
                    continue
                change = change_to(manager.state, self._file, starting=False)
            if change is not None and change.is_news(manager.state):
                state = manager.state
                events = self._parts.taking(
                    state, change, state.config_sha256, self._clock.now(), _ACTOR
                )
                await asyncio.gather(*(manager.record(event) for event in events))

    async def _adders(self, manager: WorkflowManager) -> None:
        """Bring a structure now and then.

        Some were brought before, as after an answer that was lost.
        """
        while True:
            await self._clock.sleep(self._edits.expovariate(1 / 1500))
            if not self._edited or self._weather.is_calm or manager.state.verdict is not None:
                continue
            content = f"structure {self._edits.randrange(4)} of a person's".encode()
            sha256 = hashlib.sha256(content).hexdigest()
            file = FileRef(path=f"inputs/{sha256[:12]}-mine.extxyz", sha256=sha256)
            self._brought[file.path] = content
            mine = Structure(
                file=file, role=Role.TRAIN, origin="added: mine.cif frame 1", n_atoms=4, why="added"
            )
            event = ev.StructuresAdded(
                at=self._clock.now(), by=_ACTOR, reason="a surface", structures=(mine,)
            )
            await manager.record(event)

    async def _owners(self, manager: WorkflowManager) -> None:
        """See to a data set that the oracle disagrees with: leave it out, or fit its zeros."""
        while True:
            await self._clock.sleep(self._edits.expovariate(1 / 300))
            pause = manager.state.pause
            if pause is None or pause.by != REFUSED:
                continue
            checks = [name for name in check_tasks(manager.state) if can_retry(manager.state, name)]
            if checks and "labelled none" in pause.reason:
                await manager.record(
                    ev.TaskRetried(at=self._clock.now(), task=checks[0], by=_ACTOR, reason="mended")
                )
            elif self._dataset == {}:
                self._dataset = None if self._edits.random() < _LEAVES_OUT else {"offsets": "fit"}
                self._file = edited(self._edits, self._rounds, self._begin, self._dataset)
            await self._take_file(manager)
            await manager.record(ev.Resumed(at=self._clock.now(), by=_ACTOR, reason="mended"))

    async def _take_file(self, manager: WorkflowManager) -> None:
        """Have the site file taken as it is."""
        state = manager.state
        change = change_to(state, self._file, starting=False)
        if change is not None and change.is_news(state):
            events = self._parts.taking(
                state, change, state.config_sha256, self._clock.now(), _ACTOR
            )
            await asyncio.gather(*(manager.record(event) for event in events))

    async def _returners(self, manager: WorkflowManager) -> None:
        """Go back to the begin of a phase, once or twice in a campaign, when nothing is at work."""
        while True:
            await self._clock.sleep(self._edits.expovariate(1 / 1200))
            while manager.state.batches:
                await self._clock.sleep(5.0)
            begun = [
                (at.cycle, at.phase) for at in self._events() if isinstance(at, ev.PhaseStarted)
            ]
            if (
                not self._edited
                or self._weather.is_calm
                or not begun
                or self._returned >= _RETURNS_MAX
            ):
                continue
            cycle, phase = self._edits.choice(begun[-6:])
            before = manager.state
            event, _ = redone(
                self._events(), cycle, phase, at=self._clock.now(), by=_ACTOR, reason="once more"
            )
            self._returned += await manager.record(self._parts.returning(event, before))

    def _events(self) -> tuple[ev.Event, ...]:
        """What the disk has, which is what the daemon published: nothing is awaited in between."""
        return MemoryJournal(self._lines).events()[: self._shadow.seq]

    async def _until_planned(self, manager: WorkflowManager) -> None:
        """Wait for a moment in which walkers are being planned, for as long as there may be one."""
        while manager.state.verdict is None:
            if (
                manager.state.stage is Stage.BETWEEN
                and next_phase(manager.state) is Phase.EXPLORATION
            ):
                return
            await self._clock.sleep(2.0)

    async def _set_clock(self) -> None:
        """Somebody sets the daemon's clock, again and again."""
        while True:
            await self._clock.sleep(60.0)
            if self._weather.strikes("clock_jumps"):
                self._clock.jump(self._chance.choice((-1, 1)) * self._chance.choice(_JUMPS_S))

    def _span_s(self) -> float | None:
        """How long a daemon lives; None: until it is over."""
        if self._weather.is_calm or not self._parts.crashes:
            return None
        return self._chance.expovariate(1 / 900)

    def _lost_in_append(self, fault: str, count: int) -> int | None:
        return self._chance.randint(0, count) if self._weather.strikes(fault) else None

    async def _prepare(self) -> int | None:
        """Over the same wire as everything else.

        A site with faults takes no more than four tasks in one array.
        """
        await self._site.transport.write({".ap/payload": b"work half", **self._brought})
        return 4 if self._parts.crashes else None

    async def _disk(self) -> None:
        await self._clock.sleep(self._chance.choice((0.004, 0.004, 0.02, 1.0)))

    def _save(self, _: WorkflowState) -> None:
        """A slow disk: the loop comes back late to what it has decided. Or a full one."""
        self._clock.advance(self._chance.choice((0.0, 0.1, 3.0)))
        if self._weather.strikes("disk_full"):
            raise OperatorError("No space left on device")

    def _note_death(self, ended: object) -> None:
        """Being killed and giving up on a full disk are planned; any other death is a finding."""
        if isinstance(ended, BaseException) and _causes(ended) - {
            asyncio.CancelledError,
            Crash,
            OperatorError,
        }:
            self.findings.violations.append(f"the daemon died by itself: {_words(ended)}")

    def _compare(self, live: WorkflowState, events: Sequence[ev.Event]) -> None:
        """The disk may be ahead of memory by what was being written; never behind or different."""
        if live.seq > len(events):
            self.findings.violations.append(
                f"event {live.seq} was folded in, and only {len(events)} are on the disk"
            )
        elif self._shadow != live:
            self.findings.violations.append(
                f"replay of {live.seq} events gives another state than the daemon had"
            )
        self.findings.violations += live.check()
        self._resume(events)

    def _resume(self, events: Sequence[ev.Event]) -> None:
        """What the next daemon begins with; events that nobody has seen yet are judged."""
        unseen = events[self._shadow.seq :]
        for event in unseen:
            self._judge.see(event)
        self._shadow = replay(unseen, self._shadow)
        self._state = (
            self._parts.replay(events, self._shadow) if self._parts.replay else self._shadow
        )


def replay(events: Sequence[ev.Event], state: WorkflowState | None = None) -> WorkflowState:
    """The state after `events`, from the beginning or from `state`."""
    return reduce(evolve, events, state or WorkflowState())


def failed_without_fault(events: Sequence[ev.Event]) -> bool:
    """Whether a campaign ended `failed` without a fault.

    That is: what it gave up had no failures of its own, and nobody cancelled it.
    """
    last = next((event for event in reversed(events) if isinstance(event, ev.VerdictReached)), None)
    if last is None or last.verdict is not Verdict.FAILED:
        return False
    state = replay(events)
    if state.verdict is not Verdict.FAILED:
        return False
    cancelled = {
        task for event in events if isinstance(event, ev.TasksCancelled) for task in event.tasks
    }
    given_up = [record for record in state.own_tasks if record.status is TaskStatus.QUARANTINED]
    own = [
        record.task.id in cancelled
        or any(MENDERS[failure.reason] is Mender.TASK for failure in record.failures)
        for record in given_up
    ]
    return not given_up or not all(own)


def _from_disk(event: ev.Event) -> ev.Event:
    """The event as a later daemon will read it."""
    return ev.EVENT_ADAPTER.validate_json(event.model_dump_json())


@dataclass(frozen=True, slots=True)
class _Row:
    """Equal failures one after another, of tasks that differ."""

    message: str = ""
    tasks: frozenset[str] = frozenset()

    def longer(self, task: str, message: str) -> "_Row":
        """With one more; it begins anew with other words."""
        return _Row(message, self.tasks | {task} if message == self.message else frozenset({task}))


@dataclass(frozen=True, slots=True)
class _Standing:
    """What there was as a phase began."""

    labels: dict[str, int]
    used: frozenset[str]
    datasets: tuple[str, ...]
    endings: tuple[frozenset[Ending | None], ...]
    explored: tuple[frozenset[float], ...]
    wanted: dict[str, str]
    over: frozenset[str]  # tasks that had their result, or were given up
    read: FileRef | None
    adopted: int
    has_potential: bool


class Judge:
    """Holds the journal, event by event, against what the cluster knows and what was labelled."""

    def __init__(
        self,
        jobs: Jobs,
        clock: SimulatedClock,
        *,
        steady: bool,
        deadline: timedelta | None = None,
        begin: Begin = Begin(),
    ) -> None:
        """`steady`: nobody sets the daemon's clock, so that its waits can be measured.

        `deadline` of rounds of labels; None: they wait for all. `begin` is what a person has
        brought.
        """
        self.violations: list[str] = []
        self._begin = begin
        self._file: WorkflowConfig | None = None  # what is in force, if the journal says so
        self._read: FileRef | None = (
            None  # the user's labels that this cycle has read, and no fit yet
        )
        self._adopted = 0  # of its calculation
        self._has_potential = False
        # tasks that label frames of the user's again, and how each has ended
        self._checks: dict[str, str] = {}
        self._cells: set[str] = set()
        self._jobs = jobs
        self._clock = clock
        self._steady = steady
        self._blamed: dict[str, set[Mender]] = {}  # whose fault the failures of each task were
        self._begun: dict[str, tuple[str, ...]] = {}
        self._cancelled: set[str] = set()
        self._given_up: set[str] = set()
        self._row = _Row()
        self._alone = ""  # the only task of the phase
        self._riddles = 0  # its last attempts, as many as ended in words that nobody knows
        # when each node was known to be sick, by a clock that nobody sets
        self._unfit: dict[str, list[float]] = {}
        self._deadline = deadline
        self._campaign = ""
        self._round: tuple[datetime, frozenset[str]] | None = (
            None  # when it began by the clock of now, and its tasks
        )
        self._done: set[str] = set()
        self._attempts: dict[str, list[tuple[str, int]]] = {}
        # made, and not trained on yet; how many fits have passed it by
        self._labels: dict[str, int] = {}
        # fits that may pass a label by: one, once a round has closed early or a task was brought
        # back
        self._late = 0
        self._used: set[str] = set()
        self._datasets: list[str] = []
        self._latest_at = datetime.min.replace(tzinfo=UTC)
        self._unfit_by_itself = False
        self._sick: dict[str, datetime] = {}
        # node → until when, and how often so far
        self._left_alone: dict[str, tuple[datetime, int]] = {}
        self._kept_from: dict[str, frozenset[str]] = {}
        # what outcomes of done tasks have promised: content by path
        self._files: dict[str, str] = {}
        self._endings: list[set[Ending | None]] = []  # of the walkers, by cycle after the bootstrap
        self._walking = False
        self._settings: tuple[frozenset[float], int] | None = (
            None  # temperatures and cycles that are in force
        )
        self._explored: list[frozenset[float]] = []  # temperatures by exploration
        self._past: dict[tuple[int, Phase], _Standing] = {}  # as each phase began
        # structures that people have added, and the task that labels each
        self._wanted: dict[str, str] = {}
        self._cycles = (0, 0)  # closed that count for the budget, and the first of them
        self._closed = 0  # or left unfinished by a way back
        self._labelled: set[str] = set()  # tasks with a result
        self._left: set[str] = set()  # tasks that are given up, and not brought back

    def see(self, event: ev.Event) -> None:
        """One event, as soon as it is known to be durable."""
        self._go_back(event)
        self._judge_faults(event)
        self._judge_outcome(event)
        if isinstance(event, ev.TaskEnded):
            self._files |= {file.path: file.sha256 for file in _promised(event.outcome)}
        match event:
            case ev.SubmissionBegun():
                self._judge_attempts(event)
            case ev.TaskEnded(outcome=Outcome(status="done", kind="calculate") as outcome) if (
                outcome.artefacts
            ):
                self._labels[outcome.artefacts["label"].path] = 0
            case ev.TaskRetried():
                self._late = 1
            case ev.PhaseEnded(digest=CalculationDigest() as digest) if digest.awaited:
                self._late = 1
            case ev.TaskEnded(outcome=Outcome(status="done", kind="train") as outcome) if (
                outcome.artefacts
            ):
                self._datasets.append(outcome.artefacts["dataset"].path)
            case ev.PhaseStarted(phase=Phase.TRAINING, tasks=(task,)):
                self._judge_training(
                    task.id, [item.file.path for item in task.inputs if item.name == "label"]
                )
                datasets = [item.file.path for item in task.inputs if item.name == "dataset"]
                if datasets != self._datasets:
                    self.violations.append(f"{task.id} reads {datasets}, expected {self._datasets}")
            case ev.VerdictReached(verdict=Verdict.CONVERGED) if self._labels:
                self.violations.append(f"converged, and nobody trained on {sorted(self._labels)}")

        self._judge_endings(event)
        self._judge_round(event)
        self._judge_settings(event)
        self._judge_added(event)
        self._judge_brought(event)

    def _go_back(self, event: ev.Event) -> None:
        """Remember what there was as a phase began: what is done again begins from that alone."""
        if isinstance(event, ev.PhaseStarted):
            self._past[event.cycle, event.phase] = _Standing(
                labels=dict(self._labels),
                used=frozenset(self._used),
                datasets=tuple(self._datasets),
                endings=tuple(frozenset(each) for each in self._endings),
                explored=tuple(self._explored),
                wanted=dict(self._wanted),
                over=frozenset(self._labelled | self._left),
                read=self._read,
                adopted=self._adopted,
                has_potential=self._has_potential,
            )
        if isinstance(event, ev.CycleClosed) or (
            isinstance(event, ev.PhaseRedone) and event.summary is not None
        ):
            self._closed += 1
        if not isinstance(event, ev.PhaseRedone):
            return
        then = self._past[event.cycle, event.phase]
        kept = {label.outcome.artefacts["label"].path for label in event.labels}
        kept |= {
            label.file.path
            for each in event.digests
            if isinstance(each, CalculationDigest)
            for label in each.labels
        }
        if lost := sorted(then.labels.keys() - kept):
            self.violations.append(
                f"on the way back to {event.phase} of cycle {event.cycle} {lost} were lost"
            )
        self._labels = dict.fromkeys(kept, 0)
        self._used, self._datasets = set(then.used), list(then.datasets)
        self._endings, self._explored = [set(each) for each in then.endings], list(then.explored)
        self._read, self._adopted, self._has_potential = then.read, then.adopted, then.has_potential
        # A calculation that had given no label is left behind, and what it was for is wanted still.
        planned = {sha256: then.wanted.get(sha256, "") for sha256 in self._wanted}
        over = self._labelled | then.over
        self._wanted = {sha256: task if task in over else "" for sha256, task in planned.items()}
        self._cycles, self._walking, self._late = (0, self._closed), False, 1

    def _judge_added(self, event: ev.Event) -> None:
        """What people add is labelled once, in the next round that is planned."""
        match event:
            case ev.StructuresAdded():
                self._wanted |= {
                    each.file.sha256: self._wanted.get(each.file.sha256, "")
                    for each in event.structures
                }
            case ev.PhaseStarted(phase=Phase.CALCULATION):
                for task, sha256 in (
                    (each, item.file.sha256) for each in event.tasks for item in each.inputs
                ):
                    if self._wanted.get(sha256):
                        self.violations.append(
                            f"{task.id} labels again what {self._wanted[sha256]} has labelled"
                        )
                    if sha256 in self._wanted:
                        self._wanted[sha256] = task.id
                if "" in self._wanted.values():
                    self.violations.append(
                        f"the round of cycle {event.cycle} leaves out what was added before it"
                    )
            case ev.TaskEnded(outcome=outcome) if outcome.status == "done":
                self._labelled.add(outcome.task)
            case ev.TaskQuarantined():
                self._left.add(event.task)
            case ev.TaskRetried():
                self._left.discard(event.task)
            case _:
                pass

    def _judge_brought(self, event: ev.Event) -> None:  # noqa: C901, PLR0912 - one per kind of event
        """The user's labels are trained on once, and not before the oracle agrees.

        His potential begins one fit.
        """
        match event:
            case ev.PhaseEnded(digest=GenerationDigest(dataset=found)):
                self._read = found.file if found is not None else None
            case ev.PhaseStarted(phase=Phase.CALCULATION):
                self._checks = {each.id: "" for each in event.tasks if _labels_again(each)}
                self._cells = {each.id for each in event.tasks if _is_of_the_gate(each)}
            case ev.SubmissionBegun() if (
                "" in self._checks.values() and not set(event.tasks) <= self._checks.keys()
            ):
                # the oracle is asked whether it agrees with itself, too
                first = self._checks.keys() | self._cells
                own = [
                    task
                    for task in event.tasks
                    if task not in first and self._is_of_this_round(task)
                ]
                if own:
                    self.violations.append(
                        f"{own[0]} is begun before the oracle has been held against the data set"
                    )
            case ev.TaskEnded(outcome=outcome) if (
                outcome.task in self._checks and outcome.status == "done"
            ):
                self._checks[outcome.task] = "done"
            case ev.TaskQuarantined() if event.task in self._checks:
                self._checks[event.task] = "given up"
            case ev.TaskRetried() if event.task in self._checks:
                self._checks[event.task] = ""
            case ev.CampaignReopened():
                self._checks |= {
                    name: "" for name, how in self._checks.items() if how == "given up"
                }
            case ev.PhaseEnded(digest=CalculationDigest() as digest):
                self._judge_adopted(digest)
                self._checks = {}
            case ev.PhaseStarted(phase=Phase.TRAINING, tasks=(task,)):
                adopted = [item.file for item in task.inputs if item.name == "adopted"]
                if len(adopted) != self._adopted:
                    message = f"{len(adopted)} times, expected {self._adopted}"
                    self.violations.append(f"{task.id} reads the labels of the user {message}")
                given = any(item.name == "given_yaml" for item in task.inputs)
                if given is not (self._begin.start and not self._has_potential):
                    self.violations.append(
                        f"{task.id} begins {'' if given else 'not '}from the potential of the user"
                    )
            case ev.PhaseEnded(digest=TrainingDigest() as digest):
                self._read, self._adopted = None, 0
                self._has_potential |= digest.promoted
            case ev.CycleClosed():
                self._read, self._adopted = None, 0
            case ev.PhaseStarted(phase=Phase.EXPLORATION):
                self._judge_pools(event)
            case _:
                pass

    def _is_of_this_round(self, task: str) -> bool:
        """Not a label that is late for an earlier one."""
        return task.rpartition(".")[0] == next(iter(self._checks)).rpartition(".")[0]

    def _judge_pools(self, event: ev.PhaseStarted) -> None:
        for task in event.tasks:
            pool = isinstance(task.parameters, ExploreParameters) and task.parameters.walker.pool
            known = [item.file.path for item in task.inputs if item.name == "dataset"]
            if pool and known != self._datasets:
                self.violations.append(f"{task.id} offers again what is labelled: it knows {known}")

    def _judge_adopted(self, digest: CalculationDigest) -> None:
        """The set is adopted in its cycle if the site file still has it and the oracle agrees."""
        self._adopted = int(digest.adopted is not None)
        section = self._file.dataset if self._file is not None else None
        has = section is not None if self._file is not None else bool(self._begin.dataset)
        wanted = self._read is not None and has and not self._datasets
        if wanted is not bool(self._adopted):
            how = "left out" if wanted else "adopted, which it should not be"
            self.violations.append(f"the data set of the user is {how}")
        if digest.adopted is None:
            return
        if "" in self._checks.values() or "done" not in self._checks.values():
            ends = sorted(self._checks.values())
            self.violations.append(f"the data set is adopted, and its check has come to {ends}")
        shifted = self._begin.dataset == SHIFTED and not digest.adopted.offsets_ev
        if shifted:
            self.violations.append("the data set is adopted, and the oracle does not agree with it")
        if digest.adopted.file != self._read:
            self.violations.append("the data set that is adopted is another than was read")

    def _judge_settings(self, event: ev.Event) -> None:
        """Plans and decisions follow the settings in force, from the moment when they are."""
        match event:
            case ev.SettingsTaken():
                config = config_of(merged(event.settings, event.overrides))
                kelvin = frozenset(
                    each
                    for walks in config.exploration.walkers
                    for each in walks.temperatures_kelvin
                )
                self._settings, self._file = (kelvin, config.convergence.cycles_max), config
            case ev.PhaseStarted(phase=Phase.EXPLORATION):
                walkers = [
                    task.parameters
                    for task in event.tasks
                    if isinstance(task.parameters, ExploreParameters)
                ]
                self._explored.append(
                    frozenset(
                        each.walker.temperature_kelvin for each in walkers if not each.walker.pool
                    )
                )
                if self._settings is not None and self._explored[-1] != self._settings[0]:
                    planned, wanted = sorted(self._explored[-1]), sorted(self._settings[0])
                    self.violations.append(
                        f"walkers are planned at {planned} K, and {wanted} K are in force"
                    )
            case ev.CycleClosed(summary=summary) if not summary.bootstrap:
                self._cycles = (self._cycles[0] + 1, self._cycles[1])
            case ev.CampaignReopened() if event.first_cycle != self._cycles[1]:
                self._cycles = (0, event.first_cycle)
            case ev.VerdictReached(verdict=Verdict.BUDGET_EXHAUSTED) if self._settings is not None:
                if self._cycles[0] < self._settings[1]:
                    self.violations.append(
                        f"{self._cycles[0]} cycles are called enough, of {self._settings[1]} in"
                        " force"
                    )
            case ev.VerdictReached(verdict=Verdict.CONVERGED) if self._settings is not None:
                if not all(self._settings[0] <= kelvin for kelvin in self._explored[-2:]):
                    self.violations.append(
                        f"converged, and {sorted(self._settings[0])} K were not walked twice"
                    )
            case _:
                pass

    def _judge_outcome(self, event: ev.Event) -> None:
        """Whatever is in the outbox: events are this campaign's, with what the next phase needs."""
        match event:
            case ev.CampaignCreated():
                self._campaign = event.campaign
            case ev.TaskEnded(outcome=outcome):
                if outcome.campaign != self._campaign:
                    self.violations.append(
                        f"{outcome.task} was ended by an outcome of {outcome.campaign}"
                    )
                if outcome.status == "done" and (
                    lack := _NEEDED.get(outcome.kind, set()) - outcome.artefacts.keys()
                ):
                    self.violations.append(
                        f"{outcome.task} is done in the journal, without {sorted(lack)}"
                    )
            case _:
                pass

    def _judge_round(self, event: ev.Event) -> None:
        """A round closes with its quorum or at its deadline, by time passed, not by the clock."""
        match event:
            case ev.PhaseStarted(phase=Phase.CALCULATION):
                self._round = (event.at, frozenset(task.id for task in event.tasks))
            case ev.ClockStepped() if self._round is not None:
                self._round = (self._round[0] + timedelta(seconds=event.by_s), self._round[1])
            # a step that no daemon saw: at most from now
            case ev.DaemonStarted() if self._round is not None:
                self._round = (min(self._round[0], event.at), self._round[1])
            case ev.TaskEnded(outcome=outcome) if outcome.status == "done":
                self._done.add(outcome.task)
            case ev.PhaseEnded(digest=CalculationDigest() as digest) if (
                digest.awaited and self._round is not None
            ):
                began_at, tasks = self._round
                if self._deadline is None or event.at - began_at >= self._deadline - _TOLERATED:
                    return
                if len(tasks & self._done) < _QUORUM * len(tasks):
                    passed_s = (event.at - began_at).total_seconds()
                    self.violations.append(
                        f"a round was closed after {passed_s:.0f} s, before its deadline and quorum"
                    )
            case _:
                pass

    def compare_files(self, files: Mapping[str, bytes]) -> None:
        """What outcomes have promised is in the files, whoever was given up and still writes."""
        for path, sha256 in self._files.items():
            if hashlib.sha256(files.get(path, b"")).hexdigest() != sha256:
                self.violations.append(
                    f"{path} is not what its outcome said: {files.get(path, b'').decode()!r}"
                )

    def _judge_faults(self, event: ev.Event) -> None:
        """What is no task's fault counts against none.

        Sick nodes are kept from what begins soon after.
        """
        self._judge_blame(event)
        # nobody told how far it was set
        if event.at < self._latest_at and not isinstance(event, ev.ClockStepped):
            self._sick, never = {}, datetime.max.replace(tzinfo=UTC)
            self._left_alone = {
                name: (never, times) for name, (_, times) in self._left_alone.items()
            }
        self._latest_at = event.at
        self._judge_nodes(event)

    def _judge_nodes(self, event: ev.Event) -> None:
        match event:
            case ev.Resumed() | ev.CampaignReopened():
                self._sick, self._left_alone, self._kept_from = {}, {}, {}
            case ev.ClockStepped():  # as the clock of now would have shown it
                by = timedelta(seconds=event.by_s)
                self._sick = {name: at + by for name, at in self._sick.items()}
                known = (
                    (name, until, times)
                    for name, (until, times) in self._left_alone.items()
                    if until.year < 9999
                )
                self._left_alone |= {name: (until + by, times) for name, until, times in known}
            case ev.TaskEnded(outcome=Outcome(status="failed", reason=Reason.NODE_UNFIT)):
                self._unfit_by_itself = True
            case ev.TaskEnded(outcome=Outcome(status="done", host=host)):  # it runs jobs again
                self._sick.pop(host, None)
                self._left_alone.pop(host, None)
            case ev.SubmissionBegun():
                self._kept_from[event.job_name] = self._sick_lately(event.at, minutes=5)
            case ev.SubmissionAccepted():
                self._judge_return(event.job_name)
                kept = self._kept_from.get(event.job_name, frozenset()) & self._sick_lately(
                    event.at, minutes=9
                )
                if strays := kept - self._jobs.exclusions.get(event.job_name, frozenset()):
                    self.violations.append(
                        f"{event.job_name} is not kept from {sorted(strays)}, which end jobs at"
                        " once"
                    )
            case ev.SubmissionRejected(mender=Mender.TASK):
                self.violations.append(
                    f"{event.job_name} was refused ({event.message}), which counts against its"
                    " tasks"
                )
            case ev.AttemptLost():
                self._judge_end(event)
            case _:
                pass

    def _judge_end(self, event: ev.AttemptLost) -> None:
        # how that ends tells nothing of its node
        cancelled = self._begun[event.job_name][event.index] in self._cancelled
        if event.node and event.reason is Reason.NODE_UNFIT and not cancelled:
            until, times = self._left_alone.get(event.node, (event.at, 0))
            # else it is of before the node was left alone, and makes that no longer
            if event.at >= until:
                self._sick[event.node] = event.at
                self._left_alone[event.node] = (
                    event.at + timedelta(minutes=10 * 2**times),
                    times + 1,
                )
            self._unfit.setdefault(event.node, []).append(self._clock.elapsed_s)
        if event.reason is Reason.NODE_UNFIT and not event.node:
            where = sorted(self._jobs.nodes_of(event.job_name, event.index))
            self.violations.append(
                f"{event.job_name}.{event.index} was ended at once by {where}, and no node is named"
            )
        truth = self._jobs.ends_of(event.job_name, event.index)
        # or Slurm has forgotten it, and it has left nothing
        known = event.reason is not Reason.LOST
        if (
            known
            and truth
            and truth <= {Reason.STORAGE, Reason.NODE_UNFIT}
            and MENDERS[event.reason] is Mender.TASK
        ):
            self.violations.append(
                f"{event.job_name}.{event.index} ended for {sorted(truth)}, and counts against its"
                f" task as {event.reason}"
            )

    def _judge_return(self, job_name: str) -> None:
        """A sick node is tried again: after ten minutes, and after twice as long each time."""
        handed_s = self._jobs.handed_over_s.get(job_name)
        for node in (
            self._jobs.exclusions.get(job_name, frozenset())
            if self._steady and handed_s is not None
            else ()
        ):
            known_s = self._unfit.get(node, [])
            if self._unfit_by_itself:
                continue  # an outcome said so, of the node on which the scheduler last showed it
            longest_s = min(600.0 * 2 ** len(known_s), 14400.0)
            if not known_s or handed_s > known_s[-1] + longest_s:
                self.violations.append(
                    f"{job_name} is kept from {node}, which was sick {known_s}, and now it is"
                    f" {handed_s}"
                )

    def _judge_blame(self, event: ev.Event) -> None:
        """No task is given up for the failures of others.

        Of equal ones in a row a person is asked first.
        """
        match event:
            case ev.SubmissionBegun():
                self._begun[event.job_name] = event.tasks
            case ev.SubmissionRejected():
                for task in self._begun[event.job_name]:
                    self._blamed.setdefault(task, set()).add(event.mender)
            case ev.AttemptLost():
                self._fails(self._begun[event.job_name][event.index], event.reason, event.message)
            case ev.TaskEnded(outcome=Outcome(status="failed") as outcome):
                self._fails(outcome.task, outcome.reason or Reason.CRASHED, outcome.message)
            case ev.TaskEnded():
                self._row = _Row()
                # what is done may be of no use
                self._blamed.setdefault(event.outcome.task, set()).add(Mender.TASK)
            case ev.TaskQuarantined():
                self._given_up.add(event.task)
                if event.task not in self._cancelled:
                    self._judge_given_up(event)
            case _:
                self._forgive(event)

    def _forgive(self, event: ev.Event) -> None:
        """What begins anew, or was seen to by a person."""
        match event:
            case ev.PhaseStarted() | ev.PhaseEnded() | ev.PhaseRedone() | ev.Resumed():
                self._row, self._riddles = _Row(), 0
                if isinstance(event, ev.PhaseStarted):
                    self._alone = event.tasks[0].id if len(event.tasks) == 1 else ""
            case ev.CampaignReopened():
                self._row, self._riddles = _Row(), 0
                self._cancelled -= self._given_up  # they are wanted again
                self._given_up = set()
            case ev.TaskRetried():
                self._blamed.pop(event.task, None)
                self._cancelled.discard(event.task)
                self._given_up.discard(event.task)
            case ev.TasksCancelled():
                self._cancelled |= set(event.tasks)
            case _:
                pass

    def _fails(self, task: str, reason: Reason, message: str) -> None:
        self._blamed.setdefault(task, set()).add(MENDERS[reason])
        if task in self._cancelled:
            return
        if task == self._alone:
            self._riddles = self._riddles + 1 if reason in SUSPECT - {Reason.BAD_INPUT} else 0
        if reason in SUSPECT:
            self._row = self._row.longer(task, signature(f"{reason}: {message}"))
        elif MENDERS[reason] is Mender.TASK:
            self._row = _Row()

    def _judge_given_up(self, event: ev.TaskQuarantined) -> None:
        if Mender.TASK not in self._blamed.get(event.task, set()):
            self.violations.append(
                f"{event.task} is given up, and no failure of it was its own: {event.message}"
            )
        if event.task == self._alone and self._riddles:
            message = (
                f"{self._riddles} attempts in words that nobody knows, alone in its phase, and"
                " nobody was asked"
            )
            self.violations.append(f"{event.task} is given up after {message}")
        if event.task in self._row.tasks and len(self._row.tasks) >= _ROW_MAX:
            self.violations.append(
                f"{event.task} is given up after {len(self._row.tasks)} equal failures in a row,"
                " and nobody was asked"
            )

    def _sick_lately(self, now: datetime, *, minutes: float) -> frozenset[str]:
        spell = timedelta(minutes=minutes)
        return frozenset(name for name, at in self._sick.items() if timedelta() <= now - at < spell)

    def _judge_endings(self, event: ev.Event) -> None:
        """A campaign converges when every walker of its last two cycles has completed."""
        match event:
            case ev.PhaseStarted(phase=Phase.EXPLORATION):
                self._endings.append(set())
                self._walking = True
            case ev.PhaseEnded():
                self._walking = False
            # who was given up in this phase walks after all
            case ev.CampaignReopened() if self._walking:
                self._endings[-1].discard(None)
            case ev.TaskQuarantined() if self._endings and f".{Phase.EXPLORATION}." in event.task:
                self._endings[-1].add(None)
            case ev.TaskEnded(outcome=Outcome(metrics=ExploreMetrics() as metrics)):
                self._endings[-1].add(metrics.ending)
            case ev.VerdictReached(verdict=Verdict.CONVERGED):
                if not all(endings == {Ending.COMPLETED} for endings in self._endings[-2:]):
                    self.violations.append(f"converged, and walkers ended so: {self._endings[-2:]}")
            case _:
                pass

    def _judge_attempts(self, event: ev.SubmissionBegun) -> None:
        """A task's attempt may begin only when every earlier one has ended, or can never begin."""
        for index, task in enumerate(event.tasks):
            for earlier in self._attempts.setdefault(task, []):
                if not self._jobs.is_over(*earlier):
                    self.violations.append(
                        f"{event.job_name} tries {task} again, and {earlier[0]}.{earlier[1]} was"
                        " not over"
                    )
            self._attempts[task].append((event.job_name, index))

    def _judge_training(self, task: str, labels: Sequence[str]) -> None:
        """Every label is trained on, once: in later cycles the data set has it."""
        twice = [name for name, count in Counter(labels).items() if count > 1] + sorted(
            self._used & set(labels)
        )
        if twice:
            self.violations.append(f"{task} reads again {twice}")
        passed_by = {name: fits + 1 for name, fits in self._labels.items() if name not in labels}
        if forgotten := sorted(name for name, fits in passed_by.items() if fits > self._late):
            self.violations.append(f"{task} does not read {forgotten}")
        if strange := sorted(set(labels) - self._labels.keys() - self._used):
            self.violations.append(f"{task} reads {strange}, which nobody has made")
        self._used |= set(labels)
        self._labels = passed_by


def _is_of_the_gate(task: Task) -> bool:
    return (
        isinstance(task.parameters, CalculateParameters) and task.parameters.role is Role.PROPERTY
    )


def _labels_again(task: Task) -> bool:
    """Whether it holds the oracle against a frame of the user's."""
    return isinstance(task.parameters, CalculateParameters) and task.parameters.role is Role.CHECK


def _promised(outcome: Outcome) -> Iterator[FileRef]:
    """Every file that an outcome names; none where it failed."""
    yield from outcome.artefacts.values()
    if isinstance(outcome.metrics, GenerateMetrics | SelectMetrics):
        yield from (structure.file for structure in outcome.metrics.structures)


def _created(at: datetime, k_mesh: KMesh) -> ev.CampaignCreated:
    begun = {
        "campaign": "copper-3f9a1c",
        "name": "copper",
        "version": "0",
        "config_sha256": "0",
        "k_mesh": k_mesh,
    }
    return ev.CampaignCreated.model_validate({"at": at, **begun})


def _started(at: datetime, config_sha256: str = "0") -> ev.DaemonStarted:
    return ev.DaemonStarted(
        at=at, version="0", host="login1", pid=1, config_sha256=config_sha256, payload_sha256="0"
    )


def _causes(error: BaseException) -> set[type[BaseException]]:
    if isinstance(error, BaseExceptionGroup):
        return set().union(*(_causes(inner) for inner in error.exceptions))
    return {type(error)}


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"
