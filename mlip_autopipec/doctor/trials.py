"""What trials of an oracle mean, for `autopipecctl doctor --oracle`. Pure; the doctor asks."""

from collections.abc import Iterator, Mapping, Sequence
from math import hypot
from typing import Any

from pydantic import Field

from mlip_autopipec.config.schemas.phases import FirstLabelsSection
from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.outcome import OracleNumbers, PropertyCell
from mlip_autopipec.orchestration.first_labels import CellLabel, figures
from mlip_autopipec.telling.words import count, duration


class OracleTrialResult(Model):
    """One label to try, as the work half plans it."""

    kind: str = Field(description="what is varied; `as asked` where nothing is")
    words: str
    oracle: dict[str, Any]
    cell: str
    about: PropertyCell
    n_atoms: int
    cost: float = Field(gt=0, description="relative to the first trial")
    key: str = Field(default="", description="that this kind varies, where a smaller value is finer")
    value: float = Field(default=0.0, description="of that key")


class TrialLabel(Model):
    """What came of it."""

    energy_ev: float
    n_atoms: int
    volume_angstrom3: float
    stress_gpa: tuple[float, float, float, float, float, float]
    forces_ev_per_angstrom: tuple[tuple[float, float, float], ...]
    wall_s: float


Tried = tuple[OracleTrialResult, TrialLabel]
#: The kind of a trial with the settings of the site file.
_AS_ASKED = "as asked"


def announced(trials: Sequence[OracleTrialResult], where: str) -> str:
    """What it will cost, before anything runs."""
    sizes = sorted({trial.n_atoms for trial in trials})
    atoms = " and ".join(map(str, sizes))
    ahead = sum(trial.cost for trial in trials)
    return (
        f"{count(len(trials), 'label')} of {trials[0].about.crystal}, cells of {atoms} atoms, one after another"
        f" {where}; together they cost about {ahead:.0f} times the first, whose time is told when it is there"
    )


def estimated(trials: Sequence[OracleTrialResult], first: TrialLabel) -> str:
    """How long the rest takes, by the first."""
    rest_s = sum(trial.cost for trial in trials[1:]) * first.wall_s
    return f"the first took {duration(first.wall_s)}: about {duration(rest_s)} for the other {len(trials) - 1}"


def told(tried: Sequence[Tried], section: FirstLabelsSection) -> Iterator[str]:
    """Costs of each setting, the oracle against itself, and advice."""
    asked = tried[0]
    kinds = [kind for kind in dict.fromkeys(trial.kind for trial, _ in tried) if kind != _AS_ASKED]
    for kind in kinds:
        yield from _table(kind, asked, [one for one in tried if one[0].kind == kind])
    labels = [_as_label(one) for one in tried if one[0].kind == _AS_ASKED]
    for figure in figures(asked[0].about.crystal, labels, section):
        yield f"{'CONTRADICTION' if figure.contradiction else 'ok'}: {figure.words}"
    for kind in kinds:
        if any(trial.kind == kind and trial.key for trial, _ in tried):
            yield advice(tried, section, kind)


def advice(tried: Sequence[Tried], section: FirstLabelsSection, kind: str) -> str:
    """Which value of a kind's key is enough: the coarsest from which on all that are finer agree with the finest."""
    of_kind = [tried[0], *(one for one in tried if one[0].kind == kind)]
    ordered = sorted(of_kind, key=lambda one: -one[0].value)
    finest, enough = ordered[-1], None
    for one in reversed(ordered[:-1]):
        energy, force, stress = differences(one[1], finest[1])
        if energy > section.energy_max_mev_per_atom or force > section.force_max_mev_per_angstrom:
            break
        if stress > section.pressure_max_gpa:
            break
        enough = one
    limits = (
        f"{section.energy_max_mev_per_atom:g} meV/atom, {section.force_max_mev_per_angstrom:g} meV/Å and"
        f" {section.pressure_max_gpa:g} GPa"
    )
    key, least = of_kind[-1][0].key, f"{finest[0].value:g}"
    if enough is None:
        return (
            f"no {key} that was tried agrees with the finest, {least}, to {limits}:"
            f" set it to {least} or less and ask again"
        )
    return f"{key}: {enough[0].value:g} is enough: it agrees with the finest to {limits}"


def differences(one: TrialLabel, other: TrialLabel) -> tuple[float, float, float]:
    """Of two labels of one cell: meV/atom, the largest in meV/Å, the largest component in GPa."""
    pairs = zip(one.forces_ev_per_angstrom, other.forces_ev_per_angstrom, strict=True)
    return (
        1000 * abs(one.energy_ev - other.energy_ev) / one.n_atoms,
        1000 * max(hypot(*(a - b for a, b in zip(*pair, strict=True))) for pair in pairs),
        max(abs(a - b) for a, b in zip(one.stress_gpa, other.stress_gpa, strict=True)),
    )


def _table(name: str, asked: Tried, of_kind: Sequence[Tried]) -> Iterator[str]:
    """Every setting of one kind against the finest; the site file's own among them."""
    finest = _finest(asked, of_kind)
    own = "as in the site file"
    yield f"{name}, against {own if finest is asked else finest[0].words}:"
    yield f"  {'setting':<34}{'meV/atom':>10}{'meV/Å':>10}{'GPa':>8}{'takes':>10}"
    for one in (asked, *of_kind):
        if one is not finest:
            energy, force, stress = differences(one[1], finest[1])
            words = own if one is asked else one[0].words
            yield f"  {words:<34}{energy:>10.2f}{force:>10.1f}{stress:>8.2f}{duration(one[1].wall_s):>10}"


def _finest(asked: Tried, of_kind: Sequence[Tried]) -> Tried:
    """The last of its kind; where a key is varied, the site file's own, if none is finer."""
    if not of_kind[0][0].key:
        return of_kind[-1]
    return min((asked, *of_kind), key=lambda one: one[0].value)


def _as_label(one: Tried) -> CellLabel:
    trial, label = one
    numbers = OracleNumbers(
        volume_angstrom3=label.volume_angstrom3,
        stress_gpa=label.stress_gpa,
        forces_ev_per_angstrom=label.forces_ev_per_angstrom,
    )
    return CellLabel(trial.about, label.energy_ev, label.n_atoms, numbers)


def read_trials(content: Sequence[Mapping[str, Any]]) -> tuple[OracleTrialResult, ...]:
    """What the work half plans, checked."""
    return tuple(OracleTrialResult.model_validate(one) for one in content)
