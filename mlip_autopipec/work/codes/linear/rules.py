"""What a site file asks of the linear basis."""

from collections.abc import Iterator

from mlip_autopipec.contract.mistakes import Mistake, shown
from mlip_autopipec.contract.train import functions_max
from mlip_autopipec.contract.trainer import Basis, TrainerRules


class LinearRules(TrainerRules[str]):
    """Of the linear trainer, which chooses what is `auto`."""

    def mistakes(self, section: str, basis: Basis) -> Iterator[Mistake]:
        """No more functions than the basis has."""
        del section
        asked, elements = basis.functions_per_element, len(basis.elements)
        largest = functions_max(elements)
        if not isinstance(asked, str) and asked > largest:
            of = "one element" if elements == 1 else f"{elements} elements"
            expected = f"expected no more than {largest}: the linear basis of {of} ends there"
            yield Mistake(("functions_per_element",), shown(asked), expected)
