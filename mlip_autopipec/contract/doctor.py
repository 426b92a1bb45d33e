"""What the work half is asked beside its tasks, and what it answers: one examination at a time.

`doctor`, `config check`, a start, structures that are added and an export ask. Question and answer
are JSON in between. A question that has no answer is answered by an Examined that is not fit.
"""

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from mlip_autopipec.contract.dataset import AdoptParameters
from mlip_autopipec.contract.explore import AnyEngine
from mlip_autopipec.contract.generate import GateProbes, Prototype, Teacher
from mlip_autopipec.contract.label import AnyOracle
from mlip_autopipec.contract.results.structure import PropertyCell
from mlip_autopipec.contract.trainer import AnyTrainer
from mlip_autopipec.contract.values import about, value

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True)
class Examination(Generic[Q, A]):
    """One of those below."""

    name: str
    question: type[Q]
    answer: type[A]


@value
class Examined:
    """What an examination of a code saw; each code's own has this answer."""

    fit: bool
    message: str = field(metadata=about("for people", alias="words"))
    sure: bool = field(
        default=True, metadata=about("False: it may be otherwise where the jobs run")
    )


@value
class PythonQuestion:
    """Which packages are there."""


@value
class EngineQuestion:
    """Whether the engine runs."""

    engine: AnyEngine


@value
class EvaluatorQuestion:
    """Whether what evaluates the potentials works."""

    evaluator: str


@value
class MeasureQuestion:
    """Whether a measure of the gate works."""

    kind: str


@value
class TrainerQuestion:
    """Whether the trainer can fit."""

    trainer: AnyTrainer
    keys: Any = field(metadata=about("of the trainer's `keys_class`; None where it has none"))


@value
class OracleQuestion:
    """Whether the oracle labels these elements."""

    oracle: AnyOracle
    elements: tuple[str, ...]
    distance_min_angstrom: float


@value
class TeacherQuestion:
    """Whether the teacher walks from each crystal."""

    teacher: Teacher
    prototypes: tuple[Prototype, ...]


PYTHON = Examination("python", PythonQuestion, Examined)
ENGINE = Examination("engine", EngineQuestion, Examined)
EVALUATOR = Examination("evaluator", EvaluatorQuestion, Examined)
MEASURE = Examination("measure", MeasureQuestion, Examined)
TRAINER = Examination("trainer", TrainerQuestion, Examined)
ORACLE = Examination("oracle", OracleQuestion, Examined)
TEACHER = Examination("teacher", TeacherQuestion, Examined)


@value
class TrialsQuestion:
    """What `doctor --oracle` is to try."""

    oracle: AnyOracle
    prototype: Prototype


@value
class Trial:
    """One label to try."""

    kind: str = field(metadata=about("what is varied; `as asked` where nothing is"))
    description: str
    oracle: dict[str, Any] = field(metadata=about("handed back to the work half as it is"))
    cell: str
    n_atoms: int
    cost: float = field(metadata=about("relative to the first trial", gt=0))
    key: str = field(
        default="", metadata=about("that this kind varies, where a smaller value is finer")
    )
    value: float = field(default=0.0, metadata=about("of that key"))
    about: PropertyCell  # the last: what is above calls a function of this name


@value
class Trials:
    """In their order; the first has the settings of the site file."""

    trials: tuple[Trial, ...]


@value
class LabelQuestion:
    """What one trial gives."""

    oracle: dict[str, Any]
    prototype: Prototype
    cell: str


@value
class TrialLabel:
    """What came of a trial."""

    energy_ev: float
    n_atoms: int
    volume_angstrom3: float
    stress_gpa: tuple[float, float, float, float, float, float]
    forces_ev_per_angstrom: tuple[tuple[float, float, float], ...]
    wall_s: float


TRIALS = Examination("trials", TrialsQuestion, Trials)
LABEL = Examination("label", LabelQuestion, TrialLabel)


@value
class StartFiles:
    """A potential of the user's."""

    evaluator: str
    potential: str
    active_set: str | None = None


@value
class FilesQuestion:
    """What the files hold that a site file names, and how many cells the bootstrap has."""

    elements: tuple[str, ...]
    distance_min_angstrom: float
    files: tuple[str, ...] = field(default=(), metadata=about("paths of structures"))
    dataset: tuple[str, ...] = field(default=(), metadata=about("paths of labels of the user's"))
    adopting: AdoptParameters | None = field(default=None, metadata=about("how those are read"))
    start: StartFiles | None = None
    prototypes: tuple[Prototype, ...] = ()
    probes: GateProbes | None = None
    twins: bool = False


@value
class FileSeen:
    """A file of structures; `atoms` and `formula` are of the last, from which a walker starts."""

    wrong: str = field(default="", metadata=about("empty: nothing"))
    structures: int = 0
    atoms: int = 0
    formula: str = ""


@value
class DatasetSeen:
    """What the user's labels come to."""

    wrong: str = field(metadata=about("why they are refused; empty: they are not"))
    left_out: str
    names: str
    train: int
    test: int
    checks: int = field(metadata=about("that the oracle labels again"))


@value
class FilesSeen:
    """What files of a site file hold, and what is wrong with them."""

    files: dict[str, FileSeen] = field(default_factory=dict, metadata=about("by their paths"))
    dataset: DatasetSeen | None = None
    start: dict[str, str] = field(
        default_factory=dict, metadata=about("what is wrong, by the key of the section")
    )
    property_cells: int = field(default=0, metadata=about("that Generation will make"))


FILES = Examination("files", FilesQuestion, FilesSeen)


@value
class FramesQuestion:
    """What the frames are of files that a person adds."""

    elements: tuple[str, ...]
    distance_min_angstrom: float
    files: tuple[str, ...]
    frames_max: int


@value
class Frame:
    """One of them as extended XYZ: elements, positions and cell alone."""

    file: str
    number: int = field(metadata=about("in its file, from 1"))
    text: str
    atoms: int


@value
class FramesSeen:
    """Those that can be used, and what is wrong with the others."""

    frames: tuple[Frame, ...]
    wrong: tuple[str, ...]


FRAMES = Examination("frames", FramesQuestion, FramesSeen)


@value
class StartQuestion:
    """What LAMMPS reads for a structure."""

    frame: str = field(metadata=about("as extended XYZ"))
    elements: tuple[str, ...] = field(metadata=about("in the order of types"))


@value
class LammpsStart:
    """A structure for LAMMPS."""

    data: str = field(metadata=about("for read_data"))
    masses_dalton: dict[str, float] = field(metadata=about("by element, in the order of types"))


START = Examination("start", StartQuestion, LammpsStart)
