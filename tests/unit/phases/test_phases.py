"""plan and digest of every phase, along a campaign that is walked by hand."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.explore import Continuation, ExploreParameters, StructureFile, Walker
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.train import Calibration, TrainMetrics
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.digest import (
    CalculationDigest,
    Digest,
    ExplorationDigest,
    GammaLevels,
    GenerationDigest,
    Remedy,
    SelectionDigest,
    TrainingDigest,
)
from mlip_autopipec.data_models.state import Stage, TaskRecord, WorkflowState
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import BugError, OperatorError
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.phases.common import artefact
from mlip_autopipec.phases.seeds import seed_for
from mlip_autopipec.ports import PhaseRunner
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.physics import file_ref
from mlip_autopipec.testing.walk import Walk

D = TypeVar("D", bound=Digest)
CONFIG = copper_config(
    site={"resources": {"training": {"cores": 4, "memory": "8 GiB", "walltime": "2 h"}}}
)
RUNNERS: Mapping[Phase, PhaseRunner] = phase_runners(CONFIG)


def walk(config: WorkflowConfig = CONFIG) -> Walk:
    """A campaign that has just been created."""
    return Walk(config, phase_runners(config))


def tasks(state: WorkflowState) -> list[Task]:
    """What the current phase has planned."""
    return [record.task for record in state.tasks.values()]


def digest(campaign: Walk, phase: Phase, cycle: int, kind: type[D]) -> D:
    """The digest of a phase, when all its tasks are done."""
    campaign.planned(phase, cycle)
    ended = campaign.until(lambda state: state.stage is Stage.BETWEEN)
    found = ended.digests[phase]
    assert isinstance(found, kind)
    return found


# --- generation -----------------------------------------------------------------------------------


def test_generation_is_one_task_with_the_user_s_numbers() -> None:
    """Structures, strain, rattle and distances as in site.yaml; a seed of its own."""
    (task,) = tasks(walk().planned(Phase.GENERATION))
    parameters = task.parameters
    assert isinstance(parameters, GenerateParameters)
    assert (parameters.structures, parameters.test_structures, parameters.rattle_angstrom) == (
        2,
        1,
        (0.05, 0.15),
    )
    assert parameters.distance_min_angstrom == 1.5
    assert parameters.seed == seed_for(7, "generation")


def test_generation_offers_every_structure() -> None:
    """Two to train on, one to test with."""
    found = digest(walk(), Phase.GENERATION, 0, GenerationDigest)
    assert [structure.role for structure in found.structures] == [Role.TRAIN, Role.TRAIN, Role.TEST]


# --- calculation ----------------------------------------------------------------------------------


def test_every_structure_gets_one_calculation() -> None:
    """In order, with its role and its origin, reading its own file."""
    campaign = walk()
    structures = digest(campaign, Phase.GENERATION, 0, GenerationDigest).structures
    planned = tasks(campaign.planned(Phase.CALCULATION))
    for structure, task in zip(structures, planned, strict=True):
        assert isinstance(task.parameters, CalculateParameters)
        assert (task.parameters.role, task.parameters.origin) == (structure.role, structure.origin)
        assert [(item.name, item.file) for item in task.inputs] == [("structure", structure.file)]


def test_a_calculation_that_failed_for_good_is_counted_and_left_out() -> None:
    """The labels are those that there are."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.tell(campaign.ended(batch.job_name, 1, Reason.NUMERICAL))
    found = digest(campaign, Phase.CALCULATION, 0, CalculationDigest)
    assert [label.task for label in found.labels] == [batch.tasks[0], batch.tasks[2]]
    assert found.failed == 1


# --- training -------------------------------------------------------------------------------------


def test_the_first_training_reads_every_label_and_nothing_else() -> None:
    """There is no potential to compare with, and reference energies are to be found."""
    campaign = walk()
    labels = digest(campaign, Phase.CALCULATION, 0, CalculationDigest).labels
    (task,) = tasks(campaign.planned(Phase.TRAINING))
    assert isinstance(task.parameters, TrainParameters)
    assert [(item.name, item.file) for item in task.inputs] == [
        ("label", label.file) for label in labels
    ]
    assert task.parameters.reference_energies_ev is None
    assert (task.parameters.potential_folder, task.parameters.dataset_file) == (
        "potentials/000",
        "dataset/000.extxyz",
    )
    assert task.resources == Resources(cores=4, memory_mib=8192, walltime_s=7200)


ALONE = copper_config(
    training={"reference_energies_ev": "isolated_atoms", "isolated_atom_box_angstrom": 10}
)


def test_isolated_atoms_are_labelled_once_and_their_energies_pinned() -> None:
    """One per element, after the others and in the bootstrap cycle only.

    Every fit is beside their energies.
    """
    campaign = walk(ALONE)
    (generation,) = tasks(campaign.planned(Phase.GENERATION))
    assert isinstance(generation.parameters, GenerateParameters)
    assert generation.parameters.isolated_atom_box_angstrom == 10
    found = digest(campaign, Phase.CALCULATION, 0, CalculationDigest)
    assert [label.role for label in found.labels] == [
        Role.TRAIN,
        Role.TRAIN,
        Role.TEST,
        Role.ISOLATED_ATOM,
    ]
    assert found.isolated_atoms_ev == {"Cu": -1.5}
    for cycle in (0, 1, 2):
        (task,) = tasks(campaign.planned(Phase.TRAINING, cycle))
        assert isinstance(task.parameters, TrainParameters)
        assert task.parameters.reference_energies_ev == {"Cu": -1.5}
        if cycle:
            later = campaign.state.digests[Phase.CALCULATION]
            assert isinstance(later, CalculationDigest)
            assert later.isolated_atoms_ev == {}
            assert Role.ISOLATED_ATOM not in {label.role for label in later.labels}


def test_energies_by_hand_take_no_label() -> None:
    """They are used from the first fit on."""
    campaign = walk(copper_config(training={"reference_energies_ev": {"Cu": -2.25}}))
    (task,) = tasks(campaign.planned(Phase.TRAINING))
    assert isinstance(task.parameters, TrainParameters)
    assert task.parameters.reference_energies_ev == {"Cu": -2.25}
    assert {
        structure.role
        for structure in digest(walk(), Phase.GENERATION, 0, GenerationDigest).structures
    } == {
        Role.TRAIN,
        Role.TEST,
    }


def test_isolated_atoms_that_are_asked_for_too_late_are_no_silent_fit() -> None:
    """Generation was planned without them: a person is told, and nothing is fitted instead."""
    state = walk().until(lambda state: Phase.CALCULATION in state.digests)
    with pytest.raises(
        OperatorError, match=r"no isolated atom of Cu was labelled.* or give the energies by hand"
    ):
        phase_runners(ALONE)[Phase.TRAINING].plan(state)


def test_pinned_energies_outlive_a_change_of_the_site_file() -> None:
    """Energies of two cycles never mean different things."""
    campaign = walk()
    state = campaign.until(
        lambda state: state.cycle_index == 1 and Phase.CALCULATION in state.digests
    )
    (task,) = phase_runners(ALONE)[Phase.TRAINING].plan(state)
    assert isinstance(task.parameters, TrainParameters)
    assert task.parameters.reference_energies_ev == {"Cu": -1.0}


def test_a_later_training_reads_all_data_and_the_potentials_to_compare_with() -> None:
    """Old data sets, new labels and both files of the current potential.

    It also reads the earlier ones and pinned reference energies.
    """
    campaign = walk()
    labels = digest(campaign, Phase.CALCULATION, 2, CalculationDigest).labels
    (task,) = tasks(campaign.planned(Phase.TRAINING, cycle=2))
    read: dict[str, list[str]] = {}
    for item in task.inputs:
        read.setdefault(item.name, []).append(item.file.path)
    assert read == {
        "dataset": ["dataset/000.extxyz", "dataset/001.extxyz"],
        "label": [label.file.path for label in labels],
        "earlier_yaml": ["potentials/000/potential.yaml", "potentials/001/potential.yaml"],
        "current_yaml": ["potentials/001/potential.yaml"],
        "current_asi": ["potentials/001/potential.asi"],
    }
    assert isinstance(task.parameters, TrainParameters)
    assert task.parameters.earlier_cycles == (0, 1)
    assert task.parameters.reference_energies_ev == {"Cu": -1.0}


def test_a_long_campaign_measures_no_more_than_a_curve_s_worth_of_earlier_potentials() -> None:
    """However many were promoted, at most a dozen are measured again, the first always included."""
    campaign = walk()
    state = campaign.planned(Phase.TRAINING, cycle=1)
    (closed,) = state.cycles
    for promoted in (11, 12, 13, 100):
        many = tuple(closed.model_copy(update={"cycle": cycle}) for cycle in range(promoted))
        (task,) = RUNNERS[Phase.TRAINING].plan(state.model_copy(update={"cycles": many}))
        assert isinstance(task.parameters, TrainParameters)
        assert len(task.parameters.earlier_cycles) <= 12
        assert task.parameters.earlier_cycles[0] == 0
        assert [item.name for item in task.inputs].count("earlier_yaml") == len(
            task.parameters.earlier_cycles
        )


def test_a_better_fit_is_promoted() -> None:
    """The digest carries the potential, the data set and the gate's words."""
    campaign = walk()
    found = digest(campaign, Phase.TRAINING, 0, TrainingDigest)
    assert (found.promoted, found.gate) == (True, "the first potential")
    assert campaign.state.potential == found.potential
    assert (found.potential.folder, found.potential.file.path) == (
        "potentials/000",
        "potentials/000/potential.yaml",
    )
    assert found.dataset.path == "dataset/000.extxyz"


# --- exploration ----------------------------------------------------------------------------------


def test_every_condition_has_its_walkers() -> None:
    """One walker per temperature, pressure and replica, all from different seeds."""
    group = {
        "prototype": {"structure": "fcc", "elements": ["Cu"], "lattice_constant_angstrom": 3.61},
        "ensemble": "npt",
        "temperatures_kelvin": [300, 900],
        "pressures_gpa": [0, 5],
        "replicas": 2,
        "steps": 1000,
    }
    config = copper_config(exploration={"walkers": [group]})
    planned = tasks(walk(config).planned(Phase.EXPLORATION, cycle=1))
    walkers = [
        task.parameters.walker for task in planned if isinstance(task.parameters, ExploreParameters)
    ]
    conditions = [(walker.temperature_kelvin, walker.pressure_gpa) for walker in walkers]
    assert conditions == [
        (300, 0),
        (300, 0),
        (300, 5),
        (300, 5),
        (900, 0),
        (900, 0),
        (900, 5),
        (900, 5),
    ]
    assert len({walker.seed for walker in walkers}) == 8


def test_each_cycle_walks_from_new_seeds_with_the_current_potential() -> None:
    """The same ladder again, somewhere else; γ needs both files of the potential."""
    campaign = walk()
    first = tasks(campaign.planned(Phase.EXPLORATION, cycle=1))
    potential = campaign.state.potential
    assert potential is not None
    for task in first:
        assert [(item.name, item.file) for item in task.inputs] == [
            ("potential_yaml", potential.files["yaml"]),
            ("potential_asi", potential.files["asi"]),
        ]
    second = tasks(campaign.planned(Phase.EXPLORATION, cycle=2))
    seeds = {
        task.parameters.walker.seed
        for task in first + second
        if isinstance(task.parameters, ExploreParameters)
    }
    assert len(seeds) == len(first) + len(second)


def test_a_walker_that_failed_for_good_has_no_ending_and_no_frames() -> None:
    """It is neither quiet nor halted, and the others are heard."""
    campaign = walk()
    batch = campaign.submitted(Phase.EXPLORATION, cycle=1)
    campaign.tell(campaign.ended(batch.job_name, 0, Reason.BAD_INPUT))
    found = digest(campaign, Phase.EXPLORATION, 1, ExplorationDigest)
    assert [walker.ending is None for walker in found.walkers] == [True, False, False]
    assert found.walkers[0].label == "Cu fcc 300 K nvt"
    assert len(found.frames) == 2
    assert not found.quiet


@pytest.mark.parametrize("ending", Ending)
def test_a_cycle_is_quiet_only_if_every_walker_completed(ending: Ending) -> None:
    """One halt or explosion, and it is not."""
    campaign = walk()
    batch = campaign.submitted(Phase.EXPLORATION, cycle=1)
    for index in range(3):
        outcome = campaign.outcome(batch.job_name, index)
        assert isinstance(outcome.metrics, ExploreMetrics)
        update: dict[str, Any] = {
            "ending": ending if index == 1 else Ending.COMPLETED,
            "steps": outcome.metrics.steps_planned,
        }
        update["gamma_max"] = 9.9
        metrics = replace(outcome.metrics, **update)
        campaign.tell(
            ev.TaskEnded(at=campaign.now, outcome=outcome.model_copy(update={"metrics": metrics}))
        )
    found = digest_now(campaign)
    assert isinstance(found, ExplorationDigest)
    assert found.quiet is (ending is Ending.COMPLETED)
    assert found.halts == (ending is Ending.HALTED)


def test_a_walk_of_high_gamma_is_not_quiet_though_it_completed() -> None:
    """γ halt begins far above the level up to which a walk is quiet, and comes down as γ does."""
    campaign = walk(copper_config(convergence={"cycles_max": 9}))
    seen = []
    for cycle, gamma_max in enumerate((4000.0, 60.0, 11.0, 2.0, 1.0), 1):
        found = explored(campaign, cycle, *[Ending.COMPLETED] * 3, gamma_max=gamma_max)
        assert found.levels is not None
        seen.append((found.levels.halt, found.levels.quiet, found.loud, found.quiet))
    assert seen == [
        (100_000, 10, 3, False),
        (40_000, 10, 3, False),
        (600, 10, 3, False),
        (110, 10, 0, True),
        (20, 10, 0, True),
    ]


def test_a_guard_that_struck_brings_gamma_halt_below_where_it_struck() -> None:
    """By half, but never below the level up to which a walk is quiet."""
    campaign = walk(copper_config(convergence={"cycles_max": 9}))
    seen = []
    for cycle, gamma_max in enumerate((4000.0, 30.0, 9.0, 9.0), 1):
        ends = [Ending.EXPLODED if cycle < 3 else Ending.COMPLETED] * 3
        found = explored(campaign, cycle, *ends, gamma_max=gamma_max)
        assert found.levels is not None
        seen.append(found.levels.halt)
    assert seen == [100_000, 2000, 15, 15]


def digest_now(campaign: Walk) -> Digest:
    """What the phase that is through means."""
    ended = campaign.follow(campaign.commands()[0])
    assert isinstance(ended, ev.PhaseEnded)
    return ended.digest


def test_a_target_in_force_sets_the_levels_of_a_cycle() -> None:
    """Exploration and Selection agree, and the digest says what set them.

    Without a calibration nothing is changed.
    """
    config = copper_config(
        exploration={"force_error_target_mev_per_angstrom": 50}, selection=WINDOW
    )
    campaign, runners = walk(config), phase_runners(config)
    plain = walk(copper_config(selection=WINDOW)).planned(Phase.EXPLORATION, 1)
    state = campaign.planned(Phase.EXPLORATION, 1)
    assert [task.id for task in tasks(state)] == [task.id for task in tasks(plain)]
    calibrated = Calibration(element="Cu", pairs=40, curve=((1.0, 10.0), (4.0, 70.0)))
    cycles = (
        *state.cycles[:-1],
        state.cycles[-1].model_copy(update={"calibration": (calibrated,)}),
    )
    found = digest(campaign, Phase.EXPLORATION, 1, ExplorationDigest)
    assert found.levels == GammaLevels(select=2, halt=10, force_error_target_mev_per_angstrom=50)
    replanned = runners[Phase.EXPLORATION].plan(
        state.model_copy(update={"cycles": cycles, "tasks": {}})
    )
    for task in replanned:
        assert isinstance(task.parameters, ExploreParameters)
        assert (task.parameters.gamma_select, task.parameters.gamma_halt) == (3.0, 15.0)
    records = {task.id: TaskRecord(task=task) for task in replanned}
    walked = state.model_copy(update={"cycles": cycles, "tasks": records})
    levels = runners[Phase.EXPLORATION].digest(walked)
    assert isinstance(levels, ExplorationDigest)
    assert levels.levels == GammaLevels(
        select=3, halt=15, force_error_target_mev_per_angstrom=50, expected_at=3
    )


def test_levels_are_those_that_were_walked_at() -> None:
    """A site file that changed while the walkers were on their way counts for the next cycle."""
    campaign = walk(copper_config(selection=WINDOW))
    changed = phase_runners(
        copper_config(exploration={"gamma_select": 4, "gamma_halt": 30}, selection=WINDOW)
    )
    found = changed[Phase.EXPLORATION].digest(campaign.planned(Phase.EXPLORATION, 1))
    assert isinstance(found, ExplorationDigest)
    assert found.levels == GammaLevels(select=2, halt=10)
    digest(campaign, Phase.EXPLORATION, 1, ExplorationDigest)
    (selection,) = changed[Phase.SELECTION].plan(campaign.state)
    assert isinstance(selection.parameters, SelectParameters)
    assert selection.parameters.gamma_select == 2.0


#: The way of the literature: γ halts early, stages open one by one, and pace_select alone chooses.
WINDOW = {"acquisition": "gamma_window"}
LADDER = {
    "prototype": {"structure": "fcc", "elements": ["Cu"], "lattice_constant_angstrom": 3.61},
    "temperatures_kelvin": [300],
    "replicas": 2,
    "steps": 1000,
    "stages": [
        {"temperatures_kelvin": [900], "steps": 5000},
        {"ensemble": "npt", "barostat": "triclinic"},
    ],
}


def explored(
    campaign: Walk,
    cycle: int,
    *endings: Ending,
    restart_step: int | None = 200,
    gamma_max: float = 1.0,
) -> ExplorationDigest:
    """The digest of a cycle's Exploration whose walkers ended so, in the order of the plan.

    Halts are after 400 steps.
    """
    batch = campaign.submitted(Phase.EXPLORATION, cycle)
    assert len(batch.tasks) == len(endings)
    for index, ending in enumerate(endings):
        outcome = campaign.outcome(batch.job_name, index)
        assert isinstance(outcome.metrics, ExploreMetrics)
        halted = ending is Ending.HALTED
        steps = 400 if halted else outcome.metrics.steps_planned
        update: dict[str, Any] = {
            "ending": ending,
            "steps": steps,
            "restart_step": restart_step if halted else None,
        }
        update["gamma_max"] = gamma_max
        artefacts = {"frames": outcome.artefacts["frames"]}
        if halted and restart_step is not None:
            artefacts["restart"] = file_ref(f"cycles/{cycle}/{index}/restart.extxyz")
        whole = outcome.model_copy(
            update={"metrics": replace(outcome.metrics, **update), "artefacts": artefacts}
        )
        campaign.tell(ev.TaskEnded(at=campaign.now, outcome=whole))
    found = digest_now(campaign)
    assert isinstance(found, ExplorationDigest)
    campaign.tell(ev.PhaseEnded(at=campaign.now, cycle=cycle, digest=found))
    return found


def walkers_of(state: WorkflowState) -> list[Walker]:
    """Those that the current phase has planned."""
    return [
        task.parameters.walker
        for task in tasks(state)
        if isinstance(task.parameters, ExploreParameters)
    ]


def test_a_stage_opens_when_every_walker_of_the_one_before_has_completed() -> None:
    """Halts keep it shut, and the stages before are walked again.

    Only the whole ladder completed is quiet.
    """
    config = copper_config(
        exploration={"walkers": [LADDER]}, convergence={"cycles_max": 9}, selection=WINDOW
    )
    campaign = walk(config)
    done, halt = Ending.COMPLETED, Ending.HALTED
    seen = []
    for cycle, endings in enumerate(
        [
            (done, halt),
            (done, done),
            (done, done, halt, done),
            (halt, done, done, done),
            (done,) * 6,
            (done,) * 6,
        ],
        1,
    ):
        campaign.planned(Phase.EXPLORATION, cycle)
        stages = [
            (w.stage, w.temperature_kelvin, w.steps, w.ensemble) for w in walkers_of(campaign.state)
        ]
        found = explored(campaign, cycle, *endings)
        (ladder,) = found.ladders
        seen.append((len(set(stages)), ladder.walked, ladder.open, found.quiet))
    assert seen == [
        (1, 1, 1, False),
        (1, 1, 2, False),
        (2, 2, 2, False),
        (2, 2, 3, False),
        (3, 3, 3, True),
        (3, 3, 3, True),
    ]
    assert stages[::2] == [(0, 300, 1000, "nvt"), (1, 900, 5000, "nvt"), (2, 900, 5000, "npt")]


def test_a_batch_is_chosen_from_the_whole_ladder() -> None:
    """Every stage is open from the first cycle: the choice has to see every condition."""
    campaign = walk(copper_config(exploration={"walkers": [LADDER]}))
    campaign.planned(Phase.EXPLORATION, 1)
    assert [walker.stage for walker in walkers_of(campaign.state)] == [0, 0, 1, 1, 2, 2]
    parameters = tasks(campaign.state)[0].parameters
    assert isinstance(parameters, ExploreParameters)
    assert (parameters.pool_frames, parameters.gamma_grace_steps) == (30, 5 * parameters.stride)


def test_a_halted_walker_goes_on_where_it_was_last_good() -> None:
    """From its restart file, for as many steps as any; the others start anew.

    Steps before it are counted apart.
    """
    config = copper_config(
        exploration={"walkers": [{**LADDER, "stages": []}]}, convergence={"cycles_max": 9}
    )
    campaign = walk(config)
    first = explored(campaign, 1, Ending.COMPLETED, Ending.HALTED).walkers[1]
    campaign.planned(Phase.EXPLORATION, 2)
    anew, onward = walkers_of(campaign.state)
    assert anew.continues is None
    assert onward.continues == Continuation(
        task=first.task, cycle=1, step=200, steps_before=200, at_once=0
    )
    assert onward.steps == 1000
    assert [(item.name, item.file) for item in tasks(campaign.state)[1].inputs[2:]] == [
        ("restart", first.restart)
    ]
    second = explored(campaign, 2, Ending.COMPLETED, Ending.HALTED).walkers[1]
    assert second.continues == onward.continues
    assert second.resume == Continuation(
        task=second.task, cycle=2, step=200, steps_before=400, at_once=0
    )
    explored(campaign, 3, Ending.COMPLETED, Ending.EXPLODED)
    campaign.planned(Phase.EXPLORATION, 4)
    assert [walker.continues for walker in walkers_of(campaign.state)] == [None, None]


def test_a_walker_that_halts_at_once_again_and_again_starts_anew() -> None:
    """Twice in a row from the same place, still under its bath: then the place is given up."""
    onward = {"rethermalise_steps": 400, "at_once_max": 2}
    section = {"walkers": [{**LADDER, "stages": [], "replicas": 1}], "continuation": onward}
    campaign = walk(copper_config(exploration=section, convergence={"cycles_max": 9}))
    first = explored(campaign, 1, Ending.HALTED).walkers[0]
    for cycle, at_once in ((2, 1), (3, 2)):
        (again,) = explored(campaign, cycle, Ending.HALTED, restart_step=None).walkers
        assert again.restart == first.restart
        assert again.resume == Continuation(
            task=first.task, cycle=1, step=200, steps_before=200, at_once=at_once
        )
    campaign.planned(Phase.EXPLORATION, 4)
    assert [walker.continues for walker in walkers_of(campaign.state)] == [None]


def test_a_walker_of_the_users_structure_reads_it_from_the_site() -> None:
    """The file is an input by its content; its name and suffix stay, for ASE and for people."""
    group = {
        "file": "/somewhere/mine.cif",
        "repeat": [2, 2, 1],
        "temperatures_kelvin": [300],
        "steps": 1000,
    }
    config = copper_config(exploration={"walkers": [group]})
    shipped = file_ref("inputs/0123456789ab-mine.cif")
    campaign = Walk(config, phase_runners(config, {Path("/somewhere/mine.cif"): shipped}))
    (task,) = tasks(campaign.planned(Phase.EXPLORATION, cycle=1))
    assert [(item.name, item.file) for item in task.inputs[2:]] == [("structure", shipped)]
    (walker,) = walkers_of(campaign.state)
    assert walker.label == "mine.cif 300 K nvt"
    assert walker.file == StructureFile(name="mine.cif", repeat=(2, 2, 1))


# --- selection ------------------------------------------------------------------------------------


def test_selection_reads_the_frames_of_every_walker() -> None:
    """One task over all of them, with the current potential.

    Before anything is learned it is for half of a batch.
    """
    campaign = walk()
    frames = digest(campaign, Phase.EXPLORATION, 1, ExplorationDigest).frames
    (task,) = tasks(campaign.planned(Phase.SELECTION, cycle=1))
    potential = ["potential_yaml", "potential_asi"]
    assert [item.name for item in task.inputs] == [
        *potential,
        "frames",
        "frames",
        "frames",
        "dataset",
    ]
    assert tuple(item.file for item in task.inputs[2:5]) == frames
    assert task.inputs[5].file == campaign.state.datasets[0]
    assert isinstance(task.parameters, SelectParameters)
    assert (
        task.parameters.candidates_max,
        task.parameters.audit,
        task.parameters.gamma_select,
    ) == (2, 1, 2.0)


def test_selection_asks_for_the_audits_that_the_needs_are_short_of() -> None:
    """A loud cycle for as many as the site file says, a quiet one for all.

    All are three for each of three temperatures.
    """
    campaign = walk()
    campaign.planned(Phase.SELECTION, cycle=1)
    exploration = campaign.state.digests[Phase.EXPLORATION]
    assert isinstance(exploration, ExplorationDigest)
    for ending, asked in ((Ending.HALTED, [1]), (Ending.COMPLETED, [3, 3, 3])):
        update = {"ending": ending, "gamma_max": 1.0}
        walkers = tuple(walker.model_copy(update=update) for walker in exploration.walkers)
        digests = {Phase.EXPLORATION: exploration.model_copy(update={"walkers": walkers})}
        (task,) = RUNNERS[Phase.SELECTION].plan(
            campaign.state.model_copy(update={"digests": digests})
        )
        assert isinstance(task.parameters, SelectParameters)
        assert list(task.parameters.audit_conditions.values()) == asked
        assert task.parameters.audit == sum(asked)
    (walker, *_) = tasks(campaign.planned(Phase.EXPLORATION, cycle=2))
    assert isinstance(walker.parameters, ExploreParameters)
    assert walker.parameters.audit_frames == 3, "enough of them from one walker"


def test_a_remedy_reaches_the_next_selection_and_every_later_fit() -> None:
    """Random frames once; a basis that was asked to grow does not shrink again."""
    campaign = walk()
    campaign.planned(Phase.SELECTION, cycle=2)
    labels = Remedy(kind="labels", message="", conditions=("Cu fcc 300 K nvt",), random_frames=3)
    basis = Remedy(kind="basis", message="", functions_min=90, any_cost=True)
    cycles = [
        cycle.model_copy(update={"remedy": remedy})
        for cycle, remedy in zip(campaign.state.cycles, (basis, labels), strict=True)
    ]
    (walker, *_) = RUNNERS[Phase.EXPLORATION].plan(
        campaign.state.model_copy(update={"cycles": tuple(cycles)})
    )
    assert isinstance(walker.parameters, ExploreParameters)
    assert walker.parameters.audit_frames == 3 + 3, "so that there are frames to draw from"
    (task,) = RUNNERS[Phase.SELECTION].plan(
        campaign.state.model_copy(update={"cycles": tuple(cycles)})
    )
    assert isinstance(task.parameters, SelectParameters)
    assert (task.parameters.random_min, task.parameters.random_conditions) == (
        3,
        ("Cu fcc 300 K nvt",),
    )
    campaign.planned(Phase.TRAINING, cycle=2)
    (fit,) = RUNNERS[Phase.TRAINING].plan(
        campaign.state.model_copy(update={"cycles": tuple(cycles)})
    )
    assert isinstance(fit.parameters, TrainParameters)
    assert (fit.parameters.functions_min, fit.parameters.any_cost) == (90, True)


def test_errors_by_condition_are_those_of_the_potential_that_stays() -> None:
    """Of the new one if it is promoted, of the current one if it is not.

    The summary has them, and what was walked.
    """
    campaign = walk()
    (task,) = tasks(campaign.planned(Phase.TRAINING, cycle=1))
    names = tuple(f"Cu fcc {kelvin} K nvt" for kelvin in (300, 900, 1500))
    assert isinstance(task.parameters, TrainParameters)
    assert task.parameters.conditions == names
    found = digest(campaign, Phase.TRAINING, 1, TrainingDigest)
    assert found.promoted
    assert [condition.force_mev_per_angstrom for condition in found.conditions] == [14.0] * 3
    closed = campaign.until(lambda state: state.cycle_index == 2).cycles[-1]
    assert (closed.walked, closed.conditions, closed.functions) == (names, found.conditions, 60)
    (record,) = (
        event
        for event in campaign.events
        if isinstance(event, ev.TaskEnded)
        and event.outcome.kind == "train"
        and event.outcome.task.startswith("c001")
    )
    metrics = record.outcome.metrics
    assert isinstance(metrics, TrainMetrics)
    assert [item.force_mev_per_angstrom for item in metrics.conditions_of_current] == [104.0] * 3


def test_selection_counts_what_it_dropped() -> None:
    """Frames in, structures out."""
    found = digest(walk(), Phase.SELECTION, 1, SelectionDigest)
    assert found.dropped == found.frames - len(found.structures) == 2


def test_without_frames_there_is_nothing_to_select() -> None:
    """No walker kept a frame: no task, an empty digest, and the cycle closes."""
    campaign = walk()
    campaign.planned(Phase.EXPLORATION, cycle=1)
    campaign.until(lambda state: all(record.outcome for record in state.tasks.values()))
    nothing = digest_now(campaign).model_copy(update={"frames": ()})
    campaign.tell(ev.PhaseEnded(at=campaign.now, cycle=1, digest=nothing))
    assert RUNNERS[Phase.SELECTION].plan(campaign.state) == ()
    closed = campaign.until(lambda state: state.cycle_index == 2)
    assert (closed.cycles[-1].candidates, closed.cycles[-1].labels_train) == (0, 0)


# --- all phases -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cycle", [0, 1, 2])
def test_planning_is_pure(cycle: int) -> None:
    """The same state gives the same tasks, names included, and stays as it is."""
    campaign = walk()
    while campaign.state.cycle_index <= cycle and campaign.state.stage is not Stage.ENDED:
        for command in campaign.commands():
            if command.type == "PlanPhase":
                before = campaign.state.model_dump_json()
                assert campaign.follow(command) == campaign.follow(command)
                assert campaign.state.model_dump_json() == before
        campaign.step()


def test_no_two_tasks_of_a_campaign_share_a_name_or_a_folder() -> None:
    """Cycle by cycle, phase by phase."""
    campaign = walk()
    while campaign.step():
        pass
    planned = [
        task
        for event in campaign.events
        if isinstance(event, ev.PhaseStarted)
        for task in event.tasks
    ]
    assert len({task.id for task in planned}) == len(planned)
    assert len({task.workdir for task in planned}) == len(planned)


def test_a_missing_artefact_is_named() -> None:
    """A work half that forgot a file is a bug, and the message says which file."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    with pytest.raises(BugError, match=r"wrote no artefact 'frames', only \['label'\]"):
        artefact(campaign.outcome(batch.job_name, 0), "frames")


def test_exploration_needs_a_potential() -> None:
    """Asked too early, it is a bug of ours."""
    with pytest.raises(BugError, match="no potential has been promoted yet"):
        RUNNERS[Phase.EXPLORATION].plan(walk().state)


def test_training_needs_a_calculation() -> None:
    """Asked too early, it is a bug of ours."""
    with pytest.raises(BugError, match="Training follows Calculation"):
        RUNNERS[Phase.TRAINING].plan(walk().state)


def test_seeds_depend_on_purpose_alone() -> None:
    """The same purpose gives the same seed in every run, any other another.

    All fit into LAMMPS's range.
    """
    assert seed_for(7, "exploration", 1) == seed_for(7, "exploration", 1) == 1411686206
    seeds = {
        seed_for(campaign, "exploration", cycle) for campaign in range(20) for cycle in range(20)
    }
    assert len(seeds) == 400
    assert all(1 <= seed <= 2**31 - 2 for seed in seeds)
