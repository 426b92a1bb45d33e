"""Digests: what a whole phase's outcomes mean, as the event that closes the phase carries it."""

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from mlip_autopipec.contract.explore import Continuation
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.origin import Origin, condition_of, is_absent, origin_from
from mlip_autopipec.contract.results.explore import Ending
from mlip_autopipec.contract.results.generate import AdoptedSet
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.results.train import (
    Calibration,
    ConditionErrors,
    Errors,
    Lesson,
    Measure,
    PastErrors,
)
from mlip_autopipec.contract.values import is_nothing
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.potential import Potential


class GenerationDigest(Model):
    """The structures that a campaign begins with."""

    phase: Literal["generation"] = "generation"
    structures: tuple[Structure, ...]
    dataset: AdoptedSet | None = Field(
        default=None, exclude_if=is_nothing, description="labels of the user's"
    )


class WalkerEnd(Model):
    """One walker, in brief."""

    task: str
    label: str = Field(description="condition in words, e.g. `Cu fcc 900 K nvt #1`")
    ending: Ending | None = Field(description="None: its task failed for good")
    steps: int
    gamma_max: float
    frames_collected: int
    key: str = Field(
        default="", description="the same for the walker of this condition in every cycle"
    )
    stage: int = 0
    time_ps: float = Field(
        default=0.0, description="of its own; what it went on from counts no more"
    )
    continues: Continuation | None = None
    restart: FileRef | None = Field(
        default=None, description="of a halted walker: what it may go on from"
    )
    resume: Continuation | None = Field(default=None, description="and where that is")

    @property
    def condition(self) -> str:
        """What replicas share, in words."""
        return condition_of(self.label)


class GammaLevels(Model):
    """What a cycle's walkers were watched at, and what set it."""

    select: float = Field(ge=1, description="frames above it are collected")
    halt: float = Field(ge=1, description="MD stops above it")
    quiet: float | None = Field(
        default=None, ge=1, description="a walk above it is not quiet; None: one above `halt`"
    )
    force_error_target_mev_per_angstrom: float | None = Field(
        default=None, description="what the levels are to stand for; None: they are the site file's"
    )
    expected_at: float | None = Field(
        default=None,
        description=(
            "γ at which the calibration expects that error; None: nothing was calibrated yet"
        ),
    )
    reached: bool = Field(
        default=True,
        description="False: no label has erred so much, and `expected_at` is the highest γ of any",
    )


class Ladder(Model):
    """How far the stages of one group of walkers are open."""

    group: int
    stages: int
    walked: int = Field(description="stages that this cycle has walked")
    open: int = Field(description="stages that the next cycle walks")


class ExplorationDigest(Model):
    """How every walker of the cycle ended."""

    phase: Literal["exploration"] = "exploration"
    walkers: tuple[WalkerEnd, ...]
    frames: tuple[FileRef, ...] = Field(
        description="what Selection reads: one dump of collected frames per walker"
    )
    ladders: tuple[Ladder, ...] = ()
    levels: GammaLevels | None = Field(
        default=None, description="None in journals of before there was a choice"
    )

    @property
    def quiet(self) -> bool:
        """Whether every walker of the whole ladder completed, and met no γ that is too high."""
        whole = all(ladder.walked == ladder.stages for ladder in self.ladders)
        return whole and bool(self.walkers) and all(map(self._is_quiet, self.walkers))

    def _is_quiet(self, walker: WalkerEnd) -> bool:
        quiet = self.levels.quiet if self.levels else None
        return walker.ending is Ending.COMPLETED and (quiet is None or walker.gamma_max <= quiet)

    @property
    def loud(self) -> int:
        """How many walkers completed, but above the level up to which a walk is quiet."""
        return sum(
            walker.ending is Ending.COMPLETED and not self._is_quiet(walker)
            for walker in self.walkers
        )

    @property
    def gamma_completed_max(self) -> float | None:
        """The largest γ that a walker has completed with; None if none completed."""
        return max(
            (walker.gamma_max for walker in self.walkers if walker.ending is Ending.COMPLETED),
            default=None,
        )

    @property
    def gamma_exploded_min(self) -> float | None:
        """The smallest of the largest γ of walkers that a guard stopped; None if there are none."""
        return min(
            (walker.gamma_max for walker in self.walkers if walker.ending is Ending.EXPLODED),
            default=None,
        )

    @property
    def conditions(self) -> tuple[str, ...]:
        """What was walked in, replicas together, in the order of the walkers."""
        return tuple(dict.fromkeys(walker.condition for walker in self.walkers))

    @property
    def halts(self) -> int:
        """How many walkers halted at gamma_halt."""
        return sum(walker.ending is Ending.HALTED for walker in self.walkers)


class SelectionDigest(Model):
    """What is to be labelled."""

    phase: Literal["selection"] = "selection"
    structures: tuple[Structure, ...]
    frames: int
    dropped: int


class Label(Model):
    """One label, by file."""

    task: str
    file: FileRef
    role: Role
    origin: str
    came_from: Origin | None = Field(default=None, exclude_if=is_absent)
    settings: str

    @property
    def where_from(self) -> Origin:
        """Where its structure came from, of labels of every version."""
        return self.came_from or origin_from(self.origin)


class OracleFigure(Model):
    """One thing in which the oracle was held against itself."""

    check: str = Field(description="e.g. `bulk modulus`")
    crystal: str
    message: str = Field(alias="words", description="with both figures, and what is allowed")
    value: float | None = Field(default=None, description="how far they are apart")
    allowed: float | None = None
    unit: str = ""
    contradiction: bool


class Adopted(Model):
    """The user's labels that are trained on from here on."""

    file: FileRef
    train: int = Field(ge=0)
    test: int = Field(ge=0)
    offsets_ev: dict[str, float] = Field(
        default_factory=dict,
        description="what their energies lack for each atom of an element; empty: nothing",
    )
    message: str = Field(alias="words", default="", description="how the oracle agreed")


class CalculationDigest(Model):
    """The labels that this cycle adds, and how many structures gave none."""

    phase: Literal["calculation"] = "calculation"
    labels: tuple[Label, ...]
    failed: int
    late: int = Field(
        default=0, description="labels among these that were asked for in an earlier cycle"
    )
    awaited: int = Field(
        default=0,
        description="tasks that were not over when the round closed; they join a later one",
    )
    isolated_atoms_ev: dict[str, float] = Field(
        default_factory=dict,
        description="energy of one atom alone, by element; pinned for the campaign",
    )
    oracle: tuple[OracleFigure, ...] = Field(
        default=(), description="of the first labels: the oracle against itself"
    )
    adopted: Adopted | None = Field(
        default=None, exclude_if=is_nothing, description="labels of the user's"
    )


class GateRule(Model):
    """One rule of the gate, and what it saw."""

    rule: str = Field(description="e.g. `force error` or `bulk modulus`")
    subject: str = Field(default="", description="of what: an element, an origin, a crystal")
    value: float | None = Field(
        description="None: the potential has no such number, which breaks the rule"
    )
    allowed: float
    current: float | None = Field(
        default=None, description="the same number for the current potential"
    )
    unit: str
    answer: Literal["kept", "broken", "worse"] = Field(
        description="broken: so it is with the current potential; worse: the current one keeps it"
    )


class TrainingDigest(Model):
    """The fit of this cycle and what the gate said to it."""

    phase: Literal["training"] = "training"
    potential: Potential
    dataset: FileRef
    train: Errors
    test_of_current: Errors | None
    history: tuple[PastErrors, ...] = ()
    measures: tuple[Measure, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    functions: int | None = Field(
        default=None, description="of all elements; None in journals of before"
    )
    conditions: tuple[ConditionErrors, ...] = Field(
        default=(),
        description="of the potential that is the current one from here on, on audit frames",
    )
    lessons: tuple[Lesson, ...] = ()
    promoted: bool
    verdict: Literal["pass", "conditional", "fail"] = Field(
        default="pass",
        description="conditional: promoted, with a rule broken that the current one breaks as well",
    )
    rules: tuple[GateRule, ...] = Field(default=(), description="every rule that was asked")
    gate: str = Field(description="the gate's answer in words")


Digest = Annotated[
    GenerationDigest | ExplorationDigest | SelectionDigest | CalculationDigest | TrainingDigest,
    Field(discriminator="phase"),
]


class Need(Model):
    """One error of one condition beside what was needed as its cycle closed.

    `unit` is that of the three numbers.
    """

    condition: str
    quantity: Literal["force", "energy", "stress"]
    unit: str
    frames: int = Field(
        ge=0,
        description="audit frames that were compared; 0: none yet, and no number means anything",
    )
    error: float = Field(ge=0)
    bound: float | None = Field(
        description="what the error lies below with confidence; None: too few frames for any"
    )
    need: float = Field(ge=0)
    met: bool


class Remedy(Model):
    """What is done about a potential that is quiet and not right, decided as its cycle closes."""

    kind: Literal["labels", "basis", "advice"] = Field(
        description=(
            "labels: random frames of the conditions, to train on; basis: more functions; advice:"
            " nothing can be changed by itself"
        )
    )
    message: str = Field(alias="words", description="why, with figures, and what a person can do")
    conditions: tuple[str, ...] = Field(default=(), description="that are wrong")
    random_frames: int = Field(
        default=0, ge=0, description="to label for training in the next cycle"
    )
    functions_min: int | None = Field(
        default=None, description="for each element, from the next fit on"
    )
    any_cost: bool = Field(
        default=False,
        description="from the next fit on cutoff and basis are those that err least, however slow",
    )

    @model_serializer(mode="wrap")
    def _without_what_was_not_there(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A remedy of before there was this choice reads and writes the same."""
        content: dict[str, Any] = dump(self)
        if not self.any_cost:
            content.pop("any_cost", None)
        return content


class CycleSummary(Model):
    """A closed cycle, folded to what later decisions and the status need."""

    cycle: int
    bootstrap: bool
    walkers: int = 0
    halts: int = 0
    quiet: bool = False
    levels: GammaLevels | None = Field(default=None, description="None where nothing was explored")
    loud: int = Field(default=0, description="walkers that completed above the quiet level")
    gamma_completed_max: float | None = None
    gamma_exploded_min: float | None = None
    candidates: int = 0
    labels_train: int = 0
    labels_test: int = 0
    labels_failed: int = 0
    adopted_train: int = Field(
        default=0, exclude_if=is_nothing, description="labels of the user's, not asked for here"
    )
    adopted_test: int = Field(default=0, exclude_if=is_nothing, description="the same")
    promoted: bool = False
    potential: FileRef | None = Field(
        default=None,
        description="the promoted potential's, which gives energies and forces by itself",
    )
    test: Errors | None = None
    test_of_current: Errors | None = None
    test_of_first: Errors | None = Field(
        default=None, description="the first potential on the same test set"
    )
    gate: Literal["pass", "conditional", "fail"] | None = Field(
        default=None, description="None where nothing was fitted"
    )
    gate_message: str = Field(default="", alias="gate_words")
    calibration: tuple[Calibration, ...] = Field(
        default=(), description="what γ had meant by then, by element"
    )
    functions: int | None = Field(
        default=None, description="of this cycle's fit, all elements together"
    )
    walked: tuple[str, ...] = Field(default=(), description="conditions of this cycle's walkers")
    conditions: tuple[ConditionErrors, ...] = Field(
        default=(),
        description=(
            "errors of the current potential on audit frames; empty where nothing was fitted"
        ),
    )
    needs: tuple[Need, ...] = Field(default=(), description="the same beside what was needed")
    remedy: Remedy | None = Field(
        default=None, description="where the cycle was quiet and the potential not right"
    )
    lessons: tuple[Lesson, ...] = Field(default=(), description="what its labels taught, by source")
