"""Effects: each command as a coroutine that ends in exactly one event.

Nothing is decided here. What is pure and may go over 10,000 tasks is done in a thread: the loop
answers meanwhile. A passing fault becomes EffectDeferred with a growing delay, and so does a name
of ours that something else has: it is told, and waited until somebody moves it away. Anything else
that is raised is for a person or a bug, and ends the daemon.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TypeVar, TypeVarTuple, Unpack

from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason
from mlip_autopipec.data_models.ids import attempt_file
from mlip_autopipec.data_models.state import Batch, TaskRecord, WorkflowState
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.errors import (
    BugError,
    FileUnusable,
    LoginRefused,
    NameTaken,
    OperatorError,
    TransientError,
)
from mlip_autopipec.orchestration import adoption
from mlip_autopipec.orchestration.contract import breach_of_kind
from mlip_autopipec.orchestration.exclusion import UNKNOWN_REMEDY, excluded, sorted_refusal
from mlip_autopipec.orchestration.first_labels import CHECK
from mlip_autopipec.orchestration.intents import intent_file, intent_path
from mlip_autopipec.orchestration.machine import UNKNOWN_REFUSALS_MAX
from mlip_autopipec.orchestration.outcomes import judge_outcome
from mlip_autopipec.orchestration.strategies import resources_for
from mlip_autopipec.ports import (
    SMALL_FILE_BYTES_MAX,
    Accepted,
    Clock,
    Limited,
    PhaseRunner,
    PostMortem,
    Rejected,
    Scheduler,
    Transport,
    Unclear,
    Void,
)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: No effect may take longer; sbatch itself may retry for 150 s.
EFFECT_TIMEOUT_S = 600.0
_DELAY_FIRST_S = 2.0
_DELAY_MAX_S = 300.0
_REMEDY = "Move away what has the name, or give the rights; the daemon tries again by itself"


class Effects:
    """Carries out commands over the ports it is given."""

    def __init__(
        self,
        phases: Mapping[Phase, PhaseRunner],
        scheduler: Scheduler,
        transport: Transport,
        clock: Clock,
        *,
        prepare: Callable[[], Awaitable[int | None]],
        resources: Mapping[Phase, Resources] | None = None,
        keep: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`prepare` puts on the site what each job needs, and says how large an array may be there.

        `resources` is what the site file asks for today, by phase. `keep` brings to the site what
        people have done, before anything that rests on it is submitted.
        """
        self._keep = keep
        self._resources = resources or {}
        self._phases = phases
        self._scheduler = scheduler
        self._transport = transport
        self._clock = clock
        self._prepare = prepare
        #: One, so that the loop never waits for more than one other to let it run.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="effects")

    def follow(
        self, phases: Mapping[Phase, PhaseRunner], resources: Mapping[Phase, Resources]
    ) -> None:
        """Go by other settings from here on; what is under way is not touched."""
        self._phases, self._resources = phases, resources

    async def carry_out(self, command: cm.Command, state: WorkflowState) -> ev.Event:
        """The one event that `command` ends in."""
        try:
            async with asyncio.timeout(EFFECT_TIMEOUT_S):
                return await self._run(command, state)
        except NameTaken as error:
            return self._deferred(
                command.subject, f"{error}. {_REMEDY}", state, ev.SiteHealth.DEGRADED
            )
        except (TransientError, TimeoutError) as error:
            message = str(error) or f"no answer within {EFFECT_TIMEOUT_S:.0f} s"
            return self._deferred(command.subject, message, state, health_after(error))

    async def _run(self, command: cm.Command, state: WorkflowState) -> ev.Event:  # noqa: PLR0911 - one per command
        match command:
            case cm.PrepareSite():
                return ev.SitePrepared(array_tasks_max=await self._prepare(), at=self._clock.now())
            case cm.SubmitBatch():
                return await self._submit(state.batches[command.job_name], state)
            case cm.LocateBatch():
                return await self._locate(state.batches[command.job_name], state)
            case cm.InquireAttempt():
                return await self._inquire(state.batches[command.job_name], command.index, state)
            case cm.CancelAttempts():
                await self._scheduler.cancel(
                    state.batches[command.job_name], frozenset(command.indices)
                )
                return self._deferred(command.subject, "its jobs are told to end", state)
            case cm.PlanPhase() | cm.DigestPhase():
                return await self._aside(settle, command, state, self._phases, self._clock.now())
            case _:
                return settle(command, state, self._phases, self._clock.now())

    async def _submit(self, batch: Batch, state: WorkflowState) -> ev.Event:
        tasks, files = await self._aside(_staged, batch, state, self._resources)
        try:
            if self._keep is not None:
                await self._keep()
            await self._transport.write(files)
        except OperatorError as error:  # nothing is submitted; a start would meet the same
            message = f"the tasks cannot be written: {error}. {_REMEDY}"
            return self._deferred(f"batch:{batch.job_name}", message, state, ev.SiteHealth.DEGRADED)
        exclude = excluded(state, self._clock.now())
        answer = await (
            self._scheduler.submit(batch, tasks, exclude)
            if exclude
            else self._scheduler.submit(batch, tasks)
        )
        match answer:
            case Accepted():
                return ev.SubmissionAccepted(
                    at=self._clock.now(), job_name=batch.job_name, job_id=answer.job_id
                )
            case Rejected():
                return self._rejected(answer, batch, state, exclude)
            case Limited():
                return await self._limited(answer, batch, state)
            case Unclear():
                return ev.SubmissionUnclear(
                    at=self._clock.now(), job_name=batch.job_name, message=answer.message
                )

    def _rejected(
        self, answer: Rejected, batch: Batch, state: WorkflowState, exclude: Sequence[str]
    ) -> ev.SubmissionRejected:
        """Only what asks for more than at first is the tasks' own fault."""
        records = [state.tasks[name] for name in batch.tasks]
        grown = any(
            resources_for(record, self._resources) != self._asked(record) for record in records
        )
        refusal = sorted_refusal(answer, state, exclude, grown=grown)
        return ev.SubmissionRejected(
            at=self._clock.now(),
            job_name=batch.job_name,
            message=refusal.message,
            mender=refusal.mender,
            remedy=refusal.remedy,
        )

    async def _limited(self, answer: Limited, batch: Batch, state: WorkflowState) -> ev.Event:
        """Wait; words that nobody knows are for a person, if they are said again and again."""
        subject = f"batch:{batch.job_name}"
        earlier = state.deferrals.get(subject)
        times = earlier.times if earlier is not None and earlier.message == answer.message else 0
        if not answer.known and times + 1 >= UNKNOWN_REFUSALS_MAX:
            # which gives it up, so that nothing can come of it
            match await self._scheduler.locate(batch):
                case Accepted(job_id=job_id):
                    return ev.SubmissionAccepted(
                        at=self._clock.now(), job_name=batch.job_name, job_id=job_id, adopted=True
                    )
                case Void():
                    return ev.SubmissionRejected(
                        at=self._clock.now(),
                        job_name=batch.job_name,
                        message=answer.message,
                        mender=Mender.PERSON,
                        remedy=UNKNOWN_REMEDY,
                    )
                case Unclear(message=message):
                    return self._deferred(subject, message, state)
        if not answer.degraded:
            return self._deferred(subject, answer.message, state)
        deferred = self._deferred(subject, answer.message, state, ev.SiteHealth.DEGRADED)
        return deferred.model_copy(update={"refused": True})

    def _asked(self, record: TaskRecord) -> Resources:
        return self._resources.get(record.task.phase, record.task.resources)

    async def _locate(self, batch: Batch, state: WorkflowState) -> ev.Event:
        answer = await self._scheduler.locate(batch)
        match answer:
            case Accepted():
                return ev.SubmissionAccepted(
                    at=self._clock.now(),
                    job_name=batch.job_name,
                    job_id=answer.job_id,
                    adopted=True,
                )
            case Void():
                return ev.SubmissionVoided(
                    at=self._clock.now(), job_name=batch.job_name, message=answer.message
                )
            case Unclear():
                return self._deferred(f"batch:{batch.job_name}", answer.message, state)

    async def _inquire(self, batch: Batch, index: int, state: WorkflowState) -> ev.Event:
        """Outcome files are the first truth, read last: attempts may end as the scheduler is asked.

        An end that comes as news is written down first: a file system may show the outcome a minute
        later.
        """
        answer = await self._scheduler.post_mortem(batch, index)
        try:
            outcome = await self._transport.read(
                f"outbox/{attempt_file(batch.job_name, index)}", size_max=SMALL_FILE_BYTES_MAX
            )
        except FileUnusable as error:
            message = f"its outcome cannot be read: {error}"
            return ev.AttemptLost(
                at=self._clock.now(),
                job_name=batch.job_name,
                index=index,
                reason=Reason.BAD_OUTCOME,
                message=message,
            )
        if outcome is not None:
            return await self._aside(judge_outcome, outcome, batch, index, state, self._clock.now())
        match answer:
            case PostMortem() if state.tasks[batch.tasks[index]].job_state is not ev.JobState.ENDED:
                ended = ev.Sighting(
                    job_name=batch.job_name,
                    index=index,
                    state=ev.JobState.ENDED,
                    detail=answer.message,
                )
                return ev.JobsSighted(at=self._clock.now(), sightings=(ended,))
            case PostMortem():
                return ev.AttemptLost(
                    at=self._clock.now(),
                    job_name=batch.job_name,
                    index=index,
                    reason=answer.reason,
                    message=answer.message,
                    node=answer.node,
                )
            case ev.Sighting() if answer.state not in {ev.JobState.ENDED, ev.JobState.ABSENT}:
                return ev.JobsSighted(at=self._clock.now(), sightings=(answer,))
            case ev.Sighting() | None:  # gone, as was known, and no word of how: ask again later
                return self._deferred(
                    f"attempt:{batch.job_name}.{index}", "the scheduler does not know yet", state
                )

    async def _aside(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        """Do what is pure and may take long in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _deferred(
        self, subject: str, message: str, state: WorkflowState, health: ev.SiteHealth | None = None
    ) -> ev.EffectDeferred:
        earlier = state.deferrals.get(subject)
        delay_s = min(_DELAY_FIRST_S * 2 ** (earlier.times if earlier else 0), _DELAY_MAX_S)
        now = self._clock.now()
        until = now + timedelta(seconds=delay_s)
        return ev.EffectDeferred(
            at=now, subject=subject, message=message, until=until, health=health
        )


def health_after(error: Exception) -> ev.SiteHealth:
    """How the site stands after a passing fault."""
    return (
        ev.SiteHealth.AUTH_REQUIRED if isinstance(error, LoginRefused) else ev.SiteHealth.DEGRADED
    )


def _staged(
    batch: Batch, state: WorkflowState, today: Mapping[Phase, Resources]
) -> tuple[list[Task], dict[str, bytes]]:
    """The tasks of a batch with what they ask for now.

    With them come the files that must lie on the site before it begins.
    """
    records = [state.tasks[name] for name in batch.tasks]
    tasks = [
        record.task.model_copy(update={"resources": resources_for(record, today)})
        for record in records
    ]
    files = {f"{task.workdir}/task.json": _task_file(task, state.campaign) for task in tasks}
    return tasks, {**files, intent_path(batch.job_name): intent_file(batch, state.campaign)}


def _task_file(task: Task, campaign: str) -> bytes:
    return (TaskFile(campaign=campaign, **dict(task)).model_dump_json(indent=1) + "\n").encode()


def settle(  # noqa: PLR0911 - one per command
    command: cm.Command, state: WorkflowState, phases: Mapping[Phase, PhaseRunner], now: datetime
) -> ev.Event:
    """The event that a command ends in which needs nothing of the outside. Pure."""
    match command:
        case cm.PlanPhase():
            tasks = phases[command.phase].plan(state)
            return ev.PhaseStarted(at=now, cycle=command.cycle, phase=command.phase, tasks=tasks)
        case cm.DigestPhase():
            return _digested(command, state, phases[command.phase], now)
        case cm.CloseCycle():
            return ev.CycleClosed(at=now, summary=command.summary)
        case cm.ReachVerdict():
            return ev.VerdictReached(at=now, verdict=command.verdict, reason=command.reason)
        case cm.DoubtOracle():
            return ev.Paused(at=now, by=CHECK, reason=command.reason, oracle=command.oracle)
        case cm.RefuseDataset():
            return ev.Paused(at=now, by=adoption.CHECK, reason=command.reason, mender=Mender.PERSON)
        case cm.QuarantineTask():
            return ev.TaskQuarantined(at=now, task=command.task, message=command.message)
        case cm.PauseCampaign():
            return ev.Paused(at=now, by=ev.DAEMON, reason=command.reason, mender=Mender.PERSON)
        case cm.BeginBatch():
            return ev.SubmissionBegun(
                at=now, job_name=command.job_name, tasks=command.tasks, runs_on=command.runs_on
            )
        case _:
            raise BugError(f"no effect for {command!r}")


def _digested(
    command: cm.DigestPhase, state: WorkflowState, phase: PhaseRunner, now: datetime
) -> ev.Event:
    """What the outcomes mean.

    First, a task whose outcome means nothing is given up, one at a time.
    """
    if (found := _unusable(state)) is not None:
        return ev.TaskQuarantined(
            at=now, task=found[0], message=f"its outcome is of no use: {found[1]}"
        )
    return ev.PhaseEnded(at=now, cycle=command.cycle, digest=phase.digest(state))


def _unusable(state: WorkflowState) -> tuple[str, str] | None:
    """The first task whose outcome no digest can take, and why.

    A journal of an earlier version may hold one.
    """
    for record in state.tasks.values():
        if record.outcome is not None and (broken := breach_of_kind(record.outcome, record.task)):
            return record.task.id, broken
    return None
