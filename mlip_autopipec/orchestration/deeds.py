"""Deeds on the site: what in a campaign's past follows from neither its site file nor its outcomes.

`journal rebuild` walks the core along intents and outcomes. What people did in between (settings,
structures, ways back, reopenings, retries, cancellations), what was given up, how a round closed
that left labels behind, and verdicts, it could only guess. So these events lie beside the intents
as they stand in the journal, each with where the campaign stood as it happened. They are written
before any later submission: what rests on a deed is never there without it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Model, Phase
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.orchestration.reading import read_pages
from mlip_autopipec.ports import Clock, Transport

_FOLDER = ".ap/deeds"
_KINDS = (
    ev.SettingsTaken,
    ev.StructuresAdded,
    ev.PhaseRedone,
    ev.CampaignReopened,
    ev.TaskRetried,
    ev.TasksCancelled,
    ev.TaskQuarantined,
    ev.VerdictReached,
)
_PER_FILE_MAX = 200
_AGAIN_S = 30.0
#: After so many events without a deed it is written down how far the journal was looked through.
_EVENTS_MAX = 5000
#: A phase that has not begun stands before the first.
_PHASES = (None, *Phase)


class Whereabouts(Model):
    """Between which two decisions a campaign stands, after how many submissions of its phase."""

    cycle: int = 0
    phase: Phase | None = None
    is_over: bool = Field(default=False, description="the phase has its digest")
    has_verdict: bool = False
    batches: int = 0

    def is_of(self, other: "Whereabouts") -> bool:
        """Whether no decision lies between the two; submissions may."""
        return self.model_copy(update={"batches": 0}) == other.model_copy(update={"batches": 0})

    def is_after(self, other: "Whereabouts") -> bool:
        """Whether the phase of the other has ended by then."""
        return _order(self) > _order(other)


def _order(standing: Whereabouts) -> tuple[int, int, bool]:
    return standing.cycle, _PHASES.index(standing.phase), standing.is_over


def whereabouts_of(state: WorkflowState) -> Whereabouts:
    """Where the campaign stands."""
    phase = state.current_phase
    return Whereabouts(
        cycle=state.cycle_index,
        phase=phase,
        is_over=phase in state.digests,
        has_verdict=state.verdict is not None,
        batches=state.batches_begun if phase is not None and phase not in state.digests else 0,
    )


def moved(standing: Whereabouts, event: ev.Event) -> Whereabouts:  # noqa: PLR0911 - one per kind of event
    """The standing after an event; what `whereabouts_of` says of the state that it leads to."""
    match event:
        case ev.PhaseStarted():
            return Whereabouts(cycle=event.cycle, phase=event.phase)
        case ev.SubmissionBegun():
            return standing.model_copy(update={"batches": standing.batches + 1})
        case ev.PhaseEnded():
            return standing.model_copy(update={"is_over": True, "batches": 0})
        case ev.CycleClosed():
            return Whereabouts(cycle=standing.cycle + 1)
        case ev.VerdictReached():
            return standing.model_copy(update={"has_verdict": True})
        case ev.CampaignReopened():
            return standing.model_copy(update={"has_verdict": False})
        case ev.PhaseRedone():
            phase = Phase(event.digests[-1].phase) if event.digests else None
            cycle = standing.cycle + (event.summary is not None)
            return Whereabouts(cycle=cycle, phase=phase, is_over=phase is not None)
        case _:
            return standing


class Deed(Model):
    """One event, and where the campaign stood as it happened."""

    standing: Whereabouts
    event: Annotated[ev.Event, Field(discriminator="type")]


class DeedFile(Model):
    """Some deeds of a campaign in their order."""

    campaign: str
    first: int = Field(description="number of the first of them, from 0")
    deeds: tuple[Deed, ...]
    seq: int = Field(description="number of the last event of the journal that was looked at")
    standing: Whereabouts = Field(description="after that event")


def is_deed(event: ev.Event) -> bool:
    """Whether an event can't be worked out from the site file and outcomes."""
    if isinstance(event, ev.PhaseEnded):
        digest = event.digest
        return isinstance(digest, CalculationDigest) and bool(digest.awaited or digest.late)
    return isinstance(event, _KINDS)


class _Noted(NamedTuple):
    """A deed, the number of its event, and the standing after it."""

    deed: Deed
    seq: int
    after: Whereabouts


def deed_files(campaign: str, events: Iterable[tuple[int, ev.Event]]) -> list[DeedFile]:
    """The deeds of a whole journal, whose events come with their numbers."""
    return _files(campaign, 0, _noted(events, Whereabouts()))


def _noted(events: Iterable[tuple[int, ev.Event]], standing: Whereabouts) -> list[_Noted]:
    found = []
    for seq, event in events:
        after = moved(standing, event)
        if is_deed(event):
            found.append(_Noted(Deed(standing=standing, event=event), seq, after))
        standing = after
    return found


def _files(campaign: str, first: int, noted: Sequence[_Noted]) -> list[DeedFile]:
    files = []
    for start in range(0, len(noted), _PER_FILE_MAX):
        part = noted[start : start + _PER_FILE_MAX]
        deeds = tuple(each.deed for each in part)
        files.append(
            DeedFile(
                campaign=campaign,
                first=first + start,
                deeds=deeds,
                seq=part[-1].seq,
                standing=part[-1].after,
            )
        )
    return files


def contents_of(files: Iterable[DeedFile], generation: int) -> dict[str, bytes]:
    """Files as they lie under the root."""
    return {
        f"{_FOLDER}/{generation:03d}/{file.first:06d}.json": (
            file.model_dump_json(indent=1) + "\n"
        ).encode()
        for file in files
    }


async def deeds_on_site(transport: Transport) -> tuple[int, tuple[DeedFile, ...]]:
    """The newest generation of deeds and its files, in order; -1 and none if no daemon kept any.

    Each journal that was rebuilt begins a generation: its events have other numbers. Raises
    OperatorError for a file that is none.
    """
    generation = await _newest(transport)
    if generation < 0:
        return generation, ()
    folder = f"{_FOLDER}/{generation:03d}"
    names = [name for name in await transport.names(folder) if name.endswith(".json")]
    contents: dict[str, bytes] = {}
    async for found in read_pages(transport, [f"{folder}/{name}" for name in names]):
        contents.update(found)
    files = sorted(
        (_file(path, content) for path, content in contents.items()), key=lambda file: file.first
    )
    whole: list[DeedFile] = []
    for file in files:
        expected = whole[-1].first + len(whole[-1].deeds) if whole else 0
        if file.first != expected:
            raise OperatorError(
                f"{folder} on the site lacks a file: deed {expected} is not there, and deed"
                f" {file.first} is. Bring it back from a copy of site.root"
            )
        whole.append(file)
    return generation, tuple(whole)


async def _newest(transport: Transport) -> int:
    return max((int(name) for name in await transport.names(_FOLDER) if name.isdigit()), default=-1)


def _file(path: str, content: bytes) -> DeedFile:
    try:
        return DeedFile.model_validate_json(content)
    except ValidationError as error:
        raise OperatorError(
            f"{path} on the site holds no deeds of this program:"
            f" {error.errors(include_url=False)[0]['msg']}"
        ) from error


class DeedKeeper:
    """Keeps the deeds of a running campaign on its site."""

    def __init__(
        self,
        transport: Transport,
        state: WorkflowState,
        past: Callable[[int, int], Awaitable[Sequence[tuple[int, ev.Event]]]],
    ) -> None:
        """`past` gives the events of the journal above one number and up to another.

        It is asked once at most.
        """
        self._transport = transport
        self._campaign = state.campaign
        self._began_seq = self._seq = state.seq
        self._standing = whereabouts_of(state)
        self._past = past
        self._new: list[_Noted] = []
        self._generation = 0
        self._last: DeedFile | None = None
        self._looked = False
        self._begins = False  # a generation, which is there from its first file on
        self._lock = asyncio.Lock()
        self._due = asyncio.Event()
        self._may_begin(state)

    def observe(self, event: ev.Event, state: WorkflowState) -> None:
        """An event is durable, and this is the state after it."""
        after = whereabouts_of(state)
        if is_deed(event):
            self._new.append(_Noted(Deed(standing=self._standing, event=event), state.seq, after))
        if self._new or isinstance(event, ev.SitePrepared):
            self._may_begin(state)
        self._standing, self._seq = after, state.seq

    def _may_begin(self, state: WorkflowState) -> None:
        """Not before the root is known as this campaign's: it may be another's, and is refused."""
        if state.site_prepared or state.stage is Stage.ENDED:
            self._due.set()

    async def keep(self) -> None:
        """Bring to the site what is not there yet.

        Raises what the transport raises; it is done the next time then.
        """
        async with self._lock:
            if not self._looked:
                await self._look()
            new = self._new
            first = self._last.first + len(self._last.deeds) if self._last is not None else 0
            files = _files(self._campaign, first, new)
            known = self._last.seq if self._last is not None else 0
            if not files and (self._begins or self._seq - known > _EVENTS_MAX):
                files = [
                    DeedFile(
                        campaign=self._campaign,
                        first=first,
                        deeds=(),
                        seq=self._seq,
                        standing=self._standing,
                    )
                ]
            if files:
                await self._transport.write(contents_of(files, self._generation))
                self._last, self._new, self._begins = files[-1], self._new[len(new) :], False

    async def run(self, clock: Clock) -> None:
        """Keep what happens soon after it has, for ever.

        A site that does not answer is asked again.
        """
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self.keep()
            except (TransientError, OperatorError, TimeoutError):  # who submits is told of it
                self._due.set()
                await clock.sleep(_AGAIN_S)

    async def _look(self) -> None:
        """See what earlier daemons have kept.

        Another journal than theirs begins a generation, and so does damage.
        """
        generation = await _newest(self._transport)
        try:
            _, files = await deeds_on_site(self._transport)
            last = files[-1] if files else None
        except OperatorError:
            generation, last = generation + 1, None
        if last is not None and (last.campaign != self._campaign or last.seq > self._began_seq):
            generation, last = generation + 1, None
        begin = (last.seq, last.standing) if last is not None else (0, Whereabouts())
        missing = _noted(await self._past(begin[0], self._began_seq), begin[1])
        self._generation, self._last, self._begins = (
            max(generation, 0),
            last,
            last is None and generation > 0,
        )
        self._new, self._looked = [*missing, *self._new], True
