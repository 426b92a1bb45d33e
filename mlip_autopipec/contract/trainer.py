"""The seam of trainers: what a code declares that fits a potential to labels.

A folder of such a code has `__init__.py` with a TrainerCode; `settings.py` with what a site file
says and a task carries; `rules.py` for the control half; `run.py` for the work half. All but the
last import the standard library and `contract/` alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

from mlip_autopipec.contract import registry
from mlip_autopipec.contract.evaluator import DEFAULT_EVALUATOR, EvaluatorCode, evaluator_code
from mlip_autopipec.contract.mistakes import Mistake
from mlip_autopipec.contract.seams import OneOf
from mlip_autopipec.contract.values import read, value


@value
class TrainerSettings:
    """What a trainer is told.

    `kind` is its name in the registry; each has a `kind` of its own, with that default.
    """

    kind: str


S = TypeVar("S")

#: Those that have keys of their own under `training`, and so are named by a word.
LITERALS = tuple(registry.BUILT_IN["trainers"])
#: By a word, or by the settings of a code that another package brings.
AnyTrainer = Annotated[TrainerSettings | str, OneOf("trainers", "settings_class", LITERALS)]


@dataclass(frozen=True)
class Basis:
    """What of a site file a trainer may look at beside its own settings; the fit chooses `auto`."""

    elements: tuple[str, ...]
    cutoff_angstrom: float | str
    functions_per_element: int | str


class TrainerRules(Generic[S]):
    """What the control half asks of a trainer. Each method answers for one with nothing to add.

    `section` is what stands as training.trainer. A mistake's path is relative to `training`.
    """

    def mistakes(self, section: S, basis: Basis) -> Iterator[Mistake]:
        """What is wrong in the section, by itself and beside the basis that is asked for.

        By default no basis can be chosen by the fit, as most codes want it given.
        """
        del section
        for name in ("cutoff_angstrom", "functions_per_element"):
            if getattr(basis, name) == "auto":
                expected = (
                    "expected a number with this trainer; only the linear trainer chooses by itself"
                )
                yield Mistake((name,), "'auto'", expected)

    def programs(self, keys: Any) -> Mapping[str, str]:
        """Paths of programs of the site that a fit runs, by their keys below `training`.

        `keys` is what `training` has for it under its word, as tasks carry it; None: nothing.
        """
        del keys
        return {}

    def citations(self, section: S) -> Mapping[str, str]:
        """What a paper cites that has used it: BibTeX entries by their keys."""
        del section
        return {}


@dataclass(frozen=True, kw_only=True)
class TrainerCode:
    """A trainer's declaration. Paths are `.module:ATTRIBUTE` from `package`, loaded when needed.

    Of the work half (Fitted is in work/codes/fitting.py, Labels in work/ace/training_set.py, Job in
    work/job.py):

    - `run`: (job, labels, references in eV by element) → at least one Fitted, each with the first
      file of a potential of `evaluator` that explains the labels' energies less their references.
      Raises TaskFailed. What it keeps in `job.workdir` lies there for a person.
    - `examine`: (settings) → an Examined (contract/doctor.py), for doctor; the settings are
      those of `keys`, where it has some.
    """

    package: str
    settings: str = ""  # empty: it is named by a word
    keys: str = ""  # of what `training` has for it under that word, as tasks carry it
    rules: str
    run: str
    evaluator: str = DEFAULT_EVALUATOR  # the name of the code that evaluates its potentials
    examine: str = ""
    about: str = ""  # how doctor's line about it begins
    remedy: str = ""  # what doctor says to do where it is not fit

    @property
    def settings_class(self) -> type[TrainerSettings] | None:
        """What stands as training.trainer, and what tasks carry; None: a word."""
        return registry.load(self.settings, self.package) if self.settings else None

    @property
    def keys_class(self) -> type[Any] | None:
        """What `training` has for it under its word, as tasks carry it; None: nothing."""
        return registry.load(self.keys, self.package) if self.keys else None

    def control(self) -> TrainerRules[Any]:
        """Its rules, for the control half."""
        found: TrainerRules[Any] = registry.load(self.rules, self.package)()
        return found

    def work(self, part: Literal["run", "examine"]) -> Callable[..., Any]:
        """One of its parts of the work half."""
        found: Callable[..., Any] = registry.load(getattr(self, part), self.package)
        return found


def name_of(trainer: TrainerSettings | str) -> str:
    """Its name in the registry."""
    return trainer if isinstance(trainer, str) else trainer.kind


def trainer_code(trainer: TrainerSettings | str) -> TrainerCode:
    """The declaration of a trainer. Raises UnknownCode."""
    found: TrainerCode = registry.find("trainers", name_of(trainer))
    return found


def evaluator_of(trainer: TrainerSettings | str) -> EvaluatorCode:
    """The declaration of the code that evaluates what this trainer fits. Raises UnknownCode."""
    return evaluator_code(trainer_code(trainer).evaluator)


def trainer_from(content: object) -> TrainerSettings | str:
    """A trainer from JSON, whichever it is. Raises ValueError."""
    kind: Any = AnyTrainer
    found: TrainerSettings | str = read(kind, content, "trainer")
    return found
