"""Rules of the section `convergence`."""

from collections.abc import Iterator

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import Mistake, shown


def labels(config: WorkflowConfig) -> Iterator[Mistake]:
    """The campaign may take more labels than it begins with."""
    labels_max = config.convergence.labels_max
    first = config.generation.structures + config.generation.test_structures
    if labels_max is not None and labels_max <= first:
        expected = (
            f"expected more than {first}: generation.structures and test_structures alone take as"
            " many labels"
        )
        yield Mistake(("convergence", "labels_max"), shown(labels_max), expected)


def cycles(config: WorkflowConfig) -> Iterator[Mistake]:
    """There are enough cycles to converge in."""
    section = config.convergence
    if section.quiet_cycles > section.cycles_max:
        expected = (
            f"expected no more than convergence.cycles_max ({section.cycles_max}): it could never"
            " converge"
        )
        yield Mistake(("convergence", "quiet_cycles"), shown(section.quiet_cycles), expected)
