"""What site.yaml's prototypes imply by formula: atoms by element, volume and the shortest distance.

The cells are the conventional ones that the work half builds, so the counts are those of the
structures to come.
"""

from collections import Counter
from collections.abc import Mapping
from math import prod, sqrt

from mlip_autopipec.contract.generate import Prototype

#: Structure → atoms in the conventional cell of its first element, its second, …
_ATOMS: Mapping[str, tuple[int, ...]] = {
    "sc": (1,),
    "bcc": (2,),
    "fcc": (4,),
    "hcp": (4,),
    "diamond": (8,),
    "rocksalt": (4, 4),
    "cesiumchloride": (1, 1),
    "zincblende": (4, 4),
    "l1_0": (2, 2),
    "l1_2": (1, 3),
}
#: Structure → nearest-neighbour distance in lattice constants; those with a c axis are worked out
#: below.
_NEAREST: Mapping[str, float] = {
    "sc": 1.0,
    "bcc": sqrt(3) / 2,
    "fcc": 1 / sqrt(2),
    "diamond": sqrt(3) / 4,
    "rocksalt": 1 / 2,
    "cesiumchloride": sqrt(3) / 2,
    "zincblende": sqrt(3) / 4,
    "l1_2": 1 / sqrt(2),
}
#: The structures that have a c axis, with their ideal c/a.
C_OVER_A: Mapping[str, float] = {"hcp": sqrt(8 / 3), "l1_0": 1.0}


def element_slots(structure: str) -> int:
    """How many different elements the structure takes."""
    return len(_ATOMS[structure])


def atoms_of(prototype: Prototype) -> Counter[str]:
    """Atoms of each element in the repeated cell.

    The prototype names as many elements as its structure takes.
    """
    cells = prod(prototype.repeat)
    slots = zip(prototype.elements, _ATOMS[prototype.structure], strict=True)
    return Counter({element: atoms * cells for element, atoms in slots})


def volume_angstrom3(prototype: Prototype) -> float:
    """The volume of the repeated cell."""
    c_over_a = prototype.c_over_a or C_OVER_A.get(prototype.structure, 1.0)
    width = sqrt(3) if prototype.structure == "hcp" else 1.0
    return prod(prototype.repeat) * width * c_over_a * prototype.lattice_constant_angstrom**3


def nearest_neighbour_angstrom(prototype: Prototype) -> float:
    """The shortest distance between two atoms of the perfect crystal, in Å."""
    return _nearest(prototype) * prototype.lattice_constant_angstrom


def _nearest(prototype: Prototype) -> float:
    """In lattice constants: the shortest within a layer, to the layer above or along the c axis."""
    if prototype.structure not in C_OVER_A:
        return _NEAREST[prototype.structure]
    c = prototype.c_over_a or C_OVER_A[prototype.structure]
    if prototype.structure == "hcp":
        return min(1.0, sqrt(1 / 3 + c**2 / 4), c)
    return min(1 / sqrt(2), sqrt(1 + c**2) / 2, c)
