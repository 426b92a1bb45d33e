"""Cutting a neighbourhood out of a frame, and closing the cut on itself.

All positions here are relative to the centre of the cut. What lies within half the box of it is the
*ball*: it is taken as it is and nothing else may come to lie there. Around it the Wigner-Seitz cell
of the box is filled up, a little beyond its faces, so that of two copies of one site which meet on
a face both are at hand however the heat has moved them. Then pairs that are too close go: the
tightest first, and of the two the one that is no part of the ball; else that of the element of
which there is too much, by the composition of what was cut; else the outer one.

"Too close" is told per pair of elements, from the shortest distance that the neighbourhood itself
shows (a hydrogen may sit where a metal may not). In a crystal the two copies are all but in the
same place and any bound between 0.2 and 0.9 of that distance does the same. In a liquid, what is
filled in beyond the faces is chosen so that the number of atoms of each element comes out as it was
cut.

If two atoms of the ball meet on a face, the outer one goes and the ball is that much smaller:
`intact_angstrom`. Such a cell is refused: what half the box promises has to hold up to there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.spatial import cKDTree

from mlip_autopipec.work.embedding.lattice import Box, images

#: Å, by the atomic numbers of a pair.
Shortest = Mapping[tuple[int, int], float]

#: Pairs closer than this part of the shortest distance of the neighbourhood are one too many.
_TOO_CLOSE = 0.7
#: Of the sum of two covalent radii: the shortest distance of a pair of elements that the
#: neighbourhood does not show.
_UNSEEN = 0.75
#: How far beyond the faces, as parts of the shortest distance. A crystal takes the last, for its
#: sites close on themselves, unless that differs from what was cut by this part: then a layer
#: stands on a surface that was not there.
_BEYOND = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
#: Å; two places that are nearer than this are one.
_SAME_ANGSTROM = 1e-6
_CRYSTAL_OFF = 0.06
_JITTERS, _JITTER_ANGSTROM = 12, 0.8
#: Atoms that may go for a cell to become neutral.
_CHARGE_STEPS_MAX = 4
_NEUTRAL = 1e-9


@dataclass(frozen=True)
class Neighbourhood:
    """All atoms and images around an atom of a frame, nearest first."""

    positions: np.ndarray  # (n, 3) in Å, relative to that atom
    numbers: np.ndarray  # (n,)
    source: np.ndarray  # (n,) places in the frame

    def seen_from(self, origin: np.ndarray) -> "Neighbourhood":
        """The same, relative to another place."""
        return replace(self, positions=self.positions - origin)


@dataclass(frozen=True)
class Cut:
    """A periodic cell; the first atom is the extrapolating one."""

    atoms: Atoms  # positions relative to the centre of the cut
    source: np.ndarray  # (n_atoms,) places in the frame
    intact_angstrom: float  # radius of the ball that is the source, untouched
    expected: Mapping[int, int]  # atoms of each element in what was cut
    removed: int  # copies and overlaps that went


def neighbourhood(frame: Atoms, centre: int, radius_angstrom: float) -> Neighbourhood:
    """What lies within a radius of an atom, through every face of the frame's periodic cell."""
    cell = frame.cell.array
    inverse = np.linalg.inv(cell)
    fractions = (frame.positions - frame.positions[centre]) @ inverse
    fractions -= np.rint(fractions)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    repeats = np.floor(radius_angstrom / heights + 0.5).astype(int)
    shifts = np.array(
        [
            (i, j, k)
            for i in _span(repeats[0])
            for j in _span(repeats[1])
            for k in _span(repeats[2])
        ],
        dtype=float,
    )
    positions = np.concatenate([(fractions + shift) @ cell for shift in shifts])
    source = np.tile(np.arange(len(frame)), len(shifts))
    distances = np.linalg.norm(positions, axis=1)
    order = np.lexsort((source, distances.round(9)))
    order = order[distances[order] <= radius_angstrom]
    return Neighbourhood(positions[order], frame.numbers[source[order]], source[order])


def _span(repeats: int) -> range:
    return range(-int(repeats), int(repeats) + 1)


def shortest_distances(
    around: Neighbourhood, radius_angstrom: float, floor_angstrom: float
) -> dict[tuple[int, int], float]:
    """The shortest distance in Å of each pair of elements within a radius.

    What was not seen is estimated.
    """
    inner = np.linalg.norm(around.positions, axis=1) <= radius_angstrom
    kinds = sorted({int(number) for number in around.numbers})
    found: dict[tuple[int, int], float] = {}
    for first in kinds:
        for other in kinds:
            here, there = (
                around.positions[inner & (around.numbers == kind)] for kind in (first, other)
            )
            nearest = _nearest(here, there, same=first == other)
            unseen = _UNSEEN * (covalent_radii[first] + covalent_radii[other])
            found[first, other] = max(
                floor_angstrom, min(nearest, 3 * unseen) if np.isfinite(nearest) else unseen
            )
    return found


def _nearest(here: np.ndarray, there: np.ndarray, *, same: bool) -> float:
    if len(here) < 1 + same or len(there) < 1 + same:
        return float("inf")
    distances, _ = cKDTree(there).query(here, k=1 + same)
    return float(np.asarray(distances).reshape(len(here), -1)[:, -1].min())


def cut(
    around: Neighbourhood,
    box: Box,
    shortest: Shortest,
    *,
    crystal: bool,
    charges: Mapping[int, float],
) -> Cut:
    """Fill the box from a neighbourhood seen from the cut's centre, and close it on itself."""
    bond = min(shortest.values())
    expected = _expected(around, box)
    attempts = [_closed(around, box, beyond * bond, shortest, expected) for beyond in _BEYOND]
    best = min(
        attempts, key=lambda found: (_off(counts_of(found.atoms.numbers), expected), found.removed)
    )
    if crystal and _off(counts_of(attempts[-1].atoms.numbers), expected) <= _CRYSTAL_OFF * len(
        best.atoms
    ):
        best = attempts[-1]
    return _neutral(best, shortest, charges) if charges else best


def _expected(around: Neighbourhood, box: Box) -> dict[int, int]:
    """Atoms by atomic number in the box: the mean over slight shifts.

    Atoms on its faces come and go with them.
    """
    shifts = _JITTER_ANGSTROM * np.random.default_rng(0).uniform(-1, 1, (_JITTERS, 3))
    insides = [_inside(around.seen_from(shift), box, 0.0) for shift in shifts]
    counts = [counts_of(around.numbers[inside]) for inside in insides]
    kinds = sorted({kind for element in counts for kind in element})
    return {
        kind: round(float(np.mean([element.get(kind, 0) for element in counts]))) for kind in kinds
    }


def _inside(around: Neighbourhood, box: Box, beyond_angstrom: float) -> np.ndarray:
    """Which atoms lie in the box's Wigner-Seitz cell or no more than so far beyond its faces.

    The shape is (n,).
    """
    periods = images(box)
    lengths = np.linalg.norm(periods, axis=1)
    heights = around.positions @ (periods / lengths[:, np.newaxis]).T
    inside: np.ndarray = (heights <= lengths / 2 + beyond_angstrom + _SAME_ANGSTROM).all(axis=1)
    return inside


def _closed(
    around: Neighbourhood,
    box: Box,
    beyond_angstrom: float,
    shortest: Shortest,
    expected: Mapping[int, int],
) -> Cut:
    distances = np.linalg.norm(around.positions, axis=1)
    ball = distances <= box.half_angstrom
    intruding = ~ball & (
        _to_nearest_image(around.positions, box) < box.half_angstrom - _SAME_ANGSTROM
    )
    taken = np.flatnonzero((ball | _inside(around, box, beyond_angstrom)) & ~intruding)
    atoms = Atoms(around.numbers[taken], around.positions[taken], cell=box.periods, pbc=True)
    kept, lost = _thinned(atoms, ball[taken], shortest, expected)
    intact = min([box.half_angstrom, *(distances[taken[index]] - _SAME_ANGSTROM for index in lost)])
    return Cut(
        atoms[kept],
        around.source[taken[kept]],
        float(intact),
        dict(expected),
        len(taken) - len(kept),
    )


def _to_nearest_image(positions: np.ndarray, box: Box) -> np.ndarray:
    """Distance in Å to the nearest image of the centre other than the centre itself."""
    distances, _ = cKDTree(images(box)).query(positions)
    return np.asarray(distances)


def _thinned(
    atoms: Atoms, ball: np.ndarray, shortest: Shortest, expected: Mapping[int, int]
) -> tuple[np.ndarray, list[int]]:
    """Which atoms stay once no pair is too close; which of the ball went and are no mere copies."""
    first, second, distances = neighbor_list("ijd", atoms, _TOO_CLOSE * max(shortest.values()))
    numbers = atoms.numbers
    outer = np.linalg.norm(atoms.positions, axis=1)
    bounds = np.array(
        [shortest[int(numbers[i]), int(numbers[j])] for i, j in zip(first, second, strict=True)]
    )
    tight = (
        (first < second) & (distances < _TOO_CLOSE * bounds)
        if len(first)
        else np.zeros(0, dtype=bool)
    )
    scaled = np.divide(distances, bounds, out=np.ones(len(distances)), where=tight)
    counts = counts_of(numbers)
    gone, lost = np.zeros(len(atoms), dtype=bool), []
    for index in sorted(
        np.flatnonzero(tight),
        key=lambda index: (scaled[index].round(9), first[index], second[index]),
    ):
        pair = int(first[index]), int(second[index])
        if gone[list(pair)].any():
            continue
        leaving = max(
            pair,
            key=lambda index: (
                not ball[index],
                _excess(index, numbers, counts, expected),
                outer[index].round(9),
                index,
            ),
        )
        gone[leaving] = True
        counts[int(numbers[leaving])] -= 1
        if ball[leaving] and distances[index] > _SAME_ANGSTROM:
            lost.append(leaving)
    return np.flatnonzero(~gone), lost


def _excess(
    index: int, numbers: np.ndarray, counts: Mapping[int, int], expected: Mapping[int, int]
) -> int:
    kind = int(numbers[index])
    return counts[kind] - expected.get(kind, 0)


def counts_of(numbers: np.ndarray) -> dict[int, int]:
    """Atoms by atomic number."""
    kinds, counts = np.unique(numbers, return_counts=True)
    return {int(kind): int(count) for kind, count in zip(kinds, counts, strict=True)}


def pairs_closer(atoms: Atoms, shortest: Shortest) -> tuple[float, float]:
    """The shortest distance in Å and the shortest as part of what its pair of elements may have.

    That part is no more than 2.
    """
    first, second, distances = neighbor_list("ijd", atoms, 2 * max(shortest.values()))
    if not len(distances):
        return 2 * max(shortest.values()), 2.0
    numbers = atoms.numbers
    bounds = np.array(
        [shortest[int(numbers[i]), int(numbers[j])] for i, j in zip(first, second, strict=True)]
    )
    return float(distances.min()), min(2.0, float((distances / bounds).min()))


def _off(counts: Mapping[int, int], expected: Mapping[int, int]) -> int:
    return sum(
        abs(counts.get(kind, 0) - expected.get(kind, 0)) for kind in counts.keys() | expected.keys()
    )


def _neutral(cut: Cut, shortest: Shortest, charges: Mapping[int, float]) -> Cut:
    """Without the most crowded buffer atoms of the charge that there is too much of."""
    for _ in range(_CHARGE_STEPS_MAX):
        total = sum(charges.get(int(number), 0.0) for number in cut.atoms.numbers)
        outside = np.linalg.norm(cut.atoms.positions, axis=1) > cut.intact_angstrom
        each = np.array([charges.get(int(number), 0.0) for number in cut.atoms.numbers])
        offers = np.flatnonzero(
            outside & (each * total > 0) & (np.abs(each) <= abs(total) + _NEUTRAL)
        )
        if abs(total) < _NEUTRAL or not len(offers):
            break
        first, second, distances = neighbor_list("ijd", cut.atoms, 1.5 * max(shortest.values()))
        room = np.array(
            [
                distances[(first == index) & (second != index)].min(initial=np.inf)
                for index in offers
            ]
        )
        stays = np.arange(len(cut.atoms)) != offers[int(np.argmin(room))]
        cut = replace(
            cut, atoms=cut.atoms[stays], source=cut.source[stays], removed=cut.removed + 1
        )
    return cut


def molecules(around: Neighbourhood, half_angstrom: float, vacuum_angstrom: float) -> Cut:
    """The ball and every molecule that reaches into it, whole, in vacuum."""
    distances = np.linalg.norm(around.positions, axis=1)
    bonded = _bonds(around)
    taken = {int(index) for index in np.flatnonzero(distances <= half_angstrom)}
    fresh = set(taken)
    while fresh:
        fresh = {other for index in fresh for other in bonded[index]} - taken
        taken |= fresh
    indices = np.array(sorted(taken))
    positions = around.positions[indices]
    lengths = np.ptp(positions, axis=0) + 2 * vacuum_angstrom
    atoms = Atoms(around.numbers[indices], positions, cell=lengths, pbc=True)
    return Cut(atoms, around.source[indices], half_angstrom, counts_of(atoms.numbers), 0)


def _bonds(around: Neighbourhood) -> list[list[int]]:
    radii = covalent_radii[around.numbers]
    tree = cKDTree(around.positions)
    near = tree.query_ball_point(around.positions, 1.2 * (radii + radii.max()))
    distances = [
        np.linalg.norm(around.positions[some] - here, axis=1)
        for some, here in zip(near, around.positions, strict=True)
    ]
    return [
        [
            other
            for other, far in zip(some, lengths, strict=True)
            if other != index and far <= 1.2 * (radii[index] + radii[other])
        ]
        for index, (some, lengths) in enumerate(zip(near, distances, strict=True))
    ]
