"""What trials of an oracle mean, for `autopipecctl doctor --oracle`. Pure; the doctor asks."""

from collections.abc import Iterator, Sequence
from math import hypot

from mlip_autopipec.config.schemas.phases import FirstLabelsSection
from mlip_autopipec.contract.doctor import Trial, TrialLabel
from mlip_autopipec.contract.results.label import OracleNumbers
from mlip_autopipec.orchestration.first_labels import CellLabel, figures
from mlip_autopipec.telling.words import count, duration

Tried = tuple[Trial, TrialLabel]
#: The kind of a trial with the settings of the site file.
_AS_ASKED = "as asked"


def announced(trials: Sequence[Trial], where: str) -> str:
    """What it will cost, before anything runs."""
    sizes = sorted({trial.n_atoms for trial in trials})
    atoms = " and ".join(map(str, sizes))
    ahead = sum(trial.cost for trial in trials)
    return (
        f"{count(len(trials), 'label')} of {trials[0].about.crystal}, cells of {atoms} atoms, one"
        f" after another {where}; together they cost about {ahead:.0f} times the first, whose time"
        " is told when it is there"
    )


def estimated(trials: Sequence[Trial], first: TrialLabel) -> str:
    """How long the rest takes, by the first."""
    rest_s = sum(trial.cost for trial in trials[1:]) * first.wall_s
    return (
        f"the first took {duration(first.wall_s)}: about {duration(rest_s)} for the other"
        f" {len(trials) - 1}"
    )


def trial_lines(tried: Sequence[Tried], section: FirstLabelsSection) -> Iterator[str]:
    """Costs of each setting, the oracle against itself, and advice."""
    asked = tried[0]
    kinds = [kind for kind in dict.fromkeys(trial.kind for trial, _ in tried) if kind != _AS_ASKED]
    for kind in kinds:
        yield from _table(kind, asked, [each for each in tried if each[0].kind == kind])
    labels = [_as_label(each) for each in tried if each[0].kind == _AS_ASKED]
    for figure in figures(asked[0].about.crystal, labels, section):
        yield f"{'CONTRADICTION' if figure.contradiction else 'ok'}: {figure.message}"
    for kind in kinds:
        if any(trial.kind == kind and trial.key for trial, _ in tried):
            yield advice(tried, section, kind)


def advice(tried: Sequence[Tried], section: FirstLabelsSection, kind: str) -> str:
    """Which value of a kind's key is enough.

    The coarsest from which on all that are finer agree with the finest.
    """
    of_kind = [tried[0], *(each for each in tried if each[0].kind == kind)]
    ordered = sorted(of_kind, key=lambda each: -each[0].value)
    finest, enough = ordered[-1], None
    for each in reversed(ordered[:-1]):
        energy, force, stress = differences(each[1], finest[1])
        if energy > section.energy_max_mev_per_atom or force > section.force_max_mev_per_angstrom:
            break
        if stress > section.pressure_max_gpa:
            break
        enough = each
    limits = (
        f"{section.energy_max_mev_per_atom:g} meV/atom, {section.force_max_mev_per_angstrom:g}"
        f" meV/Å and {section.pressure_max_gpa:g} GPa"
    )
    key, least = of_kind[-1][0].key, f"{finest[0].value:g}"
    if enough is None:
        return (
            f"no {key} that was tried agrees with the finest, {least}, to {limits}:"
            f" set it to {least} or less and ask again"
        )
    return f"{key}: {enough[0].value:g} is enough: it agrees with the finest to {limits}"


def differences(label: TrialLabel, other: TrialLabel) -> tuple[float, float, float]:
    """Of two labels of one cell: meV/atom, the largest in meV/Å, the largest component in GPa."""
    pairs = zip(label.forces_ev_per_angstrom, other.forces_ev_per_angstrom, strict=True)
    return (
        1000 * abs(label.energy_ev - other.energy_ev) / label.n_atoms,
        1000 * max(hypot(*(a - b for a, b in zip(*pair, strict=True))) for pair in pairs),
        max(abs(a - b) for a, b in zip(label.stress_gpa, other.stress_gpa, strict=True)),
    )


def _table(name: str, asked: Tried, of_kind: Sequence[Tried]) -> Iterator[str]:
    """Every setting of one kind against the finest; the site file's own among them."""
    finest = _finest(asked, of_kind)
    own = "as in the site file"
    yield f"{name}, against {own if finest is asked else finest[0].description}:"
    yield f"  {'setting':<34}{'meV/atom':>10}{'meV/Å':>10}{'GPa':>8}{'takes':>10}"
    for item in (asked, *of_kind):
        if item is not finest:
            energy, force, stress = differences(item[1], finest[1])
            description = own if item is asked else item[0].description
            yield (
                " "
                f" {description:<34}{energy:>10.2f}{force:>10.1f}{stress:>8.2f}{duration(item[1].wall_s):>10}"  # noqa: E501 - text for another program
            )


def _finest(asked: Tried, of_kind: Sequence[Tried]) -> Tried:
    """The last of its kind; where a key is varied, the site file's own, if none is finer."""
    if not of_kind[0][0].key:
        return of_kind[-1]
    return min((asked, *of_kind), key=lambda tried: tried[0].value)


def _as_label(tried: Tried) -> CellLabel:
    trial, label = tried
    numbers = OracleNumbers(
        volume_angstrom3=label.volume_angstrom3,
        stress_gpa=label.stress_gpa,
        forces_ev_per_angstrom=label.forces_ev_per_angstrom,
    )
    return CellLabel(trial.about, label.energy_ev, label.n_atoms, numbers)
