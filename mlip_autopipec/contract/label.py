"""Calculation: what an oracle is told, and what a label is."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from mlip_autopipec.contract.values import Within, about, read, value
from mlip_autopipec.contract.words import Role


@value
class AseOracle:
    """Any ASE calculator by its import path."""

    kind: Literal["ase"] = "ase"
    calculator: str = field(metadata=about("module.path.ClassName"))
    arguments: dict[str, Any] = field(default_factory=dict)


@value
class Smearing:
    """Occupations of a metal; the energy of a label is F = E - TS, which the forces belong to."""

    kind: Literal["mv", "mp", "gaussian", "fermi_dirac"] = "mv"
    width_ry: float = field(default=0.02, metadata=about(gt=0, lt=1))


@value
class Pseudopotential:
    """One element's pseudopotential: a file in the pseudopotential folder, and what its content must be."""

    file: str = field(metadata=about("name of the UPF file", pattern=r"^[^/\s'\"]+$"))
    sha256: str | None = field(default=None, metadata=about("refused with another content", pattern="^[0-9a-f]{64}$"))
    md5: str | None = field(default=None, metadata=about("the same; SSSP publishes these", pattern="^[0-9a-f]{32}$"))


#: What a k-mesh is counted from: the cell at hand, as it was before there was a choice, or the family's reference.
KMesh = Literal["cell", "family"]


@value
class EspressoSettings:
    """What a label by pw.x rests on, and how pw.x is started, but for pseudopotentials and cutoffs."""

    kind: Literal["espresso"] = "espresso"
    command: str = field(
        default="pw.x", metadata=about("after the phase's launcher; such as `pw.x -nk 2`", min_length=1)
    )
    pseudo_folder: str = field(metadata=about("full path of the UPF files, where the jobs run", pattern="^/"))
    k_spacing_inverse_angstrom: float = field(
        metadata=about(
            "the mesh has ceil(|b| / spacing) points or more along each reciprocal vector b of the unstrained cell;"
            " |b| has its 2π",
            gt=0,
        )
    )
    k_offset: tuple[Literal[0, 1], Literal[0, 1], Literal[0, 1]] = field(
        default=(0, 0, 0), metadata=about("1 shifts the mesh by half a step; the default has Γ in it")
    )
    smearing: Smearing | None = field(default=Smearing(), metadata=about("null: fixed occupations, for insulators"))
    starting_magnetization: dict[str, Annotated[float, Within(ge=-1, le=1)]] = field(
        default_factory=dict,
        metadata=about("by element, in parts of its valence; any makes the calculation spin-polarised"),
    )
    charge: float = field(default=0.0, metadata=about("of the cell, in electrons missing"))
    scf_threshold_ry_per_atom: float = field(default=1e-9, metadata=about("when an SCF is converged", gt=0, lt=1e-3))
    system: dict[str, bool | int | float | str] = field(
        default_factory=dict, metadata=about("further keys of pw.x's &SYSTEM, such as vdw_corr")
    )
    mixing_beta: float = field(default=0.7, metadata=about("to begin with; 0.3 where an SCF fails", gt=0, le=1))
    electron_maxstep: int = field(default=100, metadata=about("to begin with; 400 where an SCF fails", ge=1, le=400))
    tries_max: int = field(
        default=5, metadata=about("runs of pw.x in one attempt; all but the first are healing", ge=1)
    )


def _is_of_before(k_mesh: object) -> bool:
    """Tasks and fingerprints of before there was a choice keep their names: the older rule is left out."""
    return k_mesh == "cell"


@value
class EspressoOracle(EspressoSettings):
    """Quantum ESPRESSO's pw.x, with everything said."""

    pseudopotentials: dict[str, Pseudopotential] = field(metadata=about(min_length=1))
    ecutwfc_ry: float = field(metadata=about(gt=0))
    ecutrho_ry: float = field(metadata=about(gt=0))
    k_mesh: KMesh = field(default="cell", metadata=about(exclude_if=_is_of_before))


AnyOracle = AseOracle | EspressoOracle


def oracle_from(content: Mapping[str, Any]) -> AnyOracle:
    """An oracle from JSON, whichever its `kind` names. Raises ValueError."""
    if content.get("kind") == "espresso":
        return read(EspressoOracle, content, "oracle")
    return read(AseOracle, content, "oracle")


@value
class CalculateParameters:
    """Label one structure: energy, forces, stress."""

    kind: Literal["calculate"] = "calculate"
    role: Role
    origin: str = field(metadata=about("where the structure came from, for the data set"))
    oracle: AnyOracle
    force_max_ev_per_angstrom: float = field(metadata=about("a label with a larger force is refused", gt=0))
    pressure_max_gpa: float = field(default=1000.0, metadata=about("the same for its pressure, of either sign", gt=0))
