"""A queue without Slurm: ports.Scheduler over detached processes at the other end of a transport.

All that is done, is done there, by the work half's `queue` command (see
`work/queue/local_queue.py`, also for how one submission stays one); this is its words over the
wire. An answer that is lost is a TransientError, and looked up.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from mlip_autopipec.contract.local_queue import (
    CANCEL,
    LOCATE,
    POST_MORTEM,
    ROLL,
    SIGHT,
    SUBMIT,
    AttemptName,
    BatchName,
    BatchSpec,
    CampaignName,
    Handed,
    LiveBatch,
    LiveBatches,
    SeenAttempt,
    TaskSpec,
    UnwantedBatch,
    Verb,
)
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.events import JobState, QueuedJob, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.data_models.text import answer_in, first_lines
from mlip_autopipec.data_models.words import tidied
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Accepted, PostMortem, Rejected, Transport, Unclear, Void
from mlip_autopipec.ports import Answer as SubmitAnswer
from mlip_autopipec.schedulers.seam import Surroundings

_TIMEOUT_S = 60.0
Q = TypeVar("Q")
A = TypeVar("A")


class LocalScheduler:
    """Runs batches there, `cores` at a time (None: all it has), after the phase's lines of bash."""

    def __init__(
        self,
        transport: Transport,
        *,
        root: str,
        cores: int | None,
        payload: str,
        python: str,
        prologue: Callable[[Phase], Sequence[str]] = lambda _: (),
    ) -> None:
        self._transport = transport
        self._root = root
        self._cores = cores
        self._payload = payload
        self._python = python
        self._prologue = prologue

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> SubmitAnswer:
        """Start the runner of a batch, once ever, and wait until it has said who it is."""
        del exclude
        said = await self._ask(SUBMIT, self.spec(batch, tasks), self._prologue(tasks[0].phase))
        return Rejected(said.rejected) if said.rejected is not None else _accepted(said)

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Look for the runner; where none has begun, make sure that none ever will."""
        said = await self._ask(LOCATE, BatchName(job_name=batch.job_name))
        return Void(said.void) if said.void is not None else _accepted(said)

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """Where every live attempt stands, by the runners' files and the process table."""
        if not batches:
            return {}
        live = (
            LiveBatch(job_name=each.job_name, live=tuple(sorted(each.live))) for each in batches
        )
        said = await self._ask(SIGHT, LiveBatches(batches=tuple(live)))
        return {(seen.job_name, seen.index): _sighting(seen) for seen in said.sightings}

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """How an attempt ended: the runner's word if it wrote one, else lost with the runner."""
        if index not in batch.live:
            return None
        said = await self._ask(POST_MORTEM, AttemptName(job_name=batch.job_name, index=index))
        if said.sighting is not None:
            return _sighting(said.sighting)
        return None if said.reason is None else _post_mortem(said.reason, said.message or "")

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        """Every runner of the campaign that is known to live."""
        said = await self._ask(ROLL, CampaignName(campaign=campaign))
        return tuple(
            QueuedJob(job_name=each.job_name, job_id=each.job_id, detail=each.detail)
            for each in said.jobs
        )

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        """Ask the runner to end its tasks; what has outlived its runner is told directly."""
        live = tuple(sorted(batch.live if only is None else only))
        unwanted = UnwantedBatch(job_name=batch.job_name, live=live, only=only is not None)
        await self._ask(CANCEL, unwanted)

    def spec(self, batch: Batch, tasks: Sequence[Task]) -> BatchSpec:
        """What the runner reads: batch.json."""
        return BatchSpec(
            job_name=batch.job_name,
            python=self._python,
            payload=self._payload,
            cores=self._cores,
            tasks=tuple(
                TaskSpec(
                    index=index,
                    id=task.id,
                    workdir=task.workdir,
                    cores=task.resources.cores * task.resources.ranks,
                    threads=task.resources.cores,
                    walltime_s=task.resources.walltime_s,
                    memory_mib=task.resources.memory_mib,
                )
                for index, task in enumerate(tasks)
            ),
        )

    async def _ask(self, verb: Verb[Q, A], question: Q, prologue: Sequence[str] = ()) -> A:
        """The queue's answer.

        Raises TransientError if there is none: whether it has done anything is not known.
        """
        command = [
            self._python,
            f"{self._root}/{self._payload}",
            "queue",
            "--root",
            self._root,
            verb.name,
        ]
        if prologue:
            script = "\n".join((*prologue, 'cd -- "$0" && exec "$@"'))
            command = ["bash", "-l", "-c", script, self._root, *command]
        try:
            done = await self._transport.run(
                command, stdin=json.dumps(plain(question)).encode(), timeout_s=_TIMEOUT_S
            )
        except OSError as error:  # a command of this machine that is not there
            raise TransientError(
                f"the queue of {self._root} could not be asked: {error}"
            ) from error
        answer = answer_in(done.stdout) if done.exit_status == 0 else None
        if answer is None:
            message = " ".join(done.stderr.decode("utf-8", "replace").split())[-500:]
            raise TransientError(
                f"the queue of {self._root} gave no answer (exit status {done.exit_status}):"
                f" {message}; it begins: {first_lines(done.stdout.decode('utf-8', 'replace'))}"
            )
        try:
            return read(verb.answer, tidied(answer))
        except (ValueError, RecursionError) as error:
            raise TransientError(
                f"the answer of the queue of {self._root} is not as it should be: {error}"
            ) from error


def make(site: Surroundings) -> LocalScheduler:
    """As site.scheduler says; if it names none, all cores but one, and of two both."""
    return runners(site, site.section.cores_max())


def runners(site: Surroundings, cores: int | None) -> LocalScheduler:
    """Tasks on the machine that the transport leads to, on so many cores at a time."""
    return LocalScheduler(
        site.transport,
        root=site.root,
        cores=cores,
        payload=site.payload,
        python=site.python,
        prologue=site.prologue,
    )


def _accepted(said: Handed) -> Accepted | Unclear:
    return (
        Accepted(said.accepted)
        if said.accepted is not None
        else Unclear(said.unclear or "the queue did not say")
    )


def _sighting(seen: SeenAttempt) -> Sighting:
    return Sighting(
        job_name=seen.job_name, index=seen.index, state=JobState(seen.state), detail=seen.detail
    )


def _post_mortem(reason: str, message: str) -> PostMortem:
    """How an attempt ended; a reason unknown to this program is a loss, told with its word."""
    try:
        return PostMortem(Reason(reason), message)
    except ValueError:
        return PostMortem(
            Reason.LOST, f"it ended for a reason that is not known, {reason!r}: {message}"
        )
