"""From a site file to its scheduler: looked up by its kind, and made of the site."""

from pathlib import Path

from mlip_autopipec.config.schemas.schedulers import LocalQueue, SlurmQueue
from mlip_autopipec.config.schemas.site import ResourcesSection, SiteSection
from mlip_autopipec.data_models.base import Phase, RunsOn
from mlip_autopipec.process import SystemClock
from mlip_autopipec.schedulers.local import LocalScheduler
from mlip_autopipec.schedulers.routing import RoutingScheduler
from mlip_autopipec.schedulers.slurm import SlurmScheduler
from mlip_autopipec.site import adapters


def test_without_a_queue_every_task_runs_on_the_machine(tmp_path: Path) -> None:
    """On as many cores as the section names."""
    site = SiteSection(root=tmp_path, scheduler=LocalQueue(cores=3))
    made = adapters(site, ".ap/payload.pyz", SystemClock()).scheduler
    assert isinstance(made, LocalScheduler)
    assert made._cores == 3


def test_beside_a_queue_the_login_node_runs_what_says_so(tmp_path: Path) -> None:
    """On cores of its own; a phase's own words to sbatch come before those of the site."""
    resources = {Phase.TRAINING: ResourcesSection(partition="fat", prologue=("module load b",))}
    queue = SlurmQueue(partition="std", prologue=("module load a",))
    site = SiteSection(root=tmp_path, scheduler=queue, resources=resources, login_cores=2)
    made = adapters(site, ".ap/payload.pyz", SystemClock()).scheduler
    assert isinstance(made, RoutingScheduler)
    slurm, login = made._schedulers[RunsOn.QUEUE], made._schedulers[RunsOn.LOGIN]
    assert isinstance(slurm, SlurmScheduler)
    assert isinstance(login, LocalScheduler)
    assert login._cores == 2
    assert slurm._options == queue
    assert slurm._phases[Phase.TRAINING].partition == "fat"
    assert slurm._phases[Phase.TRAINING].prologue == ("module load a", "module load b")
