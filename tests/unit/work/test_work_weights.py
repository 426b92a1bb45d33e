"""The force mask as weights."""

import numpy as np
from ase import Atoms

from mlip_autopipec.work.ace.weights import core_of, energy_weight, force_weights


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
