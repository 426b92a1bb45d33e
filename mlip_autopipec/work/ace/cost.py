"""What a potential costs in production: measured on the spot, as MD without γ would pay it."""

import time

from ase import Atoms
from pyace import ACEBBasisSet
from pyace.calculator import ACECalculator
from pyace.evaluator import ACERecursiveEvaluator

from mlip_autopipec.work.ace.evaluator import Environments

_REPEATS = 3


def microseconds_per_atom(basis: ACEBBasisSet, atoms: Atoms) -> float:
    """Of one evaluation of energy and forces on one core, in µs/atom.

    It is the best of three, with no new neighbours.
    """
    c_tilde = basis.to_ACECTildeBasisSet()
    evaluator = ACERecursiveEvaluator(c_tilde)
    evaluator.set_recursive(True)
    calculator = ACECalculator(evaluator)
    environment = Environments(basis, 0.0).of(atoms)
    took = []
    for _ in range(_REPEATS):
        started = time.process_time()
        calculator.compute(environment)
        took.append(time.process_time() - started)
    return 1e6 * min(took) / len(atoms)
