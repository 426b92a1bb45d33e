"""Tasks: units of work, named by what goes into them, and what each kind is asked to do.

The control half writes a Task as `task.json`; the work half reads it as plain JSON. Parameters
carry their unit as the last part of the name. Lengths are in Å, energies in eV, temperatures in K,
times in fs or s.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from mlip_autopipec.contract.tasks import AnyParameters, Input, Resources
from mlip_autopipec.contract.values import plain
from mlip_autopipec.data_models.base import Model, Phase

Parameters = Annotated[AnyParameters, Field(discriminator="kind")]
_PARAMETERS: TypeAdapter[Parameters] = TypeAdapter(Parameters)


def parameters_json(parameters: Parameters) -> dict[str, Any]:
    """What a task is asked to do, as plain JSON: so it stands in task.json."""
    content: dict[str, Any] = _PARAMETERS.dump_python(parameters, mode="json")
    return content


class Task(Model):
    """One unit of work.

    Its id ends in a hash of what goes in, so the same work always has the same name.
    """

    id: str
    phase: Phase
    cycle: int = Field(ge=0)
    workdir: str = Field(description="relative to the root")
    inputs: tuple[Input, ...] = ()
    parameters: Parameters
    resources: Resources = Resources()


def make_task(
    cycle: int,
    phase: Phase,
    index: int,
    parameters: Parameters,
    inputs: Sequence[Input] = (),
    resources: Resources | None = None,
) -> Task:
    """Name a task by its place in the campaign and a hash of its parameters and inputs.

    Raises pydantic's ValidationError if the parameters are beyond their bounds.
    """
    parameters = _PARAMETERS.validate_python(parameters)
    content = json.dumps(
        [parameters_json(parameters), plain(inputs)],
        sort_keys=True,
    )
    digest = hashlib.sha256(content.encode()).hexdigest()[:6]
    return Task(
        id=f"c{cycle:03d}.{phase}.{index:04d}-{digest}",
        phase=phase,
        cycle=cycle,
        workdir=f"cycles/{cycle:03d}/{phase}/{index:04d}-{digest}",
        inputs=tuple(inputs),
        parameters=parameters,
        resources=resources or Resources(),
    )


class TaskFile(Task):
    """The content of task.json: the task, and whose it is."""

    version: Literal[1] = 1
    campaign: str
