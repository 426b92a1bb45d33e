"""Any ASE calculator by its import path, as an oracle."""

from mlip_autopipec.contract.oracle import OracleCode

ORACLE = OracleCode(
    package=__name__,
    settings=".settings:AseOracle",
    rules=".rules:AseRules",
    run=".run:label",
    examine=".doctor:examine",
    about="calculator",
    remedy=(
        "mend calculation.oracle (calculator, arguments), or choose one that knows these elements"
    ),
    tried_at_start=True,
)
