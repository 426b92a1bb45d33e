"""What a measure of the gate is given, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.results.structure import PropertyCell
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.work.evaluation import Evaluator


@dataclass(frozen=True)
class Cell:
    """One structure for the oracle; its name is its label's origin, by which it is found again."""

    name: str
    atoms: Atoms
    #: What it is of its crystal; None where that is not asked.
    about: PropertyCell | None = None


@dataclass(frozen=True)
class Measuring:
    """What there is to measure one prototype by."""

    prototype: Prototype
    settings: Any  # of the measure, as the task carries them
    probes: GateProbes  # all that the gate asks for
    #: The oracle's labels by the names of cells; those that failed lack.
    labels: Mapping[str, Atoms]
    #: `potential`, and `current` if there is one.
    potentials: Mapping[str, Evaluator]
    train: Sequence[Atoms]  # every label that was trained on
    cutoff_angstrom: float
    distance_min_angstrom: float
    seed: int


def measured(
    rule: str, subject: str, unit: str, scale: float, values: Mapping[str, float | None]
) -> Measure:
    """One property of oracle, potential and current potential."""
    return Measure(
        rule=rule,
        subject=subject,
        unit=unit,
        scale=scale,
        oracle=values.get("oracle"),
        potential=values.get("potential"),
        current=values.get("current"),
    )


def distinct(prototypes: Sequence[Prototype]) -> list[Prototype]:
    """Each crystal once, by structure and elements; one with another repeat is the same crystal."""
    return list({prototype.name: prototype for prototype in reversed(prototypes)}.values())[::-1]
