"""The first labels: an oracle that contradicts itself is found by its figures.

A person is asked before there are more.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.emt import EMT
from kit.judged import judged_value
from kit.stages import ADA

from mlip_autopipec.config.schemas.phases import FirstLabelsSection
from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.label import CalculateMetrics, OracleNumbers
from mlip_autopipec.contract.results.structure import PropertyCell
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.digest import CalculationDigest, OracleFigure
from mlip_autopipec.data_models.state import TaskStatus
from mlip_autopipec.data_models.task import parameters_json
from mlip_autopipec.orchestration.explain import explain
from mlip_autopipec.orchestration.first_labels import CellLabel, _stability, contradiction, figures
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.codes.measuring import Cell

SECTION = FirstLabelsSection()
CRYSTALS = {
    "Cu fcc": Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6),
    "Ni hcp": Prototype(structure="hcp", elements=("Ni",), lattice_constant_angstrom=2.48),
    "CuAu l1_0": Prototype(
        structure="l1_0", elements=("Cu", "Au"), lattice_constant_angstrom=3.88, c_over_a=0.95
    ),
    "Ag sc": Prototype(structure="sc", elements=("Ag",), lattice_constant_angstrom=2.75),
}
Numbers = tuple[float, np.ndarray, np.ndarray]
#: Energy in eV, forces in eV/Å and stress in eV/Å³ of a cell, made wrong.
Fault = Callable[[Atoms, Numbers], Numbers]


def right(_: Atoms, numbers: Numbers) -> Numbers:
    return numbers


def mesh_steps(atoms: Atoms, numbers: Numbers) -> Numbers:
    """An energy that falls by 20 meV/atom where a cell is longer than for one more k-point."""
    energy, forces, stress = numbers
    steps = len(atoms) == 4 and atoms.cell.lengths()[0] > 3.62
    return energy - 0.02 * len(atoms) * steps, forces, stress


def stress_is_off(_: Atoms, numbers: Numbers) -> Numbers:
    energy, forces, stress = numbers
    return energy, forces, 0.6 * stress


def shear_is_off(_: Atoms, numbers: Numbers) -> Numbers:
    """The shear stress has the wrong sign."""
    energy, forces, stress = numbers
    return energy, forces, stress * np.array([1, 1, 1, -1, -1, -1])


def rest_pressure(_: Atoms, numbers: Numbers) -> Numbers:
    """As of a cutoff that is too low: Pulay stress of 3 GPa, the same in every cell."""
    energy, forces, stress = numbers
    return energy, forces, stress + np.array([1, 1, 1, 0, 0, 0]) * 3 * units.GPa


def cells_differ(atoms: Atoms, numbers: Numbers) -> Numbers:
    energy, forces, stress = numbers
    return energy + 0.022 * len(atoms) * (len(atoms) > 4), forces, stress


def forces_differ(atoms: Atoms, numbers: Numbers) -> Numbers:
    energy, forces, stress = numbers
    return energy, forces * (1.1 if len(atoms) > 4 else 1.0), stress


def labels(crystal: str, fault: Fault = right) -> list[CellLabel]:
    """Every property cell of a crystal, as Generation makes and the oracle's tasks label them."""
    prototype = CRYSTALS[crystal]
    cells = [*properties.cells(prototype, GateProbes()), *properties.twins(prototype)]
    return [label(cell, fault) for cell in cells]


def label(cell: Cell, fault: Fault) -> CellLabel:
    atoms = cell.atoms.copy()
    atoms.calc = EMT()
    energy, forces, stress = fault(
        atoms, (atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())
    )
    numbers: dict[str, Any] = {
        "volume_angstrom3": atoms.get_volume(),
        "stress_gpa": (stress / units.GPa).tolist(),
        "forces_ev_per_angstrom": forces[:8].tolist(),
    }
    about = judged_value(PropertyCell, cell.about)
    return CellLabel(about, energy, len(atoms), judged_value(OracleNumbers, numbers))


def wrong(
    crystal: str, fault: Fault = right, section: FirstLabelsSection = SECTION
) -> dict[str, list[str]]:
    """The contradictions, by check."""
    found: dict[str, list[str]] = {}
    for figure in figures(crystal, labels(crystal, fault), section):
        if figure.contradiction:
            found.setdefault(figure.check, []).append(figure.message)
    return found


@pytest.mark.parametrize("crystal", ["Cu fcc", "Ni hcp", "CuAu l1_0"])
def test_an_oracle_that_agrees_with_itself_is_let_be(crystal: str) -> None:
    """Every check is made, of cubic, hexagonal and tetragonal crystals, and none finds a thing."""
    found = list(figures(crystal, labels(crystal), SECTION))
    checks = {
        "energy in two cells",
        "forces in two cells",
        "pressure",
        "elastic constant",
        "stability",
        "bulk modulus",
    }
    assert {figure.check for figure in found} == checks
    assert contradiction(found) is None
    by_check = {figure.check: figure for figure in found}
    assert (by_check["energy in two cells"].value or 0) < 1e-3
    assert (by_check["pressure"].value or 0) < 0.05
    assert (by_check["bulk modulus"].value or 0) < 0.03


@pytest.mark.parametrize(
    ("fault", "checks"),
    [
        (mesh_steps, {"pressure", "elastic constant"}),
        (stress_is_off, {"pressure", "bulk modulus"}),
        (shear_is_off, {"elastic constant", "stability"}),
        (rest_pressure, {"pressure"}),
        (cells_differ, {"energy in two cells"}),
        (forces_differ, {"forces in two cells"}),
    ],
)
def test_each_contradiction_is_found_by_its_check_with_both_figures(
    fault: Fault, checks: set[str]
) -> None:
    """And by no other: a person learns from which of them fails."""
    found = wrong("Cu fcc", fault)
    assert set(found) == checks
    assert all(
        "Cu fcc" in message and ("is allowed" in message or "not stable" in message)
        for each in found.values()
        for message in each
    )


def test_both_figures_are_told() -> None:
    """As a person has to judge them."""
    (message,) = wrong("Cu fcc", cells_differ)["energy in two cells"]
    assert message == (
        "Cu fcc: cells of 4 and 8 atoms of the same crystal differ by 22.0 meV/atom (at most 2"
        " meV/atom is allowed)"
    )
    (message,) = wrong("Cu fcc", stress_is_off)["bulk modulus"]
    assert "GPa by volumes and" in message
    assert "GPa by elastic constants (40% apart, at most 15% is allowed)" in message


CUBIC = {(0, 0): 2.0, (1, 0): 1.0, (3, 3): 0.5}
UNIAXIAL = {**CUBIC, (2, 0): 1.0, (2, 2): 1.0, (5, 5): 0.5}


@pytest.mark.parametrize(
    ("constants", "what"),
    [
        (CUBIC, ""),
        (CUBIC | {(1, 0): -0.8}, ""),
        (CUBIC | {(0, 0): 1.0}, "C11 (1.0 GPa) is not above |C12| (1.0 GPa)"),
        (CUBIC | {(1, 0): -2.5}, "is not above |C12| (2.5 GPa)"),
        (CUBIC | {(3, 3): -0.1}, "C44 (-0.1 GPa) is not positive"),
        (CUBIC | {(1, 0): -1.0}, "C11 + 2 C12 (0.0 GPa) is not positive"),
        (UNIAXIAL, ""),
        (UNIAXIAL | {(2, 2): 0.5}, "2 C13² is not below C33 (C11 + C12)"),
        (UNIAXIAL | {(5, 5): -0.1}, "C66 (-0.1 GPa) is not positive"),
    ],
)
def test_stable_is_what_born_calls_so(constants: dict[tuple[int, int], float], what: str) -> None:
    """Mouhat and Coudert, Phys. Rev. B 90, 224104 (2014).

    The crystals are cubic, and hexagonal or tetragonal.
    """
    (figure,) = _stability("Cu fcc", constants, SECTION)
    assert figure.contradiction is bool(what)
    assert what in figure.message


def test_a_crystal_that_is_not_stable_is_told_unless_that_is_known() -> None:
    """Simple cubic silver by EMT is really so; the site file may say it."""
    found = wrong("Ag sc")
    assert set(found) == {"stability"}
    assert "not above |C12|" in found["stability"][0] or "not positive" in found["stability"][0]
    assert "calculation.first_labels.unstable" in found["stability"][0]
    assert wrong("Ag sc", section=FirstLabelsSection(unstable=("Ag sc",))) == {}


def test_labels_that_failed_leave_the_checks_that_can_be_made() -> None:
    """Without the unstrained cell, without one of a pair, and with nothing at all."""
    every = labels("Cu fcc")
    some = [each for each in every if each.cell.scale != 1.0 or each.cell.kind != "volume"]
    some = [
        item
        for item in some
        if item.cell.kind != "twin" and not (item.cell.axis == 3 and item.cell.strain > 0)
    ]
    assert {figure.check for figure in figures("Cu fcc", some, SECTION)} == {
        "pressure",
        "bulk modulus",
    }
    assert list(figures("Cu fcc", [], SECTION)) == []


# --- the pause ------------------------------------------------------------------------------------


def campaign(**sections: dict[str, Any]) -> Walk:
    """A campaign of today, at the begin of its first round of labels."""
    config = copper_config(**sections)
    walk = Walk(config, phase_runners(config), k_mesh="family")
    walk.planned(Phase.CALCULATION)
    return walk


def roles(walk: Walk, command: cm.BeginBatch) -> set[Role]:
    parameters = (walk.state.tasks[name].task.parameters for name in command.tasks)
    return {each.role for each in parameters if isinstance(each, CalculateParameters)}


def label_the_first(walk: Walk, off_ev: float = 0.0) -> None:
    """Walk to where the property cells are labelled, the second of them with another energy."""
    (command,) = (each for each in walk.commands() if isinstance(each, cm.BeginBatch))
    assert roles(walk, command) == {Role.PROPERTY}
    walk.until(lambda state: any(batch.job_id is not None for batch in state.batches.values()))
    (batch,) = walk.state.batches.values()
    for index in sorted(batch.live):
        ended = walk.ended(batch.job_name, index)
        metrics = ended.outcome.metrics
        assert isinstance(metrics, CalculateMetrics)
        changed = replace(metrics, energy_ev=metrics.energy_ev + index * off_ev)
        walk.tell(
            ended.model_copy(
                update={"outcome": ended.outcome.model_copy(update={"metrics": changed})}
            )
        )


def test_the_property_cells_are_labelled_first_and_then_the_rest() -> None:
    """An oracle that agrees with itself costs no pause, and its figures stand in the digest."""
    walk = campaign()
    label_the_first(walk)
    (command,) = walk.commands()
    assert isinstance(command, cm.BeginBatch)
    assert Role.PROPERTY not in roles(walk, command)
    walk.planned(Phase.TRAINING)
    (digest,) = (
        e.digest
        for e in walk.events
        if isinstance(e, ev.PhaseEnded) and e.digest.phase == "calculation"
    )
    assert isinstance(digest, CalculationDigest)
    assert [figure.check for figure in digest.oracle] == [
        "energy in two cells",
        "forces in two cells",
    ]
    assert walk.state.doubt is None


def test_a_contradiction_pauses_the_campaign_and_a_person_may_go_on() -> None:
    """With its figures in status, explain and the journal.

    Once accepted, it pauses no second time.
    """
    walk = campaign()
    label_the_first(walk, off_ev=0.7)
    (command,) = walk.commands()
    assert isinstance(command, cm.DoubtOracle)
    paused = walk.follow(command)
    assert isinstance(paused, ev.Paused)
    walk.tell(ev.EVENT_ADAPTER.validate_json(paused.model_dump_json()))
    assert walk.state.status == "paused"
    assert walk.commands() == ()
    for message in (describe(paused), *explain(walk.state, walk.policy, walk.now)[1:2]):
        assert "the check of the first labels" in message
        assert "differ by 21.9 meV/atom" in message
    assert "autopipecctl resume --reason" in explain(walk.state, walk.policy, walk.now)[1]
    statuses = [record.status for record in walk.state.own_tasks]
    assert statuses.count(TaskStatus.READY) == 3
    walk.tell(ev.Resumed(at=walk.now, by=ADA, reason="a known shift"))
    doubt = walk.state.doubt
    assert doubt is not None
    assert (doubt.accepted_by, doubt.accepted_because) == (ADA, "a known shift")
    assert any(isinstance(figure, OracleFigure) and figure.contradiction for figure in doubt.oracle)
    (command,) = walk.commands()
    assert isinstance(command, cm.BeginBatch)
    walk.planned(Phase.TRAINING)


def test_the_tolerances_are_the_site_files_and_the_check_may_be_left_out() -> None:
    """A coarse oracle for a demonstration need not be asked about.

    Without the check all labels go at once.
    """
    walk = campaign(calculation={**ORACLE, "first_labels": {"energy_max_mev_per_atom": 30}})
    label_the_first(walk, off_ev=0.7)
    assert not any(isinstance(each, cm.DoubtOracle) for each in walk.commands())
    walk = campaign(calculation={**ORACLE, "first_labels": {"check": False}})
    (command,) = walk.commands()
    assert isinstance(command, cm.BeginBatch)
    assert roles(walk, command) == {Role.TRAIN, Role.TEST}


ORACLE: dict[str, Any] = {"oracle": {"kind": "ase", "calculator": "ase.calculators.emt.EMT"}}


def test_a_property_cell_that_fails_for_good_holds_nothing_up() -> None:
    """What can't be compared is not compared."""
    walk = campaign()
    batch = walk.submitted(Phase.CALCULATION)
    walk.tell(walk.ended(batch.job_name, 0, Reason.NUMERICAL), walk.ended(batch.job_name, 1))
    walk.until(
        lambda state: any(record.status is TaskStatus.QUARANTINED for record in state.own_tasks)
    )
    (command,) = walk.commands()
    assert isinstance(command, cm.BeginBatch)
    assert roles(walk, command) == {Role.TRAIN, Role.TEST}


def test_no_round_closes_on_property_cells_alone() -> None:
    """They may be a quorum by number, but no fit can be made of them."""
    walk = campaign(calculation={**ORACLE, "round": {"quorum": 0.3}})
    label_the_first(walk)
    assert not any(isinstance(each, cm.DigestPhase) for each in walk.commands())


def test_a_campaign_that_began_before_asks_for_no_twins() -> None:
    """Its tasks keep the names that they have on the site."""
    config = copper_config()
    before = Walk(config, phase_runners(config)).planned(Phase.GENERATION).own_tasks[0].task
    today = (
        Walk(config, phase_runners(config), k_mesh="family")
        .planned(Phase.GENERATION)
        .own_tasks[0]
        .task
    )
    assert "twins" not in parameters_json(before.parameters)
    assert parameters_json(today.parameters)["twins"] is True
