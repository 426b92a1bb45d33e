"""The choice of a batch, and what it rests on.

That is information, distance, decorrelation, and what labels taught.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from kit.jobs import Fitted, copper, explore_parameters, fit_once
from kit.selecting import frame, select

pytest.importorskip("pyace", reason="needs the demo extra")

from pyace import ACEBBasisSet
from pyace.basis import BBasisConfiguration

from mlip_autopipec.contract.results.explore import Ending
from mlip_autopipec.contract.results.structure import Why
from mlip_autopipec.contract.select import SelectParameters, Shares
from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.ace.evaluator import AceEvaluator, is_linear
from mlip_autopipec.work.choosing.acquisition import Candidate, by_batch, by_window
from mlip_autopipec.work.choosing.farthest import Farthest
from mlip_autopipec.work.choosing.information import Information
from mlip_autopipec.work.choosing.lessons import lessons
from mlip_autopipec.work.steps.explore import _Walk, decorrelation_steps

pytestmark = pytest.mark.codes

PARAMETERS = SelectParameters(
    candidates_max=10,
    per_element_min=0,
    elements=("Cu",),
    gamma_select=2.0,
    gain_min=0.1,
    shares=Shares(informed=0.6, d_optimal=0.2, random=0.2),
    distance_min_angstrom=1.0,
    seed=1,
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


class Told:
    """A teacher whose gains are given; each that is taken halves the others."""

    name: Why = "informed"

    def __init__(self, *gains: float) -> None:
        self.gains = list(gains)
        self.taken: list[int] = []

    def gain(self, index: int) -> float:
        return self.gains[index]

    def take(self, index: int) -> None:
        self.taken.append(index)
        self.gains = [gain / 2 for gain in self.gains]


def candidates(number: int, *, apart: int = 0, halts: Sequence[int] = ()) -> list[Candidate]:
    """Frames of two walkers under two conditions, 100 steps apart."""
    found = []
    for index in range(number):
        frame, walker = copper((1, 1, 1), 0.0, index), index % 2
        kind = "halt" if index in halts else "collected"
        frame.info = {
            "kind": kind,
            "walker": f"w{walker}",
            "step": 100 * index,
            "apart": apart,
            "gamma_max": 3.0,
        }
        frame.info["origin"] = f"{kind}: Cu fcc {300 + walker} K nvt, step {100 * index}"
        frame.set_array("gamma", np.full(len(frame), 3.0))
        found.append(Candidate(frame))
    return found


def chosen(
    offers: Sequence[Candidate], ranking: Sequence[int], found: Told, **changes: Any
) -> list[tuple[int, str]]:
    """Who was chosen, and why."""
    batch = by_batch(
        offers, ranking, lambda: found, replace(PARAMETERS, **changes), np.random.default_rng(1)
    )
    return [(offers.index(candidate), candidate.verdict) for candidate in batch]


def test_every_way_has_its_share_and_knows_what_was_chosen_before() -> None:
    """Halts, then who teaches most beside these, a fifth by rank, and a fifth by chance."""
    seen = Told(*[1e6] * 20)
    found = chosen(candidates(20, halts=[7]), [7, 3, 15, 12, 16], seen)
    assert found[:6] == [(7, "halt"), *((index, "informed") for index in range(5))]
    assert found[6:8] == [(15, "d_optimal"), (12, "d_optimal")]
    assert [why for _, why in found[8:]] == ["random"] * 2
    assert seen.taken == [7, *range(5)]
    assert len({index for index, _ in found}) == 10


def test_the_ranking_has_its_share_also_where_labels_teach_nothing_more() -> None:
    """They bring γ down; and what it cannot fill is left to the information."""
    found = chosen(candidates(20), [4, 9, 2], Told(*[0.0] * 20))
    assert found == [(4, "d_optimal"), (9, "d_optimal")]
    short = chosen(candidates(20), [19], Told(*[1e6] * 20))
    assert Counter(why for _, why in short) == {"informed": 7, "d_optimal": 1, "random": 2}


def test_a_batch_ends_where_labels_teach_nothing_more() -> None:
    """Chance takes part in proportion.

    With nothing to gain nothing is chosen, but for what was asked for.
    """
    few = chosen(candidates(20), [], Told(*[0.3] * 20))
    assert [why for _, why in few] == ["informed", "informed", "random"]
    assert chosen(candidates(20), [], Told(*[0.0] * 20)) == []
    asked = chosen(
        candidates(20), [], Told(*[0.0] * 20), random_min=3, random_conditions=("Cu fcc 301 K nvt",)
    )
    assert [why for _, why in asked] == ["random"] * 3
    assert all(index % 2 for index, _ in asked)


def test_random_frames_that_were_asked_for_stand_beside_the_candidates() -> None:
    """Also where the batch is full, and where the γ window alone chooses."""
    full = chosen(candidates(40), [], Told(*[1e9] * 40), random_min=5)
    assert len(full) == 15
    offers = candidates(20)
    window = by_window(offers, [1, 2], replace(PARAMETERS, random_min=2), np.random.default_rng(1))
    assert [item.verdict for item in window] == ["d_optimal", "d_optimal", "random", "random"]


def test_chance_draws_where_there_are_fewest_labels() -> None:
    """Those of earlier cycles count, and so do those of this batch."""

    def drawn(labelled: dict[str, int], **changes: Any) -> Counter[str]:
        offers, rng = candidates(20), np.random.default_rng(1)
        parameters = replace(
            PARAMETERS, shares=Shares(informed=0.0, d_optimal=0.0, random=1.0), **changes
        )
        batch = by_batch(offers, [], Told, parameters, rng, labelled)
        return Counter(candidate.condition for candidate in batch)

    hot, cold = "Cu fcc 301 K nvt", "Cu fcc 300 K nvt"
    assert drawn({}) == {hot: 5, cold: 5}
    assert drawn({hot: 4}) == {hot: 3, cold: 7}
    assert drawn({hot: 40, "": 90}) == {cold: 10}
    assert drawn({hot: 40}, candidates_max=14) == {cold: 10, hot: 4}


def test_no_two_of_one_walker_are_closer_in_time_than_the_decorrelation() -> None:
    """Every second frame is of the same walker, 200 steps after the last.

    500 steps apart it may be one in three.
    """
    found = chosen(candidates(20, apart=500), [0, 2, 4, 6], Told(*[1e9] * 20))
    for walker in range(2):
        steps = sorted(100 * index for index, _ in found if index % 2 == walker)
        assert all(later - earlier >= 500 for earlier, later in pairwise(steps))


def test_information_is_that_of_the_normal_equations(fitted: Fitted) -> None:
    """What is expected and gained is worked out without any short cut.

    What was taken is worth little more.
    """
    trained = [labelled(copper((1, 1, 2), 0.1, seed)) for seed in range(3)]
    pool = [copper((1, 1, 2), rattle, seed) for rattle in (0.02, 0.3) for seed in (11, 12)]
    basis = ACEBBasisSet(str(fitted.yaml))
    known = Information(
        DesignMatrix(basis), trained, pool, ["a", "a", "b", "b"], rng=np.random.default_rng(0)
    )
    noise, design = known.noise, DesignMatrix(basis)

    def rows(atoms: Atoms) -> np.ndarray:
        energy, forces = design.rows(atoms)
        return np.vstack(
            [energy[None] / noise.energy_ev_per_atom, forces / noise.force_ev_per_angstrom]
        )

    size = np.square(np.asarray(basis.basis_coeffs)).mean()
    seen = np.eye(design.functions) / size + sum(rows(atoms).T @ rows(atoms) for atoms in trained)

    def errors(*taken: int) -> list[float]:
        covariance = np.linalg.inv(
            seen + sum(rows(pool[index]).T @ rows(pool[index]) for index in taken)
        )
        found = []
        for item in map(rows, pool):
            squares = np.einsum("ij,ij->i", item @ covariance, item)
            found.append(float(squares[0] + squares[1:].mean()))
        return found

    def expected(*taken: int) -> float:
        return 1.0 + float(np.mean(np.log1p(errors(*taken))))

    def gain(index: int) -> float:
        of_all = zip(errors(), errors(index), strict=True)
        return (
            float(np.mean([(before - after) / (1 + before) for before, after in of_all]))
            / expected()
        )

    assert known.expected == pytest.approx(expected(), rel=1e-3)
    assert [known.gain(index) for index in range(4)] == pytest.approx(
        [gain(index) for index in range(4)], rel=1e-2
    )
    best = max(range(4), key=known.gain)
    before = known.gain(best)
    known.take(best)
    assert known.expected == pytest.approx(expected(best), rel=1e-3)
    assert known.gain(best) < 0.8 * before


def test_the_farthest_is_what_is_unlike_all_that_is_known(fitted: Fitted) -> None:
    """Once it is taken its neighbours gain less, and what is trained on gains next to nothing."""
    trained = [copper((1, 1, 2), 0.05, seed) for seed in range(4)]
    unlike = [copper((1, 1, 2), 0.4, seed) for seed in (1, 1, 2)]
    known = Farthest(AceEvaluator(fitted.yaml, fitted.asi), trained, [trained[0], *unlike])
    gains = [known.gain(index) for index in range(4)]
    assert gains[0] == pytest.approx(0.0, abs=1e-9)
    assert min(gains[1:]) > 0.01
    known.take(1)
    assert known.gain(2) == pytest.approx(0.0, abs=1e-9)
    assert known.gain(3) > 0.0


def test_a_linear_potential_is_told_from_another(fitted: Fitted) -> None:
    """By its densities and their powers."""
    potential = BBasisConfiguration(str(fitted.yaml))
    assert is_linear(potential)
    potential.funcspecs_blocks[0].fs_parameters = [1.0, 0.5]
    assert not is_linear(potential)


def test_decorrelation_follows_the_energy() -> None:
    """Of noise one look, of a slow drift many, within bounds; a short walk says nothing."""
    parameters = explore_parameters({"timestep_fs": 1.0}, stride=10)
    rng = np.random.default_rng(3)

    def steps(energies: np.ndarray) -> int:
        trace = np.zeros((len(energies), 7))
        trace[:, 4] = energies
        return decorrelation_steps(trace, parameters)

    smooth = np.convolve(rng.normal(size=2000), np.ones(15) / 15, mode="valid")
    assert steps(rng.normal(size=2000)) == 40
    assert 80 <= steps(smooth) <= 300
    assert steps(np.linspace(0, 1, 2000)) == 500
    assert steps(np.zeros(0)) == 40


def test_what_a_guard_is_for_is_no_candidate_and_no_audit() -> None:
    """A third of the way in volume and half in temperature, as logarithms.

    Walks that led far astray judge no need.
    """
    parameters = explore_parameters(
        {"temperature_kelvin": 300.0},
        volume_factor_max=8.0,
        temperature_factor_max=4.0,
        audit_gamma_max=100.0,
    )
    trace = np.zeros((2, 7))
    trace[:, 0], trace[:, 1], trace[:, 2] = (10, 20), (50.0, 90.0), (590.0, 610.0)
    atoms = copper((1, 1, 1), 0.0, 1)

    def walk(ending: Ending = Ending.COMPLETED) -> _Walk:
        return _Walk(trace, atoms.get_volume(), ending, 10)

    def sane(scale: float, step: int) -> bool:
        frame = atoms.copy()
        frame.set_cell(atoms.cell.array * scale ** (1 / 3))
        frame.info["step"] = step
        return walk().is_sane(frame, parameters)

    assert [sane(1.99, 10), sane(2.01, 10), sane(0.51, 10), sane(0.49, 10)] == [
        True,
        False,
        True,
        False,
    ]
    assert not sane(1.0, 20), "twice as hot as it was to be"
    assert walk().tells_where_md_goes(parameters)
    assert not walk(Ending.HALTED).tells_where_md_goes(parameters)
    assert not walk().tells_where_md_goes(replace(parameters, audit_gamma_max=80.0))
    assert walk(Ending.EXPLODED).tells_where_md_goes(replace(parameters, audit_gamma_max=None))


def labelled(atoms: Atoms) -> Atoms:
    """With EMT's energy and forces."""
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def test_what_labels_taught_is_told_by_source(fitted: Fitted) -> None:
    """Training labels alone: the error before they were learned, and the new potential's."""
    found = []
    for seed, (role, kind, before) in enumerate(
        [
            ("train", "informed", 0.3),
            ("train", "informed", 0.1),
            ("train", "random", 0.2),
            ("test", "audit", 9.0),
        ]
    ):
        atoms = labelled(copper((1, 1, 2), 0.05, seed))
        atoms.info = {"role": role, "origin": f"{kind}: Cu fcc 300 K nvt, step 1"}
        atoms.set_array("force_error_before", np.full(len(atoms), before))
        found.append(atoms)
    seen = lessons(found, AceEvaluator(fitted.yaml))
    assert [(item.source, item.labels) for item in seen] == [("informed", 2), ("random", 1)]
    assert seen[0].before_mev_per_angstrom == pytest.approx(1000 * (0.05 / 3) ** 0.5, rel=1e-3)
    assert all(0 < item.after_mev_per_angstrom < 100 for item in seen)


def test_a_pool_needs_no_gamma_window(fitted: Fitted, tmp_path: Path) -> None:
    """Frames of every γ are offered, halting ones labelled first.

    The origin tells how each was chosen.
    """
    label = labelled(copper((1, 1, 2), 0.1, 77))
    label.info = {"role": "train", "origin": "generated"}
    dataset = tmp_path / "dataset.extxyz"
    from mlip_autopipec.work.structures import write_frames  # noqa: PLC0415

    write_frames(dataset, [label, labelled_as_train(78)])
    frames = [
        frame(seed, rattle_angstrom=0.3, gamma_max=1.0 + seed / 10, step=100 * seed)
        for seed in range(1, 9)
    ]
    frames.append(frame(9, kind="halt", rattle_angstrom=0.1, gamma_max=90.0, step=900))
    found, _ = select(
        tmp_path / "run", fitted, [frames], acquisition="batch", candidates_max=5, dataset=[dataset]
    )
    assert found.below_window == found.duplicates == 0
    assert found.structures[0].why == "halt"
    assert {structure.why for structure in found.structures} <= {
        "halt",
        "informed",
        "d_optimal",
        "random",
    }
    assert "informed" in {structure.why for structure in found.structures}
    assert all(structure.origin.startswith(f"{structure.why}: ") for structure in found.structures)


def labelled_as_train(seed: int) -> Atoms:
    """One more label to have learned from."""
    atoms = labelled(copper((1, 1, 2), 0.1, seed))
    atoms.info = {"role": "train", "origin": "generated"}
    return atoms
