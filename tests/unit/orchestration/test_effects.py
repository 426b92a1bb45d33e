"""Effects: every command ends in exactly one event, whatever the site answers."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from kit.stages import walk

from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.digest import Digest
from mlip_autopipec.data_models.state import Batch, Stage, WorkflowState
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.errors import LoginRefused, OperatorError, TransientError
from mlip_autopipec.orchestration.effects import EFFECT_TIMEOUT_S, Effects
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import (
    SMALL_FILE_BYTES_MAX,
    Accepted,
    Answer,
    Limited,
    PhaseRunner,
    PostMortem,
    Rejected,
    Unclear,
    Void,
)
from mlip_autopipec.testing.clock import SimulatedClock, run_simulated
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.testing.walk import Walk

T = TypeVar("T")


@dataclass
class ScriptedScheduler:
    """ports.Scheduler that gives one prepared answer, or raises it, and keeps what it was asked."""

    answer: Any = None
    delay_s: float = 0.0
    submitted: list[tuple[Batch, Sequence[Task]]] = field(default_factory=list)
    cancelled: list[tuple[str, frozenset[int] | None]] = field(default_factory=list)
    excluded: list[tuple[str, ...]] = field(default_factory=list)

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Answer:
        self.submitted.append((batch, tasks))
        self.excluded.append(tuple(exclude))
        answer: Answer = await self._give()
        return answer

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        del batch
        answer: Accepted | Void | Unclear = await self._give()
        return answer

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], ev.Sighting] | None:
        del batches
        return None

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | ev.Sighting | None:
        del batch, index
        answer: PostMortem | ev.Sighting | None = await self._give()
        return answer

    async def roll(self, campaign: str) -> tuple[ev.QueuedJob, ...] | None:
        del campaign
        return None

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        self.cancelled.append((batch.job_name, only))

    async def _give(self) -> Any:
        await asyncio.sleep(self.delay_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Stand:
    """Effects on a scripted scheduler and a transport in memory."""

    def __init__(self, answer: object = None, *, delay_s: float = 0.0) -> None:
        self.clock = SimulatedClock()
        self.scheduler = ScriptedScheduler(answer, delay_s)
        self.transport = MemoryTransport()
        runners = phase_runners(copper_config())
        self._effects = Effects(
            runners, self.scheduler, self.transport, self.clock, prepare=self._prepare
        )

    async def _prepare(self) -> int | None:
        answer: int | None = await self.scheduler._give()
        return answer

    def carry_out(self, command: cm.Command, campaign: Walk) -> ev.Event:
        """The event that `command` ends in."""
        return self.simulate(self._effects.carry_out(command, campaign.state))

    def simulate(self, doing: Coroutine[Any, Any, T]) -> T:
        """Run in virtual time."""
        return run_simulated(doing, self.clock, limit_s=10 * EFFECT_TIMEOUT_S)


@pytest.fixture
def begun() -> Walk:
    """The generation is begun and not submitted."""
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    return campaign


@pytest.fixture
def running() -> Walk:
    """The calculations of the bootstrap run."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    return campaign


def job_name_of(campaign: Walk) -> str:
    """The job name of the only batch."""
    return next(iter(campaign.state.batches))


def test_pure_commands_end_in_their_events() -> None:
    """From PlanPhase to ReachVerdict a whole campaign's commands end in events its states take."""
    campaign, stand = walk(), Stand()
    seen = set()
    while campaign.state.stage is not Stage.ENDED:
        command = next(iter(campaign.commands()), None)
        if command is None or isinstance(command, cm.SubmitBatch):
            campaign.step()
            continue
        seen.add(command.type)
        campaign.tell(stand.carry_out(command, campaign))
    assert seen == {"PlanPhase", "BeginBatch", "DigestPhase", "CloseCycle", "ReachVerdict"}


def test_quarantine_carries_its_words(running: Walk) -> None:
    """QuarantineTask ends in TaskQuarantined."""
    stand = Stand()
    event = stand.carry_out(cm.QuarantineTask(task="t", message="SCF"), running)
    assert event == ev.TaskQuarantined(at=stand.clock.now(), task="t", message="SCF")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Accepted("17"), ev.SubmissionAccepted),
        (Rejected("Invalid account"), ev.SubmissionRejected),
        (Unclear("timed out"), ev.SubmissionUnclear),
        (Limited("QOSMaxSubmitJobPerUserLimit"), ev.EffectDeferred),
        (TransientError("cut"), ev.EffectDeferred),
    ],
)
def test_every_answer_to_a_submission_is_one_event(
    begun: Walk, answer: object, kind: type[ev.Event]
) -> None:
    """Accepted, rejected and unclear are facts; a limit and a fault are reasons to come again."""
    event = Stand(answer).carry_out(cm.SubmitBatch(job_name=job_name_of(begun)), begun)
    assert type(event) is kind
    begun.tell(event)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Accepted("17"), ev.SubmissionAccepted),
        (Void("never was"), ev.SubmissionVoided),
        (Unclear("no answer"), ev.EffectDeferred),
        (TransientError("cut"), ev.EffectDeferred),
    ],
)
def test_every_answer_to_a_search_is_one_event(
    begun: Walk, answer: object, kind: type[ev.Event]
) -> None:
    """What is found is adopted; what is not proved absent is looked for again."""
    job_name = job_name_of(begun)
    begun.tell(ev.SubmissionUnclear(at=begun.now, job_name=job_name, message="timed out"))
    event = Stand(answer).carry_out(cm.LocateBatch(job_name=job_name), begun)
    assert type(event) is kind
    assert not isinstance(event, ev.SubmissionAccepted) or event.adopted
    begun.tell(event)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (PostMortem(Reason.TIMEOUT, "TIMEOUT"), ev.JobsSighted),
        (
            ev.Sighting(
                job_name="copper-3f9a1c.c000.calculation.b00", index=1, state=ev.JobState.RUNNING
            ),
            ev.JobsSighted,
        ),
        (
            ev.Sighting(
                job_name="copper-3f9a1c.c000.calculation.b00", index=1, state=ev.JobState.ABSENT
            ),
            ev.EffectDeferred,
        ),
        (None, ev.EffectDeferred),
        (TransientError("cut"), ev.EffectDeferred),
    ],
)
def test_every_answer_to_an_inquiry_is_one_event(
    running: Walk, answer: object, kind: type[ev.Event]
) -> None:
    """Ended for certain, alive after all, or not known yet."""
    event = Stand(answer).carry_out(
        cm.InquireAttempt(job_name=job_name_of(running), index=1), running
    )
    assert type(event) is kind
    running.tell(event)


def test_an_outcome_is_a_better_answer_than_the_scheduler_s(running: Walk) -> None:
    """An attempt that wrote its outcome has ended as it says, whatever the scheduler thinks."""
    stand, job_name = Stand(PostMortem(Reason.LOST, "gone")), job_name_of(running)
    outcome = running.outcome(job_name, 1)
    stand.transport.files[f"outbox/{job_name}.1.json"] = outcome.model_dump_json().encode()
    event = stand.carry_out(cm.InquireAttempt(job_name=job_name, index=1), running)
    assert isinstance(event, ev.TaskEnded)
    assert event.outcome == outcome


def test_an_outcome_that_is_too_large_ends_its_attempt(running: Walk) -> None:
    """The watcher passes it over; asked after, it is a bad outcome with its size, and not read."""
    stand, job_name = Stand(PostMortem(Reason.LOST, "COMPLETED")), job_name_of(running)
    stand.transport.files[f"outbox/{job_name}.1.json"] = b" " * (SMALL_FILE_BYTES_MAX + 1)
    event = stand.carry_out(cm.InquireAttempt(job_name=job_name, index=1), running)
    assert isinstance(event, ev.AttemptLost)
    assert event.reason is Reason.BAD_OUTCOME
    assert f"is larger than {SMALL_FILE_BYTES_MAX} bytes" in event.message


def test_an_attempt_that_is_done_while_the_scheduler_is_asked_is_not_lost(running: Walk) -> None:
    """The outbox is read after the scheduler said it is over: what was written by then counts."""
    stand, job_name = Stand(PostMortem(Reason.LOST, "COMPLETED"), delay_s=2.0), job_name_of(running)
    content = running.outcome(job_name, 1).model_dump_json().encode()

    async def inquire() -> ev.Event:
        asyncio.get_running_loop().call_later(
            1.0, stand.transport.files.update, {f"outbox/{job_name}.1.json": content}
        )
        return await stand._effects.carry_out(
            cm.InquireAttempt(job_name=job_name, index=1), running.state
        )

    assert isinstance(stand.simulate(inquire()), ev.TaskEnded)


def test_tasks_are_staged_before_they_are_handed_over(running: Walk) -> None:
    """The scheduler is given task.json: the task with this attempt's resources, and whose it is."""
    job_name = job_name_of(running)
    batch = running.state.batches[job_name]
    for index in range(len(batch.tasks)):
        lost = ev.AttemptLost(
            at=running.now,
            job_name=job_name,
            index=index,
            reason=Reason.OUT_OF_MEMORY,
            message="OOM",
        )
        running.tell(lost)
    running.until(lambda state: bool(state.batches))
    stand = Stand(Accepted("18"))
    stand.carry_out(cm.SubmitBatch(job_name=job_name_of(running)), running)
    ((_, tasks),) = stand.scheduler.submitted
    assert {task.resources.memory_mib for task in tasks} == {3072}
    for task in tasks:
        staged = TaskFile.model_validate_json(stand.transport.files[f"{task.workdir}/task.json"])
        assert staged == TaskFile(campaign=running.state.campaign, **dict(task))


def test_the_back_off_doubles_up_to_five_minutes(begun: Walk) -> None:
    """2 s, 4 s, 8 s … and never more than 300 s."""
    stand, job_name = Stand(TransientError("cut")), job_name_of(begun)
    delays = []
    for _ in range(10):
        event = stand.carry_out(cm.SubmitBatch(job_name=job_name), begun)
        assert isinstance(event, ev.EffectDeferred)
        delays.append(event.until - event.at)
        begun.tell(event)
    assert [delay.total_seconds() for delay in delays] == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_an_effect_that_hangs_is_put_off(begun: Walk) -> None:
    """No effect takes longer than its bound; its words say so."""
    stand = Stand(Accepted("17"), delay_s=2 * EFFECT_TIMEOUT_S)
    event = stand.carry_out(cm.SubmitBatch(job_name=job_name_of(begun)), begun)
    assert isinstance(event, ev.EffectDeferred)
    assert event.message == "no answer within 600 s"
    assert stand.clock.now() - SimulatedClock().now() == timedelta(seconds=EFFECT_TIMEOUT_S)


def test_what_is_for_a_person_is_not_swallowed(begun: Walk) -> None:
    """Only passing faults are put off; anything else ends the daemon."""
    with pytest.raises(OperatorError, match="disk quota exceeded"):
        Stand(OperatorError("disk quota exceeded")).carry_out(
            cm.SubmitBatch(job_name=job_name_of(begun)), begun
        )


def test_a_site_is_prepared_or_put_off() -> None:
    """Prepared, it says how large an array may be."""
    campaign = walk()
    event = Stand(1000).carry_out(cm.PrepareSite(), campaign)
    assert isinstance(event, ev.SitePrepared)
    assert event.array_tasks_max == 1000


@pytest.mark.parametrize(
    ("fault", "health"),
    [
        (LoginRefused("no such key"), ev.SiteHealth.AUTH_REQUIRED),
        (TransientError("no route to host"), ev.SiteHealth.DEGRADED),
    ],
)
def test_a_fault_of_the_site_says_how_the_site_stands(
    fault: Exception, health: ev.SiteHealth
) -> None:
    """A refused login ends no daemon: the effect is put off, and the state shows who must act."""
    event = Stand(fault).carry_out(cm.PrepareSite(), walk())
    assert isinstance(event, ev.EffectDeferred)
    assert (event.subject, event.health, event.message) == ("site", health, str(fault))


@dataclass
class Unhurried:
    """ports.PhaseRunner whose work takes until somebody else has had a turn."""

    inner: PhaseRunner
    turned: threading.Event = field(default_factory=threading.Event)

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        assert self.turned.wait(timeout=5)
        return self.inner.plan(state)

    def digest(self, state: WorkflowState) -> Digest:
        assert self.turned.wait(timeout=5)
        return self.inner.digest(state)


@pytest.mark.parametrize("kind", [cm.PlanPhase, cm.DigestPhase])
def test_the_loop_turns_while_a_phase_is_planned_or_digested(kind: type[cm.Command]) -> None:
    """Over 10,000 tasks either takes a second, in which people and the site are answered."""
    campaign = walk()
    campaign.until(lambda _: any(isinstance(command, kind) for command in campaign.commands()))
    runners = {phase: Unhurried(runner) for phase, runner in phase_runners(copper_config()).items()}
    stand = Stand()
    effects = Effects(
        runners, stand.scheduler, stand.transport, stand.clock, prepare=stand._prepare
    )
    (command,) = campaign.commands()

    async def doing() -> ev.Event:
        for runner in runners.values():
            asyncio.get_running_loop().call_soon(runner.turned.set)
        return await effects.carry_out(command, campaign.state)

    campaign.tell(asyncio.run(doing()))


def test_what_a_person_wants_no_more_is_told_to_end_and_told_again() -> None:
    """Those attempts alone; a scheduler that has not heard of it hears of it again."""
    running = walk()
    batch = running.submitted(Phase.CALCULATION)
    stand = Stand()
    event = stand.carry_out(cm.CancelAttempts(job_name=batch.job_name, indices=(1,)), running)
    assert stand.scheduler.cancelled == [(batch.job_name, frozenset({1}))]
    assert isinstance(event, ev.EffectDeferred)
    assert (event.subject, event.health) == (f"cancel:{batch.job_name}", None)
