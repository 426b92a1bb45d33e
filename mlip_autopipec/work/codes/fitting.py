"""What a trainer gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fitted:
    """A fit, with how it was begun."""

    start: str  # `warm` or `scratch`; one of each at most
    potential: Path  # the .yaml of a B-basis, without core repulsion
    loss: Sequence[Any] = ()  # stage, iteration, loss, meV/atom, meV/Å
    report: dict[str, Any] | None = None  # of a linear fit, as the control half's FitReport
