"""The schedulers that are built in."""

from mlip_autopipec.schedulers.seam import SchedulerCode

_SECTIONS = "mlip_autopipec.config.schemas.schedulers"

LOCAL = SchedulerCode(package=__package__, settings=f"{_SECTIONS}:LocalQueue", make=".local:make")
SLURM = SchedulerCode(
    package=__package__,
    settings=f"{_SECTIONS}:SlurmQueue",
    make=".slurm:make",
    limit=".slurm_limits:ask_array_tasks_max",
    examine=".slurm_doctor:examine",
    remedy="Slurm must answer there; site.transport.prologue can put its commands on the path",
)
