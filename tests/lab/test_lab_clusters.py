"""The site files of config/clusters, with the lab's names put in: Slurm takes what they become."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.files import TOP
from kit.lab import running_lab
from kit.slurm_lab import Lab

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.config.schemas.site import ResourcesSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.data_models.base import Phase, RunsOn

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
#: What is another's on every cluster, or more than the lab has.
ELSEWHERE = {"account": None, "qos": None, "constraint": None}
SMALL = {
    **ELSEWHERE,
    "partition": None,
    "ranks": 1,
    "cores": 1,
    "gpus": 0,
    "memory": 200,
    "walltime": 600,
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The cluster; Slurm's commands of this process speak to it."""
    with running_lab() as settings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", settings["SLURM_CONF"])
        yield Lab(Path(settings["AUTOPIPEC_LAB"]))


@pytest.mark.parametrize(
    "path", sorted((TOP / "config" / "clusters").glob("*.yaml")), ids=lambda path: path.stem
)
def test_slurm_takes_the_jobs_of_a_cluster_s_site_file(
    lab: Lab, tmp_path: Path, path: Path
) -> None:
    """Every phase that has jobs, by `sbatch --test-only`: nothing is submitted."""
    spec = importlib.util.spec_from_file_location(
        "job_scripts", TOP / "docs" / "hooks" / "job_scripts.py"
    )
    assert spec is not None
    assert spec.loader is not None
    job_scripts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job_scripts)
    config = on_the_lab(load_config(path).config, tmp_path)
    for phase in (Phase.EXPLORATION, Phase.CALCULATION, Phase.TRAINING):
        assert config.site.resources[phase].where is RunsOn.QUEUE
        job = tmp_path / f"{phase}.sh"
        job.write_text(job_scripts.script(config, phase))
        lab.run("sbatch", "--test-only", str(job))


def on_the_lab(config: WorkflowConfig, root: Path) -> WorkflowConfig:
    """With the lab's names, and as little as it has."""
    scheduler = config.site.scheduler
    assert isinstance(scheduler, SlurmQueue)
    site = config.site.model_copy(
        update={
            "root": root,
            "scheduler": scheduler.model_copy(update={**ELSEWHERE, "partition": "main"}),
            "resources": {
                phase: config.site.resources.get(phase, ResourcesSection()).model_copy(update=SMALL)
                for phase in Phase
            },
        }
    )
    return config.model_copy(update={"site": site})
