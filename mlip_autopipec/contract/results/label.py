"""What a task of Calculation has found: one label, and the runs that it took."""

from dataclasses import field
from typing import Literal

from mlip_autopipec.contract.values import about, is_nothing, value


@value
class OracleRun:
    """One run of an external code for a label: what was changed to heal, and how it ended."""

    changes: dict[str, bool | int | float | str] = field(
        default_factory=dict,
        metadata=about("numerical settings that differ from those of the first run"),
    )
    ending: str = field(metadata=about("`converged`, or the class of the failure"))
    message: str = field(default="", metadata=about("the code's own", alias="words"))
    wall_s: float = field(metadata=about(ge=0))


@value
class OracleNotes:
    """What a code tells of a label beside its numbers."""

    settings: str = field(
        metadata=about("fingerprint of everything that gives a label its meaning")
    )
    tries: tuple[OracleRun, ...] = field(
        default=(), metadata=about("runs of an external code; the last gave the label")
    )


@value
class LabelDifference:
    """A label of the user's beside the oracle's of the same structure."""

    set_energy_ev: float
    composition: dict[str, int]
    force_mev_per_angstrom: float = field(
        metadata=about("of the atom with the largest difference", ge=0)
    )
    oracle_force_mev_per_angstrom: float = field(
        metadata=about("the largest force by the oracle", ge=0)
    )
    force_hint: str = field(
        default="",
        metadata=about("by what they would agree; empty: nothing known", max_length=1000),
    )
    stress_gpa: float | None = field(
        default=None, metadata=about("of the component that differs most; None: no stress", ge=0)
    )
    stress_hint: str = field(default="", metadata=about(max_length=1000))


@value
class OracleNumbers:
    """The numbers of a property cell's label, by which the oracle is held against itself."""

    volume_angstrom3: float = field(metadata=about(gt=0))
    stress_gpa: tuple[float, float, float, float, float, float] = field(
        metadata=about("xx, yy, zz, yz, xz, xy")
    )
    forces_ev_per_angstrom: tuple[tuple[float, float, float], ...] = field(
        metadata=about("on the atoms of the unit cell, which come first", max_length=8)
    )


@value
class CalculateMetrics:
    """One label. The numbers themselves are in the artefact `label` (extended XYZ)."""

    kind: Literal["calculate"] = "calculate"
    energy_ev: float
    n_atoms: int = field(metadata=about(gt=0))
    force_max_ev_per_angstrom: float = field(metadata=about(ge=0))
    pressure_gpa: float
    settings: str = field(
        metadata=about("fingerprint of everything that gives a label its meaning")
    )
    tries: tuple[OracleRun, ...] = field(
        default=(), metadata=about("runs of an external code; the last gave the label")
    )
    magnetization_bohr: float | None = field(
        default=None, metadata=about("of the cell, in μB; None without spin")
    )
    numbers: OracleNumbers | None = field(default=None, metadata=about("of a small property cell"))
    difference: LabelDifference | None = field(
        default=None,
        metadata=about("of a frame of the user's, labelled again", exclude_if=is_nothing),
    )
