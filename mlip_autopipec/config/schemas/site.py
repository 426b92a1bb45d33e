"""`site:` where the jobs run and how they are started."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mlip_autopipec.config.schemas.units import DurationS, MemoryMib
from mlip_autopipec.data_models.base import Model, Phase
from mlip_autopipec.data_models.task import Resources


class LocalTransport(Model):
    """The jobs' file system is this machine's."""

    kind: Literal["local"] = "local"


class _FarTransport(Model):
    """What every way to another machine has in common."""

    host: str = Field(min_length=1, description="name of the login node, or of its section in ~/.ssh/config")
    port: int | None = Field(default=None, ge=1, le=65535, description="as ~/.ssh/config says if left out")
    user: str | None = Field(default=None, min_length=1, description="as ~/.ssh/config says if left out")
    prologue: str = Field(default="", description="one line of sh before every command there, such as `. /etc/profile`")
    long_lived: bool = Field(default=True, description="whether the site lets a process watch the outbox for days")
    config_file: Path | None = Field(default=None, description="read in place of ~/.ssh/config")


class SshTransport(_FarTransport):
    """The site is reached by SSH, with a key or an agent."""

    kind: Literal["ssh"] = "ssh"
    identity_file: Path | None = Field(default=None, description="private key; agent and usual keys if left out")
    known_hosts: Path | None = Field(default=None, description="host keys; ~/.ssh/known_hosts if left out")


class OpensshTransport(_FarTransport):
    """The site is reached through an `ssh` connection that the user has opened, as with a second factor."""

    kind: Literal["openssh"] = "openssh"
    control_path: str | None = Field(
        default=None, min_length=1, description="socket of the open connection; as ~/.ssh/config says if left out"
    )
    require_master: bool = Field(default=True, description="false: one may be opened, with a key or an agent")


AnyTransport = Annotated[LocalTransport | SshTransport | OpensshTransport, Field(discriminator="kind")]


class LocalScheduler(Model):
    """Jobs are detached processes of this machine."""

    kind: Literal["local"] = "local"
    cores: int | None = Field(default=None, ge=1, description="tasks that may run at a time; all cores if left out")


class ResourcesSection(Model):
    """What one task of a phase may use."""

    cores: int = Field(default=1, ge=1, description="of one task")
    memory: MemoryMib = Field(default=2048, validate_default=False, description="of one task, with its unit")
    walltime: DurationS = Field(default=3600, validate_default=False, description="of one task, with its unit")

    def resources(self) -> Resources:
        """The same as tasks carry it."""
        return Resources(cores=self.cores, memory_mib=self.memory, walltime_s=self.walltime)


class SiteSection(Model):
    """One place that runs jobs."""

    root: Path = Field(description="folder on the site that holds every file of the campaign")
    transport: AnyTransport = LocalTransport()
    scheduler: LocalScheduler = LocalScheduler()
    python: str | None = Field(default=None, description="Python of the site with numpy, ase and the codes")
    poll_interval: DurationS = Field(default=30, validate_default=False, description="between looks at the scheduler")
    grace: DurationS = Field(
        default=120, validate_default=False, description="how long a job may be missing before it is asked after"
    )
    resources: dict[Phase, ResourcesSection] = Field(
        default_factory=dict, description="per phase; defaults for the rest"
    )

    def resources_of(self, phase: Phase) -> Resources:
        """What a task of `phase` may use."""
        return self.resources.get(phase, ResourcesSection()).resources()
