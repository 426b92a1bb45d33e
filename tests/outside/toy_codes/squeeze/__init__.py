"""What it costs to squeeze a crystal, as a measure of the gate."""

from mlip_autopipec.contract.measure import MeasureCode

MEASURE = MeasureCode(
    package=__name__,
    names=("squeeze",),
    settings=".settings:SqueezeSection",
    task_settings=".settings:SqueezeSettings",
    rules=".rules:Rules",
    cells=".run:cells",
    measure=".run:measure",
    require=".run:require",
    examine=".run:examine",
    about="squeeze",
    remedy="take it out of training.gate.measures",
)
