"""Epochs under the root: a later daemon replaces an earlier; a campaign keeps out every other."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from mlip_autopipec.errors import CampaignLocked, OperatorError, TransientError
from mlip_autopipec.orchestration.ownership import Ownership
from mlip_autopipec.ports import Completed
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.transports.local import LocalTransport


def owner(root: Path, host: str) -> Ownership:
    """A daemon on a machine of its own that reaches the same root."""
    return Ownership(LocalTransport(root), SimulatedClock(), host=host, pid=7)


def test_the_later_daemon_holds_the_root(tmp_path: Path) -> None:
    """The earlier one is told who has replaced it.

    Until it holds anything, a daemon has nothing to lose.
    """
    first, second = owner(tmp_path, "login1"), owner(tmp_path, "login2")

    async def both() -> None:
        await first.check()
        await first.claim("copper-1")
        await first.check()
        await second.claim("copper-1")
        await second.check()
        with pytest.raises(CampaignLocked, match="pid 7 on login2"):
            await first.check()

    asyncio.run(both())


def test_a_daemon_that_was_replaced_finds_it_at_the_next_look(tmp_path: Path) -> None:
    """It looks now and then, for ever."""
    slept: list[float] = []

    class Clock(SimulatedClock):
        async def sleep(self, delay_s: float) -> None:
            slept.append(delay_s)
            if len(slept) == 3:
                await owner(tmp_path, "login2").claim("copper-1")

    async def replaced() -> None:
        first = Ownership(LocalTransport(tmp_path), Clock(), host="login1", pid=7)
        await first.claim("copper-1")
        with pytest.raises(CampaignLocked, match="login2"):
            await asyncio.wait_for(first.keep(60.0), 20)

    asyncio.run(replaced())
    assert slept == [60.0] * 3


def test_a_daemon_that_prepares_its_site_again_is_not_taken_for_another(tmp_path: Path) -> None:
    """Whoever looks while it makes its next epoch waits: it is not known as its own yet."""
    looked_amid: list[str] = []

    class Transport(LocalTransport):
        amid = False

        async def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0
        ) -> Completed:
            done = await super().run(argv, stdin=stdin, timeout_s=timeout_s)
            self.amid = True
            looks.append(asyncio.create_task(first.check()))
            for _ in range(5):
                await asyncio.sleep(0)
            self.amid = False
            return done

        async def names(self, folder: str) -> tuple[str, ...]:
            if self.amid:
                looked_amid.append(folder)
            return await super().names(folder)

    async def twice() -> None:
        await first.claim("copper-1")
        await first.claim("copper-1")
        await asyncio.gather(*looks)

    looks: list[asyncio.Task[None]] = []
    first = Ownership(Transport(tmp_path), SimulatedClock(), host="login1", pid=7)
    asyncio.run(twice())
    assert len(looks) == 2
    assert looked_amid == []


def test_a_claim_that_failed_halfway_is_no_other_daemon(tmp_path: Path) -> None:
    """Its folder may be there; the next one counts from it."""

    class Transport(LocalTransport):
        lost = False

        async def run(
            self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0
        ) -> Completed:
            done = await super().run(argv, stdin=stdin, timeout_s=timeout_s)
            if self.lost:
                raise TransientError("the answer was lost")
            return done

    async def halfway() -> None:
        transport = Transport(tmp_path)
        first = Ownership(transport, SimulatedClock(), host="login1", pid=7)
        await first.claim("copper-1")
        transport.lost = True
        with pytest.raises(TransientError):
            await first.claim("copper-1")
        transport.lost = False
        await first.check()
        await first.claim("copper-1")
        await first.check()

    asyncio.run(halfway())
    assert sorted(path.name for path in (tmp_path / ".ap/epochs").glob("0*")) == [
        "000001",
        "000002",
        "000003",
    ]


def test_a_root_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    """No command can run in it before."""
    root = tmp_path / "site" / "root"
    asyncio.run(owner(root, "login1").claim("copper-1"))
    assert (root / ".ap" / "epochs" / "000001" / "owner.json").exists()


def test_only_one_of_two_at_once_gets_an_epoch(tmp_path: Path) -> None:
    """Ten that start together hold ten epochs, or have been told to try again."""
    owners = [owner(tmp_path, f"login{number}") for number in range(10)]

    async def at_once() -> list[BaseException | None]:
        return await asyncio.gather(
            *(each.claim("copper-1") for each in owners), return_exceptions=True
        )

    claimed = [
        each._epoch
        for each, error in zip(owners, asyncio.run(at_once()), strict=True)
        if error is None
    ]
    assert claimed
    assert len(set(claimed)) == len(claimed)


def test_another_campaign_is_kept_out(tmp_path: Path) -> None:
    """It would mix two campaigns' files under one root."""

    async def two_campaigns() -> None:
        await owner(tmp_path, "login1").claim("copper-1")
        with pytest.raises(OperatorError, match="holds the campaign copper-1"):
            await owner(tmp_path, "login1").claim("copper-2")

    asyncio.run(two_campaigns())


@pytest.mark.parametrize("content", [b"", b"[]", b'{"campaign": "copper-1"}', b"\xff"])
def test_a_signature_that_cannot_be_read_is_told(tmp_path: Path, content: bytes) -> None:
    """By its path; it is nobody's to guess."""

    async def spoiled() -> None:
        await owner(tmp_path, "login1").claim("copper-1")
        (tmp_path / ".ap/epochs/000001/owner.json").write_bytes(content)
        with pytest.raises(
            OperatorError, match=r"000001/owner\.json under site\.root is no signature"
        ):
            await owner(tmp_path, "login2").claim("copper-1")

    asyncio.run(spoiled())
