"""rebuild: a lost journal's events, made again from what the site holds. Pure, but for `unearth`.

What a campaign decides follows from its site file, its name and the outcomes of its tasks. So a
walk of the same core over the intents (`.ap/submit/JOB_NAME/intent.json`) and the outcomes that lie
on the site gives its events again, up to the present; from there the next daemon goes on, and
adopts by name whatever still runs.

What people did besides, and what was given up, lies on the site as it happened
(`orchestration/deeds.py`), and comes in its place; a campaign that an earlier program ran has none
of it, and is walked as if nobody had done anything.

What left no file on the site is not known: who paused and resumed, when things were decided, and
how an attempt without an outcome ended. Such an attempt counts as lost where a later submission
shows that it was over, and as live where nothing does; the daemon then asks the scheduler.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from mlip_autopipec.contract.oracle import KMesh
from mlip_autopipec.contract.values import plain
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.data_models.ids import attempt_file, batch_name, sort_key
from mlip_autopipec.data_models.state import Stage, TaskRecord, TaskStatus, WorkflowState
from mlip_autopipec.data_models.task import Task, TaskFile
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.decide import decide
from mlip_autopipec.orchestration.deeds import Deed, Whereabouts, deeds_on_site, whereabouts_of
from mlip_autopipec.orchestration.effects import settle
from mlip_autopipec.orchestration.intents import Intent, intent_path
from mlip_autopipec.orchestration.machine import can_cancel, can_reopen, evolve, is_stale
from mlip_autopipec.orchestration.outcomes import judge_outcome
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.reading import read_pages
from mlip_autopipec.ports import PhaseRunner, Transport

_READ_AT_ONCE = 500
#: Parameters that a refusal names.
_NAMED_MAX = 6
_OPEN = {TaskStatus.READY, TaskStatus.FAILED}
_MOMENT = TypeAdapter(AwareDatetime)


@dataclass(frozen=True, slots=True)
class Relics:
    """What the site still holds of a campaign.

    Intents by job name, outcome files by name, and tasks by their place.
    """

    campaign: str
    intents: Mapping[str, Intent]
    outcomes: Mapping[str, bytes]
    # by cycle, phase and index, as their ids begin
    tasks: Mapping[str, Task] = field(default_factory=dict)
    k_mesh: KMesh = "cell"  # the rule that the campaign began with
    deeds: tuple[Deed, ...] = ()  # in their order, from the begin of the campaign
    generation: int = -1  # of the deeds; -1: nobody has kept any


async def unearth(transport: Transport, name: str) -> Relics:
    """Read every intent and outcome under the root.

    Raises OperatorError unless they are of one campaign `name`.
    """
    job_names = await transport.names(".ap/submit")
    contents = await _read_all(transport, [intent_path(job_name) for job_name in job_names])
    intents = [_intent(path, content) for path, content in contents.items()]
    campaigns = sorted({intent.campaign for intent in intents})
    if len(campaigns) != 1 or campaigns[0].rpartition("-")[0] != name:
        found = f"submissions of {', '.join(campaigns)}" if campaigns else "no submission"
        raise OperatorError(
            f"site.root holds {found}; a journal of {name!r} can't be made from that"
        )
    generation, files = await deeds_on_site(transport)
    if strangers := sorted({file.campaign for file in files} - set(campaigns)):
        raise OperatorError(
            f"site.root holds deeds of {', '.join(strangers)} beside submissions of {campaigns[0]}"
        )
    outbox = [file for file in await transport.names("outbox") if not file.startswith(".")]
    outcomes = await _read_all(transport, [f"outbox/{file}" for file in outbox])
    return Relics(
        campaign=campaigns[0],
        intents={
            intent.job_name: intent
            for intent in sorted(intents, key=lambda intent: sort_key(intent.job_name))
        },
        outcomes={path.removeprefix("outbox/"): content for path, content in outcomes.items()},
        tasks=await _tasks(transport, intents),
        k_mesh=await _k_mesh(transport, intents),
        deeds=tuple(deed for file in files for deed in file.deeds),
        generation=generation,
    )


async def _k_mesh(transport: Transport, intents: Sequence[Intent]) -> KMesh:
    """The rule for k-meshes that the campaign began with, as its first task shows.

    With none, it is that of new ones.
    """
    tasks = (task for intent in intents for task in intent.tasks)
    first = next((task for task in tasks if task.split(".")[1] == Phase.GENERATION), None)
    if first is None:
        return "family"
    path = _task_file(first)
    content = (await transport.read_many([path])).get(path)
    if content is None:
        return "family"
    try:
        return "family" if "twins" in json.loads(content)["parameters"] else "cell"
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"{path} on the site is no task of this program: {error!r}") from error


async def _tasks(transport: Transport, intents: Sequence[Intent]) -> dict[str, Task]:
    """What was submitted, as far as this program can read it."""
    names = {_task_file(task): task for intent in intents for task in intent.tasks}
    found: dict[str, Task] = {}
    for path, content in (await _read_all(transport, list(names))).items():
        with contextlib.suppress(ValidationError):  # then nothing is known of it but its name
            found[_position(names[path])] = TaskFile.model_validate_json(content)
    return found


def _task_file(task: str) -> str:
    """Where a task's file lies, by its id."""
    cycle, phase, name = task.split(".")
    return f"cycles/{cycle.removeprefix('c')}/{phase}/{name}/task.json"


def _position(task: str) -> str:
    """Of an id, what is no hash."""
    return task.rpartition("-")[0]


async def _read_all(transport: Transport, paths: Sequence[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for start in range(0, len(paths), _READ_AT_ONCE):
        async for found in read_pages(transport, paths[start : start + _READ_AT_ONCE]):
            contents.update(found)
    return contents


def _intent(path: str, content: bytes) -> Intent:
    try:
        intent = Intent.model_validate_json(content)
        sort_key(intent.job_name)
    except ValidationError as error:
        raise OperatorError(
            f"{path} on the site is no intent: {error.errors(include_url=False)[0]['msg']}"
        ) from error
    except ValueError as error:
        raise OperatorError(
            f"{path} on the site is no intent: its uid is no job name of this program"
        ) from error
    return intent


#: Runners and policy by the settings that a state has in force.
Follow = Callable[[WorkflowState], tuple[Mapping[Phase, PhaseRunner], Policy]]


def rebuild(
    state: WorkflowState,
    relics: Relics,
    follow: Follow,
    created: ev.CampaignCreated,
    *,
    deeds_done: int = 0,
) -> Iterator[ev.Event]:
    """The events after `state` that the relics tell of; `created` comes first if `state` is empty.

    The first `deeds_done` deeds came before that state. Each event is dated with the last outcome
    before it, and with `created.at` before the first; a deed has its own date. Raises OperatorError
    if the relics contradict the site file.
    """
    walk = _Rebuild(state, relics, follow, created, deeds_done)
    while (event := walk.next_event()) is not None:
        walk.go_on(event)
        yield event
    walk.require_end()


class _Rebuild:
    """The core, walked along the relics."""

    def __init__(
        self,
        state: WorkflowState,
        relics: Relics,
        follow: Follow,
        created: ev.CampaignCreated,
        deeds_done: int,
    ) -> None:
        self.state = state
        self._relics = relics
        self._deeds = list(relics.deeds[deeds_done:])
        self._follow = follow
        self._phases, self._policy = follow(state)
        self._created = created
        #: Of the latest outcome so far: what was decided after it has left no time of its own.
        self._now = created.at

    def go_on(self, event: ev.Event) -> None:
        """Fold an event in."""
        era = self.state.era
        self.state = evolve(self.state, event)
        if self.state.era != era:
            self._phases, self._policy = self._follow(self.state)

    def require_end(self) -> None:
        """Raise OperatorError if the present was reached, and there are deeds of after it."""
        if self._deeds:
            deed, here = self._deeds[0], whereabouts_of(self.state)
            raise OperatorError(
                f"{len(self._deeds)} deeds on the site come after what its submissions and"
                f" outcomes give: the first is {deed.event.type} in {_standing(deed.standing)},"
                f" and they end in {_standing(here)}. Bring back what outbox and .ap/submit have"
                " lost, and the site file of this campaign"
            )

    def next_event(self) -> ev.Event | None:
        """What happened after `state`; None at the present."""
        if self.state.stage is Stage.EMPTY:
            return self._created
        if (deed := self._deed()) is not None:
            return deed
        match self.state.stage:
            case Stage.BETWEEN:
                return self._decided(cm.PlanPhase, cm.CloseCycle, cm.ReachVerdict)
            case Stage.WORKING:
                return self._outcome() or self._submission() or self._close()
            case _:
                return self._outcome() or self._reopened()

    # --- deeds ------------------------------------------------------------------------------------

    def _deed(self) -> ev.Event | None:
        """The next deed, if the campaign stands where it happened; None if not yet.

        It may also be what comes just before the deed.
        """
        while self._deeds and self._deeds[0].standing.is_of(whereabouts_of(self.state)):
            standing, event = self._deeds[0].standing, self._deeds[0].event
            if (outcome := self._outcome()) is not None:
                return outcome
            if self.state.batches_begun < standing.batches and self.state.stage is Stage.WORKING:
                submission = self._submission()
                if submission is not None:
                    return submission
            if (before := self._before(event)) is not None:
                return before
            self._deeds.pop(0)
            if (done := self._still(event)) is not None:
                self._now = max(self._now, done.at)
                return done
        return None

    def _before(self, event: ev.Event) -> ev.Event | None:
        """The end of an attempt that had ended when this was done, and has left no outcome."""
        match event:
            case ev.TaskQuarantined():
                names = [event.task]
            case ev.PhaseRedone():
                names = list(self.state.tasks)
            case _:
                return None
        records = (self.state.tasks[name] for name in names if name in self.state.tasks)
        return next(
            (self._lose(each) for each in records if each.status is TaskStatus.SUBMITTED), None
        )

    def _still(self, event: ev.Event) -> ev.Event | None:
        """The deed as it changes this state; None if it changes nothing.

        Raises OperatorError if it can't have been.
        """
        match event:
            case ev.TasksCancelled():
                tasks = tuple(name for name in event.tasks if can_cancel(self.state, name))
                return event.model_copy(update={"tasks": tasks}) if tasks else None
            case ev.TaskQuarantined():
                record = self.state.tasks.get(event.task)
                if record is None or record.status is TaskStatus.READY:
                    raise OperatorError(f"{event.task} was given up, and {self._never(event.task)}")
                return None if record.status is TaskStatus.QUARANTINED else event
            case ev.PhaseEnded(digest=CalculationDigest() as digest):
                if lacking := [
                    label.task for label in digest.labels if not self._is_done(label.task)
                ]:
                    raise OperatorError(
                        f"{lacking[0]} has a label that was trained on, and"
                        f" {self._never(lacking[0])}"
                    )
                return event
            case ev.PhaseRedone() if is_stale(self.state, event):
                raise OperatorError(
                    f"a way back to {event.phase} of cycle {event.cycle} does not begin where"
                    " submissions and outcomes have come to,"
                    f" {_standing(whereabouts_of(self.state))}: bring back what outbox and"
                    " .ap/submit have lost"
                )
            case _:
                return None if is_stale(self.state, event) else event

    def _never(self, task: str) -> str:
        return (
            f"the site holds neither a submission nor an outcome of it ({task}): is the outbox"
            " whole, and .ap/submit?"
        )

    def _is_done(self, task: str) -> bool:
        record = self.state.tasks.get(task)
        return record is not None and record.status is TaskStatus.DONE

    # --- what follows by itself -------------------------------------------------------------------

    def _reopened(self) -> ev.CampaignReopened | None:
        """That it went on, if submissions follow its verdict; since when bounds count is not known.

        Only of campaigns whose deeds nobody has kept.
        """
        if self._relics.deeds:
            return None
        is_open = (
            self.state.current_phase is not None
            and self.state.current_phase not in self.state.digests
        )
        names = [sort_key(job_name) for job_name in self._relics.intents]
        if is_open:
            number = self.state.batches_begun
            here = sort_key(
                batch_name(self.state.campaign, self.state.cycle_index, self._phase, number)
            )
            went_on = any(name >= here for name in names)
        else:
            went_on = any(name[0] >= self.state.cycle_index for name in names)
        if not went_on or not can_reopen(self.state):
            return None
        first_cycle = len(self.state.cycles)
        return ev.CampaignReopened(
            at=self._now, by=ev.DAEMON, reason="rebuilt", first_cycle=first_cycle
        )

    def _decided(self, *kinds: type[cm.Command]) -> ev.Event | None:
        for command in decide(self.state, self._policy, self._now):
            if isinstance(command, kinds):
                event = settle(command, self.state, self._phases, self._now)
                return self._named_as_then(event) if isinstance(event, ev.PhaseStarted) else event
        return None

    def _named_as_then(self, event: ev.PhaseStarted) -> ev.PhaseStarted:
        """With the ids under which its tasks were submitted.

        An id hashes every parameter that its version knew. A later version knows more of them, with
        defaults that mean what was done before; so the same work is found by what it is asked for,
        not by its hash.
        """
        return event.model_copy(update={"tasks": tuple(map(self._as_submitted, event.tasks))})

    def _as_submitted(self, planned: Task) -> Task:
        then = self._relics.tasks.get(_position(planned.id))
        if then is None or (then.parameters, then.inputs) != (planned.parameters, planned.inputs):
            return planned
        return planned.model_copy(update={"id": then.id, "workdir": then.workdir})

    def _outcome(self) -> ev.Event | None:
        """The end of a live attempt that has left an outcome."""
        for batch in self.state.batches.values():
            for index in sorted(batch.live):
                content = self._relics.outcomes.get(attempt_file(batch.job_name, index))
                if content is not None:
                    self._now = max(self._now, _moment(content, "ended_at") or self._now)
                    return judge_outcome(content, batch, index, self.state, self._now)
        return None

    def _submission(self) -> ev.Event | None:
        """The next submission of this phase, after the attempts that it shows to be over."""
        job_name = batch_name(
            self.state.campaign, self.state.cycle_index, self._phase, self.state.batches_begun
        )
        if (void := self._void()) is not None:
            return void
        intent = self._relics.intents.get(job_name) or self._after(job_name)
        if intent is None:
            return None
        for task in intent.tasks:
            record = self._record(task, intent)
            if record.status is TaskStatus.SUBMITTED:
                return self._lose(record)
            if record.status not in _OPEN:
                raise OperatorError(
                    f"{job_name} was to run {task}, which was {record.status} by then: is the site"
                    " file another one?"
                )
        return ev.SubmissionBegun(
            at=self._now, job_name=job_name, tasks=intent.tasks, runs_on=intent.runs_on
        )

    def _after(self, job_name: str) -> Intent | None:
        """The next intent of this phase after a submission that has left none.

        The daemon gave that one up before it had written anything. What it was to run is not known,
        and does not matter: those tasks were free again.
        """
        here = sort_key(job_name)
        later = (
            intent
            for name, intent in self._relics.intents.items()
            if sort_key(name)[:2] == here[:2] and sort_key(name) > here
        )
        following = next(later, None)
        if following is None:
            return None
        if any(name.startswith(f"{job_name}.") for name in self._relics.outcomes):
            raise OperatorError(
                f"the outbox has an outcome of {job_name}, and .ap/submit no intent of it: is"
                " .ap/submit whole?"
            )
        known = tuple(task for task in following.tasks if task in self.state.tasks)
        return following.model_copy(update={"tasks": known}) if known else None

    def _void(self) -> ev.SubmissionVoided | None:
        """The end of a submission that has left no intent, if later ones of its phase have."""
        for batch in self.state.batches.values():
            lacks = batch.job_name not in self._relics.intents and batch.live
            if lacks and self._after(batch.job_name) is not None:
                return ev.SubmissionVoided(
                    at=self._now, job_name=batch.job_name, message=ev.REBUILT
                )
        return None

    def _record(self, task: str, intent: Intent) -> TaskRecord:
        try:
            return self.state.tasks[task]
        except KeyError:
            changed = (
                ""
                if self._relics.deeds
                else (
                    "; where people have changed it under an earlier version, only a copy of the"
                    " journal knows that"
                )
            )
            raise OperatorError(
                f"{intent.job_name} ran {task}, which this site file does not ask"
                f" for{self._unlike(task)}: bring back the one of that campaign{changed}"
            ) from None

    def _unlike(self, task: str) -> str:
        """In which parameters a task was another than what is planned in its place.

        Defaults may have changed.
        """
        then = self._relics.tasks.get(_position(task))
        now = next(
            (
                item.task
                for item in self.state.tasks.values()
                if _position(item.task.id) == _position(task)
            ),
            None,
        )
        if then is None or now is None:
            return ""
        was, would_be = plain(then.parameters), plain(now.parameters)
        unlike = [
            name
            for name in sorted(was.keys() | would_be.keys())
            if was.get(name) != would_be.get(name)
        ]
        arguments = [
            f"{name} was {_brief(was.get(name))}, not {_brief(would_be.get(name))}"
            for name in unlike
        ]
        return f" ({'; '.join(arguments[:_NAMED_MAX])})" if arguments else ""

    def _close(self) -> ev.Event | None:
        """The end of the phase, if later submissions show that it has ended.

        Else the present is reached.
        """
        if not self._is_past():
            return self._decided(cm.DigestPhase, cm.ReachVerdict)
        for record in self.state.own_tasks:
            if record.status is TaskStatus.SUBMITTED:
                return self._lose(record)
            if record.status is TaskStatus.FAILED:
                return ev.TaskQuarantined(
                    at=self._now, task=record.task.id, message=record.failures[-1].message
                )
            if record.status is TaskStatus.READY:
                raise OperatorError(
                    f"{record.task.id} was never submitted, and later tasks were: is .ap/submit"
                    " whole?"
                )
        return self._decided(cm.DigestPhase, cm.ReachVerdict)

    def _is_past(self) -> bool:
        here = sort_key(batch_name(self.state.campaign, self.state.cycle_index, self._phase, 0))[:2]
        if self._deeds and self._deeds[0].standing.is_after(whereabouts_of(self.state)):
            return True
        return any(sort_key(job_name)[:2] > here for job_name in self._relics.intents)

    def _lose(self, record: TaskRecord) -> ev.AttemptLost:
        if record.job_name is None or record.index is None:
            raise AssertionError("a submitted task has its attempt")
        return ev.AttemptLost(
            at=self._now,
            job_name=record.job_name,
            index=record.index,
            reason=Reason.LOST,
            message=ev.REBUILT,
        )

    @property
    def _phase(self) -> Phase:
        if self.state.current_phase is None:
            raise AssertionError("a campaign that is working has a phase")
        return self.state.current_phase


def _brief(content: object) -> str:
    return f"{content!r:.40}"


def _standing(standing: Whereabouts) -> str:
    """Where a campaign stood, for a message."""
    phase = (
        f"{standing.phase} of cycle {standing.cycle}"
        if standing.phase is not None
        else f"cycle {standing.cycle}"
    )
    after = ", after it" if standing.is_over else ""
    return f"{phase}{after}{', after a verdict' if standing.has_verdict else ''}"


def first_moment(relics: Relics) -> datetime | None:
    """When the first attempt began, as far as its outcome tells."""
    return min(
        filter(None, (_moment(content, "started_at") for content in relics.outcomes.values())),
        default=None,
    )


def _moment(content: bytes, name: str) -> datetime | None:
    """A time of an outcome; None where that can't be read, which is judged elsewhere."""
    try:
        moment: datetime = _MOMENT.validate_python(json.loads(content)[name])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return moment
