"""Quantum ESPRESSO's pw.x as an oracle."""

from mlip_autopipec.contract.oracle import OracleCode

ORACLE = OracleCode(
    package=__name__,
    settings=".settings:EspressoSection",
    task_settings=".settings:EspressoOracle",
    rules=".rules:EspressoRules",
    run=".run:label",
    examine=".doctor:examine",
    trials=".doctor:trials",
    running=("command", "pseudo_folder", "mixing_beta", "electron_maxstep", "tries_max"),
    disk_mib=0.5,
    about="espresso",
    remedy=(
        "mend calculation.oracle (command, pseudo_folder, pseudopotentials), or load its module in"
        " site.resources.calculation.prologue"
    ),
)
