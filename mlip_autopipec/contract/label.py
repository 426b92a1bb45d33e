"""Calculation: what is asked of an oracle, and what a label is."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from mlip_autopipec.contract.oracle import Oracle
from mlip_autopipec.contract.origin import Origin, is_absent
from mlip_autopipec.contract.seams import OneOf
from mlip_autopipec.contract.values import about, read, value
from mlip_autopipec.contract.words import Role

#: Of whichever code the registry has, by its `kind`.
AnyOracle = Annotated[Oracle, OneOf("oracles", "task")]


def oracle_from(content: Mapping[str, Any]) -> Oracle:
    """An oracle from JSON, whichever its `kind` names. Raises ValueError."""
    oracle: Oracle = read(AnyOracle, content, "oracle")
    return oracle


@value
class CalculateParameters:
    """Label one structure: energy, forces, stress."""

    kind: Literal["calculate"] = "calculate"
    role: Role
    origin: str = field(metadata=about("where the structure came from, for the data set"))
    came_from: Origin | None = field(
        default=None, metadata=about("the same as a value", exclude_if=is_absent)
    )
    oracle: AnyOracle
    force_max_ev_per_angstrom: float = field(
        metadata=about("a label with a larger force is refused", gt=0)
    )
    pressure_max_gpa: float = field(
        default=1000.0, metadata=about("the same for its pressure, of either sign", gt=0)
    )
