"""Rules of the section `calculation`."""

from collections.abc import Iterator

from mlip_autopipec.config.rules.crystals import complete
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.crystals import crystal_name
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, nearest, shown


def first_labels(config: WorkflowConfig) -> Iterator[Mistake]:
    """Silent while the prototypes are wrong: their names would be, too."""
    prototypes = config.generation.prototypes
    if not all(map(complete, prototypes)):
        return
    known = [prototype.name for prototype in prototypes]
    for index, name in enumerate(config.calculation.first_labels.unstable):
        if crystal_name(name) not in known:
            expected = f"expected one of generation.prototypes ({', '.join(dict.fromkeys(known))})"
            path: KeyPath = ("calculation", "first_labels", "unstable", index)
            yield Mistake(path, shown(name), expected, nearest(name, known))
