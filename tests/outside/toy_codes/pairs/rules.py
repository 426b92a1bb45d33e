"""What the control half asks."""

from collections.abc import Mapping, Sequence

from mlip_autopipec.contract import trainer
from mlip_autopipec.contract.evaluator import AseUse, EvaluatorRules
from toy_codes.pairs.settings import PairsTrainer


class TrainerRules(trainer.TrainerRules[PairsTrainer]):
    """Of the trainer: a basis is given."""


class PairsRules(EvaluatorRules):
    """Of the evaluator: LAMMPS has no pair style for it, ASE a calculator of this package."""

    def ase(self, paths: Mapping[str, str]) -> AseUse:
        """By the first file, which is without the reference energies."""
        return AseUse(
            "from toy_codes.pairs.calculator import Pairs",
            f"Pairs({paths['json']})",
            "potential.evaluator.cutoff_angstrom",
            total_energies=False,
        )

    def needs(self) -> Sequence[str]:
        """This package."""
        return "nothing", "toy-codes"
