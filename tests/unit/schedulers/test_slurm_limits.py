"""What `scontrol show config` says, by what Slurm 22.05 printed."""

import pytest

from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.ports import Completed
from mlip_autopipec.schedulers.slurm_limits import (
    array_tasks_max,
    ask_config,
    parse_config,
    seconds,
)
from mlip_autopipec.testing.memory import MemoryTransport

SAID = """\
Configuration data as of 2026-11-25T03:12:01
AccountingStorageType   = accounting_storage/none
MaxArraySize            = 1001
MessageTimeout          = 10 sec
MinJobAge               = 300 sec
SchedulerParameters     = batch_sched_delay=0
SLURM_VERSION           = 22.05.8

Slurmctld(primary) at here is UP
"""


class Site(MemoryTransport):
    """Answers every command alike."""

    def __init__(self, answer: Completed) -> None:
        super().__init__()
        self._answer = answer

    async def run(self, argv: object, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        del argv, stdin, timeout_s
        return self._answer


def test_its_lines_are_read() -> None:
    """Keys and values, without their padding; what is no setting is left out."""
    said = parse_config(SAID)
    assert said["SLURM_VERSION"] == "22.05.8"
    assert seconds(said, "MinJobAge") == 300
    assert seconds(said, "AccountingStorageType") is None
    assert not [key for key in said if key.startswith(("Configuration", "Slurmctld"))]


@pytest.mark.parametrize(
    ("size", "parameters", "tasks"),
    [("1001", "", 1001), ("1001", "bf_max=1,max_array_tasks=200", 200), ("0", "", None)],
)
def test_an_array_counts_from_0_to_one_below_its_bound(
    size: str, parameters: str, tasks: int | None
) -> None:
    """So it may have as many elements as MaxArraySize says; max_array_tasks may say fewer."""
    assert array_tasks_max({"MaxArraySize": size, "SchedulerParameters": parameters}) == tasks


async def test_the_controller_is_asked() -> None:
    """And what it says is read."""
    assert array_tasks_max(await ask_config(Site(Completed(0, SAID.encode(), b"")))) == 1001


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (127, b"scontrol: command not found", OperatorError),
        (1, b"Unable to contact slurm controller", TransientError),
    ],
)
async def test_no_answer_passes_and_no_command_is_for_a_person(
    status: int, message: bytes, error: type[Exception]
) -> None:
    """Each with the site's own words."""
    with pytest.raises(error, match=message.decode()):
        await ask_config(Site(Completed(status, b"", message)))
