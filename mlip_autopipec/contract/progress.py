"""How far a running task is."""

from dataclasses import field

from mlip_autopipec.contract.origin import is_absent
from mlip_autopipec.contract.values import about, value

PROGRESS_MESSAGE_MAX = 1000


@value
class Progress:
    """How far a running task is, as `progress.json` tells people; nothing is decided by it."""

    done: float = field(metadata=about("part of the task", ge=0, le=1))
    message: str = field(metadata=about(alias="words", max_length=PROGRESS_MESSAGE_MAX))
    gamma_max: float | None = field(
        default=None,
        metadata=about("largest γ so far, of a walker that tells it", ge=0, exclude_if=is_absent),
    )
