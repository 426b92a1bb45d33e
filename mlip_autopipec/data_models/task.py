"""Tasks: units of work, named by what goes into them, and what each kind is asked to do.

The control half writes a Task as `task.json`; the work half reads it as plain JSON. Parameters carry their unit as
the last part of the name. Lengths are in Å, energies in eV, temperatures in K, times in fs or s.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, TypeAdapter, model_serializer

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.generate import GateProbes, GenerateParameters, Prototype
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.data_models.base import FileRef, Model, Phase


class Stage(Model):
    """One run of pacemaker."""

    kappa: float = Field(ge=0, le=1, description="share of the forces in the loss, energies have the rest")
    iterations: int = Field(gt=0, description="of BFGS at most; on a ladder, for each step of it")


class PacemakerSettings(Model):
    """How pacemaker fits."""

    python: str | None = Field(
        default=None, description="Python of the site with tensorpotential; that of the jobs if left out"
    )
    densities: Literal[1, 2] = Field(default=2, description="of Finnis-Sinclair's embedding; 1 is a linear potential")
    stages: tuple[Stage, ...] = Field(
        default=(Stage(kappa=0.95, iterations=400), Stage(kappa=0.1, iterations=200)),
        min_length=1,
        description="one after the other: forces first, then energies",
    )
    ladder_step: int | None = Field(
        default=None, gt=0, description="functions by which the basis grows; all at once if left out"
    )
    l1: float = Field(default=1e-8, ge=0, description="L1 penalty on the coefficients")
    l2: float = Field(default=1e-8, ge=0, description="L2 penalty on the coefficients")
    batch_structures: int = Field(default=100, ge=1, description="evaluated at once; fewer take less memory")


#: A setting of the fit that the training task chooses by cross-validation.
Auto = Literal["auto"]
Positive = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class TrainParameters(Model):
    """Fit the next potential to every label so far, make its active set, and compare it with the current one."""

    kind: Literal["train"] = "train"
    trainer: Literal["linear", "pacemaker"] = "linear"
    elements: tuple[str, ...]
    cutoff_angstrom: Positive | Auto
    functions_per_element: PositiveInt | Auto
    energy_weight: Positive | Auto
    force_weight: float = Field(gt=0)
    stress_weight: NotNegative | Auto = Field(
        default=0.0, description="of the mean square of ∂(energy per atom)/∂strain; 0: labels' stress is not fitted"
    )
    ridge: Positive | Auto = Field(description="L2 penalty of the linear fit")
    smoothness: NotNegative | Auto = Field(
        default=0.0, description="power with which the penalty rises with the roughness of a function; 0: all alike"
    )
    energy_need_mev_per_atom: Positive | None = Field(
        default=None, description="a basis that is chosen may be larger to meet it; None: nothing is asked"
    )
    force_need_mev_per_angstrom: Positive | None = Field(default=None, description="the same")
    buffer_weight: float = Field(default=0.3, gt=0, le=1, description="of an atom outside the core of an embedded cell")
    pacemaker: PacemakerSettings = PacemakerSettings()
    from_scratch: bool = Field(default=False, description="pacemaker: fit from scratch too, and keep the better")
    core_repulsion_angstrom: float | None = Field(default=None, gt=0, description="ZBL below it; None: no such thing")
    prototypes: tuple[Prototype, ...] = Field(default=(), description="crystals whose properties are measured")
    probes: GateProbes = GateProbes()
    distance_min_angstrom: float = Field(default=1.0, gt=0)
    potential_folder: str = Field(description="where the potential goes, relative to the root")
    dataset_file: str = Field(description="where this cycle's labels go, relative to the root")
    conditions: tuple[str, ...] = Field(default=(), description="whose audit frames are compared one by one")
    audits_max: int = Field(default=16, ge=2, description="of one condition: the latest count")
    functions_min: int = Field(default=0, ge=0, description="for each element, where the basis is chosen by the fit")
    any_cost: bool = Field(default=False, description="what is chosen errs least, however slow MD by it is")
    earlier_cycles: tuple[int, ...] = Field(default=(), description="of the inputs `earlier_yaml`, in their order")
    reference_energies_ev: dict[str, float] | None = Field(
        description="None: fit them once; after that they are pinned"
    )
    seed: int

    @model_serializer(mode="wrap")
    def _without_what_was_not_there(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A task of before there was this choice keeps its name."""
        content: dict[str, Any] = dump(self)
        if not self.any_cost:
            content.pop("any_cost", None)
        return content


Parameters = Annotated[
    GenerateParameters | ExploreParameters | SelectParameters | CalculateParameters | TrainParameters,
    Field(discriminator="kind"),
]
_PARAMETERS: TypeAdapter[Parameters] = TypeAdapter(Parameters)


def parameters_json(parameters: Parameters) -> dict[str, Any]:
    """What a task is asked to do, as plain JSON: so it stands in task.json."""
    content: dict[str, Any] = _PARAMETERS.dump_python(parameters, mode="json")
    return content


class Input(Model):
    """A file that a task reads; `name` says what it is to the task."""

    name: str
    file: FileRef


class Resources(Model):
    """What one task asks of the scheduler."""

    cores: int = Field(default=1, ge=1, description="of each process")
    ranks: int = Field(default=1, ge=1, description="processes of a code that runs under MPI")
    nodes: int = Field(default=1, ge=1)
    gpus: int = Field(default=0, ge=0, description="of each node")
    memory_mib: int = Field(default=2048, ge=1, description="of each node")
    walltime_s: int = Field(default=3600, ge=1)
    launcher: str = Field(default="", description="words before a code's own command, such as `srun`; {ranks}, {cores}")


class Task(Model):
    """One unit of work. Its id ends in a hash of what goes in, so the same work always has the same name."""

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
        [parameters_json(parameters), [item.model_dump(mode="json") for item in inputs]],
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
