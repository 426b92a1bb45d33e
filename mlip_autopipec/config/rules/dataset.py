"""Rules of the sections `dataset` and `start`."""

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


def potential(config: WorkflowConfig) -> Iterator[Mistake]:
    """A potential's energies have their own zeros, and its files their own forms."""
    section, asked = config.start, config.training.reference_energies_ev
    if section is None:
        return
    if asked != "fitted":
        expected = "expected fitted with start.potential: its zeros are what the labels' energies have beyond its own"
        yield Mistake(("training", "reference_energies_ev"), shown(asked), expected)
    if section.potential.suffix not in {".yaml", ".yml"}:
        expected = "expected python-ace's B-basis, a .yaml; a .yace is made from that, and has no active set"
        yield Mistake(("start", "potential"), shown(str(section.potential)), expected)
    if section.active_set is not None and section.active_set.suffix != ".asi":
        yield Mistake(("start", "active_set"), shown(str(section.active_set)), "expected an .asi, of pace_activeset")
