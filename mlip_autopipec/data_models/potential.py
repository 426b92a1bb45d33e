"""A potential: files that one fit made together, with one fingerprint for those that γ needs."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from mlip_autopipec.contract.evaluator import DEFAULT_EVALUATOR, is_default
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.data_models.base import Model

#: As fields of their own, when every potential was python-ace's; the first gave energies and
#: forces.
_FILES_OF_BEFORE = ("yaml", "asi", "yace")


class Potential(Model):
    """A fitted potential; `folder` is relative to the site's root."""

    cycle: int
    folder: str
    evaluator: str = Field(
        default=DEFAULT_EVALUATOR, description="by its name", exclude_if=is_default
    )
    first: str = Field(
        default="yaml", description="name of the file that gives energies and forces by itself"
    )
    files: dict[str, FileRef] = Field(description="by the names that the evaluator has for them")
    fingerprint: str
    test: Errors
    reference_energies_ev: dict[str, float]
    functions_per_element: dict[str, int] = Field(
        default_factory=dict, description="empty in journals of before it was told"
    )
    cutoff_angstrom: float | None = Field(default=None, description="of a linear fit")
    cost_us: float | None = Field(
        default=None, description="µs per atom and step on one core, measured"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_before(cls, given: Any) -> Any:
        """What an earlier version wrote, as it is said today."""
        if not isinstance(given, Mapping) or "files" in given:
            return given
        files = {name: given[name] for name in _FILES_OF_BEFORE if name in given}
        return {**{name: said for name, said in given.items() if name not in files}, "files": files}

    @property
    def file(self) -> FileRef:
        """That which gives energies and forces by itself."""
        return self.files[self.first]
