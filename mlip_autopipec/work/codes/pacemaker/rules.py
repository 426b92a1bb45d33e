"""What a site file asks of pacemaker."""

from collections.abc import Iterator, Mapping

from mlip_autopipec.contract.mistakes import Mistake, shown
from mlip_autopipec.contract.train import PacemakerSettings
from mlip_autopipec.contract.trainer import Basis, TrainerRules
from mlip_autopipec.work.codes.pacemaker.citations import ENTRIES


class PacemakerRules(TrainerRules[str]):
    """Of pacemaker, which has a basis of its own and cannot choose its size."""

    def mistakes(self, section: str, basis: Basis) -> Iterator[Mistake]:
        """Both are numbers."""
        del section
        for name in ("cutoff_angstrom", "functions_per_element"):
            if getattr(basis, name) == "auto":
                expected = (
                    "expected a number with trainer: pacemaker; only the linear trainer chooses by"
                    " itself"
                )
                yield Mistake((name,), shown("auto"), expected)

    def programs(self, keys: PacemakerSettings) -> Mapping[str, str]:
        """The Python that fits, where it is not that of the jobs."""
        return {"pacemaker.python": keys.python} if keys.python else {}

    def citations(self, section: str) -> Mapping[str, str]:
        """The article about pacemaker."""
        del section
        return ENTRIES
