"""What labels say of themselves: whether energies, forces and stresses of near frames agree.

Between two frames of the same atoms the energy changes by the work of the forces along the way and
of the stress along the strain. By the trapezoidal rule, which is exact where the energy is
quadratic,

    E_b - E_a = -1/2 (F_a + F_b) · u + 1/2 (V_a σ_a + V_b σ_b) : ε

with u the displacements that no strain explains and ε the logarithmic strain. A fit of the left
side by the two terms of the right has the coefficients 1 and 1; other units, signs and conventions
have others, by which they are known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from mlip_autopipec.contract.dataset import (
    ENERGY_EV,
    FORCE_EV_PER_ANGSTROM,
    STRESS_EV_PER_ANGSTROM3,
)
from mlip_autopipec.work.adopting.frames import OfferedFrame

#: Of one kind of cell, so many frames are compared with each other.
_FRAMES_MAX = 50
_GROUPS_MAX = 20
#: Beyond, the trapezoidal rule says little.
_DISPLACEMENT_MAX_ANGSTROM = 0.8
_STRAIN_MAX = 0.12
_NO_STRAIN = 1e-5
_ROTATION_MAX = 0.02
_PAIRS_MIN = 6
#: What the fit leaves, in parts of the energy differences; above, the frames are too far apart to
#: be judged.
_LEFT_MAX = 0.3
#: Another coefficient than 1 must leave so much less than 1 does.
_EXPLAINED = 0.5
#: The rule is no exact one for large displacements: a coefficient within this factor of 1 (its
#: logarithm) is right.
_RIGHT = 0.4
#: Of the same, and it says the less of which unit it is.
_MATCH = 0.25
_REWEIGHTED = 15
#: A correlation of energies and forces below it is none, if so many pairs show it.
_UNRELATED, _UNRELATED_PAIRS_MIN = 0.3, 15
_GRADIENT = "`forces_sign: gradient`"
#: What codes of atomic units write together.
_ATOMIC = frozenset(
    {"`energy_unit: Ha`", "`energy_unit: Ry`", "`forces_unit: Ha/bohr`", "`forces_unit: Ry/bohr`"}
)
#: Forces are judged by frames that are displaced, stress by frames that are strained and hardly
#: displaced.
_DISPLACED_ANGSTROM = 0.02
_STRAINED = 0.003
_NEIGHBOUR_ANGSTROM = 2.5
_STRAINED_PARTS = 0.3
#: A frame that agrees with no other: by so many times what the others leave, and so much of an
#: energy at least.
_OUTLIER_TIMES = 4.0
_OUTLIER_EV_PER_ATOM = 0.01
_OUTLIER_PARTS = 0.5
_NEIGHBOURS_MIN = 4


@dataclass(frozen=True)
class Pair:
    """Two near frames: how the energy changes, and what forces and stress say of that (in eV)."""

    first: OfferedFrame
    second: OfferedFrame
    energy: float
    by_forces: float
    by_stress: float
    displaced_angstrom: float
    strained: float


def pairs_of(frames: Sequence[OfferedFrame]) -> list[list[Pair]]:
    """Every pair of near frames by kinds of cells. Frames have energies, forces and whole cells."""
    groups: dict[tuple[str, ...], list[OfferedFrame]] = {}
    for frame in frames:
        groups.setdefault(tuple(frame.atoms.get_chemical_symbols()), []).append(frame)
    largest = sorted(groups.values(), key=len, reverse=True)[:_GROUPS_MAX]
    return [list(_pairs(group[:: -(-len(group) // _FRAMES_MAX)])) for group in largest]


def _pairs(frames: Sequence[OfferedFrame]) -> Iterator[Pair]:
    for first, second in combinations(frames, 2):
        if (pair := _pair(first, second)) is not None:
            yield pair


def _pair(first: OfferedFrame, second: OfferedFrame) -> Pair | None:
    cells = first.atoms.cell.array, second.atoms.cell.array
    deformation = np.linalg.solve(*cells)
    if np.abs(deformation - deformation.T).max() / 2 > _ROTATION_MAX:
        return None
    values, vectors = np.linalg.eigh(deformation @ deformation.T)
    strain = vectors @ np.diag(0.5 * np.log(values)) @ vectors.T
    largest = float(np.abs(strain).max())
    if largest > _STRAIN_MAX or (
        largest > _NO_STRAIN and (first.stress is None or second.stress is None)
    ):
        return None
    moved = np.linalg.solve(cells[1].T, second.atoms.positions.T) - np.linalg.solve(
        cells[0].T, first.atoms.positions.T
    )
    moved = (moved - np.rint(moved)).T
    moved = (moved - moved.mean(axis=0)) @ ((cells[0] + cells[1]) / 2)
    if np.abs(moved).max() > _DISPLACEMENT_MAX_ANGSTROM:
        return None
    assert first.forces is not None and second.forces is not None  # noqa: S101, PT018 - the caller's promise
    assert first.energy_ev is not None and second.energy_ev is not None  # noqa: S101, PT018
    by_forces = -0.5 * float(((first.forces + second.forces) * moved).sum())
    by_stress = 0.0
    if first.stress is not None and second.stress is not None:
        mean = (
            first.stress * first.atoms.get_volume() + second.stress * second.atoms.get_volume()
        ) / 2
        shears = 2 * strain[1, 2], 2 * strain[0, 2], 2 * strain[0, 1]
        by_stress = float(mean @ np.array([*np.diag(strain), *shears]))
    change = second.energy_ev - first.energy_ev
    return Pair(first, second, change, by_forces, by_stress, float(np.abs(moved).max()), largest)


def contradictions(groups: Sequence[Sequence[Pair]]) -> list[str]:
    """What is wrong with a whole set, in words with the frames that show it and the remedy."""
    found: dict[str, str] = {}
    for pairs in groups:
        for message, example in _contradictions(pairs):
            found.setdefault(message, example)
    return [f"{example}: {message}" for message, example in found.items()]


def _contradictions(pairs: Sequence[Pair]) -> Iterator[tuple[str, str]]:
    displaced = [pair for pair in pairs if _is_displaced(pair)]
    strained = [pair for pair in pairs if _is_strained(pair)]
    energies_small = 1.0
    both = _fitted(
        displaced, np.array([[pair.by_forces, pair.by_stress] for pair in displaced]), 1.0
    )
    if both is not None and not _is_right(both[0]):
        energies_small, message = _of_forces(both[0], len(displaced[0].first.atoms))
        if message:
            expected = (
                f"the energy changes {both[0]:.3g} times as much as the forces say (force = -dE/dx)"
            )
            yield f"{expected}. {_remedy(message)}", _names(displaced)
    if both is None and _are_unrelated(displaced):
        yield (
            (
                "energies change as if they had nothing to do with the forces (force = -dE/dx),"
                " here and in other near frames: they are of other frames, other axes or another"
                " calculation; mend the file"
            ),
            _names(displaced),
        )
    alone = _fitted(strained, np.array([[pair.by_stress] for pair in strained]), energies_small)
    if alone is not None and not _is_right(alone[0]):
        message = _of_stress(
            alone[0], float(strained[0].first.atoms.get_volume()), forces_agree=both is not None
        )
        if message:
            expected = f"the energy changes {alone[0]:.3g} times as much as stress and strain say"
            yield f"{expected}. {_remedy(message)}", _names(strained)


def _are_unrelated(pairs: Sequence[Pair]) -> bool:
    """Whether energies go their own way; sound sets have a correlation of nearly one."""
    if len(pairs) < _UNRELATED_PAIRS_MIN:
        return False
    energies = np.array([pair.energy for pair in pairs])
    both = np.array([pair.by_forces + pair.by_stress for pair in pairs])
    size = float(np.linalg.norm(energies) * np.linalg.norm(both))
    return size > 0 and abs(float(energies @ both)) < _UNRELATED * size


def _is_displaced(pair: Pair) -> bool:
    strain_angstrom = pair.strained * _NEIGHBOUR_ANGSTROM
    return pair.displaced_angstrom > max(_DISPLACED_ANGSTROM, strain_angstrom)


def _is_strained(pair: Pair) -> bool:
    strain_angstrom = pair.strained * _NEIGHBOUR_ANGSTROM
    return pair.strained > _STRAINED and pair.displaced_angstrom < _STRAINED_PARTS * strain_angstrom


def _fitted(pairs: Sequence[Pair], terms: np.ndarray, energies_small: float) -> np.ndarray | None:
    """The coefficients of the terms; None where the pairs are too few or too far apart to judge."""
    if len(pairs) < _PAIRS_MIN:
        return None
    energies = np.array([pair.energy for pair in pairs]) / energies_small
    coefficients = _least_absolute(terms, energies)
    left, left_as_it_is = (
        float(np.abs(energies - terms @ each).sum())
        for each in (coefficients, 1.0 + 0 * coefficients)
    )
    explained = left < min(_LEFT_MAX * float(np.abs(energies).sum()), _EXPLAINED * left_as_it_is)
    return (
        coefficients
        if explained or left_as_it_is < _LEFT_MAX * float(np.abs(energies).sum())
        else None
    )


def _is_right(coefficient: float) -> bool:
    return coefficient > 0 and abs(np.log(coefficient)) < _RIGHT


def _names(pairs: Sequence[Pair]) -> str:
    example = max(pairs, key=lambda pair: abs(pair.energy))
    return f"{example.first.name} and {example.second.name}"


def _least_absolute(terms: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """The coefficients that leave the least sum of absolute differences.

    A few wrong frames do not move them.
    """
    weights = np.ones(len(energies))
    coefficients: np.ndarray = np.zeros(terms.shape[1])
    size = np.linalg.norm(terms, axis=0)
    scaled = terms / np.where(size > 0, size, 1.0)
    floor = 1e-9 + 1e-3 * float(np.abs(energies).mean())
    for _ in range(_REWEIGHTED):
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(scaled * root[:, None], energies * root, rcond=1e-8)[0]
        weights = 1 / np.maximum(np.abs(energies - scaled @ coefficients), floor)
    return coefficients / np.where(size > 0, size, 1.0)


def _of_forces(coefficient: float, atoms: int) -> tuple[float, str]:
    """By what the energies are too small, and what would explain the coefficient.

    Nothing is said of what would not.
    """
    found: list[tuple[bool, float, float, str]] = []
    for (energy, small), (force, large) in product(_energies(atoms).items(), _forces().items()):
        both = bool(energy and force)
        if both and not (_ATOMIC & {energy, force} and force in _ATOMIC | {_GRADIENT}):
            continue  # no tool mixes these
        if (energy or force) and _matches(coefficient, small * large):
            off = abs(float(np.log(coefficient / (small * large))))
            found.append((both, off, small, " and ".join(filter(None, (energy, force)))))
    simple = [each for each in found if not each[0]] or found
    if not simple:
        return 1.0, ""
    return min(simple)[2], " or ".join(hint for *_, hint in sorted(simple)[:3])


def _energies(atoms: int) -> Mapping[str, float]:
    units = {f"`energy_unit: {name}`": 1 / ev for name, ev in ENERGY_EV.items() if name != "eV"}
    return {"": 1.0, **units, "`energy_per_atom: true`": 1 / atoms}


def _forces() -> Mapping[str, float]:
    units = {
        f"`forces_unit: {name}`": ev
        for name, ev in FORCE_EV_PER_ANGSTROM.items()
        if name != "eV/angstrom"
    }
    return {"": 1.0, **units, _GRADIENT: -1.0}


def _of_stress(coefficient: float, volume: float, *, forces_agree: bool) -> str:
    units = {
        f"`stress_unit: {name}`": unit
        for name, unit in STRESS_EV_PER_ANGSTROM3.items()
        if name != "eV/angstrom3"
    }
    factors = {
        **units,
        **{f"{hint} and `stress_sign: opposite`": -unit for hint, unit in units.items()},
    }
    factors |= {"`stress_sign: opposite`": -1.0}
    factors |= {"`virial: NAME` (what is called stress is a virial)": -1 / volume}
    factors |= {
        "`virial: NAME` and `stress_sign: opposite` (what is called stress is a virial)": 1 / volume
    }
    factors |= {"`stress: NAME` (what is called a virial is a stress)": -volume}
    if not forces_agree:  # then it may as well be the energies
        factors |= {
            f"`energy_unit: {name}`": 1 / ev for name, ev in ENERGY_EV.items() if name != "eV"
        }
    found = sorted(
        (abs(float(np.log(coefficient / factor))), hint)
        for hint, factor in factors.items()
        if _matches(coefficient, factor)
    )
    return " or ".join(hint for _, hint in found[:3])


def _remedy(message: str) -> str:
    return f"If the files are so, say under dataset: {message}; else mend them"


def _matches(coefficient: float, factor: float) -> bool:
    return coefficient * factor > 0 and abs(np.log(coefficient / factor)) < _MATCH


def outliers(groups: Sequence[Sequence[Pair]]) -> Mapping[int, str]:
    """Frames whose energy and forces agree with no neighbour's, by `id`, in words."""
    found: dict[int, str] = {}
    for pairs in groups:
        left: dict[int, list[tuple[float, float]]] = {}
        for pair in pairs:
            off = abs(pair.energy - pair.by_forces - pair.by_stress) / len(pair.first.atoms)
            for frame in (pair.first, pair.second):
                left.setdefault(id(frame), []).append((off, abs(pair.energy) / len(frame.atoms)))
        medians = {frame: np.median(np.array(offs), axis=0) for frame, offs in left.items()}
        if not medians:
            continue
        usual = float(np.median([off for off, _ in medians.values()]))
        for number, (off, change) in medians.items():
            limit = max(
                _OUTLIER_TIMES * usual, _OUTLIER_EV_PER_ATOM, _OUTLIER_PARTS * float(change)
            )
            if off > limit and len(left[number]) >= _NEIGHBOURS_MIN:
                found[number] = (
                    f"energy and forces that do not belong together (off by {off:.2g} eV/atom from"
                    f" near frames, which agree to {usual:.2g}), as if its atoms were sorted"
                    " otherwise or it were of another calculation"
                )
    return found
