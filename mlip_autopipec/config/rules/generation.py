"""Rules of the section `generation`, beside those of its prototypes."""

from collections.abc import Iterator

from mlip_autopipec.config.rules.crystals import cutoff_of
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.generate import Alloy, Dimer, PointDefect
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, import_path, nearest, shown


def begins(config: WorkflowConfig) -> Iterator[Mistake]:
    """A campaign begins with structures of its own, or with the user's labels, or with both."""
    section = config.generation
    if config.dataset is None:
        if not section.prototypes and not section.structures:
            expected = (
                "required: the structures that a campaign begins with, or a `dataset` of labels"
            )
            yield Mistake(("generation",), "missing", expected)
            return
        if not section.prototypes:
            yield Mistake(
                ("generation", "prototypes"),
                "none",
                "expected at least one crystal, or a `dataset` of labels",
            )
        for name in ("structures", "test_structures"):
            if getattr(section, name) == 0:
                expected = "expected 1 or more; 0 is for campaigns that begin with a `dataset`"
                yield Mistake(("generation", name), "0", expected)
    elif not section.prototypes:
        for name in ("structures", "variations"):
            if found := getattr(section, name):
                shown_value = str(found) if name == "structures" else f"{len(found)} of them"
                expected = "expected none without generation.prototypes, which they are made of"
                yield Mistake(("generation", name), shown_value, expected)


def teacher(config: WorkflowConfig) -> Iterator[Mistake]:
    """Its MD starts from crystals."""
    section = config.generation
    if section.teacher is None:
        return
    yield from import_path(("generation", "teacher", "calculator"), section.teacher.calculator)
    if not section.prototypes:
        expected = "expected none without generation.prototypes, which its MD starts from"
        yield Mistake(("generation", "teacher"), shown(section.teacher.calculator), expected)


def variations(config: WorkflowConfig) -> Iterator[Mistake]:
    """What a variation needs of the prototypes and elements."""
    if not config.generation.prototypes:
        return
    slots = {len(prototype.elements) for prototype in config.generation.prototypes}
    for index, variation in enumerate(config.generation.variations):
        path: KeyPath = ("generation", "variations", index)
        match variation:
            case Alloy():
                yield from _alloy(path, variation, config.campaign.elements)
                if 1 not in slots:
                    yield Mistake(
                        (*path, "kind"),
                        shown(variation.kind),
                        "expected a prototype of one element, to alloy",
                    )
            case PointDefect(kind="antisite") if max(slots) == 1:
                yield Mistake(
                    (*path, "kind"), shown("antisite"), "expected a prototype of several elements"
                )
            case Dimer() if variation.distance_max_angstrom <= config.distance_min_angstrom:
                expected = (
                    f"expected more than distance_min_angstrom ({config.distance_min_angstrom:g})"
                )
                yield Mistake(
                    (*path, "distance_max_angstrom"),
                    shown(variation.distance_max_angstrom),
                    expected,
                )
            case Dimer() if variation.box_angstrom < variation.distance_max_angstrom + cutoff_of(
                config
            ):
                expected = (
                    "expected at least distance_max_angstrom and training.cutoff_angstrom together"
                )
                yield Mistake((*path, "box_angstrom"), shown(variation.box_angstrom), expected)


def _alloy(path: KeyPath, alloy: Alloy, elements: tuple[str, ...]) -> Iterator[Mistake]:
    for index, element in enumerate(alloy.elements):
        if element not in elements:
            expected = f"expected one of campaign.elements ({', '.join(elements)})"
            yield Mistake(
                (*path, "elements", index), shown(element), expected, nearest(element, elements)
            )
    others = alloy.elements[1:]
    for element, (low, high) in alloy.fractions.items():
        if element not in others:
            expected = (
                f"expected one of {', '.join(others)}: {alloy.elements[0]} takes what the others"
                " leave"
            )
            yield Mistake(
                (*path, "fractions", element), shown(element), expected, nearest(element, others)
            )
        elif low > high:
            yield Mistake(
                (*path, "fractions", element),
                shown([low, high]),
                "expected the smaller fraction first",
            )


def alloys(config: WorkflowConfig) -> list[Alloy]:
    """The variations that are alloys."""
    return [variation for variation in config.generation.variations if isinstance(variation, Alloy)]
