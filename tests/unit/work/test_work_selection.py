"""Selection: which frames go on to be labelled, by the real pace_select."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from kit.jobs import Fitted, copper, fit_once, job_of, train_parameters
from kit.selecting import STRIDE, frame, select

from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.select import Embedding, SelectParameters
from mlip_autopipec.report.choices import FATES, read_candidates
from mlip_autopipec.work import families
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.structures import read_frames, write_frames

pytest.importorskip("pyace", reason="needs the demo extra")

from mlip_autopipec.work.ace.evaluator import AceEvaluator
from mlip_autopipec.work.choosing import acquisition
from mlip_autopipec.work.steps import label as calculation
from mlip_autopipec.work.steps import select as selection
from mlip_autopipec.work.steps import train as training

pytestmark = pytest.mark.codes


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


def seeds(metrics: SelectMetrics, role: str = "train") -> set[int]:
    """Which of the frames were chosen."""
    return {_seed(structure) for structure in metrics.structures if structure.role == role}


def _seed(structure: Structure) -> int:
    assert structure.came_from is not None
    return int(structure.came_from.subject.rpartition(" ")[2])


def conditions(metrics: SelectMetrics) -> list[str]:
    """What the structures walked in; all are audits."""
    origins = [
        structure.came_from for structure in metrics.structures if structure.came_from is not None
    ]
    assert {origin.kind for origin in origins} == {"audit"}
    return [origin.condition for origin in origins]


def test_the_unknown_is_chosen_before_the_known(fitted: Fitted, tmp_path: Path) -> None:
    """pace_select picks no more than it may.

    It picks those whose environments the active set knows least.
    """
    known = [frame(seed, rattle_angstrom=0.03) for seed in range(6)]
    unknown = [frame(seed, rattle_angstrom=0.35) for seed in (21, 22)]
    evaluator = AceEvaluator(fitted.yaml, fitted.asi)
    assert max(evaluator.gamma(atoms).max() for atoms in known) < min(
        evaluator.gamma(a).max() for a in unknown
    )
    metrics, structures = select(
        tmp_path, fitted, [[*known, *unknown]], candidates_max=2, duplicate_rmsd_angstrom=0.0
    )
    assert seeds(metrics) == {21, 22}
    assert (metrics.frames, metrics.not_chosen) == (8, 6)
    assert {
        (structure.role, structure.why, structure.n_atoms) for structure in metrics.structures
    } == {("train", "d_optimal", 8)}
    for structure, atoms in zip(metrics.structures, structures, strict=True):
        assert structure.gamma_max == atoms.info["gamma_max"] == 5.0
        assert "velocities" not in atoms.arrays
        assert any(np.abs(atoms.positions - other.positions).max() < 1e-7 for other in unknown)


@pytest.mark.parametrize("candidates_max", [1, 3])
def test_no_more_are_chosen_than_may_be(
    fitted: Fitted, tmp_path: Path, candidates_max: int
) -> None:
    """However many frames there are; every frame is accounted for."""
    frames = [frame(seed, rattle_angstrom=0.3) for seed in range(8)]
    metrics, _ = select(tmp_path, fitted, [frames[:4], frames[4:]], candidates_max=candidates_max)
    assert len(metrics.structures) == candidates_max
    assert metrics.not_chosen == 8 - candidates_max
    assert len({structure.file.path for structure in metrics.structures}) == candidates_max


def test_frames_below_the_window_are_dropped(fitted: Fitted, tmp_path: Path) -> None:
    """γ at gamma_select is in, below it is out."""
    metrics, _ = select(
        tmp_path,
        fitted,
        [[frame(1, gamma_max=1.99), frame(2, gamma_max=2.0), frame(3, gamma_max=1e9)]],
    )
    assert metrics.below_window == 1
    assert seeds(metrics) <= {2, 3}
    assert len(metrics.structures) + metrics.not_chosen == 2


def test_frames_with_short_distances_are_dropped(fitted: Fitted, tmp_path: Path) -> None:
    """No label is asked for of atoms that sit in each other."""
    squeezed = frame(1)
    squeezed.positions[1] = squeezed.positions[0] + [1.2, 0.0, 0.0]
    metrics, _ = select(tmp_path, fitted, [[squeezed, frame(2)]])
    assert metrics.too_short == 1
    assert seeds(metrics) == {2}


def test_of_two_that_are_nearly_one_the_higher_grade_is_kept(
    fitted: Fitted, tmp_path: Path
) -> None:
    """Atoms that have wrapped around the cell in the meantime do not hide the likeness."""
    first, other = frame(1, gamma_max=3.0), frame(2, gamma_max=4.0)
    other.positions = first.positions + 0.01
    other.positions[3] += other.cell[2]
    metrics, _ = select(tmp_path, fitted, [[first, other, frame(3)]])
    assert metrics.duplicates == 1
    assert seeds(metrics) == {2, 3}


def test_duplicates_are_told_by_the_distance_per_atom() -> None:
    """Nearer than the bound is one.

    Frames of other cells or elements are never alike, and zero drops nothing.
    """
    first, near, far = frame(1), frame(1), frame(1)
    near.positions += 0.02  # √3 · 0.02 = 0.035 Å
    far.positions += 0.04
    assert selection.without_duplicates([first, near], 0.05) == [first]
    assert selection.without_duplicates([first, far], 0.05) == [first, far]
    strained = frame(1)
    strained.set_cell(strained.cell * 1.01, scale_atoms=False)
    mixed = frame(1)
    mixed.symbols[0] = "Au"
    assert selection.without_duplicates([first, strained, mixed], 10.0) == [first, strained, mixed]
    assert selection.without_duplicates([first, frame(1)], 0.0) == [first, first]


def test_without_frames_nothing_is_chosen(fitted: Fitted, tmp_path: Path) -> None:
    """Walkers that collected nothing, or nothing in the window, give no structure and no error."""
    assert select(tmp_path / "a", fitted, [[], []])[0].structures == ()
    metrics, _ = select(tmp_path / "b", fitted, [[frame(1, gamma_max=1.0)]])
    assert (metrics.frames, metrics.below_window, metrics.structures) == (1, 1, ())


def test_audit_frames_are_spread_over_the_walkers(fitted: Fitted, tmp_path: Path) -> None:
    """One of each walker before a second of any, whatever their γ, as test structures.

    The draw is the seed's.
    """
    walkers = [
        [
            frame(10 * number + n, kind="audit", walker=f"w{number}", step=100 * n, gamma_max=0.5)
            for n in range(4)
        ]
        for number in range(3)
    ]
    metrics, _ = select(tmp_path / "a", fitted, walkers, audit=5)
    chosen = sorted(seeds(metrics, "test"))
    counts = [sum(seed // 10 == number for seed in chosen) for number in range(3)]
    assert sorted(counts) == [1, 2, 2]
    assert {(structure.role, structure.why) for structure in metrics.structures} == {
        ("test", "audit")
    }
    again, _ = select(tmp_path / "b", fitted, walkers, audit=5)
    other, _ = select(tmp_path / "c", fitted, walkers, audit=5, seed=10)
    assert sorted(seeds(again, "test")) == chosen
    assert sorted(seeds(other, "test")) != chosen
    everything, _ = select(tmp_path / "d", fitted, walkers, audit=100)
    assert len(everything.structures) == 12


def test_each_condition_gets_the_audits_it_is_short_of(fitted: Fitted, tmp_path: Path) -> None:
    """Replicas are one condition, and their frames are taken apart in time.

    What is left of the audits is spread.
    """
    walkers = [
        [
            frame(10 * number + n, kind="audit", walker=name, step=step)
            for n, step in enumerate((100, 110, 900))
        ]
        for number, name in enumerate(("cold", "cold #2", "hot", "warm"))
    ]
    asked = {"hot": 2, "cold": 3, "unknown": 5}
    metrics, _ = select(tmp_path / "a", fitted, walkers, audit=10, audit_conditions=asked)
    assert [conditions(metrics).count(name) for name in ("cold", "hot", "warm")] == [3, 2, 0]
    assert not {20, 21} <= seeds(metrics, "test"), (
        "10 steps apart, while there was one 800 steps away"
    )
    metrics, _ = select(tmp_path / "b", fitted, walkers, audit=4, audit_conditions={"hot": 2})
    assert conditions(metrics).count("hot") == 2
    assert conditions(metrics).count("warm") == 1


def test_quiet_walkers_give_random_frames_to_train_on(fitted: Fitted, tmp_path: Path) -> None:
    """From what was kept at random, away in time from the audits, of the wrong conditions alone."""
    walkers = [
        [
            frame(10 * number + n, kind="audit", walker=name, step=step)
            for n, step in enumerate((0, 400, 405, 900))
        ]
        for number, name in enumerate(("cold", "hot"))
    ]
    for way in ("gamma_window", "batch"):
        settings = {
            "audit": 1,
            "audit_conditions": {"hot": 1},
            "random_min": 2,
            "random_conditions": ("hot",),
        }
        metrics, _ = select(tmp_path / way, fitted, walkers, acquisition=way, **settings)
        assert [(structure.role, structure.why) for structure in metrics.structures] == [
            ("train", "random")
        ] * 2 + [("test", "audit")]
        drawn = {_seed(structure) for structure in metrics.structures}
        assert drawn < {10, 11, 12, 13}
        assert not {11, 12} <= drawn


def test_an_audit_frame_with_short_distances_is_no_test(fitted: Fitted, tmp_path: Path) -> None:
    """An exploded trajectory says nothing of where MD goes."""
    squeezed = frame(1, kind="audit")
    squeezed.positions[1] = squeezed.positions[0] + [1.2, 0.0, 0.0]
    metrics, _ = select(tmp_path, fitted, [[squeezed, frame(2, kind="audit")]], audit=2)
    assert seeds(metrics, "test") == {2}


def test_what_lies_near_a_test_structure_is_not_trained_on_but_the_halt_is(
    fitted: Fitted, tmp_path: Path
) -> None:
    """Ten strides around an audit frame of its walker are left out.

    Other walkers and the halting frame are not.
    """
    gap = 10 * STRIDE
    walkers = [
        [
            frame(1, step=100 - gap + 1),
            frame(2, step=100 + gap - 1),
            frame(3, step=100 - gap),
            frame(4, step=100 + gap),
            frame(5, step=100 + STRIDE, kind="halt"),
            frame(6, step=100, kind="audit", gamma_max=0.5),
        ],
        [frame(7, step=100, walker="w1")],
    ]
    metrics, _ = select(tmp_path, fitted, walkers, audit=1)
    assert seeds(metrics, "test") == {6}
    assert seeds(metrics) <= {3, 4, 5, 7}
    assert metrics.near_audit == 2
    assert len(seeds(metrics)) + metrics.not_chosen == 4


def test_structures_are_numbered_and_hold_one_frame_each(fitted: Fitted, tmp_path: Path) -> None:
    """Candidates first, audit structures after, in files that follow each other."""
    frames = [
        frame(1, rattle_angstrom=0.3),
        frame(2, rattle_angstrom=0.3),
        frame(3, kind="audit", step=900),
    ]
    metrics, _ = select(tmp_path, fitted, [frames], audit=1)
    assert [Path(structure.file.path).name for structure in metrics.structures] == [
        "000.extxyz",
        "001.extxyz",
        "002.extxyz",
    ]
    assert [structure.role for structure in metrics.structures] == ["train", "train", "test"]


def verdicts(root: Path) -> list[tuple[str, str]]:
    """What candidates.json says of each frame: where it came from, and what became of it."""
    (path,) = root.glob("cycles/001/selection/*/candidates.json")
    return [(row["origin"], row["verdict"]) for row in json.loads(path.read_text(encoding="utf-8"))]


def test_every_frame_ends_with_one_word(fitted: Fitted, tmp_path: Path) -> None:
    """The table tells of all frames, and its words add up to the counts of the outcome."""
    frames = [
        frame(1, gamma_max=1.0),
        frame(2, gamma_max=30.0),
        frame(3),
        frame(3),
        frame(4, kind="halt"),
        frame(5),
    ]
    squeezed = frame(6)
    squeezed.positions[1] = squeezed.positions[0] + [1.2, 0.0, 0.0]
    metrics, _ = select(tmp_path, fitted, [[*frames, squeezed]], gamma_max=20.0, candidates_max=1)
    message = Counter(verdict for _, verdict in verdicts(tmp_path))
    assert message.total() == metrics.frames == 7
    assert (
        message["below_window"],
        message["above_window"],
        message["too_short"],
        message["duplicates"],
    ) == (
        1,
        1,
        1,
        1,
    )
    assert (metrics.below_window, metrics.above_window, metrics.too_short, metrics.duplicates) == (
        1,
        1,
        1,
        1,
    )
    assert message["halt"] == 1
    assert metrics.not_chosen == message["not_chosen"] == 2
    (path,) = tmp_path.glob("cycles/001/selection/*/candidates.json")
    found = read_candidates(path)
    assert not isinstance(found, str), found
    assert {frame.verdict for frame in found} <= FATES.keys()


def test_a_halting_frame_is_chosen_before_stranger_ones(fitted: Fitted, tmp_path: Path) -> None:
    """A walker whose halt is not labelled would halt there again."""
    strange = [frame(seed, rattle_angstrom=0.35) for seed in (21, 22, 23)]
    metrics, _ = select(
        tmp_path, fitted, [[*strange, frame(1, kind="halt", rattle_angstrom=0.1)]], candidates_max=1
    )
    assert [(structure.why, structure.role) for structure in metrics.structures] == [
        ("halt", "train")
    ]
    assert seeds(metrics) == {1}


@pytest.mark.parametrize("cap", ["per_walker_max", "per_condition_max"])
def test_no_walker_and_no_condition_has_more_than_its_share(
    fitted: Fitted, tmp_path: Path, cap: str
) -> None:
    """The next in rank of others are chosen instead, and what was passed over is counted."""
    walkers = [
        [frame(10 * w + n, rattle_angstrom=0.3, walker=f"w{w}") for n in range(4)] for w in range(2)
    ]
    metrics, _ = select(tmp_path, fitted, walkers, **{cap: 1})
    assert Counter(seed // 10 for seed in seeds(metrics)) == {0: 1, 1: 1}
    assert metrics.capped + metrics.not_chosen == 6
    assert metrics.capped > 0


def test_each_element_gets_its_floor() -> None:
    """The only frame with gold that extrapolates takes the place of the least of the ranked.

    It does not take that of a halt.
    """
    candidates = [acquisition.Candidate(frame(seed)) for seed in range(4)]
    candidates[3].frame.numbers[0] = 79
    halt, least = candidates[0], candidates[1]
    halt.verdict, least.verdict = "halt", "d_optimal"
    parameters = SelectParameters(
        elements=("Cu", "Au"),
        candidates_max=2,
        per_element_min=0,
        gamma_select=2.0,
        distance_min_angstrom=1.0,
        seed=1,
    )
    assert acquisition._with_floors([halt, least], candidates, parameters) == [halt, least]
    chosen = acquisition._with_floors(
        [halt, least], candidates, replace(parameters, per_element_min=1)
    )
    assert chosen == [halt, candidates[3]]
    assert [candidate.verdict for candidate in candidates] == [
        "halt",
        "not_chosen",
        "not_chosen",
        "element_floor",
    ]
    candidates[3].frame.arrays["gamma"][0] = 1.9
    least.verdict = "d_optimal"
    assert acquisition._with_floors(
        [halt, least], candidates, replace(parameters, per_element_min=1)
    ) == [halt, least]


def test_a_cloud_surrounds_the_halt(fitted: Fitted, tmp_path: Path) -> None:
    """Displaced copies of the halting frame alone are graded anew and offered beside it."""
    walkers = [[frame(1, kind="halt", rattle_angstrom=0.3), frame(2)]]
    metrics, _ = select(tmp_path, fitted, walkers, cloud=4, cloud_angstrom=0.1)
    found = [origin for origin, _ in verdicts(tmp_path) if origin.startswith("cloud: w0")]
    assert len(found) == metrics.cloud == 4
    assert metrics.frames == 2
    assert any(structure.origin.startswith("cloud") for structure in metrics.structures)


def large(seed: int, kind: str, step: int, fitted: Fitted) -> Atoms:
    """A frame of 500 atoms, one of which has been pushed where the potential knows nothing."""
    atoms = frame(seed, kind=kind, step=step)
    big = copper((5, 5, 5), 0.05, seed)
    big.positions[7 * seed] += 0.7
    big.info = dict(atoms.info)
    big.set_array("gamma", AceEvaluator(fitted.yaml, fitted.asi).gamma(big))
    big.info["gamma_max"] = float(big.arrays["gamma"].max())
    return families.begin(big, (5, 5, 5), vacuum=())


def test_large_frames_are_embedded_before_they_are_chosen(fitted: Fitted, tmp_path: Path) -> None:
    """A certified cell with its force mask is written, for candidates and audits alike.

    The outcome tells.
    """
    frames = [
        large(1, "halt", 50, fitted),
        large(2, "collected", 5, fitted),
        large(3, "audit", 500, fitted),
    ]
    metrics, structures = select(
        tmp_path, fitted, [frames], audit=1, embedding=Embedding(atoms_max=110)
    )
    assert {structure.role for structure in metrics.structures} == {"train", "test"}
    assert [certificate.kept for certificate in metrics.certificates] == [True] * len(
        metrics.certificates
    )
    assert len(metrics.certificates) == 3
    for structure, atoms in zip(metrics.structures, structures, strict=True):
        assert structure.n_atoms == len(atoms) <= 110
        # its own, without strain
        assert np.allclose(atoms.info["reference_cell"], atoms.cell.array, atol=0.2)
        assert "reference_repeat" not in atoms.info
        core = np.asarray(atoms.arrays["core"], dtype=bool)
        assert 1 <= core.sum() < len(atoms)
    halted = metrics.certificates[0]
    assert halted.centre == int(np.argmax(frames[0].arrays["gamma"]))
    assert halted.projections_off is not None
    assert halted.projections_off < 1e-9
    assert halted.gamma_after == pytest.approx(halted.gamma_before)


def test_large_frames_are_whole_where_that_is_asked_for(fitted: Fitted, tmp_path: Path) -> None:
    """Mode whole labels every frame as it is; and beyond frames_max nothing is offered."""
    frames = [large(1, "halt", 50, fitted), large(2, "collected", 5, fitted)]
    whole, _ = select(tmp_path / "a", fitted, [frames], embedding=Embedding(mode="whole"))
    assert {structure.n_atoms for structure in whole.structures} == {500}
    few, _ = select(
        tmp_path / "b", fitted, [frames], embedding=Embedding(atoms_max=110, frames_max=1)
    )
    assert few.not_offered == 1
    assert [structure.why for structure in few.structures] == ["halt"]


def test_the_force_mask_reaches_the_label_and_the_fit(fitted: Fitted, tmp_path: Path) -> None:
    """A cell that Selection cut is labelled with its core.

    A fit to it is better there than one without it.
    """
    frames = [large(seed, "halt", 50 + 100 * seed, fitted) for seed in (1, 2)]
    metrics, structures = select(tmp_path, fitted, [frames], embedding=Embedding(atoms_max=110))
    labels = []
    for number, (item, structure) in enumerate(zip(metrics.structures, structures, strict=True)):
        oracle = AseOracle(calculator="ase.calculators.emt.EMT")
        parameters = CalculateParameters(
            role=item.role,
            origin=item.origin,
            oracle=oracle,
            force_max_ev_per_angstrom=1e3,
            pressure_max_gpa=1e3,
        )
        job = job_of(tmp_path / str(number), parameters, {"structure": [tmp_path / item.file.path]})
        (label,) = read_frames(calculation.run(job).artefacts["label"])
        label.info["settings"] = (
            "EMT"  # as the labels of the small potential say of the same oracle
        )
        labels.append(tmp_path / f"label-{number}.extxyz")
        write_frames(labels[-1], [label])
        assert label.arrays["core"].tolist() == structure.arrays["core"].tolist()
    more = training.run(
        job_of(tmp_path / "more", train_parameters(), {"label": [*fitted.labels, *labels]})
    )
    assert more.metrics.train.structures == fitted.metrics.train.structures + len(labels)
    off = {}
    for name, root in (("before", fitted.root), ("after", tmp_path / "more")):
        evaluator = AceEvaluator(
            root / "potentials/001/potential.yaml", root / "potentials/001/potential.asi"
        )
        wrong = []
        for (label,) in map(read_frames, labels):
            core = np.asarray(label.arrays["core"], dtype=bool)
            wrong.append(
                (evaluator.evaluate(label, graded=False).forces - label.get_forces())[core]
            )
        off[name] = (
            float(np.sqrt(np.mean(np.concatenate(wrong) ** 2))),
            evaluator.gamma(read_frames(labels[0])[0]).max(),
        )
    assert off["after"][0] < 0.8 * off["before"][0]
    assert off["after"][1] < 1.05 < off["before"][1]
