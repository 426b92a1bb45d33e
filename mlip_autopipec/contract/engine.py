"""The seam of engines: what a code declares that runs LAMMPS with a potential and its γ.

Its declaration and its settings import the standard library and `contract/` alone; what `make` and
`examine` lead to runs where the jobs do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlip_autopipec.contract import registry
from mlip_autopipec.contract.values import value


@value
class EngineSettings:
    """What an engine is told.

    `kind` is its name in the registry; each has a `kind` of its own, with that default.
    """

    kind: str


@dataclass(frozen=True, kw_only=True)
class EngineCode:
    """An engine's declaration. Paths are `.module:ATTRIBUTE` from `package`, loaded when needed.

    Of the work half (Engine is in work/codes/engine.py, PotentialFiles in work/codes/evaluator.py,
    Evaluator in work/evaluation.py):

    - `make`: (settings, PotentialFiles, evaluator, elements) → an Engine.
    - `examine`: (settings) → an Examined (contract/doctor.py), for doctor.
    """

    package: str
    settings: str
    make: str
    #: Its program evaluates the potential's files by a pair style of its own; else it calls the
    #: evaluator.
    reads_files: bool = False
    examine: str = ""
    citations: str = (
        ""  # what a paper cites that has used it: a mapping of BibTeX entries by their keys
    )
    about: str = ""  # how doctor's line about it begins
    remedy: str = ""  # what doctor says to do where it is not fit

    @property
    def settings_class(self) -> type[EngineSettings]:
        """What stands as exploration.engine, and what tasks carry."""
        found: type[EngineSettings] = registry.load(self.settings, self.package)
        return found

    def cited(self) -> Mapping[str, str]:
        """BibTeX entries by their keys."""
        found: Mapping[str, str] = (
            registry.load(self.citations, self.package) if self.citations else {}
        )
        return found

    def work(self, part: Literal["make", "examine"]) -> Callable[..., Any]:
        """One of its parts of the work half."""
        found: Callable[..., Any] = registry.load(getattr(self, part), self.package)
        return found


def engine_code(kind: str) -> EngineCode:
    """The declaration of an engine by its kind. Raises UnknownCode."""
    found: EngineCode = registry.find("engines", kind)
    return found
