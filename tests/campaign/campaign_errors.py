"""How far a potential is from labels, by pyace itself and by none of the project's code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pyace import PyACECalculator


def errors(
    folder: Path, references_ev: Mapping[str, float], frames: Sequence[Atoms]
) -> tuple[float, float]:
    """RMSE of energies in meV/atom and of force components in meV/Å, by pyace itself."""
    calculator = PyACECalculator(str(folder / "potential.yaml"))
    of_energies, of_forces = [], []
    for frame in frames:
        calculator.calculate(frame.copy())
        shift_ev = sum(references_ev[symbol] for symbol in frame.get_chemical_symbols())
        error_ev = calculator.results["energy"] + shift_ev - frame.get_potential_energy()
        of_energies.append(error_ev / len(frame))
        of_forces.append((calculator.results["forces"] - frame.get_forces()).ravel())
    return 1e3 * _rms(np.array(of_energies)), 1e3 * _rms(np.concatenate(of_forces))


def _rms(values: "np.ndarray[Any, np.dtype[np.float64]]") -> float:
    return float(np.sqrt(np.mean(np.square(values))))
