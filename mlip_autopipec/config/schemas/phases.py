"""One section per phase: the physics that a user chooses."""

from typing import Literal

from pydantic import Field

from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.task import AseOracle, Prototype


class GenerationSection(Model):
    """`generation:` the structures that a campaign begins with."""

    prototypes: tuple[Prototype, ...] = Field(min_length=1)
    structures: int = Field(gt=0)
    test_structures: int = Field(default=4, ge=1, description="held out from the first day")
    strain_max: float = Field(default=0.05, ge=0, lt=0.5)
    rattle_angstrom: tuple[float, ...] = Field(default=(0.05, 0.2), min_length=1)


class WalkersSection(Model):
    """Walkers that share a structure and an ensemble: one per temperature, pressure and replica."""

    prototype: Prototype
    ensemble: Literal["nvt", "npt"] = "nvt"
    temperatures_kelvin: tuple[float, ...] = Field(min_length=1)
    pressures_gpa: tuple[float, ...] = (0.0,)
    replicas: int = Field(default=1, ge=1, description="walkers per condition, each with its own seed")
    steps: int = Field(gt=0)
    timestep_fs: float = Field(default=1.0, gt=0, le=10)


class ExplorationSection(Model):
    """`exploration:` where the potential is asked what it does not know."""

    gamma_select: float = Field(default=2.0, gt=1, description="frames above it are worth labelling")
    gamma_halt: float = Field(default=10.0, gt=1, description="MD stops above it")
    stride: int = Field(default=10, ge=1, description="steps between looks at γ")
    walkers: tuple[WalkersSection, ...] = Field(min_length=1)


class SelectionSection(Model):
    """`selection:` what is labelled of what was met."""

    candidates_max: int = Field(default=20, ge=1, description="per cycle")
    audit: int = Field(default=2, ge=0, description="random frames per cycle labelled as test structures")
    duplicate_rmsd_angstrom: float = Field(default=0.02, ge=0)


class CalculationSection(Model):
    """`calculation:` the oracle."""

    oracle: AseOracle
    force_max_ev_per_angstrom: float = Field(default=50.0, gt=0)


class TrainingSection(Model):
    """`training:` the fit and its gate."""

    trainer: Literal["linear"] = "linear"
    cutoff_angstrom: float = Field(gt=0)
    functions_per_element: int = Field(gt=0)
    energy_weight: float = Field(default=1.0, gt=0)
    force_weight: float = Field(default=1.0, gt=0)
    ridge: float = Field(default=1e-8, gt=0)
    worse_max: float = Field(
        default=0.2, ge=0, description="a fit whose test force error is worse by more than this is not promoted"
    )
    worse_energy_max_mev_per_atom: float = Field(default=2.0, ge=0, description="the same for the energy error")


class ConvergenceSection(Model):
    """`convergence:` when the campaign is done, and when it is given up."""

    quiet_cycles: int = Field(default=2, ge=1, description="consecutive cycles in which every walker completed")
    force_change_max: float = Field(
        default=0.2, gt=0, description="the test error has settled when it changes by no more than this fraction"
    )
    cycles_max: int = Field(default=30, ge=1, description="then the budget is exhausted")
    labels_max: int | None = Field(default=None, ge=1, description="labels in all; then the budget is exhausted")
    stalled_cycles: int = Field(
        default=6, ge=2, description="cycles in a row with halts and no better potential; then it is stalled"
    )
    quorum: float = Field(
        default=0.5, gt=0, le=1, description="part of a phase's tasks that must succeed for the cycle to go on"
    )
    attempts_max: int = Field(default=3, ge=1, description="attempts of one task before it is quarantined")
