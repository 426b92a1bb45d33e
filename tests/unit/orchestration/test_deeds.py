"""What people have done, kept on the site beside the submissions."""

import asyncio
from collections.abc import Sequence

import pytest

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.orchestration.deeds import (
    Deed,
    DeedKeeper,
    Whereabouts,
    contents_of,
    deed_files,
    deeds_on_site,
    is_deed,
    moved,
    whereabouts_of,
)
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.testing.walk import Walk

ADA = ev.Actor(uid=1000, pid=1, name="ada")


def journal() -> list[ev.Event]:
    """A whole campaign, reopened in the middle and at its end."""
    walk = Walk(copper_config(), phase_runners(copper_config()))
    for _ in range(2):
        walk.until(lambda state: state.stage is Stage.ENDED)
        first = len(walk.state.cycles)
        walk.tell(ev.CampaignReopened(at=walk.now, by=ADA, reason="more", first_cycle=first))
    return walk.events


class Campaign:
    """A journal that grows, its site, and the keeper of each daemon's life."""

    def __init__(self, events: Sequence[ev.Event]) -> None:
        self.events, self.transport = list(events), MemoryTransport()
        self.state, self.asked = WorkflowState(), list[int]()

    def keeper(self) -> DeedKeeper:
        return DeedKeeper(self.transport, self.state, self._past)

    async def _past(self, after: int, until: int) -> Sequence[tuple[int, ev.Event]]:
        self.asked.append(until - after)
        return list(enumerate(self.events, start=1))[after:until]

    def go_on(self, number: int, keeper: DeedKeeper | None = None) -> None:
        """Fold so many events in."""
        for event in self.events[self.state.seq : self.state.seq + number]:
            self.state = evolve(self.state, event)
            if keeper is not None:
                keeper.observe(event, self.state)

    async def kept(self) -> list[Deed]:
        _, files = await deeds_on_site(self.transport)
        return [deed for file in files for deed in file.deeds]


def test_a_standing_moves_with_the_events_as_the_state_does() -> None:
    """So that the deeds of a long journal are found without folding it."""
    state, standing = WorkflowState(), Whereabouts()
    for event in journal():
        state, standing = evolve(state, event), moved(standing, event)
        assert standing == whereabouts_of(state)


@pytest.mark.parametrize("lives", [1, 3, 11])
async def test_every_deed_is_kept_once_however_often_the_daemon_dies(lives: int) -> None:
    """Those that a life left behind are kept by the next one.

    It reads no more of the journal than it must.
    """
    campaign = Campaign(journal())
    length = len(campaign.events) // lives
    for life in range(lives + 1):
        keeper = campaign.keeper()
        campaign.go_on(length, keeper)
        if life % 2 == 0:
            await keeper.keep()
    await campaign.keeper().keep()
    assert [deed.event for deed in await campaign.kept()] == [
        event for event in campaign.events if is_deed(event)
    ]


async def test_what_was_not_written_is_written_the_next_time() -> None:
    """A line that is cut loses nothing and doubles nothing."""
    campaign, cuts = Campaign(journal()), iter([False, False, True, True, False, True])

    async def disturb(_: str) -> None:
        if next(cuts, False):
            raise TransientError("the line is cut")

    files, campaign.transport = campaign.transport.files, MemoryTransport(disturb=disturb)
    campaign.transport.files = files
    keeper = campaign.keeper()
    campaign.go_on(len(campaign.events), keeper)
    for _ in range(4):
        try:
            await keeper.keep()
        except TransientError:
            continue
    assert [deed.event for deed in await campaign.kept()] == [
        event for event in campaign.events if is_deed(event)
    ]


async def test_nothing_is_kept_before_the_root_is_known_as_the_campaigns() -> None:
    """It may be another campaign's with no journal: this daemon is refused, and leaves none."""
    (created, *_) = journal()
    at = created.at
    taken = ev.SettingsTaken(at=at, by=ev.DAEMON, config_sha256="0", settings={})
    started = ev.DaemonStarted(
        at=at, version="0", host="login1", pid=1, config_sha256="0", payload_sha256="0"
    )
    campaign = Campaign([created, taken, started, ev.SitePrepared(at=at)])
    campaign.go_on(3)
    keeper = campaign.keeper()
    running = asyncio.create_task(keeper.run(SimulatedClock()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert campaign.transport.files == {}
    campaign.go_on(1, keeper)
    for _ in range(20):
        await asyncio.sleep(0)
    assert [deed.event for deed in await campaign.kept()] == [taken]
    running.cancel()


async def test_an_older_journal_begins_a_generation() -> None:
    """As one that was brought back from a copy: what was kept since is not its past."""
    campaign = Campaign(journal())
    files = deed_files("", list(enumerate(campaign.events, start=1)))
    campaign.transport.files |= contents_of(
        [file.model_copy(update={"campaign": "copper-3f9a1c"}) for file in files], 0
    )
    campaign.go_on(len(campaign.events) // 2)
    await campaign.keeper().keep()
    generation, _ = await deeds_on_site(campaign.transport)
    past = campaign.events[: campaign.state.seq]
    assert generation == 1
    assert [deed.event for deed in await campaign.kept()] == [
        event for event in past if is_deed(event)
    ]


@pytest.mark.parametrize("damage", [b"{", b'{"campaign": 1}', None])
async def test_files_that_cannot_be_read_stop_a_rebuild_and_no_daemon(damage: bytes | None) -> None:
    """It is told which, and a daemon, which has the journal, writes all of them anew."""
    campaign = Campaign(journal())
    campaign.go_on(len(campaign.events))
    whole = deed_files("copper-3f9a1c", list(enumerate(campaign.events, start=1)))
    (only,) = contents_of(whole, 0)
    campaign.transport.files |= contents_of(
        [whole[0].model_copy(update={"first": 1})] if damage is None else whole, 0
    )
    if damage is not None:
        campaign.transport.files[only] = damage
    with pytest.raises(
        OperatorError, match="holds no deeds of this program" if damage else "lacks a file: deed 0"
    ):
        await deeds_on_site(campaign.transport)
    await campaign.keeper().keep()
    assert [deed.event for deed in await campaign.kept()] == [
        event for event in campaign.events if is_deed(event)
    ]
