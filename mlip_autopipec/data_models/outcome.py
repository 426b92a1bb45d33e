"""Outcomes: what the work half wrote about one attempt, checked at the boundary.

A file that breaks a rule here never becomes an event: it is reported with its reason and the attempt counts as ended
with `bad_outcome`.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from mlip_autopipec.contract.origin import Origin, is_absent
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import FileRef, Model, Reason, is_nothing

PROGRESS_WORDS_MAX = 1000


def _is_none(value: object) -> bool:
    return value is None


class Progress(Model):
    """How far a running task is, as `progress.json` tells it: for people; nothing is decided by it."""

    done: float = Field(ge=0, le=1, description="part of the task")
    words: str = Field(max_length=PROGRESS_WORDS_MAX)
    gamma_max: float | None = Field(
        default=None, ge=0, exclude_if=_is_none, description="largest γ so far, of a walker that tells it"
    )


class PropertyCell(Model):
    """What a property cell is of its crystal."""

    crystal: str = Field(description="such as `Cu fcc`")
    kind: Literal["volume", "strain", "moved", "twin"] = Field(
        description="all lengths scaled; strained; one atom of the unit cell moved; the same in a cell of another shape"
    )
    scale: float = Field(default=1.0, gt=0, description="of the lattice constant")
    axis: int = Field(default=0, ge=0, le=5, description="Voigt's index of the strain: xx, yy, zz, yz, xz, xy")
    strain: float = Field(default=0.0, description="engineering strain: a shear is the change of the angle")


#: Why a structure is to be labelled.
Why = Literal[
    "generated",
    "halt",
    "informed",
    "farthest",
    "d_optimal",
    "random",
    "element_floor",
    "audit",
    "property",
    "check",
    "reference",
    "added",
]


class Structure(Model):
    """A structure offered for labelling, as one extended-XYZ file of one frame."""

    file: FileRef
    role: Role
    origin: str
    came_from: Origin | None = Field(default=None, exclude_if=is_absent)
    n_atoms: int = Field(gt=0)
    gamma_max: float | None = Field(default=None, ge=0, description="None where no potential existed yet")
    why: Why
    cell: PropertyCell | None = Field(default=None, description="of a property cell of a crystal")


class AdoptedSet(Model):
    """The user's labels, read and found sound; Training reads the file once the oracle has agreed with some of them."""

    file: FileRef
    train: int = Field(ge=0)
    test: int = Field(ge=0, description="held out")
    left_out: str = Field(default="", max_length=8000, description="faulty frames, where the site file leaves them out")
    names: str = Field(default="", max_length=8000, description="what was taken for what")


class GenerateMetrics(Model):
    """What was generated."""

    kind: Literal["generate"] = "generate"
    structures: tuple[Structure, ...]
    environments: dict[str, int] = Field(description="atoms per element over the training structures")
    redrawn: int = Field(ge=0, description="structures drawn again for a short distance")
    dataset: AdoptedSet | None = Field(default=None, exclude_if=is_nothing, description="labels of the user's")


class Ending(StrEnum):
    """How a walker ended. An infrastructure failure is no ending: it is a failed attempt."""

    COMPLETED = "completed"
    HALTED = "halted"
    EXPLODED = "exploded"


class Probe(Model):
    """A distorted cell by the engine and by pyace, before the first step; differences are relative."""

    gamma_max: float = Field(gt=1, description="below, the active set would be blind")
    energy_difference: float = Field(ge=0)
    forces_difference: float = Field(ge=0)
    gamma_difference: float = Field(ge=0)


class ExploreMetrics(Model):
    """What one walker met. `gamma_trace` is thinned to at most 200 points (step, γ max)."""

    kind: Literal["explore"] = "explore"
    ending: Ending
    detail: str = Field(default="", description="the guard that ended it, in words")
    steps: int = Field(ge=0)
    steps_planned: int = Field(gt=0)
    time_ps: float = Field(ge=0)
    gamma_max: float = Field(ge=0)
    frames_collected: int = Field(ge=0, description="frames offered to Selection, audits apart")
    probe: Probe | None = None
    gamma_share: float | None = Field(default=None, ge=0, le=1, description="part of MD's time that γ costs")
    restart_step: int | None = Field(default=None, ge=0, description="of a halted walker: where it may go on from")
    decorrelation_steps: int | None = Field(default=None, ge=0, description="steps after which a frame is a new one")
    temperature_mean_kelvin: float = Field(ge=0)
    gamma_trace: tuple[tuple[int, float], ...] = Field(max_length=200)
    gamma_counts: tuple[tuple[float, int], ...] = Field(
        default=(),
        max_length=64,
        description="looks at γ by its value: lower edge, an eighth of a decade below the next",
    )
    gamma_selected: int | None = Field(
        default=None, ge=0, description="looks at or above gamma_select; None: an earlier version did not count them"
    )

    @model_validator(mode="after")
    def _completed_means_all_steps(self) -> Self:
        if self.ending is Ending.COMPLETED and self.steps < self.steps_planned:
            raise ValueError(f"completed, but only {self.steps} of {self.steps_planned} steps")
        return self


class Certificate(Model):
    """What embedding found out about one frame, before anything was spent on it."""

    origin: str
    kept: bool = Field(description="whether there is a cell to label")
    source_atoms: int = Field(gt=0)
    centre: int = Field(ge=0, description="the extrapolating atom of the frame")
    verdict: Literal["periodic", "cluster", "whole", "rejected"]
    reason: str = Field(description="what was wrong; of a whole frame, with every cell that was tried")
    attempts: int = Field(default=0, ge=0, description="cells that were tried")
    n_atoms: int | None = None
    core_atoms: int | None = Field(default=None, description="whose environment is that of the source: the force mask")
    intact_angstrom: float | None = Field(default=None, description="radius of the ball that is the source, untouched")
    shift_angstrom: float | None = Field(default=None, description="from its centre to the extrapolating atom")
    lattice: bool | None = Field(default=None, description="whether the cut follows a crystal")
    removed: int | None = Field(default=None, description="copies and overlaps that went at the seam")
    relax_steps: int | None = None
    distance_min_angstrom: float | None = None
    projections_off: float | None = Field(default=None, description="largest relative change of a core B-projection")
    gamma_before: float | None = None
    gamma_after: float | None = None
    gamma_buffer_max: float | None = None
    electrons: int | None = None
    electrons_odd: bool | None = None
    cost: float | None = Field(default=None, description="(electrons / 100)³")


class SelectMetrics(Model):
    """What was chosen, and what was dropped for which reason. The artefact `candidates` tells it of every frame."""

    kind: Literal["select"] = "select"
    frames: int = Field(ge=0)
    cloud: int = Field(default=0, ge=0, description="displaced copies of halting frames, beside the frames")
    below_window: int = Field(ge=0)
    above_window: int = Field(default=0, ge=0)
    near_audit: int = Field(default=0, ge=0)
    too_short: int = Field(ge=0)
    duplicates: int = Field(ge=0)
    not_offered: int = Field(default=0, ge=0, description="large frames beyond embedding.frames_max")
    not_embedded: int = Field(default=0, ge=0, description="large frames without a cell that proves itself")
    beyond_pool: int = Field(default=0, ge=0, description="frames beyond selection.pool_max")
    capped: int = Field(default=0, ge=0)
    not_chosen: int = Field(ge=0)
    certificates: tuple[Certificate, ...] = Field(default=(), max_length=100)
    structures: tuple[Structure, ...]


class OracleRun(Model):
    """One run of an external code for a label: what was changed to heal, and how it ended."""

    changes: dict[str, bool | int | float | str] = Field(
        default_factory=dict, description="numerical settings that differ from those of the first run"
    )
    ending: str = Field(description="`converged`, or the class of the failure")
    words: str = Field(default="", description="the code's own")
    wall_s: float = Field(ge=0)


class LabelDifference(Model):
    """A label of the user's beside the oracle's of the same structure."""

    set_energy_ev: float
    composition: dict[str, int]
    force_mev_per_angstrom: float = Field(ge=0, description="of the atom with the largest difference")
    oracle_force_mev_per_angstrom: float = Field(ge=0, description="the largest force by the oracle")
    force_hint: str = Field(default="", max_length=1000, description="by what they would agree; empty: nothing known")
    stress_gpa: float | None = Field(
        default=None, ge=0, description="of the component that differs most; None: no stress"
    )
    stress_hint: str = Field(default="", max_length=1000)


class OracleNumbers(Model):
    """The numbers of a property cell's label, by which the oracle is held against itself."""

    volume_angstrom3: float = Field(gt=0)
    stress_gpa: tuple[float, float, float, float, float, float] = Field(description="xx, yy, zz, yz, xz, xy")
    forces_ev_per_angstrom: tuple[tuple[float, float, float], ...] = Field(
        max_length=8, description="on the atoms of the unit cell, which come first"
    )


class CalculateMetrics(Model):
    """One label. The numbers themselves are in the artefact `label` (extended XYZ)."""

    kind: Literal["calculate"] = "calculate"
    energy_ev: float
    n_atoms: int = Field(gt=0)
    force_max_ev_per_angstrom: float = Field(ge=0)
    pressure_gpa: float
    settings: str = Field(description="fingerprint of everything that gives a label its meaning")
    tries: tuple[OracleRun, ...] = Field(default=(), description="runs of an external code; the last gave the label")
    magnetization_bohr: float | None = Field(default=None, description="of the cell, in μB; None without spin")
    numbers: OracleNumbers | None = Field(default=None, description="of a small property cell")
    difference: LabelDifference | None = Field(
        default=None, exclude_if=is_nothing, description="of a frame of the user's, labelled again"
    )


class Errors(Model):
    """Root-mean-square errors over one set of labels."""

    structures: int = Field(ge=0)
    energy_mev_per_atom: float = Field(ge=0)
    force_mev_per_angstrom: float = Field(ge=0, description="over force components")
    stress_gpa: float | None = Field(
        default=None, ge=0, description="over the six components; None where no label has stress"
    )
    force_p95_mev_per_angstrom: float | None = Field(default=None, ge=0, description="95 % of the atoms err by less")
    force_max_mev_per_angstrom: float | None = Field(default=None, ge=0, description="the worst atom's |ΔF|")


class PastErrors(Model):
    """An earlier potential, measured again."""

    cycle: int = Field(ge=0)
    errors: Errors


class GroupErrors(Model):
    """Errors over a part of the test set: one element, one origin, the fixed or the growing set."""

    by: Literal["element", "origin", "set"]
    name: str
    atoms: int = Field(gt=0)
    energy_mev_per_atom: float | None = Field(default=None, ge=0, description="None: an element has no energy")
    force_mev_per_angstrom: float = Field(ge=0)
    stress_gpa: float | None = Field(default=None, ge=0, description="None: an element has none, or no label has")
    force_p95_mev_per_angstrom: float = Field(ge=0)
    force_max_mev_per_angstrom: float = Field(ge=0)


class ConditionErrors(Model):
    """Errors on the latest audit frames of one condition: drawn at random from its MD, and seen by no fit.

    A condition is what replicas share. Errors are root-mean-square values: of energies over frames, of forces and
    stresses over components. A *variation* is the standard deviation of the frames' mean squares over their mean. A
    *spread* is what an error is relative to: of energies the standard deviation of the labels, of forces and stresses
    the root mean square of theirs.
    """

    condition: str
    frames: int = Field(gt=0)
    energy_mev_per_atom: float = Field(ge=0)
    energy_spread_mev_per_atom: float = Field(ge=0)
    force_mev_per_angstrom: float = Field(ge=0)
    force_variation: float = Field(ge=0)
    force_spread_mev_per_angstrom: float = Field(ge=0)
    stress_gpa: float | None = Field(default=None, ge=0, description="None: not compared")
    stress_variation: float = Field(default=0.0, ge=0)
    stress_spread_gpa: float = Field(default=0.0, ge=0)
    train_energy_mev_per_atom: float | None = Field(
        default=None, ge=0, description="on the training frames of the same condition; None where there are none"
    )
    train_force_mev_per_angstrom: float | None = Field(default=None, ge=0, description="the same")


class Measure(Model):
    """One property: of the oracle, of the new potential and of the current one; None where it has none."""

    rule: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", description="its name, as the code that measures it has it")
    subject: str = Field(description="e.g. `Cu fcc` or `Cu fcc C44`")
    unit: str
    scale: float = Field(default=1.0, gt=0, description="what an error is relative to")
    oracle: float | None
    potential: float | None
    current: float | None = None


class Calibration(Model):
    """What γ has meant so far for one element: the mean force error of atoms with that γ, by a monotone fit."""

    element: str
    pairs: int = Field(gt=0)
    curve: tuple[tuple[float, float], ...] = Field(max_length=24, description="γ and meV/Å, both rising")


class Lesson(Model):
    """What the labels of one source taught: the force error before they were learned, and after."""

    source: str = Field(description="how they were chosen, e.g. `informed`, `random`, `halt`")
    labels: int = Field(gt=0)
    before_mev_per_angstrom: float = Field(ge=0, description="root-mean-square, by the potential before")
    after_mev_per_angstrom: float = Field(ge=0, description="the same labels, by the new potential")


class FitTried(Model):
    """One way that the fit was made; the better on the test set is the potential."""

    start: Literal["scratch", "warm", "given"]
    force_mev_per_angstrom: float = Field(ge=0, description="on the test set")


class FittedSettings(Model):
    """What decides a linear fit."""

    cutoff_angstrom: float = Field(gt=0)
    functions_per_element: int = Field(gt=0)
    energy_weight: float = Field(gt=0)
    force_weight: float = Field(gt=0)
    stress_weight: float = Field(ge=0)
    smoothness: float = Field(ge=0)
    ridge: float = Field(gt=0)


class FitTrial(Model):
    """Settings that were tried, with their errors in cross-validation over trajectories."""

    why: Literal["cutoff", "functions", "weights", "evidence"] = Field(description="what the trial was to decide")
    settings: FittedSettings
    energy_mev_per_atom: float = Field(ge=0)
    energy_mae_mev_per_atom: float = Field(ge=0, description="mean absolute error; what is compared")
    force_mev_per_angstrom: float = Field(ge=0)
    stress_mev_per_atom: float | None = Field(
        default=None, ge=0, description="of ∂(energy per atom)/∂strain; None where no label has stress"
    )
    cost_us: float | None = Field(default=None, ge=0, description="µs per atom and step, measured; None: not measured")


class FitChoice(Model):
    """How `auto` was settled."""

    named: tuple[str, ...] = Field(default=(), max_length=7, description="settings that the site file pins")
    trials: tuple[FitTrial, ...] = Field(max_length=40)
    trajectories: int = Field(ge=1, description="groups of labels that are never split between fit and judgement")
    folds: int = Field(ge=1)
    seconds: float = Field(ge=0)


class FitReport(Model):
    """The fit that became the potential."""

    settings: FittedSettings
    choice: FitChoice | None = Field(default=None, description="None: the site file pins every setting")
    cost_us: float | None = Field(default=None, ge=0, description="µs per atom and step on one core, measured")
    condition: float = Field(ge=0, description="of the scaled normal equations")
    left_out: int = Field(default=0, ge=0, description="directions that rounding has eaten, and that were left out")


class TrainMetrics(Model):
    """The new potential, and how it does beside the current one on the same test set."""

    kind: Literal["train"] = "train"
    functions: int = Field(gt=0)
    functions_per_element: dict[str, int] = Field(
        default_factory=dict, description="what was fitted, by element; empty in journals of before it was told"
    )
    fit: FitReport | None = Field(default=None, description="of a linear fit; None in journals of before it was told")
    train: Errors
    test: Errors
    test_of_current: Errors | None = Field(description="the current potential on the same test set; None at bootstrap")
    groups: tuple[GroupErrors, ...] = Field(default=(), description="the test set in parts")
    groups_of_current: tuple[GroupErrors, ...] = ()
    conditions: tuple[ConditionErrors, ...] = Field(default=(), description="on audit frames, by condition")
    conditions_of_current: tuple[ConditionErrors, ...] = ()
    measures: tuple[Measure, ...] = Field(default=(), description="properties beside the oracle's")
    calibration: tuple[Calibration, ...] = Field(default=(), description="what γ has meant so far, by element")
    lessons: tuple[Lesson, ...] = Field(default=(), description="what this cycle's labels taught, by source")
    fits: tuple[FitTried, ...] = Field(default=(), description="the first is the one that was kept")
    loss: tuple[tuple[int, int, float, float, float], ...] = Field(
        default=(), max_length=200, description="pacemaker's: stage, iteration, loss, meV/atom, meV/Å"
    )
    history: tuple[PastErrors, ...] = Field(default=(), description="earlier potentials on the same test set, by cycle")
    probe_gamma: float = Field(ge=0, description="γ of a distorted cell; must exceed 1")
    reference_energies_ev: dict[str, float]
    fingerprint: str = Field(description="sha256 over the .yaml and the .asi: they belong together")
    fit_s: float = Field(ge=0)
    active_set_s: float = Field(ge=0)


Metrics = Annotated[
    GenerateMetrics | ExploreMetrics | SelectMetrics | CalculateMetrics | TrainMetrics,
    Field(discriminator="kind"),
]


class Outcome(Model):
    """One ended attempt, as `outcome.json` tells it.

    `status` is `done` when the task did what it was asked (a halted walker is done), else `failed` with a reason.
    """

    version: Literal[1] = 1
    campaign: str
    task: str
    uid: str
    index: int = Field(ge=0)
    job_id: str
    host: str
    kind: Literal["generate", "explore", "select", "calculate", "train"]
    status: Literal["done", "failed"]
    reason: Reason | None = None
    message: str = Field(default="", max_length=8000)
    reached: float = Field(
        default=0.0, ge=0, le=1, description="of a failed attempt: part of the task that the next one need not do again"
    )
    metrics: Metrics | None = None
    artefacts: dict[str, FileRef] = Field(default_factory=dict)
    started_at: AwareDatetime
    ended_at: AwareDatetime
    wall_s: float = Field(ge=0)
    cpu_s: float = Field(ge=0)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.status == "done":
            if self.metrics is None or self.reason is not None:
                raise ValueError("a done outcome carries metrics and no reason")
            if self.metrics.kind != self.kind:
                raise ValueError(f"kind is {self.kind!r} but the metrics are of {self.metrics.kind!r}")
        elif self.reason is None:
            raise ValueError("a failed outcome says its reason")
        return self
