"""A small campaign behind a real control server on a real Unix socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from mlip_autopipec.config.schemas.phases import ConvergenceSection
from mlip_autopipec.contract.generate import GenerateParameters, Prototype
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.control.limits import Limits
from mlip_autopipec.control.server import ControlServer, SettingsPort
from mlip_autopipec.control.task_files import SiteFiles
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.task import Task, make_task
from mlip_autopipec.orchestration.loop import Observer
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.policy import Policy

BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
POLICY = Policy(convergence=ConvergenceSection(), grace=timedelta(seconds=60))
CREATED = ev.CampaignCreated(
    at=BEGIN, campaign="copper-3f9a1c", name="copper", version="0", config_sha256="0" * 64
)


class StandClock:
    """Time stands still unless it is set."""

    def __init__(self) -> None:
        self.time = BEGIN

    def now(self) -> datetime:
        return self.time

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError(f"the control socket does not sleep, not even {delay_s} s")


class SmallWorkflow:
    """server.Workflow as WorkflowManager does it.

    An event is durable first, then published, with the observers, in one step.
    """

    def __init__(self, events: Sequence[ev.Event] = (CREATED,)) -> None:
        self.policy = POLICY
        self.state = WorkflowState()
        self.journal: list[tuple[int, ev.Event]] = []
        self.observers: list[Observer] = []
        self.disk = asyncio.Event()  # records wait for it; set: the disk is quick
        self.disk.set()
        self._turn = asyncio.Lock()
        for event in events:
            self.state = evolve(self.state, event)
            self.journal.append((self.state.seq, event))

    async def record(self, event: ev.Event, subject: str | None = None) -> bool:
        assert subject is None
        async with self._turn:
            after = evolve(self.state, event)
            await self.disk.wait()
            self.journal.append((after.seq, event))
            await asyncio.sleep(0)  # readers of the journal may be ahead of the state
            self.state = after
            for observe in self.observers:
                observe(event, after)
        return True

    def history(self, after: int) -> Iterator[tuple[int, ev.Event]]:
        yield from (record for record in list(self.journal) if record[0] > after)


class Stand:
    """A running server, and the ways to it."""

    def __init__(
        self,
        socket: Path,
        workflow: SmallWorkflow,
        limits: Limits | None = None,
        clock: StandClock | None = None,
        files: SiteFiles | None = None,
        settings: SettingsPort | None = None,
    ) -> None:
        self.socket = socket
        self.workflow = workflow
        self.stopped: list[tuple[str, ev.Actor]] = []
        self.progress: Mapping[str, Progress] = {}
        self.server = ControlServer(
            socket=socket,
            workflow=workflow,
            history=workflow.history,
            clock=clock or StandClock(),
            stop=lambda reason, actor: self.stopped.append((reason, actor)),
            version="1.2.3",
            progress=lambda: self.progress,
            limits=limits,
            files=files,
            settings=settings,
        )
        workflow.observers.append(self.server.observe)

    def connections(self) -> int:
        """How many clients are connected."""
        return len(self.server._server.connections) if self.server._server else 0

    async def request(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, Mapping[str, str], dict[str, object]]:
        """Status, headers and the JSON of an answer, by a client that knows nothing of ours."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session,
            session.request(method, f"http://any{path}", data=body) as response,
        ):
            return response.status, dict(response.headers), json.loads(await response.read())


@asynccontextmanager
async def running(
    folder: Path,
    workflow: SmallWorkflow | None = None,
    limits: Limits | None = None,
    clock: StandClock | None = None,
    files: SiteFiles | None = None,
    settings: SettingsPort | None = None,
) -> AsyncIterator[Stand]:
    """A stand whose server answers; it is stopped in good order at the end."""
    stand = Stand(
        folder / "control" / "socket", workflow or SmallWorkflow(), limits, clock, files, settings
    )
    started = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(stand.server.serve(started))
        await started.wait()
        yield stand
        serving.cancel()


def deferred(number: int, message: str = "later") -> ev.EffectDeferred:
    """An event that a campaign may always take; `number` tells them apart."""
    return ev.EffectDeferred(
        at=BEGIN, subject=f"s{number % 7}", message=f"{message} {number}", until=BEGIN
    )


def tasks(count: int) -> tuple[Task, ...]:
    """Tasks of the first phase."""
    parameters = GenerateParameters(
        prototypes=(Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6),),
        structures=1,
        test_structures=1,
        strain_max=0.1,
        rattle_angstrom=(0.1,),
        distance_min_angstrom=1.5,
        seed=1,
    )
    return tuple(make_task(0, Phase.GENERATION, index, parameters) for index in range(count))


def working(count: int) -> tuple[ev.Event, ...]:
    """A campaign with `count` tasks in its first phase, all of them in one accepted batch."""
    planned = tasks(count)
    job_name = "copper-3f9a1c.c000.generation.b00"
    return (
        CREATED,
        ev.PhaseStarted(at=BEGIN, cycle=0, phase=Phase.GENERATION, tasks=planned),
        ev.SubmissionBegun(at=BEGIN, job_name=job_name, tasks=tuple(task.id for task in planned)),
        ev.SubmissionAccepted(at=BEGIN, job_name=job_name, job_id="4711"),
    )
