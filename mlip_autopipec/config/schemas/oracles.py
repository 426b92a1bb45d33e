"""`calculation.oracle:` as a user writes it; tasks carry it with everything said."""

from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from mlip_autopipec.contract.label import AnyOracle, AseOracle, EspressoOracle, EspressoSettings, KMesh, Pseudopotential
from mlip_autopipec.contract.values import about, given, value

#: pw.x takes no less. A norm-conserving pseudopotential needs no more; others say an ecutrho_ry of their own.
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
class ElementSection(Pseudopotential):
    """A pseudopotential with the cutoffs that it is good from."""

    ecutwfc_ry: float | None = field(default=None, metadata=about("its plane waves need this cutoff", gt=0))
    ecutrho_ry: float | None = field(default=None, metadata=about("its density needs this cutoff", gt=0))


@value
class EspressoSection(EspressoSettings):
    """Quantum ESPRESSO's pw.x."""

    sssp_file: Path | None = field(
        default=None, metadata=about("the SSSP library's JSON as published; `pseudopotentials` comes before it")
    )
    pseudopotentials: dict[str, ElementSection] = field(default_factory=dict, metadata=about("by element"))
    ecutwfc_ry: float | None = field(default=None, metadata=about("the largest of the elements' if left out", gt=0))
    ecutrho_ry: float | None = field(
        default=None, metadata=about("the largest of the elements' and of 4 ecutwfc_ry if left out", gt=0)
    )
    k_mesh: KMesh | None = field(
        default=None,
        metadata=about(
            "family: one mesh for a crystal, however it is strained, rattled, moved or repeated; cell: counted anew for"
            " each cell. Left out: as the campaign began, new ones with family"
        ),
    )


AnyOracleSection = Annotated[AseOracle | EspressoSection, Field(discriminator="kind")]


def oracle_of(section: AseOracle | EspressoSection, elements: Sequence[str], k_mesh: KMesh = "cell") -> AnyOracle:
    """The oracle of a campaign that began with this rule for k-meshes. A table in a file has been read before.

    One cutoff for all: a label of one element must mean the same as that of an alloy with a harder one.
    """
    if isinstance(section, AseOracle):
        return section
    used = {element: section.pseudopotentials[element] for element in elements}
    shared = given(section, EspressoSettings)
    ecutwfc_ry = section.ecutwfc_ry or max(one.ecutwfc_ry or 0.0 for one in used.values())
    ecutrho_ry = section.ecutrho_ry or max(DUAL_MIN * ecutwfc_ry, *(one.ecutrho_ry or 0.0 for one in used.values()))
    return EspressoOracle(
        **shared,
        pseudopotentials={
            element: Pseudopotential(file=one.file, sha256=one.sha256, md5=one.md5) for element, one in used.items()
        },
        ecutwfc_ry=ecutwfc_ry,
        ecutrho_ry=ecutrho_ry,
        k_mesh=section.k_mesh or k_mesh,
    )
