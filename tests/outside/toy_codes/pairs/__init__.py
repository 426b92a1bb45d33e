"""Sums over pairs of atoms, in their own file format: a trainer and the evaluator for its fits."""

from mlip_autopipec.contract.evaluator import EvaluatorCode, PotentialFile
from mlip_autopipec.contract.trainer import TrainerCode

TRAINER = TrainerCode(
    package=__name__,
    settings=".settings:PairsTrainer",
    rules=".rules:TrainerRules",
    run=".fit:fits",
    evaluator="pairs",
)
EVALUATOR = EvaluatorCode(
    package=__name__,
    potential="a pair potential",
    files=(
        PotentialFile(
            "json", "potential.json", "the pair potential, without the reference energies"
        ),
        PotentialFile(
            "known", "known.json", "the environments that it was trained on, which γ is against"
        ),
    ),
    rules=".rules:PairsRules",
    load=".run:load",
    write=".run:write",
    complete=".run:complete",
    examine=".run:examine",
    about="pairs",
    remedy="reinstall toy-codes",
)
