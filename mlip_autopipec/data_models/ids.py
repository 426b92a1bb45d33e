"""Names that are the same each time they are worked out.

The job name is how a lost submission is found again.
"""

from mlip_autopipec.data_models.base import Phase


def batch_name(campaign: str, cycle: int, phase: Phase, number: int) -> str:
    """Name of a submission, e.g. `copper-3f9a1c.c003.calculation.b02`; also the Slurm job name.

    Unique within a campaign because `number` counts the submissions of that phase and cycle, and
    between campaigns because `campaign` ends in random characters. It sorts in the order of
    submission.
    """
    return f"{campaign}.c{cycle:03d}.{phase}.b{number:02d}"


def sort_key(job_name: str) -> tuple[int, int, int]:
    """Cycle, index of the phase and number of a job name: submissions in their order.

    Raises ValueError.
    """
    _, cycle, phase, number = job_name.split(".")
    return (
        int(cycle.removeprefix("c")),
        list(Phase).index(Phase(phase)),
        int(number.removeprefix("b")),
    )


def attempt_file(job_name: str, index: int) -> str:
    """File name in the outbox for one ended attempt."""
    return f"{job_name}.{index}.json"
