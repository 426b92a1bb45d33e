"""A frame of the user's beside the oracle's label of the same structure."""

import numpy as np
from ase import Atoms, units

from mlip_autopipec.contract.dataset import FORCE_EV_PER_ANGSTROM, STRESS_EV_PER_ANGSTROM3
from mlip_autopipec.contract.results.label import LabelDifference
from mlip_autopipec.work.adopting.labels import ENERGY, FORCES, STRESS
from mlip_autopipec.work.structures import Numbers

#: After scaling by one number, no more may be left, in parts.
_LEFT_MAX = 0.15
_MATCH = 0.05
_ALIKE = 0.1


def difference(atoms: Atoms, found: Numbers) -> LabelDifference | None:
    """How far set and oracle are apart, for the outcome.

    None if the structure carries no numbers of a set.
    """
    if ENERGY not in atoms.info or FORCES not in atoms.arrays:
        return None
    forces, stress = np.asarray(atoms.arrays[FORCES], dtype=float), atoms.info.get(STRESS)
    off = np.linalg.norm(forces - found.forces, axis=1)
    given = None if stress is None else np.asarray(stress, dtype=float).reshape(6)
    return LabelDifference(
        set_energy_ev=float(atoms.info[ENERGY]),
        composition=atoms.symbols.formula.count(),
        force_mev_per_angstrom=1000 * float(off.max()),
        oracle_force_mev_per_angstrom=1000 * float(np.linalg.norm(found.forces, axis=1).max()),
        force_hint=_of_forces(forces, found.forces),
        stress_gpa=None if given is None else float(np.abs(given - found.stress).max() / units.GPa),
        stress_hint=""
        if given is None
        else _of_stress(given, found.stress, float(atoms.get_volume())),
    )


def _of_forces(given: np.ndarray, right: np.ndarray) -> str:
    factor = _factor(given, right)
    if factor is None:
        return ""
    if abs(factor + 1) < _ALIKE:
        return "with the opposite sign they agree: `forces_sign: gradient`"
    for name, unit in FORCE_EV_PER_ANGSTROM.items():
        if name != "eV/angstrom" and abs(factor / unit - 1) < _MATCH:
            return f"in {name} they agree: `forces_unit: {name}`"
    return f"{factor:.3g} times as large they agree" if abs(factor - 1) > _ALIKE else ""


def _of_stress(given: np.ndarray, right: np.ndarray, volume: float) -> str:
    factor = _factor(given, right)
    if factor is None or abs(factor - 1) <= _ALIKE:
        return ""
    units_of = {
        "": 1.0,
        **{f"`stress_unit: {name}`": unit for name, unit in STRESS_EV_PER_ANGSTROM3.items()},
    }
    for hint, unit in units_of.items():
        if abs(factor / unit - 1) < _MATCH:
            return f"they agree with {hint}"
        if abs(factor / unit + 1) < _MATCH:
            return (
                f"they agree with {' and '.join(filter(None, (hint, '`stress_sign: opposite`')))}"
            )
    for sign, more in ((-1, ""), (1, " and `stress_sign: opposite`")):
        if abs(sign * factor * volume - 1) < _MATCH:
            return f"they agree with `virial: NAME`{more}"
        if abs(sign * factor / volume - 1) < _MATCH:
            return f"they agree with `stress: NAME`{more}"
    return f"{factor:.3g} times as large they agree"


def _factor(given: np.ndarray, right: np.ndarray) -> float | None:
    """The number by which all of `given` become `right`; None if there is none."""
    square = float((given**2).sum())
    if square == 0:
        return None
    factor = float((given * right).sum()) / square
    left = float(np.linalg.norm(factor * given - right))
    return (
        factor if left <= _LEFT_MAX * max(float(np.linalg.norm(right)), 1e-12) and factor else None
    )
