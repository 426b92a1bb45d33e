"""What names an ASE calculator, in a site file and in a task."""

from dataclasses import field
from typing import Any, Literal

from mlip_autopipec.contract.oracle import Oracle
from mlip_autopipec.contract.values import about, value


@value
class AseOracle(Oracle):
    """Any ASE calculator by its import path."""

    kind: Literal["ase"] = "ase"
    calculator: str = field(metadata=about("module.path.ClassName"))
    arguments: dict[str, Any] = field(default_factory=dict)
