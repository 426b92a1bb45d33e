"""The force mask as weights."""

import numpy as np
import pytest
from ase import Atoms

from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.work.ace.weights import (
    core_of,
    energy_weight,
    fitted_energy_weights,
    force_weights,
)
from mlip_autopipec.work.origins import note_origin


def test_without_a_mask_every_atom_is_core() -> None:
    """A whole structure counts whole."""
    atoms = Atoms("Cu4", positions=np.eye(4, 3))
    assert core_of(atoms).tolist() == [True] * 4
    assert force_weights(atoms, 0.3).tolist() == [1.0] * 4
    assert energy_weight(atoms, 0.3) == 1.0


def test_a_mask_turns_the_buffer_down_and_the_energy_with_it() -> None:
    """Core 1, buffer as told, the energy as the average atom."""
    atoms = Atoms("Cu4", positions=np.eye(4, 3))
    atoms.set_array("core", np.array([True, False, False, False]))
    assert force_weights(atoms, 0.2).tolist() == [1.0, 0.2, 0.2, 0.2]
    assert np.isclose(energy_weight(atoms, 0.2), 0.4)


def test_in_a_fit_energies_of_each_condition_count_the_same() -> None:
    """However many labels each has; what no walker met counts as it did."""
    frames = [
        frame(condition) for condition in ("", "hot", "hot", "hot", "hot", "cold", "cold", "")
    ]
    weights = fitted_energy_weights(frames, 0.3)
    assert weights.tolist() == [1.0, 0.75, 0.75, 0.75, 0.75, 1.5, 1.5, 1.0]
    assert fitted_energy_weights([frame(""), frame("")], 0.3).tolist() == [1.0, 1.0]


def test_a_mask_counts_in_a_fit_too() -> None:
    """An embedded cell's energy, as the average atom, times what its condition gives."""
    masked = frame("hot")
    masked.set_array("core", np.array([True, False, False, False]))
    weights = fitted_energy_weights([masked, frame("hot"), frame("hot"), frame("cold")], 0.2)
    assert weights == pytest.approx([0.4 * 2 / 3, 2 / 3, 2 / 3, 2.0])


def frame(condition: str) -> Atoms:
    """Of a walker in a condition, or generated."""
    atoms = Atoms("Cu4", positions=np.eye(4, 3))
    origin = (
        Origin(kind="informed", subject=condition, condition=condition, step=20)
        if condition
        else Origin(kind="rattled")
    )
    note_origin(atoms, origin)
    return atoms
