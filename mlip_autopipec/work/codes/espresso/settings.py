"""What a label by Quantum ESPRESSO's pw.x rests on, as a site file says and a task carries it."""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from mlip_autopipec.contract.oracle import KMesh, Oracle
from mlip_autopipec.contract.values import Within, about, value

#: pw.x takes no less. A norm-conserving pseudopotential needs no more; others say an ecutrho_ry of
#: their own.
DUAL_MIN = 4.0
#: Keys of &SYSTEM that the oracle says itself.
OWN_SYSTEM_KEYS = frozenset(
    {
        *("ibrav", "celldm", "a", "b", "c", "cosab", "cosac", "cosbc", "nat", "ntyp", "tot_charge"),
        *("ecutwfc", "ecutrho", "nosym", "noinv", "occupations", "smearing", "degauss"),
        *("nspin", "starting_magnetization"),
    }
)


@value
class Smearing:
    """Occupations of a metal; the energy of a label is F = E - TS, which the forces belong to."""

    kind: Literal["mv", "mp", "gaussian", "fermi_dirac"] = "mv"
    width_ry: float = field(default=0.02, metadata=about(gt=0, lt=1))


@value
class Pseudopotential:
    """One element's pseudopotential.

    It is a file in the pseudopotential folder, with what its content must be.
    """

    file: str = field(metadata=about("name of the UPF file", pattern=r"^[^/\s'\"]+$"))
    sha256: str | None = field(
        default=None, metadata=about("refused with another content", pattern="^[0-9a-f]{64}$")
    )
    md5: str | None = field(
        default=None, metadata=about("the same; SSSP publishes these", pattern="^[0-9a-f]{32}$")
    )


@value
class EspressoSettings(Oracle):
    """What a label by pw.x rests on, and how pw.x starts, but for pseudopotentials and cutoffs."""

    kind: Literal["espresso"] = "espresso"
    command: str = field(
        default="pw.x",
        metadata=about("after the phase's launcher; such as `pw.x -nk 2`", min_length=1),
    )
    pseudo_folder: str = field(
        metadata=about("full path of the UPF files, where the jobs run", pattern="^/")
    )
    k_spacing_inverse_angstrom: float = field(
        metadata=about(
            "the mesh has ceil(|b| / spacing) points or more along each reciprocal vector b of the"
            " unstrained cell; |b| has its 2π",
            gt=0,
        )
    )
    k_offset: tuple[Literal[0, 1], Literal[0, 1], Literal[0, 1]] = field(
        default=(0, 0, 0),
        metadata=about("1 shifts the mesh by half a step; the default has Γ in it"),
    )
    smearing: Smearing | None = field(
        default=Smearing(), metadata=about("null: fixed occupations, for insulators")
    )
    starting_magnetization: dict[str, Annotated[float, Within(ge=-1, le=1)]] = field(
        default_factory=dict,
        metadata=about(
            "by element, in parts of its valence; any makes the calculation spin-polarised"
        ),
    )
    charge: float = field(default=0.0, metadata=about("of the cell, in electrons missing"))
    scf_threshold_ry_per_atom: float = field(
        default=1e-9, metadata=about("when an SCF is converged", gt=0, lt=1e-3)
    )
    system: dict[str, bool | int | float | str] = field(
        default_factory=dict, metadata=about("further keys of pw.x's &SYSTEM, such as vdw_corr")
    )
    mixing_beta: float = field(
        default=0.7, metadata=about("to begin with; 0.3 where an SCF fails", gt=0, le=1)
    )
    electron_maxstep: int = field(
        default=100, metadata=about("to begin with; 400 where an SCF fails", ge=1, le=400)
    )
    tries_max: int = field(
        default=5,
        metadata=about("runs of pw.x in one attempt; all but the first are healing", ge=1),
    )


def _is_of_before(k_mesh: object) -> bool:
    """Tasks and fingerprints of before the choice keep their names: the older rule is left out."""
    return k_mesh == "cell"


@value
class EspressoOracle(EspressoSettings):
    """Quantum ESPRESSO's pw.x, with everything said."""

    pseudopotentials: dict[str, Pseudopotential] = field(metadata=about(min_length=1))
    ecutwfc_ry: float = field(metadata=about(gt=0))
    ecutrho_ry: float = field(metadata=about(gt=0))
    k_mesh: KMesh = field(default="cell", metadata=about(exclude_if=_is_of_before))


@value
class ElementSection(Pseudopotential):
    """A pseudopotential with the cutoffs that it is good from."""

    ecutwfc_ry: float | None = field(
        default=None, metadata=about("its plane waves need this cutoff", gt=0)
    )
    ecutrho_ry: float | None = field(
        default=None, metadata=about("its density needs this cutoff", gt=0)
    )


@value
class EspressoSection(EspressoSettings):
    """Quantum ESPRESSO's pw.x."""

    sssp_file: Path | None = field(
        default=None,
        metadata=about("the SSSP library's JSON as published; `pseudopotentials` comes before it"),
    )
    pseudopotentials: dict[str, ElementSection] = field(
        default_factory=dict, metadata=about("by element")
    )
    ecutwfc_ry: float | None = field(
        default=None, metadata=about("the largest of the elements' if left out", gt=0)
    )
    ecutrho_ry: float | None = field(
        default=None,
        metadata=about("the largest of the elements' and of 4 ecutwfc_ry if left out", gt=0),
    )
    k_mesh: KMesh | None = field(
        default=None,
        metadata=about(
            "family: one mesh for a crystal, however it is strained, rattled, moved or repeated;"
            " cell: counted anew for each cell. Left out: as the campaign began, new ones with"
            " family"
        ),
    )
