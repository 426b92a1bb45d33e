"""Ordinary days of a real Slurm: a partition that is inactive, a node that is sick. No task pays.

A whole campaign of such days is in test_lab_passing.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.lab import running_lab
from kit.slurm_lab import Lab, Site, partition

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.data_models.base import Mender, Reason
from mlip_autopipec.data_models.events import JobState
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.ports import Accepted, Limited, PostMortem, Rejected

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
SICK = SlurmQueue(
    kind="slurm",
    prologue=('[ "$SLURMD_NODENAME" != lab2 ] || { echo "lab2 has no modules"; exit 1; }',),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The cluster; Slurm's commands and the schedulers of this process speak to it."""
    with running_lab() as settings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", settings["SLURM_CONF"])
        yield Lab(Path(settings["AUTOPIPEC_LAB"]))


async def ends(site: Site, batch: Batch) -> dict[int, PostMortem]:
    """How each element without an outcome has ended, once all are over."""
    await site.until(batch, JobState.ENDED)
    done = {outcome.index for outcome in site.outcomes()}
    found = {
        index: await site.scheduler.post_mortem(batch, index) for index in sorted(batch.live - done)
    }
    assert all(isinstance(each, PostMortem) for each in found.values())
    return {index: each for index, each in found.items() if isinstance(each, PostMortem)}


async def test_a_partition_that_takes_nothing_is_waited_for(tmp_path: Path, lab: Lab) -> None:
    """In Slurm's words; the same batch is taken as soon as it is up again."""
    site = Site(tmp_path / "inactive")
    batch, tasks = site.batch(2)
    with partition(lab, "inactive"):
        said = await site.scheduler.submit(batch, tasks)
        assert isinstance(said, Limited)
        assert said.degraded
        assert "inactive or drain" in said.message
    assert isinstance(await site.scheduler.submit(batch, tasks), Accepted)
    assert await ends(site, batch) == {}


async def test_a_sick_node_is_named_and_kept_out(tmp_path: Path, lab: Lab) -> None:
    """Whatever died there before the work half began is the node's fault.

    The next batch runs elsewhere.
    """
    del lab
    site = Site(tmp_path / "sick", options=SICK)
    batch, tasks = site.batch(6)
    assert isinstance(await site.scheduler.submit(batch, tasks), Accepted)
    found = await ends(site, batch)
    assert found
    assert {(each.reason, each.node) for each in found.values()} == {(Reason.NODE_UNFIT, "lab2")}
    assert all("lab2 has no modules" in each.message for each in found.values())
    again = site.stage(tasks, 1)
    assert isinstance(await site.scheduler.submit(again, tasks, ("lab2",)), Accepted)
    assert await ends(site, again) == {}


async def test_without_any_node_left_slurm_says_so(tmp_path: Path, lab: Lab) -> None:
    """In words that the daemon reads with the excluded nodes in mind."""
    del lab
    site = Site(tmp_path / "nowhere")
    batch, tasks = site.batch(1)
    said = await site.scheduler.submit(batch, tasks, ("lab1", "lab2"))
    assert isinstance(said, Rejected)
    assert (said.mender, said.by_size) == (Mender.PERSON, True)
