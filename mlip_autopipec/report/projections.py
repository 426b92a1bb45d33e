"""Projections: what a journal's events add up to, as tables and curves.

All are pure folds over the events in order.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlip_autopipec.contract.explore import GAMMA_BINS_PER_DECADE, Continuation, ExploreParameters
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.train import Errors, PastErrors
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.digest import (
    CalculationDigest,
    CycleSummary,
    ExplorationDigest,
    Ladder,
    TrainingDigest,
)
from mlip_autopipec.data_models.task import Task


@dataclass(frozen=True, slots=True)
class LineFit:
    """One point of the learning curve."""

    cycle: int
    labels_train: int  # so far, this cycle's included
    labels_test: int  # so far, this cycle's included
    train: Errors
    test: Errors
    test_of_current: Errors | None  # the current potential on the same test set; None at bootstrap
    promoted: bool
    history: tuple[PastErrors, ...] = ()  # earlier potentials on the same test set as `test`


@dataclass(frozen=True, slots=True)
class WalkerTrace:
    """γ over the steps of one walker."""

    cycle: int
    task: str
    label: str
    ending: Ending
    steps: int
    steps_planned: int
    gamma_select: float
    gamma_halt: float
    gamma_max: float
    points: tuple[tuple[int, float], ...]  # step, γ max
    continues: Continuation | None = None
    gamma_share: float | None = None  # part of MD's time that γ cost

    @property
    def halted_at(self) -> int | None:
        """The step at which γ rose above gamma_halt; None for every other ending."""
        return self.steps if self.ending is Ending.HALTED else None


@dataclass(frozen=True, slots=True)
class LadderRung:
    """One stage of one walker group in one cycle; only time under that cycle's potential counts."""

    cycle: int
    group: int
    stage: int
    stages: int
    walkers: int
    completed: int
    halted: int
    continued: int
    time_ps: float


@dataclass(frozen=True, slots=True)
class LabelOrigin:
    """How many labels of one cycle have one origin."""

    cycle: int
    kind: str  # what its origin begins with: generated, halt, collected or audit
    role: Role
    count: int


@dataclass(frozen=True, slots=True)
class Potentials:
    """The cycles whose fit was promoted, in order, each with the file of its parity data."""

    promoted: tuple[int, ...]
    parity: Mapping[int, FileRef]

    @property
    def shown(self) -> tuple[int, ...]:
        """The first and the last."""
        return tuple(dict.fromkeys((*self.promoted[:1], *self.promoted[-1:])))


def on_last_test_set(fits: Sequence[LineFit]) -> tuple[tuple[LineFit, Errors], ...]:
    """Fits whose potential was measured on the last test set, with these errors; at least the last.

    Errors of different cycles are on different test sets, for the set grows with what MD meets.
    Only these compare.
    """
    last = fits[-1]
    past = {point.cycle: point.errors for point in last.history}
    return (*((fit, past[fit.cycle]) for fit in fits[:-1] if fit.cycle in past), (last, last.test))


def learning_curve(events: Iterable[ev.Event]) -> tuple[LineFit, ...]:
    """One point per fit, promoted or not."""
    labels: Counter[Role] = Counter()
    fits = []
    for event in events:
        match event:
            case ev.PhaseEnded(digest=CalculationDigest() as digest):
                labels.update(label.role for label in digest.labels)
                if (brought := digest.adopted) is not None:
                    labels.update({Role.TRAIN: brought.train, Role.TEST: brought.test})
            case ev.PhaseEnded(digest=TrainingDigest() as digest):
                fits.append(
                    LineFit(
                        cycle=event.cycle,
                        labels_train=labels[Role.TRAIN],
                        labels_test=labels[Role.TEST],
                        train=digest.train,
                        test=digest.potential.test,
                        test_of_current=digest.test_of_current,
                        promoted=digest.promoted,
                        history=digest.history,
                    )
                )
            case _:
                pass
    return tuple(fits)


def gamma_traces(events: Iterable[ev.Event]) -> tuple[WalkerTrace, ...]:
    """One trace per walker that ended with a result, in the order of their ends."""
    walkers: dict[str, Task] = {}
    traces = []
    for event in events:
        match event:
            case ev.PhaseStarted(phase=Phase.EXPLORATION):
                walkers = {task.id: task for task in event.tasks}
            case ev.TaskEnded() if isinstance(event.outcome.metrics, ExploreMetrics):
                if (task := walkers.get(event.outcome.task)) and isinstance(
                    task.parameters, ExploreParameters
                ):
                    traces.append(_trace(task, task.parameters, event.outcome.metrics))
            case _:
                pass
    return tuple(traces)


@dataclass(frozen=True, slots=True)
class GammaHistogram:
    """How often a cycle's walkers met a γ: looks by the lower edge of bins 1/8 of a decade wide.

    `selected` are the fewest and the most looks that can have been at or above γ select. Walkers
    count them, so both are equal; of those of an earlier version the bin with the threshold in it
    may lie on either side.
    """

    cycle: int
    looks: Mapping[float, int]
    gamma_select: float
    gamma_halt: float
    selected: tuple[int, int]


def gamma_histograms(events: Iterable[ev.Event]) -> tuple[GammaHistogram, ...]:
    """One for each cycle whose walkers counted their looks, in order.

    Every look counts, not only a trace's peaks.
    """
    walkers: dict[str, Task] = {}
    looks: dict[int, Counter[float]] = {}
    levels: dict[int, tuple[float, float]] = {}
    selected: dict[int, tuple[int, int]] = {}
    for event in events:
        match event:
            case ev.PhaseStarted(phase=Phase.EXPLORATION):
                walkers = {task.id: task for task in event.tasks}
            case ev.TaskEnded() if isinstance(event.outcome.metrics, ExploreMetrics):
                task, metrics = walkers.get(event.outcome.task), event.outcome.metrics
                if metrics.gamma_counts and task and isinstance(task.parameters, ExploreParameters):
                    looks.setdefault(task.cycle, Counter()).update(dict(metrics.gamma_counts))
                    levels[task.cycle] = task.parameters.gamma_select, task.parameters.gamma_halt
                    least, most = _selected(metrics, task.parameters.gamma_select)
                    before = selected.get(task.cycle, (0, 0))
                    selected[task.cycle] = before[0] + least, before[1] + most
            case _:
                pass
    return tuple(
        GammaHistogram(cycle, dict(sorted(found.items())), *levels[cycle], selected[cycle])
        for cycle, found in looks.items()
    )


def _selected(metrics: ExploreMetrics, gamma_select: float) -> tuple[int, int]:
    """The fewest and the most looks of one walker at or above γ select."""
    if metrics.gamma_selected is not None:
        return metrics.gamma_selected, metrics.gamma_selected
    edges = sorted(dict(metrics.gamma_counts))
    below = max((edge for edge in edges if edge <= gamma_select), default=0.0)
    # where its bin ends; the next may have no looks
    last = below * 10 ** (1 / GAMMA_BINS_PER_DECADE)
    least = sum(looks for edge, looks in metrics.gamma_counts if edge >= gamma_select)
    unsure = dict(metrics.gamma_counts).get(below, 0) if below < gamma_select < last else 0
    return least, least + unsure


def _trace(task: Task, parameters: ExploreParameters, metrics: ExploreMetrics) -> WalkerTrace:
    return WalkerTrace(
        cycle=task.cycle,
        task=task.id,
        label=parameters.walker.label,
        ending=metrics.ending,
        steps=metrics.steps,
        steps_planned=metrics.steps_planned,
        gamma_select=parameters.gamma_select,
        gamma_halt=parameters.gamma_halt,
        gamma_max=metrics.gamma_max,
        points=metrics.gamma_trace,
        continues=parameters.walker.continues,
        gamma_share=metrics.gamma_share,
    )


def ladder_rungs(events: Iterable[ev.Event]) -> tuple[LadderRung, ...]:
    """Every stage of every cycle's Exploration, in order."""
    rungs = []
    for event in events:
        if isinstance(event, ev.PhaseEnded) and isinstance(event.digest, ExplorationDigest):
            rungs += [
                _rung(event.cycle, event.digest, ladder, stage)
                for ladder in event.digest.ladders
                for stage in range(ladder.walked)
            ]
    return tuple(rungs)


def _rung(cycle: int, digest: ExplorationDigest, ladder: Ladder, stage: int) -> LadderRung:
    walkers = [
        walker for walker in digest.walkers if walker.key.startswith(f"{ladder.group}.{stage}.")
    ]
    return LadderRung(
        cycle=cycle,
        group=ladder.group,
        stage=stage,
        stages=ladder.stages,
        walkers=len(walkers),
        completed=sum(walker.ending is Ending.COMPLETED for walker in walkers),
        halted=sum(walker.ending is Ending.HALTED for walker in walkers),
        continued=sum(walker.continues is not None for walker in walkers),
        time_ps=sum(walker.time_ps for walker in walkers),
    )


def label_origins(events: Iterable[ev.Event]) -> tuple[LabelOrigin, ...]:
    """Labels counted by cycle, kind of origin and role; in that order."""
    counts = Counter(
        (event.cycle, label.where_from.kind, label.role)
        for event in events
        if isinstance(event, ev.PhaseEnded) and isinstance(event.digest, CalculationDigest)
        for label in event.digest.labels
    )
    return tuple(LabelOrigin(*key, count) for key, count in sorted(counts.items()))


def closed_cycles(events: Iterable[ev.Event]) -> tuple[CycleSummary, ...]:
    """The summary of every closed cycle."""
    return tuple(event.summary for event in events if isinstance(event, ev.CycleClosed))


def potentials(events: Iterable[ev.Event]) -> Potentials:
    """Which cycles gave potentials, and where each fit's parity data lie, if training wrote any."""
    promoted, parity, cycle = [], {}, 0
    for event in events:
        match event:
            case ev.PhaseStarted():
                cycle = event.cycle
            case ev.TaskEnded() if (
                event.outcome.kind == "train" and "parity" in event.outcome.artefacts
            ):
                parity[cycle] = event.outcome.artefacts["parity"]
            case ev.PhaseEnded(digest=TrainingDigest() as digest) if digest.promoted:
                promoted.append(event.cycle)
            case _:
                pass
    return Potentials(tuple(promoted), parity)


# --- attempts -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One attempt that gave no result."""

    task: str
    job_name: str
    index: int
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A task with at least one failed attempt, and what became of it."""

    task: str
    attempts: tuple[FailedAttempt, ...]
    fate: str  # `done later`, `given up` or `open`


@dataclass(frozen=True, slots=True)
class Attempts:
    """Every attempt of the campaign, counted."""

    begun: int  # submissions that never reached the scheduler are not attempts
    done: int
    failed: Mapping[Reason, int]  # most frequent first
    tasks: tuple[FailedTask, ...]  # in the order of their first failure


def attempts(events: Iterable[ev.Event]) -> Attempts:
    """Attempts and failures by reason, and each task that failed at least once."""
    fold = _AttemptsFold()
    for event in events:
        fold.take(event)
    return fold.result()


class _AttemptsFold:
    def __init__(self) -> None:
        self._live: dict[tuple[str, int], str] = {}  # attempt → task
        self._begun = 0
        self._done: set[str] = set()
        self._given_up: set[str] = set()
        self._failures: dict[str, list[FailedAttempt]] = {}

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.SubmissionBegun():
                self._begun += len(event.tasks)
                self._live.update(
                    {(event.job_name, index): task for index, task in enumerate(event.tasks)}
                )
            case ev.SubmissionVoided():
                for key in self._of(event.job_name):
                    del self._live[key]
                    self._begun -= 1
            case ev.SubmissionRejected():
                for job_name, index in self._of(event.job_name):
                    self._fail(job_name, index, Reason.REJECTED, event.message)
            case ev.AttemptLost():
                self._fail(event.job_name, event.index, event.reason, event.message)
            case ev.TaskEnded() if event.outcome.status == "failed":
                outcome = event.outcome
                self._fail(
                    outcome.job_name,
                    outcome.index,
                    outcome.reason or Reason.CRASHED,
                    outcome.message,
                )
            case ev.TaskEnded():
                self._done.add(event.outcome.task)
                self._live.pop((event.outcome.job_name, event.outcome.index), None)
            case ev.TaskQuarantined():
                self._given_up.add(event.task)
            case _:
                pass

    def result(self) -> Attempts:
        every = [failure for failures in self._failures.values() for failure in failures]
        return Attempts(
            begun=self._begun,
            done=len(self._done),
            failed=dict(Counter(failure.reason for failure in every).most_common()),
            tasks=tuple(
                FailedTask(task, tuple(failures), self._fate(task))
                for task, failures in self._failures.items()
            ),
        )

    def _of(self, job_name: str) -> list[tuple[str, int]]:
        return [key for key in self._live if key[0] == job_name]

    def _fail(self, job_name: str, index: int, reason: Reason, message: str) -> None:
        task = self._live.pop((job_name, index), None)
        if task is not None:
            self._failures.setdefault(task, []).append(
                FailedAttempt(task, job_name, index, reason, message)
            )

    def _fate(self, task: str) -> str:
        if task in self._given_up:
            return "given up"
        return "done later" if task in self._done else "open"
