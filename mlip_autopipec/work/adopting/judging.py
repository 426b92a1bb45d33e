"""Which of the user's frames may become labels, and which not, each with reason, file and number.

What is wrong with one frame is a fault of that frame. What is wrong with all, such as a unit,
refuses the set whatever the site file says of faulty frames.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from mlip_autopipec.contract.dataset import AdoptParameters
from mlip_autopipec.work.adopting.consistency import contradictions, outliers, pairs_of
from mlip_autopipec.work.adopting.frames import OfferedFrame
from mlip_autopipec.work.structures import finite, shortest_distance

_ANGLE_MIN_DEGREES = 15.0
_VOLUME_MIN_ANGSTROM3 = 1.0
#: Forces of a periodic cell add up to nothing; grids and drift leave some of each.
_NET_FORCE_MAX_EV_PER_ANGSTROM = 0.02
_NET_FORCE_PARTS = 0.05
#: Energies of the same composition differ by no more than this, unless references or units do.
_ENERGY_APART_EV_PER_ATOM = 3.0
_FILES_APART_EV_PER_ATOM = 1.0
_MADS = 30.0
_NEVER_MOVED_FRAMES_MIN = 3
#: Two structures are one where the surroundings of all atoms are the same to this part.
_SAME = 1e-5
_SEEN_ANGSTROM = 5.0
#: Atoms see the same to this part.
_ALIKE = 1e-4
_NUMBERS_MAX = 8
_KINDS_MAX = 8
#: Of bound atoms it is 0.9 to 1.2; in Bohr 1.7 to 2.3.
_FAR_IN_RADII = 1.55
_MOST = 0.9
_LOOKED_AT_MAX = 40
_NOBLE = frozenset({2, 10, 18, 36, 54, 86})
#: Per-atom energies show where cells differ by this factor in size.
_SIZES_APART = 1.5
#: Energies are per atom where a fit by composition alone leaves no more than this part of what one
#: by numbers leaves.
_PER_ATOM_PARTS = 0.25
_FRAMES_FOR_SIZES = 4


@dataclass(frozen=True)
class JudgedSet:
    """Frames that may be labels, frames that may not, and what a person should know of the set."""

    sound: list[OfferedFrame]
    faulty: list[OfferedFrame]


def judge(
    frames: Sequence[OfferedFrame],
    asked: AdoptParameters,
    elements: Sequence[str],
    distance_min_angstrom: float,
    tests: Mapping[str, Atoms],
) -> tuple[JudgedSet, str]:
    """The frames, judged, and why the set is refused; empty if it is not.

    `tests`: structures that no fit may see.
    """
    for frame in frames:
        frame.faults += _of_structure(frame, elements, distance_min_angstrom)
    whole = [frame for frame in frames if not frame.faults]
    _find_duplicates(whole, tests)
    whole = [frame for frame in whole if not frame.faults]
    groups = pairs_of(whole)
    wrong = [
        *_of_lengths(whole),
        *_of_all_forces(whole),
        *_per_atom(whole),
        *contradictions(groups),
        *_between_files(whole),
    ]
    if not wrong:
        for number, message in outliers(groups).items():
            next(frame for frame in whole if id(frame) == number).faults.append(message)
        _find_far_energies(whole)
    for frame in whole:
        frame.faults += _of_size(frame, asked)
    judged = JudgedSet(
        [frame for frame in frames if not frame.faults], [frame for frame in frames if frame.faults]
    )
    if judged.faulty and asked.faulty_frames == "refuse":
        count = f"{len(judged.faulty)} of {len(frames)} frames are faulty"
        remedy = (
            "mend or remove them, or go on without them by `dataset: {faulty_frames: leave_out}`"
        )
        wrong.append(f"{count}: {listed(judged.faulty)}. Remedy: {remedy}")
    elif not judged.sound:
        wrong.append(f"no frame is sound: {listed(judged.faulty)}")
    return judged, "; ".join(wrong)


def listed(faulty: Sequence[OfferedFrame]) -> str:
    """Faults by kind, each with its files and numbers."""
    kinds: dict[str, dict[str, list[int]]] = {}
    for frame in faulty:
        for fault in frame.faults[:2]:
            kinds.setdefault(fault, {}).setdefault(frame.file, []).append(frame.number)
    parts = [f"{_where(files)}: {fault}" for fault, files in kinds.items()]
    more = f"; and {len(parts) - _KINDS_MAX} more" if len(parts) > _KINDS_MAX else ""
    return "; ".join(parts[:_KINDS_MAX]) + more


def _where(files: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(
        (
            f"{'frame' if len(numbers) == 1 else 'frames'}"
            f" {', '.join(map(str, numbers[:_NUMBERS_MAX]))}"
        )
        + (f" and {len(numbers) - _NUMBERS_MAX} more" if len(numbers) > _NUMBERS_MAX else "")
        + f" of {file}"
        for file, numbers in files.items()
    )


# --- one frame ------------------------------------------------------------------------------------


def _of_structure(
    frame: OfferedFrame, elements: Sequence[str], distance_min_angstrom: float
) -> Iterator[str]:
    """Whether it is a periodic cell of the campaign's elements."""
    atoms = frame.atoms
    if not len(atoms):
        yield "no atoms"
        return
    if not finite(atoms.positions, atoms.cell.array):
        yield "positions or a cell that are NaN or infinite"
        return
    if unknown := sorted(set(atoms.get_chemical_symbols()) - set(elements)):
        yield f"{', '.join(unknown)}, which is not in campaign.elements"
    if not atoms.pbc.all():
        if not atoms.pbc.any():
            yield (
                "not periodic (pbc F F F): a label is of a periodic cell; atoms alone and clusters"
                " can't be adopted"
            )
        else:
            mixed = " ".join("FT"[int(along)] for along in atoms.pbc)
            yield (
                f"mixed periodicity (pbc {mixed}): if it has vacuum there and was calculated"
                " periodic, write T T T"
            )
    if (
        abs(float(np.linalg.det(atoms.cell.array)))
        < _VOLUME_MIN_ANGSTROM3 * max(len(atoms), 1) / 10
    ):
        yield "a cell without volume"
        return
    angles = atoms.cell.angles()
    if angles.min() < _ANGLE_MIN_DEGREES or angles.max() > 180 - _ANGLE_MIN_DEGREES:
        yield (
            f"a cell with an angle of {angles[np.abs(angles - 90).argmax()]:.0f}°: reduce it"
            " (Niggli)"
        )
        return
    if atoms.pbc.any() and shortest_distance(atoms, distance_min_angstrom) < distance_min_angstrom:
        yield f"two atoms closer than distance_min_angstrom ({distance_min_angstrom:g})"


def _of_size(frame: OfferedFrame, asked: AdoptParameters) -> Iterator[str]:
    """Forces and pressures that no label of this campaign may have.

    Also forces that do not add up to nothing.
    """
    if frame.forces is None:
        return
    sizes = np.linalg.norm(frame.forces, axis=1)
    if sizes.max() > asked.force_max_ev_per_angstrom:
        yield (
            "a force above calculation.force_max_ev_per_angstrom"
            f" ({asked.force_max_ev_per_angstrom:g}): absurd, or in other units"
            " (dataset.forces_unit)"
        )
    if (
        frame.stress is not None
        and abs(frame.stress[:3].mean()) > asked.pressure_max_gpa * units.GPa
    ):
        yield (
            f"a pressure above calculation.pressure_max_gpa ({asked.pressure_max_gpa:g}): absurd,"
            " in other units (dataset.stress_unit), or a virial (dataset.virial)"
        )
    net = float(np.linalg.norm(frame.forces.mean(axis=0)))
    if net > _NET_FORCE_MAX_EV_PER_ANGSTROM and net > _NET_FORCE_PARTS * float(sizes.mean()):
        yield (
            "forces that do not add up to zero, as if some atoms were fixed or some forces missing"
        )


# --- duplicates -----------------------------------------------------------------------------------


def _find_duplicates(frames: Sequence[OfferedFrame], tests: Mapping[str, Atoms]) -> None:
    """The later of two that are one structure is faulty; both are where their labels differ."""
    seen: dict[tuple[object, ...], list[tuple[np.ndarray, OfferedFrame | str]]] = {}
    for name, atoms in tests.items():
        mark = _surroundings(atoms)
        seen.setdefault((_formula(atoms), _bucket(mark)), []).append((mark, name))
    for frame in frames:
        mark, formula = _surroundings(frame.atoms), _formula(frame.atoms)
        near = (
            each for step in (0, -1, 1) for each in seen.get((formula, _bucket(mark) + step), ())
        )
        twin = next((other for known, other in near if np.abs(known - mark).max() < _SAME), None)
        if twin is None:
            seen.setdefault((formula, _bucket(mark)), []).append((mark, frame))
        elif isinstance(twin, str):
            frame.faults.append(f"the same structure as {twin}, which no fit may see")
        elif _same_energy(frame, twin):
            frame.faults.append(f"the same structure as {twin.name}")
        else:
            frame.faults.append(
                f"the same structure as {twin.name}, with another energy: only one can be right"
            )


def _bucket(mark: np.ndarray) -> int:
    """Equal marks are in the same bucket or in neighbouring ones."""
    return int(np.floor(mark.mean() / (10 * _SAME)))


def _formula(atoms: Atoms) -> tuple[object, ...]:
    return tuple(sorted(atoms.symbols.formula.count().items()))


def _surroundings(atoms: Atoms) -> np.ndarray:
    """Of each atom a smooth sum over all others, sorted: no turn, move or numbering changes it.

    Of each pair the nearest image alone is seen: enough to know a structure again, and quick.
    """
    distances = _nearest_images(atoms)
    parts = _parts(atoms, distances)
    sums = parts.sum(axis=1) * np.sqrt(atoms.numbers)
    densest = (parts * np.exp(-distances)).sum(axis=1)
    marks = np.sort(sums) / max(float(sums.max(initial=0.0)), 1e-9)
    size = [atoms.get_volume() / 10 / len(atoms), *np.sort(atoms.cell.lengths()) / 10]
    return np.concatenate([marks, np.sort(densest), size])


def _nearest_images(atoms: Atoms) -> np.ndarray:
    indices = atoms.get_scaled_positions(wrap=False)
    apart = indices[:, None] - indices[None]
    distances: np.ndarray = np.linalg.norm((apart - np.rint(apart)) @ atoms.cell.array, axis=2)
    return distances


def _parts(atoms: Atoms, distances: np.ndarray) -> np.ndarray:
    parts: np.ndarray = (
        np.clip(1 - distances / _SEEN_ANGSTROM, 0.0, None) ** 2 * np.sqrt(atoms.numbers)[None]
    )
    return parts


def _sums(atoms: Atoms) -> np.ndarray:
    sums: np.ndarray = _parts(atoms, _nearest_images(atoms)).sum(axis=1)
    return sums


def _is_symmetric(atoms: Atoms) -> bool:
    """Whether all atoms of an element see the same, as in a crystal at rest with zero forces."""
    sums = _sums(atoms)
    return all(
        float(np.ptp(sums[atoms.numbers == kind])) < _ALIKE * float(sums.max())
        for kind in set(atoms.numbers)
    )


def _same_energy(frame: OfferedFrame, other: OfferedFrame) -> bool:
    apart = abs((frame.energy_ev or 0.0) - (other.energy_ev or 0.0)) / len(frame.atoms)
    return apart < 1e-3  # noqa: PLR2004 - eV/atom, of one calculation made twice


# --- the whole set --------------------------------------------------------------------------------


def _of_all_forces(frames: Sequence[OfferedFrame]) -> Iterator[str]:
    """Forces that are all zero were never calculated."""
    if len(frames) < _NEVER_MOVED_FRAMES_MIN:
        return
    energies = np.array([(frame.energy_ev or 0.0) / len(frame.atoms) for frame in frames])
    moved = any(frame.forces is not None and frame.forces.any() for frame in frames)
    if moved and float(np.ptp(energies)) == 0:
        yield (
            f"all energies of all frames are {energies[0]:g} eV/atom ({frames[0].name} and every"
            " other): they are missing; name the ones to read in dataset.energy, or calculate them"
        )
    if not moved and not all(_is_symmetric(frame.atoms) for frame in frames[:_LOOKED_AT_MAX]):
        yield (
            f"all forces of all frames are zero ({frames[0].name} and every other): they are"
            " missing, not small; name the ones to read in dataset.forces, or calculate them"
        )


def _of_lengths(frames: Sequence[OfferedFrame]) -> Iterator[str]:
    """Neighbours nearly twice as far apart as atoms that are bound are lengths in Bohr."""
    some = frames[:: max(1, -(-len(frames) // _LOOKED_AT_MAX))]
    far, bound = list[OfferedFrame](), 0
    for frame in some:
        if _are_far_apart(frame.atoms):
            far.append(frame)
        else:
            bound += 1
            if len(some) - bound < _MOST * len(some):
                return
    if len(some) < _NEVER_MOVED_FRAMES_MIN:
        return
    yield (
        f"{far[0].name} and others: no two atoms are nearer than {_FAR_IN_RADII:g} times their"
        " covalent radii, as if positions and cells were in Bohr. If they are, say `dataset:"
        " {length_unit: bohr}`; else mend the file"
    )


def _are_far_apart(atoms: Atoms) -> bool:
    """Whether there are neighbours, and none within so many sums of covalent radii.

    Never of atoms that never bind.
    """
    if set(atoms.numbers) & _NOBLE:
        return False
    reach = _FAR_IN_RADII * covalent_radii[atoms.numbers]
    return (
        not len(neighbor_list("d", atoms, reach))
        and len(neighbor_list("d", atoms, _SEEN_ANGSTROM)) > 0
    )


def _per_atom(frames: Sequence[OfferedFrame]) -> Iterator[str]:
    """Energies that do not grow with the number of atoms are those of one atom."""
    sizes = np.array([len(frame.atoms) for frame in frames])
    if len(frames) < _FRAMES_FOR_SIZES or sizes.max() < _SIZES_APART * sizes.min():
        return
    fractions, energies = (
        _fractions(frames),
        np.array([frame.energy_ev for frame in frames], dtype=float),
    )
    of_cells, of_atoms = _spread(fractions * sizes[:, None], energies), _spread(fractions, energies)
    if of_atoms < _PER_ATOM_PARTS * min(of_cells, float(np.abs(energies).mean())):
        small, large = frames[int(sizes.argmin())], frames[int(sizes.argmax())]
        yield (
            f"{small.name} ({len(small.atoms)} atoms, {small.energy_ev:.4g} eV) and {large.name}"
            f" ({len(large.atoms)} atoms, {large.energy_ev:.4g} eV): energies do not grow with the"
            " number of atoms. If they are per atom, say `dataset: {energy_per_atom: true}`; else"
            " mend the file"
        )


def _fractions(frames: Sequence[OfferedFrame]) -> np.ndarray:
    kinds = sorted({symbol for frame in frames for symbol in frame.atoms.get_chemical_symbols()})
    counts = [
        [frame.atoms.get_chemical_symbols().count(kind) for kind in kinds] for frame in frames
    ]
    table = np.array(counts, dtype=float)
    fractions: np.ndarray = table / table.sum(axis=1, keepdims=True)
    return fractions


def _spread(fractions: np.ndarray, energies: np.ndarray) -> float:
    """What a fit by composition, or by the numbers of atoms, leaves: root mean square."""
    return float(np.sqrt((_beyond_composition(fractions, energies) ** 2).mean()))


def _beyond_composition(fractions: np.ndarray, energies: np.ndarray) -> np.ndarray:
    fitted = np.linalg.lstsq(fractions, energies, rcond=None)[0]
    left: np.ndarray = energies - fractions @ fitted
    return left


def _between_files(frames: Sequence[OfferedFrame]) -> Iterator[str]:
    """Files whose energies lie apart have other references, another functional or other units."""
    files = sorted({frame.file for frame in frames})
    kinds = {symbol for frame in frames for symbol in frame.atoms.get_chemical_symbols()}
    if len(files) < 2 or len(frames) < len(files) + len(kinds):  # noqa: PLR2004 - one has none to be compared with
        return
    left = _energies_beyond_composition(frames)
    by_file = {file: left[[frame.file == file for frame in frames]] for file in files}
    medians = {file: float(np.median(values)) for file, values in by_file.items()}
    inside = max(
        float(np.median(np.abs(values - medians[file]))) for file, values in by_file.items()
    )
    low, high = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    apart = medians[high] - medians[low]
    if apart > max(_FILES_APART_EV_PER_ATOM, _MADS * inside):
        first = next(frame for frame in frames if frame.file == high)
        yield (
            f"{first.name} and the others of that file: energies lie {apart:.3g} eV/atom above"
            f" those of {low} for the same composition. They have other references, another"
            f" functional or other units: bring them to one, or take {high} or {low} out of"
            " dataset.files"
        )


def _energies_beyond_composition(frames: Sequence[OfferedFrame]) -> np.ndarray:
    sizes = np.array([len(frame.atoms) for frame in frames])
    return _beyond_composition(
        _fractions(frames), np.array([frame.energy_ev for frame in frames], dtype=float) / sizes
    )


def _find_far_energies(frames: Sequence[OfferedFrame]) -> None:
    """A frame whose energy lies far from those of the same composition is of something else."""
    frames = [frame for frame in frames if not frame.faults]
    if len(frames) < _FRAMES_FOR_SIZES:
        return
    left = _energies_beyond_composition(frames)
    off = left - np.median(left)
    limit = max(_ENERGY_APART_EV_PER_ATOM, _MADS * float(np.median(np.abs(off))))
    for frame, apart in zip(frames, off, strict=True):
        if abs(apart) > limit:
            frame.faults.append(
                f"an energy {apart:+.3g} eV/atom off those of the same composition: other units,"
                " or another calculation"
            )
