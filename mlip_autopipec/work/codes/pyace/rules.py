"""What the control half asks of python-ace's potentials."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlip_autopipec.contract.evaluator import AseUse, EvaluatorRules
from mlip_autopipec.work.codes.pyace.citations import ENTRIES


class PyaceRules(EvaluatorRules):
    """ML-PACE in LAMMPS, PyACECalculator in ASE."""

    def wrong_start(self, potential: Path, active_set: Path | None) -> Iterator[tuple[str, str]]:
        """Both have their own forms."""
        if potential.suffix not in {".yaml", ".yml"}:
            yield (
                "potential",
                (
                    "expected python-ace's B-basis, a .yaml; a .yace is made from that, and has no"
                    " active set"
                ),
            )
        if active_set is not None and active_set.suffix != ".asi":
            yield "active_set", "expected an .asi, of pace_activeset"

    def lammps_lines(self, paths: Mapping[str, str], elements: Sequence[str]) -> Sequence[str]:
        """By the .yace, whose energies are total energies."""
        return "pair_style pace", f"pair_coeff * * {paths['yace']} {' '.join(elements)}"

    def graded_lines(
        self, paths: Mapping[str, str], elements: Sequence[str], stride: int, fix: str
    ) -> Sequence[str]:
        """By the B-basis and its active set, as LAMMPS's manual has them."""
        return (
            "pair_style pace/extrapolation",
            f"pair_coeff * * {paths['yaml']} {paths['asi']} {' '.join(elements)}",
            f"fix {fix} all pair {stride} pace/extrapolation gamma 1",
        )

    def ase(self, paths: Mapping[str, str]) -> AseUse:
        """By the .yace."""
        return AseUse(
            "from pyace import PyACECalculator",
            f"PyACECalculator({paths['yace']})",
            "float(potential.basis.cutoffmax)",
            total_energies=True,
        )

    def citations(self) -> Mapping[str, str]:
        """Of ACE, its implementation, and γ."""
        return ENTRIES

    def needs(self) -> Sequence[str]:
        """ML-PACE, and python-ace."""
        return "a LAMMPS that has ML-PACE", "python-ace"
