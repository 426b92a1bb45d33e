"""What a rule is."""

from collections.abc import Callable, Iterator

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import Mistake

Rule = Callable[[WorkflowConfig], Iterator[Mistake]]
#: Symbols are short: half of two letters in common is near.
SYMBOLS_ALIKE = 0.5
