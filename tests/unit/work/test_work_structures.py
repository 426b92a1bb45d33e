"""Crystals, distances and extended XYZ."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.formula import Formula
from ase.io import read, write
from kit.jobs import copper, labelled

from mlip_autopipec.contract.crystals import crystal_name
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.structures import (
    crystal,
    finite,
    read_frames,
    shortest_distance,
    user_structures,
    write_frames,
)

#: structure → elements, c/a, atoms per cell, nearest-neighbour distance over a
CRYSTALS: dict[str, tuple[tuple[str, ...], float | None, int, float]] = {
    "sc": (("Po",), None, 1, 1.0),
    "fcc": (("Cu",), None, 4, 1 / math.sqrt(2)),
    "bcc": (("Fe",), None, 2, math.sqrt(3) / 2),
    "hcp": (("Mg",), None, 4, 1.0),
    "diamond": (("Si",), None, 8, math.sqrt(3) / 4),
    "rocksalt": (("Na", "Cl"), None, 8, 0.5),
    "cesiumchloride": (("Cs", "Cl"), None, 2, math.sqrt(3) / 2),
    "zincblende": (("Ga", "As"), None, 8, math.sqrt(3) / 4),
    "l1_0": (("Cu", "Au"), None, 4, 1 / math.sqrt(2)),
    "l1_2": (("Au", "Cu"), None, 4, 1 / math.sqrt(2)),
}
A = 4.0


def prototype(structure: Any, **changes: Any) -> Prototype:
    """One of CRYSTALS with a lattice constant of 4 Å."""
    elements, c_over_a, _, _ = CRYSTALS[structure]
    return Prototype(
        structure=structure,
        elements=elements,
        lattice_constant_angstrom=A,
        **{"c_over_a": c_over_a, **changes},
    )


@pytest.mark.parametrize("structure", CRYSTALS)
def test_a_crystal_has_its_distance_and_a_cell_that_lammps_reads(structure: str) -> None:
    """Nearest neighbours are where the lattice constant puts them.

    The cell is orthogonal along x, y, z.
    """
    _, _, n_atoms, distance = CRYSTALS[structure]
    cell = crystal(prototype(structure))
    assert len(cell) == n_atoms
    assert shortest_distance(cell, 2 * A) == pytest.approx(distance * A, rel=1e-12)
    assert cell.cell.array == pytest.approx(np.diag(cell.cell.lengths()), abs=1e-12)
    assert cell.pbc.all()


@pytest.mark.parametrize(
    ("structure", "counts"),
    [
        ("rocksalt", {"Na": 4, "Cl": 4}),
        ("cesiumchloride", {"Cs": 1, "Cl": 1}),
        ("zincblende", {"Ga": 4, "As": 4}),
        ("l1_0", {"Cu": 2, "Au": 2}),
        ("l1_2", {"Au": 1, "Cu": 3}),
    ],
)
def test_a_compound_has_its_composition(structure: str, counts: dict[str, int]) -> None:
    """The first element is the first of the formula, in l1_2 the corner."""
    assert crystal(prototype(structure)).symbols.formula.count() == counts


@pytest.mark.parametrize("structure", CRYSTALS)
def test_a_crystal_is_called_by_the_formula_that_it_has(structure: str) -> None:
    """A site that is there three times is told as three."""
    plain = prototype(structure)
    formula, _, kind = plain.name.partition(" ")
    assert kind == structure
    assert (
        Formula(formula).reduce()[0].count() == crystal(plain).symbols.formula.reduce()[0].count()
    )


def test_labels_of_earlier_versions_are_found_by_the_name_of_today() -> None:
    """They left the number out; other words are left as they are."""
    assert (
        crystal_name("property: AgPd l1_2, strain xx +0.0050")
        == "property: AgPd3 l1_2, strain xx +0.0050"
    )
    for text in (
        "property: AgPd3 l1_2, strain xx",
        "property: CuAu l1_0, strain",
        "halt: Cu fcc 900 K nvt, step 40",
    ):
        assert crystal_name(text) == text
    assert crystal_name("AgPd l1_2") == "AgPd3 l1_2"


@pytest.mark.parametrize("structure", ["rocksalt", "cesiumchloride", "zincblende"])
def test_in_a_salt_every_neighbour_is_of_the_other_element(structure: str) -> None:
    """Nearest neighbours are never alike."""
    cell = crystal(prototype(structure))
    for element in set(cell.get_chemical_symbols()):
        alike = cell[[atom.symbol == element for atom in cell]]
        assert shortest_distance(alike, 2 * A) > 1.1 * shortest_distance(cell, 2 * A)


def test_l1_0_is_layered_along_its_tetragonal_axis() -> None:
    """Each layer normal to c holds one element; c/a stretches the distance between layers alone."""
    cell = crystal(prototype("l1_0", c_over_a=0.9))
    layers = sorted((round(float(atom.z), 6), atom.symbol) for atom in cell)
    between = round(0.45 * A, 6)
    assert layers == [(0.0, "Cu"), (0.0, "Cu"), (between, "Au"), (between, "Au")]
    assert cell.cell.lengths() == pytest.approx([A, A, 0.9 * A])


def test_the_ideal_hcp_has_twelve_equal_neighbours_and_another_ratio_has_not() -> None:
    """Without c/a it is √(8/3); a shorter c brings the neighbours out of the plane closer."""
    assert crystal(prototype("hcp")).cell.lengths()[2] == pytest.approx(A * math.sqrt(8 / 3))
    squeezed = crystal(prototype("hcp", c_over_a=1.5))
    assert squeezed.cell.lengths()[2] == pytest.approx(1.5 * A)
    assert shortest_distance(squeezed, 2 * A) < A


def test_a_crystal_is_repeated_along_each_vector() -> None:
    """Repeats multiply the atoms and stretch the cell, vector by vector."""
    cell = crystal(prototype("fcc", repeat=(1, 2, 3)))
    assert len(cell) == 4 * 6
    assert cell.cell.lengths() == pytest.approx([A, 2 * A, 3 * A])


def test_the_shortest_distance_counts_images() -> None:
    """One atom in a small cell is as far from itself as the cell is long.

    Beyond the cutoff nothing is shorter.
    """
    alone = Atoms("Cu", cell=[2.5, 3.0, 4.0], pbc=True)
    assert shortest_distance(alone, 3.5) == pytest.approx(2.5)
    assert shortest_distance(alone, 2.0) == 2.0


def test_frames_come_back_with_their_numbers(tmp_path: Path) -> None:
    """Symbols, cell, label and info of every frame survive the file.

    Nothing else is left in the folder.
    """
    frames = [
        labelled(copper(rattle_angstrom=0.05, seed=seed), "train", f"label-{seed}")
        for seed in range(3)
    ]
    write_frames(tmp_path / "some.extxyz", frames)
    again = read_frames(tmp_path / "some.extxyz")
    assert [path.name for path in tmp_path.iterdir()] == ["some.extxyz"]
    assert [frame.info["task"] for frame in again] == ["label-0", "label-1", "label-2"]
    for frame, back in zip(frames, again, strict=True):
        assert back.get_chemical_symbols() == frame.get_chemical_symbols()
        assert back.positions == pytest.approx(frame.positions, abs=1e-7)
        assert back.get_potential_energy() == pytest.approx(frame.get_potential_energy(), abs=1e-9)
        assert back.get_forces() == pytest.approx(frame.get_forces(), abs=1e-7)
        assert back.get_stress() == pytest.approx(frame.get_stress(), abs=1e-7)


def test_no_frames_is_an_empty_file_and_comes_back_as_none(tmp_path: Path) -> None:
    """A walker that collected nothing still has its file."""
    write_frames(tmp_path / "none.extxyz", [])
    assert (tmp_path / "none.extxyz").read_bytes() == b""
    assert read_frames(tmp_path / "none.extxyz") == []


@pytest.mark.parametrize(
    "content", ["no number of atoms\n", "3\nProperties=species:S:1:pos:R:3\nCu 0 0 0\nCu 1 1 1\n"]
)
def test_what_is_no_extended_xyz_is_bad_input(tmp_path: Path, content: str) -> None:
    """The error names the file."""
    path = tmp_path / "bad.extxyz"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TaskFailed, match=r"bad\.extxyz is no extended XYZ") as failed:
        read_frames(path)
    assert failed.value.reason == "bad_input"


def test_finite_means_every_number() -> None:
    """One NaN or infinity anywhere is enough."""
    assert finite(1.0, np.zeros((2, 3)), [1, 2])
    assert not finite(1.0, np.array([0.0, np.nan]))
    assert not finite(float("inf"))


PARTIAL = """data_CuAu
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a 3.87
_cell_length_b 3.87
_cell_length_c 3.87
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
 _atom_site_label
 _atom_site_type_symbol
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
"""
SHARED = "Cu1 Cu 0 0 0 0.6\nAu1 Au 0 0 0 0.4\nCu2 Cu 0.5 0.5 0 1\n"
EMPTY = "Cu1 Cu 0 0 0 0.6\nCu2 Cu 0.5 0.5 0 1\n"


@pytest.mark.parametrize(
    ("sites", "message"),
    [(SHARED, "such as 60% Cu and 40% Au"), (EMPTY, "such as 60% Cu. A label")],
)
@pytest.mark.parametrize("suffix", ["cif", "extxyz", "traj"])
def test_a_partly_occupied_site_is_refused_in_words(
    tmp_path: Path, sites: str, message: str, suffix: str
) -> None:
    """ASE reads the first element of each site and tells the rest beside.

    No label is of such an atom.
    """
    path = tmp_path / "alloy.cif"
    path.write_text(PARTIAL + sites)
    if suffix != "cif":
        write(tmp_path / f"alloy.{suffix}", read(path))
        path = tmp_path / f"alloy.{suffix}"
    with pytest.raises(
        TaskFailed, match=f"alloy.{suffix} has sites that are partly occupied, {message}"
    ) as failed:
        user_structures(path, ("Cu", "Au"))
    assert failed.value.reason == "bad_input"


@pytest.mark.parametrize(("name", "occupancy"), [("occupancy", 0.25), ("occupancies", 1.5)])
def test_an_occupancy_of_each_atom_is_looked_at(
    tmp_path: Path, name: str, occupancy: float
) -> None:
    """As PDB, muSTEM and Prismatic files have it; 1 for every atom is a whole structure."""
    atoms = copper()
    for value, ordered in ((occupancy, False), (1.0, True)):
        atoms.set_array(name, np.array([1.0, value, 1.0, 1.0]))
        write(tmp_path / "some.extxyz", atoms)
        if ordered:
            assert len(user_structures(tmp_path / "some.extxyz", ("Cu",))[0]) == 4
        else:
            with pytest.raises(TaskFailed, match=f"{occupancy:.0%} Cu \\(atom 2\\)"):
                user_structures(tmp_path / "some.extxyz", ("Cu",))


@pytest.mark.parametrize("suffix", ["cif", "pdb", "traj", "vasp"])
def test_an_ordered_structure_is_read_in_any_format(tmp_path: Path, suffix: str) -> None:
    """A CIF says of every site that it is whole."""
    write(tmp_path / f"some.{suffix}", copper())
    assert user_structures(tmp_path / f"some.{suffix}", ("Cu",))[0].get_chemical_formula() == "Cu4"
