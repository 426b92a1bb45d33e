"""Rules of the section `selection`."""

from collections.abc import Iterator
from math import ceil, sqrt

from mlip_autopipec.config.crystals import (
    atoms_of,
    volume_angstrom3,
)
from mlip_autopipec.config.rules.crystals import complete, cutoff_of, described, in_exploration
from mlip_autopipec.config.schemas.phases import gamma_bounds
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import Mistake, nearest, shown


def window(config: WorkflowConfig) -> Iterator[Mistake]:
    """The frame at which a walker halts is in the window of γ."""
    highest, halt = config.selection.gamma_max, config.exploration.gamma_halt
    if highest is not None and highest <= halt:
        expected = (
            f"expected more than exploration.gamma_halt ({halt:g}): the halting frame is what is"
            " to be labelled"
        )
        yield Mistake(("selection", "gamma_max"), shown(highest), expected)


def window_of_target(config: WorkflowConfig) -> Iterator[Mistake]:
    """What a target in force may make of γ halt must leave the halting frame in the window, too."""
    section, highest = config.exploration, config.selection.gamma_max
    if section.force_error_target_mev_per_angstrom is None or highest is None:
        return
    halt = section.gamma_halt * gamma_bounds(section.gamma_select)[1] / section.gamma_select
    if section.gamma_halt < highest <= halt:
        expected = (
            f"expected more than {halt:g}: exploration.force_error_target_mev_per_angstrom may move"
            f" exploration.gamma_halt ({section.gamma_halt:g}) so far"
        )
        yield Mistake(("selection", "gamma_max"), shown(highest), expected)


def embedding(config: WorkflowConfig) -> Iterator[Mistake]:
    """The smallest cell that keeps the environment of one atom whole must be allowed."""
    section, cutoff = config.selection.embedding, cutoff_of(config)
    if section.mode != "periodic":
        return
    for path, prototype in in_exploration(config):
        if not complete(prototype) or min(prototype.repeat) < 1:
            continue
        atoms = atoms_of(prototype).total()
        # The face-centred box is the smallest of its half; Å³.
        volume = (2 * (cutoff + section.margin_angstrom)) ** 3 / sqrt(2)
        smallest = ceil(volume * atoms / volume_angstrom3(prototype))
        if section.atoms_max < smallest and atoms > max(section.atoms_max, section.whole_atoms_max):
            expected = (
                f"expected at least {smallest}: a cell that keeps training.cutoff_angstrom"
                f" ({cutoff:g}) and margin_angstrom ({section.margin_angstrom:g}) around an atom"
                f" of {described(path, prototype)} holds as many, and frames of {atoms} atoms are"
                " above atoms_max"
            )
            yield Mistake(
                ("selection", "embedding", "atoms_max"), shown(section.atoms_max), expected
            )
            return


def per_element(config: WorkflowConfig) -> Iterator[Mistake]:
    """What is given per element is given for elements of the campaign."""
    elements = config.campaign.elements
    for key in ("charges", "valence_electrons"):
        for element in getattr(config.selection.embedding, key):
            if element not in elements:
                expected = f"expected one of campaign.elements ({', '.join(elements)})"
                yield Mistake(
                    ("selection", "embedding", key, element),
                    shown(element),
                    expected,
                    nearest(element, elements),
                )
