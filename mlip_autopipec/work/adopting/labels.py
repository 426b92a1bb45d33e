"""The user's frames as labels of the campaign.

It says which are held out to test, and which the oracle labels again.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from mlip_autopipec.contract.dataset import ADOPTED
from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.work import families
from mlip_autopipec.work.adopting.frames import OfferedFrame
from mlip_autopipec.work.origins import note_origin

#: What a frame's numbers are called in the file of one that is labelled again.
ENERGY, FORCES, STRESS = "adopted_energy_ev", "adopted_forces", "adopted_stress"
#: Consecutive frames that differ by less are one walk.
_WALK_ANGSTROM = 0.3
_SAME_CELL = 0.05
_TESTS_MIN = 2


def roles(frames: Sequence[OfferedFrame], part: float) -> list[str]:
    """`train` or `test` of each frame.

    Walks stay whole, and every so-manieth is held out: at least two, if any.
    """
    walks = _walks(frames)
    wanted = min(max(_TESTS_MIN, round(part * len(frames))), len(frames) // 2) if part > 0 else 0
    found = ["train"] * len(frames)
    if len(walks) < 2 * _TESTS_MIN or not wanted:
        # One long walk: its end is held out, as far from its begin as it gets.
        for index in range(len(frames) - wanted, len(frames)):
            found[max(index, 0)] = "test"
        return found
    stride = max(len(frames) / wanted, 2.0)
    held_out, passed = 0, 0
    for walk in walks:
        passed += len(walk)
        if passed >= stride * (held_out + 0.5) and held_out < wanted:
            held_out += len(walk)
            for index in walk:
                found[index] = "test"
    return found


def _walks(frames: Sequence[OfferedFrame]) -> list[list[int]]:
    """Frames by number, those together that follow each other closely."""
    walks: list[list[int]] = []
    for index, frame in enumerate(frames):
        if walks and _goes_on(frames[walks[-1][-1]], frame):
            walks[-1].append(index)
        else:
            walks.append([index])
    return walks


def _goes_on(before: OfferedFrame, after: OfferedFrame) -> bool:
    earlier, other = before.atoms, after.atoms
    if before.file != after.file or not np.array_equal(earlier.numbers, other.numbers):
        return False
    if np.abs(earlier.cell.array - other.cell.array).max() > _SAME_CELL:
        return False
    moved = other.get_scaled_positions() - earlier.get_scaled_positions()
    moved = (moved - np.rint(moved)) @ earlier.cell.array
    return bool(np.sqrt((moved**2).sum(axis=1).mean()) < _WALK_ANGSTROM)


def to_check(frames: Sequence[OfferedFrame], count: int) -> list[OfferedFrame]:
    """To label again: most different in file, composition, volume and forces; enough for offsets.

    One more than there are independent compositions, so that energies are also held against each
    other.
    """
    kinds = sorted({symbol for frame in frames for symbol in frame.atoms.get_chemical_symbols()})
    fractions = np.array(
        [[frame.atoms.get_chemical_symbols().count(kind) for kind in kinds] for frame in frames],
        float,
    )
    fractions /= fractions.sum(axis=1, keepdims=True)
    wanted = min(len(frames), max(count, int(np.linalg.matrix_rank(fractions)) + 1))
    files = list(dict.fromkeys(frame.file for frame in frames))
    volumes = np.array([frame.atoms.get_volume() / len(frame.atoms) for frame in frames])
    forces = np.array([np.sqrt((np.asarray(frame.forces) ** 2).mean()) for frame in frames])
    marks = np.column_stack(
        [
            2 * fractions,
            [[2.0 * (frame.file == file) for file in files[:50]] for frame in frames],
            volumes / max(float(np.median(volumes)), 1e-9),
            0.5 * forces / max(float(forces.max()), 1e-9),
        ]
    )
    # Small forces show no sign and no unit: the first is one of the larger ones.
    chosen = [int(np.argsort(forces, kind="stable")[(3 * len(frames)) // 4])]
    while len(chosen) < wanted:
        distances = np.array(
            [np.linalg.norm(marks - marks[index], axis=1) for index in chosen]
        ).min(axis=0)
        distances[chosen] = -1.0
        chosen.append(int(distances.argmax()))
    return [frames[index] for index in sorted(chosen)]


def as_label(frame: OfferedFrame, role: str) -> Atoms:
    """The frame as Training reads it."""
    label = _bare(frame)
    numbers = {"energy": frame.energy_ev, "forces": frame.forces}
    if frame.stress is not None:
        numbers["stress"] = frame.stress
    label.calc = SinglePointCalculator(label, **numbers)
    label.info = {"role": role, "settings": ADOPTED}
    note_origin(label, Origin(kind="adopted", subject=frame.name))
    return label


def as_check(frame: OfferedFrame) -> Atoms:
    """The frame as Calculation labels it again, with the numbers of the set beside it."""
    atoms = families.begin(_bare(frame))
    atoms.info[ENERGY] = frame.energy_ev
    atoms.set_array(FORCES, np.asarray(frame.forces))
    if frame.stress is not None:
        atoms.info[STRESS] = frame.stress
    return atoms


def _bare(frame: OfferedFrame) -> Atoms:
    return Atoms(
        frame.atoms.get_chemical_symbols(), frame.atoms.positions, cell=frame.atoms.cell, pbc=True
    )
