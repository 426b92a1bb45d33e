"""The first labels check the oracle: does it agree with itself? Pure; it says each number it saw.

A potential can be no better than its labels, and labels that contradict each other cost as much as
others. So the property cells of each crystal are labelled before anything else, and held against
each other:

- one crystal in two cells of different shape: energy per atom, and forces on the same atom;
- the stress against the derivative of the energy, along the volumes (Simpson's rule) and in each
  strained cell;
- mechanical stability, by the conditions of Born: F. Mouhat, F.-X. Coudert, Phys. Rev. B 90, 224104
  (2014);
- the bulk modulus of the equation of state against that of the elastic constants, at the same
  volume.

A contradiction pauses the campaign before the rest is submitted; a person who resumes it has
accepted what was seen. All with clamped ions, as the cells are, so that both sides of each
comparison are of one and the same thing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot

from mlip_autopipec.config.schemas.phases import FirstLabelsSection
from mlip_autopipec.contract.crystals import crystal_name
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.label import CalculateMetrics, OracleNumbers
from mlip_autopipec.contract.results.structure import PropertyCell
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import GenerationDigest, OracleFigure
from mlip_autopipec.data_models.events import Actor
from mlip_autopipec.data_models.state import Stage, TaskRecord, WorkflowState

#: Who pauses a campaign whose oracle contradicts itself.
CHECK = Actor(uid=-1, pid=0, name="the check of the first labels")
_GPA_ANGSTROM3_PER_EV = 160.21766208
_XX, _YY, _ZZ, _YZ, _XZ, _XY = range(6)
#: Voigt index of a shear → the two axes in its plane.
_PLANES = {_YZ: (_YY, _ZZ), _XZ: (_XX, _ZZ), _XY: (_XX, _YY)}
_NAMES = {_XX: "C11", _ZZ: "C33", _YZ: "C44", _XY: "C66"}
_EOS_POINTS_MIN = 5
_SAME_SCALE = 1e-6
_MODULUS_FLOOR_GPA = 1.0
_REASON_FIGURES_MAX = 6
#: The energy of a small strain is a meV/atom, and plane waves that come and go with the cell cost
#: tenths of it: below this part of the energy that two cells may differ by, a curvature by energies
#: decides nothing.
_NOISE_PARTS = 0.25


@dataclass(frozen=True, slots=True)
class CellLabel:
    """One labelled property cell: what it is of its crystal, and the oracle's numbers."""

    cell: PropertyCell
    energy_ev: float
    n_atoms: int
    numbers: OracleNumbers

    @property
    def pressure_gpa(self) -> float:
        return -sum(self.numbers.stress_gpa[:3]) / 3


def property_tasks(state: WorkflowState) -> Mapping[str, TaskRecord]:
    """The tasks of the current phase whose labels are for this check.

    There are none but where a campaign begins.
    """
    cells = _cells(state)
    return (
        {record.task.id: record for record in state.own_tasks if _cell_of(record, cells)}
        if cells
        else {}
    )


def check(state: WorkflowState, section: FirstLabelsSection) -> tuple[OracleFigure, ...]:
    """Every figure that the labels so far give.

    There are none if the site file wants no check, or nothing can be compared.
    """
    if not section.check:
        return ()
    cells = _cells(state)
    labels: dict[str, list[CellLabel]] = {}
    for record in property_tasks(state).values():
        cell = _cell_of(record, cells)
        metrics = record.outcome.metrics if record.outcome else None
        if (
            cell is not None
            and isinstance(metrics, CalculateMetrics)
            and metrics.numbers is not None
        ):
            label = CellLabel(cell, metrics.energy_ev, metrics.n_atoms, metrics.numbers)
            labels.setdefault(cell.crystal, []).append(label)
    return tuple(
        figure for crystal, of in labels.items() for figure in figures(crystal, of, section)
    )


def contradiction(checked: Sequence[OracleFigure]) -> str | None:
    """Why a person is asked, with the figures and what can be done.

    None where the oracle agrees with itself.
    """
    wrong = [figure.message for figure in checked if figure.contradiction]
    if not wrong:
        return None
    more = (
        f"; and {len(wrong) - _REASON_FIGURES_MAX} more" if len(wrong) > _REASON_FIGURES_MAX else ""
    )
    return (
        f"the oracle contradicts itself: {'; '.join(wrong[:_REASON_FIGURES_MAX])}{more}. Nothing"
        " but property cells has been labelled. Mend the oracle's settings (autopipecctl doctor"
        " --oracle tries them) and begin a new campaign, or go on all the same: autopipecctl"
        " resume --reason WHY"
    )


def figures(
    crystal: str, labels: Sequence[CellLabel], section: FirstLabelsSection
) -> Iterator[OracleFigure]:
    """What the labels of one crystal say about the oracle."""
    by_kind: dict[str, list[CellLabel]] = {}
    for label in labels:
        by_kind.setdefault(label.cell.kind, []).append(label)
    yield from _two_cells(crystal, by_kind, section)
    volumes = sorted(by_kind.get("volume", []), key=lambda label: label.cell.scale)
    yield from _pressures(crystal, volumes, section)
    fit = _EquationOfState.of(volumes)
    strains = {
        (label.cell.axis, label.cell.strain > 0): label for label in by_kind.get("strain", [])
    }
    constants = dict(_constants(strains))
    yield from _moduli(crystal, strains, volumes, constants, section)
    yield from _stability(crystal, constants, section)
    yield from _bulk_moduli(crystal, fit, constants, section)


# --- one crystal in two cells ---------------------------------------------------------------------


def _two_cells(
    crystal: str, by_kind: Mapping[str, Sequence[CellLabel]], section: FirstLabelsSection
) -> Iterator[OracleFigure]:
    for moved, other in zip(by_kind.get("moved", ()), by_kind.get("twin", ()), strict=False):
        off = 1000 * abs(moved.energy_ev / moved.n_atoms - other.energy_ev / other.n_atoms)
        sizes = f"cells of {moved.n_atoms} and {other.n_atoms} atoms"
        yield _figure(
            crystal,
            "energy in two cells",
            f"{sizes} of the same crystal differ by {off:.1f} meV/atom",
            off,
            section.energy_max_mev_per_atom,
            "meV/atom",
        )
        pairs = zip(
            moved.numbers.forces_ev_per_angstrom, other.numbers.forces_ev_per_angstrom, strict=False
        )
        apart = 1000 * max(
            (hypot(*(a - b for a, b in zip(*pair, strict=True))) for pair in pairs), default=0.0
        )
        yield _figure(
            crystal,
            "forces in two cells",
            f"the force on the same atom differs by up to {apart:.1f} meV/Å between {sizes}",
            apart,
            section.force_max_mev_per_angstrom,
            "meV/Å",
        )


# --- stress and energy ----------------------------------------------------------------------------


def _pressures(
    crystal: str, volumes: Sequence[CellLabel], section: FirstLabelsSection
) -> Iterator[OracleFigure]:
    """dE/ds = -3 P V / s, for a scale s of the lattice constant.

    This goes by Simpson's rule over three neighbours.
    """
    worst = None
    for first, middle, last in zip(volumes, volumes[1:], volumes[2:], strict=False):
        steps = [b.cell.scale - a.cell.scale for a, b in pairwise((first, middle, last))]
        if abs(steps[0] - steps[1]) > _SAME_SCALE:
            continue  # a label between them is missing
        slopes = [
            -3 * item.pressure_gpa * item.numbers.volume_angstrom3 / item.cell.scale
            for item in (first, middle, last)
        ]
        work_gpa_angstrom3 = steps[0] / 3 * (slopes[0] + 4 * slopes[1] + slopes[2])
        energy_gpa_angstrom3 = (last.energy_ev - first.energy_ev) * _GPA_ANGSTROM3_PER_EV
        apart = last.numbers.volume_angstrom3 - first.numbers.volume_angstrom3
        by_energy, by_stress = (
            -value / apart for value in (energy_gpa_angstrom3, work_gpa_angstrom3)
        )
        if worst is None or abs(by_energy - by_stress) > abs(worst[0] - worst[1]):
            worst = by_energy, by_stress, middle.cell.scale
    if worst is not None:
        by_energy, by_stress, scale = worst
        yield _figure(
            crystal,
            "pressure",
            f"the pressure around {scale:.3f} times the lattice constant is {by_stress:.2f} GPa by"
            f" stress and {by_energy:.2f} GPa by the energy's derivative",
            abs(by_energy - by_stress),
            section.pressure_max_gpa,
            "GPa",
        )


def _constants(
    strains: Mapping[tuple[int, bool], CellLabel],
) -> Iterator[tuple[tuple[int, int], float]]:
    """Elastic constants in GPa by (stress, strain), from the stress of cells strained both ways."""
    for axis in sorted({axis for axis, _ in strains}):
        plus, minus = strains.get((axis, True)), strains.get((axis, False))
        if plus is None or minus is None:
            continue
        apart = plus.cell.strain - minus.cell.strain
        for row, (up, down) in enumerate(
            zip(plus.numbers.stress_gpa, minus.numbers.stress_gpa, strict=True)
        ):
            yield (row, axis), (up - down) / apart


def _moduli(
    crystal: str,
    strains: Mapping[tuple[int, bool], CellLabel],
    volumes: Sequence[CellLabel],
    constants: Mapping[tuple[int, int], float],
    section: FirstLabelsSection,
) -> Iterator[OracleFigure]:
    """The curvature of the energy along each strain, by energies and by the work of the stress."""
    still = next((volume for volume in volumes if abs(volume.cell.scale - 1) < _SAME_SCALE), None)
    scale = max(
        (abs(value) for (row, column), value in constants.items() if row == column), default=0.0
    )
    for axis in sorted({axis for axis, _ in strains}):
        plus, minus = strains.get((axis, True)), strains.get((axis, False))
        if still is None or plus is None or minus is None:
            continue
        strain, volume = plus.cell.strain, still.numbers.volume_angstrom3
        curvature = plus.energy_ev + minus.energy_ev - 2 * still.energy_ev
        by_energy = curvature / strain**2 / volume * _GPA_ANGSTROM3_PER_EV
        by_stress = (_work(plus) - _work(minus)) / (2 * strain)
        apart_ev = abs(by_energy - by_stress) / _GPA_ANGSTROM3_PER_EV * volume * strain**2 / 2
        noise = 1000 * apart_ev / still.n_atoms <= _NOISE_PARTS * section.energy_max_mev_per_atom
        off = abs(by_energy - by_stress) / max(scale, abs(by_energy), _MODULUS_FLOOR_GPA)
        yield _figure(
            crystal,
            "elastic constant",
            f"{_NAMES.get(axis, f'C{axis + 1}{axis + 1}')} is {by_stress:.1f} GPa by stress and"
            f" {by_energy:.1f} GPa by the energies of the same cells",
            off,
            section.modulus_max,
            "of the largest",
            noise=noise,
        )


def _work(label: CellLabel) -> float:
    """The energy's derivative along the strain, over the volume of the unstrained cell, in GPa.

    F(t) = 1 + t S with symmetric S: dE/dt = V tr(σ S F⁻¹). For a length that is V₀ σ; for a shear,
    V₀ (σ_ij - t (σ_ii + σ_jj) / 4).
    """
    stress, axis = label.numbers.stress_gpa, label.cell.axis
    if axis not in _PLANES:
        return stress[axis]
    first, other = _PLANES[axis]
    return stress[axis] - label.cell.strain * (stress[first] + stress[other]) / 4


# --- elastic constants ----------------------------------------------------------------------------


def _stability(
    crystal: str, constants: Mapping[tuple[int, int], float], section: FirstLabelsSection
) -> Iterator[OracleFigure]:
    """Born's conditions of cubic crystals, and of hexagonal and tetragonal ones."""
    c11, c12, c44 = (constants.get(pair) for pair in ((_XX, _XX), (_YY, _XX), (_YZ, _YZ)))
    if c11 is None or c12 is None or c44 is None:
        return
    c13, c33, c66 = (constants.get(pair) for pair in ((_ZZ, _XX), (_ZZ, _ZZ), (_XY, _XY)))
    wrong = []
    if not c11 > abs(c12):
        wrong.append(f"C11 ({c11:.1f} GPa) is not above |C12| ({abs(c12):.1f} GPa)")
    if not c44 > 0:
        wrong.append(f"C44 ({c44:.1f} GPa) is not positive")
    if c33 is None:
        if not c11 + 2 * c12 > 0:
            wrong.append(f"C11 + 2 C12 ({c11 + 2 * c12:.1f} GPa) is not positive")
    elif c13 is not None and not 2 * c13**2 < c33 * (c11 + c12):
        wrong.append(f"2 C13² is not below C33 (C11 + C12): C13 {c13:.1f}, C33 {c33:.1f} GPa")
    if c66 is not None and not c66 > 0:
        wrong.append(f"C66 ({c66:.1f} GPa) is not positive")
    known = crystal in map(crystal_name, section.unstable)
    message = (
        f"not stable: {', '.join(wrong)}"
        if wrong
        else f"stable: C11 {c11:.1f}, C12 {c12:.1f}, C44 {c44:.1f} GPa"
    )
    if wrong and not known:
        message += "; if that is its nature, name it in calculation.first_labels.unstable"
    yield OracleFigure(
        check="stability",
        crystal=crystal,
        message=f"{crystal}: {message}",
        contradiction=bool(wrong) and not known,
    )


def _bulk_moduli(
    crystal: str,
    fit: "_EquationOfState | None",
    constants: Mapping[tuple[int, int], float],
    section: FirstLabelsSection,
) -> Iterator[OracleFigure]:
    by_strain = _bulk_modulus(constants)
    if fit is None or by_strain is None:
        return
    by_volume = fit.bulk_modulus_gpa
    off = abs(by_volume - by_strain) / max(abs(by_volume), abs(by_strain), _MODULUS_FLOOR_GPA)
    yield _figure(
        crystal,
        "bulk modulus",
        f"the bulk modulus is {by_volume:.1f} GPa by volumes and {by_strain:.1f} GPa by elastic"
        " constants",
        off,
        section.modulus_max,
        "of the larger",
    )


def _bulk_modulus(constants: Mapping[tuple[int, int], float]) -> float | None:
    """Voigt's: the response to a change of volume alone, as the equation of state has it."""
    c11, c12 = constants.get((_XX, _XX)), constants.get((_YY, _XX))
    if c11 is None or c12 is None:
        return None
    c13, c33 = constants.get((_ZZ, _XX)), constants.get((_ZZ, _ZZ))
    if c33 is None or c13 is None:
        return (c11 + 2 * c12) / 3
    return (2 * c11 + c33 + 2 * c12 + 4 * c13) / 9


@dataclass(frozen=True, slots=True)
class _EquationOfState:
    """Birch and Murnaghan to third order, at the volume of the prototype: a cubic in V^(-2/3)."""

    bulk_modulus_gpa: float

    @classmethod
    def of(cls, volumes: Sequence[CellLabel]) -> "_EquationOfState | None":
        if len(volumes) < _EOS_POINTS_MIN:
            return None
        still = volumes[0].numbers.volume_angstrom3 / volumes[0].cell.scale ** 3
        # In parts of the prototype's, so that sums of powers do not lose their digits.
        points = [((volume.numbers.volume_angstrom3 / still) ** (-2 / 3) - 1) for volume in volumes]
        width = max(abs(point) for point in points)
        base = volumes[len(volumes) // 2].energy_ev
        cubic = _least_squares(
            [point / width for point in points], [volume.energy_ev - base for volume in volumes]
        )
        slope, curvature = cubic[1] / width, 2 * cubic[2] / width**2
        # x = (V/V₀)^(-2/3): dx/dV = -2/3 / V₀ and d²x/dV² = 10/9 / V₀² at V₀.
        modulus = (curvature * 4 / 9 + slope * 10 / 9) / still
        return cls(modulus * _GPA_ANGSTROM3_PER_EV)


def _least_squares(points: Sequence[float], values: Sequence[float]) -> list[float]:
    """The coefficients of the cubic that is nearest to the values, the constant first.

    This goes by normal equations.
    """
    order = 4
    rows = [
        [sum(x ** (i + j) for x in points) for j in range(order)]
        + [sum(y * x**i for x, y in zip(points, values, strict=True))]
        for i in range(order)
    ]
    for column in range(order):
        pivot = max(range(column, order), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(order):
            if row != column:
                part = rows[row][column] / rows[column][column]
                rows[row] = [a - part * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[row][order] / rows[row][row] for row in range(order)]


# --- which labels ---------------------------------------------------------------------------------


def _cells(state: WorkflowState) -> dict[str, PropertyCell]:
    """The property cells of a bootstrap cycle that labels, by their origin."""
    generation = state.digests.get(Phase.GENERATION)
    if state.current_phase is not Phase.CALCULATION or state.stage is not Stage.WORKING:
        return {}
    if not isinstance(generation, GenerationDigest):
        return {}
    return {
        structure.origin: structure.cell
        for structure in generation.structures
        if structure.cell is not None
    }


def _cell_of(record: TaskRecord, cells: Mapping[str, PropertyCell]) -> PropertyCell | None:
    parameters = record.task.parameters
    return cells.get(parameters.origin) if isinstance(parameters, CalculateParameters) else None


def _figure(
    crystal: str,
    name: str,
    message: str,
    off: float,
    allowed: float,
    unit: str,
    *,
    noise: bool = False,
) -> OracleFigure:
    """`noise`: the energies behind it differ by less than they are good for.

    So it decides nothing.
    """
    wrong = not off <= allowed and not noise
    limit = (
        f"{off:.0%} apart, at most {allowed:.0%}"
        if unit.startswith("of")
        else f"at most {allowed:g} {unit}"
    )
    return OracleFigure(
        check=name,
        crystal=crystal,
        message=f"{crystal}: {message} ({limit} is allowed)",
        value=off,
        allowed=allowed,
        unit=unit,
        contradiction=wrong,
    )
