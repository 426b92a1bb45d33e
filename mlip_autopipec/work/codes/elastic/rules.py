"""What is expected of the properties of crystals."""

from typing import Protocol

from mlip_autopipec.contract.measure import Expected, MeasureRules
from mlip_autopipec.contract.results.train import Measure


class Tolerances(Protocol):
    """Keys of training.gate."""

    @property
    def lattice_constant_max(self) -> float:
        """Largest relative error."""

    @property
    def bulk_modulus_max(self) -> float:
        """The same."""

    @property
    def elastic_constant_max(self) -> float:
        """Relative to C11."""

    @property
    def wall_drop_max_ev(self) -> float:
        """By which the energy may fall as atoms are pushed together."""


class ElasticRules(MeasureRules[Tolerances]):
    """Each is asked of every prototype."""

    def expected(self, section: Tolerances, measured: Measure) -> Expected | None:
        """As training.gate has it."""
        return {
            "lattice_constant": Expected(
                "lattice constant", section.lattice_constant_max, "of the oracle's"
            ),
            "bulk_modulus": Expected("bulk modulus", section.bulk_modulus_max, "of the oracle's"),
            "elastic_constant": Expected(
                "elastic constant", section.elastic_constant_max, "of the oracle's C11"
            ),
            "wall": Expected("repulsive wall", section.wall_drop_max_ev, "eV"),
            "md": Expected("short MD", 0.0, "of its steps"),
        }[measured.rule]
