"""Phonons as a measure of the gate."""

from collections.abc import Iterable

from mlip_autopipec.contract.generate import GateProbes, PhononProbes, Prototype
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.work.codes.measuring import Cell, Measuring
from mlip_autopipec.work.codes.phonopy import phonons


def require(settings: PhononProbes) -> None:
    """Raise TaskFailed (bad_input) if this Python has no phonopy."""
    del settings
    phonons.require_phonopy()


def cells(prototype: Prototype, probes: GateProbes, settings: PhononProbes) -> list[Cell]:
    """Displaced supercells, if the oracle's own frequencies are asked for."""
    del settings
    return phonons.cells(prototype, probes)


def measure(asked: Measuring) -> Iterable[Measure]:
    """The lowest frequency, and the difference from the oracle's."""
    return phonons.measure(asked.prototype, asked.labels, asked.potentials, asked.probes)
