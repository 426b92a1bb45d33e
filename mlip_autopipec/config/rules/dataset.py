"""Rules of the section `dataset`."""

from collections.abc import Iterator

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import Mistake, shown


def names(config: WorkflowConfig) -> Iterator[Mistake]:
    """Stress is given once, and a file is named once."""
    section = config.dataset
    if section is None:
        return
    if section.stress is not None and section.virial is not None:
        expected = f"expected no virial where stress is named ({section.stress}): one of them is read"
        yield Mistake(("dataset", "virial"), shown(section.virial), expected)
    for index, file in enumerate(section.files):
        if file in section.files[:index]:
            yield Mistake(("dataset", "files", index), shown(str(file)), "expected each file once")
