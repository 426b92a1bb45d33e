"""Embedding: what is cut out of large frames, held against the frames by ways of its own."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from kit.embedding import CUTOFF_ANGSTROM, FRAMES, fit_alloy_once, parameters_of, rattled

pytest.importorskip("pyace", reason="needs the demo extra")

from mlip_autopipec.contract.results.select import Certificate
from mlip_autopipec.work.ace.evaluator import AceEvaluator
from mlip_autopipec.work.embedding.embedder import Embedded, Embedder, valence_electrons

pytestmark = [pytest.mark.codes, pytest.mark.timeout(600)]

MARGIN_ANGSTROM = 0.5
#: Whole parts of the cut, tried with few cells each, so that one example takes a second or so.
QUICK: dict[str, Any] = {"attempts_max": 5, "relax_steps": 30, "margin_angstrom": MARGIN_ANGSTROM}


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> AceEvaluator:
    potential = fit_alloy_once(tmp_path_factory)
    return AceEvaluator(potential.yaml, potential.asi)


def embed(evaluator: AceEvaluator, frame: Atoms, centre: int, **changes: Any) -> Embedded:
    """The frame graded, and the environment of one atom cut out."""
    frame.set_array("gamma", evaluator.gamma(frame))
    return Embedder(evaluator, parameters_of(**{**QUICK, **changes})).embed(frame, centre, seed=1)


def environment(atoms: Atoms, index: int) -> tuple[np.ndarray, np.ndarray]:
    """An atom's neighbours within the cutoff: where, in Å from it, and what.

    They are in one order for all who ask.
    """
    images = atoms.copy()
    first, second, ways = neighbor_list("ijD", images, CUTOFF_ANGSTROM)
    mine = first == index
    order = np.lexsort(ways[mine].round(5).T)
    return ways[mine][order], images.numbers[second[mine]][order]


def half_box(cell: Atoms, frame: Atoms) -> float:
    """Half the shortest period of a cell that is no period of the frame, in Å."""
    steps = np.array(np.meshgrid(*[range(-3, 4)] * 3)).reshape(3, -1).T
    periods = steps[steps.any(axis=1)] @ cell.cell.array
    own = (
        np.abs((inside := periods @ np.linalg.inv(frame.cell.array)) - inside.round()).max(axis=1)
        < 1e-6
    )
    return float(np.linalg.norm(periods[~own], axis=1).min() / 2)


def faults(evaluator: AceEvaluator, frame: Atoms, centre: int, embedded: Embedded) -> Iterator[str]:
    """All that is wrong with a cell, judged from the frame and the cell alone."""
    cell = embedded.atoms
    assert cell is not None
    core = np.asarray(cell.arrays["core"], dtype=bool)
    yield from _faults_of_the_mask(cell, core, embedded.certificate, half_box(cell, frame))
    gamma_there, there = evaluator.environments(frame)
    gamma_here, here = evaluator.environments(cell)
    for atom in np.flatnonzero(core):
        source = _source_of(cell, int(atom), frame, centre)
        (ways, kinds), (expected, expected_kinds) = (
            environment(cell, int(atom)),
            environment(frame, source),
        )
        if (
            len(ways) != len(expected)
            or np.abs(ways - expected).max() > 1e-6
            or (kinds != expected_kinds).any()
        ):
            yield f"the neighbours of core atom {atom} are not those of atom {source}"
        if np.abs(here[atom] - there[source]).max() > 1e-6 * np.abs(there[source]).max():
            yield f"B-projections of core atom {atom} are not those of atom {source}"
    if not np.isclose(gamma_here[0], gamma_there[centre], rtol=1e-6):
        yield "γ of the extrapolating atom is another"
    # an atom is its own equal
    if gamma_here[~core].max(initial=0.0) > max(gamma_there.max(), 2.0) * (1 + 1e-9):
        yield "the buffer is stranger than anything in the source"


def _faults_of_the_mask(
    cell: Atoms, core: np.ndarray, certificate: Certificate, half: float
) -> Iterator[str]:
    distances = cell.get_distances(0, range(len(cell)), mic=True)
    intact, shift = certificate.intact_angstrom, certificate.shift_angstrom
    assert intact is not None
    assert shift is not None
    if abs(intact - half) > 1e-3:
        yield f"{intact} Å are called intact, half the box is {half} Å"
    if not core[0] or intact - shift < CUTOFF_ANGSTROM + MARGIN_ANGSTROM - 1e-2:
        yield "the extrapolating atom is not well inside the core"
    if (missing := (distances + shift + CUTOFF_ANGSTROM <= half - 1e-3) & ~core).any():
        yield f"{missing.sum()} atoms that see nothing of the seam are not core"
    if (extra := core & (distances - shift + CUTOFF_ANGSTROM > intact + 1e-3)).any():
        yield f"{extra.sum()} core atoms see beyond the intact ball"
    if len(cell) != certificate.n_atoms or core.sum() != certificate.core_atoms:
        yield "the certificate counts other atoms"


def _source_of(cell: Atoms, atom: int, frame: Atoms, centre: int) -> int:
    """Which atom of the frame a core atom is, by its place relative to the extrapolating one."""
    way = cell.get_distance(0, atom, mic=True, vector=True)
    indices = (frame.positions - frame.positions[centre] - way) @ np.linalg.inv(frame.cell.array)
    return int(np.argmin(np.linalg.norm((indices - indices.round()) @ frame.cell.array, axis=1)))


def _chosen(kind: str, seed: int) -> tuple[Atoms, int]:
    """A frame and an atom of it; every other time, the atom sits at a corner of the frame."""
    rng = np.random.default_rng(seed)
    frame = FRAMES[kind](rng)
    centre = int(rng.integers(len(frame)))
    if seed % 2:
        frame.positions -= frame.positions[centre] - 1e-3
        frame.wrap()
    return frame, centre


@pytest.mark.parametrize("kind", sorted(FRAMES))
def test_the_core_of_every_cell_is_the_source(evaluator: AceEvaluator, kind: str) -> None:
    """Same neighbours and B-projections for each atom whose cutoff ends in the ball.

    Mask and counts are right.
    """
    kept = []

    @settings(
        max_examples=4,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # a smaller seed is no simpler frame
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**20))
    @example(0)
    @example(1)
    @example(109)  # a crystal of which two atoms of the ball meet on a face
    def check(seed: int) -> None:
        frame, centre = _chosen(kind, seed)
        embedded = embed(evaluator, frame, centre)
        kept.append(embedded.atoms is not None)
        if embedded.atoms is None:
            assert embedded.certificate.reason, embedded.certificate
        else:
            assert list(faults(evaluator, frame, centre, embedded)) == []

    check()
    assert sum(kept) > len(kept) / 2


def _wider_mask(cell: Atoms) -> None:
    nearest = np.argsort(cell.get_distances(0, range(len(cell)), mic=True))
    cell.arrays["core"][nearest[: cell.arrays["core"].sum() + 3]] = True


def _narrower_mask(cell: Atoms) -> None:
    cell.arrays["core"][0] = False


def _moved_neighbour(cell: Atoms) -> None:
    cell.positions[np.argsort(cell.get_distances(0, range(len(cell)), mic=True))[4]] += 1e-3


def _other_element(cell: Atoms) -> None:
    index = np.argsort(cell.get_distances(0, range(len(cell)), mic=True))[3]
    cell.numbers[index] = 79 if cell.numbers[index] == 29 else 29


def _lost_neighbour(cell: Atoms) -> None:
    del cell[int(np.argsort(cell.get_distances(0, range(len(cell)), mic=True))[2])]


def _squeezed_box(cell: Atoms) -> None:
    cell.set_cell(0.9 * cell.cell.array)


PLANTED = (
    _wider_mask,
    _narrower_mask,
    _moved_neighbour,
    _other_element,
    _lost_neighbour,
    _squeezed_box,
)


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_bug_is_found(evaluator: AceEvaluator, plant: Callable[[Atoms], None]) -> None:
    """A wrong mask, a wrong atom near the centre, a box too small: each is a fault.

    The mask is too wide or narrow; the atom was moved, changed or lost.
    """
    frame, centre = _chosen("crystal", 4)
    embedded = embed(evaluator, frame, centre)
    assert embedded.atoms is not None
    assert list(faults(evaluator, frame, centre, embedded)) == []
    plant(embedded.atoms)
    assert list(faults(evaluator, frame, centre, embedded)) != []


@pytest.mark.parametrize("kind", sorted(FRAMES))
def test_the_same_frame_gives_the_same_cell(evaluator: AceEvaluator, kind: str) -> None:
    """To the last bit, with the same certificate."""
    frame, centre = _chosen(kind, 4 if kind == "crystal" else 2)
    first, other = embed(evaluator, frame.copy(), centre), embed(evaluator, frame.copy(), centre)
    assert first.certificate == other.certificate
    assert first.atoms is not None
    assert other.atoms is not None
    assert first.atoms.positions.tobytes() == other.atoms.positions.tobytes()
    assert first.atoms.cell.array.tobytes() == other.atoms.cell.array.tobytes()


def test_a_perfect_crystal_stays_perfect(evaluator: AceEvaluator) -> None:
    """The cut follows the lattice: every atom of the cell sees what it saw.

    No force pulls, and nothing had to move.
    """
    frame = bulk("Cu", "fcc", a=3.7, cubic=True).repeat(7)
    embedded = embed(evaluator, frame, 600)
    cell = embedded.atoms
    assert cell is not None
    gamma = evaluator.gamma(cell)
    assert np.allclose(gamma, gamma[0], rtol=1e-6)
    assert cell.get_volume() / len(cell) == pytest.approx(3.7**3 / 4)
    assert embedded.certificate.relax_steps == 0
    assert embedded.certificate.intact_angstrom == pytest.approx(half_box(cell, frame), abs=2e-4)
    assert np.abs(evaluator.evaluate(cell).forces).max() < 1e-6


def test_order_is_kept_in_an_ordered_alloy(evaluator: AceEvaluator) -> None:
    """L1_0 comes out half and half, with like planes alike, though Cu and Au sit on one lattice."""
    sites = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    item = Atoms("CuCuAuAu", scaled_positions=sites, cell=[3.9, 3.9, 3.7], pbc=True)
    frame = rattled(item.repeat(6), 0.06, np.random.default_rng(1))
    cell = embed(evaluator, frame, 500).atoms
    assert cell is not None
    assert (cell.numbers == 29).sum() == (cell.numbers == 79).sum()
    first, second, distances = neighbor_list("ijd", cell, 3.2)
    like = cell.numbers[first] == cell.numbers[second]
    assert (np.bincount(first[like], minlength=len(cell)) == 4).all()
    assert distances.min() > 2.2


def test_charges_make_cells_neutral(evaluator: AceEvaluator) -> None:
    """Of a liquid with as many of each element, as many of each are cut once they have charges."""
    frame, centre = _chosen("liquid", 8)
    frame.numbers[:] = np.where(np.arange(len(frame)) % 2, 29, 79)
    frame = frame[: len(frame) - len(frame) % 2]
    embedded = embed(evaluator, frame, min(centre, len(frame) - 1), charges={"Cu": 1, "Au": -1})
    if embedded.atoms is None:
        assert "charge" not in embedded.certificate.reason
    else:
        assert (embedded.atoms.numbers == 29).sum() == (embedded.atoms.numbers == 79).sum()


def test_what_proves_itself_in_no_cell_is_whole_or_rejected(evaluator: AceEvaluator) -> None:
    """Too few atoms allowed: a frame that may be labelled whole is, another is refused.

    Both come with the reason.
    """
    frame = rattled(bulk("Cu", "fcc", a=3.7, cubic=True).repeat(4), 0.1, np.random.default_rng(2))
    frame.set_array("gamma", evaluator.gamma(frame))
    parameters = parameters_of(**{**QUICK, "atoms_max": 20})
    refused = Embedder(evaluator, parameters).embed(frame, 0, seed=1)
    assert refused.atoms is None
    assert refused.certificate.verdict == "rejected"
    assert "no periodic cell fits: at most 20 atoms" in refused.certificate.reason
    allowed = replace(parameters, embedding=replace(parameters.embedding, whole_atoms_max=256))
    whole = Embedder(evaluator, allowed).embed(frame, 0, seed=1)
    assert whole.atoms is not None
    assert len(whole.atoms) == 256
    assert (whole.certificate.verdict, whole.certificate.reason) == (
        "whole",
        refused.certificate.reason,
    )


def test_too_many_electrons_are_refused(evaluator: AceEvaluator) -> None:
    """The certificate counts them, predicts the cost, and keeps to the bound."""
    frame = rattled(bulk("Cu", "fcc", a=3.7, cubic=True).repeat(6), 0.05, np.random.default_rng(3))
    free = embed(evaluator, frame.copy(), 0)
    assert free.certificate.electrons is not None
    assert free.certificate.n_atoms is not None
    assert free.certificate.electrons == 11 * free.certificate.n_atoms
    assert free.certificate.cost == pytest.approx((free.certificate.electrons / 100) ** 3, abs=1e-3)
    refused = embed(evaluator, frame.copy(), 0, electrons_max=100)
    assert refused.certificate.verdict == "rejected"
    assert "electrons, at most 100 are allowed" in refused.certificate.reason
    light = embed(evaluator, frame.copy(), 0, valence_electrons={"Cu": 1}, electrons_max=100)
    assert light.certificate.n_atoms is not None
    assert light.certificate.electrons == light.certificate.n_atoms
    assert light.certificate.electrons_odd == bool(light.certificate.n_atoms % 2)


def test_molecules_are_taken_whole() -> None:
    """A cluster holds all atoms of every molecule that reaches the ball, and vacuum around."""
    from mlip_autopipec.work.embedding.cut import molecules, neighbourhood  # noqa: PLC0415 - for this test alone

    frame = Atoms(cell=[24.0] * 3, pbc=True)
    for index in np.ndindex(6, 6, 6):
        item = molecule("H2O")
        item.rotate(37.0 * sum(index), "xyz")
        item.translate(np.array(index) * 4.0 + 0.7)
        frame += item
    cluster = molecules(neighbourhood(frame, 300, 18.0), 6.0, 7.0)
    assert (
        Counter(cluster.atoms.get_chemical_symbols())["H"]
        == 2 * Counter(cluster.atoms.get_chemical_symbols())["O"]
    )
    assert len(cluster.atoms) % 3 == 0
    near = neighbourhood(frame, 300, 6.0)
    assert len(cluster.atoms) >= len(near.positions)
    assert (
        cluster.atoms.cell.lengths() - np.ptp(cluster.atoms.positions, axis=0)
    ).min() == pytest.approx(14.0)


@pytest.mark.parametrize(
    ("symbol", "electrons"),
    [
        ("H", 1),
        ("Al", 3),
        ("Si", 4),
        ("Fe", 8),
        ("Cu", 11),
        ("Zn", 12),
        ("Ga", 3),
        ("W", 6),
        ("Au", 11),
        ("Pb", 4),
    ],
)
def test_valence_electrons_are_those_outside_closed_shells(symbol: str, electrons: int) -> None:
    """As the usual pseudopotentials without semicore states count them."""
    assert valence_electrons(symbol) == electrons
