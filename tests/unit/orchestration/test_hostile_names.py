"""Names on the site that are no files: they end their own attempt at most, and hold nothing up."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.stages import walk

from mlip_autopipec.contract.files import NoRegularFile, read_regular
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.errors import CampaignLocked, OperatorError
from mlip_autopipec.orchestration.effects import Effects
from mlip_autopipec.orchestration.ownership import Ownership
from mlip_autopipec.orchestration.progress import ProgressReader
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.ports import Accepted, PostMortem
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
async def test_an_outcome_that_is_no_file_ends_its_attempt(
    running: Walk, tmp_path: Path, kind: str
) -> None:
    """And the daemon goes on."""
    job_name = next(iter(running.state.batches))
    (tmp_path / "outbox").mkdir()
    NO_FILES[kind](tmp_path / "outbox" / f"{job_name}.0.json")

    async def nothing() -> None:
        """No site to prepare."""

    effects = Effects(
        phase_runners(copper_config()),
        Gone(),
        LocalTransport(tmp_path),
        SimulatedClock(),
        prepare=nothing,
    )

    event = await effects.carry_out(cm.InquireAttempt(job_name=job_name, index=0), running.state)

    assert isinstance(event, ev.AttemptLost)
    assert event.reason is Reason.BAD_OUTCOME
    assert f"{job_name}.0.json is no regular file" in event.message


@pytest.mark.parametrize("kind", NO_FILES)
async def test_progress_that_is_no_file_hides_no_other(
    running: Walk, tmp_path: Path, kind: str
) -> None:
    """The others' is shown."""
    job_name, batch = next(iter(running.state.batches.items()))
    sightings = [
        ev.Sighting(job_name=job_name, index=index, state=ev.JobState.RUNNING) for index in (0, 1)
    ]
    running.tell(ev.JobsSighted(at=running.now, sightings=tuple(sightings)))
    reader = ProgressReader(LocalTransport(tmp_path), SimulatedClock(), 1.0)
    reader.observe(running.events[-1], running.state)
    folders = [tmp_path / running.state.tasks[batch.tasks[index]].task.workdir for index in (0, 1)]
    for folder in folders:
        folder.mkdir(parents=True)
    NO_FILES[kind](folders[0] / "progress.json")
    (folders[1] / "progress.json").write_text('{"done": 0.5, "words": "half"}', encoding="utf-8")

    await asyncio.wait_for(reader.look(), timeout=10)

    assert [progress.message for progress in reader.current().values()] == ["half"]


@pytest.mark.parametrize("kind", NO_FILES)
async def test_a_signature_that_is_no_file_is_told(tmp_path: Path, kind: str) -> None:
    """At the start by name, with what to do; a daemon that runs ends, as another has taken over."""
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


class Taken(SimulatedCluster):
    """Takes whatever it is given."""

    def __init__(self) -> None:
        pass

    async def submit(self, batch: object, tasks: object, exclude: object = ()) -> Accepted:
        del batch, tasks, exclude
        return Accepted("17")


#: Names that the daemon writes as it submits; something else may have any of them.
WRITTEN = (
    "cycles",
    "{workdir}",
    "{workdir}/task.json",
    ".ap/submit",
    ".ap/submit/{job_name}",
    ".ap/submit/{job_name}/intent.json",
)
IN_THE_WAY: dict[str, Callable[[Path], None]] = {
    "folder": Path.mkdir,
    "file": Path.touch,
    **NO_FILES,
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("name", WRITTEN)
async def test_a_name_of_ours_that_something_else_has_is_told_and_waited_for(
    tmp_path: Path, name: str, kind: str
) -> None:
    """No start ends by it.

    The batch waits, with the name in words, and goes on once that is moved away.
    """
    campaign = walk()
    campaign.until(lambda state: bool(state.batches))
    job_name, batch = next(iter(campaign.state.batches.items()))
    path = tmp_path / name.format(
        job_name=job_name, workdir=campaign.state.tasks[batch.tasks[0]].task.workdir
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    IN_THE_WAY[kind](path)
    before = path.lstat()

    async def nothing() -> None:
        """No site to prepare."""

    transport = LocalTransport(tmp_path)
    effects = Effects(
        phase_runners(copper_config()), Taken(), transport, SimulatedClock(), prepare=nothing
    )
    event = await effects.carry_out(cm.SubmitBatch(job_name=job_name), campaign.state)
    if isinstance(event, ev.EffectDeferred):
        assert path.name in event.message
        assert "Move away" in event.message
        assert event.health is ev.SiteHealth.DEGRADED
        after = path.lstat()
        assert (after.st_ino, after.st_mode, after.st_size) == (
            before.st_ino,
            before.st_mode,
            before.st_size,
        )
        path.rename(path.with_name("moved"))
        event = await effects.carry_out(cm.SubmitBatch(job_name=job_name), campaign.state)
    assert isinstance(event, ev.SubmissionAccepted)
    files = await transport.names(f".ap/submit/{job_name}")
    assert "intent.json" in files


async def test_a_site_whose_names_are_taken_is_waited_for(tmp_path: Path) -> None:
    """The same for what is placed there once, at the start."""
    (tmp_path / ".ap").touch()
    campaign, transport = walk(), LocalTransport(tmp_path)

    async def prepare() -> None:
        await transport.write({".ap/payload.pyz": b"work half"})

    effects = Effects(
        phase_runners(copper_config()), Taken(), transport, SimulatedClock(), prepare=prepare
    )
    event = await effects.carry_out(cm.PrepareSite(), campaign.state)
    assert isinstance(event, ev.EffectDeferred)
    assert ".ap" in event.message


async def test_a_root_without_rights_is_for_a_person(tmp_path: Path) -> None:
    """Nothing passes there by itself, and no task runs yet: the start ends with the words."""

    async def prepare() -> None:
        raise OperatorError("the site's files: Permission denied")

    effects = Effects(
        phase_runners(copper_config()),
        Taken(),
        LocalTransport(tmp_path),
        SimulatedClock(),
        prepare=prepare,
    )
    with pytest.raises(OperatorError, match="Permission denied"):
        await effects.carry_out(cm.PrepareSite(), walk().state)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Of what was opened to find out that it is no file."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - its iterator would be one more
    for kind, make in NO_FILES.items():
        make(tmp_path / kind)
        with pytest.raises(NoRegularFile, match="no regular file"):
            read_regular(tmp_path / kind, size_max=1)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
