"""Generation: what a campaign begins with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from kit.jobs import job_of
from kit.judged import judged_value

from mlip_autopipec.contract.generate import GenerateParameters, Prototype
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.steps import generate as generation
from mlip_autopipec.work.structures import crystal, read_frames, shortest_distance

FCC = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.61)
BCC = Prototype(structure="bcc", elements=("Cu",), lattice_constant_angstrom=2.87, repeat=(2, 1, 1))


def parameters(**changes: Any) -> GenerateParameters:
    """Six structures for training and three for testing."""
    settings: dict[str, Any] = {
        "prototypes": (FCC, BCC),
        "structures": 6,
        "test_structures": 3,
        "strain_max": 0.03,
        "rattle_angstrom": (0.02, 0.1),
        "distance_min_angstrom": 1.5,
        "seed": 3,
    }
    return GenerateParameters(**{**settings, **changes})


def generate(root: Path, **changes: Any) -> tuple[GenerateMetrics, list[Atoms]]:
    """What Generation says, and every structure that it wrote."""
    result = generation.run(job_of(root, parameters(**changes)))
    metrics = judged_value(GenerateMetrics, result.metrics)
    frames = [
        frame
        for structure in metrics.structures
        for frame in read_frames(root / structure.file.path)
    ]
    return metrics, frames


def test_it_makes_as_many_as_were_asked_for(tmp_path: Path) -> None:
    """Each structure has its file, training before test; training environments are counted."""
    metrics, frames = generate(tmp_path)
    assert [structure.role for structure in metrics.structures] == ["train"] * 6 + ["test"] * 3
    assert len(frames) == 9
    assert len({structure.file.path for structure in metrics.structures}) == 9
    assert [structure.n_atoms for structure in metrics.structures] == [
        len(frame) for frame in frames
    ]
    assert metrics.environments == {"Cu": sum(len(frame) for frame in frames[:6])}
    assert {structure.gamma_max for structure in metrics.structures} == {None}


def test_each_element_is_also_asked_for_alone(tmp_path: Path) -> None:
    """One atom in a box that repeats nowhere, with a role that no fit and no error takes.

    It is there only where it is wanted.
    """
    metrics, frames = generate(
        tmp_path / "two", elements=("Cu", "Au"), isolated_atom_box_angstrom=11.0
    )
    alone = metrics.structures[-2:]
    assert [(item.role, item.origin, item.n_atoms, item.why) for item in alone] == [
        ("isolated_atom", "isolated atom: Cu", 1, "reference"),
        ("isolated_atom", "isolated atom: Au", 1, "reference"),
    ]
    for frame, element in zip(frames[-2:], ("Cu", "Au"), strict=True):
        assert frame.get_chemical_symbols() == [element]
        assert frame.cell.lengths().tolist() == [11.0] * 3
        assert not frame.pbc.any()
    without, others = generate(tmp_path / "none", elements=("Cu", "Au"))
    assert len(others) == len(frames) - 2
    assert [structure.file.sha256 for structure in without.structures] == [
        structure.file.sha256 for structure in metrics.structures[:-2]
    ]


def test_every_prototype_meets_every_rattle(tmp_path: Path) -> None:
    """With as many prototypes as amplitudes, none of them is tied to one amplitude."""
    metrics, _ = generate(tmp_path, structures=4, test_structures=0)
    assert [structure.origin for structure in metrics.structures] == [
        "generated: Cu fcc, rattled by 0.02 Å",
        "generated: Cu bcc, rattled by 0.02 Å",
        "generated: Cu fcc, rattled by 0.1 Å",
        "generated: Cu bcc, rattled by 0.1 Å",
    ]


def test_the_same_seed_gives_the_same_structures(tmp_path: Path) -> None:
    """A second attempt writes the same files byte for byte; another seed does not."""
    first, _ = generate(tmp_path / "first")
    again, _ = generate(tmp_path / "again")
    other, _ = generate(tmp_path / "other", seed=4)
    digests = [
        [structure.file.sha256 for structure in metrics.structures]
        for metrics in (first, again, other)
    ]
    assert digests[0] == digests[1]
    assert not set(digests[0]) & set(digests[2])


def test_more_structures_leave_the_first_ones_as_they_were(tmp_path: Path) -> None:
    """Each structure has a random stream of its own, the test structures too."""
    few, _ = generate(tmp_path / "few")
    many, _ = generate(tmp_path / "many", structures=8, test_structures=4)
    digests = [
        {
            role: [
                structure.file.sha256 for structure in metrics.structures if structure.role == role
            ]
            for role in ("train", "test")
        }
        for metrics in (few, many)
    ]
    assert digests[0]["train"] == digests[1]["train"][:6]
    assert digests[0]["test"] == digests[1]["test"][:3]


def test_training_and_test_structures_are_drawn_apart(tmp_path: Path) -> None:
    """A test structure is no training structure under another name."""
    _, frames = generate(tmp_path, prototypes=(FCC,), rattle_angstrom=(0.05,))
    for train in frames[:6]:
        for test in frames[6:]:
            assert np.abs(train.positions - test.positions).max() > 0.01


def test_no_two_atoms_are_too_close(tmp_path: Path) -> None:
    """Wild settings are drawn again until no distance is short.

    The draws thrown away are counted.
    """
    metrics, frames = generate(tmp_path, rattle_angstrom=(0.3,), distance_min_angstrom=2.0)
    assert min(shortest_distance(frame, 4.0) for frame in frames) >= 2.0
    assert metrics.redrawn > 0


def test_the_strain_stays_within_its_bound(tmp_path: Path) -> None:
    """Unrattled, cell and atoms are the crystal under a symmetric strain of at most strain_max."""
    _, frames = generate(
        tmp_path, prototypes=(FCC,), rattle_angstrom=(0.0,), strain_max=0.04, structures=20
    )
    perfect = crystal(FCC)
    largest = 0.0
    for frame in frames:
        strain = np.linalg.inv(perfect.cell.array) @ frame.cell.array - np.eye(3)
        assert strain == pytest.approx(strain.T, abs=1e-6)
        largest = max(largest, float(np.abs(strain).max()))
    assert 0.03 < largest <= 0.04 + 1e-6


def test_the_rattle_has_its_amplitude(tmp_path: Path) -> None:
    """The displacements of a large cell scatter by the amplitude that was asked for."""
    big = replace(FCC, repeat=(4, 4, 4))
    _, frames = generate(
        tmp_path,
        prototypes=(big,),
        rattle_angstrom=(0.05,),
        strain_max=0.0,
        structures=1,
        test_structures=0,
    )
    perfect = crystal(big)
    moved = frames[0].positions - perfect.positions
    moved -= np.round(moved / perfect.cell.lengths()) * perfect.cell.lengths()
    assert moved.std() == pytest.approx(0.05, rel=0.1)


def test_impossible_settings_are_bad_input_with_both_numbers(tmp_path: Path) -> None:
    """The message names the rattle and the distance that cannot both be had."""
    with pytest.raises(TaskFailed, match=r"rattle 0\.02 Å.* below 3 Å") as failed:
        generate(tmp_path, distance_min_angstrom=3.0)
    assert failed.value.reason == "bad_input"
