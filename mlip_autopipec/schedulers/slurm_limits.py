"""What a Slurm site says of itself: `scontrol show config`, asked once. Parsing is pure."""

import re

from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.ports import Transport

_TIMEOUT_S = 150.0
_NOT_FOUND = 127


def parse_config(text: str) -> dict[str, str]:
    """`Key = value` lines as a mapping; headings and what is no such line are left out."""
    pairs = (line.partition(" = ") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def seconds(config: dict[str, str], key: str) -> int | None:
    """A time such as `300 sec`; None if it is not said, or is no number."""
    match = re.match(r"(\d+)", config.get(key, ""))
    return int(match[1]) if match else None


def array_tasks_max(config: dict[str, str]) -> int | None:
    """Elements that one array may have.

    Ours count from 0, and MaxArraySize lies one above the largest index.
    """
    bounds = [seconds(config, "MaxArraySize")]
    if match := re.search(r"max_array_tasks=(\d+)", config.get("SchedulerParameters", "")):
        bounds.append(int(match[1]))
    return min((bound for bound in bounds if bound), default=None)


async def ask_config(transport: Transport) -> dict[str, str]:
    """Slurm's configuration. Raises TransientError if the controller does not answer."""
    try:
        done = await transport.run(["scontrol", "show", "config"], timeout_s=_TIMEOUT_S)
    except FileNotFoundError as error:
        raise OperatorError(f"this machine has no Slurm commands: {error}") from error
    if done.exit_status == 0:
        return parse_config(done.stdout.decode("utf-8", "replace"))
    message = " ".join((done.stderr or done.stdout).decode("utf-8", "replace").split())
    if done.exit_status == _NOT_FOUND:
        raise OperatorError(
            f"the site has no Slurm commands on its path (see site.transport.prologue): {message}"
        )
    raise TransientError(f"scontrol show config: {message}")


async def ask_array_tasks_max(transport: Transport) -> int | None:
    """Elements that one array may have there."""
    return array_tasks_max(await ask_config(transport))
