"""What a state knows of an event's subject, in words: for the message of an event not allowed."""

from collections import Counter
from collections.abc import Iterator, Sized

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import TaskRecord, WorkflowState

#: Of tasks, failures and so on: the first or last ones, beyond which a message says no more to a
#: person.
_SHOWN = 3
_MESSAGE_MAX = 120


def story(state: WorkflowState, event: ev.Event) -> str:
    """Sentences on each batch and task `event` is about; on the campaign where it is about none."""
    subjects = (
        *(_of_batch(state, job_name) for job_name in _batches(event)),
        *(_of_task(state, each) for each in _tasks(state, event)),
    )
    return " ".join(subjects or (_of_campaign(state),))


def _batches(event: ev.Event) -> tuple[str, ...]:
    match event:
        case (
            ev.SubmissionAccepted()
            | ev.SubmissionRejected()
            | ev.SubmissionUnclear()
            | ev.SubmissionVoided()
        ):
            return (event.job_name,)
        case ev.AttemptLost():
            return (event.job_name,)
        case ev.TaskEnded():
            return (event.outcome.job_name,)
        case ev.JobsSighted():
            return tuple(dict.fromkeys(sighting.job_name for sighting in event.sightings))[:_SHOWN]
        case _:
            return ()


def _tasks(state: WorkflowState, event: ev.Event) -> tuple[str, ...]:
    match event:
        case ev.SubmissionBegun():
            return event.tasks[:_SHOWN]
        case ev.TaskQuarantined() | ev.TaskRetried():
            return (event.task,)
        case ev.TaskEnded():
            return (event.outcome.task,)
        case ev.AttemptLost():
            batch = state.batches.get(event.job_name)
            return (
                (batch.tasks[event.index],)
                if batch is not None and event.index < len(batch.tasks)
                else ()
            )
        case _:
            return ()


def _of_batch(state: WorkflowState, job_name: str) -> str:
    batch = state.batches.get(job_name)
    if batch is not None:
        job = f" as job {batch.job_id}" if batch.job_id is not None else ""
        live = ", ".join(map(str, sorted(batch.live)[:_SHOWN])) + _more(batch.live)
        count = f"{len(batch.live)} of its {len(batch.tasks)} attempts are live ({live})"
        return f"Batch {job_name} is {batch.status}{job}; {count}."
    known = [
        record
        for record in (*state.tasks.values(), *state.quarantine.values())
        if record.job_name == job_name
    ]
    if not known:
        return (
            f"Batch {job_name} was never begun, or all of its tasks are done with or were tried"
            " again."
        )
    ends = ", ".join(f"{record.task.id} {record.status}" for record in known[:_SHOWN])
    return f"Batch {job_name} is over: {ends}{_more(known)}."


def _more(of: Sized) -> str:
    return " …" if len(of) > _SHOWN else ""


def _of_task(state: WorkflowState, name: str) -> str:
    record = state.tasks.get(name)
    if record is None:
        record = state.quarantine.get(name)
        if record is None:
            return f"Task {name} was never planned, or is done with."
        return f"Task {name} was given up with an earlier round{_history(record)}."
    return f"Task {name} is {record.status}{_history(record)}."


def _history(record: TaskRecord) -> str:
    return "".join(f"; {part}" for part in _parts(record))


def _parts(record: TaskRecord) -> Iterator[str]:
    if record.job_name is not None:
        yield f"its last attempt is {record.job_name}.{record.index}"
    if record.job_state is not None:
        yield f"whose job is {record.job_state}"
    if record.missing_since is not None:
        yield f"and missed since {record.missing_since:%Y-%m-%d %H:%M:%S} UTC"
    if record.cancelled:
        yield "a person has cancelled it"
    if record.failures:
        last = ", ".join(
            f"{each.reason} ({each.message[:_MESSAGE_MAX]})" for each in record.failures[-_SHOWN:]
        )
        yield f"failures so far: {len(record.failures)}, last of all {last}"


def _of_campaign(state: WorkflowState) -> str:
    if not state.campaign:
        return "No campaign has begun."
    tasks = Counter(record.status.value for record in state.tasks.values())
    counted = ", ".join(f"{number} {status}" for status, number in sorted(tasks.items())) or "none"
    digested = ", ".join(state.digests) or "none"
    verdict = (
        f" Its verdict is {state.verdict}: {state.verdict_reason}."
        if state.verdict is not None
        else ""
    )
    return (
        f"Campaign {state.campaign} has closed {len(state.cycles)} cycles, and of the next these"
        f" phases: {digested}; tasks: {counted}; live batches: {len(state.batches)}.{verdict}"
    )
