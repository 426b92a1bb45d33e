"""Phonons by phonopy.

Beside ASE's own, beside forces that phonopy never saw, and as a rule of the gate.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.phonons import Phonons
from kit.jobs import job_of, labelled, train_parameters
from kit.judged import judged_value

from mlip_autopipec.config.schemas.training import GateSection, PhononsSection, TrainingSection
from mlip_autopipec.contract.generate import GateProbes, GenerateParameters, PhononProbes, Prototype
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.results.train import Measure, TrainMetrics
from mlip_autopipec.orchestration.gate import GateAnswer, gate
from mlip_autopipec.work.codes.phonopy import doctor, phonons
from mlip_autopipec.work.doctor import examine
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.steps import generate as generation

pytest.importorskip("phonopy", reason="needs the phonons extra")

FCC = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6)
BCC = Prototype(structure="bcc", elements=("Cu",), lattice_constant_angstrom=2.87)
#: Two cells of copper along each edge.
SMALL = PhononProbes(supercell_min_angstrom=5.0)


def forces_by(make: Callable[[], Any] = EMT) -> Callable[[Atoms], np.ndarray]:
    """Forces of one of ASE's calculators in eV/Å."""

    def forces(atoms: Atoms) -> np.ndarray:
        copy = atoms.copy()
        copy.calc = make()
        return np.array(copy.get_forces())

    return forces


class Calculator:
    """One of ASE's calculators, asked as the gate asks a potential."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def evaluate(self, atoms: Atoms, *, graded: bool) -> SimpleNamespace:
        assert not graded
        copy = atoms.copy()
        copy.calc = self._make()
        return SimpleNamespace(energy_ev=copy.get_potential_energy(), forces=copy.get_forces())


def morse() -> MorsePotential:
    """Long-ranged enough for bcc copper to be stable; by EMT it is not."""
    return MorsePotential(epsilon=0.3, r0=2.75, rho0=4.0, rcut1=1.9, rcut2=2.2)


def measures(
    prototype: Prototype,
    potential: Callable[[], Any],
    current: Callable[[], Any],
    asked: PhononProbes = SMALL,
    labels: Mapping[str, Atoms] | None = None,
) -> tuple[Measure, ...]:
    """What the gate is told."""
    both: dict[str, Any] = {"potential": Calculator(potential), "current": Calculator(current)}
    probes = GateProbes(phonons=asked)
    found = phonons.measure(prototype, labels or {}, both, probes)
    return tuple(judged_value(Measure, each) for each in found)


def turned(found: tuple[Measure, ...]) -> tuple[Measure, ...]:
    """The same with the potentials in each other's place."""
    return tuple(replace(each, potential=each.current, current=each.potential) for each in found)


def judged(found: tuple[Measure, ...], **section: Any) -> GateAnswer:
    """The gate over these measures alone."""
    errors = {"structures": 4, "energy_mev_per_atom": 1.0, "force_mev_per_angstrom": 5.0}
    whole = {
        "functions": 20,
        "train": errors,
        "test": errors,
        "test_of_current": errors,
        "measures": found,
    }
    whole |= {
        "probe_gamma": 9.0,
        "reference_energies_ev": {},
        "fingerprint": "f",
        "fit_s": 1.0,
        "active_set_s": 1.0,
    }
    metrics = judged_value(TrainMetrics, whole)
    asked = GateSection(phonons=PhononsSection(**section))
    return gate(metrics, TrainingSection(cutoff_angstrom=4.5, functions_per_element=20, gate=asked))


def test_frequencies_are_those_of_ase_s_own_phonons(tmp_path: Path) -> None:
    """EMT copper's at Γ, at three X and at four L, to 0.02 THz of some 8."""
    prepared = phonons.prepared(FCC, SMALL)
    found = phonons.frequencies(FCC, prepared, forces_by())
    q_points = phonons._whole_waves(prepared)
    halves = np.all(2 * q_points % 1 == 0, axis=1)
    other = Phonons(
        bulk("Cu", "fcc", a=3.6),
        EMT(),
        supercell=(2, 2, 2),
        delta=0.01,
        name=str(tmp_path / "phonons"),
    )
    other.run()
    other.read(acoustic=True)
    # ASE's primitive vectors of fcc are phonopy's; its frequencies are energies, hν.
    theirs = other.band_structure(q_points[halves], verbose=False) / (
        2 * np.pi * units._hbar * units.J * 1e12
    )
    assert found is not None
    assert found.shape == (32, 3)
    assert halves.sum() == 8
    assert np.abs(found[halves] - np.sort(theirs, axis=1)).max() < 0.02
    assert found.max() == pytest.approx(doctor._EMT_COPPER_THZ, abs=0.01)


def test_another_lattice_constant_is_as_good_as_another_prototype() -> None:
    """Symmetry is looked for once.

    Frequencies are those of a supercell that was made for it, to the last digits.
    """
    far = replace(FCC, lattice_constant_angstrom=3.7)
    theirs = phonons.frequencies(far, phonons.prepared(far, SMALL), forces_by())
    found = phonons.frequencies(FCC, phonons.prepared(FCC, SMALL), forces_by(), 3.7)
    assert found == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("structure", ["bcc", "hcp", "cesiumchloride", "l1_0", "l1_2"])
def test_all_modes_of_the_supercell_are_there_in_every_crystal(structure: Any) -> None:
    """Each once: their squares sum up to the springs of single atoms.

    One displacement tells all of an element.
    """
    elements = ("Cu", "Au") if structure in {"cesiumchloride", "l1_0", "l1_2"} else ("Cu",)
    c_over_a = 0.95 if structure == "l1_0" else None
    a = {"hcp": 2.56, "bcc": 2.87, "cesiumchloride": 3.0}.get(structure, 3.7)
    prototype = Prototype(
        structure=structure, elements=elements, lattice_constant_angstrom=a, c_over_a=c_over_a
    )
    prepared, forces, step = phonons.prepared(prototype, SMALL), forces_by(), 0.01
    found = phonons.frequencies(prototype, prepared, forces)
    assert found is not None
    still = prepared.supercell
    whole = Atoms(still.symbols, cell=still.cell, scaled_positions=still.scaled_positions, pbc=True)
    springs = 0.0
    for symbol in elements:
        atom = whole.get_chemical_symbols().index(symbol)
        for axis in range(3):
            moved = whole.copy()
            moved.positions[atom, axis] += step
            pull = -forces(moved)[atom, axis] / step / whole.get_masses()[atom]
            springs += whole.get_chemical_symbols().count(symbol) * pull
    # (2πν)², from eV/Å²/u to THz².
    to_thz2 = units._e / units._amu * 1e20 / (2 * np.pi) ** 2 / 1e24
    assert found.size == 3 * len(whole)
    assert len(phonons._displaced(prototype, prepared)) == len(elements)
    assert (np.sign(found) * found**2).sum() == pytest.approx(springs * to_thz2, rel=0.01)
    assert np.sort(np.abs(found), axis=None)[2] < 1e-4


def test_what_holds_together_by_springs_that_push_is_refused_and_told() -> None:
    """Bcc copper collapses by EMT.

    It is refused beside a current potential that keeps it, told beside none better.
    """
    found = measures(BCC, EMT, morse)
    worse = judged(found)
    assert worse.verdict == "fail"
    assert (
        "its lowest phonon frequency of Cu bcc is imaginary, 1.14 THz, 0.1 is allowed"
        in worse.message
    )
    no_better = tuple(replace(each, current=each.potential) for each in found)
    assert judged(no_better).verdict == "conditional"
    assert judged(turned(found)).verdict == "pass"
    unexpected = judged(found, stable=("Cu fcc",))
    assert unexpected.verdict == "pass"
    assert not [rule for rule in unexpected.rules if "phonon" in rule.rule]


def test_the_oracle_s_labels_say_what_is_stable_and_how_far_off_frequencies_are() -> None:
    """From the cells that Generation makes to the answer.

    A lost label is told, and never a rule that is not asked.
    """
    asked = PhononProbes(supercell_min_angstrom=5.0, oracle=True)
    probes = GateProbes(phonons=asked)
    cells = phonons.cells(BCC, probes)
    truths = {cell.name: labelled(cell.atoms, "property", cell.name) for cell in cells}
    found = measures(BCC, EMT, morse, asked, truths)
    same = {each.rule: each for each in found}
    assert same["frequencies"].potential == pytest.approx(0, abs=1e-5)
    assert (same["lowest_frequency"].oracle or 0) < -0.9
    assert (same["frequencies"].current or 0) > 1
    # EMT's own instability is no fault of a potential, and a stable one is off.
    assert judged(found).verdict == "pass"
    off = judged(turned(found))
    assert off.verdict == "fail"
    assert "its phonon frequencies of Cu bcc are off by" in off.message
    lost = judged(measures(BCC, EMT, EMT, asked, {}), stable=())
    assert lost.verdict == "conditional"
    assert "phonon frequencies of Cu bcc cannot be compared: a label is missing" in lost.message
    other = replace(BCC, lattice_constant_angstrom=2.88)
    assert phonons._of_labels(other, truths, phonons.prepared(other, asked)) is None


def test_nothing_is_displaced_unless_the_site_file_asks(tmp_path: Path) -> None:
    """By default neither phonopy nor the oracle is asked; Generation makes what is to label."""
    assert phonons.cells(FCC, GateProbes(phonons=SMALL)) == []
    assert list(phonons.measure(FCC, {}, {}, GateProbes())) == []
    parameters = GenerateParameters(
        prototypes=(FCC,),
        structures=1,
        test_structures=0,
        strain_max=0.0,
        rattle_angstrom=(0.0,),
        distance_min_angstrom=1.0,
        probes=GateProbes(phonons=PhononProbes(supercell_min_angstrom=5.0, oracle=True)),
        seed=1,
    )
    metrics = judged_value(GenerateMetrics, generation.run(job_of(tmp_path, parameters)).metrics)
    last = metrics.structures[-1]
    assert last.origin == "property: Cu fcc, atom 1 of 32 moved by +0.0100 +0.0000 +0.0000 Å"
    assert (last.role, last.n_atoms) == ("property", 32)


def test_a_site_file_s_own_tolerances_stay_with_the_gate() -> None:
    """Tasks are named by what the work half reads: another tolerance makes no other task."""
    section = GateSection(phonons=PhononsSection(supercell_min_angstrom=8.0, imaginary_max_thz=0.2))
    assert section.probes() == GateProbes(phonons=PhononProbes(supercell_min_angstrom=8.0))
    assert type(section.probes().phonons) is PhononProbes


def test_without_phonopy_a_fit_ends_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad input with the remedy, not a gate that asks for less than it was told."""
    monkeypatch.setitem(sys.modules, "phonopy", None)
    training = pytest.importorskip("mlip_autopipec.work.steps.train", reason="needs the demo extra")
    job = job_of(tmp_path, train_parameters(probes=GateProbes(phonons=SMALL)))
    with pytest.raises(
        TaskFailed, match=r"needs phonopy in site\.python.*pip install 'mlip-autopipec\[phonons\]'"
    ):
        training.run(job)


def test_the_doctor_s_copper_has_its_frequencies() -> None:
    """It is run, and its version told."""
    seen = examine.examine("measure", {"kind": "phonopy"})
    assert seen["fit"] is True
    assert seen["words"].startswith("phonopy ")
    assert seen["words"].endswith("; the highest frequency of EMT copper is 7.97 THz")
