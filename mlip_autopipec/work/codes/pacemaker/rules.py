"""What a site file asks of pacemaker."""

from collections.abc import Iterator

from mlip_autopipec.contract.mistakes import Mistake, shown
from mlip_autopipec.contract.trainer import Basis, TrainerRules


class PacemakerRules(TrainerRules[str]):
    """Of pacemaker, which has a basis of its own and cannot choose its size."""

    def mistakes(self, section: str, basis: Basis) -> Iterator[Mistake]:
        """Both are numbers."""
        del section
        for name in ("cutoff_angstrom", "functions_per_element"):
            if getattr(basis, name) == "auto":
                expected = "expected a number with trainer: pacemaker; only the linear trainer chooses by itself"
                yield Mistake((name,), shown("auto"), expected)
