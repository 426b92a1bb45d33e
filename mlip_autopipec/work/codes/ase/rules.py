"""What a site file says of an ASE calculator.

Nothing is imported here: the calculator is where the jobs run.
"""

from collections.abc import Iterator, Mapping, Sequence

from mlip_autopipec.contract.mistakes import Mistake, import_path
from mlip_autopipec.contract.oracle import KMesh, OracleRules, OracleWishes
from mlip_autopipec.work.codes.ase.citations import ENTRIES
from mlip_autopipec.work.codes.ase.settings import AseOracle

#: What ASE's effective-medium theory is made for.
EMT_ELEMENTS = frozenset({"Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"})
_EMT = "ase.calculators.emt.EMT"


class AseRules(OracleRules[AseOracle, AseOracle]):
    """Of an ASE calculator."""

    def mistakes(self, section: AseOracle, elements: tuple[str, ...]) -> Iterator[Mistake]:
        """It is named by an import path."""
        del elements
        yield from import_path(("calculator",), section.calculator)

    def oracle(self, section: AseOracle, elements: Sequence[str], k_mesh: KMesh) -> AseOracle:
        """As it was written."""
        del elements, k_mesh
        return section

    def citations(self, section: AseOracle) -> Mapping[str, str]:
        """Of the calculators that are known here; ASE itself is cited anyhow."""
        return ENTRIES if section.calculator.rpartition(".")[2] == "EMT" else {}

    def first_section(self, wishes: OracleWishes) -> str:
        """EMT where it knows the elements, and no calculator was named."""
        if wishes.calculator is None and not set(wishes.elements) <= EMT_ELEMENTS:
            others = ", ".join(
                element for element in wishes.elements if element not in EMT_ELEMENTS
            )
            raise ValueError(
                f"ASE's own EMT does not know {others}: name a calculator (--calculator"
                " package.module.Class), or take --oracle espresso"
            )
        calculator = wishes.calculator or _EMT
        return (
            f"  oracle: {{kind: ase, calculator: {calculator}}}   # any ASE calculator, with"
            " `arguments: {…}`\n"
        )

    def is_quick(self, wishes: OracleWishes) -> bool:
        """EMT is for trying things out."""
        return wishes.calculator in {None, _EMT}
