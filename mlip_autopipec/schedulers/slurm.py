"""A Slurm cluster: ports.Scheduler over a Transport, and nothing else.

How one submission stays one is told in slurm_script. What is left to this module is patience:
nothing is given up before sbatch's own tries and the controller's answer can be over, and whatever
is not proved is Unclear.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from mlip_autopipec import framing
from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.events import JobState, QueuedJob, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.data_models.text import first_lines
from mlip_autopipec.errors import BugError, TransientError
from mlip_autopipec.ports import (
    Accepted,
    Answer,
    Clock,
    Limited,
    PostMortem,
    Rejected,
    Transport,
    Unclear,
    Void,
)
from mlip_autopipec.schedulers import slurm_script as script
from mlip_autopipec.schedulers import slurm_text as text
from mlip_autopipec.schedulers.seam import Surroundings

#: sbatch tries for 120 s by itself, and then waits for an answer.
QUIET_MIN = timedelta(seconds=150)
#: With a database that still says running, an element that the controller has forgotten is lost
#: after this long.
RUNAWAY = timedelta(minutes=10)
#: How often to look for sbatch's answer before the submission is Unclear: about 20 s, twice a usual
#: MessageTimeout.
_TURNS = 200
_TIMEOUT_S = 150.0
#: Elements of an array that one scancel is told of.
_CANCELLED_AT_ONCE = 500
_TAIL_BYTES = 4000


class SlurmScheduler:
    """Batches as job arrays.

    It is made of a transport whose commands run in `root`, the site's folder by its full path.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        options: SlurmQueue,
        payload: str,
        root: str,
        python: str,
        clock: Clock,
        nonce: framing.Nonce,
        phases: Mapping[Phase, SlurmQueue] = MappingProxyType({}),
    ) -> None:
        """`phases` are the options of those that have their own.

        `nonce` makes the mark of each call's answer.
        """
        self._transport = transport
        self._options = options
        self._phases = phases
        self._payload = payload
        self._root = root
        self._python = python
        self._clock = clock
        self._nonce = nonce
        self._quiet = QUIET_MIN
        #: job name → since when whole answers show nothing of it; with an index → since when only
        #: the database does.
        self._empty_since: dict[str, datetime] = {}
        self._forgotten_since: dict[tuple[str, int], datetime] = {}

    async def submit(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> Answer:
        """Stage the array and hand it over.

        Called again it reports; only a refusal for now lets sbatch run again.
        """
        await self._stage(batch, tasks, exclude)
        report = await self._hand_over(batch, after="none")
        if isinstance(report.answer, Limited) and not report.begun:
            report = await self._hand_over(batch, after=report.last)
        answer = report.answer
        if isinstance(answer, Limited) and not answer.degraded:
            return Limited(
                f"{answer.message} (the batch has {len(tasks)} tasks; site.scheduler.array_max"
                " bounds it)"
            )
        # sealed, so that nothing can come of it, whatever its words meant
        if isinstance(answer, Rejected):
            return await self._close(batch) or await self._explained(answer, tasks[0].phase)
        return answer

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Look everywhere. Void is sealed by the gate: a job that lands after it does nothing."""
        said = await self._ask(script.LOCATE, _folder(batch), batch.job_name)
        report = _Report.read(said)
        if isinstance(report.answer, Accepted):
            return report.answer
        if isinstance(report.answer, Rejected | Limited):
            return await self._give_up(batch, report.answer.message)
        if not report.last or report.gate == script.VOID:
            return await self._give_up(
                batch, "sbatch was not called" if not report.last else "it was given up"
            )
        return await self._look_up(batch, said)

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """One squeue for all batches.

        Raises TransientError with Slurm's words where its answer is an error.
        """
        if not batches:
            return {}
        said = await self._ask(script.SIGHT, ",".join(batch.job_name for batch in batches))
        # 10,000 take a quarter of a second
        return await asyncio.to_thread(_sightings, said, batches)

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """How an attempt ended: by squeue, by sacct if squeue forgot it, by what slurmstepd wrote.

        What is said to have ended is sealed, so that nothing comes of it any more.
        """
        said = await self._ask(
            script.AUTOPSY, _folder(batch), batch.job_name, str(index), str(_TAIL_BYTES)
        )
        key, sizes = (batch.job_name, index), {batch.job_name: len(batch.tasks)}
        queued = _queued(said)
        if queued is None:
            return None
        element = text.by_attempt(queued, sizes).get(key)
        if element is not None and element.state is not JobState.ENDED:
            return _sighting(*key, element)
        if element is None:
            element = text.by_attempt(_accounted(said), sizes).get(key)
        if element is not None and element.state is not JobState.ENDED:
            if self._may_be_late(key):
                return None
            element = None
        if "job" not in said.sections:
            return None  # torn: what it has left is not known
        self._forgotten_since.pop(key, None)
        await self._ask(script.SEAL, _folder(batch), batch.job_name, str(index))
        return text.judge_end(
            element, said.whole("slurm") or "", said.whole("job") or "", _signs(said)
        )

    async def roll(self, campaign: str) -> tuple[QueuedJob, ...] | None:
        """One squeue for all jobs of the user.

        Raises TransientError with Slurm's words where it fails.
        """
        said = await self._ask(script.ROLL)
        return await asyncio.to_thread(_roll, said, campaign)

    async def cancel(self, batch: Batch, only: frozenset[int] | None = None) -> None:
        """End a batch by its name, whether or not its id is known.

        A submission on its way is not stopped by this.
        """
        elements: list[str] = []
        if only is not None and len(batch.tasks) > 1:
            elements = [f"{batch.job_id}_{index}" for index in sorted(only)]
        for start in range(0, max(len(elements), 1), _CANCELLED_AT_ONCE):
            await self._ask(
                script.CANCEL, batch.job_name, *elements[start : start + _CANCELLED_AT_ONCE]
            )

    # --- submission -------------------------------------------------------------------------------

    async def _stage(
        self, batch: Batch, tasks: Sequence[Task], exclude: Sequence[str] = ()
    ) -> None:
        folder = _folder(batch)
        job = script.render_job(
            batch.job_name,
            tasks,
            self._phases.get(tasks[0].phase, self._options),
            root=self._root,
            folder=folder,
            python=self._python,
            payload=self._payload,
            exclude=exclude,
        )
        await self._transport.write(
            {
                f"{folder}/job.sh": job.encode(),
                f"{folder}/tasks.tsv": script.render_tasks(tasks).encode(),
            }
        )

    async def _explained(self, answer: Rejected, phase: Phase) -> Rejected:
        """The refusal; of a partition that is not there, with those that are."""
        asked = self._phases.get(phase, self._options).partition
        if asked is None or not text.is_of_partition(answer.message):
            return answer
        try:
            names = (await self._ask(script.PARTITIONS)).whole("partitions") or ""
        except TransientError:  # it only says more: the refusal stands without it
            return answer
        return replace(answer, remedy=f"{text.partition_hint(asked, names)}{answer.remedy}")

    async def _hand_over(self, batch: Batch, *, after: str) -> "_Report":
        return _Report.read(await self._ask(script.SUBMIT, _folder(batch), after, str(_TURNS)))

    async def _look_up(self, batch: Batch, said: text.FramedAnswer) -> Accepted | Void | Unclear:
        """By name, where no answer of sbatch is left.

        That nothing is found counts only once it has stayed so.
        """
        timeout_s = text.message_timeout_s(said.whole("config") or "")
        self._quiet = max(self._quiet, timedelta(seconds=2 * (timeout_s or 0)))
        queued = _queued(said)
        if queued is None:
            return Unclear("squeue gave no whole answer")
        if found := queued or _accounted(said):
            return Accepted(min((element.job_id for element in found), key=int))
        now = self._clock.now()
        sure_at = self._empty_since.setdefault(batch.job_name, now) + self._quiet
        if now < sure_at:
            return Unclear(
                f"Slurm does not know it, but it may be on its way until {sure_at:%H:%M:%S} UTC"
            )
        return await self._give_up(batch, "Slurm does not know it, and nothing is on its way")

    async def _give_up(self, batch: Batch, why: str) -> Accepted | Void:
        self._empty_since.pop(batch.job_name, None)
        return await self._close(batch) or Void(f"{why}; a job that lands from now on does nothing")

    async def _close(self, batch: Batch) -> Accepted | None:
        """Shut the gate for ever; the job, if one has come through before."""
        gate = (await self._ask(script.CLOSE, _folder(batch))).word("gate")
        if not gate:
            raise TransientError(f"the gate of {batch.job_name} can be neither shut nor read")
        return None if gate == script.VOID else Accepted(gate.removeprefix(script.BEGUN))

    def _may_be_late(self, key: tuple[str, int]) -> bool:
        """Whether a database that still says running may only be slow.

        It may also have missed the end.
        """
        now = self._clock.now()
        return now < self._forgotten_since.setdefault(key, now) + RUNAWAY

    async def _ask(self, command: str, *arguments: str) -> text.FramedAnswer:
        """Run one of the scripts. Raises TransientError if the shell could not do its work."""
        nonce = self._nonce()
        stdin = framing.scripted(nonce, command)
        completed = await self._transport.run(
            [*framing.SHELL, *arguments], stdin=stdin, timeout_s=_TIMEOUT_S
        )
        said = text.parse_answer(nonce, completed.stdout, completed.stderr)
        if completed.exit_status != 0:
            raise TransientError(
                said.errors or f"the site's shell ended with {completed.exit_status} and no word"
            )
        return said


@dataclass(frozen=True, slots=True)
class _Report:
    """What the folder of a batch says about its submission."""

    last: str  # number of the last try; empty: there is none
    begun: bool  # by this very call
    gate: str
    answer: Answer

    @classmethod
    def read(cls, said: text.FramedAnswer) -> "_Report":
        """Raises TransientError if the answer is torn."""
        if not {"gate", "try", "rc", "out", "err"} <= said.sections.keys():
            raise TransientError(f"the site's answer is torn; it begins: {said.begin}")
        gate = said.word("gate")
        return cls(said.word("try"), said.word("begun") == "yes", gate, _answer(gate, said))


def _answer(gate: str, said: text.FramedAnswer) -> Answer:
    """The gate knows best; then sbatch's own words."""
    if gate.startswith(script.BEGUN):
        return Accepted(gate.removeprefix(script.BEGUN))
    if gate == script.VOID:
        return Unclear("the submission was given up")
    status = said.word("rc")
    return text.classify_answer(
        int(status) if status.isdigit() else None, said.whole("out") or "", said.whole("err") or ""
    )


def _folder(batch: Batch) -> str:
    return f".ap/submit/{batch.job_name}"


def _queued(said: text.FramedAnswer) -> list[text.Element] | None:
    """What squeue shows; None if its answer was cut.

    Raises TransientError with its words if it failed, and with its first lines if it can't be read.
    """
    section = said.sections.get("squeue")
    if section is None:
        return None
    if section.status != 0:
        message = (
            said.errors
            or f"squeue ended with status {section.status} and wrote: {first_lines(section.text)}"
        )
        raise TransientError(message)
    elements = text.parse_squeue(section.text)
    if elements is None:
        raise TransientError(
            f"squeue's answer cannot be read; it begins: {first_lines(section.text)}"
        )
    return elements


def _roll(said: text.FramedAnswer, campaign: str) -> tuple[QueuedJob, ...] | None:
    """The jobs of a campaign; None if squeue's answer is not whole. Raises as `_queued` does."""
    elements = _queued(said)
    return None if elements is None else text.queued_jobs(elements, campaign)


def _sightings(
    said: text.FramedAnswer, batches: Sequence[Batch]
) -> dict[tuple[str, int], Sighting] | None:
    """Every live attempt as squeue shows it; None if its answer is not whole.

    Raises as `_queued` does.
    """
    elements = _queued(said)
    if elements is None:
        return None
    shown = text.by_attempt(elements, {batch.job_name: len(batch.tasks) for batch in batches})
    asked = [(batch.job_name, index) for batch in batches for index in sorted(batch.live)]
    return {key: _sighting(*key, shown.get(key)) for key in asked}


def _signs(said: text.FramedAnswer) -> text.Signs:
    claimed, disk = said.word("claimed"), said.sections.get("disk")
    return text.Signs(
        claimed=claimed == "yes" if claimed else None,
        record=said.whole("record") or "",
        disk=text.disk_message(disk.text) if disk is not None and disk.status != 0 else "",
    )


def _accounted(said: text.FramedAnswer) -> list[text.Element]:
    """What the database shows; nothing where there is none, or it does not answer."""
    return text.parse_sacct(said.whole("sacct") or "") or []


def _sighting(job_name: str, index: int, element: text.Element | None) -> Sighting:
    if element is None:
        return Sighting(
            job_name=job_name, index=index, state=JobState.ABSENT, detail="squeue does not show it"
        )
    return Sighting(job_name=job_name, index=index, state=element.state, detail=element.detail)


def make(site: Surroundings) -> SlurmScheduler:
    """As site.scheduler says, and site.resources of the phases that have words of their own."""
    options = site.section
    if not isinstance(options, SlurmQueue):
        raise BugError(f"the options of Slurm are those of {options.kind}")
    return SlurmScheduler(
        site.transport,
        options=options,
        phases={phase: asked.queue(options) for phase, asked in site.resources.items()},
        payload=site.payload,
        root=site.root,
        python=site.python,
        clock=site.clock,
        nonce=site.nonce,
    )
