"""The parts of scripts/bench labels: its oracle, fit, choices, MD and arithmetic."""

import math
from dataclasses import asdict
from pathlib import Path

import labels_pools
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from bench_labels import Found, rows
from labels_campaign import Follower, moved
from labels_choice import at_random, by_committee, farthest
from labels_curves import MEASURES, Curve, Point, condition_table, pool_table, ratio_table
from labels_fit import Fitter, TestSet
from labels_md import Sampling, conditions, sample, start
from labels_pools import Oracle, Store, fitter_of
from labels_sw import StillingerWeber

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.contract.results.train import FittedSettings
from mlip_autopipec.contract.train import FitSettings
from mlip_autopipec.work.ace.labels import cohesive_ev, fit_references
from mlip_autopipec.work.codes.linear import run as linear
from mlip_autopipec.work.structures import write_frames

pytestmark = pytest.mark.codes

SITES = sorted((Path(__file__).parent / "labels").glob("*.yaml"))
MEASURE = "force, all"
SETTINGS = FittedSettings(
    cutoff_angstrom=4.0,
    functions_per_element=20,
    energy_weight=30.0,
    force_weight=1.0,
    stress_weight=0.0,
    smoothness=1.0,
    ridge=1e-8,
)


def rattled(number: int, *, atoms: Atoms | None = None, by: float = 0.1) -> list[Atoms]:
    """Labelled structures of silicon, or of another crystal with its calculator."""
    found = []
    for seed in range(number):
        item = bulk("Si", "diamond", a=5.43, cubic=True) if atoms is None else atoms.copy()
        item.rattle(by, seed=seed)
        found.append(item)
    return Oracle(StillingerWeber()).label(found)


@pytest.mark.parametrize("repeat", [1, 2])
def test_forces_and_stress_of_the_oracle_are_derivatives_of_its_energy(repeat: int) -> None:
    """Of a strained, rattled crystal: the small cell by ASE's list, the large by nearest images."""
    atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat((repeat, repeat, repeat))
    atoms.rattle(0.2, seed=3)
    strain = np.array([[0.02, 0.03, 0], [0, -0.03, 0], [0.01, 0, 0.01]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.calc = StillingerWeber()
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 5])
    assert atoms.get_forces()[[0, 5]] == pytest.approx(numerical, abs=1e-5)
    assert atoms.get_stress() == pytest.approx(
        calculate_numerical_stress(atoms, eps=1e-4), abs=1e-6
    )


def test_the_oracle_has_the_published_cohesive_energy_and_refuses_other_elements() -> None:
    """4.3363 eV at 5.431 Å is what the potential was made for: 2 ε an atom."""
    atoms = bulk("Si", "diamond", a=5.431)
    atoms.calc = StillingerWeber()
    assert atoms.get_potential_energy() / 2 == pytest.approx(-2 * 2.1683, abs=1e-4)
    other = bulk("Cu")
    other.calc = StillingerWeber()
    with pytest.raises(NotImplementedError, match="silicon"):
        other.get_potential_energy()


def test_the_fit_is_that_of_the_linear_trainer() -> None:
    """Normal equations or singular values: the same predictions, far below what any table shows."""
    train, test = rattled(12), rattled(15)[12:]
    references = fit_references(train)
    fitter = Fitter(["Si"], SETTINGS, 0.3, references)
    rows = fitter.rows(test)
    asked = FitSettings(elements=("Si",), buffer_weight=0.3, **asdict(SETTINGS))
    product = np.array(linear.fit(train, references, asked).basis_coeffs)
    mine = fitter.fit(fitter.rows(train))
    judge = TestSet.of(rows)
    ours, theirs = (judge.scores_of_fit(rows, found).everything for found in (mine, product))
    assert ours.force == pytest.approx(theirs.force, rel=1e-3)
    assert ours.energy == pytest.approx(theirs.energy, rel=1e-2)


def test_choices_are_what_they_say() -> None:
    """Farthest point begins with the odd one out.

    A committee asks for each structure once, and not for the calm.
    """
    frames = rattled(40, by=0.02)
    odd = rattled(1, by=0.4)[0]
    pool_frames = [*frames[10:], odd]
    fitter = Fitter(["Si"], SETTINGS, 0.3, fit_references(frames))
    generated, pool = fitter.rows(frames[:10]), fitter.rows(pool_frames)
    rng = np.random.default_rng(0)
    assert farthest(fitter, generated, pool, 5, rng)[0] == len(pool) - 1
    for choice in (at_random, farthest, by_committee):
        chosen = choice(fitter, generated, pool, 25, rng)
        assert len(set(chosen)) == len(chosen) == 25


def test_labels_to_an_error_are_read_off_by_logarithms() -> None:
    """Of errors 8, 4, 2 after 0, 3, 15 labels, whose log1p are evenly spaced."""
    curve = Curve("b", [Point(0, {"e": 8.0}), Point(3, {"e": 4.0}), Point(15, {"e": 2.0})])
    assert curve.labels_to(4.0, "e") == pytest.approx(3)
    assert curve.labels_to(math.sqrt(8), "e") == pytest.approx(7)
    assert curve.at(7, "e") == pytest.approx(math.sqrt(8))
    assert curve.labels_to(1.0, "e") == math.inf
    assert curve.at(16, "e") is None


def test_tables_have_every_way_and_say_never() -> None:
    """One way that never is as good as chance."""
    chance = Curve("b", [Point(0, {"e": 8.0}), Point(100, {"e": 1.0})])
    bad = Curve("x", [Point(0, {"e": 8.0}), Point(100, {"e": 7.0})])
    assert pool_table([chance, bad], "e")[-1] == "| 100 | 1 | 7 |"
    assert "never" in ratio_table([chance, bad], "b", "e")[-1]
    tails = [
        Curve(
            way, [Point(0, {"force, 99 %, melt": 8.0}), Point(labels, {"force, 99 %, melt": 1.0})]
        )
        for way, labels in (("b", 100), ("x", 50))
    ]
    title, _, row = condition_table(tails, "b", 100)
    assert title == "| condition | tail at 100 | x |"
    assert row == "| melt | 1 | 0.5 |"


def test_the_loop_is_held_against_its_aims() -> None:
    """Half the labels of random frames at every count; the errors of the aim after two cycles."""

    def values(error: float) -> dict[str, float]:
        return dict.fromkeys(MEASURES, error)

    chance = Curve("b random, oracle's MD", [Point(0, values(100.0)), Point(200, values(10.0))])
    loop = Curve(
        "a program",
        [
            Point(0, values(100.0)),
            *(Point(n, values(chance.at(2 * n, MEASURE) or 0.0)) for n in (15, 100)),
        ],
    )
    table = rows(Found("ni3al", [chance, loop]))
    by_name = {row.what: row for row in table}
    assert by_name["the same, median, force, all"].value == pytest.approx(0.5, abs=0.05)
    assert by_name["cycles to both"].value == 2
    assert by_name["labels beside random at its end, force, all"].value == pytest.approx(
        0.5, abs=0.05
    )
    assert rows(Found("ni3al", [chance])) == []
    short = Curve("a program", loop.points[:2])  # a campaign that needed no more than 15
    by_name = {row.what: row for row in rows(Found("si", [chance, short]))}
    assert by_name["labels beside random at 20, force, all"].met
    assert by_name["labels beside random at 100, force, all"].met is None
    assert by_name["labels beside random at its end, force, all"].value == pytest.approx(
        0.5, abs=0.05
    )


@pytest.mark.parametrize("site", SITES, ids=[site.stem for site in SITES])
def test_every_system_is_in_order_and_its_conditions_have_names_of_their_own(
    site: Path, tmp_path: Path
) -> None:
    """A copy elsewhere, with another seed, finds its structures and its oracle too."""
    copy = load_config(moved(site, tmp_path, seed=4)).config
    names = [condition.name for condition in conditions(copy)]
    assert len(set(names)) == len(names) > 4
    assert any("after" in name for name in names), "a melt that is cooled"
    begins = [start(condition, copy.campaign.elements) for condition in conditions(copy)]
    assert all(len(atoms) >= 24 for atoms in begins)
    assert copy.campaign.seed == 4
    assert str(copy.site.root).startswith(str(tmp_path))
    Oracle.of(copy)


def test_md_has_its_temperature_and_frames_that_differ() -> None:
    """Potential energy of a harmonic crystal rises by 3/2 kT an atom.

    A wrong thermostat would be off by far more.
    """
    config = load_config(next(site for site in SITES if site.stem == "si")).config
    condition = next(item for item in conditions(config) if item.temperature_kelvin == 300)
    begin = start(condition, config.campaign.elements)
    sampling = Sampling(frames=4, spacing_fs=80, settling_fs=300)
    frames = list(
        sample(
            condition,
            begin,
            Oracle.of(config).forces(stress=True),
            sampling,
            distance_min_angstrom=1.6,
            rng=np.random.default_rng(5),
        )
    )
    energies = [
        frame.get_potential_energy() / len(frame)
        for frame in Oracle.of(config).label([*frames, begin])
    ]
    rise = np.mean(energies[:-1]) - energies[-1]
    assert rise == pytest.approx(1.5 * 8.617e-5 * 300, rel=0.25)
    assert len({round(energy, 6) for energy in energies[:-1]}) == 4
    assert {frame.info["condition"] for frame in frames} == {condition.name}


def test_a_campaign_is_followed_by_its_data_sets(tmp_path: Path) -> None:
    """Labels to train on beyond the generated, and errors of the bench's own fit to all of them."""
    frames = rattled(20)
    for number, frame in enumerate(frames):
        frame.info.update(role="train" if number % 4 else "test", condition="c")
    first, second = tmp_path / "dataset" / "000.extxyz", tmp_path / "dataset" / "001.extxyz"
    first.parent.mkdir()
    write_frames(first, frames[:12])
    write_frames(second, frames[12:])
    references = fit_references(frames[:12])
    fitter = Fitter(["Si"], SETTINGS, 0.3, references)
    follower = Follower(fitter, 9, fitter.rows(frames[16:]), frames[16:])
    cycles = [follower.after(path) for path in (first, second)]
    assert [cycle.train_labels for cycle in cycles] == [0, 6]
    assert [cycle.other_labels for cycle in cycles] == [0, 2]
    assert cycles[1].refitted.everything.force < cycles[0].refitted.everything.force
    assert cycles[0].own is None
    assert cohesive_ev(frames[0], references) == pytest.approx(
        8 * fitter.rows(frames[:1])[0].energy_ev
    )


def test_what_a_site_file_leaves_to_auto_is_chosen_once_for_every_way(tmp_path: Path) -> None:
    """By the product's own cross-validation, and kept."""
    config = load_config(next(site for site in SITES if site.stem == "si")).config
    training = config.training.model_copy(
        update={"energy_weight": "auto", "functions_per_element": 15}
    )
    config = config.model_copy(update={"training": training})
    store, found = Store(tmp_path, config), list[str]()
    store.frames("seed-1/generated", lambda: rattled(16), 1)
    store.frames("seed-1/pool-oracle", lambda: rattled(20, by=0.15), labels_pools._POOL, 1)
    first = fitter_of(config, store, found.append)
    assert first.functions == 15
    assert fitter_of(config, store, found.append).digest == first.digest
    assert len(found) == 2
    assert found[0] == found[1]
    assert "auto: " in found[0]


def test_kept_files_are_made_once_and_again_when_the_system_changes(tmp_path: Path) -> None:
    """The cache knows what it is made of."""
    config = load_config(SITES[0]).config
    made: list[int] = []

    def make() -> list[Atoms]:
        made.append(1)
        return rattled(1)

    for item in (config, config, config.model_copy(update={"distance_min_angstrom": 1.234})):
        assert len(Store(tmp_path, item).frames("x", make, 1)) == 1
    assert len(made) == 2
