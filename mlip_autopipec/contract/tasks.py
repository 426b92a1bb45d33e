"""What a task may be asked for: parameters of every kind of task, files, and resources."""

from dataclasses import field
from typing import Any

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.values import about, excerpt, read, value

AnyParameters = (
    GenerateParameters
    | ExploreParameters
    | SelectParameters
    | CalculateParameters
    | TrainParameters
)

#: By the word that stands as `kind` in task.json.
_KINDS: dict[object, type[AnyParameters]] = {
    "generate": GenerateParameters,
    "explore": ExploreParameters,
    "select": SelectParameters,
    "calculate": CalculateParameters,
    "train": TrainParameters,
}


def parameters_from(content: object) -> AnyParameters:
    """The parameters of a task from JSON. Raises ValueError that names the key."""
    kind = content.get("kind") if isinstance(content, dict) else None
    if kind not in _KINDS:
        raise ValueError(f"kind: expected one of {', '.join(map(str, _KINDS))}, got {kind!r:.80}")
    return read(_KINDS[kind], content)


@value
class Input:
    """A file that a task reads; `name` says what it is to the task."""

    name: str
    file: FileRef


@value
class Resources:
    """What one task asks of the scheduler."""

    cores: int = field(default=1, metadata=about("of each process", ge=1))
    ranks: int = field(default=1, metadata=about("processes of a code that runs under MPI", ge=1))
    nodes: int = field(default=1, metadata=about(ge=1))
    gpus: int = field(default=0, metadata=about("of each node", ge=0))
    memory_mib: int = field(default=2048, metadata=about("of each node", ge=1))
    walltime_s: int = field(default=3600, metadata=about(ge=1))
    launcher: str = field(
        default="",
        metadata=about("words before a code's own command, such as `srun`; {ranks}, {cores}"),
    )


@excerpt
class AskedTask:
    """What whoever does a task is to know of `task.json`."""

    campaign: str
    id: str
    parameters: dict[str, Any]
    inputs: tuple[Input, ...]
    resources: Resources
