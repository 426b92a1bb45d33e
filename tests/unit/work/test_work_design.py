"""The design matrix is python-ace's, number by number."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100

pytest.importorskip("pyace", reason="needs the demo extra")

from pyace import ACEBBasisSet
from pyace.calculator import ACECalculator
from pyace.catomicenvironment import build_atomic_env
from pyace.evaluator import ACEBEvaluator

from mlip_autopipec.work.ace.basis import count_functions, linear_basis
from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.job import TaskFailed

pytestmark = pytest.mark.codes


def by_python_ace(basis: ACEBBasisSet, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Energy row and force rows, as its own evaluator gives them."""
    evaluator = ACEBEvaluator(basis)
    calculator = ACECalculator(evaluator)
    environment = build_atomic_env(
        atoms.positions, atoms.cell.array, atoms.numbers, True, float(basis.cutoffmax)
    )
    names = [atoms[origin].symbol for origin in environment.origins]
    environment.species_type = [basis.elements_to_index_map[name] for name in names]
    calculator.compute(environment, compute_projections=True, compute_b_grad=True)
    offsets = np.concatenate([[0], np.cumsum(count_functions(basis))])
    energy = np.zeros(offsets[-1])
    for kind, projections in zip(environment.species_type, calculator.projections, strict=False):
        energy[offsets[kind] : offsets[kind] + len(projections)] += projections
    forces = np.asarray(calculator.forces_bfuncs).transpose(0, 2, 1)
    return energy / len(atoms), forces.reshape(3 * len(atoms), -1)


def rattled(atoms: Atoms, seed: int = 1, by: float = 0.15) -> Atoms:
    atoms.rattle(by, seed=seed)
    return atoms


def alloy() -> Atoms:
    atoms = rattled(bulk("Cu", cubic=True).repeat((1, 1, 2)))
    atoms.symbols[[1, 4, 6]] = "Au"
    return atoms


def sheared() -> Atoms:
    """Two atoms among their own images, in a cell that leans."""
    atoms = bulk("Si", "diamond", 5.431)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.05 * np.eye(3, k=1)), scale_atoms=True)
    return rattled(atoms)


def slab() -> Atoms:
    atoms = fcc100("Cu", (2, 2, 3), vacuum=6.0)
    atoms.pbc = True
    return rattled(atoms)


def alone() -> Atoms:
    """One atom without a neighbour, and two with one each."""
    return Atoms("Cu3", positions=[[0, 0, 0], [8, 8, 8], [8, 8, 10.4]], cell=[16, 16, 16], pbc=True)


@pytest.mark.parametrize(
    ("atoms", "elements", "cutoff_angstrom", "functions"),
    [
        (rattled(bulk("Cu", cubic=True)), ["Cu"], 5.0, 150),
        (sheared(), ["Si"], 4.9, 700),
        (alloy(), ["Au", "Cu"], 4.5, 120),
        (alloy(), ["Au", "Cu", "Ni"], 4.5, 60),  # one of its elements is not there
        (slab(), ["Cu"], 4.0, 60),
        (alone(), ["Cu"], 4.5, 40),
        (rattled(bulk("Cu", cubic=True), by=0.6), ["Cu"], 4.5, 60),  # atoms that nearly touch
    ],
    ids=["crystal", "one-cell", "alloy", "absent-element", "slab", "alone", "close"],
)
def test_rows_are_those_of_python_ace(
    atoms: Atoms, elements: list[str], cutoff_angstrom: float, functions: int
) -> None:
    """B-projections per atom, and their derivatives by positions."""
    basis = linear_basis(elements, cutoff_angstrom, functions)
    expected = by_python_ace(basis, atoms)
    design = DesignMatrix(basis)
    for mine, theirs in zip(design.rows(atoms), expected, strict=True):
        assert mine.shape == theirs.shape
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-11 * np.abs(theirs).max())


def test_the_largest_basis_is_whole() -> None:
    """Its products of five factors too."""
    basis = linear_basis(["Cu"], 4.0, 1000)
    assert {function.rank for function in basis.basis[0]} >= {2, 3, 4, 5}
    atoms = rattled(bulk("Cu").repeat((1, 1, 2)))
    for mine, theirs in zip(
        DesignMatrix(basis).rows(atoms), by_python_ace(basis, atoms), strict=True
    ):
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-11 * np.abs(theirs).max())


def test_an_element_that_the_basis_does_not_know_is_named() -> None:
    """As bad input."""
    with pytest.raises(TaskFailed, match="the basis does not know Au") as failed:
        DesignMatrix(linear_basis(["Cu"], 4.5, 20)).rows(bulk("Au"))
    assert failed.value.reason == "bad_input"
