"""`training:` the fit, and the gate that it has to pass."""

from dataclasses import field
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from mlip_autopipec.contract.generate import GateProbes, PhononProbes
from mlip_autopipec.contract.measure import MeasureSettings, measure_code
from mlip_autopipec.contract.seams import OneOf
from mlip_autopipec.contract.train import (
    Auto,
    NotNegative,
    PacemakerSettings,
    Positive,
    PositiveInt,
)
from mlip_autopipec.contract.trainer import AnyTrainer
from mlip_autopipec.contract.values import about, given, value
from mlip_autopipec.data_models.base import Model

#: A stress weighs so much beside an energy.
STRESS_SHARE = 0.01
#: Where the basis is named, and they are not.
_ENERGY_WEIGHT, _RIDGE = 100.0, 1e-8


@value
class PacemakerSection(PacemakerSettings):
    """`training.pacemaker:` the nonlinear fit."""

    scratch_every: int | None = field(
        default=5,
        metadata=about(
            "cycles between fits from scratch beside the warm start; the better is kept", ge=1
        ),
    )

    def settings(self) -> PacemakerSettings:
        """The same as tasks carry it."""
        return PacemakerSettings(**given(self, PacemakerSettings))


@value
class PhononsSection(PhononProbes):
    """`training.gate.phonons:` which crystals must be stable.

    Also how near the oracle's frequencies must be.
    """

    stable: tuple[str, ...] | None = field(
        default=None,
        metadata=about(
            "prototypes that have no imaginary mode, such as [Cu fcc]; all of them if left out."
            " Where the oracle's own frequencies are known, they say it"
        ),
    )
    imaginary_max_thz: float = field(
        default=0.1, metadata=about("a lowest frequency so far below zero is noise", gt=0)
    )
    frequency_rms_max_thz: float = field(
        default=0.3,
        metadata=about("largest root-mean-square difference from the oracle's frequencies", gt=0),
    )

    def settings(self) -> PhononProbes:
        """The same as tasks carry it."""
        return PhononProbes(**given(self, PhononProbes))


@value
class GateSection(GateProbes):
    """`training.gate:` what a potential must be like.

    Tolerances of properties are parts of the oracle's value.
    """

    properties: bool = field(
        default=True, metadata=about("label each prototype's volumes and strains for the gate")
    )
    group_worse_max: float = field(
        default=0.5,
        metadata=about(
            "an element, an origin or the tail may err more than before by this part", ge=0
        ),
    )
    group_worse_force_max_mev_per_angstrom: float = field(
        default=25.0, metadata=about("or by this much", ge=0)
    )
    lattice_constant_max: float = field(
        default=0.005, metadata=about("largest relative error", gt=0)
    )
    bulk_modulus_max: float = field(default=0.1, metadata=about("largest relative error", gt=0))
    elastic_constant_max: float = field(
        default=0.2, metadata=about("largest error, relative to C11", gt=0)
    )
    wall_drop_max_ev: float = field(
        default=0.05,
        metadata=about("the energy must rise, but for so much, as atoms are pushed together", ge=0),
    )
    phonons: PhononsSection | None = field(
        default=None,
        metadata=about("off if left out; {} for the defaults. Needs phonopy in site.python"),
    )

    measures: tuple[Annotated[MeasureSettings, OneOf("measures", "section")], ...] = field(
        default=(),
        metadata=about(
            "further rules with what they measure, of packages that bring some; each with its"
            " `kind`",
            exclude_if=lambda measures: not measures,
        ),
    )

    def probes(self) -> GateProbes:
        """What the work half is to measure."""
        measures = tuple(
            measure_code(section.kind).control().asked(section) for section in self.measures
        )
        phonons = self.phonons and self.phonons.settings()
        return GateProbes(**{**given(self, GateProbes), "phonons": phonons, "measures": measures})


class Balance(NamedTuple):
    """Weights and penalty of the linear fit."""

    energy_weight: float | Auto
    stress_weight: float | Auto
    ridge: float | Auto
    smoothness: float | Auto


class TrainingSection(Model):
    """`training:` the fit and its gate."""

    trainer: AnyTrainer = Field(
        default="linear",
        description=(
            "linear: a ridge regression, seconds; pacemaker: nonlinear, minutes to hours; or"
            " {kind: …} of a code that another package brings"
        ),
    )
    cutoff_angstrom: Positive | Auto = Field(
        default="auto",
        description=(
            "atoms farther apart do not interact; auto: by cross-validation, anew at each fit"
        ),
    )
    functions_per_element: PositiveInt | Auto = Field(
        default="auto",
        description=(
            "size of the ACE basis of each element; auto: the smallest that is surely within a"
            " tenth of the best error"
        ),
    )
    energy_weight: Positive | Auto | None = Field(
        default=None,
        description=(
            "linear fit: 100 beside a force_weight of 1 makes 2 meV/atom as bad as 20 meV/Å. Left"
            " out: auto where functions_per_element is, else 100"
        ),
    )
    force_weight: float = Field(
        default=1.0, gt=0, description="linear fit: of the mean square over force components"
    )
    stress_weight: NotNegative | Auto | None = Field(
        default=None,
        description=(
            "linear fit: of the mean square of the energy per atom's derivative by strain; 0: not"
            " fitted. Left out: a hundredth of energy_weight"
        ),
    )
    ridge: Positive | Auto | None = Field(
        default=None,
        description=(
            "L2 penalty of the fit. Left out: auto where functions_per_element is, else 1e-8"
        ),
    )
    smoothness: NotNegative | Auto | None = Field(
        default=None,
        description=(
            "power with which the penalty rises with how fast a function varies. Left out: auto"
            " where functions_per_element is, else 0"
        ),
    )
    buffer_weight: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="how much an atom outside the core of an embedded cell counts; core is 1",
    )
    core_repulsion: bool = Field(
        default=True,
        description=(
            "ZBL between atoms closer than distance_min_angstrom, as a part of the potential"
        ),
    )
    reference_energies_ev: Literal["fitted", "isolated_atoms"] | dict[str, float] = Field(
        default="fitted",
        description=(
            "energies of the elements that the fit is beside, pinned at the first fit: fitted to"
            " its labels; the oracle's own of one atom alone, which surfaces, dimers and gas need;"
            " or by hand, for each element"
        ),
    )
    isolated_atom_box_angstrom: float = Field(
        default=12.0,
        ge=6,
        description="side of the box around an isolated atom; the oracle's plane waves fill it",
    )
    pacemaker: PacemakerSection = PacemakerSection()
    gate: GateSection = GateSection()
    worse_max: float = Field(
        default=0.2,
        ge=0,
        description="a fit whose test force error is worse by more than this part is not promoted",
    )
    worse_force_max_mev_per_angstrom: float = Field(
        default=5.0,
        ge=0,
        description=(
            "unless it is worse by no more than this: a new region costs a little elsewhere"
        ),
    )
    worse_energy_max_mev_per_atom: float = Field(
        default=2.0, ge=0, description="the same for the energy error"
    )

    def keys_of_trainer(self) -> Any:
        """What stands here for a trainer named by a word, as tasks carry it; None: nothing."""
        section = getattr(self, self.trainer, None) if isinstance(self.trainer, str) else None
        return section and section.settings()

    def balance(self) -> Balance:
        """Weights and penalty as a task carries them.

        What is left out is chosen where the basis is, else fixed.
        """
        chosen = self.functions_per_element == "auto"
        energy = self.energy_weight or ("auto" if chosen else _ENERGY_WEIGHT)
        stress: float | Auto = "auto" if energy == "auto" else STRESS_SHARE * energy
        return Balance(
            energy_weight=energy,
            stress_weight=stress if self.stress_weight is None else self.stress_weight,
            ridge=self.ridge or ("auto" if chosen else _RIDGE),
            smoothness=("auto" if chosen else 0.0) if self.smoothness is None else self.smoothness,
        )
