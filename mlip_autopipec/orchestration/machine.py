"""evolve: the one place where state changes.

Rules
1. Everything that can change state is an event, and every event goes through `evolve`. It is pure
   and total: for every pair of state and event it gives the next state, or raises IllegalTransition
   and changes nothing.
2. It knows nothing of time, files or schedulers. What an event says is all there is.
3. What should happen next is not decided here; `decide` looks at what is.

Theory of operation A campaign is a row of cycles, a cycle a row of phases (FLOW). Between two
phases the stage is BETWEEN; while a phase has tasks it is WORKING. STAGES says, for each stage,
which events may arrive and to which stage they lead; a row that lacks an event forbids it. Inside
WORKING, each task and each batch has a small life of its own: `lives.py` has their tables, and
ARCHITECTURE.md the drawings of all three.

A round of Calculation may close before all of its tasks are over. Those that are not stay in
`tasks` through the phases that follow, and so does a label that no digest has named yet: the next
round takes it. A calculation that is given up goes to `quarantine` with its round, and TaskRetried
brings it back from there as one that is late.

An outcome that no digest can take, as a journal of an earlier version may hold one, is quarantined
from DONE.

An outcome may overtake the answer to its own submission; it then proves that the scheduler has the
batch. News about what is closed already is stale, not illegal: the shell asks `is_stale` before it
writes an event down.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar, cast

from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.results.train import PastErrors
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason
from mlip_autopipec.data_models.digest import (
    CalculationDigest,
    ExplorationDigest,
    TrainingDigest,
    WalkerEnd,
)
from mlip_autopipec.data_models.faults import MENDERS, SUSPECT, signature
from mlip_autopipec.data_models.ids import batch_name
from mlip_autopipec.data_models.state import (
    Batch,
    BatchStatus,
    Deferral,
    Failure,
    FailureRow,
    OracleDoubt,
    Pause,
    Stage,
    TaskRecord,
    TaskStatus,
    Trouble,
    WorkflowState,
)
from mlip_autopipec.errors import IllegalTransition
from mlip_autopipec.orchestration.census import census
from mlip_autopipec.orchestration.lives import BATCH_LIFE, TASK_LIFE
from mlip_autopipec.orchestration.story import story

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E", bound=ev.Event)

#: The phases of a cycle in order: (bootstrap cycle?) → phase → the one after it; None is the
#: cycle's begin and end.
FLOW: Mapping[bool, Mapping[Phase | None, Phase | None]] = {
    True: {
        None: Phase.GENERATION,
        Phase.GENERATION: Phase.CALCULATION,
        Phase.CALCULATION: Phase.TRAINING,
        Phase.TRAINING: None,
    },
    False: {
        None: Phase.EXPLORATION,
        Phase.EXPLORATION: Phase.SELECTION,
        Phase.SELECTION: Phase.CALCULATION,
        Phase.CALCULATION: Phase.TRAINING,
        Phase.TRAINING: None,
    },
}

#: No attempt of such a task is live, and none will be by itself.
ENDED = frozenset(
    status for status, row in TASK_LIFE.items() if status is not None and ev.PhaseEnded in row
)

#: So many equal failures in a row, of causes that nobody knows, are no task's.
ROW_MAX = 3
#: What says nothing of its cause, not even in the work half's own words.
_UNKNOWN = SUSPECT - {Reason.BAD_INPUT}
#: A refusal in words that nobody knows is for a person after so many tries.
UNKNOWN_REFUSALS_MAX = 3
#: How long a site in trouble and an unfit node are left alone at first, and at most; each time
#: twice as long.
_TROUBLE_S, _TROUBLE_MAX_S = 30.0, 600.0
_UNFIT_S, _UNFIT_MAX_S = 600.0, 14400.0
#: What is said of a walker's group that leaves the places where its walkers stopped as good as they
#: were.
_SAME_WALK = frozenset(
    {"temperatures_kelvin", "pressures_gpa", "replicas", "steps", "stages", "timestep_fs", "swaps"}
)
#: Keys whose values lie on the site before a task can use them.
_SHIPPED = ("site.", "exploration.walkers", "generation.files", "dataset", "start", "training.gate")
_GROUP = re.compile(r"exploration\.walkers\[(\d+)\](?:\.(\w+))?")

_WORK_GOES_ON: Mapping[type[ev.Event], None] = dict.fromkeys(
    (
        ev.SubmissionAccepted,
        ev.SubmissionRejected,
        ev.SubmissionUnclear,
        ev.SubmissionVoided,
        ev.JobsSighted,
        ev.TaskEnded,
        ev.AttemptLost,
    )
)
_ALWAYS: Mapping[type[ev.Event], None] = dict.fromkeys(
    (
        ev.ClockStepped,
        ev.DaemonStarted,
        ev.DaemonStopped,
        ev.EffectDeferred,
        ev.JournalRebuilt,
        ev.JournalRepaired,
        ev.OrphansSeen,
        ev.Paused,
        ev.Resumed,
        ev.SettingsTaken,
        ev.SiteChanged,
        ev.SitePrepared,
        ev.TasksCancelled,
    )
)

#: stage → event → stage after it. None: the stage stays.
STAGES: Mapping[Stage, Mapping[type[ev.Event], Stage | None]] = {
    Stage.EMPTY: {ev.CampaignCreated: Stage.BETWEEN, ev.JournalRepaired: None},
    Stage.BETWEEN: {
        ev.PhaseStarted: Stage.WORKING,
        ev.StructuresAdded: None,
        ev.TaskRetried: None,
        **_WORK_GOES_ON,
        ev.CycleClosed: Stage.BETWEEN,
        ev.PhaseRedone: Stage.BETWEEN,
        ev.VerdictReached: Stage.ENDED,
        **_ALWAYS,
    },
    Stage.WORKING: {
        ev.StructuresAdded: None,
        ev.SubmissionBegun: None,
        ev.TaskQuarantined: None,
        ev.TaskRetried: None,
        ev.PhaseEnded: Stage.BETWEEN,
        ev.PhaseRedone: Stage.BETWEEN,
        ev.VerdictReached: Stage.ENDED,
        **_WORK_GOES_ON,
        **_ALWAYS,
    },
    # Jobs that outlive the verdict still end; nothing new begins unless it is reopened (WORKING, if
    # a phase was open).
    Stage.ENDED: {
        ev.CampaignReopened: Stage.BETWEEN,
        ev.PhaseRedone: Stage.BETWEEN,
        **_WORK_GOES_ON,
        **_ALWAYS,
    },
}


def evolve(state: WorkflowState, event: ev.Event) -> WorkflowState:
    """The state after `event`.

    Raises IllegalTransition, with the story of its subject, if the state forbids it.
    """
    row = STAGES[state.stage]
    if type(event) not in row:
        raise _illegal(state, event, f"a campaign that is {state.stage} allows {_names(row)}")
    changed = _HANDLERS[type(event)](state, event)
    stage = changed.stage if changed.stage is not state.stage else row[type(event)] or state.stage
    return changed.model_copy(update={"seq": state.seq + 1, "stage": stage})


def is_stale(state: WorkflowState, event: ev.Event) -> bool:  # noqa: C901, PLR0911, PLR0912 - one per kind of news
    """Whether `event` is news about a batch or an attempt that is closed already.

    Such events are not written down.
    """
    match event:
        case ev.SubmissionAccepted() | ev.SubmissionUnclear():
            batch = state.batches.get(event.job_name)
            return batch is None or batch.status is BatchStatus.ACCEPTED
        case ev.SubmissionRejected() | ev.SubmissionVoided():
            return event.job_name not in state.batches
        case ev.TaskEnded():
            return not is_live(state, event.outcome.job_name, event.outcome.index)
        case ev.AttemptLost():
            return not is_live(state, event.job_name, event.index)
        case ev.JobsSighted():
            return not all(
                is_live(state, sighting.job_name, sighting.index) for sighting in event.sightings
            )
        case ev.EffectDeferred():
            return not _still_waits(state, event.subject)
        case ev.OrphansSeen():
            return [(job.job_name, job.job_id) for job in event.jobs] == [
                (job.job_name, job.job_id) for job in state.orphans
            ]
        case ev.SiteChanged():
            return (event.health, event.message) == (state.site, state.site_message)
        case ev.StructuresAdded():
            return state.stage is Stage.ENDED or not any(new_in(state, event))
        case ev.TaskRetried():
            return not can_retry(state, event.task)
        case ev.CampaignReopened():
            return not can_reopen(state)
        case ev.PhaseRedone():
            return not _can_go_back(state, event)
        case ev.Paused():
            of_complaint = event.by == ev.DAEMON
            return event.mender is not None and (
                state.pause is not None or (of_complaint and not complaint_of(state))
            )
        case _:
            return False


def can_retry(state: WorkflowState, task: str) -> bool:
    """Whether a task is a calculation that was given up, and nothing has ended the campaign.

    Other phases plan their own tasks anew in every cycle.
    """
    record = state.tasks.get(task) or state.quarantine.get(task)
    return (
        record is not None
        and state.stage is not Stage.ENDED
        and record.task.phase is Phase.CALCULATION
        and ev.TaskRetried in TASK_LIFE[record.status]
    )


def can_cancel(state: WorkflowState, task: str) -> bool:
    """Whether a task is at work, or waits to be, and nobody has cancelled it."""
    record = state.tasks.get(task)
    return (
        record is not None
        and ev.TasksCancelled in TASK_LIFE[record.status]
        and not record.cancelled
    )


def can_reopen(state: WorkflowState) -> bool:
    """Whether the campaign has a verdict: there is none that it cannot go on from."""
    return state.stage is Stage.ENDED


def new_in(
    state: WorkflowState, event: ev.StructuresAdded
) -> tuple[tuple[Structure, ...], tuple[ev.AddedWalk, ...]]:
    """What nobody has added before, by its content; to be labelled, and to walk from."""
    structures = {
        each.file.sha256: each for each in event.structures if each.file.sha256 not in state.added
    }
    walks = {each.file.sha256: each for each in event.walks if each.file.sha256 not in state.added}
    return tuple(structures.values()), tuple(walks.values())


def unexplored(state: WorkflowState) -> int:
    """The first cycle whose walkers are still to be planned."""
    explored = state.current_phase is Phase.EXPLORATION or Phase.EXPLORATION in state.digests
    return state.cycle_index + explored


def _can_go_back(state: WorkflowState, event: ev.PhaseRedone) -> bool:
    """Whether nothing is at work, and the unfinished cycle is the one the event was made for."""
    unfinished = state.cycle_index if state.current_phase is not None else None
    return not state.batches and unfinished == (
        event.summary.cycle if event.summary is not None else None
    )


def complaint_of(state: WorkflowState) -> str:
    """What a person must mend before anything new is submitted, in words; empty if nothing is."""
    if state.complaint:
        return state.complaint
    onward = "Mend what it names, then autopipecctl resume, or start again with a mended site file"
    if (attempts := unknown_attempts(state)) >= ROW_MAX:
        tasks = alone(state)
        whose = f"{tasks[0].task.id}, the only task"
        if len(tasks) > 1:
            whose = f"{', '.join(record.task.id for record in tasks)}, all the tasks"
        return (
            f"{attempts} attempts of {whose} of its phase, ended in words that nobody knows, so"
            f" that it may be no fault of the task. The last: {tasks[0].failures[-1].message}."
            f" {onward}"
        )
    if state.row is None or len(state.row.sources) < ROW_MAX:
        return ""
    return (
        f"{len(state.row.sources)} attempts in a row ended the same way, so that it is no task's"
        f" own fault: {state.row.message}. {onward}"
    )


def unknown_attempts(state: WorkflowState) -> int:
    """Attempts in a row of unknown causes of tasks that are alone in their phase.

    0 where another task could tell.
    """
    own = alone(state)
    return sum(_unknown_at_the_end(record, _alike(own)) for record in own)


def alone(state: WorkflowState) -> tuple[TaskRecord, ...]:
    """All tasks of the phase, where they are few and each last ended for the same unknown cause.

    No other can tell whose fault that is; what late calculations come to tells nothing of a fit.
    What the work half itself has refused (`bad_input`) it has explained, and a second attempt would
    say it again.
    """
    if not 0 < sum(census(state).own.values()) < ROW_MAX:
        return ()
    own = state.own_tasks
    over = {TaskStatus.DONE, TaskStatus.QUARANTINED}
    if any(record.cancelled or record.status in over or not record.failures for record in own):
        return ()
    return own if all(_unknown_at_the_end(record, _alike(own)) for record in own) else ()


def _alike(own: Sequence[TaskRecord]) -> str | None:
    """The words that several have to share; None: one task alone may end in any."""
    return _signature(own[0].failures[-1]) if len(own) > 1 else None


def _unknown_at_the_end(record: TaskRecord, signature: str | None) -> int:
    """How many of the last failures are of unknown causes; of these words, unless any will do."""
    number = 0
    for failure in reversed(record.failures):
        other = signature is not None and _signature(failure) != signature
        if failure.reason not in _UNKNOWN or failure.message == ev.REBUILT or other:
            break
        number += 1
    return number


def is_resumable(state: WorkflowState) -> bool:
    """Whether anything is paused, put off, or held against the site or a node."""
    held = complaint_of(state) or state.trouble is not None or state.nodes
    return bool(
        state.pause is not None or held or state.site is not ev.SiteHealth.OK or state.deferrals
    )


def is_bootstrap(state: WorkflowState) -> bool:
    """Whether the current cycle makes the first potential.

    The first does, and those after a first that gave none.
    """
    return state.cycle_index == 0 or (state.potential is None and state.first_cycle > 0)


def is_in_trouble(state: WorkflowState) -> bool:
    """Whether jobs or refused submissions show trouble that no answer of the site disproves."""
    return state.trouble is not None or any(
        deferral.refused for deferral in state.deferrals.values()
    )


def is_live(state: WorkflowState, job_name: str, index: int) -> bool:
    """Whether the end of this attempt is still to come."""
    batch = state.batches.get(job_name)
    return batch is not None and index in batch.live


def _still_waits(state: WorkflowState, subject: str) -> bool:
    """Whether anything is left to be put off for a command's subject."""
    kind, _, name = subject.partition(":")
    match kind:
        case "batch" | "cancel":
            return name in state.batches
        case "site":
            return not state.site_prepared
        case "attempt":
            job_name, _, index = name.rpartition(".")
            return is_live(state, job_name, int(index))
        case _:
            return True


def next_in_flow(state: WorkflowState) -> Phase | None:
    """The phase after the current one; None when the cycle is through."""
    return FLOW[is_bootstrap(state)][state.current_phase]


# --- one handler per event ------------------------------------------------------------------------


def _campaign_created(state: WorkflowState, event: ev.CampaignCreated) -> WorkflowState:
    update = {
        "campaign": event.campaign,
        "k_mesh": event.k_mesh,
        "config_sha256": event.config_sha256,
    }
    return state.model_copy(update=update)


def _unchanged(state: WorkflowState, _: ev.Event) -> WorkflowState:
    return state


def _waits_anew(state: WorkflowState, event: ev.ClockStepped | ev.DaemonStarted) -> WorkflowState:
    """The clock of before and that of now can't be compared.

    Graces begin again, and nothing is put off any more.
    """
    missing = {
        name: record for name, record in state.tasks.items() if record.missing_since is not None
    }
    anew = {
        name: record.model_copy(update={"missing_since": event.at})
        for name, record in missing.items()
    }
    trouble = state.trouble and state.trouble.model_copy(update={"until": event.at})
    nodes = {
        name: node.model_copy(update={"until": _left_alone_until(node, event)})
        for name, node in state.nodes.items()
    }
    return state.model_copy(
        update={
            "tasks": {**state.tasks, **anew},
            "deferrals": {},
            "trouble": trouble,
            "nodes": nodes,
            "phase_started_at": _begun_by_this_clock(state.phase_started_at, event),
        }
    )


def _left_alone_until(node: Trouble, event: ev.ClockStepped | ev.DaemonStarted) -> datetime:
    """Until when a node stays excluded, by the clock of now.

    It is never anew, and after no step longer than at first.
    """
    if isinstance(event, ev.ClockStepped):
        return node.until + timedelta(seconds=event.by_s)
    return min(node.until, event.at + _unfit_for(node.times))


def _begun_by_this_clock(
    began_at: datetime | None, event: ev.ClockStepped | ev.DaemonStarted
) -> datetime | None:
    """When the phase began by the clock of now: a round's deadline counts time that has passed.

    A step that no daemon saw is known by a phase that began in the future; the deadline then counts
    from now.
    """
    if began_at is None:
        return None
    if isinstance(event, ev.ClockStepped):
        return began_at + timedelta(seconds=event.by_s)
    return min(began_at, event.at)


def _daemon_started(state: WorkflowState, event: ev.DaemonStarted) -> WorkflowState:
    """Another daemon may bring another work half, so the site is prepared again."""
    update = {"site_prepared": False, "config_sha256": event.config_sha256}
    return _waits_anew(state, event).model_copy(update=update)


def _settings_taken(state: WorkflowState, event: ev.SettingsTaken) -> WorkflowState:
    """What is planned from now on follows them. The site gets what they name before anything new.

    A batch whose submission may have got through is never staged again with what tasks ask for now:
    it is looked up, and either it has begun as it was, or its tasks are free for another.
    """
    batches = {job_name: _in_doubt(batch) for job_name, batch in state.batches.items()}
    update: dict[str, object] = {
        "batches": batches if batches != state.batches else state.batches,
        "settings": event.settings,
        "overrides": event.overrides,
        "config_sha256": event.config_sha256,
        "era": state.era + 1,
        "halted": _still_halted(state, event),
    }
    if any(change.key.startswith(_SHIPPED) for change in event.changes):
        update["site_prepared"] = False
    if event.quiet_from is not None:
        update["quiet_from"] = max(event.quiet_from, unexplored(state))
    return state.model_copy(update=update)


def _in_doubt(batch: Batch) -> Batch:
    if batch.status is not BatchStatus.BEGUN:
        return batch
    return batch.model_copy(update={"status": BatchStatus.UNCLEAR})


def _structures_added(state: WorkflowState, event: ev.StructuresAdded) -> WorkflowState:
    """Each once, however often it is brought.

    The site gets their files before anything new begins.
    """
    structures, walks = new_in(state, event)
    hashes = [*(each.file.sha256 for each in structures), *(each.file.sha256 for each in walks)]
    update: dict[str, object] = {
        "to_label": (*state.to_label, *structures),
        "walks": (*state.walks, *walks),
        "added": (*state.added, *dict.fromkeys(hashes)),
        "era": state.era + 1,
        "site_prepared": False,
    }
    if event.quiet_from is not None and walks:
        update["quiet_from"] = max(event.quiet_from, unexplored(state))
    return state.model_copy(update=update)


def _still_halted(state: WorkflowState, event: ev.SettingsTaken) -> Mapping[str, WalkerEnd]:
    """Walkers whose group starts from something else now do not go on where the old stopped."""
    found = [group for change in event.changes if (group := _GROUP.match(change.key)) is not None]
    others = {int(group[1]) for group in found if group[2] not in _SAME_WALK}
    #: Of a group that came or went, those behind it have other numbers.
    moved = min((int(group[1]) for group in found if group[2] is None), default=None)
    if not others:
        return state.halted

    def is_other(group: int) -> bool:
        return group in others or (moved is not None and group >= moved)

    return {
        key: end for key, end in state.halted.items() if not is_other(int(key.partition(".")[0]))
    }


def _phase_started(state: WorkflowState, event: ev.PhaseStarted) -> WorkflowState:
    _require(event.cycle == state.cycle_index, state, event, f"the cycle is {state.cycle_index}")
    _require(
        event.phase is next_in_flow(state), state, event, f"the next phase is {next_in_flow(state)}"
    )
    # Checking 10,000 records that hold nothing new would hold up the loop: all are copies of one.
    ready = [TaskRecord(task=task) for task in event.tasks[:1]]
    tasks = {
        task.id: record.model_copy(update={"task": task})
        for record in ready
        for task in event.tasks
    }
    together = {**state.tasks, **tasks}
    _require(
        len(together) == len(state.tasks) + len(event.tasks), state, event, "task ids must differ"
    )
    return state.model_copy(
        update={
            "current_phase": event.phase,
            "phase_started_at": event.at,
            "tasks": together,
            "batches_begun": 0,
            "row": None,
            "to_label": _left_to_label(state, event),
        }
    )


def _left_to_label(state: WorkflowState, event: ev.PhaseStarted) -> tuple[Structure, ...]:
    """What people have added and this plan has no task for."""
    if not state.to_label or event.phase is not Phase.CALCULATION:
        return state.to_label
    planned = {item.file.sha256 for task in event.tasks for item in task.inputs}
    return tuple(each for each in state.to_label if each.file.sha256 not in planned)


def _submission_begun(state: WorkflowState, event: ev.SubmissionBegun) -> WorkflowState:
    phase = cast("Phase", state.current_phase)
    expected = batch_name(state.campaign, state.cycle_index, phase, state.batches_begun)
    _require(event.job_name == expected, state, event, f"the next job name is {expected}")
    tasks = dict(state.tasks)
    for index, name in enumerate(event.tasks):
        submitted = _moved(state, event, _task(state, event, name, tasks), TaskStatus.SUBMITTED)
        tasks[name] = submitted.model_copy(
            update={"job_name": event.job_name, "index": index, "detail": ""}
        )
    live = frozenset(range(len(event.tasks)))
    batch = Batch(job_name=event.job_name, tasks=event.tasks, runs_on=event.runs_on, live=live)
    return state.model_copy(
        update={
            "tasks": tasks,
            "batches": _with(state.batches, event.job_name, batch),
            "batches_begun": state.batches_begun + 1,
        }
    )


def _submission_accepted(state: WorkflowState, event: ev.SubmissionAccepted) -> WorkflowState:
    batch = _batch(state, event, event.job_name)
    accepted = batch.model_copy(update={"status": BatchStatus.ACCEPTED, "job_id": event.job_id})
    return _undefer(
        state.model_copy(update={"batches": _with(state.batches, event.job_name, accepted)}),
        f"batch:{event.job_name}",
    )


def _submission_unclear(state: WorkflowState, event: ev.SubmissionUnclear) -> WorkflowState:
    batch = _batch(state, event, event.job_name)
    return _undefer(
        state.model_copy(
            update={"batches": _with(state.batches, event.job_name, _in_doubt(batch))}
        ),
        f"batch:{event.job_name}",
    )


def _submission_rejected(state: WorkflowState, event: ev.SubmissionRejected) -> WorkflowState:
    batch = _batch(state, event, event.job_name)
    failure = Failure(job_name=batch.job_name, reason=Reason.REJECTED, message=event.message)
    tasks = dict(state.tasks)
    for index in batch.live:
        record = tasks[batch.tasks[index]]
        its_own = event.mender is Mender.TASK
        tasks[record.task.id] = (
            _failed(state, event, record, failure) if its_own else _freed(state, event, record)
        )
    update: dict[str, object] = {"tasks": tasks}
    if event.mender is Mender.PERSON:
        update["complaint"] = f"{event.message}. {event.remedy}" if event.remedy else event.message
    if event.mender is Mender.SITE:
        trouble = _again(state.trouble, event.message, event.at, _in_trouble_for)
        update |= {
            "trouble": trouble,
            "site": ev.SiteHealth.DEGRADED,
            "site_message": event.message,
        }
    return _forgotten(state.model_copy(update=update), batch)


def _submission_voided(state: WorkflowState, event: ev.SubmissionVoided) -> WorkflowState:
    batch = _batch(state, event, event.job_name)
    tasks = dict(state.tasks)
    for index in sorted(batch.live):
        name = batch.tasks[index]
        tasks[name] = _freed(state, event, tasks[name])
    return _forgotten(state.model_copy(update={"tasks": tasks}), batch)


def _jobs_sighted(state: WorkflowState, event: ev.JobsSighted) -> WorkflowState:
    tasks = dict(state.tasks)
    for sighting in event.sightings:
        batch = _live_batch(state, event, sighting.job_name, sighting.index)
        name = batch.tasks[sighting.index]
        tasks[name] = _seen(tasks[name], sighting, event.at)
        state = _undefer(state, f"attempt:{sighting.job_name}.{sighting.index}")
    return state.model_copy(update={"tasks": tasks})


def _task_ended(state: WorkflowState, event: ev.TaskEnded) -> WorkflowState:
    outcome = event.outcome
    batch = _live_batch(state, event, outcome.job_name, outcome.index)
    name = batch.tasks[outcome.index]
    _require(
        outcome.task == name,
        state,
        event,
        f"index {outcome.index} of {batch.job_name} is task {name}",
    )
    if outcome.status == "failed":
        reason = outcome.reason or Reason.CRASHED
        node = _node_of(state.tasks[name]) if MENDERS[reason] is Mender.NODE else ""
        failure = Failure(
            job_name=batch.job_name,
            reason=reason,
            message=outcome.message,
            reached=outcome.reached,
            node=node,
        )
        return _attempt_failed(state, event, batch, outcome.index, failure)
    record = _moved(state, event, state.tasks[name], TaskStatus.DONE).model_copy(
        update={"outcome": outcome}
    )
    update: dict[str, object] = {
        "tasks": _with(state.tasks, name, record),
        "row": None,
        "trouble": None,
    }
    if outcome.host in state.nodes:
        update["nodes"] = _without(state.nodes, outcome.host)
    return _attempt_closed(state.model_copy(update=update), batch, outcome.index)


def _attempt_lost(state: WorkflowState, event: ev.AttemptLost) -> WorkflowState:
    batch = _live_batch(state, event, event.job_name, event.index)
    failure = Failure(
        job_name=batch.job_name, reason=event.reason, message=event.message, node=event.node
    )
    return _attempt_failed(state, event, batch, event.index, failure)


def _task_quarantined(state: WorkflowState, event: ev.TaskQuarantined) -> WorkflowState:
    record = _task(state, event, event.task, state.tasks)
    given_up = _moved(state, event, record, TaskStatus.QUARANTINED)
    if record.status is TaskStatus.DONE:  # its outcome has turned out to be of no use
        failure = Failure(
            job_name=record.job_name or "", reason=Reason.BAD_OUTCOME, message=event.message
        )
        given_up = given_up.model_copy(
            update={"outcome": None, "failures": _with_failure(record, failure)}
        )
    return state.model_copy(update={"tasks": _with(state.tasks, event.task, given_up)})


def _task_retried(state: WorkflowState, event: ev.TaskRetried) -> WorkflowState:
    record = state.tasks.get(event.task) or state.quarantine.get(event.task)
    status = record.status if record else "unknown"
    _require(can_retry(state, event.task), state, event, f"task {event.task} is {status}")
    ready = TaskRecord(task=cast("TaskRecord", record).task)
    return state.model_copy(
        update={
            "tasks": _with(state.tasks, event.task, ready),
            "quarantine": _without(state.quarantine, event.task),
        }
    )


def _tasks_cancelled(state: WorkflowState, event: ev.TasksCancelled) -> WorkflowState:
    """What is live stays so until its end is known; what is not has failed for good."""
    tasks = dict(state.tasks)
    for name in event.tasks:
        if can_cancel(state, name):
            cancelled = tasks[name].model_copy(update={"cancelled": True})
            tasks[name] = (
                cancelled
                if cancelled.status is TaskStatus.SUBMITTED
                else _unwanted(state, event, cancelled)
            )
    return state.model_copy(update={"tasks": tasks})


def _phase_ended(state: WorkflowState, event: ev.PhaseEnded) -> WorkflowState:
    digest = event.digest
    _require(event.cycle == state.cycle_index, state, event, f"the cycle is {state.cycle_index}")
    _require(
        digest.phase == state.current_phase, state, event, f"the phase is {state.current_phase}"
    )
    unfinished = [record.task.id for record in state.own_tasks if record.status not in ENDED]
    may_close = isinstance(digest, CalculationDigest) or not unfinished
    _require(may_close, state, event, f"tasks have not ended: {unfinished[:3]}")
    # To look a word of an enumeration up 10,000 times takes longer than all the rest.
    calculation, done, quarantined = Phase.CALCULATION, TaskStatus.DONE, TaskStatus.QUARANTINED
    named = (
        {label.task for label in digest.labels} if isinstance(digest, CalculationDigest) else set()
    )
    strange = [
        name for name in named if name not in state.tasks or state.tasks[name].status is not done
    ]
    _require(not strange, state, event, f"no such labels are there to be used: {strange[:3]}")
    calculations = {
        name: each for name, each in state.tasks.items() if each.task.phase is calculation
    }
    given_up = {name: each for name, each in calculations.items() if each.status is quarantined}
    update: dict[str, object] = {
        "tasks": {
            name: each
            for name, each in calculations.items()
            if name not in named and name not in given_up
        },
        "quarantine": {**state.quarantine, **given_up},
        "digests": _with(state.digests, Phase(digest.phase), digest),
        "row": None,
    }
    if isinstance(digest, ExplorationDigest):
        update["ladders"] = digest.ladders
        update["halted"] = {
            walker.key: walker for walker in digest.walkers if walker.restart is not None
        }
    if isinstance(digest, TrainingDigest):
        update["datasets"] = (*state.datasets, digest.dataset)
        update["measured"] = _on_one_test_set(state, digest)
        if digest.promoted:
            update["potential"] = digest.potential
    return state.model_copy(update=update)


def _on_one_test_set(state: WorkflowState, digest: TrainingDigest) -> tuple[PastErrors, ...]:
    """Every potential that was measured on the test set of this fit."""
    found = {past.cycle: past for past in digest.history}
    if state.potential is not None and digest.test_of_current is not None:
        before = state.potential.cycle
        found.setdefault(before, PastErrors(cycle=before, errors=digest.test_of_current))
    this = digest.potential.cycle
    found[this] = PastErrors(cycle=this, errors=digest.potential.test)
    return tuple(found[cycle] for cycle in sorted(found))


def _cycle_closed(state: WorkflowState, event: ev.CycleClosed) -> WorkflowState:
    _require(
        event.summary.cycle == state.cycle_index, state, event, f"the cycle is {state.cycle_index}"
    )
    return state.model_copy(
        update={
            "cycles": (*state.cycles, event.summary),
            "cycle_index": state.cycle_index + 1,
            "current_phase": None,
            "digests": {},
        }
    )


def _verdict_reached(state: WorkflowState, event: ev.VerdictReached) -> WorkflowState:
    return state.model_copy(update={"verdict": event.verdict, "verdict_reason": event.reason})


def _campaign_reopened(state: WorkflowState, event: ev.CampaignReopened) -> WorkflowState:
    """Go on where it ended.

    What was given up in an open phase is tried again, with its attempts counted anew.
    """
    _require(can_reopen(state), state, event, f"the verdict is {state.verdict}")
    is_open = state.current_phase is not None and state.current_phase not in state.digests
    given_up = {
        name: record
        for name, record in state.tasks.items()
        if record.status is TaskStatus.QUARANTINED
    }
    again = (
        {name: TaskRecord(task=record.task) for name, record in given_up.items()} if is_open else {}
    )
    # Tasks that have failed and are not given up keep their counts: journals of earlier versions go
    # on from them.
    return _mended(state).model_copy(
        update={
            "stage": Stage.WORKING if is_open else Stage.BETWEEN,
            "tasks": {**state.tasks, **again},
            "verdict": None,
            "verdict_reason": "",
            "first_cycle": event.first_cycle,
            "pause": None,
        }
    )


def _phase_redone(state: WorkflowState, event: ev.PhaseRedone) -> WorkflowState:
    """Go on in a new cycle from what was there before that phase.

    Bounds of convergence count from it.
    """
    _require(
        _can_go_back(state, event),
        state,
        event,
        "attempts are at work, or the campaign has gone on",
    )
    cycles = state.cycles if event.summary is None else (*state.cycles, event.summary)
    index = len(cycles)
    late = {
        label.task.id: TaskRecord(task=label.task, status=TaskStatus.DONE, outcome=label.outcome)
        for label in event.labels
    }
    digests = {Phase(digest.phase): digest for digest in event.digests}
    # More was asked for since those walkers walked: how they ended shows nothing of it.
    outdated = Phase.EXPLORATION in digests and event.cycle < state.quiet_from
    return state.model_copy(
        update={
            "cycles": cycles,
            "cycle_index": index,
            "current_phase": next(reversed(digests), None),
            "digests": digests,
            "tasks": late,
            "quarantine": {
                name: each for name, each in state.quarantine.items() if name not in late
            },
            "potential": event.potential,
            "datasets": event.datasets,
            "measured": event.measured,
            "halted": event.halted,
            "ladders": event.ladders,
            "to_label": _wanted_after(state, event),
            "verdict": None,
            "verdict_reason": "",
            "first_cycle": index,
            "quiet_from": index + outdated,
            "era": state.era + 1,
            "row": None,
        }
    )


def _wanted_after(state: WorkflowState, event: ev.PhaseRedone) -> tuple[Structure, ...]:
    """What is to be labelled, with what was added while the way back was worked out.

    It is not what has its label again.
    """
    wanted = {each.file.sha256: each for each in (*event.to_label, *state.to_label)}
    return tuple(each for sha256, each in wanted.items() if sha256 not in event.labelled)


def _effect_deferred(state: WorkflowState, event: ev.EffectDeferred) -> WorkflowState:
    earlier = state.deferrals.get(event.subject)
    deferral = Deferral(
        until=event.until,
        times=earlier.times + 1 if earlier else 1,
        message=event.message,
        refused=event.refused,
    )
    update: dict[str, object] = {"deferrals": _with(state.deferrals, event.subject, deferral)}
    if event.health is not None:
        update |= {"site": event.health, "site_message": event.message}
    return state.model_copy(update=update)


def _site_changed(state: WorkflowState, event: ev.SiteChanged) -> WorkflowState:
    return state.model_copy(update={"site": event.health, "site_message": event.message})


def _site_prepared(state: WorkflowState, event: ev.SitePrepared) -> WorkflowState:
    update = {
        "site": ev.SiteHealth.OK,
        "site_message": "",
        "site_prepared": True,
        "array_tasks_max": event.array_tasks_max,
    }
    return _undefer(state.model_copy(update=update), "site")


def _orphans_seen(state: WorkflowState, event: ev.OrphansSeen) -> WorkflowState:
    return state.model_copy(update={"orphans": event.jobs})


def _paused(state: WorkflowState, event: ev.Paused) -> WorkflowState:
    pause = Pause(by=event.by, at=event.at, reason=event.reason, mender=event.mender)
    update: dict[str, object] = {"pause": pause}
    if event.oracle:
        update["doubt"] = OracleDoubt(at=event.at, oracle=event.oracle)
    return state.model_copy(update=update)


def _resumed(state: WorkflowState, event: ev.Resumed) -> WorkflowState:
    """A person saw to it: what was put off is due at once, and that cause's failures are forgotten.

    A round that was held back by doubt begins now.
    """
    update: dict[str, object] = {"pause": None, "deferrals": {}}
    if state.doubt is not None and state.doubt.accepted_by is None:
        accepted = {"accepted_by": event.by, "accepted_because": event.reason}
        update |= {"doubt": state.doubt.model_copy(update=accepted), "phase_started_at": event.at}
    tasks = dict(state.tasks)
    for name in state.row.tasks if state.row is not None else ():
        if name in tasks:
            tasks[name] = _forgiven(
                state, event, tasks[name], cast("FailureRow", state.row).signature
            )
    for record in alone(state):
        tasks[record.task.id] = _forgiven(state, event, record, None)
    return _mended(state).model_copy(update={**update, "tasks": tasks})


def _mended(state: WorkflowState) -> WorkflowState:
    """No failure whose cause a person has looked after is held against the site or its nodes."""
    return state.model_copy(update={"row": None, "complaint": "", "trouble": None, "nodes": {}})


def _forgiven(
    state: WorkflowState, event: ev.Event, record: TaskRecord, signature: str | None
) -> TaskRecord:
    """Without the failures of these words; None: of all unknown causes."""
    failures = tuple(
        each
        for each in record.failures
        if (each.reason not in _UNKNOWN if signature is None else _signature(each) != signature)
    )
    anew = record.status is TaskStatus.FAILED and not failures
    forgiven = record.model_copy(update={"failures": failures})
    return _freed(state, event, forgiven) if anew else forgiven


def _unwanted(state: WorkflowState, event: ev.Event, record: TaskRecord) -> TaskRecord:
    """A cancelled task that has no live attempt any more."""
    failure = Failure(
        job_name=record.job_name or "", reason=Reason.CANCELLED, message="a person has cancelled it"
    )
    return _failed(state, event, record, failure)


def _freed(state: WorkflowState, event: ev.Event, record: TaskRecord) -> TaskRecord:
    """It may be submitted as if this attempt had never been."""
    if record.cancelled:
        return _unwanted(state, event, record)
    return _moved(state, event, record, TaskStatus.READY).model_copy(
        update={"job_name": None, "index": None, "detail": ""}
    )


def _moved(
    state: WorkflowState, event: ev.Event, record: TaskRecord, status: TaskStatus
) -> TaskRecord:
    """The record with another status, without the scheduler's word on an attempt that is over."""
    row = TASK_LIFE[record.status]
    if status not in row.get(type(event), ()):
        why = f"task {record.task.id} is {record.status}, which allows {_names(row)}"
        raise _illegal(state, event, f"{why}; here it would become {status}")
    return record.model_copy(update={"status": status, "job_state": None, "missing_since": None})


def _signature(failure: Failure) -> str:
    return signature(f"{failure.reason}: {failure.message}")


_HANDLERS: Mapping[type[ev.Event], Callable[[WorkflowState, ev.Event], WorkflowState]] = cast(
    "Mapping[type[ev.Event], Callable[[WorkflowState, ev.Event], WorkflowState]]",
    {
        ev.CampaignCreated: _campaign_created,
        ev.ClockStepped: _waits_anew,
        ev.DaemonStarted: _daemon_started,
        ev.DaemonStopped: _unchanged,
        ev.JournalRepaired: _unchanged,
        ev.JournalRebuilt: _unchanged,
        ev.OrphansSeen: _orphans_seen,
        ev.SettingsTaken: _settings_taken,
        ev.StructuresAdded: _structures_added,
        ev.PhaseStarted: _phase_started,
        ev.SubmissionBegun: _submission_begun,
        ev.SubmissionAccepted: _submission_accepted,
        ev.SubmissionRejected: _submission_rejected,
        ev.SubmissionUnclear: _submission_unclear,
        ev.SubmissionVoided: _submission_voided,
        ev.JobsSighted: _jobs_sighted,
        ev.TaskEnded: _task_ended,
        ev.AttemptLost: _attempt_lost,
        ev.TaskQuarantined: _task_quarantined,
        ev.TaskRetried: _task_retried,
        ev.TasksCancelled: _tasks_cancelled,
        ev.PhaseEnded: _phase_ended,
        ev.CycleClosed: _cycle_closed,
        ev.VerdictReached: _verdict_reached,
        ev.CampaignReopened: _campaign_reopened,
        ev.PhaseRedone: _phase_redone,
        ev.EffectDeferred: _effect_deferred,
        ev.SiteChanged: _site_changed,
        ev.SitePrepared: _site_prepared,
        ev.Paused: _paused,
        ev.Resumed: _resumed,
    },
)

# --- helpers --------------------------------------------------------------------------------------


def _attempt_failed(
    state: WorkflowState,
    event: ev.TaskEnded | ev.AttemptLost,
    batch: Batch,
    index: int,
    failure: Failure,
) -> WorkflowState:
    name = batch.tasks[index]
    record = state.tasks[name]
    update: dict[str, object] = {
        "tasks": _with(state.tasks, name, _failed(state, event, record, failure))
    }
    if record.cancelled:  # its end tells nothing of the site, nor of others
        return _attempt_closed(state.model_copy(update=update), batch, index)
    mender = MENDERS[failure.reason]
    if failure.reason is Reason.STORAGE:
        trouble = _again(state.trouble, failure.message, event.at, _in_trouble_for)
        update |= {
            "trouble": trouble,
            "site": ev.SiteHealth.DEGRADED,
            "site_message": failure.message,
        }
    if failure.reason is Reason.NODE_UNFIT and failure.node:
        unfit = _again(state.nodes.get(failure.node), failure.message, event.at, _unfit_for)
        update["nodes"] = _with(state.nodes, failure.node, unfit)
    if mender is Mender.PERSON:
        update["complaint"] = failure.message
    if failure.reason in SUSPECT and failure.message != ev.REBUILT:
        update["row"] = _longer(state.row, failure, name, f"{batch.job_name}.{index}")
    elif mender is Mender.TASK:
        update["row"] = None
    return _attempt_closed(state.model_copy(update=update), batch, index)


def _again(
    before: Trouble | None, message: str, at: datetime, lasts: Callable[[int], timedelta]
) -> Trouble:
    """Trouble that is met again; what comes of before it was left alone does not make it longer."""
    if before is not None and at < before.until:
        return before
    times = before.times + 1 if before is not None else 1
    return Trouble(until=at + lasts(times), times=times, message=message)


def _in_trouble_for(times: int) -> timedelta:
    return timedelta(seconds=min(_TROUBLE_S * 2 ** min(times - 1, 20), _TROUBLE_MAX_S))


def _unfit_for(times: int) -> timedelta:
    return timedelta(seconds=min(_UNFIT_S * 2 ** min(times - 1, 20), _UNFIT_MAX_S))


def _longer(row: FailureRow | None, failure: Failure, task: str, attempt: str) -> FailureRow:
    """The row with one more failure; another one if its words are others."""
    signature = _signature(failure)
    if row is None or row.signature != signature:
        row = FailureRow(signature=signature, message=failure.message, tasks=(), sources=())
    source = task if failure.reason is not Reason.NODE_UNFIT else failure.node or attempt
    return row.model_copy(
        update={
            "message": failure.message,
            "tasks": row.tasks if task in row.tasks else (*row.tasks, task),
            "sources": row.sources if source in row.sources else (*row.sources, source),
        }
    )


def _node_of(record: TaskRecord) -> str:
    """The one node that the scheduler last showed it on; empty if there is none or several."""
    where = record.detail.rpartition(" on ")[2]
    return where if where != record.detail and not set(where) & set("[], ") else ""


def _failed(
    state: WorkflowState, event: ev.Event, record: TaskRecord, failure: Failure
) -> TaskRecord:
    failures = _with_failure(record, failure)
    return _moved(state, event, record, TaskStatus.FAILED).model_copy(update={"failures": failures})


def _with_failure(record: TaskRecord, failure: Failure) -> tuple[Failure, ...]:
    before = record.failures
    alike = (
        bool(before)
        and before[-1].reason is failure.reason
        and before[-1].reached >= failure.reached
    )
    if alike and MENDERS[failure.reason] is not Mender.TASK:
        # a site may be in trouble for days: the last of these failures says it all
        before = before[:-1]
    return (*before, failure)


def _attempt_closed(state: WorkflowState, batch: Batch, index: int) -> WorkflowState:
    """Take the attempt out of its batch; forget a batch with nothing live in it."""
    live = batch.live - {index}
    state = _undefer(state, f"attempt:{batch.job_name}.{index}")
    if not live:
        return _forgotten(state, batch)
    smaller = batch.model_copy(update={"live": live})
    return state.model_copy(update={"batches": _with(state.batches, batch.job_name, smaller)})


def _forgotten(state: WorkflowState, batch: Batch) -> WorkflowState:
    """Without a batch, and without what is put off for it."""
    over = {
        f"batch:{batch.job_name}",
        f"cancel:{batch.job_name}",
        *(f"attempt:{batch.job_name}.{index}" for index in batch.live),
    }
    return state.model_copy(
        update={
            "batches": _without(state.batches, batch.job_name),
            "deferrals": {
                name: deferral for name, deferral in state.deferrals.items() if name not in over
            },
        }
    )


def _seen(record: TaskRecord, sighting: ev.Sighting, at: datetime) -> TaskRecord:
    """An absence may be a lie, an end is none.

    It has a grace of its own, in which its outcome may still show up.
    """
    before, now = record.job_state, sighting.state
    since = record.missing_since if before is now or now is ev.JobState.ABSENT else None
    gone = now in {ev.JobState.ENDED, ev.JobState.ABSENT}
    return record.model_copy(
        update={
            "job_state": now,
            "detail": sighting.detail,
            "missing_since": (since or at) if gone else None,
        }
    )


def _task(
    state: WorkflowState, event: ev.Event, name: str, tasks: Mapping[str, TaskRecord]
) -> TaskRecord:
    record = tasks.get(name)
    if record is None:
        raise _illegal(state, event, f"task {name} is unknown")
    return record


def _batch(state: WorkflowState, event: ev.Event, job_name: str) -> Batch:
    """The batch that the event is about, if its life allows the event."""
    batch = state.batches.get(job_name)
    if batch is None:
        raise _illegal(state, event, f"no live batch {job_name}")
    row = BATCH_LIFE[batch.status]
    if type(event) not in row:
        accepted = f" (it was accepted as {batch.job_id})" if batch.job_id is not None else ""
        raise _illegal(
            state, event, f"the batch is {batch.status}{accepted}, which allows {_names(row)}"
        )
    return batch


def _live_batch(state: WorkflowState, event: ev.Event, job_name: str, index: int) -> Batch:
    batch = _batch(state, event, job_name)
    _require(index in batch.live, state, event, f"attempt {job_name}.{index} is not live")
    return batch


def _undefer(state: WorkflowState, subject: str) -> WorkflowState:
    if subject not in state.deferrals:
        return state
    return state.model_copy(update={"deferrals": _without(state.deferrals, subject)})


def _with(mapping: Mapping[K, V], key: K, value: V) -> dict[K, V]:
    return {**mapping, key: value}


def _without(mapping: Mapping[K, V], key: K) -> dict[K, V]:
    return {name: value for name, value in mapping.items() if name != key}


def _require(holds: bool, state: WorkflowState, event: ev.Event, why: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise _illegal(state, event, why)


def _illegal(state: WorkflowState, event: ev.Event, why: str) -> IllegalTransition:
    where = (
        f"seq {state.seq}, cycle {state.cycle_index}, phase {state.current_phase}, stage"
        f" {state.stage}"
    )
    return IllegalTransition(
        f"{type(event).__name__} is not allowed here ({where}): {why}. {story(state, event)}"
    )


def _names(row: Mapping[type[ev.Event], object]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in row))
