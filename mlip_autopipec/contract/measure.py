"""The seam of measures: rules of the gate, with what each of them measures.

A folder of such a code has `__init__.py` with a MeasureCode; `settings.py` with what a site file
says and what tasks carry; `rules.py` for the control half, which says what is expected of each
number; `run.py` for the work half, which finds the numbers. All but the last import the standard
library and `contract/` alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from mlip_autopipec.contract import registry
from mlip_autopipec.contract.mistakes import Mistake
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.contract.values import value


@value
class MeasureSettings:
    """What a measure is told.

    `kind` is its name in the registry; each has a `kind` of its own, with that default.
    """

    kind: str


S = TypeVar("S")


@dataclass(frozen=True)
class Expected:
    """What is expected of a number's error: its distance from the oracle's, by its scale."""

    called: str  # in messages: `bulk modulus`
    allowed: float
    #: Of the error. One that begins with `of ` is of a part, which is told in per cent.
    unit: str
    oracle: float | None = None  # to compare with, in place of the oracle's own


@dataclass(frozen=True)
class Gate:
    """Of a site file what a measure may look at beside its own section."""

    prototypes: tuple[str, ...]  # names, such as `Cu fcc`
    properties: bool  # whether the oracle labels the cells that measures ask for


class MeasureRules(Generic[S]):
    """What the control half asks of a measure. Each method answers for one with nothing to add.

    `section` is what stands for it under training.gate. A mistake's path is relative to that.
    """

    def mistakes(self, section: S, gate: Gate) -> Iterator[Mistake]:
        """What is wrong in the section, by itself and beside the prototypes."""
        del section, gate
        yield from ()

    def asked(self, section: S) -> Any:
        """What tasks carry."""
        return section

    def expected(self, section: S, measured: Measure) -> Expected | None:
        """What is expected of a measured number; None: it breaks no rule, whatever it is."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what is expected of {measured.rule}"
        )

    def citations(self, section: S) -> Mapping[str, str]:
        """What a paper cites that has used it: BibTeX entries by their keys."""
        del section
        return {}


@dataclass(frozen=True, kw_only=True)
class MeasureCode:
    """A measure's declaration. Paths are `.module:ATTRIBUTE` from `package`, loaded when needed.

    Of the work half (Cell and Measuring are in work/codes/measuring.py):

    - `cells`: (prototype, probes, settings) → the Cells that the oracle labels once, in the
      bootstrap cycle.
    - `measure`: (Measuring) → one Measure for each number, which measuring.measured() makes.
    - `require`: (settings) → None. Raises TaskFailed (bad_input) where this Python has not what it
      needs.
    - `examine`: () → an Examined (contract/doctor.py), for doctor.
    """

    package: str
    names: tuple[str, ...]  # of its numbers, as `rule` of a Measure
    settings: str = ""  # empty: training.gate has keys of its own for it
    task_settings: str = ""  # as `settings` if left out
    #: Where those keys stand under training.gate, and under the probes of a task: in one of this
    #: name, or in it itself.
    key: str = ""
    rules: str
    cells: str = ""
    measure: str
    require: str = ""
    examine: str = ""
    about: str = field(default="")  # how doctor's line about it begins
    remedy: str = ""  # what doctor says to do where it is not fit
    modules: tuple[str, ...] = ()  # that the jobs' Python must have for it

    @property
    def section(self) -> type[MeasureSettings] | None:
        """What stands in training.gate.measures; None: there are keys of its own."""
        return registry.load(self.settings, self.package) if self.settings else None

    @property
    def task(self) -> type[MeasureSettings] | None:
        """What the probes of a task carry."""
        path = self.task_settings or self.settings
        return registry.load(path, self.package) if path else None

    def control(self) -> MeasureRules[Any]:
        """Its rules, for the control half."""
        found: MeasureRules[Any] = registry.load(self.rules, self.package)()
        return found

    def work(
        self, part: Literal["cells", "measure", "require", "examine"]
    ) -> Callable[..., Any] | None:
        """One of its parts of the work half; None if it has none."""
        path = getattr(self, part)
        return registry.load(path, self.package) if path else None


def measure_code(kind: str) -> MeasureCode:
    """The declaration of a measure by its kind. Raises UnknownCode."""
    found: MeasureCode = registry.find("measures", kind)
    return found


class HasMeasures(Protocol):
    """training.gate of a site file, or the probes of a task."""

    @property
    def measures(self) -> Sequence[MeasureSettings]:
        """Those of codes that have no keys of their own."""


class Asked(NamedTuple):
    """A measure that the gate is to have."""

    kind: str
    code: MeasureCode
    section: Any  # of a site file, or the settings in a task
    path: tuple[str | int, ...]  # of it, under the gate


def asked_of(gate: HasMeasures) -> Iterator[Asked]:
    """Each measure that the gate is to have, the built-in ones first."""
    for name in registry.BUILT_IN["measures"]:
        code = measure_code(name)
        found = getattr(gate, code.key) if code.key else gate
        if found is not None:
            yield Asked(name, code, found, (code.key,) if code.key else ())
    for index, section in enumerate(gate.measures):
        yield Asked(section.kind, measure_code(section.kind), section, ("measures", index))
