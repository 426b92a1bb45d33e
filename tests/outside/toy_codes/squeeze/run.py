"""What runs where the jobs do."""

from collections.abc import Iterator

from ase import Atoms

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.work.codes.measuring import Cell, Measuring, measured
from mlip_autopipec.work.structures import crystal
from toy_codes.squeeze.settings import SqueezeSettings


def require(settings: SqueezeSettings) -> None:
    """It needs nothing beside."""
    del settings


def examine() -> Examined:
    """It is here."""
    return Examined(fit=True, message="crystals can be squeezed")


def cells(prototype: Prototype, probes: GateProbes, settings: SqueezeSettings) -> list[Cell]:
    """The crystal at rest, and squeezed."""
    del probes
    found = []
    for part in (1.0, settings.part):
        atoms = crystal(prototype)
        atoms.set_cell(part * atoms.cell.array, scale_atoms=True)
        found.append(Cell(f"property: {prototype.name}, squeezed to {part:g}", atoms))
    return found


def measure(asked: Measuring) -> Iterator[Measure]:
    """The energy that it takes, in meV/atom."""
    pair = cells(asked.prototype, asked.probes, asked.settings)
    labels = [asked.labels[cell.name] for cell in pair if cell.name in asked.labels]
    values: dict[str, float | None] = {"oracle": None}
    if len(labels) == len(pair):
        values["oracle"] = _cost([label.get_potential_energy() for label in labels], labels[0])
    for which, potential in asked.potentials.items():
        energies = [potential.evaluate(cell.atoms, graded=False).energy_ev for cell in pair]
        values[which] = _cost(energies, pair[0].atoms)
    yield measured("squeeze", asked.prototype.name, "meV/atom", 1.0, values)


def _cost(energies_ev: list[float], atoms: Atoms) -> float:
    return 1000 * (energies_ev[1] - energies_ev[0]) / len(atoms)
