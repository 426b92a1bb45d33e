"""A Morse potential as an oracle."""

from mlip_autopipec.contract.oracle import OracleCode

ORACLE = OracleCode(
    package=__name__,
    settings=".settings:MorseOracle",
    rules=".rules:Rules",
    run=".run:label",
    examine=".doctor:examine",
    about="morse",
    remedy="mend calculation.oracle (depth_ev, distance_angstrom, stiffness)",
    tried_at_start=True,
)
