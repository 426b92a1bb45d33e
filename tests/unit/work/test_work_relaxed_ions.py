"""Elastic constants of relaxed ions, from labels with clamped ones.

They are held against ions that really relax.
"""

from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.optimize import BFGS

from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.structures import crystal

#: J. Tersoff, Phys. Rev. B 38, 9902 (1988).
SILICON = TersoffParameters(
    A=1830.8,
    B=471.18,
    lambda1=2.4799,
    lambda2=1.7322,
    lambda3=1.7322,
    beta=1.1e-6,
    n=0.78734,
    m=3.0,
    c=1.0039e5,
    d=16.217,
    h=-0.59825,
    gamma=1.0,
    R=2.85,
    D=0.15,
)
Make = Callable[[], Calculator]
CRYSTALS: dict[str, tuple[Prototype, Make]] = {
    "Si diamond": (
        Prototype(structure="diamond", elements=("Si",), lattice_constant_angstrom=5.432),
        lambda: Tersoff({("Si", "Si", "Si"): SILICON}),
    ),
    "Ni hcp": (
        Prototype(structure="hcp", elements=("Ni",), lattice_constant_angstrom=2.48),
        EMT,
    ),
    "Cu fcc": (Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6), EMT),
}
PROBES = GateProbes()


def labelled(name: str, *, moved: bool = True) -> dict[str, Atoms]:
    """Every property cell as the oracle labels it, with clamped ions."""
    prototype, make = CRYSTALS[name]
    cells = [
        *properties.cells(prototype, PROBES),
        *(properties.twins(prototype)[:1] if moved else ()),
    ]
    return {cell.name: _label(cell.atoms, make()) for cell in cells}


def _label(atoms: Atoms, calculator: Calculator) -> Atoms:
    atoms.calc = calculator
    numbers = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **numbers)
    return atoms


def constants(name: str, labels: dict[str, Atoms]) -> dict[str, float]:
    """The oracle's, in GPa, by what they are called."""
    measures = properties._elastic_constants(CRYSTALS[name][0], labels, {}, PROBES)
    return {measure.subject.removeprefix(f"{name} "): measure.oracle or 0.0 for measure in measures}


def really(name: str, stress: int, strain: int) -> float:
    """In GPa, by cells whose ions have relaxed."""
    prototype, make = CRYSTALS[name]
    found = []
    for sign in (-1, 1):
        atoms, change = crystal(prototype), np.zeros((3, 3))
        i, j = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))[strain]
        change[i, j] += sign * 0.0025
        change[j, i] += sign * 0.0025
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + change), scale_atoms=True)
        atoms.calc = make()
        BFGS(atoms, logfile=None).run(fmax=1e-4, steps=200)
        found.append(atoms.get_stress()[stress])
    return float((found[1] - found[0]) / 0.01 / units.GPa)


@pytest.mark.parametrize(
    ("name", "constant", "stress", "strain"),
    [
        ("Si diamond", "C44", 3, 3),
        ("Si diamond", "C12", 1, 0),
        ("Ni hcp", "C11", 0, 0),
        ("Ni hcp", "C12", 1, 0),
        ("Ni hcp", "C13", 2, 0),
        ("Ni hcp", "C66", 5, 5),
    ],
)
def test_relaxed_ions_are_those_that_have_relaxed(
    name: str, constant: str, stress: int, strain: int
) -> None:
    """To 2 %: the cells are finite, and one atom is moved one way alone."""
    found = constants(name, labelled(name))[f"{constant} (relaxed ions)"]
    assert found == pytest.approx(really(name, stress, strain), rel=0.02, abs=0.5)


def test_relaxation_makes_a_difference_where_there_is_an_inner_freedom() -> None:
    """C44 of silicon: 119 GPa clamped and 69 GPa relaxed, as published for this potential."""
    relaxed, clamped = (
        constants("Si diamond", labelled("Si diamond")),
        labelled("Si diamond", moved=False),
    )
    assert relaxed["C44 (relaxed ions)"] == pytest.approx(69, rel=0.02)
    assert constants("Si diamond", clamped)["C44 (clamped ions)"] == pytest.approx(119, rel=0.04)


def test_a_crystal_without_inner_freedom_needs_no_word() -> None:
    """Clamped is relaxed, with or without the moved cell."""
    whole = constants("Cu fcc", labelled("Cu fcc"))
    assert set(whole) == {"C11", "C12", "C44"}
    assert whole == constants("Cu fcc", labelled("Cu fcc", moved=False))
