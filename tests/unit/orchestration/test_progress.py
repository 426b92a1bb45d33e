"""What running tasks say of themselves reaches people, at the price of one small read per poll."""

from collections.abc import Sequence

import pytest

from mlip_autopipec.contract.progress import PROGRESS_MESSAGE_MAX, Progress
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.errors import TransientError
from mlip_autopipec.orchestration.progress import SHOWN_MAX, ProgressReader, progress_of
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.testing.walk import Walk

LOSS = b'{"done": 0.3, "words": "stage 1 of 2, iteration 40: loss 0.0123, 4.56 meV/atom, 78.9 meV/\xc3\x85"}'  # noqa: E501 - text for another program


class CountedTransport(MemoryTransport):
    """Counts what is asked of the site, and may be out of reach."""

    def __init__(self) -> None:
        super().__init__(disturb=self.count)
        self.asked: list[str] = []
        self.away = False

    async def count(self, operation: str) -> None:
        self.asked.append(operation)
        if self.away:
            raise TransientError("the line is cut")


class Stand:
    """A campaign at its first training, or another phase, and the reader that watches it."""

    def __init__(self, phase: Phase = Phase.TRAINING, structures: int = 2) -> None:
        config = copper_config(generation={"structures": structures})
        self.campaign = Walk(config, phase_runners(config))
        self.batch = self.campaign.submitted(phase)
        self.transport = CountedTransport()
        self.reader = ProgressReader(self.transport, SimulatedClock(), 30)

    def see(self, state: ev.JobState, indices: Sequence[int] = (0,)) -> None:
        """The scheduler shows attempts so, and the reader hears of it."""
        sightings = tuple(
            ev.Sighting(job_name=self.batch.job_name, index=index, state=state) for index in indices
        )
        self.tell(ev.JobsSighted(at=self.campaign.now, sightings=sightings))

    def tell(self, event: ev.Event) -> None:
        self.reader.observe(event, self.campaign.tell(event))

    def put(self, index: int, content: bytes) -> str:
        """A progress.json in the folder of a task; the task's name."""
        task = self.campaign.state.tasks[self.batch.tasks[index]].task
        self.transport.files[f"{task.workdir}/progress.json"] = content
        return task.id


async def test_the_loss_of_a_running_fit_is_known() -> None:
    """By one read; and no more once the fit has ended."""
    stand = Stand()
    task = stand.put(0, LOSS)
    stand.see(ev.JobState.RUNNING)
    await stand.reader.look()
    progress = Progress(
        done=0.3, message="stage 1 of 2, iteration 40: loss 0.0123, 4.56 meV/atom, 78.9 meV/Å"
    )
    assert stand.reader.current() == {task: progress}
    assert stand.transport.asked == ["read_many", "read_many"]  # before and after: one operation
    stand.tell(stand.campaign.ended(stand.batch.job_name, 0))
    assert stand.reader.current() == {}


@pytest.mark.parametrize("state", [ev.JobState.WAITING, ev.JobState.HELD, ev.JobState.ENDED])
async def test_nothing_is_asked_while_nothing_runs(state: ev.JobState) -> None:
    """A file that an attempt before has left is no news of one that waits."""
    stand = Stand()
    stand.put(0, LOSS)
    await stand.reader.look()
    stand.see(state)
    await stand.reader.look()
    assert (stand.reader.current(), stand.transport.asked) == ({}, [])


async def test_no_more_files_are_read_than_a_person_reads() -> None:
    """The first of many running tasks, all by one read; those that say nothing are left out."""
    stand = Stand(Phase.CALCULATION, structures=3 * SHOWN_MAX)
    running = range(1, 2 * SHOWN_MAX)
    found = {stand.put(index, LOSS) for index in running}
    stand.see(ev.JobState.RUNNING, running)
    stand.transport.files.pop(min(stand.transport.files))
    await stand.reader.look()
    assert len(stand.reader.current()) == SHOWN_MAX - 1
    assert stand.reader.current().keys() < found
    assert stand.transport.asked == ["read_many", "read_many"]


async def test_a_site_that_is_away_takes_nothing_down() -> None:
    """What was known last stays, for as long as the task runs."""
    stand = Stand()
    task = stand.put(0, LOSS)
    stand.see(ev.JobState.RUNNING)
    await stand.reader.look()
    stand.transport.away = True
    await stand.reader.look()
    assert stand.reader.current().keys() == {task}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"done": 2, "words": ""}',
        b'{"done": 0.1}',
        b'{"done": 1, "words": "%s"}' % (b"x" * 5000),
        b"\xff",
    ],
)
def test_a_file_that_is_not_as_it_should_be_says_so(content: bytes) -> None:
    """Whoever watches sees that there is something wrong, in bounded words."""
    progress = progress_of(content)
    assert progress.message.startswith("progress.json is not as it should be: ")
    assert len(progress.message) <= PROGRESS_MESSAGE_MAX
