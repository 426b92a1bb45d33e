"""Labels as a fit sees them: composition, energies beside the references, and what came from where."""

from collections.abc import Mapping, Sequence

from ase import Atoms

from mlip_autopipec.payload.ace import reference_energies
from mlip_autopipec.payload.frame import TaskFailed


def fit_references(train: Sequence[Atoms]) -> dict[str, float]:
    """Energies per element in eV, by composition alone."""
    return reference_energies([composition(frame) for frame in train], [energy_ev(frame) for frame in train])


def composition(frame: Atoms) -> dict[str, int]:
    """How many atoms of each element."""
    counted: dict[str, int] = frame.symbols.formula.count()
    return counted


def energy_ev(frame: Atoms) -> float:
    """The label's energy."""
    return float(frame.get_potential_energy())


def cohesive_ev(frame: Atoms, references: Mapping[str, float]) -> float:
    """The energy that the potential has to explain: that of the label less its elements' references."""
    missing = sorted(composition(frame).keys() - references.keys())
    if missing:
        raise TaskFailed("bad_input", f"no reference energy for {', '.join(missing)}: no training label held it")
    return energy_ev(frame) - sum(references[element] * count for element, count in composition(frame).items())


def origin_of(frame: Atoms) -> str:
    """Where a label came from, the same for every step of one trajectory."""
    origin: str = frame.info["origin"]
    return origin.partition(", step ")[0]


def condition_of(origin: str) -> str:
    """What the frame's walker walked in, which its replicas share; empty for a structure of no walker."""
    label, step, _ = origin.partition(": ")[2].rpartition(", step ")
    condition, mark, number = label.rpartition(" #")
    return (condition if mark and number.isdigit() else label) if step else ""
