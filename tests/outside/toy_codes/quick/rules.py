"""What the control half asks."""

from collections.abc import Iterator

from mlip_autopipec.contract.mistakes import Mistake, shown
from mlip_autopipec.contract.trainer import Basis, TrainerRules
from toy_codes.quick.settings import QuickTrainer

_FUNCTIONS_MAX = 200


class Rules(TrainerRules[QuickTrainer]):
    """Of a trainer that holds its whole design matrix."""

    def mistakes(self, section: QuickTrainer, basis: Basis) -> Iterator[Mistake]:
        """The basis is given, and is no large one."""
        yield from super().mistakes(section, basis)
        asked = basis.functions_per_element
        if not isinstance(asked, str) and asked > _FUNCTIONS_MAX:
            expected = f"expected no more than {_FUNCTIONS_MAX} with trainer: quick"
            yield Mistake(("functions_per_element",), shown(asked), expected)
