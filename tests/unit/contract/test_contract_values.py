"""The contract's values: read by the work half as they were written, judged by the control half."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mlip_autopipec.contract.generate import (
    Alloy,
    Dimer,
    GateProbes,
    GenerateParameters,
    PhononProbes,
    PointDefect,
    Prototype,
    Squeezed,
    Surface,
)
from mlip_autopipec.contract.label import CalculateParameters, oracle_from
from mlip_autopipec.contract.oracle import Oracle
from mlip_autopipec.contract.select import Embedding, SelectionSettings, SelectParameters, Shares
from mlip_autopipec.contract.tasks import parameters_from
from mlip_autopipec.contract.train import PacemakerSettings, PacemakerStage, TrainParameters
from mlip_autopipec.contract.values import excerpt, given, plain, read, value
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.task import make_task, parameters_json
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle, Pseudopotential

PARAMETERS = SelectParameters(
    elements=("Cu", "Au"),
    acquisition="batch",
    shares=Shares(informed=0.7, d_optimal=0.2, random=0.1),
    candidates_max=7,
    audit_conditions={"Cu fcc 300 K nvt": 2},
    gamma_select=2.0,
    gamma_max=5000.0,
    distance_min_angstrom=1.2,
    embedding=Embedding(mode="cluster", charges={"Cu": 1.0}, electrons_max=900),
    random_conditions=("Cu fcc 300 K nvt",),
    seed=11,
)


def test_a_task_is_read_as_it_was_written() -> None:
    """Through JSON, with the standard library alone."""
    assert read(SelectParameters, json.loads(json.dumps(parameters_json(PARAMETERS)))) == PARAMETERS


def test_ids_are_those_of_before_the_contract() -> None:
    """Else a campaign that is under way would do its work again."""
    assert make_task(3, Phase.SELECTION, 0, PARAMETERS).id == "c003.selection.0000-b66ca4"


GENERATION = GenerateParameters(
    prototypes=(
        Prototype(
            structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6, repeat=(2, 2, 2)
        ),
    ),
    structures=4,
    test_structures=2,
    strain_max=0.05,
    rattle_angstrom=(0.05, 0.2),
    distance_min_angstrom=1.5,
    elements=("Cu", "Au"),
    variations=(
        Alloy(kind="alloy", count=3, elements=("Cu", "Au"), fractions={"Au": (0.2, 0.4)}),
        PointDefect(kind="vacancy", count=2),
        Surface(count=2),
        Dimer(count=3, distance_max_angstrom=4.0),
        Squeezed(count=2),
    ),
    probes=GateProbes(phonons=PhononProbes(oracle=True)),
    isolated_atom_box_angstrom=10.0,
    seed=3,
)


def test_of_several_kinds_each_is_read_as_its_own() -> None:
    """A variation is what its `kind` says; and the task has the name it had before the contract."""
    content = json.loads(json.dumps(parameters_json(GENERATION)))
    assert read(GenerateParameters, content) == GENERATION
    assert content == plain(GENERATION)
    assert make_task(0, Phase.GENERATION, 0, GENERATION).id == "c000.generation.0000-e08c97"


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"candidate_max": 3}, "no such key: candidate_max; there are acquisition, audit"),
        (
            {"embedding": {"mode": "sphere"}},
            "embedding.mode: expected one of periodic, cluster, whole, got 'sphere'",
        ),
        ({"shares": {"random": "half"}}, "shares.random: expected a float, got 'half'"),
        ({"audit": True}, "audit: expected a int, got True"),
        ({"elements": "Cu"}, "elements: expected a list, got 'Cu'"),
        ({"gamma_max": "high"}, "gamma_max: expected a float, got 'high'"),
        ({"audit_conditions": []}, r"audit_conditions: expected a mapping, got \[\]"),
    ],
)
def test_what_is_no_such_value_is_named(changed: dict[str, Any], complaint: str) -> None:
    """With the key, what was expected, and what stands there."""
    content = {**parameters_json(PARAMETERS), **changed}
    with pytest.raises(ValueError, match=complaint):
        read(SelectParameters, content)
    del content["elements"]
    with pytest.raises(ValueError, match=r"elements|expected|no such key"):
        read(SelectParameters, content)


def test_what_the_program_makes_itself_is_judged_too() -> None:
    """A task beyond a bound is none."""
    with pytest.raises(ValidationError, match="candidates_max"):
        make_task(
            3, Phase.SELECTION, 0, SelectParameters(**{**given(PARAMETERS), "candidates_max": 0})
        )


LINEAR = TrainParameters(
    elements=("Cu", "Au"),
    cutoff_angstrom="auto",
    functions_per_element="auto",
    energy_weight="auto",
    force_weight=1.0,
    stress_weight="auto",
    ridge="auto",
    smoothness="auto",
    energy_need_mev_per_atom=5.0,
    force_need_mev_per_angstrom=30.0,
    core_repulsion_angstrom=1.5,
    prototypes=(Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.6),),
    probes=GateProbes(phonons=PhononProbes()),
    potential_folder="potentials/002",
    dataset_file="dataset/002.extxyz",
    conditions=("Cu fcc 300 K nvt",),
    functions_min=40,
    earlier_cycles=(0, 1),
    reference_energies_ev={"Cu": -3.5, "Au": -2.0},
    seed=4,
)
PACEMAKER = TrainParameters(
    trainer="pacemaker",
    elements=("Cu",),
    cutoff_angstrom=5,
    functions_per_element=20,
    energy_weight=1,
    force_weight=1,
    ridge=1e-8,
    pacemaker=PacemakerSettings(
        python="/opt/py",
        densities=1,
        stages=(PacemakerStage(kappa=0.5, iterations=12),),
        ladder_step=10,
    ),
    from_scratch=True,
    potential_folder="potentials/000",
    dataset_file="dataset/000.extxyz",
    reference_energies_ev=None,
    seed=4,
)


@pytest.mark.parametrize(
    ("cycle", "asked", "name"),
    [
        (2, LINEAR, "c002.training.0000-2ad765"),
        (2, replace(LINEAR, any_cost=True), "c002.training.0000-78bac9"),
        (0, PACEMAKER, "c000.training.0000-76161f"),
        (0, replace(PACEMAKER, any_cost=True), "c000.training.0000-297513"),
    ],
)
def test_a_fit_is_read_as_it_was_written(cycle: int, asked: TrainParameters, name: str) -> None:
    """Numbers or `auto`.

    The task has the name of before there was the contract; what is of later is left out.
    """
    task = make_task(cycle, Phase.TRAINING, 0, asked)
    content = json.loads(json.dumps(parameters_json(task.parameters)))
    assert parameters_from(content) == task.parameters == asked
    assert content == plain(task.parameters)
    assert ("any_cost" in content) == asked.any_cost
    assert task.id == name


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"cutoff_angstrom": 0.0}, "cutoff_angstrom"),
        ({"ridge": "often"}, "ridge"),
        ({"stress_weight": -1.0}, "stress_weight"),
        ({"functions_per_element": 2.5}, "functions_per_element"),
        ({"pacemaker": {"stages": []}}, "stages"),
        ({"energy_need_mev_per_atom": 0.0}, "energy_need_mev_per_atom"),
    ],
)
def test_a_fit_beyond_its_bounds_is_none(changed: dict[str, Any], key: str) -> None:
    """`auto` or a number within bounds, and nothing else."""
    with pytest.raises(ValidationError, match=key):
        TypeAdapter(TrainParameters).validate_python({**plain(PACEMAKER), **changed})


def test_a_kind_that_nobody_knows_is_named() -> None:
    """With those that there are."""
    with pytest.raises(ValueError, match=r"kind: expected one of generate, .*, train, got 'dance'"):
        parameters_from({"kind": "dance"})


ORACLE = EspressoOracle(
    pseudo_folder="/upf",
    k_spacing_inverse_angstrom=0.2,
    pseudopotentials={"Al": Pseudopotential(file="Al.UPF")},
    starting_magnetization={"Al": 0.5},
    system={"lspinorb": True, "nbnd": 12, "input_dft": "pbe"},
    ecutwfc_ry=20.0,
    ecutrho_ry=80.0,
)


@pytest.mark.parametrize(
    "oracle", [ORACLE, replace(ORACLE, k_mesh="family"), AseOracle(calculator="a.B")]
)
def test_an_oracle_is_read_as_it_was_written(oracle: Oracle) -> None:
    """Whichever it is, within a task too; what is left out stands for itself.

    It is read as pydantic writes it, too.
    """
    asked = CalculateParameters(
        role=Role.TEST, origin="a test", oracle=oracle, force_max_ev_per_angstrom=50.0
    )
    content = json.loads(json.dumps(parameters_json(asked)))
    assert read(CalculateParameters, content) == asked
    assert content == plain(asked)
    assert oracle_from(plain(oracle)) == oracle
    assert ("k_mesh" in plain(oracle)) == (oracle == replace(ORACLE, k_mesh="family"))


def test_what_stands_in_a_mapping_has_bounds_too() -> None:
    """A moment is a part of the valence."""
    judged = TypeAdapter(EspressoOracle)
    with pytest.raises(ValidationError, match="starting_magnetization"):
        judged.validate_python({**plain(ORACLE), "starting_magnetization": {"Al": 1.5}})


@pytest.mark.parametrize(
    "kind",
    [Embedding, Shares, SelectionSettings, SelectParameters, PacemakerSettings, PacemakerStage],
)
def test_every_field_says_what_it_is(kind: type) -> None:
    """The reference is made of it; what a task alone has may go without."""
    schema = TypeAdapter(kind).json_schema()["properties"]
    for each in fields(kind):
        assert "description" in schema[each.name] or kind is SelectParameters, each.name


def test_an_excerpt_passes_over_what_it_does_not_know() -> None:
    """What a later version has written more is no fault there; what it lacks is one."""

    @excerpt
    class Part:
        pid: int

    @value
    class Whole(Part):
        host: str

    assert read(Part, {"pid": 7, "host": "x"}) == Part(pid=7)
    wrong: list[object] = [{"host": "x"}, {"pid": "7"}, {"pid": True}, [], None]
    for content in wrong:
        with pytest.raises(ValueError, match=r"Part|expected"):
            read(Part, content)
    with pytest.raises(ValueError, match="no such key: boot"):
        read(Whole, {"pid": 7, "host": "x", "boot": 1})
