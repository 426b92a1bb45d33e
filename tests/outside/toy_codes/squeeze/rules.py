"""What the control half asks."""

from collections.abc import Iterator

from mlip_autopipec.contract.measure import Expected, Gate, MeasureRules
from mlip_autopipec.contract.mistakes import Mistake, shown
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.contract.values import given
from toy_codes.squeeze.settings import SqueezeSection, SqueezeSettings


class Rules(MeasureRules[SqueezeSection]):
    """Of squeezed crystals."""

    def mistakes(self, section: SqueezeSection, gate: Gate) -> Iterator[Mistake]:
        """There is nothing to compare with unless the oracle labels the cells."""
        if not gate.properties:
            yield Mistake(
                ("kind",), shown(section.kind), "expected only with training.gate.properties"
            )

    def asked(self, section: SqueezeSection) -> SqueezeSettings:
        """Without the tolerance."""
        return SqueezeSettings(**given(section, SqueezeSettings))

    def expected(self, section: SqueezeSection, measured: Measure) -> Expected | None:
        """Where the oracle's label failed there is nothing to expect."""
        if measured.oracle is None:
            return None
        return Expected("energy of squeezing", section.error_max_mev_per_atom, "meV/atom")
