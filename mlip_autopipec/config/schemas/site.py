"""`site:` where the jobs run and how they are started."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mlip_autopipec.config.schemas.schedulers import (
    Line,
    LocalQueue,
    SchedulerSection,
    SlurmQueue,
    Word,
    further_option,
)
from mlip_autopipec.config.schemas.units import DurationS, MemoryMib
from mlip_autopipec.contract.seams import OneOf
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.data_models.base import Model, Phase, RunsOn


class LocalTransportSection(Model):
    """The jobs' file system is this machine's."""

    kind: Literal["local"] = "local"


class _FarTransport(Model):
    """What every way to another machine has in common."""

    host: str = Field(
        min_length=1, description="name of the login node, or of its section in ~/.ssh/config"
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="as ~/.ssh/config says if left out"
    )
    user: str | None = Field(
        default=None, min_length=1, description="as ~/.ssh/config says if left out"
    )
    prologue: str = Field(
        default="",
        description="one line of sh before every command there, such as `. /etc/profile`",
    )
    long_lived: bool = Field(
        default=True, description="whether the site lets a process watch the outbox for days"
    )
    config_file: Path | None = Field(default=None, description="read in place of ~/.ssh/config")


class SshTransportSection(_FarTransport):
    """The site is reached by SSH, with a key or an agent."""

    kind: Literal["ssh"] = "ssh"
    identity_file: Path | None = Field(
        default=None, description="private key; agent and usual keys if left out"
    )
    known_hosts: Path | None = Field(
        default=None, description="host keys; ~/.ssh/known_hosts if left out"
    )


class OpensshTransportSection(_FarTransport):
    """The site is reached by an `ssh` connection that the user opened, as with a second factor."""

    kind: Literal["openssh"] = "openssh"
    control_path: str | None = Field(
        default=None,
        min_length=1,
        description="socket of the open connection; as ~/.ssh/config says if left out",
    )
    require_master: bool = Field(
        default=True, description="false: one may be opened, with a key or an agent"
    )


AnyTransport = Annotated[
    LocalTransportSection | SshTransportSection | OpensshTransportSection,
    Field(discriminator="kind"),
]


class ResourcesSection(Model):
    """What one task of a phase may use, and where it runs."""

    where: RunsOn = Field(
        default=RunsOn.QUEUE, description="`login`: no Slurm job, for what takes a minute or so"
    )
    cores: int = Field(default=1, ge=1, description="of one process")
    ranks: int = Field(
        default=1,
        ge=1,
        description="processes of one task, for a code under MPI; sbatch's --ntasks",
    )
    nodes: int = Field(default=1, ge=1, description="that they are spread over")
    gpus: int = Field(default=0, ge=0, description="of each node")
    memory: MemoryMib = Field(
        default=2048, validate_default=False, description="of one task on each node, with unit"
    )
    walltime: DurationS = Field(
        default=3600, validate_default=False, description="of one task, with its unit"
    )
    launcher: str = Field(
        default="",
        description="before the command of a code under MPI: `srun`, `mpirun -np {ranks}`",
    )
    partition: Word | None = Field(
        default=None, description="as site.scheduler says if left out; so the next three"
    )
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    extra: tuple[Annotated[str, AfterValidator(further_option)], ...] = Field(
        default=(), description="lines `#SBATCH …` behind those of site.scheduler"
    )
    prologue: tuple[Line, ...] = Field(
        default=(), description="lines of bash behind those of site.scheduler"
    )

    def resources(self) -> Resources:
        """The same as tasks carry it."""
        return Resources(
            cores=self.cores,
            ranks=self.ranks,
            nodes=self.nodes,
            gpus=self.gpus,
            memory_mib=self.memory,
            walltime_s=self.walltime,
            launcher=self.launcher,
        )

    def queue(self, site: SlurmQueue) -> SlurmQueue:
        """What sbatch is told for this phase: its own words, else the site's."""
        chosen = {
            name: getattr(self, name) for name in ("partition", "account", "qos", "constraint")
        }
        said: dict[str, object] = {name: word for name, word in chosen.items() if word is not None}
        lines = {"extra": (*site.extra, *self.extra), "prologue": (*site.prologue, *self.prologue)}
        return site.model_copy(update=said | lines)


class SiteSection(Model):
    """One place that runs jobs."""

    root: Path = Field(description="folder on the site that holds every file of the campaign")
    transport: AnyTransport = LocalTransportSection()
    scheduler: Annotated[SchedulerSection, OneOf("schedulers", "section")] = LocalQueue()
    others_may_write: bool = Field(
        default=False,
        description="run although the folder of the jobs' program, `.ap`, is not yours alone",
    )
    login_cores: int = Field(
        default=1, ge=1, description="for tasks with `where: login`, at a time"
    )
    python: str | None = Field(
        default=None, description="Python of the site with numpy, ase and the codes"
    )
    poll_interval: DurationS = Field(
        default=30, validate_default=False, description="between looks at the scheduler"
    )
    grace: DurationS = Field(
        default=120,
        validate_default=False,
        description="how long a job may be missing before it is asked after",
    )
    resources: dict[Phase, ResourcesSection] = Field(
        default_factory=dict, description="per phase; defaults for the rest"
    )

    def prologue_of(self, phase: Phase) -> tuple[str, ...]:
        """Lines of bash before the tasks of `phase`."""
        asked = self.resources.get(phase, ResourcesSection())
        return (*self.scheduler.prologue, *asked.prologue)

    def resources_of(self, phase: Phase) -> Resources:
        """What a task of `phase` may use."""
        return self.resources.get(phase, ResourcesSection()).resources()
