"""What prototypes must be, wherever they stand, and what they imply for a site file's distances."""

from collections.abc import Callable, Iterator
from math import cbrt

from mlip_autopipec.config.crystals import (
    C_OVER_A,
    atoms_of,
    element_slots,
    nearest_neighbour_angstrom,
    volume_angstrom3,
)
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.elements import SYMBOLS
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, dotted, nearest, shown

Prototypes = Callable[[WorkflowConfig], Iterator[tuple[KeyPath, Prototype]]]
#: What `auto` may choose, in cube roots of the volume per atom.
_CUTOFF_SPACINGS_MAX = 2.7


def in_generation(config: WorkflowConfig) -> Iterator[tuple[KeyPath, Prototype]]:
    """The prototypes of Generation, and where each stands."""
    for index, prototype in enumerate(config.generation.prototypes):
        yield ("generation", "prototypes", index), prototype


def in_exploration(config: WorkflowConfig) -> Iterator[tuple[KeyPath, Prototype]]:
    """The prototypes of walkers, and where each stands."""
    for index, walkers in enumerate(config.exploration.walkers):
        if walkers.prototype is not None:
            yield ("exploration", "walkers", index, "prototype"), walkers.prototype


def known(prototypes: Prototypes, config: WorkflowConfig) -> Iterator[Mistake]:
    """Silent while the campaign's own elements are wrong: the prototypes may well be right."""
    elements = config.campaign.elements
    if not set(elements) <= set(SYMBOLS):
        return
    for path, prototype in prototypes(config):
        for index, element in enumerate(prototype.elements):
            if element not in elements:
                expected = f"expected one of campaign.elements ({', '.join(elements)})"
                yield Mistake(
                    (*path, "elements", index), shown(element), expected, nearest(element, elements)
                )


def crystals(prototypes: Prototypes, config: WorkflowConfig) -> Iterator[Mistake]:
    """A prototype has as many elements as its structure takes.

    It has a c axis only where there is one, and a repeat.
    """
    for path, prototype in prototypes(config):
        if not complete(prototype):
            slots = element_slots(prototype.structure)
            expected = (
                f"expected {slots} different elements" if slots > 1 else "expected one element"
            )
            yield Mistake(
                (*path, "elements"),
                shown(list(prototype.elements)),
                f"{expected} for {prototype.structure}",
            )
        if prototype.c_over_a is not None and prototype.structure not in C_OVER_A:
            expected = (
                f"expected only for {' and '.join(C_OVER_A)}; {prototype.structure} has no c axis"
                " of its own"
            )
            yield Mistake((*path, "c_over_a"), shown(prototype.c_over_a), expected)
        for index, times in enumerate(prototype.repeat):
            if times < 1:
                yield Mistake((*path, "repeat", index), shown(times), "expected 1 or more")


def distance(config: WorkflowConfig) -> Iterator[Mistake]:
    """The shortest distance allowed is shorter than that of any crystal."""
    crystals = [*in_generation(config), *in_exploration(config)]
    if not crystals:
        return
    path, tightest = min(crystals, key=lambda crystal: nearest_neighbour_angstrom(crystal[1]))
    shortest = nearest_neighbour_angstrom(tightest)
    if config.distance_min_angstrom >= shortest:
        expected = (
            f"expected less than {shortest:.3f}, the nearest-neighbour distance of"
            f" {described(path, tightest)}"
        )
        yield Mistake(("distance_min_angstrom",), shown(config.distance_min_angstrom), expected)


def cutoff_of(config: WorkflowConfig) -> float:
    """The cutoff, or about the largest that `auto` may choose."""
    asked = config.training.cutoff_angstrom
    if asked != "auto":
        return asked
    found = [
        prototype
        for _, prototype in in_generation(config)
        if sound(prototype, config.campaign.elements)
    ]
    spacings = [
        cbrt(volume_angstrom3(prototype) / atoms_of(prototype).total()) for prototype in found
    ]
    return _CUTOFF_SPACINGS_MAX * max(spacings, default=0.0)


def complete(prototype: Prototype) -> bool:
    """Whether it has as many elements as its structure takes, each of them once."""
    return (
        len(prototype.elements)
        == len(set(prototype.elements))
        == element_slots(prototype.structure)
    )


def sound(prototype: Prototype, elements: tuple[str, ...]) -> bool:
    """Whether nothing is wrong with it in a campaign of these elements."""
    return (
        complete(prototype)
        and min(prototype.repeat) > 0
        and set(prototype.elements) <= set(elements)
    )


def described(path: KeyPath, prototype: Prototype) -> str:
    """Where it stands, its name and its lattice constant, for a message."""
    return (
        f"{dotted(path)} ({prototype.name}, lattice constant"
        f" {prototype.lattice_constant_angstrom:g})"
    )
