"""The evaluator against pyace's own calculator and against finite differences."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.jobs import Fitted, copper, fit_once, strained_copper

from mlip_autopipec.work.job import TaskFailed

pytest.importorskip("pyace", reason="needs the demo extra")

from pyace import PyACECalculator

from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.ace.evaluator import (
    SKIN_ANGSTROM,
    AceEvaluator,
    count_functions,
    linear_basis,
    run_tool,
)
from mlip_autopipec.work.ace.labels import reference_energies
from mlip_autopipec.work.evaluation import Evaluation

pytestmark = pytest.mark.codes

#: xx, yy, zz, xy, xz, yz of LAMMPS as (row, column)
LAMMPS_ORDER = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


class Peer:
    """pyace's own ASE calculator, which makes its neighbour lists by itself."""

    def __init__(self, fitted: Fitted) -> None:
        self._calculator = PyACECalculator(str(fitted.yaml))
        self._calculator.set_active_set(str(fitted.asi))

    def evaluate(self, atoms: Atoms) -> Evaluation:
        """The same numbers, by the other way."""
        bare = atoms.copy()
        bare.calc = self._calculator
        stress = bare.get_stress(voigt=False) * bare.get_volume()
        return Evaluation(
            energy_ev=bare.get_potential_energy(),
            forces=bare.get_forces(),
            virial_ev=np.array([-stress[index] for index in LAMMPS_ORDER]),
            gamma=np.array(self._calculator.results["gamma"]),
        )


@pytest.fixture(scope="module")
def peer(fitted: Fitted) -> Peer:
    return Peer(fitted)


@pytest.fixture(scope="module")
def evaluator(fitted: Fitted) -> AceEvaluator:
    return AceEvaluator(fitted.yaml, fitted.asi)


def assert_same(found: Evaluation, expected: Evaluation) -> None:
    """Energies in eV, forces in eV/Å and virials in eV to 1e-9; γ, where given, to nine digits."""
    assert found.energy_ev == pytest.approx(expected.energy_ev, abs=1e-9)
    assert found.forces == pytest.approx(expected.forces, abs=1e-9)
    assert found.virial_ev == pytest.approx(expected.virial_ev, abs=1e-9)
    if found.gamma is not None:
        assert found.gamma == pytest.approx(expected.gamma, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("repeat", [(1, 1, 1), (1, 1, 2), (3, 3, 3)])
@pytest.mark.parametrize("graded", [True, False])
def test_it_agrees_with_pyaces_own_calculator(
    evaluator: AceEvaluator, peer: Peer, repeat: tuple[int, int, int], *, graded: bool
) -> None:
    """In cells below and above the cutoff, by the evaluator with γ and by the faster one."""
    atoms = copper(repeat, 0.05, 3)
    found = evaluator.evaluate(atoms, graded=graded)
    assert (found.gamma is not None) == graded
    assert_same(found, peer.evaluate(atoms))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    largest_angstrom=st.floats(0.01, 0.4),
    strain_max=st.floats(0.0, 0.03),
    looks=st.lists(st.booleans(), min_size=2, max_size=4),
)
def test_a_reused_neighbour_list_gives_the_same_numbers(
    evaluator: AceEvaluator,
    peer: Peer,
    seed: int,
    largest_angstrom: float,
    strain_max: float,
    looks: list[bool],
) -> None:
    """Whatever a walker does between two looks, nothing is missed.

    Atoms move, drift and wrap, and the cell strains.
    """
    rng = np.random.default_rng(seed)
    atoms = copper((1, 1, 2))
    for graded in looks:
        found, expected = evaluator.evaluate(atoms, graded=graded), peer.evaluate(atoms)
        scale = max(1.0, abs(expected.energy_ev), float(np.abs(expected.virial_ev).max()))
        assert found.energy_ev == pytest.approx(expected.energy_ev, abs=1e-9 * scale)
        assert found.forces == pytest.approx(expected.forces, abs=1e-9 * scale)
        assert found.virial_ev == pytest.approx(expected.virial_ev, abs=1e-9 * scale)
        if found.gamma is not None:
            assert found.gamma == pytest.approx(expected.gamma, rel=1e-7)
        strain = rng.uniform(-strain_max, strain_max, (3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        atoms.positions += rng.uniform(-largest_angstrom, largest_angstrom, (8, 3))
        if rng.random() < 0.2:
            atoms.positions += rng.uniform(-1.0, 1.0, 3)
            atoms.wrap()


def test_small_moves_need_no_new_neighbour_list(fitted: Fitted) -> None:
    """Within the skin the list is used again, beyond it a new one is made.

    Else the test above would show nothing.
    """
    evaluator = AceEvaluator(fitted.yaml, fitted.asi)
    atoms = copper((1, 1, 2))
    evaluator.evaluate(atoms)
    kept = evaluator._environments._environment
    atoms.positions[0] += 0.4 * SKIN_ANGSTROM
    atoms.positions[0, 1:] = 0.0
    evaluator.evaluate(atoms)
    assert evaluator._environments._environment is kept
    atoms.positions[0, 0] += 0.2 * SKIN_ANGSTROM
    evaluator.evaluate(atoms)
    assert evaluator._environments._environment is not kept


def test_a_cell_that_shrinks_around_the_skin_finds_its_new_neighbours(
    evaluator: AceEvaluator, peer: Peer
) -> None:
    """Images that come into reach as a small cell is squeezed bit by bit are not missed."""
    atoms = copper((1, 1, 1), 0.02, 1)
    for _ in range(30):
        atoms.set_cell(atoms.cell.array * [[1.0], [0.994], [0.994]], scale_atoms=True)
        assert_same(evaluator.evaluate(atoms), peer.evaluate(atoms))


def test_one_evaluation_does_not_change_with_the_next(evaluator: AceEvaluator) -> None:
    """Forces and γ that were returned are no view of the evaluator's memory."""
    first = evaluator.evaluate(copper((1, 1, 2), 0.05, 1))
    assert first.gamma is not None
    forces, gamma = first.forces.copy(), first.gamma.copy()
    evaluator.evaluate(copper((1, 1, 2), 0.09, 2))
    assert first.forces == pytest.approx(forces, abs=0)
    assert first.gamma == pytest.approx(gamma, abs=0)


def test_another_structure_may_follow(evaluator: AceEvaluator, peer: Peer) -> None:
    """Structures of other sizes in turn, as when a test set is measured."""
    for atoms in (
        copper((1, 1, 2), 0.05, 1),
        copper((2, 2, 2), 0.05, 2),
        copper((1, 1, 2), 0.05, 3),
    ):
        assert_same(evaluator.evaluate(atoms), peer.evaluate(atoms))


@pytest.mark.parametrize("graded", [True, False])
def test_forces_are_the_slope_of_the_energy(evaluator: AceEvaluator, *, graded: bool) -> None:
    """Each force component is minus the central difference of the energy."""
    atoms = strained_copper(2)
    forces = evaluator.evaluate(atoms, graded=graded).forces
    step = 1e-4
    for atom, axis in ((0, 0), (3, 1), (7, 2)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(evaluator.evaluate(moved, graded=graded).energy_ev)
        assert forces[atom, axis] == pytest.approx(
            -(energies[0] - energies[1]) / (2 * step), abs=1e-6
        )


@pytest.mark.parametrize("graded", [True, False])
def test_the_virial_is_the_slope_of_the_energy_with_the_strain(
    evaluator: AceEvaluator, *, graded: bool
) -> None:
    """Each component is minus ∂E/∂ε, so a compressed crystal pushes outwards.

    That is the sign of LAMMPS.
    """
    atoms = strained_copper(4)
    virial = evaluator.evaluate(atoms, graded=graded).virial_ev
    step = 1e-5
    for component, (row, column) in enumerate(LAMMPS_ORDER):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(evaluator.evaluate(strained, graded=graded).energy_ev)
        assert virial[component] == pytest.approx(
            -(energies[0] - energies[1]) / (2 * step), abs=1e-5
        )


def test_gamma_takes_its_potentials_active_set(fitted: Fitted) -> None:
    """Without an .asi there are energies; asking for γ is refused, never answered by nothing."""
    bare = AceEvaluator(fitted.yaml)
    assert bare.evaluate(copper(), graded=False).gamma is None
    with pytest.raises(AssertionError, match="no γ"):
        bare.evaluate(copper())


def test_an_element_outside_the_basis_is_bad_input(evaluator: AceEvaluator) -> None:
    """It is named."""
    with pytest.raises(TaskFailed, match=r"does not know Ag, Au") as failed:
        evaluator.evaluate(
            Atoms("AuCuAg", positions=np.eye(3) * 2.5, cell=[8, 8, 8], pbc=True), graded=False
        )
    assert failed.value.reason == "bad_input"


def test_the_design_matrix_is_the_potential(tmp_path: Path) -> None:
    """For any coefficients and two elements.

    Rows times coefficients are the energy per atom and the forces.
    """
    basis = linear_basis(["Au", "Cu"], 4.5, 25)
    functions = sum(count_functions(basis))
    coefficients = np.random.default_rng(2).normal(0.0, 0.01, functions)
    basis.basis_coeffs = coefficients
    basis.save(str(tmp_path / "potential.yaml"))
    atoms = copper((1, 1, 2), 0.1, 4)
    atoms.symbols[[1, 4, 6]] = "Au"
    design = DesignMatrix(basis)
    energy, forces = design.rows(atoms)
    assert design.functions == functions
    said = AceEvaluator(tmp_path / "potential.yaml").evaluate(atoms, graded=False)
    assert energy @ coefficients == pytest.approx(said.energy_ev / len(atoms), abs=1e-10)
    assert (forces @ coefficients).reshape(-1, 3) == pytest.approx(said.forces, abs=1e-10)


def test_reference_energies_explain_by_composition() -> None:
    """Sums over elements are explained exactly.

    Where compositions leave a choice, the smallest energies are taken.
    """
    compositions = [{"Cu": 4}, {"Cu": 3, "Au": 1}, {"Cu": 1, "Au": 3}]
    energies = [4 * -3.5, 3 * -3.5 - 3.8, -3.5 - 3 * 3.8]
    assert reference_energies(compositions, energies) == pytest.approx({"Au": -3.8, "Cu": -3.5})
    assert reference_energies([{"Na": 2, "Cl": 2}], [-8.0]) == pytest.approx(
        {"Cl": -2.0, "Na": -2.0}
    )


def test_a_tool_that_fails_is_a_crash_with_its_last_line(tmp_path: Path) -> None:
    """The whole of its words is in a log beside its input, which the message names."""
    with pytest.raises(
        TaskFailed, match=r"pace_info ended with status \d+: .*pace_info\.log"
    ) as failed:
        run_tool("pyace.cli.pace_info", ["no-such-file.yaml"], tmp_path)
    assert failed.value.reason == "crashed"
    assert "no-such-file.yaml" in (tmp_path / "pace_info.log").read_text()
