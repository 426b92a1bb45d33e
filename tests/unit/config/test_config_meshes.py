"""The shipped campaigns' k-meshes: one density for every cell they label, or labels disagree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.contract.oracle import oracle_of
from mlip_autopipec.work.codes.espresso.input import k_mesh
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle
from mlip_autopipec.work.structures import crystal

CAMPAIGNS = [
    path
    for path in sorted(Path(__file__).parents[3].glob("config/campaigns/*.yaml"))
    if load_config(path).config.calculation.oracle.kind == "espresso"
]
_CELLS = 50


def meshes(path: Path) -> set[tuple[int, ...]]:
    """Points along each axis of the conventional cell.

    The crystals are taken as they are strained, whole and repeated.
    """
    config = load_config(path).config
    oracle = oracle_of(config.calculation.oracle, config.campaign.elements)
    assert isinstance(oracle, EspressoOracle)
    rng, found = np.random.default_rng(1), set()
    for prototype in config.generation.prototypes:
        for repeat in (prototype.repeat, (1, 1, 1)):
            unstrained = crystal(replace(prototype, repeat=repeat))
            for _ in range(_CELLS):
                atoms = unstrained.copy()
                strain = rng.uniform(-1, 1, (3, 3)) * config.generation.strain_max
                atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2))
                mesh = k_mesh(atoms, oracle)
                found.add(tuple(count * times for count, times in zip(mesh, repeat, strict=True)))
    return found


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.stem)
def test_every_strained_cell_of_a_campaign_has_one_density_of_k_points(path: Path) -> None:
    """Silicon with a spacing of 0.4 1/Å had 3 and 4 points.

    Forces of equal structures differed by 50 meV/Å.
    """
    assert len(meshes(path)) == 1


def test_a_spacing_at_the_edge_of_a_step_is_seen(tmp_path: Path) -> None:
    """The test above finds what it is for."""
    (silicon,) = (path for path in CAMPAIGNS if path.stem == "si")
    text = silicon.read_text(encoding="utf-8")
    assert "k_spacing_inverse_angstrom: 0.43" in text
    path = tmp_path / "si.yaml"
    path.write_text(
        text.replace("k_spacing_inverse_angstrom: 0.43", "k_spacing_inverse_angstrom: 0.4")
    )
    assert len(meshes(path)) > 1
