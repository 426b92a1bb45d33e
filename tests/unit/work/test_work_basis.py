"""The linear basis: as many functions as are asked for, every smaller one within a larger one."""

import numpy as np
import pytest
from kit.jobs import copper

from mlip_autopipec.contract.train import functions_max
from mlip_autopipec.work.job import TaskFailed

pytest.importorskip("pyace", reason="needs the demo extra")

from mlip_autopipec.work.ace.basis import (
    columns,
    count_functions,
    first_columns,
    linear_basis,
    roughness,
)
from mlip_autopipec.work.ace.design import DesignMatrix

pytestmark = pytest.mark.codes

_NAMES = ("Ag", "Al", "Au", "Cu")


@pytest.mark.parametrize("elements", [1, 2, 3, 4])
def test_what_is_asked_is_what_there_is(elements: int) -> None:
    """Up to the largest number that `config check` allows, for each element; no function twice."""
    largest = functions_max(elements)
    for asked in (1, 37, largest):
        made = linear_basis(_NAMES[:elements], 5.0, asked)
        assert count_functions(made) == [asked] * elements
        assert all(len(set(of_element)) == asked for of_element in columns(made))


def test_the_largest_basis_is_that_of_published_potentials() -> None:
    """1,000 functions for one element, 600 for two and three."""
    assert [functions_max(elements) for elements in (1, 2, 3)] == [1000, 600, 600]


def test_more_than_there_is_is_refused() -> None:
    """With the largest number, not silently fewer."""
    with pytest.raises(
        TaskFailed, match=r"1001 functions per element are more than .*: 1000"
    ) as failed:
        linear_basis(["Cu"], 5.0, 1001)
    assert failed.value.reason == "bad_input"


@pytest.mark.parametrize("elements", [["Cu"], ["Cu", "Au"]])
def test_a_smaller_basis_is_a_part_of_a_larger(elements: list[str]) -> None:
    """Its design matrix is some of the columns, in their order."""
    atoms = copper((1, 1, 2), 0.1, 4)
    atoms.symbols[[1, 4, 6]] = elements[-1]
    large, small = linear_basis(elements, 4.5, 90), linear_basis(elements, 4.5, 40)
    chosen = first_columns(columns(large), 40)
    for mine, theirs in zip(
        DesignMatrix(large).rows(atoms), DesignMatrix(small).rows(atoms), strict=True
    ):
        assert mine[..., chosen] == pytest.approx(theirs, abs=1e-12)


def test_independent_functions() -> None:
    """None of them is a sum of others: over enough environments the projections have full rank."""
    made = linear_basis(["Cu"], 5.5, 120)
    design = DesignMatrix(made)
    rows = np.concatenate([design.rows(copper((2, 2, 2), 0.4, seed))[1] for seed in range(6)])
    assert np.linalg.matrix_rank(rows / np.linalg.norm(rows, axis=0)) == 120


def test_roughness_rises_with_order_radius_and_angle() -> None:
    """The smoothest function is the first of two bodies."""
    made = columns(linear_basis(["Cu"], 5.0, 200))
    rough = roughness(made)
    assert rough.min() == 1.0
    for function, value in zip(made[0], rough, strict=True):
        assert value == sum(function.ns) + sum(function.ls) >= len(function.ns)


def test_the_strain_rows_are_the_stress() -> None:
    """Times coefficients, the derivative of the energy by strain.

    It is held against finite differences of the whole energy.
    """
    atoms = copper((1, 1, 2), 0.1, 4)
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + 0.02 * np.arange(9).reshape(3, 3) / 9), scale_atoms=True
    )
    made = linear_basis(["Cu"], 4.5, 30)
    design, coefficients = DesignMatrix(made), np.random.default_rng(2).normal(0.0, 0.01, 30)
    rows = design.all_rows(atoms).strain @ coefficients
    for index, (first, second) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        energies = []
        for sign in (1, -1):
            tensor = np.eye(3)
            tensor[first, second] += sign * 5e-4
            tensor[second, first] += sign * 5e-4
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ tensor, scale_atoms=True)
            energies.append(design.rows(strained)[0] @ coefficients)
        assert rows[index] == pytest.approx((energies[0] - energies[1]) / 2e-3, rel=1e-4, abs=1e-7)
