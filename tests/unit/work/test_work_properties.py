"""Properties of crystals by a potential.

And deliberately bad potentials that the gate must refuse for each of them.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from kit.jobs import Fitted, copper, fit_once, job_of, labelled, train_parameters
from kit.judged import judged_value

from mlip_autopipec.config.schemas.training import TrainingSection
from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.results.train import Measure, TrainMetrics
from mlip_autopipec.orchestration.gate import gate
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.codes.measuring import distinct
from mlip_autopipec.work.structures import read_frames, shortest_distance, write_frames

pytest.importorskip("pyace", reason="needs the demo extra")

from pyace import ACEBBasisSet
from pyace.basis import BBasisConfiguration

from mlip_autopipec.work.ace.evaluator import AceEvaluator, with_core_repulsion
from mlip_autopipec.work.steps import train as training

pytestmark = pytest.mark.codes

COPPER = Prototype(
    structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.61, repeat=(2, 2, 2)
)
PROBES = GateProbes(md_steps=60)
SECTION = TrainingSection(cutoff_angstrom=4.5, functions_per_element=20)

#: As hot and compressed copper would have it; `training_set` has 2.4 Å and 11 Å³.
REACH = properties.Reach(distance_angstrom=2.1, volume_angstrom3=9.0)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


@pytest.fixture(scope="module")
def truths() -> dict[str, Atoms]:
    """EMT's labels of the property cells."""
    cells = properties.cells(COPPER, PROBES)
    return {cell.name: labelled(cell.atoms, "property", cell.name) for cell in cells}


def measured(
    truths: dict[str, Atoms], potentials: dict[str, AceEvaluator], reach: properties.Reach
) -> list[Measure]:
    """Every measure of copper, as the task hands it on."""
    return properties.measure(
        COPPER, truths, potentials, PROBES, reach, distance_min_angstrom=1.6, seed=1
    )


def measures(
    truths: dict[str, Atoms], potential: AceEvaluator, current: AceEvaluator | None = None
) -> list[Measure]:
    """Every measure of copper."""
    both = {"potential": potential, **({"current": current} if current else {})}
    return [judged_value(Measure, item) for item in measured(truths, both, REACH)]


def named(found: list[Measure]) -> dict[str, Measure]:
    """By rule and subject."""
    return {f"{each.rule} {each.subject}": each for each in found}


def test_cells_are_the_same_each_time_and_have_names_of_their_own() -> None:
    """A label is found again by its origin; a prototype that is there twice is probed once."""
    once, again = (properties.cells(COPPER, PROBES) for _ in range(2))
    assert [cell.name for cell in once] == [cell.name for cell in again]
    assert len({cell.name for cell in once}) == len(once) == 7 + 4
    assert all(
        np.array_equal(a.atoms.positions, b.atoms.positions)
        for a, b in zip(once, again, strict=True)
    )
    assert distinct([COPPER, replace(COPPER, repeat=(3, 3, 3))]) == [COPPER]


@pytest.mark.parametrize(("structure", "strains"), [("diamond", 4), ("hcp", 8), ("l1_0", 8)])
def test_less_symmetry_asks_for_more_strains(structure: Any, strains: int) -> None:
    """Cubic crystals have three elastic constants, hexagonal and tetragonal ones up to six."""
    elements = ("Cu", "Au") if structure == "l1_0" else ("Cu",)
    prototype = Prototype(structure=structure, elements=elements, lattice_constant_angstrom=3.6)
    assert len(properties.cells(prototype, PROBES)) == 7 + strains


def test_the_oracle_s_own_numbers_are_right(truths: dict[str, Atoms], fitted: Fitted) -> None:
    """EMT's copper: 3.60 Å, 134 GPa; C11 + 2 C12 = 3 B; C44 near 90 GPa."""
    found = named(measures(truths, AceEvaluator(fitted.yaml)))
    oracle = {name: each.oracle or 0.0 for name, each in found.items()}
    assert oracle["lattice_constant Cu fcc"] == pytest.approx(3.59, abs=0.02)
    assert oracle["bulk_modulus Cu fcc"] == pytest.approx(134, rel=0.05)
    third = (oracle["elastic_constant Cu fcc C11"] + 2 * oracle["elastic_constant Cu fcc C12"]) / 3
    assert third == pytest.approx(oracle["bulk_modulus Cu fcc"], rel=0.1)
    assert oracle["elastic_constant Cu fcc C44"] == pytest.approx(90, rel=0.15)


def test_the_potential_s_stress_is_the_slope_of_its_energy(fitted: Fitted) -> None:
    """Order and sign of the six components, by finite differences of the energy."""
    evaluator, strain = AceEvaluator(fitted.yaml), 1e-4
    atoms = copper((1, 1, 2), 0.05, 3)
    stress = properties.stress_of(evaluator, atoms)
    for index, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        energies = []
        for sign in (-1, 1):
            bent, tensor = atoms.copy(), np.eye(3)
            tensor[i, j] += sign * strain / 2
            tensor[j, i] += sign * strain / 2
            bent.set_cell(atoms.cell.array @ tensor, scale_atoms=True)
            energies.append(evaluator.evaluate(bent, graded=False).energy_ev)
        slope = (energies[1] - energies[0]) / (2 * strain) / atoms.get_volume()
        assert stress[index] == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_birch_murnaghan_finds_what_was_put_in() -> None:
    """Energies of Birch and Murnaghan's own form give back volume and bulk modulus.

    Without a minimum there is none.
    """
    volume, modulus, prime = 47.0, 137 * units.GPa, 5.3
    volumes = np.linspace(0.96, 1.1, 9) * volume
    eta = (volume / volumes) ** (2 / 3)
    energies = 9 * volume * modulus / 16 * ((eta - 1) ** 3 * prime + (eta - 1) ** 2 * (6 - 4 * eta))
    assert properties.birch_murnaghan(volumes, energies) == pytest.approx(
        (volume, modulus), rel=1e-6
    )
    assert properties.birch_murnaghan(volumes[:3:-1], energies[:3:-1]) is None
    assert properties.birch_murnaghan(volumes, -energies) is None


def test_a_good_fit_has_the_oracle_s_properties(truths: dict[str, Atoms], fitted: Fitted) -> None:
    """Ten small cells give copper's lattice constant to 0.5 % and its bulk modulus to 20 %."""
    found = named(measures(truths, AceEvaluator(fitted.yaml)))
    lattice, modulus = found["lattice_constant Cu fcc"], found["bulk_modulus Cu fcc"]
    assert lattice.potential == pytest.approx(lattice.oracle, rel=0.005)
    assert modulus.potential == pytest.approx(modulus.oracle, rel=0.2)
    assert found["md Cu fcc"].potential == 0
    assert len(found) == 2 + 3 + 2 + 1


def test_the_wall_goes_as_far_as_labels_do_and_no_farther(
    truths: dict[str, Atoms], fitted: Fitted
) -> None:
    """Tame labels leave no wall to measure.

    Reach is the shortest distance and the densest cell of all labels.
    """
    train = [read_frames(path)[0] for path in fitted.labels[:10]]
    reach = properties.reach_of(train, 4.5)
    distances = [
        item.get_all_distances(mic=True)[np.triu_indices(len(item), 1)].min() for item in train
    ]
    assert reach.distance_angstrom == pytest.approx(min(distances))
    assert reach.volume_angstrom3 == pytest.approx(min(item.get_volume() / 8 for item in train))
    at_rest, potentials = properties.Reach(2.5, 11.7), {"potential": AceEvaluator(fitted.yaml)}
    assert not [item for item in measured(truths, potentials, at_rest) if item.rule == "wall"]
    walls = properties._walls(copper((2, 2, 2)), REACH)
    shortest = {way: shortest_distance(frames[-1], 3.0) for way, frames in walls.items()}
    assert shortest["one atom pushed"] == pytest.approx(2.1, abs=0.05)
    assert walls["compressed"][-1].get_volume() / 32 == pytest.approx(9.0, rel=0.05)


def test_labels_that_failed_leave_out_what_needs_them(
    truths: dict[str, Atoms], fitted: Fitted
) -> None:
    """A strain without its label gives no elastic constants.

    Three lost volumes give no equation of state.
    """
    few = {
        name: label
        for number, (name, label) in enumerate(truths.items())
        if number not in {0, 1, 2, 8}
    }
    assert {item.rule for item in measures(few, AceEvaluator(fitted.yaml))} == {"wall", "md"}


# --- bad on purpose -------------------------------------------------------------------------------


def scaled(fitted: Fitted, folder: Path, factor: float) -> AceEvaluator:
    """The potential with every coefficient multiplied."""
    basis = ACEBBasisSet(str(fitted.yaml))
    basis.basis_coeffs = factor * np.array(basis.basis_coeffs)
    basis.save(str(folder / "scaled.yaml"))
    return AceEvaluator(folder / "scaled.yaml")


def of_another_crystal(fitted: Fitted, folder: Path) -> AceEvaluator:
    """Really fitted, to labels of copper in cells blown up by 2 %.

    It is right in itself, for other distances.
    """
    labels = []
    for path in fitted.labels:
        (frame,) = read_frames(path)
        other = labelled(frame, frame.info["role"], frame.info["task"])
        other.set_cell(frame.cell.array * 1.02, scale_atoms=True)
        labels.append(folder / path.name)
        write_frames(labels[-1], [other])
    training.run(job_of(folder, train_parameters(), {"label": labels}))
    return AceEvaluator(folder / "potentials/001/potential.yaml")


def with_a_pit(fitted: Fitted, folder: Path) -> AceEvaluator:
    """ZBL turned into an attraction below 2.4 Å: atoms that come so close fall in."""
    basis = with_core_repulsion(BBasisConfiguration(str(fitted.yaml)), 2.4)
    for block in basis.funcspecs_blocks:
        block.core_rep_parameters = (-1.0, 1.0)
    basis.save(str(folder / "pit.yaml"))
    return AceEvaluator(folder / "pit.yaml")


def attractive(fitted: Fitted, folder: Path) -> AceEvaluator:
    """Every force turned round: a crystal that falls in upon itself."""
    return scaled(fitted, folder, -3.0)


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        ("lattice constant", of_another_crystal),
        ("bulk modulus", lambda fitted, folder: scaled(fitted, folder, 0.5)),
        ("elastic constant", lambda fitted, folder: scaled(fitted, folder, 0.5)),
        ("repulsive wall", with_a_pit),
        ("short MD", attractive),
    ],
    ids=["lattice constant", "bulk modulus", "elastic constant", "wall", "MD"],
)
def test_each_rule_refuses_a_potential_that_is_bad_on_purpose(
    rule: str,
    make: Callable[[Fitted, Path], AceEvaluator],
    truths: dict[str, Atoms],
    fitted: Fitted,
    tmp_path: Path,
) -> None:
    """Beside the good fit as the current one the bad one fails for this rule.

    The good one keeps it.
    """
    good, bad = AceEvaluator(fitted.yaml), make(fitted, tmp_path)
    metrics = judged_value(TrainMetrics, fitted.metrics)
    found = replace(metrics, measures=tuple(measures(truths, bad, good)))
    answer = gate(found, SECTION)
    assert answer.verdict == "fail"
    assert any(item.rule == rule and item.answer == "worse" for item in answer.rules), answer.rules
    kept = gate(replace(metrics, measures=tuple(measures(truths, good, good))), SECTION)
    assert all(item.answer == "kept" for item in kept.rules if item.rule == rule), kept.rules


def test_the_core_repulsion_makes_the_wall_rise_and_leaves_the_rest_alone(
    fitted: Fitted, tmp_path: Path
) -> None:
    """Beyond its radius energies and γ are the same.

    Below, two atoms repel each other as ZBL says, γ unchanged.
    """
    with_core_repulsion(BBasisConfiguration(str(fitted.yaml)), 1.8).save(
        str(tmp_path / "core.yaml")
    )
    plain, core = (
        AceEvaluator(fitted.yaml, fitted.asi),
        AceEvaluator(tmp_path / "core.yaml", fitted.asi),
    )
    near, close = copper((2, 2, 2)), copper((2, 2, 2))
    near.positions[0] += 0.1 * (near.positions[1] - near.positions[0])
    close.positions[0] += 0.45 * (close.positions[1] - close.positions[0])
    assert core.evaluate(near).energy_ev == pytest.approx(plain.evaluate(near).energy_ev, abs=1e-9)
    assert core.evaluate(close).energy_ev > plain.evaluate(close).energy_ev + 10
    assert core.gamma(close) == pytest.approx(plain.gamma(close), rel=1e-9)
