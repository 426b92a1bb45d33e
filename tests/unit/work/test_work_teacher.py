"""Generation by a teacher: real calculators of ASE walk.

They do it in a process and where asked in a Python of their own.
"""

import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.emt import EMT
from kit.jobs import Site, job_of, task_of
from kit.judged import judged_value

from mlip_autopipec.contract.generate import GenerateParameters, Prototype, Teacher
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work.doctor import examine
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.steps import generate as generation
from mlip_autopipec.work.structures import crystal, read_frames, shortest_distance

pytestmark = pytest.mark.codes

FCC = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.61)
LONGER = Prototype(
    structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.61, repeat=(2, 1, 1)
)
EMT_PATH = "ase.calculators.emt.EMT"


def emt(**changes: Any) -> Teacher:
    """EMT of copper as the teacher, at two temperatures."""
    settings: dict[str, Any] = {
        "calculator": EMT_PATH,
        "temperatures_kelvin": (300.0, 1200.0),
        "steps": 30,
    }
    return Teacher(**{**settings, **changes})


def parameters(teacher: Teacher | None, **changes: Any) -> GenerateParameters:
    """Four structures to train on and two to test with, of two cells."""
    settings: dict[str, Any] = {
        "prototypes": (FCC, LONGER),
        "structures": 4,
        "test_structures": 2,
        "strain_max": 0.02,
        "rattle_angstrom": (0.1,),
        "distance_min_angstrom": 1.5,
        "elements": ("Cu",),
        "teacher": teacher,
        "seed": 3,
    }
    return GenerateParameters(**{**settings, **changes})


def metrics_of(result: Any) -> GenerateMetrics:
    return judged_value(GenerateMetrics, result.metrics)


def test_structures_are_where_the_teacher_has_walked(tmp_path: Path) -> None:
    """Strained as without it, every crystal at every temperature.

    Hotter ones are farther from their sites.
    """
    result = generation.run(
        job_of(tmp_path, parameters(emt(steps=60), structures=8, test_structures=0))
    )
    found = metrics_of(result).structures
    assert [each.origin for each in found[:4]] == [
        "generated: Cu fcc, walked by EMT at 300 K",
        "generated: Cu fcc, walked by EMT at 300 K",
        "generated: Cu fcc, walked by EMT at 1200 K",
        "generated: Cu fcc, walked by EMT at 1200 K",
    ]
    assert [each.n_atoms for each in found[:4]] == [4, 8, 4, 8]
    rattled = metrics_of(
        generation.run(job_of(tmp_path / "b", parameters(None, structures=8, test_structures=0)))
    )
    away: dict[int, list[float]] = {300: [], 1200: []}
    for each, other in zip(found, rattled.structures, strict=True):
        [frame], [plain_one] = (
            read_frames(tmp_path / each.file.path),
            read_frames(tmp_path / "b" / other.file.path),
        )
        assert np.allclose(frame.cell.array, plain_one.cell.array)
        assert frame.info["reference_cell"] is not None
        sites = crystal(LONGER if len(frame) == 8 else FCC)
        sites.set_cell(frame.cell, scale_atoms=True)
        moved = frame.get_scaled_positions(wrap=False) - sites.get_scaled_positions(wrap=False)
        moved = (moved - np.round(moved)) @ frame.cell.array
        away[300 if "300 K" in each.origin else 1200].append(
            np.sqrt(np.mean((moved - moved.mean(axis=0)) ** 2))
        )
        assert shortest_distance(frame, 3.0) > 1.5
    assert 0.01 < np.mean(away[300]) < np.mean(away[1200]) < 0.6


def test_the_walk_is_the_calculators_own(tmp_path: Path) -> None:
    """Where the teacher is the oracle, kinetic energy has become potential energy of EMT.

    It is the kinetic energy that was given to the crystal.
    """
    teacher = emt(temperatures_kelvin=(900.0,), steps=100)
    result = generation.run(
        job_of(tmp_path, parameters(teacher, prototypes=(LONGER,), strain_max=0.0))
    )
    per_atom = []
    for structure in metrics_of(result).structures:
        [frame] = read_frames(tmp_path / structure.file.path)
        still = crystal(LONGER)
        frame.calc, still.calc = EMT(), EMT()
        per_atom.append((frame.get_potential_energy() - still.get_potential_energy()) / len(frame))
    equipartition_ev = 1.5 * 8.617e-5 * 900
    assert 0.3 * equipartition_ev < np.mean(per_atom) < 2 * equipartition_ev


def test_the_same_task_walks_to_the_same_structures(tmp_path: Path) -> None:
    """Each walk has its own random numbers: more structures leave the first ones as they were."""
    digests = []
    for folder, structures in (("a", 4), ("b", 4), ("c", 6)):
        found = metrics_of(
            generation.run(job_of(tmp_path / folder, parameters(emt(), structures=structures)))
        )
        digests.append(
            [structure.file.sha256 for structure in found.structures if structure.role == "train"]
        )
    assert digests[0] == digests[1] == digests[2][:4]
    assert len(set(digests[2])) == 6


def test_another_python_walks(tmp_path: Path) -> None:
    """It runs the walks and nothing else, from the shipped work half as a job has it.

    Folders may hold spaces.
    """
    python = tmp_path / "an env" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$@" >>"$0.log"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    site = Site.at(tmp_path / "root")
    task = task_of(parameters(emt(python=str(python))))
    site.place(task)
    done = site.run(task)
    assert site.outcome().status == "done", done.stderr
    assert (
        python.with_name("python.log").read_text() == "-m mlip_autopipec.work.codes.ase.teacher .\n"
    )


@pytest.mark.parametrize(
    ("changes", "reason", "message"),
    [
        (
            {"calculator": "ase.calculators.emt.EMTT"},
            "bad_input",
            "did you mean ase.calculators.emt.EMT?",
        ),
        ({"calculator": "ase.calculators.tip3p.TIP3P"}, "bad_input", "gives no forces on Cu4"),
        ({"python": "/no/such/python"}, "bad_input", "/no/such/python cannot be run: No such file"),
        ({"python": "/bin/false"}, "crashed", "the teacher in /bin/false ended with status 1"),
        (
            {
                "calculator": "ase.calculators.lj.LennardJones",
                "arguments": {"sigma": 3.5, "epsilon": 5.0},
            },
            "bad_input",
            "all exploded, or ended with distances below",
        ),
    ],
)
def test_a_teacher_that_cannot_walk_is_told(
    tmp_path: Path, changes: dict[str, Any], reason: str, message: str
) -> None:
    """In its own words, with the key to change."""
    with pytest.raises(TaskFailed) as failure:
        generation.run(job_of(tmp_path, parameters(emt(**changes))))
    assert failure.value.reason == reason
    assert message in str(failure.value)


def test_what_was_walked_is_not_walked_again(tmp_path: Path) -> None:
    """A job that is stopped says how far it is, and the next goes on from there."""
    stopping = threading.Event()
    stopping.set()
    first = job_of(tmp_path / "first", parameters(emt()))
    with pytest.raises(TaskFailed) as failure:
        generation.run(replace(first, stopping=stopping))
    assert failure.value.reason == "timeout"
    assert "of 6 structures walked" in str(failure.value)
    whole = metrics_of(generation.run(first))
    end = first.workdir / "teacher" / "end-001.extxyz"
    [frame] = read_frames(end)
    frame.positions += 0.25  # a mark that no walk would make
    frame.write(end, format="extxyz")
    (first.workdir / "teacher" / "end-003.extxyz").unlink()
    again = replace(job_of(tmp_path / "again", parameters(emt())), before=(first.workdir,))
    second = metrics_of(generation.run(again))
    same = [
        structure.file.sha256 == other.file.sha256
        for structure, other in zip(whole.structures, second.structures, strict=True)
    ]
    assert same == [True, False, True, True, True, True]


def test_doctor_has_the_teacher_walk() -> None:
    """From every crystal, in its Python; what a structure will cost is told."""
    asked = {"teacher": plain(emt()), "prototypes": [plain(FCC)]}
    seen = examine.examine("teacher", asked)
    assert seen["fit"] is True
    assert seen["words"].startswith(f"{EMT_PATH} walks Cu fcc: a structure of 4 atoms takes ")
    assert seen["words"].endswith(" s here (30 steps)")
    iron = Prototype(structure="bcc", elements=("Fe",), lattice_constant_angstrom=2.87)
    seen = examine.examine("teacher", {**asked, "prototypes": [plain(FCC), plain(iron)]})
    assert seen["fit"] is False
    assert "No EMT-potential for Fe" in seen["words"]
