"""What a trainer gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlip_autopipec.contract.results.train import FitReport, FitStart, LossPoint


@dataclass(frozen=True)
class Fitted:
    """A fit, with how it was begun."""

    start: FitStart  # `warm` or `scratch`; one of each at most
    potential: Path  # the first file of its evaluator's potentials, without core repulsion
    loss: Sequence[LossPoint] = ()
    report: FitReport | None = None  # of a linear fit
