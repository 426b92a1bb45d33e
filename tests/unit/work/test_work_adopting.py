"""Files of labels as users bring them: no wrong one is adopted.

Each ends in words with file, frame and remedy.
"""

import pickle
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from kit.adopting import (
    BOHR,
    GPA,
    HARTREE,
    KCAL,
    RYDBERG,
    asked,
    judged,
    label,
    results,
    scale,
    sound_set,
)
from kit.jobs import job_of
from kit.judged import judged_value

from mlip_autopipec.contract.dataset import ADOPTED, AdoptParameters
from mlip_autopipec.contract.doctor import FilesQuestion
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work.adopting.comparing import difference
from mlip_autopipec.work.adopting.frames import OfferedFrame
from mlip_autopipec.work.adopting.labels import as_check, as_label, roles, to_check
from mlip_autopipec.work.adopting.set_of_files import read_and_judge
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.doctor.user_files import judge
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.origins import origin_of
from mlip_autopipec.work.steps import generate as generation
from mlip_autopipec.work.steps import label as labelling
from mlip_autopipec.work.structures import Numbers

Spoil = Callable[[list[Atoms]], object]


def volumes() -> list[Atoms]:
    """One crystal at several volumes: what stress is judged by."""
    return [deepcopy(_volume(number)) for number in range(7)]


@cache
def _volume(number: int) -> Atoms:
    return label(bulk("Cu", "fcc", a=3.61 * (0.96 + 0.01 * number), cubic=True))


def the_set() -> list[Atoms]:
    """Volumes, and strained and rattled cells."""
    return [*volumes(), *sound_set(16)]


def shifted(frames: Sequence[Atoms], ev_per_atom: float) -> bool:
    for frame in frames:
        results(frame)["energy"] += ev_per_atom * len(frame)
    return True


def per_atom(frames: Sequence[Atoms]) -> None:
    shifted(frames, -3.0)
    for frame in frames:
        results(frame)["energy"] /= len(frame)


def as_virial(frames: Sequence[Atoms], sign: int = -1) -> None:
    for frame in frames:
        results(frame)["stress"] = sign * results(frame)["stress"] * frame.get_volume()


def exchanged(frames: Sequence[Atoms], name: str) -> None:
    """Of each frame of one kind the number of another."""
    for kind in {str(frame.symbols) for frame in frames}:
        alike = [frame for frame in frames if str(frame.symbols) == kind]
        values = [results(frame)[name] for frame in alike]
        for frame, value in zip(alike, [*values[3:], *values[:3]], strict=True):
            results(frame)[name] = value


def put_word(frame: Atoms) -> None:
    lacks(frame, "energy")
    frame.info["energy"] = True


def in_bohr(frames: Sequence[Atoms]) -> None:
    for frame in frames:
        frame.set_cell(frame.cell.array / BOHR, scale_atoms=True)


def in_atomic_units(frames: Sequence[Atoms]) -> None:
    scale(frames, "energy", 1 / HARTREE)
    scale(frames, "forces", BOHR / HARTREE)


def lacks(frame: Atoms, name: str) -> bool:
    del results(frame)[name]
    return True


def twice(frames: list[Atoms], number: int, move: float = 0.0) -> None:
    twin = frames[number].copy()
    twin.calc = frames[number].calc
    twin.positions += move
    frames.append(twin)


def renumbered(frames: list[Atoms], number: int) -> None:
    """The forces of another order of the atoms."""
    results(frames[number])["forces"] = results(frames[number])["forces"][::-1].copy()


def put(frame: Atoms, name: str, value: Any) -> bool:
    found = np.array(results(frame)[name], dtype=float)
    found.ravel()[0] = value
    results(frame)[name] = found if found.shape else float(found)
    return True


def periodic(frame: Atoms, *along: bool) -> None:
    frame.pbc = along


def of_another_element(frame: Atoms) -> None:
    frame.symbols[0] = "Ag"


def moved_together(frame: Atoms) -> None:
    frame.positions[1] = frame.positions[0] + 0.4


#: What is done to a sound set → words of the refusal.
WRONG: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "energies in Hartree": (
        lambda them: scale(them, "energy", 1 / HARTREE),
        ("`energy_unit: Ha`",),
    ),
    "energies in Rydberg": (
        lambda them: scale(them, "energy", 1 / RYDBERG),
        ("`energy_unit: Ry`",),
    ),
    "energies in kcal/mol": (
        lambda them: scale(them, "energy", 1 / KCAL),
        ("`energy_unit: kcal/mol`",),
    ),
    "energies in meV": (lambda them: scale(them, "energy", 1000), ("`energy_unit: meV`",)),
    "energies per atom": (per_atom, ("`dataset: {energy_per_atom: true}`",)),
    "forces in Hartree/Bohr": (
        lambda them: scale(them, "forces", BOHR / HARTREE),
        ("`forces_unit: Ha/bohr`",),
    ),
    "forces in Ry/Bohr": (
        lambda them: scale(them, "forces", BOHR / RYDBERG),
        ("`forces_unit: Ry/bohr`",),
    ),
    "forces in kcal/mol/Å": (
        lambda them: scale(them, "forces", 1 / KCAL),
        ("`forces_unit: kcal/mol/angstrom`", "force_max_ev_per_angstrom"),
    ),
    "gradients": (lambda them: scale(them, "forces", -1), ("`forces_sign: gradient`",)),
    "atomic units": (in_atomic_units, ("`energy_unit: Ha` and `forces_unit: Ha/bohr`",)),
    "lengths in Bohr": (in_bohr, ("`dataset: {length_unit: bohr}`",)),
    "stress in GPa": (lambda them: scale(them, "stress", 1 / GPA), ("`stress_unit: GPa`",)),
    "stress in kbar, as VASP prints it": (
        lambda them: scale(them, "stress", -10 / GPA),
        ("`stress_unit: kbar` and `stress_sign: opposite`",),
    ),
    "stress of the other sign": (
        lambda them: scale(them, "stress", -1),
        ("`stress_sign: opposite`",),
    ),
    "a virial as stress": (as_virial, ("`virial: NAME`",)),
    "a virial of the other sign as stress": (
        lambda them: as_virial(them, 1),
        ("and `stress_sign: opposite`",),
    ),
    "forces missing on two frames": (
        lambda them: (lacks(them[8], "forces"), lacks(them[10], "forces")),
        ("frames 9, 11 of mine.extxyz: no forces", "faulty_frames: leave_out"),
    ),
    "an energy missing": (
        lambda them: lacks(them[3], "energy"),
        ("frame 4 of mine.extxyz: no energy",),
    ),
    "no forces at all but zeros": (
        lambda them: scale(them, "forces", 0),
        ("all forces of all frames are zero", "dataset.forces"),
    ),
    "no energies but zeros": (
        lambda them: scale(them, "energy", 0),
        ("all energies of all frames are 0 eV/atom", "dataset.energy"),
    ),
    "energies of other frames": (
        lambda them: exchanged(them, "energy"),
        ("nothing to do with the forces", "of mine.extxyz", "mend the file"),
    ),
    "a word for an energy": (
        lambda them: put_word(them[3]),
        ("frame 4 of mine.extxyz: an energy that is no number: True",),
    ),
    "forces of one frame with the wrong sign": (
        lambda them: scale(them[11:12], "forces", -1),
        ("frame 12 of mine.extxyz: energy and forces that do not belong together",),
    ),
    "atoms of one frame in another order": (
        lambda them: renumbered(them, 11),
        ("frame 12 of mine.extxyz: energy and forces that do not belong together",),
    ),
    "an atom that was fixed": (
        lambda them: results(them[12])["forces"].__setitem__(0, 0.0),
        ("frame 13 of mine.extxyz: forces that do not add up to zero",),
    ),
    "mixed periodicity": (
        lambda them: periodic(them[1], True, True, False),
        ("frame 2 of mine.extxyz: mixed periodicity (pbc T T F)", "write T T T"),
    ),
    "a cluster": (
        lambda them: periodic(them[1], False, False, False),
        ("frame 2 of mine.extxyz: not periodic",),
    ),
    "another element": (
        lambda them: of_another_element(them[2]),
        ("frame 3 of mine.extxyz: Ag, which is not in campaign.elements",),
    ),
    "a duplicate": (
        lambda them: twice(them, 9),
        ("frame 24 of mine.extxyz: the same structure as frame 10 of mine.extxyz",),
    ),
    "a duplicate that is moved": (
        lambda them: twice(them, 9, 0.7),
        ("frame 24 of mine.extxyz: the same structure as frame 10 of mine.extxyz",),
    ),
    "NaN in an energy": (
        lambda them: put(them[5], "energy", np.nan),
        ("frame 6 of mine.extxyz: an energy that is nan",),
    ),
    "NaN in forces": (
        lambda them: put(them[5], "forces", np.nan),
        ("frame 6 of mine.extxyz: forces that are NaN",),
    ),
    "infinite stress": (
        lambda them: put(them[5], "stress", np.inf),
        ("frame 6 of mine.extxyz: a stress that is NaN",),
    ),
    "NaN in a position": (
        lambda them: them[5].positions.__setitem__((0, 0), np.nan),
        ("frame 6 of mine.extxyz: positions or a cell that are NaN",),
    ),
    "no cell": (
        lambda them: them[4].set_cell([0, 0, 0]),
        ("frame 5 of mine.extxyz: a cell without volume",),
    ),
    "a flat cell": (
        lambda them: them[4].set_cell([[3.6, 0, 0], [3.6, 0, 0], [0, 0, 3.6]]),
        ("frame 5 of mine.extxyz: a cell without volume",),
    ),
    "atoms on each other": (
        lambda them: moved_together(them[4]),
        ("frame 5 of mine.extxyz: two atoms closer than distance_min_angstrom (1.5)",),
    ),
    "an absurd force": (
        lambda them: results(them[14])["forces"].__iadd__(
            [[400.0], [-400.0]] * (len(them[14]) // 2)
        ),
        ("frame 15 of mine.extxyz", "dataset.forces_unit"),
    ),
    "one energy of other units": (
        lambda them: (
            shifted(them, -100.0),
            put(them[9], "energy", results(them[9])["energy"] / HARTREE),
        ),
        ("frame 10 of mine.extxyz",),
    ),
}


def test_a_sound_set_is_adopted_as_it_is(tmp_path: Path) -> None:
    """Every frame, with the names that were recognised, and numbers that survive."""
    frames = the_set()
    found = judged(tmp_path, frames)
    assert (found.refused, found.left_out) == ("", "")
    assert found.names == "energy from energy; forces from forces; stress from stress"
    assert len(found.sound) == len(frames)
    adopted = as_label(found.sound[9], "train")
    assert (adopted.info["role"], adopted.info["settings"]) == ("train", ADOPTED)
    assert origin_of(adopted) == Origin(kind="adopted", subject="frame 10 of mine.extxyz")
    assert adopted.info["origin"] == "adopted: frame 10 of mine.extxyz"
    assert adopted.get_potential_energy() == pytest.approx(frames[9].get_potential_energy())
    assert adopted.get_stress() == pytest.approx(frames[9].get_stress(), abs=1e-7)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_ends_in_words(name: str, tmp_path: Path) -> None:
    """They name file, frame and remedy; without them the set would be adopted."""
    spoil, message = WRONG[name]
    frames = the_set()
    spoil(frames)
    refused = judged(tmp_path, frames).refused
    for part in message:
        assert part in refused
    assert "mine.extxyz" in refused


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("energies in Hartree", {"energy_unit": "Ha"}),
        ("energies per atom", {"energy_per_atom": True}),
        ("forces in Ry/Bohr", {"forces_unit": "Ry/bohr"}),
        ("gradients", {"forces_sign": "gradient"}),
        ("lengths in Bohr", {"length_unit": "bohr"}),
        ("atomic units", {"energy_unit": "Ha", "forces_unit": "Ha/bohr"}),
        ("stress in kbar, as VASP prints it", {"stress_unit": "kbar", "stress_sign": "opposite"}),
        ("a virial as stress", {"virial": "stress"}),
        ("a virial of the other sign as stress", {"virial": "stress", "stress_sign": "opposite"}),
    ],
)
def test_the_remedy_is_one(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """With the key that the words name, the numbers are those of the sound set."""
    frames, right = the_set(), the_set()
    WRONG[name][0](frames)
    if name == "energies per atom":
        shifted(right, -3.0)
    found = judged(tmp_path, frames, **settings)
    assert found.refused == ""
    for frame, sound in zip(found.sound, right, strict=True):
        assert frame.energy_ev == pytest.approx(sound.get_potential_energy(), abs=1e-5)
        assert frame.forces == pytest.approx(sound.get_forces(), abs=1e-4)
        assert frame.stress == pytest.approx(sound.get_stress(), abs=1e-5)


def test_faulty_frames_are_left_out_where_the_site_file_says_so(tmp_path: Path) -> None:
    """They are listed all the same; what is wrong with the whole set refuses it all the same."""
    frames = the_set()
    lacks(frames[8], "forces")
    twice(frames, 9)
    found = judged(tmp_path, frames, faulty_frames="leave_out")
    assert found.refused == ""
    assert [frame.number for frame in found.sound] == [
        number for number in range(1, 24) if number != 9
    ]
    assert "frame 9 of mine.extxyz: no forces" in found.left_out
    assert "frame 24 of mine.extxyz: the same structure" in found.left_out
    scale(frames, "energy", 1 / HARTREE)
    assert "energy_unit: Ha" in judged(tmp_path, frames, faulty_frames="leave_out").refused


def test_a_structure_of_the_test_set_is_not_trained_on(tmp_path: Path) -> None:
    """Whatever it is called, and however its atoms are numbered."""
    frames = sound_set(8)
    write(tmp_path / "mine.extxyz", frames, format="extxyz")
    tests = {"a test structure that was generated: Cu fcc": frames[3][::-1]}
    found = read_and_judge(
        {"mine.extxyz": tmp_path / "mine.extxyz"}, asked(), ("Cu", "Au"), 1.5, tests
    )
    assert (
        "frame 4 of mine.extxyz: the same structure as a test structure that was generated"
        in found.refused
    )


def test_files_of_different_references_are_not_mixed(tmp_path: Path) -> None:
    """Which of them is right nobody knows."""
    first, second = sound_set(8, 1), sound_set(8, 2)
    shifted(second, -40.0)
    refused = judged(tmp_path, first, second).refused
    assert "of more.extxyz" not in refused or "mine.extxyz" in refused
    assert "other references, another functional or other units" in refused


def named(frames: Sequence[Atoms], names: dict[str, str]) -> list[Atoms]:
    """The frames with their numbers under other names, as other tools write them."""
    found = []
    for frame in frames:
        other = frame.copy()
        for quantity, name in names.items():
            if quantity == "forces":
                other.set_array(name, results(frame)["forces"])
            elif quantity == "virial":
                tensor = frame.get_stress(voigt=False)
                other.info[name] = -frame.get_volume() * tensor
            else:
                other.info[name] = results(frame)[quantity]
        found.append(other)
    return found


@pytest.mark.parametrize(
    "names",
    [
        {"energy": "REF_energy", "forces": "REF_forces", "virial": "REF_virial"},
        {"energy": "dft_energy", "forces": "dft_forces", "virial": "dft_virial"},
        {"energy": "free_energy", "forces": "force", "virial": "virials"},
        {"energy": "DFT_energy", "forces": "DFT_force", "stress": "DFT_stress"},
        {"energy": "energy_corrected", "forces": "forces"},
    ],
)
def test_names_that_people_use_are_recognised(names: dict[str, str], tmp_path: Path) -> None:
    """And told, so that a person sees what was taken for what."""
    frames = the_set()
    found = judged(tmp_path, named(frames, names))
    assert found.refused == ""
    for quantity, name in names.items():
        assert f"{quantity} from {name}" in found.names
    assert found.sound[9].energy_ev == pytest.approx(frames[9].get_potential_energy())
    if len(names) == 3:
        assert found.sound[9].stress == pytest.approx(frames[9].get_stress(), abs=1e-6)


def test_where_two_names_differ_it_is_asked(tmp_path: Path) -> None:
    """And never guessed; the key settles it."""
    frames = named(the_set(), {"energy": "REF_energy", "forces": "REF_forces"})
    for frame in frames:
        frame.info["dft_energy"] = frame.info["REF_energy"] - 1.0
    refused = judged(tmp_path, frames).refused
    assert "frame 1 of mine.extxyz has REF_energy and dft_energy, which differ" in refused
    assert "`dataset: {energy: dft_energy}`" in refused
    assert judged(tmp_path, frames, energy="REF_energy").refused == ""


def test_a_name_that_nobody_knows_is_asked_for(tmp_path: Path) -> None:
    """With what the frame has, and the key."""
    frames = named(the_set(), {"energy": "my_energy_v2", "forces": "forces"})
    refused = judged(tmp_path, frames).refused
    assert "no energy; my_energy_v2 may be it: name it in dataset.energy" in refused
    assert judged(tmp_path, frames, energy="my_energy_v2").refused == ""
    assert "no 'E0', which dataset.energy names" in judged(tmp_path, frames, energy="E0").refused


def test_virial_and_stress_that_differ_are_asked_about(tmp_path: Path) -> None:
    """A sign of one of them is wrong."""
    frames = named(
        the_set(), {"energy": "energy", "forces": "forces", "stress": "stress", "virial": "virial"}
    )
    for frame in frames:
        frame.info["virial"] = -frame.info["virial"]
    assert "the virial is not -volume x stress" in judged(tmp_path, frames).refused
    assert judged(tmp_path, frames, stress="stress").refused == ""


def test_what_pw_x_has_printed_is_read(tmp_path: Path) -> None:
    """The energy that its forces belong to, in eV, and ASE's sign of the stress.

    What did not converge has no label.
    """
    outputs = Path(__file__).parents[2] / "data" / "espresso"
    for name in ("converged", "not_converged"):
        (tmp_path / f"{name}.pwo").write_bytes((outputs / f"{name}.out").read_bytes())
    found = read_and_judge({"al.pwo": tmp_path / "converged.pwo"}, asked(), ("Al",), 1.5, {})
    assert (found.refused, len(found.sound)) == ("", 1)
    assert found.names == "energy from free_energy; forces from forces; stress from stress"
    right = read(tmp_path / "converged.pwo")
    assert found.sound[0].energy_ev == pytest.approx(
        right.get_potential_energy(force_consistent=True)
    )
    refused = read_and_judge(
        {"al.pwo": tmp_path / "not_converged.pwo"}, asked(), ("Al",), 1.5, {}
    ).refused
    assert "al.pwo" in refused


def test_what_is_no_file_of_labels_is_refused(tmp_path: Path) -> None:
    """In words with the file, whatever ASE makes of it."""
    contents = {
        "words.extxyz": b"nonsense\n",
        "empty.extxyz": b"",
        "OUTCAR": b"cut off",
        "mine.unknown": b"\0\1",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        refused = read_and_judge({name: tmp_path / name}, asked(), ("Cu",), 1.5, {}).refused
        assert name in refused


# --- pacemaker's data frames ----------------------------------------------------------------------


def frame_file(folder: Path, content: object) -> AdoptParameters:
    pd = pytest.importorskip("pandas")
    pd.to_pickle(content, folder / "fitting.pckl.gzip", compression="gzip", protocol=4)
    return asked()


def test_a_data_frame_of_pacemaker_is_read(tmp_path: Path) -> None:
    """Its columns are what an extended XYZ has in its comment."""
    pd = pytest.importorskip("pandas")
    frames = sound_set(8)
    bare = [Atoms(each.symbols, each.positions, cell=each.cell, pbc=True) for each in frames]
    energies, forces = (
        [results(each)["energy"] for each in frames],
        [results(each)["forces"] for each in frames],
    )
    table = pd.DataFrame({"ase_atoms": bare, "energy": energies, "forces": forces, "name": "a"})
    parameters = frame_file(tmp_path, table)
    found = read_and_judge({"f": tmp_path / "fitting.pckl.gzip"}, parameters, ("Cu", "Au"), 1.5, {})
    assert (found.refused, len(found.sound)) == ("", 8)
    assert found.sound[3].forces == pytest.approx(forces[3])


class _Evil:
    """What a pickle may hold."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_runs_nothing(tmp_path: Path) -> None:
    """It is refused before any of it is called."""
    pytest.importorskip("pandas")
    for content in (
        pickle.dumps(_Evil(tmp_path / "done")),
        b"cos\nsystem\n(S'touch " + bytes(tmp_path / "done") + b"'\ntR.",
    ):
        (tmp_path / "fitting.pckl").write_bytes(content)
        found = read_and_judge(
            {"fitting.pckl": tmp_path / "fitting.pckl"}, asked(), ("Cu",), 1.5, {}
        )
        assert "fitting.pckl can't be read" in found.refused
        assert "which no table of labels needs" in found.refused
        assert not (tmp_path / "done").exists()


# --- roles and checks -----------------------------------------------------------------------------


def test_walks_are_not_split_between_training_and_test(tmp_path: Path) -> None:
    """Frames that follow each other closely are held out together, or not at all."""
    rng = np.random.default_rng(3)
    frames = []
    for walk in range(8):
        atoms = bulk("Cu", "fcc", a=3.5 + 0.05 * walk, cubic=True).repeat((1, 1, 2))
        for _ in range(4):
            atoms.positions += rng.normal(0, 0.04, atoms.positions.shape)
            frames.append(label(atoms.copy()))
    found = judged(tmp_path, frames)
    assert found.refused == ""
    held_out = roles(found.sound, 0.15)
    by_walk = [set(held_out[first : first + 4]) for first in range(0, 32, 4)]
    assert all(len(item) == 1 for item in by_walk)
    assert 4 <= held_out.count("test") <= 8
    assert set(roles(found.sound[:8], 0.0)) == {"train"}
    assert roles(found.sound[:3], 0.1) == ["train", "train", "test"]
    assert roles(found.sound[:1], 0.1) == ["train"]


def test_files_of_one_name_are_all_read(tmp_path: Path) -> None:
    """Outputs of a code lie in folders of their own, under one name."""
    paths = {}
    for number, frames in enumerate((sound_set(4, 1), sound_set(4, 2))):
        (tmp_path / str(number)).mkdir()
        write(tmp_path / str(number) / "out.extxyz", frames, format="extxyz")
        paths[f"{number}/out.extxyz"] = tmp_path / str(number) / "out.extxyz"
    judge_asked = FilesQuestion(
        elements=("Cu", "Au"),
        distance_min_angstrom=1.5,
        dataset=tuple(map(str, paths.values())),
        adopting=asked(files=tuple(paths)),
    )
    found = judge(judge_asked).dataset
    assert found is not None
    assert (found.wrong, found.train + found.test) == ("", 8)


def test_frames_to_check_differ_in_file_and_composition(tmp_path: Path) -> None:
    """One more than there are compositions to tell apart; always the same ones."""
    found = judged(tmp_path, sound_set(12, 1), sound_set(12, 2))
    chosen = to_check(found.sound, 3)
    assert [frame.name for frame in chosen] == [frame.name for frame in to_check(found.sound, 3)]
    assert {frame.file for frame in chosen} == {"mine.extxyz", "more.extxyz"}
    assert {"Au" in frame.atoms.get_chemical_symbols() for frame in chosen} == {True, False}
    assert len(chosen) == 3
    check = as_check(chosen[0])
    write(tmp_path / "check.extxyz", check)
    again = read(tmp_path / "check.extxyz")
    assert again.info["adopted_energy_ev"] == pytest.approx(chosen[0].energy_ev)


# --- the tasks ------------------------------------------------------------------------------------


def generate(folder: Path, frames: Sequence[Atoms], **changes: Any) -> tuple[Path, GenerateMetrics]:
    """The task of Generation with a set of these frames and nothing else."""
    parameters = GenerateParameters(
        prototypes=(),
        structures=0,
        test_structures=0,
        strain_max=0.05,
        rattle_angstrom=(0.05,),
        distance_min_angstrom=1.5,
        elements=("Cu", "Au"),
        dataset=asked(**changes),
        seed=1,
    )
    (folder / "inputs").mkdir()
    path = folder / "inputs" / "0a1b2c-mine.extxyz"
    write(path, list(frames), format="extxyz")
    metrics = generation.run(job_of(folder, parameters, {"labelled": [path]})).metrics
    assert judged_value(GenerateMetrics, metrics) == metrics
    assert metrics.dataset is not None
    return folder / metrics.dataset.file.path, metrics


def test_generation_hands_on_the_set_and_what_is_to_be_checked(tmp_path: Path) -> None:
    """The oracle's own labels differ by nothing from it, and others by what they are off."""
    frames = sound_set(20)
    adopted, metrics = generate(tmp_path, frames)
    labels = read(adopted, index=":")
    assert len(labels) == 20
    assert metrics.dataset is not None
    assert (metrics.dataset.train, metrics.dataset.test) == (18, 2)
    assert {label.info["role"] for label in labels} == {"train", "test"}
    checks = metrics.structures
    assert [check.role for check in checks] == [Role.CHECK] * 3
    parameters = CalculateParameters(
        role=Role.CHECK,
        origin=checks[0].origin,
        oracle=AseOracle(calculator="ase.calculators.emt.EMT"),
        force_max_ev_per_angstrom=50.0,
    )
    path = tmp_path / checks[0].file.path
    found = labelling.run(job_of(tmp_path, parameters, {"structure": [path]})).metrics
    difference = judged_value(CalculateMetrics, found).difference
    assert difference is not None
    assert difference.set_energy_ev == pytest.approx(found.energy_ev, abs=1e-5)
    assert difference.force_mev_per_angstrom < 0.1
    assert difference.stress_gpa is not None
    assert difference.stress_gpa < 0.01
    assert (difference.force_hint, difference.stress_hint) == ("", "")


@pytest.mark.parametrize(
    ("quantity", "factor", "hint"),
    [
        ("forces", -1.0, "`forces_sign: gradient`"),
        ("forces", BOHR / HARTREE, "`forces_unit: Ha/bohr`"),
        ("stress", -1.0, "`stress_sign: opposite`"),
        ("stress", 1 / GPA, "`stress_unit: GPa`"),
        ("stress", -10 / GPA, "`stress_unit: kbar` and `stress_sign: opposite`"),
    ],
)
def test_a_frame_labelled_again_tells_how_its_numbers_are_meant(
    quantity: str, factor: float, hint: str
) -> None:
    """Whatever near frames could not tell, as there were none."""
    frame = sound_set(1)[0]
    right = Numbers(frame.get_potential_energy(), frame.get_forces(), frame.get_stress())
    given = OfferedFrame(
        "mine.extxyz", 1, frame, right.energy_ev, right.forces, right.stress, [], {}
    )
    setattr(given, quantity, getattr(given, quantity) * factor)
    found = difference(as_check(given), right)
    assert found is not None
    assert hint in (found.force_hint if quantity == "forces" else found.stress_hint)


def test_a_wrong_set_fails_its_task_with_the_words(tmp_path: Path) -> None:
    """Where the file has changed since it was looked at."""
    frames = sound_set(20)
    scale(frames, "energy", 1 / HARTREE)
    with pytest.raises(
        TaskFailed, match=r"the data set is refused: frame .* of mine\.extxyz.*energy_unit: Ha"
    ) as failed:
        generate(tmp_path, frames)
    assert failed.value.reason == "bad_input"


# --- sound sets -----------------------------------------------------------------------------------


def defects() -> list[Atoms]:
    """Vacancies and slabs of copper."""
    frames = []
    for number in range(6):
        rng = np.random.default_rng([6, number])
        vacancy = bulk("Cu", "fcc", a=3.61, cubic=True).repeat(2)
        del vacancy[number]
        slab = fcc111("Cu", (2, 2, 3), vacuum=6, periodic=True)
        slab.info.clear()
        for atoms in (vacancy, slab):
            atoms.positions += rng.normal(0.0, 0.08, atoms.positions.shape)
            frames.append(label(atoms))
    return frames


def walk() -> list[Atoms]:
    """MD of copper at 900 K."""
    atoms = bulk("Cu", "fcc", a=3.65, cubic=True).repeat((1, 2, 2))
    atoms.calc = EMT()
    rng = np.random.default_rng(900)
    atoms.set_velocities(rng.normal(0.0, np.sqrt(units.kB * 1800 / 63.5), atoms.positions.shape))
    frames = []
    for _ in range(16):
        VelocityVerlet(atoms, 3 * units.fs).run(12)
        frames.append(label(atoms.copy()))
    return frames


@pytest.mark.parametrize(
    "make",
    [
        defects,
        walk,
        volumes,
        lambda: sound_set(30, 7, strain=0.05),
        lambda: sound_set(12, 8, strain=0.0),
    ],
)
def test_a_sound_set_of_any_kind_is_not_refused(
    make: Callable[[], list[Atoms]], tmp_path: Path
) -> None:
    """Wrong refusals would be worse than none: a person can only argue with a program."""
    assert judged(tmp_path, make()).refused == ""
