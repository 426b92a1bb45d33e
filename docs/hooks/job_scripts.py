"""docs/reference/job-scripts.md: the sbatch scripts that the site files of config/clusters become.

Run it from the checkout: python docs/hooks/job_scripts.py > docs/reference/job-scripts.md
"""

from pathlib import Path

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.config.schemas.site import ResourcesSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.data_models.base import Phase, RunsOn
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.schedulers.slurm_script import render_job

CLUSTERS = Path(__file__).parents[2] / "config" / "clusters"
#: What each file shows, by its name.
SHOWN = {
    "modules-qe": ("Modules, and pw.x under srun", Phase.CALCULATION),
    "second-factor": ("A second factor", Phase.EXPLORATION),
    "packed-python": ("A packed Python or a container", Phase.CALCULATION),
    "gpu-pacemaker": ("A partition of GPUs, for the fits", Phase.TRAINING),
}
_TASKS = {Phase.CALCULATION: 20, Phase.EXPLORATION: 3, Phase.TRAINING: 1}


def page() -> str:
    """The whole page."""
    parts = [
        "# Job scripts",
        "",
        "What Slurm is given for the site files of `config/clusters/`, made by",
        (
            "`python docs/hooks/job_scripts.py > docs/reference/job-scripts.md`; a test holds it to"
            " the code."
        ),
        (
            "Each array element does nothing unless it is the first ever to take its task: that is"
            " how a job that was"
        ),
        "submitted twice by an answer that went missing runs once.",
        (
            "Replace the names in a file by yours, and try it: `autopipecctl config check`, then"
            " `autopipecctl doctor`,"
        ),
        (
            "which also asks Slurm (`sbatch --test-only`) whether it would take the jobs of every"
            " phase."
        ),
        (
            "With their names replaced, a real Slurm takes the jobs of all four; none of these"
            " kinds of cluster has run"
        ),
        "a campaign of ours yet.",
        "",
    ]
    for name, (title, phase) in SHOWN.items():
        config = load_config(CLUSTERS / f"{name}.yaml").config
        parts += [f"## {title}", "", f"`config/clusters/{name}.yaml`, {phase}:", "", "```bash"]
        parts += [script(config, phase).rstrip("\n"), "```", ""]
    return "\n".join(parts)


def script(config: WorkflowConfig, phase: Phase) -> str:
    """What sbatch is given for the tasks of a phase.

    Raises TypeError where it has no job of Slurm's.
    """
    site, name = config.site, config.campaign.name
    asked = site.resources.get(phase, ResourcesSection())
    if not isinstance(site.scheduler, SlurmQueue) or asked.where is RunsOn.LOGIN:
        raise TypeError(f"{name} has no job of Slurm for {phase}")
    job_name = f"{name}-1a2b3c.c001.{phase}.b00"
    return render_job(
        job_name,
        [Task.model_construct(resources=asked.resources()) for _ in range(_TASKS[phase])],
        asked.queue(site.scheduler),
        root=str(site.root),
        folder=f".ap/submit/{job_name}",
        python=site.python or "python3",
        payload=".ap/payload-1a2b3c4d5e6f.pyz",
    )


if __name__ == "__main__":
    print(page(), end="")
