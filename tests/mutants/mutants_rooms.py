"""Which files are mutated, and which tests may catch what is broken there."""

from dataclasses import dataclass
from pathlib import Path

PACKAGE = "mlip_autopipec"


@dataclass(frozen=True, slots=True)
class Room:
    """Files of the package that are mutated together.

    `unmutated` and `skipped` are too dull, or too slow.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]
    mutants: int
    unmutated: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    #: Whether its code runs in processes of its own too (see mutants_trace).
    elsewhere: bool = False

    def files(self, root: Path) -> list[str]:
        """Every file that is mutated, relative to the checkout.

        Raises ValueError for a pattern without any.
        """
        found = []
        for pattern in self.sources:
            paths = sorted(root.glob(f"{PACKAGE}/{pattern}"))
            if not paths:
                raise ValueError(f"no file is named {PACKAGE}/{pattern}")
            found += [path.relative_to(root).as_posix() for path in paths]
        return [name for name in found if Path(name).name not in self.unmutated]


_SIMULATOR = "tests/mutants/few_seeds.py"

ROOMS = {
    "journal": Room(
        sources=("journal/*.py",),
        tests=("tests/unit/journal", "tests/unit/test_restore.py"),
        mutants=60,
        skipped=(
            "tests/unit/journal/test_journal_repair.py::test_every_cut_of_a_journal_is_clean_or_repaired",
            "tests/unit/journal/test_journal_crash.py",
        ),
    ),
    "orchestration": Room(
        sources=("orchestration/*.py",),
        tests=(
            "tests/unit/orchestration",
            "tests/properties",
            "tests/simulation/test_simulated_end_jobs.py",
            "tests/simulation/test_simulation_rebuild.py",
            "tests/unit/test_restore.py",
            _SIMULATOR,
        ),
        mutants=70,
        unmutated=("diagram.py",),
    ),
    "schedulers": Room(
        sources=("schedulers/*.py",),
        tests=(
            "tests/unit/schedulers/test_shipment.py",
            "tests/unit/schedulers/test_slurm_limits.py",
            "tests/unit/schedulers/test_slurm_scheduler.py",
            "tests/unit/schedulers/test_slurm_script.py",
            "tests/unit/schedulers/test_slurm_text.py",
            "tests/unit/schedulers/test_surroundings.py",
            "tests/unit/schedulers/test_local_hostile.py",
            "tests/unit/schedulers/test_routing.py",
            "tests/unit/schedulers/test_local_scheduler.py::test_a_task_takes_the_cores_of_all_its_ranks",
            "tests/unit/schedulers/test_local_scheduler.py::test_one_task_of_a_batch_is_cancelled_alone",
            "tests/unit/schedulers/test_local_scheduler.py::test_a_runner_that_cannot_be_started_is_a_fault_that_passes",
            _SIMULATOR,
        ),
        mutants=50,
    ),
    "queue": Room(
        sources=("work/queue/*.py", "work/attempt.py", "work/job.py"),
        tests=(
            "tests/unit/work/test_work_attempt.py",
            "tests/unit/work/test_work_processes.py",
            "tests/unit/schedulers/test_local_hostile.py",
            "tests/unit/schedulers/test_local_races.py",
            "tests/unit/schedulers/test_local_scheduler.py",
            "tests/unit/journal/test_journal_durable.py",
        ),
        mutants=40,
        skipped=(  # fits and walks
            "tests/unit/work/test_work_attempt.py::test_a_walker_goes_on_where_the_walltime_stopped_it",
            "tests/unit/work/test_work_attempt.py::test_exploration_selection_and_training_give_valid_outcomes",
        ),
        elsewhere=True,
    ),
    "transports": Room(  # by hand alone
        sources=("transports/openssh.py",),
        tests=(
            "tests/unit/transports/test_control_path.py",
            "tests/unit/transports/test_ssh_logins.py",
        ),
        mutants=0,
    ),
}
