"""A whole campaign on a simulated cluster, with a daemon that is killed again and again; and what must always hold."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.orchestration.effects import Effects
from mlip_autopipec.orchestration.loop import WorkflowManager
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import PhaseRunner
from mlip_autopipec.testing.clock import SimulatedClock, SimulationStuck, run_simulated
from mlip_autopipec.testing.cluster import SimulatedCluster
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.memory import Crash, MemoryJournal, MemoryTransport
from mlip_autopipec.testing.weather import FaultRates, Weather

#: Faults, crashes and pauses stop here; a verdict must follow within LIMIT_S - CALM_AFTER_S.
CALM_AFTER_S = 4 * 3600.0
LIMIT_S = 16 * 3600.0
_KILLED_IN_APPEND = 0.01
_ACTOR = ev.Actor(uid=1000, pid=1, name="ada")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a simulation is made of; planted bugs come in here."""

    effects: type[Effects] = Effects
    manager: type[WorkflowManager] = WorkflowManager
    journal: type[MemoryJournal] = MemoryJournal
    cluster: type[SimulatedCluster] = SimulatedCluster
    runners: Callable[[WorkflowConfig], Mapping[Phase, PhaseRunner]] = phase_runners
    rates: FaultRates | None = None
    crashes: bool = True


@dataclass(slots=True)
class Findings:
    """What a simulation has shown."""

    seed: int
    violations: list[str] = field(default_factory=list)
    verdict: str | None = None
    events: tuple[ev.Event, ...] = ()
    lives: int = 0
    elapsed_s: float = 0.0

    def __str__(self) -> str:
        told = "; ".join(self.violations[:3]) or "nothing to complain of"
        return f"seed {self.seed} ({self.lives} lives, {len(self.events)} events): {told}"


class Witness(Effects):
    """Carries out commands by another's hands, and notes what is begun when it must not be."""

    def __init__(self, inner: Effects, journal: MemoryJournal, violations: list[str]) -> None:
        self._inner = inner
        self._journal = journal
        self._violations = violations

    async def carry_out(self, command: cm.Command, state: WorkflowState) -> ev.Event:
        if isinstance(command, (cm.BeginBatch, cm.SubmitBatch)) and state.pause is not None:
            self._violations.append(f"{command.type} of {command.uid} while paused")
        if isinstance(command, (cm.BeginBatch, cm.SubmitBatch)) and not state.site_prepared:
            self._violations.append(f"{command.type} of {command.uid} on a site that is not prepared")
        if isinstance(command, cm.BeginBatch) and len(command.tasks) > (state.array_tasks_max or len(command.tasks)):
            self._violations.append(f"{command.uid} has more tasks than the site takes")
        if state.seq > len(self._journal.lines):
            self._violations.append(f"{command.type} acts on event {state.seq}, which is not on the disk")
        return await self._inner.carry_out(command, state)


class Simulation:
    """One seed: a climate, a cluster, and the lives of a daemon until the campaign has its verdict."""

    def __init__(self, seed: int, parts: Parts) -> None:
        self.findings = Findings(seed)
        self._parts = parts
        self._chance = random.Random(seed)  # noqa: S311 - the same in every run is the point
        self._clock = SimulatedClock()
        rates = parts.rates or FaultRates.drawn(self._chance)
        self._weather = Weather(self._clock, self._chance, rates, calm_after_s=CALM_AFTER_S)
        self._transport = MemoryTransport(disturb=self._weather.pass_by)
        self._cluster = parts.cluster(self._transport, self._clock, self._weather, self._chance)
        self._config = copper_config()
        self._lines: list[bytes] = []
        self._state = WorkflowState()
        self._over = asyncio.Event()

    def run(self) -> Findings:
        """Live, die and be born again until the verdict; then judge the journal."""
        try:
            run_simulated(self._campaign(), self._clock, limit_s=LIMIT_S)
        except SimulationStuck as stuck:
            self.findings.violations.append(f"no verdict: {stuck}")
        self.findings.violations += self._cluster.violations
        self.findings.events = MemoryJournal(self._lines).events()
        self.findings.violations += judge(self.findings.events, self._cluster)
        self.findings.elapsed_s = self._clock.elapsed_s
        return self.findings

    async def _campaign(self) -> None:
        journal = MemoryJournal()
        await journal.append([_created(self._clock.now())])
        self._lines = journal.lines
        self._state = replay(journal.events())
        while not self._over.is_set() and not self.findings.violations:
            await self._life()
            await self._clock.sleep(self._chance.expovariate(1 / 60))

    async def _life(self) -> None:
        """From replay to death; a daemon that has seen the end may die in peace."""
        self.findings.lives += 1
        journal = self._parts.journal(self._lines, crash=self._killed_in_append, latency=self._disk)
        manager = self._manager(self._state, journal)
        doings = {asyncio.create_task(doing) for doing in (manager.run(), self._people(manager), self._over.wait())}
        await asyncio.wait(doings, timeout=self._span_s(), return_when=asyncio.FIRST_COMPLETED)
        for doing in doings:
            doing.cancel()
        for ended in await asyncio.gather(*doings, return_exceptions=True):
            self._note_death(ended)
        self._lines = journal.lines
        self._compare(manager.state, journal.events())

    def _manager(self, state: WorkflowState, journal: MemoryJournal) -> WorkflowManager:
        runners = self._parts.runners(self._config)
        effects = self._parts.effects(runners, self._cluster, self._transport, self._clock, prepare=self._prepare)
        return self._parts.manager(
            state=state,
            policy=Policy.from_config(self._config),
            journal=journal,
            effects=Witness(effects, journal, self.findings.violations),
            scheduler=self._cluster,
            transport=self._transport,
            watcher=self._cluster,
            clock=self._clock,
            poll_interval_s=self._config.site.poll_interval,
            observers=(self._observe,),
            save=self._save,
        )

    def _observe(self, _: ev.Event, state: WorkflowState) -> None:
        """After the verdict the weather clears, and the end is when nothing is live any more."""
        if state.verdict is not None:
            self.findings.verdict = state.verdict
            self._weather.clear()
            if not state.batches:
                self._over.set()

    async def _people(self, manager: WorkflowManager) -> None:
        """Start, pause, resume, until the weather is calm; and never end before the daemon does."""
        await manager.record(_started(self._clock.now()))
        while True:
            if manager.state.pause is not None:
                await self._clock.sleep(self._chance.expovariate(1 / 300))
                await manager.record(ev.Resumed(at=self._clock.now(), by=_ACTOR))
            await self._clock.sleep(self._chance.expovariate(1 / 1800))
            if not self._weather.is_calm:
                await manager.record(ev.Paused(at=self._clock.now(), by=_ACTOR, reason="to see what happens"))

    def _span_s(self) -> float | None:
        """How long a daemon lives; None: until it is over."""
        if self._weather.is_calm or not self._parts.crashes:
            return None
        return self._chance.expovariate(1 / 900)

    def _killed_in_append(self, count: int) -> int | None:
        dies = self._parts.crashes and not self._weather.is_calm and self._chance.random() < _KILLED_IN_APPEND
        return self._chance.randint(0, count) if dies else None

    async def _prepare(self) -> int | None:
        """Over the same wire as everything else; a site with faults takes no more than four tasks in one array."""
        await self._transport.write({".ap/payload": b"work half"})
        return 4 if self._parts.crashes else None

    async def _disk(self) -> None:
        await self._clock.sleep(self._chance.choice((0.004, 0.004, 0.02, 1.0)))

    def _save(self, _: WorkflowState) -> None:
        """A slow disk: the loop comes back late to what it has decided."""
        self._clock.advance(self._chance.choice((0.0, 0.1, 3.0)))

    def _note_death(self, ended: object) -> None:
        """Being killed is part of the plan; dying of anything else is a finding."""
        if isinstance(ended, BaseException) and _causes(ended) - {asyncio.CancelledError, Crash}:
            self.findings.violations.append(f"the daemon died by itself: {_words(ended)}")

    def _compare(self, live: WorkflowState, events: Sequence[ev.Event]) -> None:
        """The disk may be ahead of memory by what was being written; never behind, never different."""
        then = replay(events[: live.seq])
        if live.seq > len(events):
            self.findings.violations.append(f"event {live.seq} was folded in, and only {len(events)} are on the disk")
        elif then != live:
            self.findings.violations.append(f"replay of {live.seq} events gives another state than the daemon had")
        self.findings.violations += _left_behind(live)
        self._state = replay(events[live.seq :], then)


def replay(events: Sequence[ev.Event], state: WorkflowState | None = None) -> WorkflowState:
    """The state after `events`, from the beginning or from `state`."""
    return reduce(evolve, events, state or WorkflowState())


def _left_behind(state: WorkflowState) -> Iterator[str]:
    """Deferrals are of what is live; a batch that is known has a live attempt."""
    live = {f"batch:{uid}" for uid in state.batches} | (set() if state.site_prepared else {"site"})
    live |= {f"attempt:{batch.uid}.{index}" for batch in state.batches.values() for index in batch.live}
    if left := sorted(state.deferrals.keys() - live):
        yield f"put off, though nothing waits for it: {left}"


def judge(events: Sequence[ev.Event], cluster: SimulatedCluster) -> list[str]:
    """What the journal and the cluster's own memory say against the daemon."""
    return [*_advanced_too_early(events, cluster), *_labels_forgotten(events)]


def _advanced_too_early(events: Sequence[ev.Event], cluster: SimulatedCluster) -> Iterator[str]:
    """An attempt of a task may begin only when every earlier one has ended, or can never begin."""
    attempts: dict[str, list[tuple[str, int]]] = {}
    for event in events:
        if not isinstance(event, ev.SubmissionBegun):
            continue
        for index, task in enumerate(event.tasks):
            for earlier in attempts.setdefault(task, []):
                over = cluster.over_since(*earlier)
                if over is None or over > event.at:
                    yield f"{event.uid} tries {task} again, and {earlier[0]}.{earlier[1]} was not over"
            attempts[task].append((event.uid, index))


def _labels_forgotten(events: Sequence[ev.Event]) -> Iterator[str]:
    """Training reads the label of every calculation that is done, and the data set of every cycle before."""
    labels: set[str] = set()
    datasets: set[str] = set()
    for event in events:
        match event:
            case ev.TaskEnded(outcome=Outcome(status="done", kind="calculate") as outcome):
                labels.add(outcome.artefacts["label"].path)
            case ev.TaskEnded(outcome=Outcome(status="done", kind="train") as outcome):
                datasets.add(outcome.artefacts["dataset"].path)
            case ev.PhaseStarted(phase=Phase.TRAINING, tasks=(task,)):
                read = {item.file.path for item in task.inputs}
                if forgotten := sorted((labels | datasets) - read):
                    yield f"{task.id} does not read {forgotten}"
                labels = set()
            case ev.CycleClosed() if labels:
                yield f"cycle {event.summary.cycle} closed and nobody trained on {sorted(labels)}"


def _created(at: datetime) -> ev.CampaignCreated:
    return ev.CampaignCreated(at=at, campaign="copper-3f9a1c", name="copper", version="0", config_sha256="0")


def _started(at: datetime) -> ev.DaemonStarted:
    return ev.DaemonStarted(at=at, version="0", host="login1", pid=1, config_sha256="0", payload_sha256="0")


def _causes(error: BaseException) -> set[type[BaseException]]:
    if isinstance(error, BaseExceptionGroup):
        return set().union(*(_causes(inner) for inner in error.exceptions))
    return {type(error)}


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"
