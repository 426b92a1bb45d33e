"""One label by an ASE calculator, in the job's own process."""

import difflib
import importlib
import json
import sys

import ase
import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError

from mlip_autopipec.contract.results.label import OracleNotes
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.job import AnyJob, TaskFailed
from mlip_autopipec.work.mpi import load_mpi
from mlip_autopipec.work.structures import Numbers


def label(job: AnyJob, oracle: AseOracle, atoms: Atoms) -> tuple[Numbers, OracleNotes]:
    """Its numbers, and its settings.

    Raises TaskFailed (numerical, bad_input) with the calculator's own words.
    """
    del job
    return label_atoms(atoms, oracle)


def label_atoms(atoms: Atoms, oracle: AseOracle) -> tuple[Numbers, OracleNotes]:
    """The same without a job."""
    atoms.calc = calculator_of(oracle)
    try:
        found = Numbers(float(atoms.get_potential_energy()), atoms.get_forces(), atoms.get_stress())
    # also ASE's, of calculators that know no stress or no such element
    except NotImplementedError as error:
        raise TaskFailed(
            "bad_input", f"the oracle cannot label this: {type(error).__name__}: {error}"
        ) from error
    except (CalculatorError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise TaskFailed(
            "numerical", f"the oracle gave no result: {type(error).__name__}: {error}"
        ) from error
    return found, OracleNotes(settings=settings(oracle))


def calculator_of(oracle: AseOracle) -> BaseCalculator:
    """Import and make the calculator. Raises TaskFailed (bad_input) with the import path in it."""
    path = oracle.calculator
    module, _, name = path.rpartition(".")
    load_mpi()  # for those that run LAMMPS: as the walkers have it
    try:
        imported = importlib.import_module(module)
        calculator: BaseCalculator = getattr(imported, name)(**oracle.arguments)
    # OSError: of a library it loads
    except (
        ImportError,
        AttributeError,
        TypeError,
        ValueError,
        OSError,
    ) as error:
        raise TaskFailed(
            "bad_input", f"calculator {path}: {error}{_alike(module, name)}"
        ) from error
    return calculator


def _alike(module: str, name: str) -> str:
    """A question, if the module has something of nearly this name."""
    found = sys.modules.get(module)
    names = (
        difflib.get_close_matches(name, dir(found), 1)
        if found is not None and not hasattr(found, name)
        else []
    )
    return f"; did you mean {module}.{names[0]}?" if names else ""


def settings(oracle: AseOracle) -> str:
    """Everything that gives the label its meaning."""
    return (
        f"{oracle.calculator} {json.dumps(oracle.arguments, sort_keys=True)} ase {ase.__version__}"
    )
