"""Rules of the section `campaign`."""

from collections.abc import Iterator

from mlip_autopipec.config.rules.base import SYMBOLS_ALIKE
from mlip_autopipec.config.rules.generation import alloys
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.elements import SYMBOLS
from mlip_autopipec.contract.mistakes import Mistake, nearest, shown

_SYMBOL_TYPOS_MAX = 3  # letters; `Copper` is nearer to Co than to Cu


def symbols(config: WorkflowConfig) -> Iterator[Mistake]:
    """Elements are chemical symbols, each of them once."""
    elements = config.campaign.elements
    for index, element in enumerate(elements):
        path = ("campaign", "elements", index)
        if element not in SYMBOLS:
            suggestion = (
                nearest(element, SYMBOLS, SYMBOLS_ALIKE)
                if len(element) <= _SYMBOL_TYPOS_MAX
                else None
            )
            yield Mistake(path, shown(element), "expected a chemical symbol", suggestion)
        elif element in elements[:index]:
            yield Mistake(path, shown(element), "expected each element once")


def begun(config: WorkflowConfig) -> Iterator[Mistake]:
    """Every element is in at least one structure that the campaign begins with."""
    elements, prototypes = config.campaign.elements, config.generation.prototypes
    # its files are read later; no prototype is a mistake of its own
    if config.dataset is not None or not prototypes:
        return
    used = {element for prototype in prototypes for element in prototype.elements}
    used |= {element for alloy in alloys(config) for element in alloy.elements}
    for index, element in enumerate(elements):
        if (
            element in SYMBOLS
            and element not in used
            and used <= set(elements)
            and not config.generation.files
        ):
            expected = (
                "expected in at least one of generation.prototypes: the first potential must know"
                " every element"
            )
            yield Mistake(("campaign", "elements", index), shown(element), expected)
