"""One section per phase: the physics that a user chooses."""

from math import sqrt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mlip_autopipec.config.schemas.units import DurationS
from mlip_autopipec.contract.explore import (
    POOL_KELVIN,
    AnyEngine,
    Barostat,
    Deformation,
    Swaps,
    WheelSettings,
)
from mlip_autopipec.contract.generate import Prototype, Teacher, Variation
from mlip_autopipec.contract.oracle import Oracle
from mlip_autopipec.contract.seams import OneOf
from mlip_autopipec.contract.values import is_nothing
from mlip_autopipec.data_models.base import Model


class GenerationSection(Model):
    """`generation:` the structures that a campaign begins with."""

    prototypes: tuple[Prototype, ...] = Field(
        default=(),
        description=(
            "crystals to strain and rattle, used in turn; at least one unless there is a `dataset`"
        ),
    )
    structures: int = Field(
        default=0,
        ge=0,
        description="training structures in all; 0 is for campaigns with a `dataset` alone",
    )
    test_structures: int = Field(
        default=4,
        ge=0,
        description="held out from the first day; 0 is for campaigns with a `dataset` alone",
    )
    strain_max: float = Field(
        default=0.05, ge=0, lt=0.5, description="largest component of the strain"
    )
    rattle_angstrom: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(0.05, 0.2),
        min_length=1,
        description="standard deviations of the displacements, used in turn",
    )
    teacher: Teacher | None = Field(
        default=None,
        exclude_if=is_nothing,
        description=(
            "a calculator whose MD makes the training and test structures, instead of rattles"
        ),
    )
    variations: tuple[Annotated[Variation, Field(discriminator="kind")], ...] = Field(
        default=(),
        description=(
            "alloys, defects, surfaces, short distances: made of the prototypes, to train on"
        ),
    )
    files: tuple[Path, ...] = Field(
        default=(),
        description=(
            "structures of yours to train on, in any format that ASE reads; labelled as they are"
        ),
    )


class StageSection(Model):
    """A further stage of a ladder; what it leaves out is as in the one before, but for `deform`."""

    ensemble: Literal["nvt", "npt"] | None = None
    barostat: Barostat | None = None
    temperatures_kelvin: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None, min_length=1
    )
    pressures_gpa: tuple[float, ...] | None = Field(default=None, min_length=1)
    steps: int | None = Field(default=None, gt=0, description="MD steps of each walker")
    timestep_fs: float | None = Field(default=None, gt=0, le=10)
    deform: Deformation | None = None
    swaps: Swaps | None = None


class WalkersSection(Model):
    """Walkers that share a structure: one per stage, temperature, pressure and replica."""

    prototype: Prototype | None = Field(
        default=None, description="crystal that the walkers start from"
    )
    file: Path | None = Field(
        default=None, description="or a structure of yours, in any format that ASE reads"
    )
    pool: Path | None = Field(
        default=None,
        exclude_if=is_nothing,
        description=(
            "or frames of yours, graded by γ as they are; no MD, and no other key of this section"
        ),
    )
    repeat: tuple[int, int, int] = Field(
        default=(1, 1, 1), description="of `file`, along its cell vectors"
    )
    ensemble: Literal["nvt", "npt"] = "nvt"
    barostat: Barostat = Field(
        default="anisotropic",
        description="npt only: which parts of the box may change; isotropic for a few atoms",
    )
    temperatures_kelvin: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(),
        min_length=1,
        exclude_if=is_nothing,
        description="one walker for each, per pressure and replica",
    )
    pressures_gpa: tuple[float, ...] = Field(default=(0.0,), min_length=1, description="npt only")
    replicas: int = Field(
        default=1, ge=1, description="walkers per condition, each with its own seed"
    )
    steps: int = Field(
        default=0, gt=0, exclude_if=is_nothing, description="MD steps of each walker"
    )
    timestep_fs: float = Field(default=1.0, gt=0, le=10)
    deform: Deformation | None = Field(
        default=None, description="nvt only: strain the box at a constant rate"
    )
    swaps: Swaps | None = Field(
        default=None, description="Monte-Carlo exchanges of atoms of two elements"
    )
    stages: tuple[StageSection, ...] = Field(
        default=(),
        description="further stages; each opens when every walker of the one before has completed",
    )

    @property
    def source(self) -> Path | None:
        """The user's file that walkers start from or that has the frames; None with a prototype."""
        return self.file or self.pool

    @property
    def conditions(self) -> tuple[tuple[float, float, int], ...]:
        """Kelvin, GPa and replica of each walker of this stage.

        A pool is one walk, of no temperature.
        """
        if self.pool is not None:
            return ((POOL_KELVIN, 0.0, 0),)
        return tuple(
            (kelvin, gpa, replica)
            for kelvin in self.temperatures_kelvin
            for gpa in self.pressures_gpa
            for replica in range(self.replicas)
        )

    def ladder(self) -> tuple["WalkersSection", ...]:
        """Every stage with all that it has, the first of them being this section's own keys."""
        stages = [self.model_copy(update={"stages": ()})]
        for stage in self.stages:
            said = {
                name: value
                for name in type(stage).model_fields
                if (value := getattr(stage, name)) is not None
            }
            stages.append(stages[-1].model_copy(update={**said, "deform": stage.deform}))
        return tuple(stages)


class ContinuationSection(Model):
    """`exploration.continuation:` how a halted walker goes on under the next potential."""

    rethermalise_steps: int = Field(
        default=50, ge=0, description="under a Langevin bath, before it is left to itself"
    )
    at_once_max: int = Field(
        default=4,
        ge=0,
        description=(
            "continuations in a row that halt at once, after which it starts anew; 0: always"
        ),
    )


class ExplorationSection(Model):
    """`exploration:` where the potential is asked what it does not know."""

    gamma_select: float = Field(default=2.0, gt=1, description="frames above it extrapolate")
    gamma_halt: float = Field(
        default=10.0, gt=1, description="no walk above it is quiet; in the end, MD stops above it"
    )
    gamma_halt_first: float = Field(
        default=1e5,
        gt=1,
        description=(
            "MD stops above it in the first cycle; from there the level comes down to gamma_halt"
            " as γ does. Not with selection.acquisition: gamma_window, where it is gamma_halt from"
            " the first"
        ),
    )
    pool_frames: int = Field(
        default=30,
        ge=1,
        description="decorrelated frames that each walker offers, whatever their γ",
    )
    force_error_target_mev_per_angstrom: float | None = Field(
        default=None,
        gt=0,
        description="both levels move, within bounds, to where this force error is expected",
    )
    stride: int = Field(
        default=20, ge=1, description="steps between looks at γ; a look costs one to two steps"
    )
    distances_min_angstrom: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict,
        description="of pairs of elements such as `Cu-Au`, where they differ from the common one",
    )
    temperature_factor_max: float = Field(
        default=5.0, gt=1, description="exploded above this multiple of the target"
    )
    pressure_max_gpa: float = Field(
        default=200.0, gt=0, description="exploded beyond it, of either sign"
    )
    volume_factor_max: float = Field(
        default=2.0, gt=1, description="exploded beyond it, larger or smaller"
    )
    continuation: ContinuationSection = ContinuationSection()
    engine: AnyEngine = Field(default=WheelSettings(), description="what runs the MD")
    walkers: tuple[WalkersSection, ...] = Field(
        min_length=1, description="where MD starts, and under what conditions"
    )

    def gamma_select_bounds(self) -> tuple[float, float]:
        """The lowest and the highest γ select that a target in force may make of the one given.

        See levels.py.
        """
        return gamma_bounds(self.gamma_select)


def gamma_bounds(gamma_select: float) -> tuple[float, float]:
    """Half of it, but no nearer to 1 than half the way as a logarithm; and its double."""
    return max(gamma_select / 2, sqrt(gamma_select)), 2 * gamma_select


class RoundSection(Model):
    """When a round of labels closes. What comes later joins the next cycle."""

    quorum: float = Field(
        default=1.0, gt=0, le=1, description="part of the round's labels that is enough"
    )
    deadline: DurationS | None = Field(
        default=None,
        validate_default=False,
        description="from the begin of the round; it closes with what is there",
    )


class FirstLabelsSection(Model):
    """`calculation.first_labels:` how far the oracle may contradict itself until a person is asked.

    The defaults are what careful convergence tests of DFT aim at, with room for numerical noise: 1
    to 2 meV/atom, 10 meV/Å, Pulay stresses below 1 GPa, and elastic constants that agree to 15 % by
    two ways (M. de Jong et al., Sci. Data 2, 150009 (2015), who accept as much between theory and
    experiment).
    """

    check: bool = Field(
        default=True, description="label the property cells first, and pause where they contradict"
    )
    energy_max_mev_per_atom: float = Field(
        default=2.0, gt=0, description="of one crystal in two cells"
    )
    force_max_mev_per_angstrom: float = Field(
        default=10.0, gt=0, description="on one atom in two cells"
    )
    pressure_max_gpa: float = Field(
        default=1.0, gt=0, description="stress against the derivative of the energy"
    )
    modulus_max: float = Field(
        default=0.15,
        gt=0,
        description="bulk modulus and elastic constants by two ways, relative to the larger",
    )
    unstable: tuple[str, ...] = Field(
        default=(),
        description="prototypes that the oracle may find mechanically unstable, such as [Ti bcc]",
    )


class CalculationSection(Model):
    """`calculation:` the oracle."""

    oracle: Annotated[Oracle, OneOf("oracles", "section")] = Field(
        description="what computes energy, forces and stress of a structure"
    )
    force_max_ev_per_angstrom: float = Field(
        default=50.0, gt=0, description="a label with a larger force is refused"
    )
    pressure_max_gpa: float = Field(
        default=1000.0, gt=0, description="the same for its pressure, of either sign"
    )
    round: RoundSection = Field(
        default=RoundSection(), description="by default all labels are waited for"
    )
    first_labels: FirstLabelsSection = Field(
        default=FirstLabelsSection(), description="does the oracle agree with itself?"
    )


class NeedsSection(Model):
    """`convergence.needs:` the errors allowed in each condition, on random frames no fit has seen.

    Of a quantity, name the error, its part of the spread of the labels in that condition, or both,
    of which the larger counts. Where a force or an energy has neither, the defaults below hold; see
    `orchestration/needs.py` for their source.
    """

    force_mev_per_angstrom: float | None = Field(
        default=None,
        gt=0,
        description="largest RMS error of a force component; 30 if no force is given",
    )
    force_part: float | None = Field(
        default=None,
        gt=0,
        description="or this part of the labels' RMS force; 0.1 if no force is given",
    )
    energy_mev_per_atom: float | None = Field(
        default=None, gt=0, description="largest RMS error of the energy; 5 if no energy is given"
    )
    energy_part: float | None = Field(
        default=None,
        gt=0,
        description="or this part of the labels' standard deviation; 0.1 if no energy is given",
    )
    stress_gpa: float | None = Field(
        default=None,
        gt=0,
        description="largest RMS error over stress components; nothing is asked if left out",
    )
    stress_part: float | None = Field(
        default=None, gt=0, description="or this part of the RMS stress of the labels"
    )
    confidence: float = Field(
        default=0.9,
        ge=0.5,
        lt=1,
        description="the upper bound of each error at this confidence must be below the need",
    )
    audits_min: int = Field(default=3, ge=2, description="audit frames in each condition")
    gate: bool = Field(
        default=True, description="the gate must have let the potential pass without a condition"
    )


class ConvergenceSection(Model):
    """`convergence:` when the campaign is done, and when it is given up."""

    needs: NeedsSection | None = Field(
        default=NeedsSection(),
        description="how right the potential must be; null: quiet and settled is enough",
    )
    inaccurate_cycles: int = Field(
        default=3,
        ge=1,
        description="quiet cycles in a row that come no nearer to the needs; then it is inaccurate",
    )
    quiet_cycles: int = Field(
        default=2, ge=1, description="consecutive cycles in which every walker completed"
    )
    force_change_max: float = Field(
        default=0.2,
        gt=0,
        description="the test error has settled when it changes by no more than this fraction",
    )
    force_change_max_mev_per_angstrom: float = Field(
        default=1.0, ge=0, description="or by no more than this"
    )
    cycles_max: int = Field(default=30, ge=1, description="then the budget is exhausted")
    labels_max: int | None = Field(
        default=None, ge=1, description="labels in all; then the budget is exhausted"
    )
    stalled_cycles: int = Field(
        default=6,
        ge=2,
        description="cycles in a row with halts and no better potential; then it is stalled",
    )
    quorum: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="part of a phase's tasks that must succeed for the cycle to go on",
    )
    attempts_max: int = Field(
        default=3, ge=1, description="attempts of one task before it is quarantined"
    )
