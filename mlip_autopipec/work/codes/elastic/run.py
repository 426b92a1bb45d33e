"""Properties of crystals as a measure of the gate."""

from collections.abc import Iterable

from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.codes.measuring import Cell, Measuring


def cells(prototype: Prototype, probes: GateProbes, settings: GateProbes) -> list[Cell]:
    """Volumes and strains of a prototype."""
    del settings
    return properties.cells(prototype, probes)


def measure(asked: Measuring) -> Iterable[Measure]:
    """All that is known of one prototype."""
    return properties.measure(
        asked.prototype,
        asked.labels,
        asked.potentials,
        asked.probes,
        properties.reach_of(asked.train, asked.cutoff_angstrom),
        distance_min_angstrom=asked.distance_min_angstrom,
        seed=asked.seed,
    )
