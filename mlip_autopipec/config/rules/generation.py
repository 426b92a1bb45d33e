"""Rules of the section `generation`, beside those of its prototypes."""

from collections.abc import Iterator

from mlip_autopipec.config.rules.crystals import cutoff_of
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.generate import Alloy, Dimer, PointDefect
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, nearest, shown


def variations(config: WorkflowConfig) -> Iterator[Mistake]:
    """What a variation needs of the prototypes and elements."""
    slots = {len(prototype.elements) for prototype in config.generation.prototypes}
    for index, variation in enumerate(config.generation.variations):
        path: KeyPath = ("generation", "variations", index)
        match variation:
            case Alloy():
                yield from _alloy(path, variation, config.campaign.elements)
                if 1 not in slots:
                    yield Mistake(
                        (*path, "kind"), shown(variation.kind), "expected a prototype of one element, to alloy"
                    )
            case PointDefect(kind="antisite") if max(slots) == 1:
                yield Mistake((*path, "kind"), shown("antisite"), "expected a prototype of several elements")
            case Dimer() if variation.distance_max_angstrom <= config.distance_min_angstrom:
                expected = f"expected more than distance_min_angstrom ({config.distance_min_angstrom:g})"
                yield Mistake((*path, "distance_max_angstrom"), shown(variation.distance_max_angstrom), expected)
            case Dimer() if variation.box_angstrom < variation.distance_max_angstrom + cutoff_of(config):
                expected = "expected at least distance_max_angstrom and training.cutoff_angstrom together"
                yield Mistake((*path, "box_angstrom"), shown(variation.box_angstrom), expected)


def _alloy(path: KeyPath, alloy: Alloy, elements: tuple[str, ...]) -> Iterator[Mistake]:
    for place, element in enumerate(alloy.elements):
        if element not in elements:
            expected = f"expected one of campaign.elements ({', '.join(elements)})"
            yield Mistake((*path, "elements", place), shown(element), expected, nearest(element, elements))
    others = alloy.elements[1:]
    for element, (low, high) in alloy.fractions.items():
        if element not in others:
            expected = f"expected one of {', '.join(others)}: {alloy.elements[0]} takes what the others leave"
            yield Mistake((*path, "fractions", element), shown(element), expected, nearest(element, others))
        elif low > high:
            yield Mistake((*path, "fractions", element), shown([low, high]), "expected the smaller fraction first")


def alloys(config: WorkflowConfig) -> list[Alloy]:
    """The variations that are alloys."""
    return [variation for variation in config.generation.variations if isinstance(variation, Alloy)]
