"""The gate's measures: equations of state, elastic constants, the repulsive wall and a short MD."""

from mlip_autopipec.contract.measure import MeasureCode

MEASURE = MeasureCode(
    package=__name__,
    names=("lattice_constant", "bulk_modulus", "elastic_constant", "wall", "md"),
    rules=".rules:ElasticRules",
    cells=".run:cells",
    measure=".run:measure",
)
