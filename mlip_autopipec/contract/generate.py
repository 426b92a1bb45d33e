"""Generation: crystals, what is made of them, and what the gate measures of them."""

from dataclasses import field
from typing import Annotated, Any, Literal

from mlip_autopipec.contract.crystals import crystal_name
from mlip_autopipec.contract.dataset import AdoptParameters
from mlip_autopipec.contract.measure import MeasureSettings
from mlip_autopipec.contract.seams import OneOf
from mlip_autopipec.contract.values import Within, about, value


@value
class Prototype:
    """A crystal by name, repeated along its cell vectors."""

    structure: Literal[
        "fcc",
        "bcc",
        "hcp",
        "sc",
        "diamond",
        "rocksalt",
        "cesiumchloride",
        "zincblende",
        "l1_0",
        "l1_2",
    ]
    elements: tuple[str, ...] = field(
        metadata=about(
            "in the order of its sites: of l1_2 first the corners, then the three faces (Ag, Pd is"
            " AgPd3)",
            min_length=1,
        )
    )
    lattice_constant_angstrom: float = field(metadata=about(gt=0))
    c_over_a: float | None = field(
        default=None, metadata=about("hcp and l1_0; None is the ideal ratio", gt=0)
    )
    repeat: tuple[int, int, int] = (1, 1, 1)

    @property
    def name(self) -> str:
        """What people call the crystal, such as `Cu fcc` or `AuCu3 l1_2`.

        Its formula is in the order of its sites.
        """
        return crystal_name(f"{''.join(self.elements)} {self.structure}")


@value
class PhononProbes:
    """How the gate takes the phonons of each prototype, by finite displacements."""

    supercell_min_angstrom: float = field(
        default=10.0, metadata=about("each edge of the supercell is at least so long", gt=0, le=50)
    )
    displacement_angstrom: float = field(
        default=0.01, metadata=about("of the one atom that is moved", gt=0, le=0.1)
    )
    oracle: bool = field(
        default=False,
        metadata=about(
            "label the displaced supercells, one or two for each prototype, and compare with the"
            " oracle's own"
        ),
    )


def _are_none(measures: object) -> bool:
    """Tasks of before there were others keep their names."""
    return not measures


#: Of whichever code the registry has, by its `kind`.
AnyMeasure = Annotated[MeasureSettings, OneOf("measures", "task")]


@value
class GateProbes:
    """What the gate is told about a potential beside its errors."""

    strain: float = field(
        default=0.01, metadata=about("of the cells for elastic constants, both ways", gt=0, le=0.05)
    )
    lattice_range: float = field(
        default=0.03,
        metadata=about(
            "the equation of state goes so far to both sides of the prototype", gt=0, le=0.1
        ),
    )
    volumes: int = field(default=7, metadata=about("points of the equation of state", ge=5))
    md_steps: int = field(default=200, metadata=about("of the run that must stay whole", ge=1))
    md_timestep_fs: float = field(default=2.0, metadata=about(gt=0, le=10))
    md_temperature_kelvin: float = field(default=300.0, metadata=about(gt=0))
    phonons: PhononProbes | None = field(
        default=None, metadata=about("by phonopy, which the jobs' Python must have")
    )
    measures: tuple[AnyMeasure, ...] = field(
        default=(), metadata=about("of codes that other packages bring", exclude_if=_are_none)
    )


Fraction = Annotated[float, Within(ge=0, le=1)]


@value
class _Variation:
    """Structures made of every prototype in turn.

    They are strained and rattled as the others unless the variation says otherwise.
    """

    count: int = field(metadata=about("structures in all", gt=0))


@value
class Alloy(_Variation):
    """The sites of a prototype of one element, occupied by several."""

    kind: Literal["alloy", "special"] = field(
        metadata=about(
            "alloy: at random; special: so that the correlations are those of a random alloy"
            " (needs icet)"
        )
    )
    elements: tuple[str, ...] = field(
        metadata=about("that share the sites of the crystal", min_length=2)
    )
    fractions: dict[str, tuple[Fraction, Fraction]] = field(
        default_factory=dict,
        metadata=about(
            "of the sites, from and to, drawn evenly; the first element takes what the others leave"
        ),
    )


@value
class PointDefect(_Variation):
    """One atom too few, one too many, or two of different elements exchanged."""

    kind: Literal["vacancy", "interstitial", "antisite"] = field(metadata=about("which defect"))


@value
class Surface(_Variation):
    """Slabs with low-index faces."""

    kind: Literal["surface"] = "surface"
    miller_max: int = field(default=1, metadata=about("largest Miller index", ge=1, le=3))
    thickness_angstrom: float = field(default=8.0, metadata=about(gt=0))
    vacuum_angstrom: float = field(
        default=10.0, metadata=about("between a slab and its image", gt=0)
    )


@value
class Dimer(_Variation):
    """Two atoms in a box, from the shortest distance allowed up: the potential's repulsive wall."""

    kind: Literal["dimer"] = "dimer"
    distance_max_angstrom: float = field(metadata=about("of the two atoms", gt=0))
    box_angstrom: float = field(default=12.0, metadata=about("side of the cubic box", gt=0))


@value
class Squeezed(_Variation):
    """Crystals under pressure.

    They are scaled so that neighbours are between the shortest distance allowed and their usual
    one.
    """

    kind: Literal["squeezed"] = "squeezed"


Variation = Alloy | PointDefect | Surface | Dimer | Squeezed


@value
class Teacher:
    """An ASE calculator whose MD makes first structures; its energies and forces are no labels."""

    calculator: str = field(metadata=about("module.path.ClassName"))
    arguments: dict[str, Any] = field(default_factory=dict)
    python: str | None = field(
        default=None,
        metadata=about(
            "Python of the site with numpy, ase and the calculator; None is that of the jobs"
        ),
    )
    temperatures_kelvin: tuple[Annotated[float, Within(gt=0)], ...] = field(
        metadata=about("of its MD, used in turn", min_length=1)
    )
    steps: int = field(default=100, metadata=about("MD steps before each structure", ge=1))
    timestep_fs: float = field(default=2.0, metadata=about(gt=0, le=10))

    @property
    def name(self) -> str:
        """Its class."""
        return self.calculator.rpartition(".")[2]


def _is_of_before(choice: object) -> bool:
    """A task of before there was such a choice keeps its name."""
    return choice is None


@value
class GenerateParameters:
    """Make the structures that a campaign begins with."""

    kind: Literal["generate"] = "generate"
    prototypes: tuple[Prototype, ...]
    structures: int = field(metadata=about("training structures in all", ge=0))
    test_structures: int = field(
        metadata=about("held out from the first day, generated from other seeds", ge=0)
    )
    strain_max: float = field(
        metadata=about("largest component of the strain, dimensionless", ge=0, lt=0.5)
    )
    rattle_angstrom: tuple[float, ...] = field(
        metadata=about("standard deviations of the displacements, used in turn")
    )
    distance_min_angstrom: float = field(
        metadata=about("structures with shorter distances are drawn again", gt=0)
    )
    elements: tuple[str, ...] = ()
    variations: tuple[Variation, ...] = ()
    probes: GateProbes | None = field(
        default=None, metadata=about("also make the structures that the gate measures")
    )
    isolated_atom_box_angstrom: float | None = field(
        default=None,
        metadata=about(
            "also one atom of each element alone, in a box of this side that repeats nowhere", gt=0
        ),
    )
    twins: bool | None = field(
        default=None,
        metadata=about(
            "also each crystal in two cells, to check the oracle; None in campaigns that began"
            " before",
            exclude_if=_is_of_before,
        ),
    )
    dataset: AdoptParameters | None = field(
        default=None, metadata=about("labels of the user's to adopt", exclude_if=_is_of_before)
    )
    teacher: Teacher | None = field(
        default=None,
        metadata=about(
            "walks to each structure from a strained crystal, instead of a rattle",
            exclude_if=_is_of_before,
        ),
    )
    seed: int
