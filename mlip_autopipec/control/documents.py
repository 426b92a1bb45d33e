"""State → documents: what `/v1/status`, `/v1/explain` and `/metrics` say. Pure: runs in any thread.

With 10,000 tasks a view takes tens of milliseconds, so it is kept for as long as it cannot change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from mlip_autopipec.control.api import Explanation, PotentialBrief, Status
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.events import SiteHealth
from mlip_autopipec.data_models.state import ActiveTask, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.census import census
from mlip_autopipec.orchestration.decide import next_deadline
from mlip_autopipec.orchestration.explain import explain
from mlip_autopipec.orchestration.policy import Policy

#: A person reads no more, and the answer stays small with 10,000 tasks.
ACTIVE_TASKS_MAX = 100
LINES_MAX = 40


@dataclass(frozen=True, slots=True)
class View:
    """What one state looks like to people."""

    state: WorkflowState
    status: Status
    explanation: Explanation
    until: datetime | None  # from then on, time alone may change what is said; None: never

    def holds(self, state: WorkflowState, now: datetime) -> bool:
        """Whether a view made afresh would say the same, but for the time of day."""
        return self.state is state and (self.until is None or now < self.until)


def view(state: WorkflowState, policy: Policy, now: datetime) -> View:
    """Both documents of one state."""
    lines = explain(state, policy, now)
    return View(
        state=state,
        status=_status(state, lines, now),
        explanation=Explanation(lines=lines, seq=state.seq),
        until=next_deadline(state, policy, now),
    )


def _status(state: WorkflowState, lines: Sequence[str], now: datetime) -> Status:
    """The campaign at a glance; its size is bounded but for one summary per closed cycle."""
    potential = state.potential
    return Status(
        campaign=state.campaign,
        status=state.status,
        stage=state.stage,
        cycle=state.cycle_index,
        phase=state.current_phase,
        verdict=state.verdict,
        verdict_reason=state.verdict_reason,
        pause=state.pause,
        site=state.site,
        site_message=state.site_message,
        tasks=_task_counts(state),
        active_tasks=tuple(islice(_active_tasks(state), ACTIVE_TASKS_MAX)),
        active_tasks_count=sum(len(batch.live) for batch in state.batches.values()),
        potential=potential
        and PotentialBrief(
            cycle=potential.cycle,
            folder=potential.folder,
            test=potential.test,
            functions_per_element=potential.functions_per_element,
            cutoff_angstrom=potential.cutoff_angstrom,
            cost_us=potential.cost_us,
        ),
        cycles=state.cycles,
        measured=state.measured,
        explain=_capped(lines),
        seq=state.seq,
        now=now,
    )


def metrics_text(state: WorkflowState) -> str:
    """The campaign as Prometheus reads it (text format 0.0.4).

    Labels and halts are of the closed cycles.
    """
    counts = _task_counts(state)
    return "".join(
        (
            _gauge("seq", "Journal sequence number of the last event.", [("", state.seq)]),
            _gauge("cycle", "Index of the current cycle.", [("", state.cycle_index)]),
            _gauge(
                "phase", "1 for the current phase.", _one_hot("phase", Phase, state.current_phase)
            ),
            _gauge(
                "paused", "1 while nothing new is submitted.", [("", int(state.pause is not None))]
            ),
            _gauge("ended", "1 when a verdict is reached.", [("", int(state.verdict is not None))]),
            _gauge(
                "site", "1 for how the site answers.", _one_hot("health", SiteHealth, state.site)
            ),
            _gauge(
                "tasks",
                "Tasks of the current phase by status.",
                [(f'{{status="{status}"}}', count) for status, count in counts.items()],
            ),
            _gauge("labels", "Labels of the closed cycles by role.", _labels(state)),
            _gauge(
                "halts",
                "Walkers halted in the closed cycles.",
                [("", sum(c.halts for c in state.cycles))],
            ),
        )
    )


def _task_counts(state: WorkflowState) -> dict[TaskStatus, int]:
    return dict(census(state).own)


def _active_tasks(state: WorkflowState) -> Iterator[ActiveTask]:
    """As WorkflowState.active_tasks, one at a time.

    Making 10,000 to show 100 would take most of an answer's time.
    """
    for batch in state.batches.values():
        for index in sorted(batch.live):
            record = state.tasks.get(batch.tasks[index])
            yield ActiveTask(
                task=batch.tasks[index],
                job_name=batch.job_name,
                index=index,
                job_id=batch.job_id,
                job_state=record.job_state if record else None,
            )


def _capped(lines: Sequence[str]) -> tuple[str, ...]:
    if len(lines) <= LINES_MAX:
        return tuple(lines)
    return (*lines[:LINES_MAX], f"… and {len(lines) - LINES_MAX} more lines.")


def _labels(state: WorkflowState) -> list[tuple[str, int]]:
    return [
        ('{role="train"}', sum(cycle.labels_train for cycle in state.cycles)),
        ('{role="test"}', sum(cycle.labels_test for cycle in state.cycles)),
        ('{role="failed"}', sum(cycle.labels_failed for cycle in state.cycles)),
    ]


def _one_hot(
    label: str, values: type[Phase | SiteHealth], current: str | None
) -> list[tuple[str, int]]:
    return [(f'{{{label}="{word}"}}', int(word == current)) for word in values]


def _gauge(name: str, description: str, samples: Sequence[tuple[str, int]]) -> str:
    name = f"autopipec_{name}"
    lines = [
        f"# HELP {name} {description}",
        f"# TYPE {name} gauge",
        *(f"{name}{label} {value}" for label, value in samples),
    ]
    return "\n".join(lines) + "\n"
