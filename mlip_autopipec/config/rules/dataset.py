"""Rules of the sections `dataset` and `start`."""

from collections.abc import Iterator

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import Mistake, shown
from mlip_autopipec.contract.trainer import evaluator_of


def names(config: WorkflowConfig) -> Iterator[Mistake]:
    """Stress is given once, and a file is named once."""
    section = config.dataset
    if section is None:
        return
    if section.stress is not None and section.virial is not None:
        expected = (
            f"expected no virial where stress is named ({section.stress}): one of them is read"
        )
        yield Mistake(("dataset", "virial"), shown(section.virial), expected)
    for index, file in enumerate(section.files):
        if file in section.files[:index]:
            yield Mistake(("dataset", "files", index), shown(str(file)), "expected each file once")


def potential(config: WorkflowConfig) -> Iterator[Mistake]:
    """A potential's energies have their own zeros, and its files their own forms."""
    section, asked = config.start, config.training.reference_energies_ev
    if section is None:
        return
    if asked != "fitted":
        expected = (
            "expected fitted with start.potential: its zeros are what the labels' energies have"
            " beyond its own"
        )
        yield Mistake(("training", "reference_energies_ev"), shown(asked), expected)
    code = evaluator_of(config.training.trainer)
    for key, expected in code.control().wrong_start(section.potential, section.active_set):
        yield Mistake(("start", key), shown(str(getattr(section, key))), expected)
