"""Calculation: what becomes a label, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import CalculationFailed, Calculator, all_changes
from ase.calculators.emt import EMT
from kit.jobs import copper, job_of
from kit.judged import judged_value

from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work.codes.ase.run import settings
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.job import Result, TaskFailed
from mlip_autopipec.work.steps import label as calculation
from mlip_autopipec.work.structures import read_frames, write_frames

EMT_PATH = "ase.calculators.emt.EMT"


class Moody(Calculator):  # type: ignore[misc] # ASE has no types
    """A calculator whose mood decides what it gives."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, mood: str, energy_ev: float = 1.0) -> None:
        super().__init__()
        self._mood = mood
        self._energy_ev = energy_ev

    def calculate(
        self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        if self._mood == "fails":
            raise CalculationFailed("SCF did not converge")
        if self._mood == "divides":
            raise ZeroDivisionError("by nothing")
        forces = np.full((len(atoms), 3), np.nan if self._mood == "NaN force" else 0.1)
        stress = np.full(6, np.inf if self._mood == "infinite stress" else 0.0)
        energy_ev = float("nan") if self._mood == "NaN energy" else self._energy_ev
        if self._mood == "too few forces":
            forces = forces[1:]
        self.results = {"energy": energy_ev, "forces": forces, "stress": stress}
        if self._mood == "no stress":
            del self.results["stress"]


def label(
    root: Path,
    atoms: Atoms | list[Atoms],
    calculator: str = EMT_PATH,
    arguments: dict[str, Any] | None = None,
    force_max: float = 50.0,
) -> tuple[Result[CalculateMetrics], Atoms]:
    """Run Calculation: its result, and the label that it wrote."""
    path = root / "structure.extxyz"
    write_frames(path, atoms if isinstance(atoms, list) else [atoms])
    parameters = CalculateParameters(
        role=Role.TRAIN,
        origin="collected: somewhere",
        oracle=AseOracle(calculator=calculator, arguments=arguments or {}),
        force_max_ev_per_angstrom=force_max,
    )
    result = calculation.run(job_of(root, parameters, {"structure": [path]}))
    return result, read_frames(result.artefacts["label"])[0]


def moody(root: Path, mood: str) -> tuple[Result[CalculateMetrics], Atoms]:
    """A label by the calculator in this module, found by its import path as any user's is."""
    return label(root, copper(), f"{__name__}.Moody", {"mood": mood})


def test_a_label_has_the_oracles_own_numbers(tmp_path: Path) -> None:
    """Energy, forces and stress are ASE's for the very positions of the structure's file."""
    result, found = label(tmp_path, copper((2, 2, 2), 0.1, 7))
    (truth,) = read_frames(tmp_path / "structure.extxyz")
    truth.calc = EMT()
    assert found.positions == pytest.approx(truth.positions, abs=1e-8)
    assert found.get_potential_energy() == pytest.approx(truth.get_potential_energy(), abs=1e-9)
    assert found.get_forces() == pytest.approx(truth.get_forces(), abs=1e-8)
    assert found.get_stress() == pytest.approx(truth.get_stress(), abs=1e-8)
    metrics = judged_value(CalculateMetrics, result.metrics)
    assert metrics.energy_ev == pytest.approx(truth.get_potential_energy(), abs=1e-12)
    assert metrics.n_atoms == 32
    assert metrics.force_max_ev_per_angstrom == pytest.approx(
        np.linalg.norm(truth.get_forces(), axis=1).max()
    )
    assert metrics.pressure_gpa == pytest.approx(-truth.get_stress()[:3].mean() / units.GPa)


def test_a_compressed_crystal_has_positive_pressure(tmp_path: Path) -> None:
    """The sign of the pressure is that of people."""
    squeezed, _ = label(tmp_path / "a", make(tmp_path / "a", 3.4))
    stretched, _ = label(tmp_path / "b", make(tmp_path / "b", 3.8))
    assert squeezed.metrics.pressure_gpa > 5
    assert stretched.metrics.pressure_gpa < -5


def make(folder: Path, a: float) -> Atoms:
    """Copper of that lattice constant, and the folder that its label goes to."""
    folder.mkdir()
    atoms: Atoms = bulk("Cu", "fcc", a=a, cubic=True)
    return atoms


def test_a_label_says_where_it_is_from_and_what_gives_it_its_meaning(tmp_path: Path) -> None:
    """Task, role, origin and the oracle's settings with its version.

    Not what the structure's file said.
    """
    atoms = copper(rattle_angstrom=0.02)
    atoms.info = {"role": "test", "gamma_max": 9.0}
    result, found = label(tmp_path, atoms, arguments={"asap_cutoff": True})
    assert found.info.keys() == {"task", "role", "origin", "settings"}
    assert found.info["role"] == "train"
    assert found.info["origin"] == "collected: somewhere"
    assert found.info["settings"] == result.metrics.settings
    assert result.metrics.settings.startswith(
        'ase.calculators.emt.EMT {"asap_cutoff": true} ase 3.'
    )


def test_another_setting_is_another_label() -> None:
    """Arguments change the fingerprint of the settings, their order does not."""
    oracles = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}]
    found = [settings(AseOracle(calculator="x.Y", arguments=arguments)) for arguments in oracles]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_force_beyond_the_bound_is_no_label(tmp_path: Path) -> None:
    """The message has the force and the bound, and no label is left."""
    with pytest.raises(
        TaskFailed, match=r"the largest force is \d+\.\d eV/Å, 5 is allowed"
    ) as failed:
        label(tmp_path, copper((2, 2, 2), 0.5, 7), force_max=5.0)
    assert failed.value.reason == "numerical"
    assert not list(tmp_path.rglob("label.extxyz"))


def test_a_force_at_the_bound_is_one(tmp_path: Path) -> None:
    """Allowed means allowed."""
    atoms = copper(rattle_angstrom=0.1)
    largest = label(tmp_path, atoms)[0].metrics.force_max_ev_per_angstrom
    assert label(tmp_path, atoms, force_max=largest)[0].metrics.force_max_ev_per_angstrom == largest


def test_a_calculator_of_ones_own_labels(tmp_path: Path) -> None:
    """Any ASE calculator that can be imported, with its arguments."""
    _, found = label(tmp_path, copper(), f"{__name__}.Moody", {"mood": "fine", "energy_ev": -7.5})
    assert found.get_potential_energy() == -7.5


@pytest.mark.parametrize("mood", ["NaN energy", "NaN force", "infinite stress"])
def test_what_is_no_number_is_no_label(tmp_path: Path, mood: str) -> None:
    """Energy, forces and stress are looked at."""
    with pytest.raises(TaskFailed, match="not finite") as failed:
        moody(tmp_path, mood)
    assert failed.value.reason == "numerical"


@pytest.mark.parametrize(
    ("mood", "message"),
    [
        ("fails", "CalculationFailed: SCF did not converge"),
        ("divides", "ZeroDivisionError: by nothing"),
        ("too few forces", "3 forces for 4 atoms"),
    ],
)
def test_an_oracle_without_a_result_is_numerical(tmp_path: Path, mood: str, message: str) -> None:
    """No setting of ours would give one, so it is not tried again; its own words are told."""
    with pytest.raises(TaskFailed, match=message) as failed:
        moody(tmp_path, mood)
    assert failed.value.reason == "numerical"


def test_an_oracle_that_cannot_is_bad_input(tmp_path: Path) -> None:
    """A calculator without stress, or without the element, will never label this."""
    with pytest.raises(
        TaskFailed, match="PropertyNotImplementedError: stress not present"
    ) as failed:
        moody(tmp_path, "no stress")
    assert failed.value.reason == "bad_input"
    with pytest.raises(TaskFailed, match="NotImplementedError: No EMT-potential for Si") as failed:
        label(tmp_path, bulk("Si", cubic=True))
    assert failed.value.reason == "bad_input"


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        (
            "no.such.module.Calculator",
            {},
            "calculator no.such.module.Calculator: No module named 'no'",
        ),
        ("ase.calculators.emt.NoSuch", {}, "has no attribute 'NoSuch'"),
        (f"{__name__}.Moody", {"mood": "fine", "no_such_argument": 1}, "no_such_argument"),
        ("EMT", {}, "calculator EMT: "),
    ],
)
def test_a_calculator_that_cannot_be_made_is_bad_input(
    tmp_path: Path, path: str, arguments: dict[str, Any], message: str
) -> None:
    """The message names its import path."""
    with pytest.raises(TaskFailed, match=message) as failed:
        label(tmp_path, copper(), path, arguments)
    assert failed.value.reason == "bad_input"


@pytest.mark.parametrize("count", [0, 2])
def test_one_structure_is_labelled_at_a_time(tmp_path: Path, count: int) -> None:
    """A file of none or of several is bad input."""
    with pytest.raises(TaskFailed, match=f"holds {count} structures") as failed:
        label(tmp_path, [copper()] * count)
    assert failed.value.reason == "bad_input"
