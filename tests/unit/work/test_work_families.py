"""One k-mesh for a family of cells.

A crystal keeps it, whatever strains, MD, repeats and cuts do to the cell.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell

from mlip_autopipec.contract.generate import (
    Alloy,
    Dimer,
    GenerateParameters,
    PointDefect,
    Prototype,
    Squeezed,
    Surface,
    Variation,
)
from mlip_autopipec.contract.oracle import KMesh
from mlip_autopipec.work import families
from mlip_autopipec.work.codes.espresso.input import k_mesh
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle
from mlip_autopipec.work.steps.generate import _strained
from mlip_autopipec.work.steps.variations import vary
from mlip_autopipec.work.structures import crystal, read_frames, write_frames

MG = Prototype(structure="hcp", elements=("Mg",), lattice_constant_angstrom=3.2, c_over_a=1.624)
AL = Prototype(structure="fcc", elements=("Al",), lattice_constant_angstrom=4.05)


def asked(spacing: float, rule: KMesh = "family") -> EspressoOracle:
    """An oracle with this mesh."""
    return EspressoOracle(
        pseudo_folder="/upf",
        k_spacing_inverse_angstrom=spacing,
        k_mesh=rule,
        pseudopotentials={},
        ecutwfc_ry=20.0,
        ecutrho_ry=80.0,
    )


def strained(atoms: Atoms, strain: float) -> Atoms:
    """Along z alone."""
    copy = atoms.copy()
    copy.set_cell(copy.cell.array @ np.diag([1, 1, 1 + strain]), scale_atoms=True)
    return copy


def test_a_mesh_does_not_step_as_a_cell_is_strained() -> None:
    """Magnesium at 0.4 1/Å had 4 points along c, and 3 at +3 %: its C11 was below its C12."""
    magnesium = crystal(MG)
    cells = [strained(magnesium, strain) for strain in (-0.05, 0.0, 0.03, 0.05)]
    assert len({k_mesh(cell, asked(0.4)) for cell in cells}) == 1
    # as campaigns of before go on
    assert len({k_mesh(cell, asked(0.4, "cell")) for cell in cells}) > 1


@pytest.mark.parametrize("spacing", [0.13, 0.2, 0.3, 0.4, 0.55])
@pytest.mark.parametrize("prototype", [MG, AL], ids=["Mg", "Al"])
def test_a_repeated_cell_has_the_folded_mesh_of_the_unit_cell(
    prototype: Prototype, spacing: float
) -> None:
    """Twice as many cells, half as many points; never coarser than asked for."""
    unit = crystal(prototype)
    mesh = k_mesh(unit, asked(spacing))
    lengths = 2 * np.pi * np.linalg.norm(unit.cell.reciprocal().array, axis=1)
    assert all(
        length / points <= spacing + 1e-9 for length, points in zip(lengths, mesh, strict=True)
    )
    for repeat in ((2, 1, 1), (1, 2, 2), (2, 2, 2)):
        folded = k_mesh(crystal(replace(prototype, repeat=repeat)), asked(spacing))
        whole = [points * times for points, times in zip(folded, repeat, strict=True)]
        divides = [n % t == 0 for n, t in zip(mesh, repeat, strict=True)]
        assert all(w == n for w, n, even in zip(whole, mesh, divides, strict=True) if even)
        assert all(w >= n for w, n in zip(whole, mesh, strict=True))
        assert all(divides) or min(mesh) == 1


def test_rattles_holes_and_files_keep_the_family(tmp_path: Path) -> None:
    """What generation does to a crystal, through the file that the oracle's task reads.

    The cell is skew on purpose.
    """
    skew = families.begin(
        bulk("Cu", "hcp", a=2.6, covera=1.6).repeat((2, 2, 1)), (2, 2, 1), vacuum=()
    )
    atoms = _strained(skew.copy(), 0.05, np.random.default_rng(1))
    atoms.positions += 0.1
    del atoms[3]
    write_frames(tmp_path / "one.extxyz", [atoms])
    (read,) = read_frames(tmp_path / "one.extxyz")
    assert np.allclose(families.of(read)[families.CELL], skew.cell.array)
    assert families.of(read)[families.REPEAT].tolist() == [2, 2, 1]
    assert k_mesh(read, asked(0.3)) == k_mesh(skew, asked(0.3))


VARIATIONS: list[Variation] = [
    PointDefect(kind="vacancy", count=1),
    PointDefect(kind="interstitial", count=1),
    Squeezed(count=1),
    Alloy(kind="alloy", count=1, elements=("Al", "Cu")),
]


def parameters(prototype: Prototype) -> GenerateParameters:
    """As much as a variation needs."""
    return GenerateParameters(
        prototypes=(prototype,),
        elements=("Al", "Cu"),
        distance_min_angstrom=1.8,
        structures=1,
        test_structures=0,
        strain_max=0.0,
        rattle_angstrom=(0.0,),
        seed=1,
    )


@pytest.mark.parametrize("variation", VARIATIONS, ids=lambda variation: str(variation.kind))
def test_every_variation_of_a_crystal_has_its_mesh(variation: Variation) -> None:
    """Also after a strain that would add a point."""
    eight = replace(AL, repeat=(2, 2, 2))
    atoms = vary(variation, parameters(eight), np.random.default_rng(1), 0)
    assert k_mesh(strained(atoms, -0.1), asked(0.3)) == k_mesh(crystal(eight), asked(0.3))


def test_a_slab_has_one_point_along_its_vacuum_and_the_density_of_the_crystal_in_its_plane() -> (
    None
):
    """Of the (100) slab, whose plane is that of the cubic cell."""
    slab_of = Surface(count=1, thickness_angstrom=6.0, vacuum_angstrom=6.0)
    slab = vary(slab_of, parameters(AL), np.random.default_rng(1), 0)
    bulk_mesh = k_mesh(crystal(AL), asked(0.3))
    assert k_mesh(slab, asked(0.3)) == (bulk_mesh[0], bulk_mesh[1], 1)
    dimer = Dimer(count=1, distance_max_angstrom=3.0)
    assert k_mesh(vary(dimer, parameters(AL), np.random.default_rng(1), 0), asked(0.3)) == (1, 1, 1)


def test_a_users_slab_is_seen_to_have_vacuum() -> None:
    """By its atoms, at the start; a walker's frames keep what was seen then."""
    slab = crystal(replace(AL, repeat=(1, 1, 2)))
    slab.info.clear()
    slab.cell[2, 2] += 10.0
    families.begin(slab)
    assert families.of(slab)[families.REPEAT].tolist() == [1, 1, 0]
    # it evaporates
    slab.positions[:, 2] = np.linspace(0, slab.cell[2, 2], len(slab), endpoint=False)
    assert k_mesh(slab, asked(0.3))[2] == 1


def filled(cell: np.ndarray) -> Atoms:
    """Atoms everywhere in a cell."""
    indices = np.stack(np.meshgrid(*[[0, 0.5]] * 3), axis=-1).reshape(-1, 3)
    return Atoms(["Al"] * 8, scaled_positions=indices, cell=cell, pbc=True)


def test_cuts_of_one_shape_have_one_mesh_whatever_the_source_was_strained_by() -> None:
    """A cell cut out of a walker's frame.

    Its mesh is by density, from the crystal that it would be without the strain.
    """
    whole = crystal(replace(AL, repeat=(6, 6, 6)))
    shape = np.array([[1.5, 1.5, 0], [-1.5, 1.5, 0], [0, 0, 2]])
    meshes, densities = set(), set()
    for strain in (-0.04, 0.0, 0.04):
        frame = strained(whole, strain)
        cut = filled(shape @ (frame.cell.array / 6) * (1 + 0.002 * strain))
        cut.info.update(families.of_cut(cut, frame))
        meshes.add(k_mesh(cut, asked(0.385)))
        densities.add(k_mesh(filled(cut.cell.array), asked(0.385)))
    assert len(meshes) == 1
    assert len(densities) > 1


def test_a_cut_that_follows_no_lattice_and_a_structure_of_before_have_the_density_alone() -> None:
    """Nothing is invented where nothing is known."""
    atoms = make_supercell(bulk("Al", cubic=True), [[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
    assert k_mesh(atoms, asked(0.4)) == k_mesh(atoms, asked(0.4, "cell"))
    assert families.of_cut(atoms, Atoms("Al", cell=[4] * 3, pbc=True)) == {}
