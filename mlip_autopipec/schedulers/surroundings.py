"""A command as a task of a phase would run it: the same shell, environment and preparations. Pure.

Whoever tries a code in other surroundings learns nothing of jobs: a profile that only a login shell
reads may break each of them (a module that exports PYTHONHOME), or be what makes them work.
"""

from collections.abc import Sequence

from mlip_autopipec.config.schemas.site import ResourcesSection, SiteSection
from mlip_autopipec.data_models.base import Phase, RunsOn

#: As sbatch is called (slurm_script.SUBMIT): of the session's environment a job has no more.
_CLEAN = (
    'exec env -i USER="$(id -un)" LOGNAME="$(id -un)" PATH="$PATH" ${HOME+"HOME=$HOME"} ${SHELL+"SHELL=$SHELL"}'  # noqa: E501 - text for another program
    ' ${SLURM_CONF+"SLURM_CONF=$SLURM_CONF"} ${KRB5CCNAME+"KRB5CCNAME=$KRB5CCNAME"} "$@"'
)
#: As the job script exports them.
_EXPORTS = (
    "export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1",
    "export OPENBLAS_NUM_THREADS=$OMP_NUM_THREADS MKL_NUM_THREADS=$OMP_NUM_THREADS",
)
_RUN = 'cd -- "$0" && exec "$@"'


def as_a_task(site: SiteSection, phase: Phase, command: Sequence[str]) -> list[str]:
    """The words that run `command` on the site as a task of `phase` would begin.

    They do so without Slurm's own variables.
    """
    prologue = site.prologue_of(phase)
    in_a_job = (
        site.scheduler.has_clean_jobs
        and site.resources.get(phase, ResourcesSection()).where is RunsOn.QUEUE
    )
    if not in_a_job and not prologue:
        return list(command)
    lines = (*(_EXPORTS if in_a_job else ()), *prologue, _RUN)
    arguments = ["bash", "-l", "-c", "\n".join(lines), str(site.root), *command]
    return ["sh", "-c", _CLEAN, "sh", *arguments] if in_a_job else arguments
