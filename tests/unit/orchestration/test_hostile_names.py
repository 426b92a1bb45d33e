"""Names on the site that are no files: they end their own attempt at most, and hold nothing up."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from machine_stand import walk

from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.errors import CampaignLocked, OperatorError
from mlip_autopipec.orchestration.effects import Effects
from mlip_autopipec.orchestration.ownership import Ownership
from mlip_autopipec.orchestration.progress import ProgressReader
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import PostMortem
from mlip_autopipec.regular import read_regular
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.cluster import SimulatedCluster
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk
from mlip_autopipec.transports.local import LocalTransport

NO_FILES: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "fifo": os.mkfifo,
    "loop": lambda path: path.symlink_to(path),
    "link": lambda path: path.symlink_to("/etc/hostname"),
    "device": lambda path: path.symlink_to("/dev/zero"),
}


class Gone(SimulatedCluster):
    """Every attempt has ended."""

    def __init__(self) -> None:
        pass

    async def post_mortem(self, batch: object, index: int) -> PostMortem:
        del batch, index
        return PostMortem(Reason.LOST, "gone")


@pytest.fixture
def running() -> Walk:
    """The calculations of the bootstrap run."""
    campaign = walk()
    campaign.submitted(Phase.CALCULATION)
    return campaign


@pytest.mark.parametrize("kind", NO_FILES)
async def test_an_outcome_that_is_no_file_ends_its_attempt(running: Walk, tmp_path: Path, kind: str) -> None:
    """And the daemon goes on."""
    uid = next(iter(running.state.batches))
    (tmp_path / "outbox").mkdir()
    NO_FILES[kind](tmp_path / "outbox" / f"{uid}.0.json")

    async def nothing() -> None:
        """No site to prepare."""

    effects = Effects(
        phase_runners(copper_config()), Gone(), LocalTransport(tmp_path), SimulatedClock(), prepare=nothing
    )

    event = await effects.carry_out(cm.InquireAttempt(uid=uid, index=0), running.state)

    assert isinstance(event, ev.AttemptLost)
    assert event.reason is Reason.BAD_OUTCOME
    assert f"{uid}.0.json is no regular file" in event.message


@pytest.mark.parametrize("kind", NO_FILES)
async def test_progress_that_is_no_file_hides_no_other(running: Walk, tmp_path: Path, kind: str) -> None:
    """The others' is shown."""
    uid, batch = next(iter(running.state.batches.items()))
    sightings = [ev.Sighting(uid=uid, index=index, state=ev.JobState.RUNNING) for index in (0, 1)]
    running.tell(ev.JobsSighted(at=running.now, sightings=tuple(sightings)))
    reader = ProgressReader(LocalTransport(tmp_path), SimulatedClock(), 1.0)
    reader.observe(running.events[-1], running.state)
    folders = [tmp_path / running.state.tasks[batch.tasks[index]].task.workdir for index in (0, 1)]
    for folder in folders:
        folder.mkdir(parents=True)
    NO_FILES[kind](folders[0] / "progress.json")
    (folders[1] / "progress.json").write_text('{"done": 0.5, "words": "half"}', encoding="utf-8")

    await asyncio.wait_for(reader.look(), timeout=10)

    assert [progress.words for progress in reader.current().values()] == ["half"]


@pytest.mark.parametrize("kind", NO_FILES)
async def test_a_signature_that_is_no_file_is_told(tmp_path: Path, kind: str) -> None:
    """At the start by its name and with what to do; a daemon that runs ends, as another has taken over."""
    first = Ownership(LocalTransport(tmp_path), SimulatedClock(), host="login1", pid=1)
    await first.claim("copper-1")
    later = tmp_path / ".ap" / "epochs" / "000002"
    later.mkdir()
    NO_FILES[kind](later / "owner.json")

    with pytest.raises(CampaignLocked, match="no signature that can be read"):
        await asyncio.wait_for(first.check(), timeout=10)
    second = Ownership(LocalTransport(tmp_path), SimulatedClock(), host="login2", pid=2)
    with pytest.raises(OperatorError, match=r"000002/owner\.json .* remove \.ap/epochs/000002"):
        await asyncio.wait_for(second.claim("copper-1"), timeout=10)


async def test_names_that_are_no_epochs_count_for_nothing(tmp_path: Path) -> None:
    """Digits of other scripts, and numbers that no daemon reaches."""
    for name in ("²", "٣", "9" * 200, "one", "-1", "000000.old"):
        (tmp_path / ".ap" / "epochs" / name).mkdir(parents=True)
    owner = Ownership(LocalTransport(tmp_path), SimulatedClock(), host="login1", pid=1)

    await owner.claim("copper-1")

    assert (tmp_path / ".ap" / "epochs" / "000001" / "owner.json").exists()


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Of what was opened to find out that it is no file."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - its iterator would be one more
    for kind, make in NO_FILES.items():
        make(tmp_path / kind)
        with pytest.raises(OperatorError, match="no regular file"):
            read_regular(tmp_path / kind, size_max=1)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
