"""Daemons and sites with one mistake each, which a simulation worth its name must find."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

from kit.simulated import SUPPLIES, runners_of
from pydantic import ValidationError

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.results.explore import Ending
from mlip_autopipec.contract.tasks import Input
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import (
    Adopted,
    CalculationDigest,
    ExplorationDigest,
    GenerationDigest,
    Label,
)
from mlip_autopipec.data_models.faults import MENDERS
from mlip_autopipec.data_models.ids import attempt_file
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Batch, BatchStatus, WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import TransientError
from mlip_autopipec.orchestration.adoption import adopted_set
from mlip_autopipec.orchestration.changing import taking
from mlip_autopipec.orchestration.effects import Effects
from mlip_autopipec.orchestration.loop import WorkflowManager
from mlip_autopipec.orchestration.outcomes import judge_outcome
from mlip_autopipec.phases.calculation import Calculation
from mlip_autopipec.phases.exploration import Exploration
from mlip_autopipec.phases.training import Training
from mlip_autopipec.ports import Accepted, Limited, PhaseRunner, Transport, Unclear, Void
from mlip_autopipec.schedulers import slurm_script
from mlip_autopipec.schedulers.slurm import SlurmScheduler
from mlip_autopipec.schedulers.slurm_text import FramedAnswer
from mlip_autopipec.testing.cluster import SimulatedCluster
from mlip_autopipec.testing.memory import MemoryJournal


class TriesAgainWhenUnclear(Effects):
    """Takes a lost answer for a lost submission."""

    async def carry_out(self, command: cm.Command, state: WorkflowState) -> ev.Event:
        event = await super().carry_out(command, state)
        if isinstance(event, ev.SubmissionUnclear):
            return ev.SubmissionVoided(at=event.at, job_name=event.job_name, message=event.message)
        return event


class TakesSilenceForDeath(Effects):
    """Takes no information about an attempt for its end."""

    async def carry_out(self, command: cm.Command, state: WorkflowState) -> ev.Event:
        event = await super().carry_out(command, state)
        if isinstance(command, cm.InquireAttempt) and isinstance(event, ev.EffectDeferred):
            return ev.AttemptLost(
                at=event.at,
                job_name=command.job_name,
                index=command.index,
                reason=Reason.LOST,
                message=event.message,
            )
        return event


class LooksBeforeItAsks(Effects):
    """Believes an older look at the outbox when the scheduler says that an attempt is over."""

    async def _inquire(self, batch: Batch, index: int, state: WorkflowState) -> ev.Event:
        seen = await self._transport.read(f"outbox/{attempt_file(batch.job_name, index)}")
        event = await super()._inquire(batch, index, state)
        if seen is not None or not isinstance(event, ev.TaskEnded):
            return event
        return ev.AttemptLost(
            at=event.at,
            job_name=batch.job_name,
            index=index,
            reason=Reason.LOST,
            message="no outcome",
        )


class BelievesTheFirstWordOfDeath(Effects):
    """Gives up on the outcome as soon as the scheduler first says that an attempt is over."""

    async def _inquire(self, batch: Batch, index: int, state: WorkflowState) -> ev.Event:
        name = batch.tasks[index]
        over = state.tasks[name].model_copy(update={"job_state": ev.JobState.ENDED})
        return await super()._inquire(
            batch, index, state.model_copy(update={"tasks": {**state.tasks, name: over}})
        )


class NeverComesBack(Effects):
    """Puts off for a year."""

    async def carry_out(self, command: cm.Command, state: WorkflowState) -> ev.Event:
        event = await super().carry_out(command, state)
        if isinstance(event, ev.EffectDeferred):
            return event.model_copy(update={"until": event.at + timedelta(days=365)})
        return event


class TakesAbsenceForDeath(WorkflowManager):
    """Ends an attempt as soon as one answer of the scheduler leaves it out."""

    def _start_due(self, *args: object) -> None:
        for batch in self.state.batches.values():
            for index in batch.live:
                if self.state.tasks[batch.tasks[index]].job_state is ev.JobState.ABSENT:
                    self._lose(batch, index)
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes

    def _lose(self, batch: Batch, index: int) -> None:
        now = self._clock.now()
        lost = ev.AttemptLost(
            at=now, job_name=batch.job_name, index=index, reason=Reason.LOST, message="absent"
        )
        asyncio.get_running_loop().create_task(self.record(lost))


class TrustsTheWallClock(WorkflowManager):
    """Measures its waits by a clock that people set."""

    def _clock_step(self, now: datetime) -> ev.ClockStepped | None:
        del now
        return None


class RefusesWhatComesEarly(WorkflowManager):
    """Takes no outcome of a batch whose acceptance it has not heard of."""

    async def record(self, event: ev.Event, subject: str | None = None) -> bool:
        if isinstance(event, ev.TaskEnded):
            job_name, index = event.outcome.job_name, event.outcome.index
            batch = self.state.batches.get(job_name)
            if batch is not None and batch.status is not BatchStatus.ACCEPTED:
                event = ev.AttemptLost(
                    at=event.at,
                    job_name=job_name,
                    index=index,
                    reason=Reason.BAD_OUTCOME,
                    message="never submitted",
                )
        return await super().record(event, subject)


class StartsTwice(WorkflowManager):
    """Forgets what is in flight."""

    def _start_due(self, *args: object) -> None:
        self._in_flight.clear()
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes


class WorksThroughPauses(WorkflowManager):
    """Decides as if nobody had paused."""

    def _start_due(self, *args: object) -> None:
        paused = self.state
        self.state = paused.model_copy(update={"pause": None})
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes
        self.state = paused


class RemembersWhatNobodyWrote(WorkflowManager):
    """Changes state without an event."""

    async def record(self, event: ev.Event, subject: str | None = None) -> bool:
        written = await super().record(event, subject)
        self.state = self.state.model_copy(update={"site_message": type(event).__name__})
        return written


class AcknowledgesEarly(MemoryJournal):
    """Says that events are on the disk while they are still on their way."""

    _on_their_way: Sequence[ev.Event] = ()

    async def append(self, events: Sequence[ev.Event]) -> int:
        late, self._on_their_way = self._on_their_way, events
        if late:
            await super().append(late)
        return len(self.lines) + len(events)


class SaysVoidAtOnce(SimulatedCluster):
    """Takes "not found" for "never will be"."""

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        answer = await super().locate(batch)
        return Void(answer.message) if isinstance(answer, Unclear) else answer


class WritesWhereOthersWrite(SimulatedCluster):
    """Jobs whose lives share the task's folder, as they once did."""

    def _run_folder(self, task: Task) -> str:
        return task.workdir


class SealsTooLate(SlurmScheduler):
    """Gives attempts up at once; shuts the door behind them once nobody can say which they were."""

    async def _ask(self, command: str, *arguments: str) -> FramedAnswer:
        return (
            FramedAnswer({}, "")
            if command == slurm_script.SEAL
            else await super()._ask(command, *arguments)
        )


class LeavesTheGateOpen(SlurmScheduler):
    """Gives a submission up without making sure that nothing can come of it."""

    async def _close(self, batch: Batch) -> Accepted | None:
        del batch
        return None


class TakesTheSitesFaultsForTheTasks(Effects):
    """Calls whatever ends without an outcome a crash."""

    async def _inquire(self, batch: Batch, index: int, state: WorkflowState) -> ev.Event:
        event = await super()._inquire(batch, index, state)
        if isinstance(event, ev.AttemptLost):
            return event.model_copy(update={"reason": Reason.CRASHED})
        return event


class TakesATypingErrorForTheTasks(Effects):
    """Lets tasks pay for what a person has to mend."""

    async def _submit(self, batch: Batch, state: WorkflowState) -> ev.Event:
        event = await super()._submit(batch, state)
        if isinstance(event, ev.SubmissionRejected):
            return event.model_copy(update={"mender": Mender.TASK})
        return event


class ForgetsSickNodes(Effects):
    """Submits to nodes that end every job at once."""

    async def _submit(self, batch: Batch, state: WorkflowState) -> ev.Event:
        return await super()._submit(batch, state.model_copy(update={"nodes": {}}))


class BelievesWhatItReads(WorkflowManager):
    """Makes an event of whatever reads as an outcome of a live attempt.

    It does so whoever wrote it and whatever it lacks.
    """

    async def _hand_in(
        self,
        contents: Mapping[str, bytes],
        wanted: Sequence[str],
        live: Mapping[str, tuple[Batch, int]],
        state: WorkflowState,
    ) -> None:
        del wanted
        now = self._clock.now()
        for path, content in contents.items():
            batch, index = live[path.removeprefix("outbox/")]
            try:
                outcome = Outcome.model_validate_json(content)
            except ValidationError:
                await self.record(judge_outcome(content, batch, index, state, now))
            else:
                await self.record(ev.TaskEnded(at=now, outcome=outcome))


class LetsAStepCloseARound(WorkflowManager):
    """Counts a round's deadline by the clock, whoever has set it since the round began."""

    _phase: object = None
    _stepped = timedelta()

    async def _fold_in(self, step: ev.ClockStepped) -> None:
        await super()._fold_in(step)
        self._stepped += timedelta(seconds=step.by_s)

    def _start_due(self, *args: object) -> None:
        true = self.state
        if self._phase != (true.cycle_index, true.current_phase):
            self._phase, self._stepped = (true.cycle_index, true.current_phase), timedelta()
        if true.phase_started_at is not None:
            self.state = true.model_copy(
                update={"phase_started_at": true.phase_started_at - self._stepped}
            )
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes
        self.state = true


class GoesOnInTrouble(WorkflowManager):
    """Decides as if the disk were never full."""

    def _start_due(self, *args: object) -> None:
        troubled = self.state
        self.state = troubled.model_copy(update={"trouble": None})
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes
        self.state = troubled


class CountsWhatPasses(Effects):
    """Gives a task up for whatever its failures were."""

    async def carry_out(self, command: cm.Command, state: WorkflowState) -> ev.Event:
        event = await super().carry_out(command, state)
        if isinstance(event, ev.SubmissionBegun):
            for record in (state.tasks[name] for name in event.tasks):
                if record.failures and MENDERS[record.failures[-1].reason] is Mender.SITE:
                    message = record.failures[-1].message
                    return ev.TaskQuarantined(at=event.at, task=record.task.id, message=message)
        return event


class NamesNoNode(Effects):
    """Knows that a node is sick, and not which: so that none is ever excluded."""

    async def _inquire(self, batch: Batch, index: int, state: WorkflowState) -> ev.Event:
        event = await super()._inquire(batch, index, state)
        return event.model_copy(update={"node": ""}) if isinstance(event, ev.AttemptLost) else event


class LetsNoNodeBackIn(Effects):
    """Excludes for ever what was sick once."""

    async def _submit(self, batch: Batch, state: WorkflowState) -> ev.Event:
        never = self._clock.now() + timedelta(days=365)
        nodes = {
            name: node.model_copy(update={"until": never}) for name, node in state.nodes.items()
        }
        return await super()._submit(batch, state.model_copy(update={"nodes": nodes}))


class EndsWithThePartition(Effects):
    """Takes a partition that takes nothing for the end of the campaign."""

    async def _submit(self, batch: Batch, state: WorkflowState) -> ev.Event:
        event = await super()._submit(batch, state)
        if isinstance(event, ev.EffectDeferred) and event.refused:
            return ev.VerdictReached(at=event.at, verdict=Verdict.FAILED, reason=event.message)
        return event


class TakesUnknownWordsForTheTasks(Effects):
    """Lets tasks pay for a refusal in words that nobody knows, the first time that it is heard."""

    async def _limited(self, answer: Limited, batch: Batch, state: WorkflowState) -> ev.Event:
        event = await super()._limited(answer, batch, state)
        if answer.known:
            return event
        return ev.SubmissionRejected(
            at=event.at, job_name=batch.job_name, message=answer.message, mender=Mender.TASK
        )


class AsksNobody(WorkflowManager):
    """Gives tasks up one after another, however alike their failures are."""

    def _start_due(self, *args: object) -> None:
        puzzled = self.state
        self.state = puzzled.model_copy(update={"row": None})
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes
        self.state = puzzled


class BlamesWhoIsAlone(WorkflowManager):
    """Gives the only task of a phase up by its own bound, whatever it died of."""

    def _start_due(self, *args: object) -> None:
        puzzled = self.state
        if len(puzzled.own_tasks) == 1:
            (record,) = puzzled.own_tasks
            blamed = tuple(
                each.model_copy(update={"reason": Reason.NUMERICAL}) for each in record.failures
            )
            tasks = {
                **puzzled.tasks,
                record.task.id: record.model_copy(update={"failures": blamed}),
            }
            self.state = puzzled.model_copy(update={"row": None, "tasks": tasks})
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes
        self.state = puzzled


class ReadsTheSiteFileOnce(SlurmScheduler):
    """Submits with the options of the first daemon, whatever was mended since."""

    def __init__(self, transport: Transport, *, options: SlurmQueue, **others: Any) -> None:
        kept = vars(transport).setdefault("options_of_the_first", options)
        super().__init__(transport, options=kept, **others)


class ReadsNoForeignLines(SlurmScheduler):
    """Takes a whole answer for worthless that has one line in it which is none of Slurm's."""

    async def _ask(self, command: str, *arguments: str) -> FramedAnswer:
        said = await super()._ask(command, *arguments)
        section = said.sections.get("squeue")
        if section is not None and any(
            line.startswith("Notice") for line in section.text.splitlines()
        ):
            raise TransientError("squeue's answer cannot be read")
        return said


class PlansByTheSettingsOfBefore(WorkflowManager):
    """Takes what was decided before the settings changed for what they want now."""

    def _is_of_before(self, *_: object) -> bool:
        return False


class ReadsItsSettingsOnce(WorkflowManager):
    """Writes other settings down, and goes by those that it began with."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**{**parts, "configure": None})


def keeps_what_was_set_aside(event: ev.PhaseRedone, state: WorkflowState) -> ev.PhaseRedone:
    """A way back on which the data sets of after come along."""
    return event.model_copy(update={"datasets": state.datasets})


def loses_labels_on_the_way(event: ev.PhaseRedone, _: WorkflowState) -> ev.PhaseRedone:
    """A way back on which labels that no fit had read are left behind."""
    digests = (
        each.model_copy(update={"labels": each.labels[1:]})
        if isinstance(each, CalculationDigest)
        else each
        for each in event.digests
    )
    return event.model_copy(update={"labels": (), "digests": tuple(digests)})


class LeavesAddedStructuresLying(Calculation):
    """Plans what was selected, and nothing of what people have added."""

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        return super().plan(state.model_copy(update={"to_label": ()}))


class LabelsAddedStructuresAgain(Calculation):
    """Plans in every round all that people have ever added."""

    _ever: ClassVar[dict[str, Any]] = {}

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        self._ever.update({each.file.sha256: each for each in state.to_label})
        return super().plan(state.model_copy(update={"to_label": tuple(self._ever.values())}))


def negligent_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Phase runners that leave added structures lying."""
    return {**runners_of(config), Phase.CALCULATION: LeavesAddedStructuresLying(config)}


def eager_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Phase runners that label added structures in every round."""
    runner = type("Eager", (LabelsAddedStructuresAgain,), {"_ever": {}})
    return {**runners_of(config), Phase.CALCULATION: runner(config)}


class PreparesTheSiteOnce(Effects):
    """Takes the site for prepared, as it was before somebody brought a file."""

    _done = False

    async def _run(self, command: cm.Command, state: WorkflowState) -> ev.Event:
        if isinstance(command, cm.PrepareSite) and self._done:
            return ev.SitePrepared(at=self._clock.now())
        self._done = isinstance(command, cm.PrepareSite) or self._done
        return await super()._run(command, state)


def leaves_the_file_to_the_next(
    state: WorkflowState, *others: Any, **_: object
) -> tuple[ev.Event, ...]:
    """What a daemon takes at its start that knows a changed file by reload alone."""
    settings = others[-1]
    return () if state.settings or settings is None else (settings,)


def counts_quiet_cycles_of_before(*what: Any) -> tuple[ev.Event, ...]:
    """A change sends walkers elsewhere, and a campaign that was quiet before is quiet still."""
    return tuple(
        event.model_copy(update={"quiet_from": None})
        if isinstance(event, ev.SettingsTaken)
        else event
        for event in taking(*what)
    )


def ignores_the_mended_file(*_: object) -> tuple[ev.Event, ...]:
    """What a daemon makes of a changed site file that leaves everything to `resume`."""
    return ()


def believes_another_programs_snapshot(
    _: Sequence[ev.Event], state: WorkflowState
) -> WorkflowState:
    """What a daemon begins with that takes the snapshot of a program which counted no failures."""
    tasks = {
        name: record.model_copy(update={"failures": ()}) for name, record in state.tasks.items()
    }
    return state.model_copy(update={"tasks": tasks})


def forgets_pauses(_: Sequence[ev.Event], state: WorkflowState) -> WorkflowState:
    """What a daemon begins with that takes its pause for a thing of its own life."""
    return state.model_copy(update={"pause": None})


class _ForgetfulTraining(Training):
    """Drops the last label."""

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        return tuple(
            task.model_copy(update={"inputs": task.inputs[:-1]}) for task in super().plan(state)
        )


class _RepeatingTraining(Training):
    """Counts the first label twice."""

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        return tuple(self._repeated(task) for task in super().plan(state))

    @staticmethod
    def _repeated(task: Task) -> Task:
        first = next(item for item in task.inputs if item.name == "label")
        return task.model_copy(update={"inputs": (*task.inputs, first)})


class _DoubleCountingTraining(Training):
    """Reads a late label in the cycle that it joins, and in the next again."""

    _late: tuple[Label, ...] = ()

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        again = [Input(name="label", file=label.file) for label in self._late]
        digest = cast("CalculationDigest", state.digests[Phase.CALCULATION])
        self._late = digest.labels[: digest.late]
        return tuple(
            task.model_copy(update={"inputs": (*task.inputs, *again)})
            for task in super().plan(state)
        )


class _AmnesicTraining(Training):
    """Forgets the data sets of before, once a campaign was reopened."""

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        planned = super().plan(state)
        return (
            tuple(self._without_datasets(task) for task in planned)
            if state.first_cycle
            else planned
        )

    @staticmethod
    def _without_datasets(task: Task) -> Task:
        return task.model_copy(
            update={"inputs": tuple(item for item in task.inputs if item.name != "dataset")}
        )


class _AmnesicCalculation(Calculation):
    """Loses a label of each round, once a campaign was reopened."""

    def digest(self, state: WorkflowState) -> CalculationDigest:
        digest = super().digest(state)
        return (
            digest.model_copy(update={"labels": digest.labels[1:]}) if state.first_cycle else digest
        )


class _PunctualCalculation(Calculation):
    """Takes labels of its own round only."""

    def digest(self, state: WorkflowState) -> CalculationDigest:
        digest = super().digest(state)
        return digest.model_copy(update={"labels": digest.labels[digest.late :], "late": 0})


class _HastyExploration(Exploration):
    """Counts a halt as a completion."""

    def digest(self, state: WorkflowState) -> ExplorationDigest:
        digest, done = super().digest(state), {"ending": Ending.COMPLETED, "gamma_max": 1.0}
        walkers = tuple(
            walker.model_copy(update=done) if walker.ending is Ending.HALTED else walker
            for walker in digest.walkers
        )
        return digest.model_copy(update={"walkers": walkers})


class _CountsAdoptedLabelsAgain(Training):
    """Reads the user's labels in the first fit and in the first after a way back or a reopening."""

    _again: ClassVar[dict[str, Input]] = {}

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        planned = super().plan(state)
        adopted = [item for task in planned for item in task.inputs if item.name == "adopted"]
        self._again.update({item.file.path: item for item in adopted})
        if adopted or state.cycle_index != state.first_cycle or not state.cycles:
            return planned
        more = tuple(self._again.values())
        return tuple(task.model_copy(update={"inputs": (*task.inputs, *more)}) for task in planned)


class _LosesACheckLabel(Calculation):
    """Leaves a label that was made to check the oracle out of what the round has made."""

    def digest(self, state: WorkflowState) -> CalculationDigest:
        digest = super().digest(state)
        checks = [label for label in digest.labels if label.role is Role.CHECK]
        return digest.model_copy(
            update={"labels": tuple(each for each in digest.labels if each not in checks[:1])}
        )


class _AdoptsWhatIsRefused(Calculation):
    """Takes the user's labels as they are, whatever the oracle says of them."""

    def digest(self, state: WorkflowState) -> CalculationDigest:
        digest, found = super().digest(state), adopted_set(state)
        if found is None or state.datasets:
            return digest
        taken = Adopted(
            file=found.file, train=found.train, test=found.test, message="taken as it is"
        )
        return digest.model_copy(update={"adopted": taken})


class AsksNobodyOfTheDataSet(WorkflowManager):
    """Goes on with a data set that the oracle does not agree with."""

    def _start_due(self, *args: object) -> None:
        true = self.policy
        self.policy = true.model_copy(update={"dataset": None})
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes
        self.policy = true


class DoesNotWaitForTheCheck(WorkflowManager):
    """Labels the whole first round at once before the oracle was held against the user's labels."""

    def _start_due(self, *args: object) -> None:
        true = self.state
        made = true.digests.get(Phase.GENERATION)
        if isinstance(made, GenerationDigest) and any(
            record.outcome is None for record in true.tasks.values()
        ):
            unread = {**true.digests, Phase.GENERATION: made.model_copy(update={"dataset": None})}
            self.state = true.model_copy(update={"digests": unread})
        super()._start_due(*args)  # type: ignore[arg-type] # whatever it takes
        self.state = true


class _BeginsFromTheGivenPotentialAgain(Training):
    """Begins every fit from the potential that the user has brought."""

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        return super().plan(state.model_copy(update={"potential": None}))


class _OffersWhatIsLabelled(Exploration):
    """Grades a pool without knowing what of it is labelled."""

    def plan(self, state: WorkflowState) -> tuple[Task, ...]:
        return super().plan(state.model_copy(update={"datasets": ()}))


def again_adopting_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Training reads the user's labels a second time after a way back."""
    return {**runners_of(config), Phase.TRAINING: _CountsAdoptedLabelsAgain(config, SUPPLIES)}


def check_losing_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Calculation loses a label of the check."""
    return {**runners_of(config), Phase.CALCULATION: _LosesACheckLabel(config)}


def credulous_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Calculation adopts what the oracle does not agree with."""
    return {**runners_of(config), Phase.CALCULATION: _AdoptsWhatIsRefused(config)}


def beginning_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Training begins again and again from the user's potential."""
    return {
        **runners_of(config),
        Phase.TRAINING: _BeginsFromTheGivenPotentialAgain(config, SUPPLIES),
    }


def offering_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Exploration offers of a pool what is labelled."""
    return {**runners_of(config), Phase.EXPLORATION: _OffersWhatIsLabelled(config, SUPPLIES)}


def repeating_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Training reads one label twice."""
    return {**runners_of(config), Phase.TRAINING: _RepeatingTraining(config, SUPPLIES)}


def double_counting_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Training reads late labels twice."""
    return {**runners_of(config), Phase.TRAINING: _DoubleCountingTraining(config, SUPPLIES)}


def punctual_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Calculation leaves late labels where they are."""
    return {**runners_of(config), Phase.CALCULATION: _PunctualCalculation(config)}


def amnesic_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Training begins with no data set where a campaign was reopened."""
    return {**runners_of(config), Phase.TRAINING: _AmnesicTraining(config, SUPPLIES)}


def label_losing_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Calculation loses labels where a campaign was reopened."""
    return {**runners_of(config), Phase.CALCULATION: _AmnesicCalculation(config)}


def hasty_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Exploration takes a walker that halted for one that is done."""
    return {**runners_of(config), Phase.EXPLORATION: _HastyExploration(config, SUPPLIES)}


def forgetful_runners(config: WorkflowConfig) -> Mapping[Phase, PhaseRunner]:
    """Runners of which Training reads all labels but one."""
    return {**runners_of(config), Phase.TRAINING: _ForgetfulTraining(config, SUPPLIES)}
