"""Labels as a fit sees them: composition, energies beside references, and what came from where."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.origins import origin_of

#: How the name of a task begins.
_CYCLE = re.compile(r"c\d{3,}(?=\.)")


def fit_references(train: Sequence[Atoms]) -> dict[str, float]:
    """Energies per element in eV, by composition alone."""
    return reference_energies(
        [composition(frame) for frame in train], [energy_ev(frame) for frame in train]
    )


def composition(frame: Atoms) -> dict[str, int]:
    """How many atoms of each element."""
    counted: dict[str, int] = frame.symbols.formula.count()
    return counted


def energy_ev(frame: Atoms) -> float:
    """The label's energy."""
    return float(frame.get_potential_energy())


def cohesive_ev(frame: Atoms, references: Mapping[str, float]) -> float:
    """The energy that the potential has to explain: the label's less its elements' references."""
    missing = sorted(composition(frame).keys() - references.keys())
    if missing:
        raise TaskFailed(
            "bad_input", f"no reference energy for {', '.join(missing)}: no training label held it"
        )
    return energy_ev(frame) - sum(
        references[element] * count for element, count in composition(frame).items()
    )


def stress_ev_per_angstrom3(frame: Atoms) -> np.ndarray | None:
    """The label's stress in Voigt's order with ASE's sign, shape (6,); None if it has none."""
    stress = (frame.calc.results if frame.calc is not None else {}).get("stress")
    return None if stress is None else np.asarray(stress, dtype=float)


def strain_derivative_ev(frame: Atoms) -> np.ndarray | None:
    """∂(energy)/∂strain of the label: stress times volume, shape (6,)."""
    stress = stress_ev_per_angstrom3(frame)
    return None if stress is None else stress * frame.get_volume()


def trajectory_of(frame: Atoms) -> str:
    """What a frame is not independent of: the walk it is a step of, or itself if it was generated.

    Frames of one walk go together, whatever they were picked for (halted, collected, audit, cloud).
    The walks of a condition in two cycles are two: by another potential, from another seed or from
    where the last one ended, a whole walk ago. The task that labelled a frame knows the cycle.
    """
    origin, task = origin_of(frame), str(frame.info.get("task", ""))
    if origin.step is None:
        return task or origin.sentence
    cycle = _CYCLE.match(task)
    walk = origin.subject or origin.kind
    return f"{walk}, {cycle[0]}" if cycle else walk


def reference_energies(
    compositions: Sequence[Mapping[str, int]], energies_ev: Sequence[float]
) -> dict[str, float]:
    """Energies per element in eV that explain the energies best by composition alone.

    They are those of least squares and minimum norm.
    """
    elements = sorted({element for composition in compositions for element in composition})
    counts = np.array(
        [[composition.get(element, 0) for element in elements] for composition in compositions]
    )
    solution, *_ = np.linalg.lstsq(counts.astype(float), np.asarray(energies_ev), rcond=None)
    return {element: float(value) for element, value in zip(elements, solution, strict=True)}
