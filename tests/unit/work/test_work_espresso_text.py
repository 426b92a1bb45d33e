"""What is written for pw.x and read of what it wrote: real outputs, whole and spoiled."""

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.espresso import oracle_of

from mlip_autopipec.work.codes.espresso.healing import LADDERS, NUMERICAL, next_changes
from mlip_autopipec.work.codes.espresso.input import k_mesh, render_input
from mlip_autopipec.work.codes.espresso.output import (
    CONVERGED,
    OUTPUT_MAX_BYTES,
    UnreadableError,
    ending,
    numbers,
    read_text,
    version,
)
from mlip_autopipec.work.structures import Numbers

DATA = Path(__file__).parents[2] / "data" / "espresso"
WHOLE = (DATA / "converged.out").read_text(encoding="utf-8")
#: What a label needs of an output, and what makes it false.
SPOILED = [
    ("!    total energy", "     total energy"),
    ("number of atoms/cell      =            2", "number of atoms/cell      =            3"),
    ("     atom    2 type  1   force", "     atom    3 type  1   force"),
    ("Forces acting on atoms", "Forces on atoms"),
    ("total   stress  (Ry/bohr**3)", "total   stress"),
    ("convergence has been achieved", "convergence NOT achieved"),
    ("JOB DONE.", "JOB"),
]


def label_or_none(output: str, status: int = 0) -> Numbers | None:
    """What the oracle would make of a run: its numbers, or None."""
    if ending(output, "", status).kind != CONVERGED:
        return None
    try:
        return numbers(output, 2)
    except UnreadableError:
        return None


def test_a_converged_run_gives_its_numbers() -> None:
    """Energy F = E - TS of the marked line, forces and stress, in eV and Å with ASE's sign."""
    assert ending(WHOLE, "", 0).kind == CONVERGED
    found = numbers(WHOLE, 2)
    energy_ry = float(re.findall(r"^!.*=\s*(\S+) Ry", WHOLE, re.MULTILINE)[0])
    assert found.energy_ev == pytest.approx(energy_ry * units.Rydberg)
    assert found.forces.shape == (2, 3)
    assert found.forces.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-5)
    kbar = float(re.findall(r"P=\s*(\S+)", WHOLE)[0])
    assert -found.stress[:3].mean() / units.GPa == pytest.approx(kbar / 10, abs=2e-2)
    assert found.magnetization_bohr is None
    assert version(WHOLE) == "6.7MaX"


def test_a_spin_polarised_run_tells_its_moment() -> None:
    """The last one that was printed."""
    assert numbers(
        (DATA / "spin.out").read_text(encoding="utf-8"), 2
    ).magnetization_bohr == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize(
    ("name", "status", "kind", "message"),
    [
        ("not_converged", 2, "not_converged", "convergence NOT achieved after   2 iterations"),
        ("out_of_time", 2, "out_of_time", "stopped for want of time"),
        ("diagonalisation", 1, "diagonalisation", "cdiaghg: S matrix not positive definite"),
        ("too_few_plane_waves", 1, "bad_input", "memory_report: more bands than PWs!"),
        (
            "missing_file",
            1,
            "bad_input",
            "readpp: file /usr/share/espresso/pseudo/No.UPF not found",
        ),
        (
            "unknown_key",
            1,
            "bad_input",
            'read_namelists: bad line in namelist &system: "  foo = 1"',
        ),
        ("out_of_memory", 1, "out_of_memory", "exit status 1, short of memory"),
    ],
)
def test_every_recorded_failure_has_its_class(
    name: str, status: int, kind: str, message: str
) -> None:
    """And pw.x's own words with it."""
    errors = DATA / f"{name}.err"
    found = ending(
        read_text(DATA / f"{name}.out"), read_text(errors) if errors.exists() else "", status
    )
    assert found.kind == kind
    assert found.message.startswith(message)


def test_a_converged_output_with_a_wrong_exit_status_is_no_label() -> None:
    """pw.x says that it converged also when it was stopped right after.

    Its exit status does not.
    """
    assert [ending(WHOLE, "", status).kind for status in (1, 255, -15, -11)] == ["crashed"] * 4
    assert ending(WHOLE, "", -9).kind == "out_of_memory"


def test_job_done_alone_is_no_success() -> None:
    """An SCF that was given up ends with JOB DONE as well."""
    given_up = (DATA / "not_converged.out").read_text(encoding="utf-8")
    assert "JOB DONE." in given_up
    assert ending(given_up, "", 0).kind == "not_converged"


@pytest.mark.parametrize(("old", "new"), SPOILED)
def test_an_output_that_lacks_one_thing_is_no_label(old: str, new: str) -> None:
    """Whatever it is; and with it there is one."""
    assert WHOLE.count(old) >= 1
    assert label_or_none(WHOLE) is not None
    assert label_or_none(WHOLE.replace(old, new)) is None


def hybrid(*, mark: str = "!!", end: str = "EXX self-consistency reached") -> str:
    """A converged output as a hybrid functional makes it.

    It has an SCF per step of the outer loop, then the marked energy.
    """
    (line,) = re.findall(r"^!    total energy.*\n", WHOLE, re.MULTILINE)
    scf = "".join(line.replace(line.split()[-2], f"{-39.0 - step:.8f}") for step in range(4))
    last = f"\n{mark}   total energy              =     -40.12345678 Ry\n"
    again = "     EXX: now go back to refine exchange calculation\n"
    return WHOLE.replace(line, f"{again}{scf}{last}\n     {end}\n")


def test_a_hybrid_functional_gives_the_energy_of_its_last_step() -> None:
    """The energies before are of exchange that its own orbitals had not made yet."""
    found = label_or_none(hybrid())
    assert found is not None
    assert found.energy_ev == pytest.approx(-40.12345678 * units.Rydberg)


@pytest.mark.parametrize(
    "output",
    [
        hybrid(mark="  ", end="EXX convergence NOT achieved after 100 iterations: stopping"),
        hybrid(mark="  "),
        hybrid(mark="!"),
        hybrid(end="EXX: now go back to refine exchange calculation"),
        hybrid() + "\n!!   total energy              =     -41.0 Ry\n",
    ],
)
def test_a_hybrid_functional_whose_exchange_did_not_converge_is_no_label(output: str) -> None:
    """Each of its steps says that convergence has been achieved."""
    assert label_or_none(output) is None


@pytest.mark.parametrize("word", ["NaN", "Infinity", "********"])
def test_a_number_that_is_none_never_reads_as_one(word: str) -> None:
    """It is told as missing, or as what it is, which the check of every label refuses."""
    for pattern in (r"^(!    total energy .*=\s*)\S+", r"( force =\s*)\S+", r"(kbar.*\n\s*)\S+"):
        spoiled, count = re.subn(pattern, rf"\g<1>{word}", WHOLE, flags=re.MULTILINE)
        assert count
        found = label_or_none(spoiled)
        if found is not None:
            parts = (found.energy_ev, found.forces.sum(), found.stress.sum())
            assert not math.isfinite(sum(parts))


def test_no_part_of_an_output_is_a_label() -> None:
    """Cut off at any line, it lacks what is asked for: pw.x says last that it is done."""
    lines = WHOLE.splitlines(keepends=True)
    done = next(number for number, line in enumerate(lines) if "JOB DONE." in line)
    assert all(label_or_none("".join(lines[:count])) is None for count in range(done + 1))


#: Lines that a label is read from.
VITAL = re.compile(
    r"force =|Forces acting|total energy|stress|^ +-?0\.0\d{7} |convergence|atoms/cell|JOB"
)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_a_garbled_output_gives_the_true_numbers_or_none(rng: random.Random) -> None:
    """Vital lines lost, doubled, swapped or turned round.

    No other numbers come of it, and no other error than ours.
    """
    lines = WHOLE.splitlines(keepends=True)
    for _ in range(rng.randrange(1, 4)):
        vital = [number for number, line in enumerate(lines) if VITAL.search(line)]
        index, other = rng.choice(vital), rng.choice(vital)
        match rng.randrange(4):
            case 0:
                del lines[index]
            case 1:
                lines.insert(index, lines[other])
            case 2:
                lines[index], lines[other] = lines[other], lines[index]
            case _:
                lines[index] = lines[index][-2::-1] + "\n"
    found, truth = label_or_none("".join(lines)), numbers(WHOLE, 2)
    if found is not None:
        assert found.energy_ev == truth.energy_ev
        assert found.forces.tolist() == truth.forces.tolist()
        assert found.stress == pytest.approx(truth.stress, abs=1e-9)


def test_a_wrong_encoding_and_a_huge_output_end_as_words(tmp_path: Path) -> None:
    """Bytes that are no text are read as marks, and no more is read than a sound run writes."""
    path = tmp_path / "pw.out"
    path.write_bytes(b"\xff\xfe\x00" + WHOLE.encode("utf-16"))
    assert label_or_none(read_text(path)) is None
    with path.open("wb") as stream:
        stream.truncate(OUTPUT_MAX_BYTES + 10)
    assert len(read_text(path)) == OUTPUT_MAX_BYTES


@pytest.mark.parametrize(
    ("repeat", "spacing", "mesh"),
    [
        ((1, 1, 1), 0.4, (4, 4, 4)),
        ((1, 1, 2), 0.4, (4, 4, 2)),
        ((2, 2, 2), 0.4, (2, 2, 2)),
        ((1, 1, 1), 9.0, (1, 1, 1)),
    ],
)
def test_the_mesh_has_the_same_density_in_every_cell(
    repeat: tuple[int, int, int], spacing: float, mesh: tuple[int, int, int]
) -> None:
    """ceil(|b| / spacing) along each reciprocal vector, with the 2π; a doubled cell has half."""
    atoms = bulk("Al", "fcc", a=3.97, cubic=True).repeat(repeat)
    assert k_mesh(atoms, oracle_of(k_spacing_inverse_angstrom=spacing)) == mesh


def test_the_mesh_of_a_skewed_cell_is_that_of_its_reciprocal_vectors() -> None:
    """The primitive cell's reciprocal vectors are longer than its own edges suggest."""
    cubic = bulk("Al", "fcc", a=3.97, cubic=True)
    skewed = make_supercell(cubic, [[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert k_mesh(skewed, oracle_of(k_spacing_inverse_angstrom=0.4)) == (4, 6, 4)


def test_a_direction_without_period_has_one_point() -> None:
    """A slab or a cluster sees no image of itself."""
    atoms = bulk("Al", "fcc", a=3.97, cubic=True)
    atoms.pbc = (True, True, False)
    assert k_mesh(atoms, oracle_of(k_spacing_inverse_angstrom=0.4)) == (4, 4, 1)


def test_an_atom_that_repeats_nowhere_is_at_the_zone_s_centre() -> None:
    """Whatever the offset of the mesh: it is one of periods, and there are none."""
    alone = Atoms("Al", cell=[12, 12, 12], pbc=False)
    text = render_input(
        alone, oracle_of(k_spacing_inverse_angstrom=0.1, k_offset=(1, 1, 1)), {}, 60
    )
    assert "K_POINTS automatic\n1 1 1 0 0 0\n" in text


def test_a_mesh_does_not_grow_by_a_rounding_error() -> None:
    """Just on the edge, as many points as without the error."""
    atoms = Atoms("Al", cell=[2 * np.pi * (1 - 1e-9)] * 3, pbc=True)
    assert k_mesh(atoms, oracle_of(k_spacing_inverse_angstrom=0.5)) == (2, 2, 2)


def test_the_input_says_what_the_oracle_says() -> None:
    """Two species with their own start moments and files.

    Also offset, charge and further keys, and a restart with its changes.
    """
    atoms = Atoms(
        "FeNiFe",
        positions=[[0, 0, 0], [1.4, 1.4, 1.4], [0, 0, 2.8]],
        cell=[2.8, 2.8, 5.6],
        pbc=True,
    )
    oracle = oracle_of(
        pseudopotentials={"Ni": {"file": "Ni.UPF"}, "Fe": {"file": "Fe.UPF"}},
        starting_magnetization={"Fe": 0.4},
        charge=1.0,
        k_offset=(1, 1, 0),
        system={"vdw_corr": "dft-d3", "lda_plus_u": True},
    )
    text = render_input(atoms, oracle, {"restart_mode": "restart", "mixing_beta": 0.3}, 500.0)
    for line in (
        "nat = 3",
        "ntyp = 2",
        "nspin = 2",
        "starting_magnetization(1) = 0.4",
        "starting_magnetization(2) = 0.0",
        "tot_charge = 1.0",
        "vdw_corr = 'dft-d3'",
        "lda_plus_u = .true.",
        "restart_mode = 'restart'",
        "mixing_beta = 0.3",
        "max_seconds = 500.0",
    ):
        assert f"\n  {line}\n" in text
    assert "\n3 3 2 1 1 0\n" in text
    assert re.search(r"ATOMIC_SPECIES\nFe 55\.84\d+ Fe\.UPF\nNi 58\.69\d+ Ni\.UPF\n", text)
    assert [line.split()[0] for line in text.splitlines()[-3:]] == ["Fe", "Ni", "Fe"]


def test_fixed_occupations_have_no_smearing() -> None:
    """For insulators."""
    text = render_input(bulk("Al", "fcc", a=3.97), oracle_of(smearing=None), {}, 1.0)
    assert "occupations = 'fixed'" in text
    assert "degauss" not in text


def test_healing_changes_numerical_settings_alone() -> None:
    """Nothing on any ladder gives a label another meaning."""
    changed = {name for ladder in LADDERS.values() for rung in ladder for name in rung}
    assert changed <= NUMERICAL
    assert NUMERICAL.isdisjoint(
        {"conv_thr", "ecutwfc", "ecutrho", "degauss", "smearing", "nspin", "tot_charge"}
    )


@given(st.lists(st.sampled_from([*LADDERS, "crashed", "bad_input"]), min_size=1, max_size=30))
def test_every_ladder_ends(endings: list[str]) -> None:
    """As many rungs as a class has, and no more; what other classes have changed stays changed."""
    changes = next_changes(endings, {"kept": 1})
    climbed = endings.count(endings[-1])
    assert (changes is None) == (climbed > len(LADDERS.get(endings[-1], ())))
    assert changes is None or changes["kept"] == 1
