"""What the control half asks."""

from collections.abc import Iterator, Sequence

from mlip_autopipec.contract.mistakes import Mistake, shown
from mlip_autopipec.contract.oracle import KMesh, OracleRules
from toy_codes.morse.settings import MorseOracle

_DISTANCE_MAX_ANGSTROM = 5.0


class Rules(OracleRules[MorseOracle, MorseOracle]):
    """Of the Morse potential."""

    def mistakes(self, section: MorseOracle, elements: tuple[str, ...]) -> Iterator[Mistake]:
        """One element, at distances of neighbours."""
        if len(elements) > 1:
            yield Mistake(
                ("kind",),
                shown("morse"),
                f"expected with one element, not with {', '.join(elements)}",
            )
        if section.distance_angstrom > _DISTANCE_MAX_ANGSTROM:
            expected = f"expected no more than {_DISTANCE_MAX_ANGSTROM:g}"
            yield Mistake(("distance_angstrom",), shown(section.distance_angstrom), expected)

    def oracle(self, section: MorseOracle, elements: Sequence[str], k_mesh: KMesh) -> MorseOracle:
        """As it was written."""
        del elements, k_mesh
        return section
