"""The report's section on labels.

It tells what was asked of the oracle, what it took to get it, and what a label means.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.label import CalculateMetrics, OracleRun
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.report.blocks import ROWS_MAX, details, quiet, rest
from mlip_autopipec.report.markup import element, table
from mlip_autopipec.report.projections import Attempts
from mlip_autopipec.telling.words import count, duration


@dataclass(frozen=True, slots=True)
class HealedLabel:
    """A label that its first run did not give."""

    cycle: int
    task: str
    origin: str
    runs: tuple[OracleRun, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of Calculation that has closed."""

    cycle: int
    asked: int
    labels: int  # late ones of earlier rounds included
    late: int
    failed: int
    awaited: int
    runs: int  # of an external code, for the labels that arrived meanwhile
    healed: int
    wall_s: float | None  # of the median label


@dataclass(frozen=True, slots=True)
class Labelling:
    """Every round, every label that was healed, and how many labels have which settings."""

    rounds: tuple[Round, ...]
    healed: tuple[HealedLabel, ...]
    settings: Mapping[str, int]


def labelling(events: Iterable[ev.Event]) -> Labelling:
    """Fold the events to what labels took."""
    fold = _Fold()
    for event in events:
        fold.take(event)
    return Labelling(tuple(fold.rounds), tuple(fold.healed), dict(fold.settings))


@dataclass
class _Fold:
    rounds: list[Round] = field(default_factory=list)
    healed: list[HealedLabel] = field(default_factory=list)
    settings: Counter[str] = field(default_factory=Counter)
    _cycle: int = 0
    _asked: int = 0
    _origins: dict[str, str] = field(default_factory=dict)
    _arrived: list[tuple[Outcome, CalculateMetrics]] = field(default_factory=list)

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.PhaseStarted(phase=Phase.CALCULATION):
                self._cycle, self._asked = event.cycle, len(event.tasks)
                for task in event.tasks:
                    if isinstance(task.parameters, CalculateParameters):
                        self._origins[task.id] = task.parameters.origin
            case ev.TaskEnded() if isinstance(event.outcome.metrics, CalculateMetrics):
                self._label(event.outcome, event.outcome.metrics)
            case ev.PhaseEnded(digest=CalculationDigest() as digest):
                self._close(event.cycle, digest)
            case _:
                pass

    def _label(self, outcome: Outcome, metrics: CalculateMetrics) -> None:
        self._arrived.append((outcome, metrics))
        self.settings[metrics.settings] += 1
        origin = self._origins.pop(outcome.task, "")
        if len(metrics.tries) > 1:
            self.healed.append(HealedLabel(self._cycle, outcome.task, origin, metrics.tries))

    def _close(self, cycle: int, digest: CalculationDigest) -> None:
        arrived, self._arrived = self._arrived, []
        self.rounds.append(
            Round(
                cycle=cycle,
                asked=self._asked,
                labels=len(digest.labels),
                late=digest.late,
                failed=digest.failed,
                awaited=digest.awaited,
                runs=sum(len(metrics.tries) for _, metrics in arrived),
                healed=sum(len(metrics.tries) > 1 for _, metrics in arrived),
                wall_s=median(outcome.wall_s for outcome, _ in arrived) if arrived else None,
            )
        )


def labels(labelling: Labelling, tries: Attempts) -> str:
    """Rounds, healing, failures by reason, and fingerprints."""
    if not labelling.settings and not labelling.rounds:
        return quiet("No structure has been labelled yet.")
    failed = _failed(tries)
    rows = [_row(closed) for closed in labelling.rounds[-ROWS_MAX:]]
    head = (
        "cycle",
        "asked",
        "labels",
        "late",
        "given up",
        "awaited",
        "runs",
        "healed",
        "median label",
    )
    rounds = table(head, rows) + rest(len(labelling.rounds)) if rows else ""
    reasons = ", ".join(f"{number} {reason.replace('_', ' ')}" for reason, number in failed.items())
    text = (
        f"Attempts that gave no label, by reason: {reasons}."
        if failed
        else "Every attempt gave its label."
    )
    return rounds + element("p", text) + _healing(labelling) + _meaning(labelling.settings)


def _row(closed: Round) -> tuple[str, ...]:
    numbers = (
        closed.cycle,
        closed.asked,
        closed.labels,
        closed.late,
        closed.failed,
        closed.awaited,
    )
    runs = (str(closed.runs), str(closed.healed)) if closed.runs else ("–", "–")
    return (*map(str, numbers), *runs, "–" if closed.wall_s is None else duration(closed.wall_s))


def _failed(tries: Attempts) -> Mapping[Reason, int]:
    """Failed attempts at labels, most frequent reason first."""
    reasons = (
        failure.reason
        for task in tries.tasks
        if f".{Phase.CALCULATION.value}." in task.task
        for failure in task.attempts
    )
    return dict(Counter(reasons).most_common())


def _healing(labelling: Labelling) -> str:
    if not labelling.healed:
        return ""
    met = Counter(run.ending for label in labelling.healed for run in label.runs[:-1])
    text = ", ".join(f"{number} {ending.replace('_', ' ')}" for ending, number in met.most_common())
    rows = [
        (
            label.task,
            label.origin,
            " → ".join(run.ending.replace("_", " ") for run in label.runs),
            ", ".join(f"{key} {value}" for key, value in label.runs[-1].changes.items())
            or "as at first",
        )
        for label in labelling.healed[-ROWS_MAX:]
    ]
    head = ("label", "from", "how its runs ended", "what the last run changed")
    sentence = element(
        "p", f"{count(len(labelling.healed), 'label')} took more than one run, after {text}."
    )
    unfolded = table(head, rows, text_columns=(0, 1, 2, 3))
    return sentence + details("Every label that was healed", unfolded, len(labelling.healed))


def _meaning(settings: Mapping[str, int]) -> str:
    rows = [(name, str(number)) for name, number in settings.items()]
    return table(("fingerprint of the settings", "labels"), rows) if rows else ""
