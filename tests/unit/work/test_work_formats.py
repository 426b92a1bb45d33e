"""`dataset:` reads what VASP and pw.x have written.

Units, signs, the energy that forces belong to, and constraints.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from kit.adopting import asked, results, sound_set
from kit.vasp import NELM, Ionic, write_outcar, write_vasprun

from mlip_autopipec.work.adopting.set_of_files import SetOfFiles, read_and_judge

pytestmark = pytest.mark.codes

Writer = Callable[[Path, Sequence[Ionic]], None]
WRITERS: dict[str, Writer] = {"vasprun.xml": write_vasprun, "OUTCAR": write_outcar}
#: eV; as that of a metal with a broad smearing, so that no energy is taken for another unseen.
ENTROPY_EV = -0.4


def relaxation(count: int = 5) -> list[Ionic]:
    """Strained and rattled cells of one crystal, as ionic steps with the numbers of EMT."""
    frames = [frame for frame in sound_set(6 * count) if len(frame) == 4][:count]
    return [
        Ionic(
            frame,
            results(frame)["energy"],
            results(frame)["forces"],
            results(frame)["stress"],
            entropy_ev=ENTROPY_EV * (1 + 0.1 * number),
        )
        for number, frame in enumerate(frames)
    ]


def adopted(path: Path, **changes: object) -> SetOfFiles:
    """As the site file's `dataset: {files: [path]}` would have it."""
    return read_and_judge({path.name: path}, asked(**changes), ("Cu", "Al"), 1.5, {})


@pytest.mark.parametrize("name", WRITERS)
def test_what_vasp_has_written_is_read(name: str, tmp_path: Path) -> None:
    """Every ionic step: free energy in eV, forces in eV/Å, stress in ASE's sign, unit and order."""
    steps = relaxation()
    WRITERS[name](tmp_path / name, steps)
    found = adopted(tmp_path / name)
    assert found.refused == ""
    assert found.names == "energy from free_energy; forces from forces; stress from stress"
    assert len(found.sound) == len(steps)
    for frame, step in zip(found.sound, steps, strict=True):
        assert frame.energy_ev == pytest.approx(step.free_energy_ev, abs=1e-7)
        assert frame.forces == pytest.approx(step.forces, abs=1e-6)
        assert frame.stress == pytest.approx(step.stress, abs=1e-7)
        assert frame.atoms.cell.array == pytest.approx(step.atoms.cell.array, abs=1e-6)
        apart = frame.atoms.positions - step.atoms.positions
        assert np.abs(apart).max() < 1e-6
    shear = np.abs([step.stress[3:] for step in steps])
    assert (np.ptp(shear, axis=1) > 1e-4).any()  # else no order of the components could be wrong


@pytest.mark.parametrize("name", WRITERS)
def test_the_energy_beside_forces_is_the_free_energy(name: str, tmp_path: Path) -> None:
    """With energy(sigma->0) forces are no derivative any more.

    Who wants it says so, and gets it.
    """
    steps = relaxation()
    WRITERS[name](tmp_path / name, steps)
    found = adopted(tmp_path / name, energy="energy")
    assert found.refused == ""
    for frame, step in zip(found.sound, steps, strict=True):
        assert frame.energy_ev == pytest.approx(step.free_energy_ev - step.entropy_ev / 2, abs=1e-7)


@pytest.mark.parametrize(("name", "version"), [("vasprun.xml", 6), ("OUTCAR", 6), ("OUTCAR", 5)])
def test_an_ionic_step_that_did_not_converge_is_no_label(
    name: str, version: int, tmp_path: Path
) -> None:
    """VASP goes on with it, and its numbers look like any others.

    One that took fewer steps than NELM is a label.
    """
    steps = relaxation()
    steps[1] = replace(steps[1], electronic_steps=NELM)
    steps[2] = replace(steps[2], electronic_steps=NELM - 1)
    if name == "OUTCAR":
        write_outcar(tmp_path / name, steps, version=version)
    else:
        write_vasprun(tmp_path / name, steps)
    refused = adopted(tmp_path / name).refused
    assert f"frame 2 of {name}: electrons that did not converge in {NELM} steps (NELM)" in refused
    assert refused.startswith("1 of 5 frames are faulty")
    left = adopted(tmp_path / name, faulty_frames="leave_out")
    assert (left.refused, [frame.number for frame in left.sound]) == ("", [1, 3, 4, 5])


def test_forces_on_atoms_that_were_held_are_kept(tmp_path: Path) -> None:
    """Selective dynamics holds atoms, and VASP has their forces all the same.

    ASE's constraints take none away.
    """
    steps = relaxation()
    write_vasprun(tmp_path / "vasprun.xml", steps, fixed=(0, 2))
    found = adopted(tmp_path / "vasprun.xml")
    assert found.refused == ""
    for frame, step in zip(found.sound, steps, strict=True):
        assert not frame.atoms.constraints
        assert np.abs(step.forces[[0, 2]]).max() > 0.01
        assert frame.forces == pytest.approx(step.forces, abs=1e-6)


def test_forces_that_constraints_have_taken_away_are_refused(tmp_path: Path) -> None:
    """Written by a tool that put zeros in their place: they do not add up to nothing any more."""
    steps = [
        replace(step, forces=step.forces * [[0.0], [1.0], [1.0], [1.0]]) for step in relaxation()
    ]
    write_vasprun(tmp_path / "vasprun.xml", steps, fixed=(0,))
    refused = adopted(tmp_path / "vasprun.xml").refused
    assert "of vasprun.xml: " in refused
    assert "forces" in refused


def test_a_run_that_was_cut_off_lends_its_whole_steps(tmp_path: Path) -> None:
    """By its walltime, in the middle of a step."""
    write_vasprun(tmp_path / "vasprun.xml", relaxation(4), cut_off=True)
    found = adopted(tmp_path / "vasprun.xml")
    assert (found.refused, len(found.sound)) == ("", 3)


def test_a_relaxation_by_pw_x_is_read_step_by_step(tmp_path: Path) -> None:
    """Energies in Ry, forces in Ry/Bohr, the stress in Ry/Bohr³ with pw.x's sign."""
    steps = relaxation(3)
    write_pw_relaxation(
        tmp_path / "relax.pwo", [replace(step, atoms=_of(step, steps[0])) for step in steps]
    )
    found = adopted(tmp_path / "relax.pwo", faulty_frames="leave_out")
    numbers = [(frame.energy_ev, frame.forces, frame.stress) for frame in found.sound]
    assert len(numbers) == 3, (found.refused, found.left_out)
    for (energy_ev, forces, stress), step in zip(numbers, steps, strict=True):
        assert energy_ev == pytest.approx(step.free_energy_ev, abs=1e-6)
        assert forces == pytest.approx(step.forces, abs=1e-5)
        assert stress == pytest.approx(step.stress, abs=1e-6)


def _of(step: Ionic, first: Ionic) -> Atoms:
    """A relaxation has one cell for all of its steps."""
    atoms: Atoms = step.atoms.copy()
    atoms.set_cell(first.atoms.cell, scale_atoms=True)
    return atoms


def write_pw_relaxation(path: Path, steps: Sequence[Ionic]) -> None:
    """What is read of a `calculation = 'relax'`, as pw.x lays it out."""
    first = steps[0].atoms
    alat = float(first.cell.lengths()[0])
    lines = [
        "     Program PWSCF v.7.2 starts on 29Nov2026 at  6:40:42",
        "     bravais-lattice index     =            0",
        f"     lattice parameter (alat)  = {alat / units.Bohr:11.6f}  a.u.",
        f"     number of atoms/cell      = {len(first):12d}",
        "     number of atomic types    =            1",
        f"     celldm(1)= {alat / units.Bohr:13.8f}  celldm(2)=   0.000000  celldm(3)=   0.000000",
        "     crystal axes: (cart. coord. in units of alat)",
        *(
            f"               a({axis}) = ( {_six(row / alat)} )"
            for axis, row in enumerate(first.cell.array, 1)
        ),
        "     Cartesian axes",
        "",
        "     site n.     atom                  positions (alat units)",
        *(
            f"     {number:5d}        Cu  tau({number:4d}) = ( {_six(index / alat)} )"
            for number, index in enumerate(first.positions, 1)
        ),
        "",
        "     number of k points=     1",
        "                       cart. coord. in units 2pi/alat",
        "        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   2.0000000",
        "",
    ]
    for number, step in enumerate(steps):
        if number:
            lines += [
                "ATOMIC_POSITIONS (angstrom)",
                *(f"Cu {_six(index)}" for index in step.atoms.positions),
                "",
            ]
        pressure = step.stress * units.Bohr**3 / units.Ry * -1
        xx, yy, zz, yz, xz, xy = pressure
        ry_per_bohr = step.forces * units.Bohr / units.Ry
        lines += [
            "     End of self-consistent calculation",
            "",
            "          k = 0.0000 0.0000 0.0000 (   531 PWs)   bands (ev):",
            "",
            "    -5.1000   2.3000   2.3000   2.4000",
            "",
            "     the Fermi energy is     7.5000 ev",
            "",
            f"!    total energy              = {step.free_energy_ev / units.Ry:19.10f} Ry",
            "",
            "     Forces acting on atoms (cartesian axes, Ry/au):",
            "",
            *(
                f"     atom {index:4d} type  1   force = {_six(row)}"
                for index, row in enumerate(ry_per_bohr, 1)
            ),
            "",
            "     Computing stress (Cartesian axis) and pressure",
            "",
            "          total   stress  (Ry/bohr**3)                   (kbar)     P=        0.00",
            *(
                f"{_six(np.array(row))}  0.0 0.0 0.0"
                for row in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))
            ),
            "",
        ]
    path.write_text("\n".join([*lines, "     JOB DONE.", ""]), encoding="ascii")


def _six(row: np.ndarray) -> str:
    return " ".join(f"{number:16.9f}" for number in row)
