"""Labels by a real pw.x: what becomes one, what is healed, and what is left for a person to look at."""

from pathlib import Path

import numpy as np
import pytest
from ase import units
from espresso_stand import aluminium, job_for, needs_pw

from mlip_autopipec.data_models.outcome import CalculateMetrics
from mlip_autopipec.payload import calculation
from mlip_autopipec.payload.structures import read_frames

pytestmark = needs_pw


def test_a_label_by_pw_is_the_derivative_of_its_own_energy(tmp_path: Path) -> None:
    """Force and stress agree with finite differences of the energy, so units and signs are right."""
    atoms = aluminium()
    step = 0.01
    result = calculation.run(job_for(tmp_path / "middle", atoms))
    metrics = CalculateMetrics.model_validate({"kind": "calculate", **result.metrics})
    assert [one.ending for one in metrics.tries] == ["converged"]
    (label,) = read_frames(result.artefacts["label"])
    energies = []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions[2, 0] += sign * step
        energies.append(calculation.run(job_for(tmp_path / f"moved{sign}", moved)).metrics["energy_ev"])
    assert label.get_forces()[2, 0] == pytest.approx(-(energies[1] - energies[0]) / (2 * step), abs=5e-3)
    assert label.positions == pytest.approx(atoms.positions, abs=1e-7)
    assert metrics.pressure_gpa == pytest.approx(-np.mean(label.get_stress()[:3]) / units.GPa, abs=1e-4)
