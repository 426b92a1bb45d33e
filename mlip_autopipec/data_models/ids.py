"""Names that are the same each time they are worked out: the job name is how a lost submission is found again."""

from mlip_autopipec.data_models.base import Phase


def batch_uid(campaign: str, cycle: int, phase: Phase, number: int) -> str:
    """Name of a submission, e.g. `copper-3f9a1c.c003.calculation.b02`; also the Slurm job name.

    Unique within a campaign because `number` counts the submissions of that phase and cycle, and between campaigns
    because `campaign` ends in random characters. It sorts in the order of submission.
    """
    return f"{campaign}.c{cycle:03d}.{phase}.b{number:02d}"


def sort_key(uid: str) -> tuple[int, int, int]:
    """Cycle, place of the phase and number of a uid of `batch_uid`: submissions in their order. Raises ValueError."""
    _, cycle, phase, number = uid.split(".")
    return int(cycle.removeprefix("c")), list(Phase).index(Phase(phase)), int(number.removeprefix("b"))


def attempt_file(uid: str, index: int) -> str:
    """File name in the outbox for one ended attempt."""
    return f"{uid}.{index}.json"
