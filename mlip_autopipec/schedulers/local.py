"""A queue without Slurm: ports.Scheduler over detached processes of the machine at the other end of a transport.

All that is done, is done there, by the work half's `queue` command (see `work/queue/local_queue.py`, also for how one
submission stays one); this is its words over the wire. An answer that is lost is a TransientError, and looked up.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.events import QueuedJob, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.data_models.text import answer_in, first_lines
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Accepted, PostMortem, Rejected, Transport, Unclear, Void
from mlip_autopipec.ports import Answer as SubmitAnswer
from mlip_autopipec.schedulers.local_text import RunnerAnswer, read_answer
from mlip_autopipec.schedulers.seam import Surroundings

_TIMEOUT_S = 60.0


class LocalScheduler:
    """Runs batches there, `cores` at a time (None: as many as it has), after the phase's lines of bash."""

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

    async def submit(self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()) -> SubmitAnswer:
        """Start the runner of a batch, once ever, and wait until it has said who it is."""
        del exclude
        said = await self._ask("submit", self.spec(batch, tasks), self._prologue(tasks[0].phase))
        return Rejected(said.rejected) if said.rejected is not None else _accepted(said)

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Look for the runner; where none has begun, make sure that none ever will."""
        said = await self._ask("locate", {"uid": batch.uid})
        return Void(said.void) if said.void is not None else _accepted(said)

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """Where every live attempt stands, by the runners' files and the process table."""
        if not batches:
            return {}
        said = await self._ask("sight", {"batches": [_live(batch) for batch in batches]})
        return {(sighting.uid, sighting.index): sighting for sighting in said.sightings}

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """How an attempt ended: the runner's word if it wrote one, else lost with the runner."""
        if index not in batch.live:
            return None
        said = await self._ask("post_mortem", {"uid": batch.uid, "index": index})
        return said.sighting or said.post_mortem

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        """Every runner of the campaign that is known to live."""
        said = await self._ask("roll", {"campaign": campaign})
        return said.jobs

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        """Ask the runner to end its tasks; what has outlived its runner is told directly."""
        whole = _live(batch)
        await self._ask("cancel", whole if only is None else {**whole, "live": sorted(only), "only": True})

    def spec(self, batch: Batch, tasks: Sequence[Task]) -> dict[str, Any]:
        """What the runner reads: batch.json."""
        return {
            "uid": batch.uid,
            "python": self._python,
            "payload": self._payload,
            "cores": self._cores,
            "tasks": [
                {
                    "index": index,
                    "id": task.id,
                    "workdir": task.workdir,
                    "cores": task.resources.cores * task.resources.ranks,
                    "threads": task.resources.cores,
                    "walltime_s": task.resources.walltime_s,
                    "memory_mib": task.resources.memory_mib,
                }
                for index, task in enumerate(tasks)
            ],
        }

    async def _ask(self, verb: str, question: Mapping[str, Any], prologue: Sequence[str] = ()) -> RunnerAnswer:
        """The queue's answer. Raises TransientError if there is none: whether it has done anything is not known."""
        command = [self._python, f"{self._root}/{self._payload}", "queue", "--root", self._root, verb]
        if prologue:
            script = "\n".join((*prologue, 'cd -- "$0" && exec "$@"'))
            command = ["bash", "-l", "-c", script, self._root, *command]
        try:
            done = await self._transport.run(command, stdin=json.dumps(question).encode(), timeout_s=_TIMEOUT_S)
        except OSError as error:  # a command of this machine that is not there
            raise TransientError(f"the queue of {self._root} could not be asked: {error}") from error
        answer = answer_in(done.stdout) if done.exit_status == 0 else None
        if answer is None:
            words = " ".join(done.stderr.decode("utf-8", "replace").split())[-500:]
            raise TransientError(
                f"the queue of {self._root} gave no answer (exit status {done.exit_status}): {words};"
                f" it begins: {first_lines(done.stdout.decode('utf-8', 'replace'))}"
            )
        try:
            return read_answer(answer)
        except ValueError as error:
            raise TransientError(f"the queue of {self._root} gave no answer that can be read: {error}") from error


def make(site: Surroundings) -> LocalScheduler:
    """As site.scheduler says; all cores but one if it names none."""
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


def _accepted(said: RunnerAnswer) -> Accepted | Unclear:
    return Accepted(said.accepted) if said.accepted is not None else Unclear(said.unclear or "the queue did not say")


def _live(batch: Batch) -> dict[str, Any]:
    return {"uid": batch.uid, "live": sorted(batch.live)}
