"""The text that LAMMPS reads and the text that it writes."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from kit.jobs import copper, explore_parameters

from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.work.codes.lammps.files import (
    Halt,
    find_halt,
    in_lammps_axes,
    read_dump,
    read_trace,
    write_data,
)
from mlip_autopipec.work.codes.lammps.script import render_input
from mlip_autopipec.work.structures import crystal

NATIVE = ["pair_style pace/extrapolation", "pair_coeff * * potential.yaml potential.asi Cu"]
TRACE_VALUES = "$(step),${gamma_max},${temperature},${distance_min},$(pe),$(vol),${pressure_gpa}"
TRACE_TITLE = (
    "step,gamma_max,temperature_kelvin,distance_min_angstrom,energy_ev,volume_angstrom3"
    ",pressure_gpa"
)
COLUMNS = "id type x y z vx vy vz v_gamma_of_atom"
DUMP = """\
ITEM: TIMESTEP
{step}
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
-1.0000000000000000e+00 4.0000000000000000e+00
0.0000000000000000e+00 6.0000000000000000e+00
5.0000000000000000e-01 7.5000000000000000e+00
ITEM: ATOMS id type x y z vx vy vz d_gamma
1 1 -1 0 0.5 1 2 3 0.25
2 2 1.5 3 4 -1 -2 -3 {gamma}
"""


def render(walker: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    """The lines of in.lammps."""
    parameters = explore_parameters(walker, **changes)
    present = parameters.elements
    return render_input(parameters, NATIVE, volume_angstrom3=376.25, present=present).splitlines()


def test_the_whole_input_of_a_walker() -> None:
    """What a person would run by hand with a LAMMPS that has ML-PACE, in metal units."""
    levels: dict[str, Any] = {
        "gamma_select": 2.0,
        "gamma_halt": 10.0,
        "stride": 5,
        "audit_frames": 2,
    }
    assert render({"temperature_kelvin": 900.0, "steps": 1200, "seed": 31}, **levels) == [
        "units metal",
        "atom_style atomic",
        "atom_modify map array sort 0 0.0",
        "boundary p p p",
        "read_data structure.data",
        "mass 1 63.546000",
        "pair_style pace/extrapolation",
        "pair_coeff * * potential.yaml potential.asi Cu",
        "timestep 0.002",
        "velocity all create 1800 31 dist gaussian",
        "fix integrate all nvt temp 900 900 0.2",
        "compute gamma_max all reduce max v_gamma_of_atom",
        "compute gamma_sum all reduce sum v_gamma_of_atom",
        "compute pairs all pair/local dist",
        "compute distance_min all reduce min c_pairs inputs local",
        "variable gamma_max equal c_gamma_max",
        "variable distance_min equal c_distance_min",
        "variable temperature equal temp",
        "variable pressure_gpa equal press/10000",
        f'fix trace all print 5 "{TRACE_VALUES}" append gamma.csv screen no title "{TRACE_TITLE}"',
        "variable quiet equal c_gamma_max<2",
        f"dump collected all custom 5 collected.dump {COLUMNS}",
        'dump_modify collected skip v_quiet append yes sort id format float "%.10g"',
        "variable unsure equal c_gamma_max>=2",
        f"dump good all custom 5 good.*.dump {COLUMNS}",
        'dump_modify good skip v_unsure maxfiles 1 sort id format float "%.10g"',
        f"dump audit all custom 100 audit.dump {COLUMNS}",
        'dump_modify audit append yes sort id format float "%.10g"',
        "fix halt_gamma all halt 5 v_gamma_max > 10 error soft",
        "fix halt_distance all halt 5 v_distance_min < 1.5 error soft",
        "fix halt_temperature all halt 5 v_temperature > 4500 error soft",
        "variable pressure_size equal abs(v_pressure_gpa)",
        "fix halt_pressure all halt 5 v_pressure_size > 200 error soft",
        "variable volume_factor equal ternary(vol>376.25,vol/376.25,376.25/vol)",
        "fix halt_volume all halt 5 v_volume_factor > 2 error soft",
        "variable numbers equal (pe==pe)*(c_gamma_sum==c_gamma_sum)",
        "fix halt_numbers all halt 5 v_numbers < 1 error soft",
        "variable asked equal is_file(stop)",
        "fix halt_asked all halt 5 v_asked > 0 error soft",
        "restart 60 checkpoint.a checkpoint.b",
        "thermo_style custom step temp pe etotal press vol c_gamma_max c_distance_min",
        "thermo 50",
        "# --- run ---",
        "run 1200 upto",
        f'write_dump all custom last.dump {COLUMNS} modify sort id format float "%.10g"',
        'if "$(v_asked) > 0" then "write_restart checkpoint.last"',
    ]


def test_npt_has_its_pressure_in_bar_and_its_damping_in_ps() -> None:
    """1.5 GPa are 15 000 bar; the box relaxes ten times slower than the temperature."""
    line = "fix integrate all npt temp 300 300 0.1 aniso 15000 15000 1"
    assert line in render({"ensemble": "npt", "pressure_gpa": 1.5, "timestep_fs": 1.0})


def test_npt_and_nvt_differ_in_one_line() -> None:
    """Everything else of the two inputs is the same."""
    nvt, npt = render(), render({"ensemble": "npt"})
    assert [(a.split()[:4], b.split()[:4]) for a, b in zip(nvt, npt, strict=True) if a != b] == [
        (["fix", "integrate", "all", "nvt"], ["fix", "integrate", "all", "npt"])
    ]


def test_masses_are_in_the_order_of_the_elements() -> None:
    """Type numbers are places in `elements`, in the data file and here."""
    lines = render(elements=("Au", "Cu"))
    assert [line for line in lines if line.startswith("mass")] == [
        "mass 1 196.966569",
        "mass 2 63.546000",
    ]


def test_everything_that_looks_at_gamma_has_one_stride() -> None:
    """The trace, the dumps and all halts look at the same steps.

    So the halting frame is among the dumped.
    """
    lines = render(stride=7)
    looks = [
        line.split()
        for line in lines
        if line.startswith(("fix trace", "fix halt", "dump collected", "dump good"))
    ]
    assert len(looks) == 10
    assert {message[4] for message in looks} == {"7"}


@pytest.mark.parametrize(
    ("steps", "stride", "every"), [(1000, 5, 80), (40, 5, 5), (3, 5, 5), (1200, 7, 98)]
)
def test_audit_dumps_are_some_twelve_and_on_the_stride(steps: int, stride: int, every: int) -> None:
    """Off the stride their γ would be that of an earlier step."""
    (line,) = [
        line for line in render({"steps": steps}, stride=stride) if line.startswith("dump audit")
    ]
    assert (
        line == f"dump audit all custom {every} audit.dump id type x y z vx vy vz v_gamma_of_atom"
    )


def test_without_audit_frames_there_is_no_audit_dump() -> None:
    """Nothing is written that nobody reads."""
    assert not any("audit" in line for line in render(audit_frames=0))


def test_after_the_run_there_are_only_writes() -> None:
    """A soft halt skips every later run, and no other command there would be safe."""
    lines = render()
    after = lines[lines.index("# --- run ---") + 1 :]
    assert [line.split()[0] for line in after] == ["run", "write_dump", "if"]


@pytest.mark.parametrize(
    ("structure", "elements", "order"),
    [("hcp", ("Mg",), ["Mg"]), ("l1_2", ("Au", "Cu"), ["Cu", "Au"])],
)
def test_the_data_file_reads_back(
    tmp_path: Path, structure: Any, elements: tuple[str, ...], order: list[str]
) -> None:
    """ASE's reader finds the same cell, types and positions.

    Types count in the order of the campaign's elements.
    """
    prototype = Prototype(
        structure=structure, elements=elements, lattice_constant_angstrom=3.7, repeat=(2, 1, 3)
    )
    atoms = crystal(prototype)
    atoms.positions += np.random.default_rng(1).uniform(0.0, 0.1, atoms.positions.shape)
    path = tmp_path / "structure.data"
    write_data(path, atoms, order)
    types = [order.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    back = read(path, format="lammps-data", atom_style="atomic", units="metal", sort_by_id=True)
    assert back.arrays["type"].tolist() == types
    assert back.positions == pytest.approx(atoms.positions, abs=1e-9)
    assert back.cell.array == pytest.approx(atoms.cell.array, abs=1e-9)


def test_a_dump_comes_back_in_its_box(tmp_path: Path) -> None:
    """Positions count from the box's low corner.

    Velocities, γ and the step are kept, and types become elements.
    """
    path = tmp_path / "collected.dump"
    path.write_text(DUMP.format(step=20, gamma=7.5) + DUMP.format(step=25, gamma=8.5))
    frames = read_dump(path, ["Cu", "Au"])
    assert [frame.info["step"] for frame in frames] == [20, 25]
    first = frames[0]
    assert first.get_chemical_symbols() == ["Cu", "Au"]
    assert first.cell.lengths().tolist() == [5.0, 6.0, 7.0]
    assert first.pbc.all()
    assert first.positions.tolist() == [[0.0, 0.0, 0.0], [2.5, 3.0, 3.5]]
    assert first.arrays["velocities_angstrom_per_ps"].tolist() == [[1, 2, 3], [-1, -2, -3]]
    assert first.arrays["gamma"].tolist() == [0.25, 7.5]
    assert frames[1].arrays["gamma"].tolist() == [0.25, 8.5]


@pytest.mark.parametrize("missing", range(1, len(DUMP.format(step=25, gamma=8.5)) + 1, 7))
def test_a_frame_that_was_cut_off_is_left_out(tmp_path: Path, missing: int) -> None:
    """Wherever the file ends, the frames before are whole and the last is not half read."""
    path = tmp_path / "collected.dump"
    path.write_text((DUMP.format(step=20, gamma=7.5) + DUMP.format(step=25, gamma=8.5))[:-missing])
    frames = read_dump(path, ["Cu", "Au"])
    assert [frame.info["step"] for frame in frames] == [20]
    assert frames[0].arrays["gamma"].tolist() == [0.25, 7.5]


def test_a_frame_without_atoms_and_a_dump_that_is_missing(tmp_path: Path) -> None:
    """A walker that lost every atom has frames of none.

    One that collected nothing may have no dump.
    """
    path = tmp_path / "collected.dump"
    lines = DUMP.format(step=5, gamma=1).splitlines()
    lines[3] = "0"
    path.write_text("\n".join(lines[:9]) + "\n")
    (frame,) = read_dump(path, ["Cu"])
    assert len(frame) == 0
    assert read_dump(tmp_path / "missing.dump", ["Cu"]) == []


def test_the_halt_is_found_in_the_log() -> None:
    """The words are those of LAMMPS 22 Jul 2025.

    The first of several conditions met at one step counts.
    """
    log = (
        "      10   900.1 \nFix halt condition for fix-id halt_gamma met on step 10 with value"
        " 31.37 (src/src/fix_halt.cpp:310)\nFix halt condition for fix-id halt_temperature met on"
        " step 10 with value 5000.1 (src/src/fix_halt.cpp:310)\n"
    )
    assert find_halt(log) == Halt("halt_gamma", 10, 31.37)
    assert find_halt("Loop time of 0.05 on 1 procs for 40 steps with 32 atoms\n") is None


def test_the_trace_leaves_out_what_measures_nothing(tmp_path: Path) -> None:
    """Rows cut off, without numbers, or of a step without atoms are no points of γ."""
    path = tmp_path / "gamma.csv"
    rows = [
        f"{row},-1,376,4\n"
        for row in ("0,1.5,600,2.5", "5,1.7,nan,2.5", "10,-1e+20,0,1e+20", "15,2.5,500,2")
    ]
    path.write_text(TRACE_TITLE + "\n" + "".join(rows) + "20,3.5,4")
    assert read_trace(path).tolist() == [
        [0, 1.5, 600, 2.5, -1, 376, 4],
        [15, 2.5, 500, 2, -1, 376, 4],
    ]
    path.write_text(TRACE_TITLE + "\n")
    assert read_trace(path).shape == (0, 7)


def test_the_data_file_of_a_cell_says_how_many(tmp_path: Path) -> None:
    """Its head has the counts and the box from the origin."""
    write_data(tmp_path / "structure.data", copper(), ["Ag", "Cu"])
    lines = (tmp_path / "structure.data").read_text().splitlines()
    assert lines[2:4] == ["4 atoms", "2 atom types"]
    assert lines[5:8] == ["0 3.61 xlo xhi", "0 3.61 ylo yhi", "0 3.61 zlo zhi"]


@settings(max_examples=60, deadline=None)
@given(
    tenths=arrays(int, (3, 3), elements=st.integers(-60, 60)),
    corner=arrays(int, 3, elements=st.integers(-5, 5)),
    seed=st.integers(0, 1000),
)
def test_any_cell_keeps_its_distances_on_the_way_into_lammps_and_out(
    tenths: np.ndarray, corner: np.ndarray, seed: int
) -> None:
    """Whatever its shape, handedness and tilt.

    Turned into the axes of LAMMPS, dumped and read, it is the same.
    """
    numbers = tenths / 10
    assume(abs(np.linalg.det(numbers)) > 20)
    rng = np.random.default_rng(seed)
    given_one = Atoms("Cu4", scaled_positions=rng.random((4, 3)), cell=numbers, pbc=True)
    given_one.set_array("velocities_angstrom_per_ps", rng.normal(size=(4, 3)))
    turned = in_lammps_axes(given_one)
    cell = turned.cell.array
    assert cell == pytest.approx(np.tril(cell), abs=1e-9)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "one.dump"
        path.write_text(as_dump(turned, corner))
        (back,) = read_dump(path, ["Cu"])
    distances = given_one.get_all_distances(mic=True)
    assert back.get_all_distances(mic=True) == pytest.approx(distances, abs=1e-6)
    moved = given_one.copy()
    for item, step in ((moved, 0.01), (back, 0.01)):
        item.positions += step * item.arrays["velocities_angstrom_per_ps"]
    assert back.get_all_distances(mic=True) == pytest.approx(
        moved.get_all_distances(mic=True), abs=1e-6
    )


def as_dump(atoms: Atoms, corner: np.ndarray) -> str:
    """A frame as LAMMPS writes it: of a tilted box it gives the bounds of what encloses it."""
    (x, _, _), (xy, y, _), (xz, yz, z) = atoms.cell.array
    tilts = (0.0, xy, xz, xy + xz)
    bounds = [(min(tilts), x + max(tilts), xy), (min(0.0, yz), y + max(0.0, yz), xz), (0.0, z, yz)]
    lines = [
        "ITEM: TIMESTEP",
        "5",
        "ITEM: NUMBER OF ATOMS",
        f"{len(atoms)}",
        "ITEM: BOX BOUNDS xy xz yz pp pp pp",
    ]
    lines += [
        f"{a + low:.16e} {b + low:.16e} {tilt:.16e}"
        for (a, b, tilt), low in zip(bounds, corner, strict=True)
    ]
    lines.append(f"ITEM: ATOMS {COLUMNS}")
    rows = np.column_stack([atoms.positions + corner, atoms.arrays["velocities_angstrom_per_ps"]])
    lines += [
        f"{n} 1 {' '.join(f'{value:.16g}' for value in row)} 0.5" for n, row in enumerate(rows, 1)
    ]
    return "\n".join(lines) + "\n"


def test_pairs_of_elements_have_distances_of_their_own() -> None:
    """Neighbours of the second kind within the distance, over atoms of the first.

    Their type at the moment counts.
    """
    lines = render(elements=("Au", "Cu"), distances_min_angstrom={"Cu-Au": 1.8})
    start = lines.index("compute near_2_1 all coord/atom cutoff 1.8 1")
    assert lines[start + 1 : start + 5] == [
        'variable near_2_1 atom "(type==2)*c_near_2_1"',
        "compute count_2_1 all reduce sum v_near_2_1",
        "variable count_2_1 equal c_count_2_1",
        "fix halt_pair_2_1 all halt 5 v_count_2_1 > 0 error soft",
    ]


def test_every_pair_that_is_there_is_swapped() -> None:
    """Three elements have three pairs, each with its own seed; an absent element has none."""
    walker = {"swaps": {"every_steps": 50, "attempts": 4}, "temperature_kelvin": 700.0, "seed": 31}
    parameters = explore_parameters(walker, elements=("Au", "Cu", "Ni"))
    whole = render_input(
        parameters, NATIVE, volume_angstrom3=1.0, present=["Ni", "Cu", "Au"]
    ).splitlines()
    assert [line for line in whole if "atom/swap" in line] == [
        "fix swap_1_2 all atom/swap 50 4 32 700 ke yes types 1 2",
        "fix swap_1_3 all atom/swap 50 4 33 700 ke yes types 1 3",
        "fix swap_2_3 all atom/swap 50 4 34 700 ke yes types 2 3",
    ]
    part = render_input(parameters, NATIVE, volume_angstrom3=1.0, present=["Ni", "Cu"]).splitlines()
    assert [line.split()[1] for line in part if "atom/swap" in line] == ["swap_2_3"]


def test_the_last_good_frame_is_not_written_at_every_look_of_a_long_walk() -> None:
    """Two hundred times at most, on the stride: its text is that of all atoms."""
    (line,) = [
        line for line in render({"steps": 100_000}, stride=20) if line.startswith("dump good")
    ]
    assert line == f"dump good all custom 500 good.*.dump {COLUMNS}"
