"""`site:` where the jobs run and how they are started."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from mlip_autopipec.config.schemas.units import DurationS, MemoryMib
from mlip_autopipec.data_models.base import Model, Phase, Place
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


#: One line of a shell script.
_Line = Annotated[str, Field(pattern=r"^[^\r\n]*$")]


class LocalScheduler(Model):
    """Jobs are detached processes of the machine that the transport leads to."""

    kind: Literal["local"] = "local"
    cores: int | None = Field(
        default=None, ge=1, description="that tasks may use at a time; all cores but one if left out"
    )
    prologue: tuple[_Line, ...] = Field(
        default=(), description="lines of bash before tasks, such as `module load mpich`"
    )


def _of_letters(word: str) -> str:
    """The word, if a person can read all of it. Raises ValueError."""
    if not word.isprintable():
        raise ValueError(f"expected a word without control characters, and {word!r} has one")
    return word


#: One word of an sbatch option.
_Word = Annotated[str, Field(pattern=r"^[^\s\"'\\]+$"), AfterValidator(_of_letters)]
#: What the program itself says to sbatch: the promise that a job is submitted once rests on it.
_OWN_OPTIONS = ("array", "chdir", "export", "job-name", "no-requeue", "open-mode", "output", "requeue", "signal")
_OWN_LETTERS = frozenset("aoDJ")
#: What would take jobs to where nobody looks for them, or keep them from running: option, letter, why.
_FORBIDDEN = (
    ("clusters", "M", "the daemon would look for its jobs on another cluster than the one that runs them"),
    ("cluster-constraint", "", "the daemon would look for its jobs on another cluster than the one that runs them"),
    ("test-only", "", "nothing would ever be submitted"),
    ("wait", "W", "sbatch would not answer before the job has ended"),
    ("hold", "H", "no job would start before a person releases it"),
    ("error", "e", "what Slurm says of a job's end would not be found"),
    ("wrap", "", "the job would run something else"),
)


#: Short options of sbatch whose value may stand behind the letter without a blank, and those whose value is a number.
_LETTERS_WITH_VALUE = frozenset("aABbCcdDeFGiJLMmNnopqStwx")
_LETTERS_WITH_NUMBER = frozenset("BcNnt")


def _plain(word: str) -> None:
    """Raise ValueError for several short options in one word, which sbatch takes apart."""
    letters = word[1:] if word[:1] == "-" and word[:2] != "--" else ""
    if len(letters) > 1 and letters[0] not in _LETTERS_WITH_VALUE:
        raise ValueError(f"expected one option, and {word} is several in one: write each by itself, or its long form")
    if len(letters) > 1 and letters[0] in _LETTERS_WITH_NUMBER and not letters[1].isdigit():
        raise ValueError(f"expected a number behind -{letters[0]}, found {letters[1:]}")


def _further_option(line: str) -> str:
    """A line `#SBATCH …` that takes none of the program's own options back, not even abbreviated. Raises ValueError."""
    mark, *words = shlex.split(line) or [""]  # sbatch takes quotes away, too
    if mark != "#SBATCH" or not line.isprintable() or not words or not words[0].startswith("-"):
        raise ValueError("expected one line such as '#SBATCH --gres=gpu:1'")
    for word in words:
        _plain(word)
        name = word.removeprefix("--").partition("=")[0]
        for option, letter, why in _FORBIDDEN:
            long = word.startswith("--") and len(name) > 1 and option.startswith(name)
            if long or (letter and word.startswith(f"-{letter}")):
                raise ValueError(f"expected another option than {word}: {why}")
        own = word.startswith("--") and any(option.startswith(name) for option in _OWN_OPTIONS)
        if own or (word[:1] == "-" and word[1:2] in _OWN_LETTERS):
            raise ValueError(f"expected another option than {word}: the program itself says it to sbatch")
    return line


class SlurmQueue(Model):
    """Jobs are array elements of a Slurm cluster."""

    kind: Literal["slurm"] = "slurm"
    partition: _Word | None = Field(default=None, description="the site's default if left out")
    account: _Word | None = Field(default=None, description="the user's default if left out")
    qos: _Word | None = None
    constraint: _Word | None = Field(default=None, description="features that nodes must have")
    array_max: int = Field(
        default=1000, ge=1, description="tasks of one array; below the site's MaxArraySize and submit limits"
    )
    queued_max: int | None = Field(
        default=None, ge=1, description="tasks of the campaign in the queue at a time; no bound of ours if left out"
    )
    requeue: bool = Field(default=True, description="whether Slurm may start a job again after a lost node")
    ask_memory: bool = Field(default=True, description="false where the site refuses --mem")
    extra: tuple[Annotated[str, AfterValidator(_further_option)], ...] = Field(
        default=(), description="further lines `#SBATCH …` of the job script"
    )
    prologue: tuple[_Line, ...] = Field(
        default=(), description="lines of bash before each task, such as `module load mpich`"
    )


AnyScheduler = Annotated[LocalScheduler | SlurmQueue, Field(discriminator="kind")]


class ResourcesSection(Model):
    """What one task of a phase may use, and where it runs."""

    where: Place = Field(default=Place.QUEUE, description="`login`: no Slurm job, for what takes a minute or so")
    cores: int = Field(default=1, ge=1, description="of one process")
    ranks: int = Field(default=1, ge=1, description="processes of one task, for a code under MPI; sbatch's --ntasks")
    nodes: int = Field(default=1, ge=1, description="that they are spread over")
    gpus: int = Field(default=0, ge=0, description="of each node")
    memory: MemoryMib = Field(default=2048, validate_default=False, description="of one task on each node, with unit")
    walltime: DurationS = Field(default=3600, validate_default=False, description="of one task, with its unit")
    launcher: str = Field(
        default="", description="before the command of a code under MPI: `srun`, `mpirun -np {ranks}`"
    )
    partition: _Word | None = Field(default=None, description="as site.scheduler says if left out; so the next three")
    account: _Word | None = None
    qos: _Word | None = None
    constraint: _Word | None = None
    extra: tuple[Annotated[str, AfterValidator(_further_option)], ...] = Field(
        default=(), description="lines `#SBATCH …` behind those of site.scheduler"
    )
    prologue: tuple[_Line, ...] = Field(default=(), description="lines of bash behind those of site.scheduler")

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
        chosen = {name: getattr(self, name) for name in ("partition", "account", "qos", "constraint")}
        said: dict[str, object] = {name: word for name, word in chosen.items() if word is not None}
        lines = {"extra": (*site.extra, *self.extra), "prologue": (*site.prologue, *self.prologue)}
        return site.model_copy(update=said | lines)


class SiteSection(Model):
    """One place that runs jobs."""

    root: Path = Field(description="folder on the site that holds every file of the campaign")
    transport: AnyTransport = LocalTransport()
    scheduler: AnyScheduler = LocalScheduler()
    others_may_write: bool = Field(
        default=False,
        description="run although the folder of the jobs' program, `.ap`, is not yours alone",
    )
    login_cores: int = Field(default=1, ge=1, description="for tasks with `where: login`, at a time")
    python: str | None = Field(default=None, description="Python of the site with numpy, ase and the codes")
    poll_interval: DurationS = Field(default=30, validate_default=False, description="between looks at the scheduler")
    grace: DurationS = Field(
        default=120, validate_default=False, description="how long a job may be missing before it is asked after"
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
