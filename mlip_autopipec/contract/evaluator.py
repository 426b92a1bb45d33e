"""The seam of evaluators: codes that evaluate potentials of one format, with extrapolation grades.

A trainer says which evaluator its potentials are of. A folder of such a code has `__init__.py` with
an EvaluatorCode; `rules.py` for the control half, which knows the lines for LAMMPS and ASE;
`run.py` for the work half. All but the last import the standard library and `contract/` alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlip_autopipec.contract import registry

#: Of trainers that name none, and of what earlier versions left.
DEFAULT_EVALUATOR = "pyace"


@dataclass(frozen=True)
class PotentialFile:
    """One of the files that a potential consists of."""

    name: str  # of the artefact, behind `potential_`
    file: str  # in the potential's folder
    about: str  # what it is, for whoever gets an export
    #: Whether it is needed for γ. Those that are belong together under one fingerprint.
    graded: bool = True


@dataclass(frozen=True)
class AseUse:
    """How Python gets a calculator of ASE for a potential."""

    imports: str  # a line
    calculator: str  # an expression
    cutoff_angstrom: str  # an expression of `potential`, which is that calculator
    total_energies: bool  # on the labels' scale; else they lack the reference energies


class EvaluatorRules:
    """What the control half asks of an evaluator. Each method answers for one with nothing to add.

    `paths` are the potential's files by their names, as they are to stand in the lines.
    """

    def wrong_start(self, potential: Path, active_set: Path | None) -> Iterator[tuple[str, str]]:
        """What is wrong with the names of a potential of the user's.

        Yields the key of `start`, and what was expected.
        """
        del potential, active_set
        yield (
            "potential",
            "expected no start.potential with this trainer: its evaluator takes none of the user's",
        )

    def lammps_lines(self, paths: Mapping[str, str], elements: Sequence[str]) -> Sequence[str]:
        """Of LAMMPS for MD by the potential, types in the order of `elements`.

        There are none where it has no pair style.
        """
        del paths, elements
        return ()

    def graded_lines(
        self, paths: Mapping[str, str], elements: Sequence[str], stride: int, fix: str
    ) -> Sequence[str]:
        """The same with γ, which a fix of this name has for every atom on each `stride`-th step."""
        del paths, elements, stride, fix
        return ()

    def ase(self, paths: Mapping[str, str]) -> AseUse | None:
        """How ASE uses the potential; None where it can't. Paths are expressions of Python."""
        del paths
        return None

    def needs(self) -> Sequence[str]:
        """What must be installed to use it, in words: for LAMMPS, and for ASE."""
        return "a LAMMPS that has its pair style", "its package"

    def citations(self) -> Mapping[str, str]:
        """What a paper cites that has used it: BibTeX entries by their keys."""
        return {}


#: The parts of the work half.
Part = Literal["load", "write", "complete", "design", "rank", "judge", "examine"]


@dataclass(frozen=True, kw_only=True)
class EvaluatorCode:
    """An evaluator's declaration. Paths are `.module:ATTRIBUTE` from `package`, loaded when needed.

    Of the work half (Evaluator and Design are in work/evaluation.py, PotentialFiles in
    work/codes/evaluator.py); a path that is empty has the answer that is told:

    - `load`: (files by name) → an Evaluator. There is the first file alone, for energies and
      forces, or all that are `graded`. Raises TaskFailed (bad_input) for files that are no such
      potential, or do not belong together.
    - `write`: (fitted, target, radius in Å or None) → None. Writes what a trainer gave as the first
      file, with core repulsion between atoms closer than the radius, inside the file or as a note
      there for `load`. Empty: the file as it is; then training.core_repulsion is refused.
    - `complete`: (the first file, training labels, references in eV by element) → None. Makes the
      other files beside it, but those that are there: of a potential of the user's. Empty: there is
      one file, which has all.
    - `design`: (the first file) → a Design where the energy is linear in the coefficients, else
      None. Empty: None. Without one a batch is chosen by farthest points.
    - `rank`: (job, PotentialFiles, structures) → places of those that would enter the active set,
      the first first. Empty: those with γ above 1, the largest first.
    - `judge`: (the first file, the second `graded` one or None, elements) → what is wrong with a
      potential of the user's, by the key of `start`. It may run where the code is not installed.
      Empty: `load` is asked in the task.
    - `examine`: () → an Examined (contract/doctor.py), for doctor.
    """

    package: str
    potential: str  # what it is called, with its article: `an ACE potential`
    #: The first alone gives energies and forces.
    files: tuple[PotentialFile, ...]
    rules: str
    load: str
    write: str = ""
    complete: str = ""
    design: str = ""
    rank: str = ""
    judge: str = ""
    examine: str = ""
    about: str = ""  # how doctor's line about it begins
    remedy: str = ""  # what doctor says to do where it is not fit

    @property
    def first(self) -> PotentialFile:
        """The file that gives energies and forces by itself."""
        return self.files[0]

    @property
    def graded(self) -> tuple[str, ...]:
        """Names of the files that γ needs, the first one first."""
        return tuple(each.name for each in self.files if each.graded)

    def control(self) -> EvaluatorRules:
        """Its rules, for the control half."""
        found: EvaluatorRules = registry.load(self.rules, self.package)()
        return found

    def work(self, part: Part) -> Callable[..., Any] | None:
        """One of its parts of the work half; None if it has none."""
        path = getattr(self, part)
        return registry.load(path, self.package) if path else None


def evaluator_code(name: str) -> EvaluatorCode:
    """The declaration of an evaluator by its name. Raises UnknownCode."""
    found: EvaluatorCode = registry.find("evaluators", name)
    return found


def is_default(evaluator: object) -> bool:
    """Whether it is left out where it is written.

    Tasks and journals of before there was a choice stay as they are.
    """
    return evaluator == DEFAULT_EVALUATOR
