"""How far running tasks are, in their own words: a fit's loss as it falls, a walker's steps.

The work half leaves a `progress.json` in a task's folder as it goes. It is for people who watch:
nothing is decided by it, and none of it is in the journal; what matters in the end is in the
outcome. So it is read with the least that can be: once per poll interval one read of a few small
files through the transport, while something runs, and never a word with the scheduler. What cannot
be read is not news: the reconciler tells of a site that is away.
"""

from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from mlip_autopipec.contract.progress import PROGRESS_MESSAGE_MAX, Progress
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import TaskRecord, TaskStatus, WorkflowState
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.ports import Clock, Transport

#: Tasks that are told of at a time; a person reads no more, and each is a file to be read.
SHOWN_MAX = 8
_PROGRESS = TypeAdapter(Progress)


class ProgressReader:
    """Knows how far the first few running tasks are. `observe` is an orchestration Observer."""

    def __init__(self, transport: Transport, clock: Clock, poll_interval_s: float) -> None:
        self._transport = transport
        self._clock = clock
        self._poll_interval_s = poll_interval_s
        self._state = WorkflowState()
        self._read: Mapping[str, Progress] = MappingProxyType({})

    def observe(self, _: ev.Event, state: WorkflowState) -> None:
        """Tasks are those of the last state."""
        self._state = state

    def current(self) -> Mapping[str, Progress]:
        """What was read last of the tasks that still run, by task."""
        tasks = self._state.tasks
        return {
            task: progress
            for task, progress in self._read.items()
            if task in tasks and _runs(tasks[task])
        }

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(self._poll_interval_s)

    async def look(self) -> None:
        """One read; none where nothing runs."""
        running = (record.task for record in self._state.tasks.values() if _runs(record))
        paths = {task.id: f"{task.workdir}/progress.json" for task in islice(running, SHOWN_MAX)}
        if not paths:
            self._read = {}
            return
        try:
            contents = await self._transport.read_many(list(paths.values()))
        except (TransientError, OperatorError):
            return
        self._read = {
            task: progress_of(contents[path]) for task, path in paths.items() if path in contents
        }


def progress_of(content: bytes) -> Progress:
    """What a file says; one that is not as it should be says that."""
    try:
        return _PROGRESS.validate_json(content)
    except ValidationError as error:
        why = error.errors(include_input=False)[0]["msg"]
        return Progress(
            done=0, message=f"progress.json is not as it should be: {why}"[:PROGRESS_MESSAGE_MAX]
        )


def _runs(record: TaskRecord) -> bool:
    return record.status is TaskStatus.SUBMITTED and record.job_state is ev.JobState.RUNNING
