"""The user's labels are adopted once the campaign's oracle agrees with some. Pure; it sees numbers.

Energies of two calculations of the same physics may differ by one number for each element
(all-electron against pseudopotentials, or atoms as zeros). That is never taken off silently: it is
offered, and done where the site file says so. All else that differs beyond the tolerances refuses
the set, and a person is asked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mlip_autopipec.config.schemas.dataset import DatasetSection
from mlip_autopipec.contract.dataset import ENERGY_EV
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.generate import AdoptedSet
from mlip_autopipec.contract.results.label import CalculateMetrics, LabelDifference
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.digest import GenerationDigest
from mlip_autopipec.data_models.events import Actor
from mlip_autopipec.data_models.state import Stage, TaskRecord, WorkflowState
from mlip_autopipec.orchestration.machine import ENDED

#: Who pauses a campaign whose oracle does not agree with the user's labels.
CHECK = Actor(uid=-1, pid=0, name="the check of the data set")
_FRAMES_MAX = 4
#: Keeps the normal equations solvable where compositions do not tell elements apart; of their
#: diagonal.
_RIDGE = 1e-10
_RANK = 1e-6


@dataclass(frozen=True, slots=True)
class Checked:
    """One frame of the set, labelled again."""

    name: str
    energy_ev: float
    n_atoms: int
    difference: LabelDifference

    @property
    def apart_ev(self) -> float:
        """What the set's energy lacks, for each atom."""
        return (self.energy_ev - self.difference.set_energy_ev) / self.n_atoms

    @property
    def fractions(self) -> Mapping[str, float]:
        return {
            element: count / self.n_atoms for element, count in self.difference.composition.items()
        }


@dataclass(frozen=True, slots=True)
class SetAgreement:
    """What came of the check: `refusal` is empty where the set may be trained on."""

    refusal: str
    offsets_ev: Mapping[str, float] = field(default_factory=dict)
    message: str = ""


def adopted_set(state: WorkflowState) -> AdoptedSet | None:
    """The user's labels that the Generation of this cycle has read."""
    generation = state.digests.get(Phase.GENERATION)
    return generation.dataset if isinstance(generation, GenerationDigest) else None


def check_tasks(state: WorkflowState) -> Mapping[str, TaskRecord]:
    """The tasks of the current phase that label frames of the user's again."""
    if (
        adopted_set(state) is None
        or state.current_phase is not Phase.CALCULATION
        or state.stage is not Stage.WORKING
    ):
        return {}
    return {record.task.id: record for record in state.own_tasks if _is_check(record)}


def refusal(state: WorkflowState, section: DatasetSection | None) -> str:
    """Why a person is asked before anything rests on the user's labels.

    Empty if nothing is to be asked, or not yet.
    """
    if section is None or adopted_set(state) is None:
        return ""
    tasks = check_tasks(state)
    if not tasks or not all(record.status in ENDED for record in tasks.values()):
        return ""
    return agreement(state, section).refusal


def agreement(state: WorkflowState, section: DatasetSection) -> SetAgreement:
    """What the oracle says of the set, once its check is over."""
    records = check_tasks(state)
    checked = list(_checked(records))
    if not checked:
        last = next(
            (record.failures[-1].message for record in records.values() if record.failures),
            "no reason",
        )
        return SetAgreement(
            f"the oracle labelled none of the {len(records)} frames of the data set that were to"
            f" show whether it agrees with them: {last}. None of its labels is trained on."
            f" {_ONWARD}"
        )
    offsets = _offsets(checked) if section.offsets == "fit" else {}
    wrong = [
        *_energies(checked, section, offsets),
        *_forces(checked, section),
        *_stresses(checked, section),
    ]
    if wrong:
        return SetAgreement(
            f"the data set disagrees with the oracle: {'; '.join(wrong)}. None of it is trained"
            f" on. {_ONWARD}"
        )
    return SetAgreement("", offsets, _message(checked, offsets))


_ONWARD = (
    "What the site file says of how the files are read (names, units, signs) counts from the begin"
    " of a campaign: mend file or section, and begin a new one. Tolerances and `offsets` count at"
    " once: start the daemon again with them, or autopipecctl reload and resume"
)


def _is_check(record: TaskRecord) -> bool:
    parameters = record.task.parameters
    return isinstance(parameters, CalculateParameters) and parameters.role is Role.CHECK


def _checked(records: Mapping[str, TaskRecord]) -> Iterator[Checked]:
    for record in records.values():
        metrics, parameters = (
            record.outcome.metrics if record.outcome else None,
            record.task.parameters,
        )
        if (
            isinstance(metrics, CalculateMetrics)
            and metrics.difference
            and isinstance(parameters, CalculateParameters)
        ):
            name = parameters.origin.removeprefix("check: ")
            yield Checked(name, metrics.energy_ev, metrics.n_atoms, metrics.difference)


# --- energies -------------------------------------------------------------------------------------


def _energies(
    checked: Sequence[Checked], section: DatasetSection, offsets: Mapping[str, float]
) -> Iterator[str]:
    allowed = section.energy_max_mev_per_atom
    off = [1000 * abs(left) for left in _left(checked, offsets)]
    if section.offsets == "fit" and len(checked) <= _rank(checked):
        yield (
            f"{len(checked)} frames were labelled again, and {_rank(checked)} offsets are to be"
            " fitted to them: nothing is left to show that these are right. Ask for more"
            " dataset.checks"
        )
    if max(off) <= allowed:
        return
    fitted = " after one number for each element was fitted" if section.offsets == "fit" else ""
    for item, apart in _worst(checked, off, allowed):
        yield (
            f"{item.name} has {item.difference.set_energy_ev / item.n_atoms:.4f} eV/atom, the"
            f" oracle {item.energy_ev / item.n_atoms:.4f} ({apart:.3g} meV/atom apart{fitted}, at"
            f" most {allowed:g} are allowed)"
        )
    if hint := _energy_hint(checked, section):
        yield hint


def _energy_hint(checked: Sequence[Checked], section: DatasetSection) -> str:
    """What would explain the energies, simplest first."""
    allowed_ev = section.energy_max_mev_per_atom / 1000
    is_overdetermined = len(checked) > _rank(checked)
    offsets = _offsets(checked)
    if (
        section.offsets == "none"
        and is_overdetermined
        and max(map(abs, _left(checked, offsets))) <= allowed_ev
    ):
        numbers = ", ".join(f"{element} {value:+.4f}" for element, value in offsets.items())
        return (
            f"energies agree up to one number for each element (eV: {numbers}): say `dataset:"
            " {offsets: fit}`"
        )
    for hint, scaled in _rescaled(checked):
        if max(map(abs, _left(scaled, {}))) <= allowed_ev:
            return f"energies agree with `dataset: {{{hint}}}`"
    for hint, scaled in _rescaled(checked):
        if is_overdetermined and max(map(abs, _left(scaled, _offsets(scaled)))) <= allowed_ev:
            return f"energies agree with `dataset: {{{hint}, offsets: fit}}`"
    return "other functional, cutoffs or k-points give other energies: such labels can't be mixed"


def _rescaled(checked: Sequence[Checked]) -> Iterator[tuple[str, list[Checked]]]:
    """The set as it would be with another unit."""
    for name, unit in ENERGY_EV.items():
        if name != "eV":
            yield f"energy_unit: {name}", [_times(check, unit) for check in checked]
    yield "energy_per_atom: true", [_times(check, check.n_atoms) for check in checked]


def _times(checked: Checked, factor: float) -> Checked:
    difference = replace(
        checked.difference, set_energy_ev=checked.difference.set_energy_ev * factor
    )
    return Checked(checked.name, checked.energy_ev, checked.n_atoms, difference)


def _left(checked: Sequence[Checked], offsets: Mapping[str, float]) -> list[float]:
    """What set and oracle are apart after the offsets, in eV/atom."""
    return [
        check.apart_ev
        - sum(offsets.get(element, 0.0) * part for element, part in check.fractions.items())
        for check in checked
    ]


def _offsets(checked: Sequence[Checked]) -> dict[str, float]:
    """One number for each element, by least squares: what the set's energies lack."""
    elements = sorted({element for check in checked for element in check.fractions})
    rows = [[check.fractions.get(element, 0.0) for element in elements] for check in checked]
    values = [check.apart_ev for check in checked]
    return dict(zip(elements, _least_squares(rows, values), strict=True))


def _least_squares(rows: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """By the normal equations, with a ridge that is far below what energies are good for."""
    order = range(len(rows[0]))
    matrix = [
        [
            sum(row[i] * row[j] for row in rows) + (_RIDGE * len(rows) if i == j else 0.0)
            for j in order
        ]
        + [sum(row[i] * value for row, value in zip(rows, values, strict=True))]
        for i in order
    ]
    for column in order:
        pivot = max(range(column, len(order)), key=lambda index: abs(matrix[index][column]))
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        for row in order:
            if row != column:
                part = matrix[row][column] / matrix[column][column]
                matrix[row] = [
                    a - part * b for a, b in zip(matrix[row], matrix[column], strict=True)
                ]
    return [matrix[index][-1] / matrix[index][index] for index in order]


def _rank(checked: Sequence[Checked]) -> int:
    """How many independent compositions the frames have: so many offsets can be told apart."""
    elements = sorted({element for check in checked for element in check.fractions})
    basis: list[list[float]] = []
    for check in checked:
        row = [check.fractions.get(element, 0.0) for element in elements]
        for known in basis:
            part = sum(a * b for a, b in zip(row, known, strict=True))
            row = [a - part * b for a, b in zip(row, known, strict=True)]
        size = sum(a * a for a in row) ** 0.5
        if size > _RANK:
            basis.append([a / size for a in row])
    return len(basis)


# --- forces and stresses --------------------------------------------------------------------------


def _forces(checked: Sequence[Checked], section: DatasetSection) -> Iterator[str]:
    allowed = section.force_max_mev_per_angstrom
    off = [check.difference.force_mev_per_angstrom for check in checked]
    for item, apart in _worst(checked, off, allowed):
        largest = item.difference.oracle_force_mev_per_angstrom
        hint = f"; {item.difference.force_hint}" if item.difference.force_hint else ""
        yield (
            f"a force of {item.name} is {apart:.3g} meV/Å off (the oracle's largest is"
            f" {largest:.3g}, at most {allowed:g} are allowed){hint}"
        )


def _stresses(checked: Sequence[Checked], section: DatasetSection) -> Iterator[str]:
    allowed = section.stress_max_gpa
    off = [check.difference.stress_gpa or 0.0 for check in checked]
    for item, apart in _worst(checked, off, allowed):
        hint = f"; {item.difference.stress_hint}" if item.difference.stress_hint else ""
        yield (
            f"the stress of {item.name} is {apart:.3g} GPa off (at most {allowed:g} are"
            f" allowed){hint}"
        )


def _worst(
    checked: Sequence[Checked], off: Sequence[float], allowed: float
) -> list[tuple[Checked, float]]:
    """Those beyond what is allowed, the worst first; a few of them say it all."""
    beyond = [
        (check, apart) for check, apart in zip(checked, off, strict=True) if not apart <= allowed
    ]
    return sorted(beyond, key=lambda each: -each[1])[:_FRAMES_MAX]


def _message(checked: Sequence[Checked], offsets: Mapping[str, float]) -> str:
    energy = 1000 * max(map(abs, _left(checked, offsets)))
    force = max(check.difference.force_mev_per_angstrom for check in checked)
    stresses = [
        check.difference.stress_gpa for check in checked if check.difference.stress_gpa is not None
    ]
    stress = f", {max(stresses):.2g} GPa" if stresses else "; none had a stress"
    shifted = ", ".join(f"{element} {value:+.4f}" for element, value in offsets.items())
    return (
        f"{len(checked)} frames labelled again agree to {energy:.2g} meV/atom, {force:.2g}"
        f" meV/Å{stress}"
    ) + (f"; energies were shifted by (eV/atom) {shifted}" if shifted else "")
