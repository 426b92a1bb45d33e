"""What is expected of phonons.

No imaginary ones are allowed where the oracle's own frequencies have none, or, where they were not
asked for, where the site file says that the prototype is stable. Of any other crystal they are told
and break no rule.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from mlip_autopipec.contract.crystals import crystal_name
from mlip_autopipec.contract.measure import Expected, Gate, MeasureRules
from mlip_autopipec.contract.mistakes import Mistake, nearest, shown
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.work.codes.phonopy.citations import ENTRIES


class PhononsGate(Protocol):
    """training.gate.phonons."""

    @property
    def oracle(self) -> bool:
        """Whether the oracle labels the supercells."""

    @property
    def stable(self) -> Sequence[str] | None:
        """Crystals that have no imaginary mode; None: all of them."""

    @property
    def imaginary_max_thz(self) -> float:
        """So far below zero is noise."""

    @property
    def frequency_rms_max_thz(self) -> float:
        """From the oracle's."""


class PhonopyRules(MeasureRules[PhononsGate]):
    """Of the phonons of each prototype."""

    def mistakes(self, section: PhononsGate, gate: Gate) -> Iterator[Mistake]:
        """The oracle's own are among its properties; stable ones are prototypes."""
        if section.oracle and not gate.properties:
            expected = (
                "expected only with training.gate.properties: the oracle's own are among them"
            )
            yield Mistake(("oracle",), "true", expected)
        known = gate.prototypes
        for index, name in enumerate(section.stable or ()):
            if crystal_name(name) not in known and known:
                expected = (
                    f"expected one of generation.prototypes ({', '.join(dict.fromkeys(known))})"
                )
                yield Mistake(("stable", index), shown(name), expected, nearest(name, known))

    def expected(self, section: PhononsGate, measured: Measure) -> Expected | None:
        """A frequency below zero is an error where there should be none."""
        if measured.rule == "frequencies":
            return Expected("phonon frequencies", section.frequency_rms_max_thz, "THz RMS")
        if not _is_stable(section, measured):
            return None
        return Expected("lowest phonon frequency", section.imaginary_max_thz, "THz", oracle=0.0)

    def citations(self, section: PhononsGate) -> Mapping[str, str]:
        """As its authors ask."""
        del section
        return ENTRIES


def _is_stable(section: PhononsGate, lowest: Measure) -> bool:
    if lowest.oracle is not None:
        return lowest.oracle >= -section.imaginary_max_thz
    return section.stable is None or crystal_name(lowest.subject) in map(
        crystal_name, section.stable
    )
