"""The seam of engines: what a code declares that runs LAMMPS with a potential and its γ.

Its declaration and its settings import the standard library and `contract/` alone; what `make` and `examine` lead to
runs where the jobs do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from mlip_autopipec.contract import registry
from mlip_autopipec.contract.values import value


@value
class EngineSettings:
    """What an engine is told. `kind` is its name in the registry; each has a `kind` of its own, with that default."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class EngineCode:
    """The declaration of an engine. Paths are `.module:ATTRIBUTE`, relative to `package`, and loaded when needed.

    Of the work half (Engine is in work/codes/engine.py, Evaluator in work/ace/evaluator.py):

    - `make`: (settings, (.yaml, .asi), evaluator, elements) → an Engine.
    - `examine`: (settings) → {"fit": bool, "words": str}, for doctor.
    """

    package: str
    settings: str
    make: str
    examine: str = ""
    about: str = ""  # how doctor's line about it begins
    remedy: str = ""  # what doctor says to do where it is not fit

    @property
    def settings_class(self) -> type[EngineSettings]:
        """What stands as exploration.engine, and what tasks carry."""
        found: type[EngineSettings] = registry.load(self.settings, self.package)
        return found

    def work(self, part: Literal["make", "examine"]) -> Callable[..., Any]:
        """One of its parts of the work half."""
        found: Callable[..., Any] = registry.load(getattr(self, part), self.package)
        return found


def engine_code(kind: str) -> EngineCode:
    """The declaration of an engine by its kind. Raises UnknownCode."""
    found: EngineCode = registry.find("engines", kind)
    return found
