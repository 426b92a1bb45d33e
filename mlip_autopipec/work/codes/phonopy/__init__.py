"""Phonons by phonopy, as measures of the gate."""

from mlip_autopipec.contract.measure import MeasureCode

MEASURE = MeasureCode(
    package=__name__,
    names=("lowest_frequency", "frequencies"),
    key="phonons",
    rules=".rules:PhonopyRules",
    cells=".run:cells",
    measure=".run:measure",
    require=".run:require",
    examine=".doctor:examine",
    about="phonons",
    remedy=(
        "training.gate.phonons needs phonopy in site.python: `pip install"
        " 'mlip-autopipec[phonons]'` brings it"
    ),
    modules=("phonopy",),
)
