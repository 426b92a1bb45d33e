"""Where the time of a campaign went: a projection of its own, because it has to pair intervals.

An attempt waits from the scheduler's yes until it starts, and runs until it ends. The clocks of
hosts differ, so every interval is cut to its phase before it is counted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase

_Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """One phase of one cycle. wall_s = running_s + queued_s + overhead_s."""

    cycle: int
    phase: Phase
    ended: bool  # False: still open, and counted up to the last event
    wall_s: float
    running_s: float  # at least one task was running
    queued_s: float  # no task was running, and at least one was waiting in the queue
    overhead_s: (
        float  # neither: the daemon's own share, with pauses and the time in which no daemon was up
    )
    task_wall_s: float  # summed over the attempts that wrote an outcome
    task_cpu_s: float  # likewise


def phase_times(events: Iterable[ev.Event]) -> tuple[PhaseTime, ...]:
    """One entry per phase that was started, in order."""
    times: list[PhaseTime] = []
    phase: _OpenPhase | None = None
    last: datetime | None = None
    for event in events:
        last = event.at
        match event:
            case ev.PhaseStarted():
                phase = _OpenPhase(event.at, event.cycle, event.phase)
            case ev.PhaseEnded() | ev.VerdictReached() if phase is not None:
                times.append(phase.close(event.at, ended=True))
                phase = None
            case _ if phase is not None:
                phase.take(event)
            case _:
                pass
    if phase is not None and last is not None:
        times.append(phase.close(last, ended=False))
    return tuple(times)


@dataclass(slots=True)
class _OpenPhase:
    start: datetime
    cycle: int
    phase: Phase
    accepted: dict[str, datetime] = field(default_factory=dict)  # batch → when the scheduler had it
    # attempt → first seen running
    live: dict[tuple[str, int], datetime | None] = field(default_factory=dict)
    waits: list[_Span] = field(default_factory=list)
    runs: list[_Span] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def take(self, event: ev.Event) -> None:
        match event:
            case ev.SubmissionBegun():
                self.live.update(
                    {(event.job_name, index): None for index in range(len(event.tasks))}
                )
            case ev.SubmissionAccepted():
                self.accepted[event.job_name] = event.at
            case ev.SubmissionVoided() | ev.SubmissionRejected():
                self.live = {
                    key: seen for key, seen in self.live.items() if key[0] != event.job_name
                }
            case ev.JobsSighted():
                self._sighted(event)
            case ev.TaskEnded():
                outcome = event.outcome
                self.wall_s += outcome.wall_s
                self.cpu_s += outcome.cpu_s
                self.live.pop((outcome.job_name, outcome.index), None)
                self._count(outcome.job_name, outcome.started_at, outcome.ended_at)
            case ev.AttemptLost():
                self._count(
                    event.job_name, self.live.pop((event.job_name, event.index), None), event.at
                )
            case _:
                pass

    def close(self, end: datetime, *, ended: bool) -> PhaseTime:
        for (job_name, _), running_since in self.live.items():
            self._count(job_name, running_since, end)
        wall_s = max(0.0, (end - self.start).total_seconds())
        running_s = _covered_s(self.runs, self.start, end)
        busy_s = _covered_s(self.runs + self.waits, self.start, end)
        return PhaseTime(
            cycle=self.cycle,
            phase=self.phase,
            ended=ended,
            wall_s=wall_s,
            running_s=running_s,
            queued_s=busy_s - running_s,
            overhead_s=wall_s - busy_s,
            task_wall_s=self.wall_s,
            task_cpu_s=self.cpu_s,
        )

    def _sighted(self, event: ev.JobsSighted) -> None:
        for sighting in event.sightings:
            key = (sighting.job_name, sighting.index)
            if sighting.state is ev.JobState.RUNNING and key in self.live:
                self.live[key] = self.live[key] or event.at

    def _count(self, job_name: str, running_since: datetime | None, end: datetime) -> None:
        """One attempt: it waited until `running_since` and then ran.

        None means that it was never seen running.
        """
        if job_name in self.accepted:
            self.waits.append((self.accepted[job_name], running_since or end))
        if running_since is not None:
            self.runs.append((running_since, end))


def _covered_s(spans: Sequence[_Span], start: datetime, end: datetime) -> float:
    """How much of start … end lies in at least one span."""
    covered_s, reached = 0.0, start
    for begin, finish in sorted(spans):
        begins, finishes = max(begin, reached), min(finish, end)
        if finishes > begins:
            covered_s += (finishes - begins).total_seconds()
            reached = finishes
    return covered_s
