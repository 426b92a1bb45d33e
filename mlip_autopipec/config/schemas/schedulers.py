"""`site.scheduler:` what starts the jobs. Others than these two come from packages of their own."""

import shlex
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from mlip_autopipec.data_models.base import Model

#: Keys of site.resources.PHASE that only a queue can follow.
OF_QUEUES = frozenset({"partition", "account", "qos", "constraint", "extra", "nodes", "gpus"})
#: One line of a shell script.
Line = Annotated[str, Field(pattern=r"^[^\r\n]*$")]


class SchedulerSection(Model):
    """What every `site.scheduler` has, whatever starts the jobs.

    Each has a `kind` of its own, with that default.
    """

    #: Tasks run on the machine that the transport leads to, as processes of this user's, without a
    #: queue of its own.
    is_the_machine: ClassVar[bool] = False
    #: Keys of site.resources.PHASE that it follows, out of OF_QUEUES.
    follows: ClassVar[frozenset[str]] = frozenset()
    #: A job has nothing of the environment of the session that submits it.
    has_clean_jobs: ClassVar[bool] = False

    kind: str
    prologue: tuple[Line, ...] = Field(
        default=(), description="lines of bash before tasks, such as `module load mpich`"
    )

    def batch_tasks_max(self) -> int | None:
        """Tasks of one batch; None: no bound of its own."""
        return None

    def tasks_max(self) -> int | None:
        """Tasks of the campaign that are handed over at a time; None: no bound of ours."""
        return None

    def cores_max(self) -> int | None:
        """Cores that one task may have; None: that is not known here."""
        return None

    def names_of_people(self) -> tuple[str, ...]:
        """Words in it that are left out of what is given to others."""
        return ()


class LocalQueue(SchedulerSection):
    """Jobs are detached processes of the machine that the transport leads to."""

    is_the_machine: ClassVar[bool] = True

    kind: Literal["local"] = "local"
    cores: int | None = Field(
        default=None,
        ge=1,
        description="that tasks may use at a time; left out: all cores but one, of two both",
    )

    def cores_max(self) -> int | None:
        """As it says."""
        return self.cores


def _of_letters(word: str) -> str:
    """The word, if a person can read all of it. Raises ValueError."""
    if not word.isprintable():
        raise ValueError(f"expected a word without control characters, and {word!r} has one")
    return word


#: One word of an sbatch option.
Word = Annotated[str, Field(pattern=r"^[^\s\"'\\]+$"), AfterValidator(_of_letters)]
#: What the program itself says to sbatch: the promise that a job is submitted once rests on it.
_OWN_OPTIONS = (
    "array",
    "chdir",
    "export",
    "job-name",
    "no-requeue",
    "open-mode",
    "output",
    "requeue",
    "signal",
)
_OWN_LETTERS = frozenset("aoDJ")
#: What would take jobs to where nobody looks for them, or keep them from running: option, letter,
#: why.
_FORBIDDEN = (
    (
        "clusters",
        "M",
        "the daemon would look for its jobs on another cluster than the one that runs them",
    ),
    (
        "cluster-constraint",
        "",
        "the daemon would look for its jobs on another cluster than the one that runs them",
    ),
    ("test-only", "", "nothing would ever be submitted"),
    ("wait", "W", "sbatch would not answer before the job has ended"),
    ("hold", "H", "no job would start before a person releases it"),
    ("error", "e", "what Slurm says of a job's end would not be found"),
    ("wrap", "", "the job would run something else"),
)


#: Short options of sbatch whose value may stand behind the letter without a blank, and those whose
#: value is a number.
_LETTERS_WITH_VALUE = frozenset("aABbCcdDeFGiJLMmNnopqStwx")
_LETTERS_WITH_NUMBER = frozenset("BcNnt")


def _plain(word: str) -> None:
    """Raise ValueError for several short options in one word, which sbatch takes apart."""
    letters = word[1:] if word[:1] == "-" and word[:2] != "--" else ""
    if len(letters) > 1 and letters[0] not in _LETTERS_WITH_VALUE:
        raise ValueError(
            f"expected one option, and {word} is several in one: write each by itself, or its long"
            " form"
        )
    if len(letters) > 1 and letters[0] in _LETTERS_WITH_NUMBER and not letters[1].isdigit():
        raise ValueError(f"expected a number behind -{letters[0]}, found {letters[1:]}")


def further_option(line: str) -> str:
    """A line `#SBATCH …` that takes back none of the program's options, not even abbreviated.

    Raises ValueError.
    """
    mark, *arguments = shlex.split(line) or [""]  # sbatch takes quotes away, too
    if (
        mark != "#SBATCH"
        or not line.isprintable()
        or not arguments
        or not arguments[0].startswith("-")
    ):
        raise ValueError("expected one line such as '#SBATCH --gres=gpu:1'")
    for word in arguments:
        _plain(word)
        name = word.removeprefix("--").partition("=")[0]
        for option, letter, why in _FORBIDDEN:
            long = word.startswith("--") and len(name) > 1 and option.startswith(name)
            if long or (letter and word.startswith(f"-{letter}")):
                raise ValueError(f"expected another option than {word}: {why}")
        own = word.startswith("--") and any(option.startswith(name) for option in _OWN_OPTIONS)
        if own or (word[:1] == "-" and word[1:2] in _OWN_LETTERS):
            raise ValueError(
                f"expected another option than {word}: the program itself says it to sbatch"
            )
    return line


class SlurmQueue(SchedulerSection):
    """Jobs are array elements of a Slurm cluster."""

    follows: ClassVar[frozenset[str]] = OF_QUEUES
    has_clean_jobs: ClassVar[bool] = True

    kind: Literal["slurm"] = "slurm"
    partition: Word | None = Field(default=None, description="the site's default if left out")
    account: Word | None = Field(default=None, description="the user's default if left out")
    qos: Word | None = None
    constraint: Word | None = Field(default=None, description="features that nodes must have")
    array_max: int = Field(
        default=1000,
        ge=1,
        description="tasks of one array; below the site's MaxArraySize and submit limits",
    )
    queued_max: int | None = Field(
        default=None,
        ge=1,
        description="tasks of the campaign in the queue at a time; no bound of ours if left out",
    )
    requeue: bool = Field(
        default=True, description="whether Slurm may start a job again after a lost node"
    )
    ask_memory: bool = Field(default=True, description="false where the site refuses --mem")
    extra: tuple[Annotated[str, AfterValidator(further_option)], ...] = Field(
        default=(), description="further lines `#SBATCH …` of the job script"
    )
    prologue: tuple[Line, ...] = Field(
        default=(), description="lines of bash before each task, such as `module load mpich`"
    )

    def batch_tasks_max(self) -> int | None:
        """One batch is one array."""
        return self.array_max

    def tasks_max(self) -> int | None:
        """As it says."""
        return self.queued_max

    def names_of_people(self) -> tuple[str, ...]:
        """Whom the hours are charged to."""
        return (self.account,) if self.account else ()
