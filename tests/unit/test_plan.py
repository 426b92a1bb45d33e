"""`autopipecctl plan`: counts are right, bounds hold, and what is estimated says from what."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from kit.campaign import Campaign, calculate, file_ref, structure, walk, whole_campaign
from kit.files import DEMO, NO_PROPERTIES, SMALL, TOP

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.words import Role
from mlip_autopipec.control.tasks import book_of
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.journal.replay import read
from mlip_autopipec.plan import PhaseSoFar, Plan, PlannedPhase, plan_lines, plan_of
from mlip_autopipec.preview import Sizes, sizes

GOLDEN = TOP / "tests" / "data" / "journal" / "0.1.0" / "campaign"
LABEL = CalculateMetrics(
    energy_ev=-3.5, n_atoms=4, force_max_ev_per_angstrom=0.1, pressure_gpa=0.0, settings="emt"
)
SIZES = Sizes(
    {"train": 12, "test": 6, "for the gate's properties": 13, "of isolated atoms": 0}, (108,) * 2
)


@pytest.fixture(scope="module")
def config() -> WorkflowConfig:
    return load_config(DEMO).config


P = TypeVar("P", PlannedPhase, PhaseSoFar)


def phases(parts: Sequence[P], phase: Phase) -> P:
    """The part of that phase."""
    return next(part for part in parts if part.phase is phase)


@pytest.mark.slow
def test_the_bootstrap_is_what_config_check_counts(config: WorkflowConfig) -> None:
    """From the structure files, by the same reader."""
    counted = sizes(config)
    assert isinstance(counted, Sizes)
    assert sum(counted.labels.values()) == 31
    assert counted.walker_atoms == SIZES.walker_atoms


def test_before_a_start_nothing_is_estimated(config: WorkflowConfig) -> None:
    """Core-hours are the bound of what is asked for, and the plan says so."""
    plan = plan_of(config, SIZES)
    labels = phases(plan.bootstrap, Phase.CALCULATION)
    assert (plan.started, labels.tasks, labels.jobs) == (False, 31, 2)
    asked = config.site.resources_of(Phase.CALCULATION)
    assert labels.core_hours_max == pytest.approx(31 * asked.cores * asked.walltime_s / 3600)
    assert phases(plan.cycle, Phase.EXPLORATION).tasks == 4
    assert (plan.so_far, plan.cycle_core_hours, plan.seq) == ((), None, None)
    text = "\n".join(plan_lines(plan, 80))
    assert "before a start" in text
    assert "Nothing has been measured yet: no core-hours are estimated." in text
    assert "12 train, 6 test, 13 for the gate's properties" in text
    assert "of isolated atoms" not in text
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_a_fuse_bounds_the_labels(config: WorkflowConfig) -> None:
    """The cycle that reaches convergence.labels_max is ended first."""
    fuse = config.convergence.model_copy(update={"labels_max": 60})
    free = plan_of(config, SIZES)
    plan = plan_of(config.model_copy(update={"convergence": fuse}), SIZES)
    each = phases(plan.cycle, Phase.CALCULATION).tasks
    assert plan.labels_max == 59 + each < free.labels_max
    assert free.labels_max == 31 + each * config.convergence.cycles_max


def test_disk_is_of_the_dumps_at_each_look(config: WorkflowConfig) -> None:
    """A demo that was measured had 28 MiB of trajectories in three cycles."""
    assert 8 < phases(plan_of(config, SIZES).cycle, Phase.EXPLORATION).disk_mib < 11


def test_arrays_are_as_large_as_the_scheduler_takes() -> None:
    cluster = load_config(TOP / "config" / "clusters" / "modules-qe.yaml").config
    scheduler = cluster.site.scheduler.model_copy(update={"array_max": 10})
    site = cluster.site.model_copy(update={"scheduler": scheduler})
    walkers = (108,) * len(cluster.exploration.walkers)
    plan = plan_of(cluster.model_copy(update={"site": site}), Sizes({"train": 31}, walkers))
    assert phases(plan.bootstrap, Phase.CALCULATION).jobs == 4


def test_while_it_runs_what_was_measured_stands_beside_what_is_due(config: WorkflowConfig) -> None:
    """The median of tasks that are done, times what is due; attempts in vain are told apart."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    tasks = campaign.start(Phase.EXPLORATION, [(walk(t, 1), ()) for t in (300.0, 900.0)])
    campaign.submit(tasks)
    campaign.end(tasks[0], None, 100, 136, reason=Reason.CRASHED)
    plan = plan_of(config, SIZES, book_of(campaign.events), 12.5)
    walkers = phases(plan.so_far, Phase.EXPLORATION)
    assert (walkers.done, walkers.due, walkers.task_s, walkers.core_hours_due) == (0, 2, None, None)
    assert walkers.core_hours == walkers.core_hours_vain == pytest.approx(0.01)
    labels = phases(plan.so_far, Phase.CALCULATION)
    assert labels.measured == labels.done == labels.attempts > 0
    assert labels.due == 0
    text = "\n".join(plan_lines(plan, 80))
    assert "12.5 MiB on disk (measured)" in text
    assert "No later cycle has closed: there is nothing to estimate a cycle by." in text


def test_what_is_due_is_estimated_at_the_median(config: WorkflowConfig) -> None:
    campaign = Campaign()
    campaign.create()
    campaign.generation()
    asked = [(calculate(structure(f"{n}.xyz", Role.TRAIN, "x")), ()) for n in range(5)]
    tasks = campaign.start(Phase.CALCULATION, asked)
    campaign.submit(tasks)
    before = plan_of(config, SIZES, book_of(campaign.events))
    assert phases(before.so_far, Phase.CALCULATION).core_hours_due is None
    assert " ?" in "\n".join(plan_lines(before, 80))
    for task, seconds in zip(tasks, (10.0, 30.0, 50.0), strict=False):
        campaign.end(task, LABEL, 0, seconds, {"label": file_ref("label.extxyz")})
    part = phases(plan_of(config, SIZES, book_of(campaign.events)).so_far, Phase.CALCULATION)
    assert (part.done, part.due, part.task_s, part.measured) == (3, 2, 30.0, 3)
    assert part.core_hours == pytest.approx(90 / 3600)
    assert part.core_hours_due == pytest.approx(2 * 30 / 3600)


def test_a_campaign_that_ran_kept_within_its_bounds(config: WorkflowConfig) -> None:
    """A recorded one, with its own walkers: no cycle had more labels than the plan's bound.

    A cycle is estimated.
    """
    book = book_of(record.event for record in read(GOLDEN))
    plan = plan_of(config, SIZES, book)
    bound = phases(plan.cycle, Phase.CALCULATION).tasks
    later = [cycle for cycle in book.state.cycles if not cycle.bootstrap]
    assert all(cycle.labels_train + cycle.labels_test <= bound for cycle in later)
    assert plan.cycles_done == len(later)
    assert plan.cycle_core_hours is not None
    total = sum(part.core_hours for part in plan.so_far)
    assert 0 < plan.cycle_core_hours < total


@pytest.mark.slow
def test_the_bootstrap_of_a_recorded_campaign_is_as_planned(tmp_path: Path) -> None:
    """Its first cycle's tasks and submissions, by its own site file.

    Later cycles keep within their bounds.
    """
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.read_text().replace(NO_PROPERTIES, ""))
    config = load_config(path).config
    counted = sizes(config)
    assert isinstance(counted, Sizes)
    plan = plan_of(config, counted)
    events = [record.event for record in read(GOLDEN)]
    planned = Counter(
        {(e.cycle, e.phase): len(e.tasks) for e in events if isinstance(e, ev.PhaseStarted)}
    )
    begun = Counter(
        tuple(e.job_name.split(".")[1:3]) for e in events if isinstance(e, ev.SubmissionBegun)
    )
    for part in plan.bootstrap:
        assert part.tasks == planned[0, part.phase]
        assert part.jobs == begun["c000", part.phase]
    for part in plan.cycle:
        assert 0 < planned[1, part.phase] <= part.tasks
        assert begun["c001", part.phase] <= part.jobs


@pytest.mark.parametrize("width", [60, 80])
def test_nothing_is_wider_than_the_terminal(config: WorkflowConfig, width: int) -> None:
    for book in (None, book_of(whole_campaign().events)):
        lines = list(plan_lines(plan_of(config, SIZES, book, 1234.5), width))
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)
