"""What a task may be asked for: the parameters of every kind of task."""

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.generate import GenerateParameters
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.train import TrainParameters
from mlip_autopipec.contract.values import read

AnyParameters = GenerateParameters | ExploreParameters | SelectParameters | CalculateParameters | TrainParameters

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
