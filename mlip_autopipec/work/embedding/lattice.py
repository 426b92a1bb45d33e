"""Where to cut: a neighbourhood's lattice, and the boxes that keep a ball around the centre whole.

A box is a lattice Λ of periods; what is cut is its Wigner-Seitz cell, all that lies nearer to the
centre than to any image of it. So the cut depends on Λ alone and not on the choice of its vectors,
and half the box has one meaning in any shape:

    h = ½ min |t|   over the t in Λ that are no periods of the source itself.

A ball of radius h around the centre is the source, untouched. Periods of the source cost nothing:
what is periodic there may be so here. That is how thin slabs, and frames that are short in one
direction, are cut.

The best box for a given h is the one with the fewest atoms, for the oracle's time goes with their
number cubed. Of all lattices the face-centred one packs best: a box of its shape holds 29 % fewer
atoms than a cube of the same h. Boxes are therefore searched by turning ideal shapes (face-centred,
body-centred, cube; a hexagon across one short period of the source, a slab across two), and
rounding each period to the nearest translation of the local lattice if there is one. The seam is
then coherent by construction: two copies of one site meet on it, and one of them goes. In liquids
and glasses the ideal shapes are taken as they are, and the seam is mended. At a surface the box is
a prism that stands on it: coherent along the surface, of any height out of it, for above there is
nothing to be coherent with; below, the cut leaves a second surface of the same kind.

The local lattice is found from the positions alone, with the elements told apart first and then,
for random alloys, without: translations that carry at least 80 % of the atoms near the centre onto
others, both forwards and backwards (one way alone would take the bonds of diamond for
translations). The source's own periods are translations too: they are the third one of a thin slab.
Elements matter: a box of an ordered compound must keep its order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from ase.geometry import minkowski_reduce
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

#: Multiples of the nearest-neighbour distance.
_INNER, _LONGEST = 2.0, 2.6
_ALIKE = 0.3
_CARRIED_MIN = 0.8
_VOLUME_MIN, _AREA_MIN = 0.5, 0.5
_LEAST, _HALF = 1e-6, 0.5
#: A translation lies along a surface if so much of it, at most, leads out; Å of the third
#: translation of a surface.
_ALONG_MAX, _FINE_ANGSTROM = 0.15, 0.05
_THICKER = (1.0, 1.3, 1.6)
_ANCHORS, _SHORTEST = 15, 30
#: Of the source's cell in translations of the lattice, relative: how near to whole numbers is
#: whole.
_WHOLE = 0.06
_REFINEMENTS = 4
_TURNS, _TURNS_LIQUID = 240, 4
_BOXES_MAX = 40
_SCALES = (1.0, 1.02, 1.05, 1.1, 1.15, 1.22, 1.3, 1.4)
_COMBINATIONS = np.array([c for c in product(range(-2, 3), repeat=3) if any(c)])
_IDEAL = {
    "face-centred": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / np.sqrt(2),
    "body-centred": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / np.sqrt(3),
    "cube": np.eye(3),
}
#: Across one period along z, and across two in the plane of x and y.
_PLANE, _SPACE = 2, 3
_HEXAGON = np.array([[1, 0, 0], [0.5, np.sqrt(3) / 2, 0]])
_SQUARE = np.array([[1.0, 0, 0], [0, 1, 0]])


@dataclass(frozen=True)
class Box:
    """Periods as rows in Å (reduced), half the box in Å, and the volume in Å³."""

    periods: np.ndarray
    half_angstrom: float

    @property
    def volume_angstrom3(self) -> float:
        return float(abs(np.linalg.det(self.periods)))


def reach_angstrom(positions: np.ndarray) -> float:
    """How far around the centre the neighbourhood must be known for `local_lattice`."""
    return (_INNER + _LONGEST) * _bond(positions)


def local_lattice(
    positions: np.ndarray, numbers: np.ndarray, cell: np.ndarray
) -> np.ndarray | None:
    """Primitive translations as rows in Å, of the crystal around the origin; None if there is none.

    `positions` (n, 3) are relative to the centre and hold its neighbourhood; `cell` is the
    source's.
    """
    for kinds in (numbers, np.zeros_like(numbers)):
        basis = _basis(_translations(positions, kinds), _bond(positions))
        if basis is not None:
            return _snapped(_refined(basis, positions, kinds), cell)
    return None


def slab_lattice(positions: np.ndarray, numbers: np.ndarray, cell: np.ndarray) -> np.ndarray | None:
    """Two translations along a thin slab, and the source's shortest period out of it; or None."""
    for kinds in (numbers, np.zeros_like(numbers)):
        found = _translations(positions, kinds)
        if len(found) > 1 and (slab := _slab(found, cell)) is not None:
            return _snapped(slab, cell)
    return None


def _bond(positions: np.ndarray) -> float:
    """The typical distance to the nearest neighbour near the origin, in Å."""
    near = positions[np.argsort(np.square(positions).sum(axis=1))[: 2 * _ANCHORS]]
    distances, _ = cKDTree(positions).query(near, k=2)
    return float(np.median(distances[:, 1]))


def _translations(positions: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Vectors that carry the atoms near the origin onto others of their kind, shortest first.

    The shape is (n, 3).
    """
    bond = _bond(positions)
    tolerance = _ALIKE * bond
    lengths = np.linalg.norm(positions, axis=1)
    order = np.argsort(lengths)
    trees = {kind: cKDTree(positions[kinds == kind]) for kind in np.unique(kinds)}
    offers = []
    for anchor in order[:_ANCHORS]:
        tree = trees[kinds[anchor]]
        near = tree.query_ball_point(positions[anchor], _LONGEST * bond)
        offers.append(tree.data[sorted(near)] - positions[anchor])
    pool = np.vstack(offers)
    pool = pool[np.linalg.norm(pool, axis=1) > 0.5 * bond]
    inner = order[lengths[order] <= _INNER * bond]
    found = [
        refined
        for vector in _clustered(pool, tolerance)
        if (refined := _carried(vector, positions[inner], kinds[inner], trees, tolerance))
        is not None
    ]
    if not found:
        return np.zeros((0, 3))
    return np.array(sorted(found, key=lambda vector: float(vector @ vector)))


def _clustered(pool: np.ndarray, tolerance: float) -> Iterator[np.ndarray]:
    """Means of the pool's clusters, the fullest first."""
    if not len(pool):
        return
    near = cKDTree(pool).query_ball_point(pool, tolerance)
    free = np.ones(len(pool), dtype=bool)
    for seed in sorted(range(len(pool)), key=lambda index: (-len(near[index]), index)):
        if free[seed]:
            yield pool[near[seed]].mean(axis=0)
            free[near[seed]] = False


def _carried(
    vector: np.ndarray,
    inner: np.ndarray,
    kinds: np.ndarray,
    trees: dict[int, cKDTree],
    tolerance: float,
) -> np.ndarray | None:
    """The vector, refined over all that it carries; None if that is too little."""
    for _ in range(_REFINEMENTS):
        carried, steps = np.ones(len(inner), dtype=bool), []
        for kind, tree in trees.items():
            of_kind = np.flatnonzero(kinds == kind)
            for sign in (1.0, -1.0):
                distances, which = tree.query(inner[of_kind] + sign * vector)
                hit = distances <= tolerance
                carried[of_kind[~hit]] = False
                steps.append(sign * (tree.data[which[hit]] - inner[of_kind[hit]]))
        if carried.mean() < _CARRIED_MIN:
            return None
        vector = np.vstack(steps).mean(axis=0)
    return vector


def _basis(translations: np.ndarray, bond: float) -> np.ndarray | None:
    """Three of the shortest translations that span the least volume."""
    some = translations[:_SHORTEST]
    triples = np.array(list(combinations(range(len(some)), 3)), dtype=int).reshape(-1, 3)
    volumes = np.abs(np.linalg.det(some[triples])) if len(triples) else np.zeros(0)
    solid = volumes > _VOLUME_MIN * bond**3
    if not solid.any():
        return None
    least = volumes[solid].min()
    alike = triples[solid & (volumes < 1.1 * least)]
    lengths = np.linalg.norm(some, axis=1)[alike].sum(axis=1)
    basis: np.ndarray = some[alike[int(np.argmin(lengths))]]
    return basis


def _slab(translations: np.ndarray, cell: np.ndarray) -> np.ndarray | None:
    first = translations[0]
    areas = np.linalg.norm(np.cross(translations, first), axis=1)
    areas[areas < _AREA_MIN * float(first @ first)] = np.inf
    second = translations[int(np.argmin(areas))]
    normal = np.cross(first, second)
    heights = np.abs(cell @ normal) / max(float(np.linalg.norm(normal)), _LEAST)
    out = cell[heights > 0.5 * np.linalg.norm(first)]
    if np.isinf(areas).all() or not len(out):
        return None
    return np.array([first, second, out[int(np.argmin(np.linalg.norm(out, axis=1)))]])


def _refined(basis: np.ndarray, positions: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """The basis that explains best what its short combinations carry.

    Every combination is followed both ways: atoms near the origin are found where they are because
    of where they have been displaced to, and that would shrink the basis by percents if it did not
    cancel.
    """
    bond = _bond(positions)
    near = np.linalg.norm(positions, axis=1) <= _INNER * bond
    for _ in range(_REFINEMENTS):
        reach = np.linalg.norm(_COMBINATIONS @ basis, axis=1) <= _LONGEST * bond
        steps, carried = [], []
        for kind in np.unique(kinds):
            start, tree = positions[near & (kinds == kind)], cKDTree(positions[kinds == kind])
            for combination in _COMBINATIONS[reach]:
                distances, which = tree.query(start + combination @ basis)
                hit = distances <= _ALIKE * bond
                carried.append(tree.data[which[hit]] - start[hit])
                steps.append(np.tile(combination, (hit.sum(), 1)))
        basis = np.linalg.lstsq(np.vstack(steps), np.vstack(carried), rcond=None)[0]
    return basis


def _snapped(basis: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """The basis of which the source's cell is a whole multiple, if it nearly is.

    That cell was measured over more atoms.
    """
    steps = cell @ np.linalg.inv(basis)
    whole = np.rint(steps)
    near = np.abs(steps - whole).max() <= _WHOLE * max(1.0, np.abs(whole).max() / 4)
    if not near or abs(np.linalg.det(whole)) < _HALF:
        return basis
    snapped: np.ndarray = np.linalg.inv(whole) @ cell
    return snapped


def surface_lattice(lattice: np.ndarray, outward: np.ndarray) -> np.ndarray | None:
    """The two translations of a crystal along its surface, and a third out of it; or None.

    The third is as fine as one likes.
    """
    vectors = _COMBINATIONS @ lattice
    lengths = np.linalg.norm(vectors, axis=1)
    along = vectors[np.abs(vectors @ outward) <= _ALONG_MAX * lengths * np.linalg.norm(outward)]
    along = along[np.argsort(np.linalg.norm(along, axis=1), kind="stable")]
    if not len(along):
        return None
    areas = np.linalg.norm(np.cross(along, along[0]), axis=1)
    areas[areas < _AREA_MIN * float(along[0] @ along[0])] = np.inf
    if np.isinf(areas).all():
        return None
    second = along[int(np.argmin(areas))]
    normal = np.cross(along[0], second)
    return np.array([along[0], second, _FINE_ANGSTROM * normal / np.linalg.norm(normal)])


def boxes(
    lattice: np.ndarray | None,
    cell: np.ndarray,
    half_min_angstrom: float,
    volume_max_angstrom3: float,
    seed: int,
    axis: np.ndarray | None = None,
) -> list[Box]:
    """Boxes with at least that half and at most that volume, smallest first; of equals, the widest.

    With an axis, the normal of a surface, they are prisms along it. The same arguments give the
    same boxes.
    """
    source, _ = minkowski_reduce(cell)
    periods = [vector for vector in source if np.linalg.norm(vector) <= 2 * half_min_angstrom]
    turns = _TURNS_LIQUID if lattice is None else _TURNS
    offered = _offers(periods, half_min_angstrom, turns, seed)
    if axis is not None and not periods:
        offered = _prisms(axis, half_min_angstrom)
    offers = np.concatenate(list(offered))
    if lattice is not None:
        offers = _rounded(offers, lattice, periods)
    volumes, halves = np.abs(np.linalg.det(offers)), _halves(offers, cell)
    right = (
        (volumes <= volume_max_angstrom3) & (volumes > 1.0) & (halves >= half_min_angstrom - 1e-9)
    )
    found: dict[tuple[float, ...], Box] = {}
    for index in np.lexsort((-halves.round(3), volumes.round(3))):
        key = (
            round(volumes[index], 1),
            round(halves[index], 1),
            *([float(index)] if lattice is None else []),
        )
        if not right[index] or key in found:
            continue
        box = _box(offers[index], cell)
        if box.half_angstrom >= half_min_angstrom - 1e-9:
            found[key] = box
        if len(found) == _BOXES_MAX:
            break
    return list(found.values())


def _offers(
    periods: Sequence[np.ndarray], half_angstrom: float, n_turns: int, seed: int
) -> Iterator[np.ndarray]:
    """Ideal shapes, turned and scaled, shape (n, 3, 3) each.

    The source's short periods are kept as they are.
    """
    turns = Rotation.random(n_turns, random_state=seed).as_matrix()
    turns[0] = np.eye(3)
    if len(periods) == _SPACE:
        yield np.array([periods])
    for scale in _SCALES:
        length = 2 * half_angstrom * scale
        if not periods:
            for shape in _IDEAL.values():
                yield length * shape @ turns
        elif len(periods) == 1:
            frame = _frame(periods[0])
            angles = np.linspace(0.0, np.pi, 36, endpoint=False)
            for shape, angle in product((_HEXAGON, _SQUARE), angles):
                rows = length * shape @ Rotation.from_euler("z", angle).as_matrix() @ frame
                yield np.array([[*rows, periods[0]]])
        elif len(periods) == _PLANE:
            normal = np.cross(periods[0], periods[1])
            yield np.array([[length * normal / np.linalg.norm(normal), *periods]])


def _prisms(axis: np.ndarray, half_angstrom: float) -> Iterator[np.ndarray]:
    """Hexagons and squares along a surface, thicker and thicker, shape (1, 3, 3) each."""
    frame = _frame(axis)
    for scale, thicker, shape in product(_SCALES, _THICKER, (_HEXAGON, _SQUARE)):
        for angle in np.linspace(0.0, np.pi, 36, endpoint=False):
            rows = shape @ Rotation.from_euler("z", angle).as_matrix() @ frame
            yield 2 * half_angstrom * scale * np.array([[*rows, thicker * frame[-1]]])


def _frame(axis: np.ndarray) -> np.ndarray:
    """An orthonormal frame as rows whose last is along the axis."""
    along = axis / np.linalg.norm(axis)
    across = np.eye(3)[int(np.argmin(np.abs(along)))]
    first = np.cross(along, across)
    first /= np.linalg.norm(first)
    return np.array([first, np.cross(along, first), along])


def _rounded(offers: np.ndarray, lattice: np.ndarray, periods: Sequence[np.ndarray]) -> np.ndarray:
    """Each period moved to the nearest translation of the lattice, but for those of the source."""
    rounded: np.ndarray = np.rint(offers @ np.linalg.inv(lattice)) @ lattice
    if periods:
        rounded[:, 3 - len(periods) :] = periods
    return rounded


def _halves(offers: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Half the box of each offer in Å, from few combinations of its periods; 0 of a flat one."""
    vectors = _COMBINATIONS @ offers
    lengths = np.linalg.norm(vectors, axis=-1)
    lengths[_of_source(vectors, cell) & (lengths > _LEAST)] = np.inf
    halves: np.ndarray = lengths.min(axis=-1) / 2
    return halves


def _of_source(vectors: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Which vectors are periods of the source."""
    steps = vectors @ np.linalg.inv(cell)
    own: np.ndarray = np.abs(steps - np.rint(steps)).max(axis=-1) < _LEAST
    return own


def _box(offer: np.ndarray, cell: np.ndarray) -> Box:
    periods, _ = minkowski_reduce(offer)
    if np.linalg.det(periods) < 0:
        periods = -periods
    return Box(periods, float(_halves(periods[np.newaxis], cell)[0]))


def images(box: Box) -> np.ndarray:
    """The periods that may bound the Wigner-Seitz cell, shape (n, 3)."""
    vectors: np.ndarray = _COMBINATIONS @ box.periods
    return vectors
