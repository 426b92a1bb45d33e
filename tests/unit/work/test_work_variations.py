"""Alloys, defects, surfaces, dimers and squeezed cells.

They are counted, seeded, distinct, and what their names say.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import write
from kit.jobs import job_of
from kit.judged import judged_value

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
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.steps import generate as generation
from mlip_autopipec.work.steps.variations import mark, vary
from mlip_autopipec.work.structures import crystal, read_frames, shortest_distance

pytestmark = pytest.mark.codes

SHORTEST = 1.6
FCC = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.7, repeat=(2, 2, 2))
ORDERED = replace(FCC, structure="l1_2", elements=("Cu", "Au"), lattice_constant_angstrom=3.8)
PARAMETERS = GenerateParameters(
    prototypes=(FCC, ORDERED),
    elements=("Cu", "Au"),
    distance_min_angstrom=SHORTEST,
    strain_max=0.02,
    rattle_angstrom=(0.05,),
    structures=2,
    test_structures=1,
    seed=3,
)
ALLOY = Alloy(kind="alloy", count=8, elements=("Cu", "Au"), fractions={"Au": (0.25, 0.75)})
KINDS: dict[str, Variation] = {
    "alloy": ALLOY,
    "special": replace(ALLOY, kind="special", count=2),
    "vacancy": PointDefect(kind="vacancy", count=3),
    "interstitial": PointDefect(kind="interstitial", count=3),
    "antisite": PointDefect(kind="antisite", count=3),
    "surface": Surface(count=6, thickness_angstrom=7.0, vacuum_angstrom=9.0),
    "dimer": Dimer(count=9, distance_max_angstrom=4.0),
    "squeezed": Squeezed(count=4),
}


def generated(
    root: Path, asked: GenerateParameters, structure: Sequence[Path] = ()
) -> list[dict[str, Any]]:
    """What Generation says of every structure that it made."""
    root.mkdir(exist_ok=True)
    result = generation.run(job_of(root, asked, {"structure": list(structure)}))
    metrics = judged_value(GenerateMetrics, result.metrics)
    return [plain(structure) for structure in metrics.structures]


def made(kind: str, turn: int, seed: int = 1, **changes: Any) -> Any:
    """One structure of a variation."""
    return vary(
        replace(KINDS[kind], **changes), PARAMETERS, np.random.default_rng([seed, turn]), turn
    )


@pytest.mark.parametrize("turn", range(6))
def test_an_alloy_keeps_within_its_fractions(turn: int) -> None:
    """Every site of the crystal of one element is occupied.

    The second element has a part of them that is in its range.
    """
    atoms = made("alloy", turn)
    assert len(atoms) == len(crystal(FCC))
    part = atoms.get_chemical_symbols().count("Au") / len(atoms)
    assert 0.25 - 0.5 / len(atoms) <= part <= 0.75 + 0.5 / len(atoms)


def test_a_special_structure_is_nearer_to_the_random_alloy_than_a_draw_is() -> None:
    """Of half and half, as many unlike neighbours as the infinite random alloy has.

    Its pairs are those of chance.
    """
    half = {"Au": (0.5, 0.5)}

    def unlike(atoms: Any) -> float:
        distances = atoms.get_all_distances(mic=True)
        first, other = np.nonzero(
            (distances > 0.1) & (distances < 0.8 * FCC.lattice_constant_angstrom)
        )
        symbols = np.array(atoms.get_chemical_symbols())
        return float(np.mean(symbols[first] != symbols[other]))

    special = abs(unlike(made("special", 0, 1, fractions=half)) - 0.5)
    drawn = np.mean(
        [abs(unlike(made("alloy", 0, seed, fractions=half)) - 0.5) for seed in range(20)]
    )
    assert special < drawn


def test_point_defects_change_one_atom() -> None:
    """One less, one more in the largest hole, or two exchanged; all else stays where it was."""
    whole = len(crystal(FCC))
    assert len(made("vacancy", 0)) == whole - 1
    extra = made("interstitial", 0)
    assert len(extra) == whole + 1
    distances = extra.get_distances(whole, range(whole), mic=True)
    assert distances.min() == pytest.approx(FCC.lattice_constant_angstrom / 2, abs=0.35)
    swapped, ordered = made("antisite", 0), crystal(ORDERED)
    assert Counter(swapped.get_chemical_symbols()) == Counter(ordered.get_chemical_symbols())
    assert sum(a != b for a, b in zip(swapped.symbols, ordered.symbols, strict=True)) == 2


@pytest.mark.parametrize("turn", range(6))
def test_a_surface_has_its_vacuum(turn: int) -> None:
    """Along the third vector is a gap between the slab and its image; the slab is thick enough."""
    atoms = made("surface", turn)
    heights = np.sort(atoms.positions @ np.array([0, 0, 1.0]))
    period = atoms.cell.volume / np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1]))
    assert period - (heights[-1] - heights[0]) >= 9.0 - 1e-6
    assert heights[-1] - heights[0] >= 3.0


def test_dimers_cover_all_pairs_and_distances() -> None:
    """From the shortest allowed to the longest that was asked for, rising with every turn."""
    dimers = [made("dimer", turn) for turn in range(9)]
    distances = [atoms.get_distance(0, 1) for atoms in dimers]
    assert distances == sorted(distances)
    assert distances[0] > SHORTEST
    assert distances[-1] < 4.0
    assert {"".join(sorted(atoms.get_chemical_symbols())) for atoms in dimers} == {
        "CuCu",
        "AuCu",
        "AuAu",
    }


def test_squeezed_cells_reach_down_to_the_shortest_distance() -> None:
    """Neighbours lie between the shortest distance that is allowed and their usual one."""
    nearest = [shortest_distance(made("squeezed", turn), 4.0) for turn in range(4)]
    assert all(SHORTEST < distance < 2.8 for distance in nearest)
    assert nearest[0] < nearest[2]


def test_the_task_makes_every_variation_once(tmp_path: Path) -> None:
    """As many as were asked for, no two alike, none with short distances.

    They are the same for the same seed.
    """
    variations = tuple(replace(KINDS[kind], count=2) for kind in KINDS if kind != "special")
    first, again = (
        generated(tmp_path / name, replace(PARAMETERS, variations=variations)) for name in "ab"
    )
    varied = [item for item in first if "rattled by" not in item["origin"]]
    assert Counter(item["origin"] for item in varied) == {
        f"generated: {variation.kind}": 2 for variation in variations
    }
    frames = [read_frames(tmp_path / "a" / item["file"]["path"])[0] for item in varied]
    assert len({mark(frame) for frame in frames}) == len(frames)
    assert min(shortest_distance(frame, 2 * SHORTEST) for frame in frames) >= SHORTEST
    assert [item["file"]["sha256"] for item in first] == [item["file"]["sha256"] for item in again]


def test_more_than_there_are_is_refused(tmp_path: Path) -> None:
    """Vacancies of a crystal neither strained nor rattled are all alike: the task says so."""
    parameters = replace(PARAMETERS, strain_max=0.0, rattle_angstrom=(0.0,), prototypes=(FCC,))
    with pytest.raises(
        TaskFailed, match="structure 2 of 3 of kind 'vacancy' were like an earlier one"
    ):
        generated(tmp_path, replace(parameters, variations=(KINDS["vacancy"],)))


def test_files_of_the_user_are_taken_as_they_are(tmp_path: Path) -> None:
    """Every structure of every file, in any format.

    An element that the campaign does not know is refused.
    """
    frames = [crystal(FCC), crystal(ORDERED)]
    path = tmp_path / "0123456789ab-mine.extxyz"
    write(path, frames)
    made_ones = generated(tmp_path / "a", PARAMETERS, structure=[path])
    assert [made_one["origin"] for made_one in made_ones][-2:] == [
        f"generated: structure {n} of mine.extxyz" for n in (1, 2)
    ]
    with pytest.raises(TaskFailed, match=r"has Au, which is not in campaign\.elements"):
        generated(tmp_path / "b", replace(PARAMETERS, elements=("Cu",)), structure=[path])
