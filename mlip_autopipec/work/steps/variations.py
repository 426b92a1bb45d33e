"""Variations of a campaign's crystals: alloys, point defects, surfaces, dimers and squeezed cells.

Positions taken. An alloy's fractions are drawn evenly over their range, so that no composition is
an afterthought. Special quasi-random structures come from icet (van de Walle et al., Calphad 42, 13
(2013)): pair correlations up to 1.6 lattice constants are brought as near as the cell allows to
those of the random alloy. An interstitial goes where the largest hole is, found on a mesh and not
by a list of sites, so that it works in every crystal. Dimers sit in a periodic box that is wide
enough for the two not to see their images. Surfaces take the stoichiometric slab of ASE.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from math import gcd
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import surface
from ase.geometry import get_distances

from mlip_autopipec.contract.generate import (
    Alloy,
    Dimer,
    GenerateParameters,
    PointDefect,
    Squeezed,
    Surface,
    Variation,
)
from mlip_autopipec.work import families
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.structures import crystal, shortest_distance

#: Points of the mesh on which the largest hole is looked for, in Å.
_HOLE_MESH_ANGSTROM = 0.6
_SQS_STEPS = 3000
#: Neighbours of each atom whose distances tell structures apart, and the atom itself.
_NEAREST = 13
#: Cutoff of the pairs whose correlations count, in lattice constants.
_SQS_CUTOFF = 1.6

Maker = Callable[[Any, GenerateParameters, np.random.Generator, int], Atoms]


def vary(
    variation: Variation, parameters: GenerateParameters, rng: np.random.Generator, turn: int
) -> Atoms:
    """The structure number `turn` of a variation, before it is strained and rattled."""
    return _MAKERS[variation.kind](variation, parameters, rng, turn)


def keeps_its_shape(variation: Variation) -> bool:
    """Whether a structure is labelled as made: strain and rattle would take its meaning from it."""
    return variation.kind in {"dimer", "squeezed"}


def _crystal_in_turn(parameters: GenerateParameters, turn: int, slots: int | None = None) -> Atoms:
    prototypes = [
        prototype
        for prototype in parameters.prototypes
        if slots is None or len(prototype.elements) == slots
    ]
    return crystal(prototypes[turn % len(prototypes)])


def _alloy(
    variation: Alloy, parameters: GenerateParameters, rng: np.random.Generator, turn: int
) -> Atoms:
    atoms = _crystal_in_turn(parameters, turn, slots=1)
    counts = _counts(variation, len(atoms), rng)
    symbols = [element for element, count in counts.items() for _ in range(count)]
    atoms.set_chemical_symbols(list(rng.permutation(symbols)))
    return atoms


def _special(
    variation: Alloy, parameters: GenerateParameters, rng: np.random.Generator, turn: int
) -> Atoms:
    try:
        from icet import ClusterSpace  # noqa: PLC0415 - one kind of structure needs it
        from icet.tools.structure_generation import generate_sqs_from_supercells  # noqa: PLC0415
    except ImportError as error:
        raise TaskFailed(
            "bad_input", f"special quasi-random structures need icet in site.python: {error}"
        ) from error
    prototypes = [prototype for prototype in parameters.prototypes if len(prototype.elements) == 1]
    prototype = prototypes[turn % len(prototypes)]
    cell = crystal(replace(prototype, repeat=(1, 1, 1)))
    target = crystal(prototype)
    counts = _counts(variation, len(target), rng)
    present = [element for element, count in counts.items() if count]
    if len(present) == 1:
        target.set_chemical_symbols(present * len(target))
        return target
    space = ClusterSpace(cell, [_SQS_CUTOFF * prototype.lattice_constant_angstrom], present)
    fractions = {element: counts[element] / len(target) for element in present}
    seed = int(rng.integers(2**31))
    found = generate_sqs_from_supercells(
        space, [target], fractions, n_steps=_SQS_STEPS, random_seed=seed
    )
    special = Atoms(
        found.get_chemical_symbols(), positions=found.positions, cell=found.cell, pbc=True
    )
    special.info.update(families.of(target))
    return special


def _counts(variation: Alloy, sites: int, rng: np.random.Generator) -> dict[str, int]:
    """How many sites each element gets; the first takes what the others leave."""
    first, *others = variation.elements
    counts: dict[str, int] = {}
    for element in others:
        low, high = variation.fractions.get(element, (0.0, 1.0))
        left = sites - sum(counts.values())
        counts[element] = min(round(float(rng.uniform(low, high)) * sites), left)
    return {first: sites - sum(counts.values()), **counts}


def _vacancy(
    _: PointDefect, parameters: GenerateParameters, rng: np.random.Generator, turn: int
) -> Atoms:
    atoms = _crystal_in_turn(parameters, turn)
    if len(atoms) < 2:  # noqa: PLR2004 - one atom is left then
        raise TaskFailed(
            "bad_input", "a vacancy needs a prototype of two atoms or more: raise its repeat"
        )
    del atoms[int(rng.integers(len(atoms)))]
    return atoms


def _interstitial(
    _: PointDefect, parameters: GenerateParameters, rng: np.random.Generator, turn: int
) -> Atoms:
    atoms = _crystal_in_turn(parameters, turn)
    element = str(rng.choice(sorted(set(atoms.get_chemical_symbols()))))
    return atoms + Atoms([element], positions=[_largest_hole(atoms, rng)])


def _largest_hole(atoms: Atoms, rng: np.random.Generator) -> np.ndarray:
    """One of the points of a mesh that are farthest from every atom, in Å."""
    numbers = [max(int(length / _HOLE_MESH_ANGSTROM), 2) for length in atoms.cell.lengths()]
    scaled = np.array(list(product(*(np.arange(number) / number for number in numbers))))
    points = scaled @ atoms.cell.array
    _, distances = get_distances(points, atoms.positions, cell=atoms.cell, pbc=True)
    nearest = distances.min(axis=1)
    best = np.flatnonzero(nearest >= nearest.max() - 1e-6)
    hole: np.ndarray = points[int(rng.choice(best))]
    return hole


def _antisite(
    _: PointDefect, parameters: GenerateParameters, rng: np.random.Generator, turn: int
) -> Atoms:
    prototypes = [first for first in parameters.prototypes if len(first.elements) > 1]
    atoms = crystal(prototypes[turn % len(prototypes)])
    symbols = np.array(atoms.get_chemical_symbols())
    first, other = rng.choice(sorted(set(symbols)), size=2, replace=False)
    here, there = (
        int(rng.choice(np.flatnonzero(symbols == element))) for element in (first, other)
    )
    symbols[here], symbols[there] = other, first
    atoms.set_chemical_symbols(list(symbols))
    return atoms


def _surface(
    variation: Surface, parameters: GenerateParameters, _: np.random.Generator, turn: int
) -> Atoms:
    prototypes = parameters.prototypes
    prototype = prototypes[turn % len(prototypes)]
    indices = _faces(variation.miller_max)
    face = indices[turn // len(prototypes) % len(indices)]
    cell = crystal(replace(prototype, repeat=(1, 1, 1)))
    layer = surface(cell, face, 1, periodic=True)
    layers = max(int(np.ceil(variation.thickness_angstrom / layer.cell.lengths()[2])), 1)
    slab: Atoms = surface(cell, face, layers, vacuum=variation.vacuum_angstrom / 2, periodic=True)
    return families.begin(slab, vacuum=(2,))


def _faces(miller_max: int) -> list[tuple[int, int, int]]:
    """Low-index faces, each direction once, the lowest first, as 100, 110 and 111 are."""
    numbers = range(miller_max, -1, -1)
    faces = product(numbers, repeat=3)
    found = [(h, k, m) for h, k, m in faces if h >= k >= m and gcd(h, k, m) == 1]
    return sorted(found, key=lambda face: (sum(index**2 for index in face), face))


def _dimer(
    variation: Dimer, parameters: GenerateParameters, rng: np.random.Generator, turn: int
) -> Atoms:
    elements = parameters.elements
    pairs = [
        (element, other) for index, element in enumerate(elements) for other in elements[index:]
    ]
    shortest, farthest = parameters.distance_min_angstrom, variation.distance_max_angstrom
    distance = (
        shortest + (farthest - shortest) * (turn + float(rng.uniform(0.01, 0.99))) / variation.count
    )
    box = variation.box_angstrom
    direction = rng.normal(size=3)
    direction *= distance / np.linalg.norm(direction)
    middle = np.full(3, box / 2)
    positions = [middle - direction / 2, middle + direction / 2]
    pair = Atoms(pairs[turn % len(pairs)], positions=positions, cell=[box] * 3, pbc=True)
    return families.begin(pair, vacuum=(0, 1, 2))


def _squeezed(
    variation: Squeezed, parameters: GenerateParameters, rng: np.random.Generator, turn: int
) -> Atoms:
    atoms = _crystal_in_turn(parameters, turn)
    shortest = parameters.distance_min_angstrom
    usual = shortest_distance(atoms, 2 * max(atoms.cell.lengths()))
    part = (turn + float(rng.uniform(0.01, 0.99))) / variation.count
    wanted = shortest + (usual - shortest) * part
    atoms.set_cell(atoms.cell.array * (wanted / usual), scale_atoms=True)
    return atoms


_MAKERS: Mapping[str, Maker] = {
    "alloy": _alloy,
    "special": _special,
    "vacancy": _vacancy,
    "interstitial": _interstitial,
    "antisite": _antisite,
    "surface": _surface,
    "dimer": _dimer,
    "squeezed": _squeezed,
}


def mark(atoms: Atoms) -> tuple[Any, ...]:
    """What two structures have in common that a label could not tell apart: they are duplicates.

    Composition, volume per atom in Å³ and the sorted distances to the nearest others in Å, each to
    1e-3.
    """
    distances = np.sort(atoms.get_all_distances(mic=True), axis=1)[:, 1:_NEAREST]
    nearest = sorted(distances.ravel().round(3).tolist())
    return (
        str(atoms.symbols.formula.format("hill")),
        round(atoms.get_volume() / len(atoms), 3),
        tuple(nearest),
    )
