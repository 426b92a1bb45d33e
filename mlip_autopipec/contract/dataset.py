"""Labels that the user brings: how his files name their numbers, and in what units they are."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.values import about, value

EnergyUnit = Literal["eV", "meV", "Ha", "Ry", "kcal/mol", "kJ/mol"]
ForceUnit = Literal[
    "eV/angstrom", "meV/angstrom", "Ha/bohr", "Ry/bohr", "kcal/mol/angstrom", "kJ/mol/angstrom"
]
StressUnit = Literal["eV/angstrom3", "GPa", "kbar", "Ha/bohr3", "Ry/bohr3"]

# CODATA 2018
_HARTREE_EV, BOHR_ANGSTROM, _KCAL_PER_MOL_EV, _GPA_EV = (
    27.211386,
    0.52917721,
    0.043364104,
    0.0062415091,
)
#: Each unit in eV.
ENERGY_EV: Mapping[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "Ha": _HARTREE_EV,
    "Ry": _HARTREE_EV / 2,
    "kcal/mol": _KCAL_PER_MOL_EV,
    "kJ/mol": _KCAL_PER_MOL_EV / 4.184,
}
#: Each unit in eV/Å.
FORCE_EV_PER_ANGSTROM: Mapping[str, float] = {
    "eV/angstrom": 1.0,
    "meV/angstrom": 1e-3,
    "Ha/bohr": _HARTREE_EV / BOHR_ANGSTROM,
    "Ry/bohr": _HARTREE_EV / 2 / BOHR_ANGSTROM,
    "kcal/mol/angstrom": _KCAL_PER_MOL_EV,
    "kJ/mol/angstrom": _KCAL_PER_MOL_EV / 4.184,
}
#: Each unit in eV/Å³.
STRESS_EV_PER_ANGSTROM3: Mapping[str, float] = {
    "eV/angstrom3": 1.0,
    "GPa": _GPA_EV,
    "kbar": _GPA_EV / 10,
    "Ha/bohr3": _HARTREE_EV / BOHR_ANGSTROM**3,
    "Ry/bohr3": _HARTREE_EV / 2 / BOHR_ANGSTROM**3,
}

#: The settings of labels that no oracle of the campaign has made.
ADOPTED = "adopted"


@value
class DatasetSettings:
    """How labels are read from files. A name left out is recognised, or asked if candidates differ.

    Stress has ASE's sign (positive where the cell would rather be smaller) and is an energy per
    volume. A virial is an energy: -volume x stress.
    """

    energy: str | None = field(
        default=None, metadata=about("name of the energy in the files, such as REF_energy")
    )
    forces: str | None = field(
        default=None, metadata=about("name of the forces, such as REF_forces")
    )
    stress: str | None = field(
        default=None, metadata=about("name of the stress; not with `virial`")
    )
    virial: str | None = field(
        default=None, metadata=about("name of the virial, where the files have no stress")
    )
    energy_unit: EnergyUnit = field(default="eV", metadata=about("of the energies in the files"))
    energy_per_atom: bool = field(
        default=False, metadata=about("the files give the energy of one atom")
    )
    forces_unit: ForceUnit = field(
        default="eV/angstrom", metadata=about("of the forces in the files")
    )
    forces_sign: Literal["force", "gradient"] = field(
        default="force", metadata=about("gradient: the files give +dE/dx, the opposite of a force")
    )
    stress_unit: StressUnit = field(
        default="eV/angstrom3", metadata=about("of the stress; a virial has energy_unit")
    )
    stress_sign: Literal["ase", "opposite"] = field(
        default="ase",
        metadata=about(
            "opposite: positive under pressure, as most codes print it; of a virial as well"
        ),
    )
    length_unit: Literal["angstrom", "bohr"] = field(
        default="angstrom",
        metadata=about("of positions and cells, in formats that do not say it themselves"),
    )
    faulty_frames: Literal["refuse", "leave_out"] = field(
        default="refuse",
        metadata=about("refuse: one faulty frame refuses the set; leave_out: go on without these"),
    )
    test_part: float = field(
        default=0.1,
        metadata=about("of the frames, held out to test; no walk is split", ge=0, le=0.5),
    )
    checks: int = field(
        default=3,
        metadata=about(
            "frames that the campaign's oracle labels again, chosen by the program", ge=1, le=50
        ),
    )


@value
class AdoptParameters(DatasetSettings):
    """Read the labels of the inputs `labelled`, judge them, and hand them on."""

    files: tuple[str, ...] = field(
        metadata=about("what the user calls the inputs `labelled`, in their order")
    )
    force_max_ev_per_angstrom: float = field(
        metadata=about("a frame with a larger force is faulty", gt=0)
    )
    pressure_max_gpa: float = field(
        metadata=about("the same for its pressure, of either sign", gt=0)
    )
