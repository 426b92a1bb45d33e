"""rebuild: the events of a lost journal, made again from what the site holds. Pure, but for `unearth`.

What a campaign decides follows from its site file, its name and the outcomes of its tasks. So a walk of the same core
over the intents (`.ap/submit/UID/intent.json`) and the outcomes that lie on the site gives its events again, up to
the present; from there the next daemon goes on, and adopts by name whatever still runs.

What left no file on the site is not known: who paused, resumed and retried, when things were decided, and how an
attempt without an outcome ended. Such an attempt counts as lost where a later submission shows that it was over, and
as live where nothing does; the daemon then asks the scheduler.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from mlip_autopipec.contract.oracle import KMesh
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.ids import attempt_file, batch_uid, sort_key
from mlip_autopipec.data_models.state import Stage, TaskRecord, TaskStatus, WorkflowState
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.orchestration.decide import decide
from mlip_autopipec.orchestration.effects import settle
from mlip_autopipec.orchestration.intents import Intent, intent_path
from mlip_autopipec.orchestration.machine import can_reopen, evolve
from mlip_autopipec.orchestration.outcomes import judge_outcome
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.reading import read_pages
from mlip_autopipec.ports import PhaseRunner, Transport

_READ_AT_ONCE = 500
_OPEN = {TaskStatus.READY, TaskStatus.FAILED}
_MOMENT = TypeAdapter(AwareDatetime)


@dataclass(frozen=True, slots=True)
class Relics:
    """What the site still holds of a campaign: intents by uid, and outcome files by name."""

    campaign: str
    intents: Mapping[str, Intent]
    outcomes: Mapping[str, bytes]
    k_mesh: KMesh = "cell"  # the rule that the campaign began with


async def unearth(transport: Transport, name: str) -> Relics:
    """Read every intent and outcome under the root. Raises OperatorError unless they are of one campaign `name`."""
    uids = await transport.names(".ap/submit")
    contents = await _read_all(transport, [intent_path(uid) for uid in uids])
    intents = [_intent(path, content) for path, content in contents.items()]
    campaigns = sorted({intent.campaign for intent in intents})
    if len(campaigns) != 1 or campaigns[0].rpartition("-")[0] != name:
        found = f"submissions of {', '.join(campaigns)}" if campaigns else "no submission"
        raise OperatorError(f"site.root holds {found}; a journal of {name!r} can't be made from that")
    outbox = [file for file in await transport.names("outbox") if not file.startswith(".")]
    outcomes = await _read_all(transport, [f"outbox/{file}" for file in outbox])
    return Relics(
        campaign=campaigns[0],
        intents={intent.uid: intent for intent in sorted(intents, key=lambda intent: sort_key(intent.uid))},
        outcomes={path.removeprefix("outbox/"): content for path, content in outcomes.items()},
        k_mesh=await _k_mesh(transport, intents),
    )


async def _k_mesh(transport: Transport, intents: Sequence[Intent]) -> KMesh:
    """The rule for k-meshes that the campaign began with, as its first task shows; with none, that of new ones."""
    tasks = (task for intent in intents for task in intent.tasks)
    first = next((task for task in tasks if task.split(".")[1] == Phase.GENERATION), None)
    if first is None:
        return "family"
    cycle, phase, name = first.split(".")
    path = f"cycles/{cycle.removeprefix('c')}/{phase}/{name}/task.json"
    content = (await transport.read_many([path])).get(path)
    if content is None:
        return "family"
    try:
        return "family" if "twins" in json.loads(content)["parameters"] else "cell"
    except (ValueError, KeyError, TypeError) as error:
        raise OperatorError(f"{path} on the site is no task of this program: {error!r}") from error


async def _read_all(transport: Transport, paths: Sequence[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for start in range(0, len(paths), _READ_AT_ONCE):
        async for found in read_pages(transport, paths[start : start + _READ_AT_ONCE]):
            contents.update(found)
    return contents


def _intent(path: str, content: bytes) -> Intent:
    try:
        intent = Intent.model_validate_json(content)
        sort_key(intent.uid)
    except ValidationError as error:
        raise OperatorError(f"{path} on the site is no intent: {error.errors(include_url=False)[0]['msg']}") from error
    except ValueError as error:
        raise OperatorError(f"{path} on the site is no intent: its uid is no job name of this program") from error
    return intent


def rebuild(
    state: WorkflowState,
    relics: Relics,
    phases: Mapping[Phase, PhaseRunner],
    policy: Policy,
    created: ev.CampaignCreated,
) -> Iterator[ev.Event]:
    """The events after `state` that the relics tell of; `created` comes first if `state` is empty.

    Each is dated with the last outcome before it, and with `created.at` before the first. Raises OperatorError if the
    relics contradict the site file.
    """
    walk = _Rebuild(state, relics, phases, policy, created)
    while (event := walk.next_event()) is not None:
        walk.state = evolve(walk.state, event)
        yield event


class _Rebuild:
    """The core, walked along the relics."""

    def __init__(
        self,
        state: WorkflowState,
        relics: Relics,
        phases: Mapping[Phase, PhaseRunner],
        policy: Policy,
        created: ev.CampaignCreated,
    ) -> None:
        self.state = state
        self._relics = relics
        self._phases = phases
        self._policy = policy
        self._created = created
        #: Of the latest outcome so far: what was decided after it has left no time of its own.
        self._now = created.at

    def next_event(self) -> ev.Event | None:
        """What happened after `state`; None at the present."""
        match self.state.stage:
            case Stage.EMPTY:
                return self._created
            case Stage.BETWEEN:
                return self._decided(cm.PlanPhase, cm.CloseCycle, cm.ReachVerdict)
            case Stage.WORKING:
                return self._outcome() or self._submission() or self._close()
            case Stage.ENDED:
                return self._outcome() or self._reopened()

    def _reopened(self) -> ev.CampaignReopened | None:
        """That it went on after its verdict, if later submissions show so; since when bounds count is not known."""
        is_open = self.state.current_phase is not None and self.state.current_phase not in self.state.digests
        names = [sort_key(uid) for uid in self._relics.intents]
        if is_open:
            number = self.state.batches_begun
            here = sort_key(batch_uid(self.state.campaign, self.state.cycle_index, self._phase, number))
            went_on = any(name >= here for name in names)
        else:
            went_on = any(name[0] >= self.state.cycle_index for name in names)
        if not went_on or not can_reopen(self.state):
            return None
        first_cycle = len(self.state.cycles)
        return ev.CampaignReopened(at=self._now, by=ev.DAEMON, reason="rebuilt", first_cycle=first_cycle)

    def _decided(self, *kinds: type[cm.Command]) -> ev.Event | None:
        for command in decide(self.state, self._policy, self._now):
            if isinstance(command, kinds):
                return settle(command, self.state, self._phases, self._now)
        return None

    def _outcome(self) -> ev.Event | None:
        """The end of a live attempt that has left an outcome."""
        for batch in self.state.batches.values():
            for index in sorted(batch.live):
                content = self._relics.outcomes.get(attempt_file(batch.uid, index))
                if content is not None:
                    self._now = max(self._now, _moment(content, "ended_at") or self._now)
                    return judge_outcome(content, batch, index, self.state, self._now)
        return None

    def _submission(self) -> ev.Event | None:
        """The next submission of this phase, after the attempts that it shows to be over."""
        uid = batch_uid(self.state.campaign, self.state.cycle_index, self._phase, self.state.batches_begun)
        intent = self._relics.intents.get(uid)
        if intent is None:
            return None
        for task in intent.tasks:
            record = self._record(task, intent)
            if record.status is TaskStatus.SUBMITTED:
                return self._lose(record)
            if record.status not in _OPEN:
                raise OperatorError(
                    f"{uid} was to run {task}, which was {record.status} by then: is the site file another one?"
                )
        return ev.SubmissionBegun(at=self._now, uid=uid, tasks=intent.tasks, place=intent.place)

    def _record(self, task: str, intent: Intent) -> TaskRecord:
        try:
            return self.state.tasks[task]
        except KeyError:
            raise OperatorError(
                f"{intent.uid} ran {task}, which this site file does not ask for: bring back the one of that campaign"
            ) from None

    def _close(self) -> ev.Event | None:
        """The end of the phase, if later submissions show that it has ended; else the present is reached."""
        if not self._is_past():
            return self._decided(cm.DigestPhase, cm.ReachVerdict)
        for record in self.state.tasks.values():
            if record.status is TaskStatus.SUBMITTED:
                return self._lose(record)
            if record.status is TaskStatus.FAILED:
                return ev.TaskQuarantined(at=self._now, task=record.task.id, message=record.failures[-1].message)
            if record.status is TaskStatus.READY:
                raise OperatorError(f"{record.task.id} was never submitted, and later tasks were: is .ap/submit whole?")
        return self._decided(cm.DigestPhase, cm.ReachVerdict)

    def _is_past(self) -> bool:
        here = sort_key(batch_uid(self.state.campaign, self.state.cycle_index, self._phase, 0))[:2]
        return any(sort_key(uid)[:2] > here for uid in self._relics.intents)

    def _lose(self, record: TaskRecord) -> ev.AttemptLost:
        if record.uid is None or record.index is None:
            raise AssertionError("a submitted task has its attempt")
        return ev.AttemptLost(at=self._now, uid=record.uid, index=record.index, reason=Reason.LOST, message=ev.REBUILT)

    @property
    def _phase(self) -> Phase:
        if self.state.current_phase is None:
            raise AssertionError("a campaign that is working has a phase")
        return self.state.current_phase


def first_moment(relics: Relics) -> datetime | None:
    """When the first attempt began, as far as its outcome tells."""
    return min(filter(None, (_moment(content, "started_at") for content in relics.outcomes.values())), default=None)


def _moment(content: bytes, name: str) -> datetime | None:
    """A time of an outcome; None where that can't be read, which is judged elsewhere."""
    try:
        moment: datetime = _MOMENT.validate_python(json.loads(content)[name])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return moment
