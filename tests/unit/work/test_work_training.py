"""Training on real labels with the real tools."""

import json
import math
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from kit.jobs import (
    Fitted,
    copper,
    fit_once,
    job_of,
    labelled,
    strained_copper,
    train_parameters,
    training_set,
)
from kit.judged import judged_value, judged_value_json

from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.contract.results.train import PastErrors, TrainMetrics
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.job import Result, TaskFailed
from mlip_autopipec.work.structures import read_frames, write_frames

pytest.importorskip("pyace", reason="needs the demo extra")

from pyace import ACEBBasisSet, PyACECalculator

from mlip_autopipec.work.ace.comparison import Comparison
from mlip_autopipec.work.ace.evaluator import AceEvaluator
from mlip_autopipec.work.steps import judging
from mlip_autopipec.work.steps import train as training

pytestmark = pytest.mark.codes


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


def train(
    root: Path, labels: list[Path], inputs: dict[str, list[Path]] | None = None, **changes: Any
) -> Result[TrainMetrics]:
    """Run Training in a root of its own."""
    return training.run(
        job_of(root, train_parameters(**changes), {"label": labels, **(inputs or {})})
    )


def coefficients(root: Path) -> np.ndarray:
    """What was fitted."""
    return np.array(ACEBBasisSet(str(root / "potentials/001/potential.yaml")).basis_coeffs)


def write_label(path: Path, label: Atoms) -> Path:
    """One label in a file of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frames(path, [label])
    return path


def shifted(label: Atoms, energy_ev: float = 0.0, forces: float = 0.0) -> Atoms:
    """The label with other numbers: an energy added, and forces drawn at random."""
    other = label.copy()
    wrong = label.get_forces() + np.random.default_rng(1).normal(0.0, forces, (len(label), 3))
    other.calc = SinglePointCalculator(
        other, energy=label.get_potential_energy() + energy_ev, forces=wrong
    )
    return other


def test_a_fit_to_ten_structures_reaches_the_truth(fitted: Fitted) -> None:
    """A few meV on structures not fitted to, and the numbers are what Training promises."""
    metrics = judged_value(TrainMetrics, fitted.metrics)
    assert metrics.functions == 20
    assert metrics.train.structures == 10
    assert metrics.test.structures == 4
    assert 0 < metrics.test.energy_mev_per_atom < 3
    assert 0 < metrics.test.force_mev_per_angstrom < 30
    assert metrics.test_of_current is None
    assert metrics.history == ()


def test_the_errors_are_those_of_the_potential_that_was_written(fitted: Fitted) -> None:
    """Read back from its files, the potential has the root-mean-square errors that were told."""
    evaluator = AceEvaluator(fitted.yaml, fitted.asi)
    reference = fitted.metrics.reference_energies_ev["Cu"]
    energies, forces = [], []
    for path in fitted.labels[10:]:
        (label,) = read_frames(path)
        said = evaluator.evaluate(label)
        energies.append((said.energy_ev - label.get_potential_energy()) / len(label) + reference)
        forces.append(said.forces - label.get_forces())
    found = fitted.metrics.test
    assert 1000 * math.sqrt(np.mean(np.square(energies))) == pytest.approx(
        found.energy_mev_per_atom, rel=1e-6
    )
    assert 1000 * math.sqrt(np.mean(np.square(forces))) == pytest.approx(
        found.force_mev_per_angstrom, rel=1e-6
    )


def test_the_active_set_knows_what_was_trained_on(fitted: Fitted) -> None:
    """γ is about 1 at most on every training atom, none being left out."""
    evaluator = AceEvaluator(fitted.yaml, fitted.asi)
    largest = [evaluator.gamma(read_frames(path)[0]).max() for path in fitted.labels[:10]]
    assert max(largest) < 1.05
    assert max(largest) > 0.5


def test_a_distorted_cell_is_unknown(fitted: Fitted) -> None:
    """The probe has γ > 1, else γ would be blind."""
    assert fitted.metrics.probe_gamma > 1


def test_a_blind_gamma_is_refused(fitted: Fitted) -> None:
    """If the distorted cell passes for known, the potential is none.

    Here it is one that was hardly distorted.
    """
    (seen,) = read_frames(fitted.labels[0])

    class Blind(AceEvaluator):
        def gamma(self, atoms: Atoms) -> np.ndarray:
            return np.zeros(len(atoms))

    with pytest.raises(TaskFailed, match=r"γ is blind") as failed:
        judging._probe(Blind(fitted.yaml, fitted.asi), [seen], 5)
    assert failed.value.reason == "numerical"


def test_the_weights_decide_between_energies_and_forces(fitted: Fitted, tmp_path: Path) -> None:
    """Where energies and forces contradict each other, the fit follows the heavier side."""
    labels = []
    for number, path in enumerate(fitted.labels):
        (label,) = read_frames(path)
        noisy = shifted(label, energy_ev=0.4 * (-1) ** number, forces=0.3) if number < 10 else label
        labels.append(write_label(tmp_path / f"labels/{number:02d}.extxyz", noisy))
    errors = [
        train(tmp_path / name, labels, energy_weight=energy, force_weight=force).metrics.train
        for name, energy, force in (("energies", 1e4, 1.0), ("forces", 1.0, 1e4))
    ]
    assert errors[0].energy_mev_per_atom < 0.5 * errors[1].energy_mev_per_atom
    assert errors[0].force_mev_per_angstrom > 1.02 * errors[1].force_mev_per_angstrom


def test_weights_are_of_means(fitted: Fitted, tmp_path: Path) -> None:
    """The same labels twice give the same coefficients.

    The balance does not drift as the data set grows.
    """
    train(tmp_path / "once", fitted.labels)
    train(tmp_path / "twice", [*fitted.labels[:10], *fitted.labels])
    assert coefficients(tmp_path / "twice") == pytest.approx(
        coefficients(tmp_path / "once"), rel=1e-4, abs=1e-6
    )


def test_reference_energies_are_fitted_once_and_pinned_after(
    fitted: Fitted, tmp_path: Path
) -> None:
    """Fitted, they take up the energies; given, they are used and told as they are."""
    assert fitted.metrics.reference_energies_ev.keys() == {"Cu"}
    pinned = train(tmp_path, fitted.labels, reference_energies_ev={"Cu": -1.25}).metrics
    assert pinned.reference_energies_ev == {"Cu": -1.25}
    (label,) = read_frames(fitted.labels[0])
    said = (
        AceEvaluator(tmp_path / "potentials/001/potential.yaml")
        .evaluate(label, graded=False)
        .energy_ev
    )
    assert said == pytest.approx(label.get_potential_energy() + 1.25 * len(label), abs=0.05)


def test_an_isolated_atom_is_in_no_fit_and_in_no_error(fitted: Fitted, tmp_path: Path) -> None:
    """Its energy comes as a reference energy; itself it is only kept in the data set."""
    atom = labelled(Atoms("Cu", positions=[[6, 6, 6]], cell=[12, 12, 12]), "isolated_atom", "alone")
    assert atom.get_potential_energy() == pytest.approx(3.51)
    path = write_label(tmp_path / "atom.extxyz", atom)
    references = {"Cu": atom.get_potential_energy()}
    metrics = {
        name: train(tmp_path / name, labels, reference_energies_ev=references).metrics
        for name, labels in (("with", [*fitted.labels, path]), ("without", fitted.labels))
    }
    assert coefficients(tmp_path / "with").tolist() == coefficients(tmp_path / "without").tolist()
    for part in ("train", "test", "groups", "measures", "fingerprint", "reference_energies_ev"):
        assert getattr(metrics["with"], part) == getattr(metrics["without"], part)
    kept = read_frames(tmp_path / "with/dataset/001.extxyz")
    assert [frame.info["role"] for frame in kept].count("isolated_atom") == 1
    assert metrics["with"].test.energy_mev_per_atom < 3
    said = AceEvaluator(tmp_path / "with/potentials/001/potential.yaml").evaluate(
        copper((1, 1, 2)), graded=False
    )
    assert said.energy_ev / 8 == pytest.approx(
        labelled(copper()).get_potential_energy() / 4 - 3.51, abs=0.01
    )


def test_a_test_structure_never_enters_the_fit(fitted: Fitted, tmp_path: Path) -> None:
    """An absurd label among the test structures changes no coefficient and no active set.

    It changes only the test error.
    """
    absurd = write_label(
        tmp_path / "absurd.extxyz",
        shifted(labelled(copper((1, 1, 2), 0.4, 3), "test", "absurd"), 1e4, 50.0),
    )
    metrics = train(tmp_path, [*fitted.labels, absurd]).metrics
    assert coefficients(tmp_path) == pytest.approx(coefficients(fitted.root), rel=1e-12)
    assert metrics.fingerprint == fitted.metrics.fingerprint
    assert metrics.train == fitted.metrics.train
    assert metrics.test.structures == 5
    assert metrics.test.energy_mev_per_atom > 1e5


def test_the_current_potential_is_measured_on_the_same_test_set(
    fitted: Fitted, tmp_path: Path
) -> None:
    """Asked about itself, the current potential has the errors of the new one.

    Earlier ones come by their cycle.
    """
    current = {
        "current_yaml": [fitted.yaml],
        "current_asi": [fitted.asi],
        "earlier_yaml": [fitted.yaml, fitted.yaml],
    }
    audit = labelled(strained_copper(90), "test", "audit")
    audit.info["origin"] = "audit: Cu fcc 300 K nvt #2, step 5"
    metrics = train(
        tmp_path,
        [*fitted.labels, write_label(tmp_path / "audit.extxyz", audit)],
        current,
        reference_energies_ev=fitted.metrics.reference_energies_ev,
        earlier_cycles=(0, 3),
        conditions=("Cu fcc 300 K nvt", "Cu fcc 900 K nvt"),
    ).metrics
    assert metrics.test_of_current == metrics.test
    (condition,) = metrics.conditions
    assert (condition.condition, condition.frames) == ("Cu fcc 300 K nvt", 1)
    assert metrics.conditions_of_current == (condition,)
    assert metrics.history == tuple(
        PastErrors(cycle=cycle, errors=metrics.test) for cycle in (0, 3)
    )


def test_a_better_fit_is_better_than_the_current_potential(fitted: Fitted, tmp_path: Path) -> None:
    """Errors of two potentials on one test set tell them apart."""
    current = {"current_yaml": [fitted.yaml], "current_asi": [fitted.asi]}
    metrics = train(tmp_path, fitted.labels, current, functions_per_element=6).metrics
    assert metrics.test_of_current is not None
    assert metrics.test_of_current.force_mev_per_angstrom < metrics.test.force_mev_per_angstrom


def test_earlier_data_sets_are_trained_on_again_and_never_rewritten(
    fitted: Fitted, tmp_path: Path
) -> None:
    """The fit is over all labels so far; this cycle's data set holds only its own, in order."""
    earlier = fitted.root / "dataset/001.extxyz"
    before = earlier.read_bytes()
    new = write_label(tmp_path / "new.extxyz", labelled(strained_copper(77), "train", "new"))
    metrics = train(
        tmp_path, [new], {"dataset": [earlier]}, dataset_file="dataset/002.extxyz"
    ).metrics
    assert metrics.train.structures == 11
    assert metrics.test.structures == 4
    assert [frame.info["task"] for frame in read_frames(tmp_path / "dataset/002.extxyz")] == ["new"]
    assert earlier.read_bytes() == before
    assert [frame.info["task"] for frame in read_frames(earlier)] == [
        f"label-{n:02d}" for n in range(14)
    ]


def test_the_potential_folder_holds_what_belongs_together(fitted: Fitted) -> None:
    """The three files of the potential, the tool's input and words, and the metrics.

    The points of a parity plot lie there, too.
    """
    folder = fitted.root / "potentials/001"
    assert {path.name for path in folder.iterdir()} == {
        "fitting_data_info.pckl.gzip",
        "metrics.json",
        "pace_activeset.log",
        "parity.json",
        "potential.asi",
        "potential.yace",
        "potential.yaml",
    }
    assert judged_value_json(TrainMetrics, (folder / "metrics.json").read_bytes()) == fitted.metrics


def test_parity_has_a_pair_for_each_energy_and_force(fitted: Fitted) -> None:
    """Label and prediction side by side, per set; they differ by what the errors say."""
    parity = json.loads((fitted.root / "potentials/001/parity.json").read_text())
    assert parity.keys() == {"train", "test"}
    for name, structures in (("train", 10), ("test", 4)):
        energies = np.array(parity[name]["energy_ev_per_atom"])
        forces = np.array(parity[name]["force_ev_per_angstrom"])
        assert energies.shape == (structures, 2)
        assert forces.shape == (structures * 8 * 3, 2)
        error = 1000 * math.sqrt(np.mean((forces[:, 1] - forces[:, 0]) ** 2))
        assert error == pytest.approx(
            getattr(fitted.metrics, name).force_mev_per_angstrom, rel=0.05
        )


def test_parity_is_thinned_evenly(fitted: Fitted) -> None:
    """A large set gives no more than 2000 force points, from its beginning to its end."""
    many = [read_frames(path)[0] for path in fitted.labels[10:]] * 25
    comparison = Comparison(
        AceEvaluator(fitted.yaml), many, fitted.metrics.reference_energies_ev, 1.0
    )
    points = comparison.parity()["force_ev_per_angstrom"]
    assert 1000 < len(points) <= 2000
    assert len(comparison.parity()["energy_ev_per_atom"]) == 100


def test_the_fingerprint_is_over_both_files(fitted: Fitted, tmp_path: Path) -> None:
    """It changes with the .asi as with the .yaml: they belong together."""
    yaml, asi = shutil.copy(fitted.yaml, tmp_path), shutil.copy(fitted.asi, tmp_path)
    files = PotentialFiles(evaluator_code("pyace"), {"yaml": Path(yaml), "asi": Path(asi)})
    found = fitted.metrics.fingerprint
    assert files.fingerprint == found
    assert found == sha256(fitted.yaml.read_bytes() + fitted.asi.read_bytes()).hexdigest()
    with Path(asi).open("ab") as stream:
        stream.write(b"x")
    assert files.fingerprint != found


def test_a_second_attempt_takes_names_of_its_own_and_replaces_nothing(
    fitted: Fitted, tmp_path: Path
) -> None:
    """The other may have been given up and live on.

    Whoever comes last changes no file of whoever came first.
    """
    first = train(tmp_path, fitted.labels).artefacts
    before = {name: path.read_bytes() for name, path in first.items()}
    second = train(tmp_path, fitted.labels[::-1]).artefacts
    assert {name: path.read_bytes() for name, path in first.items()} == before
    assert first["dataset"].read_bytes() != second["dataset"].read_bytes()
    assert [path["dataset"].relative_to(tmp_path).as_posix() for path in (first, second)] == [
        "dataset/001.extxyz",
        "dataset/001.2.extxyz",
    ]
    folders = [
        {path.parent.relative_to(tmp_path).as_posix() for path in each.values()}
        for each in (first, second)
    ]
    assert folders == [{"dataset", "potentials/001"}, {"dataset", "potentials/001.2"}]


def test_labels_of_different_settings_are_not_mixed(fitted: Fitted, tmp_path: Path) -> None:
    """The message names both settings, with a task of each, and nothing is placed."""
    (odd,) = read_frames(fitted.labels[3])
    odd.info["settings"] = "pw.x 7.2"
    labels = [
        *fitted.labels[:3],
        write_label(tmp_path / "labels/odd.extxyz", odd),
        *fitted.labels[4:],
    ]
    message = "labels of 2 different settings .*: label-00 has EMT; label-03 has pw.x 7.2"
    with pytest.raises(TaskFailed, match=message) as failed:
        train(tmp_path, labels)
    assert failed.value.reason == "bad_input"
    assert not (tmp_path / "potentials").exists()


@pytest.mark.parametrize(
    ("kept", "message"),
    [(slice(10), "10 training and 0 test"), (slice(10, 14), "0 training and 4")],
)
def test_without_a_set_there_is_no_training(
    fitted: Fitted, tmp_path: Path, kept: slice, message: str
) -> None:
    """Training needs labels to fit to, and labels to be judged by."""
    with pytest.raises(TaskFailed, match=message) as failed:
        train(tmp_path, fitted.labels[kept])
    assert failed.value.reason == "bad_input"


def test_too_few_environments_are_bad_input(tmp_path: Path) -> None:
    """An active set needs an environment for each function.

    Both numbers are told, and no potential is left.
    """
    labels = training_set(tmp_path / "labels", train=1, test=1)
    with pytest.raises(
        TaskFailed, match=r"^8 training environments of Cu for 20 functions"
    ) as failed:
        train(tmp_path, labels)
    assert failed.value.reason == "bad_input"
    assert not (tmp_path / "potentials/001").exists()


def test_an_element_without_a_training_label_is_bad_input(fitted: Fitted, tmp_path: Path) -> None:
    """One that only a test structure holds can be neither fitted nor graded."""
    gold = labelled(
        Atoms("Au4", copper().positions * 1.13, cell=copper().cell * 1.13, pbc=True), "test", "gold"
    )
    with pytest.raises(
        TaskFailed, match=r"^0 training environments of Au for 20 functions"
    ) as failed:
        train(
            tmp_path,
            [*fitted.labels, write_label(tmp_path / "gold.extxyz", gold)],
            elements=("Au", "Cu"),
        )
    assert failed.value.reason == "bad_input"


def test_buffer_atoms_count_less_in_the_fit_and_in_its_errors(tmp_path: Path) -> None:
    """A force mask turns wrong forces down.

    The less the buffer counts, the nearer the fit stays to the truth.
    """
    true = [
        labelled(strained_copper(number), "train", f"label-{number:02d}") for number in range(10)
    ]
    wrong = shifted(true[0], forces=2.0)
    wrong.info = dict(true[0].info)
    masked = wrong.copy()
    masked.calc, masked.info = wrong.calc, dict(wrong.info)
    masked.set_array("core", np.arange(len(masked)) < 1)
    masked.calc.results["forces"][0] = true[0].get_forces()[0]
    test = [labelled(strained_copper(number), "test", f"label-{number:02d}") for number in (20, 21)]
    errors = {}
    for name, first, weight in (
        ("true", true[0], 0.3),
        ("full", masked, 1.0),
        ("less", masked, 0.01),
    ):
        paths = [
            write_label(tmp_path / name / f"{n}.extxyz", item)
            for n, item in enumerate([first, *true[1:], *test])
        ]
        metrics = train(tmp_path / name, paths, buffer_weight=weight).metrics
        errors[name] = metrics.test.force_mev_per_angstrom, metrics.train.force_mev_per_angstrom
    assert errors["true"][0] <= errors["less"][0] * 1.05
    assert errors["less"][0] < 0.5 * errors["full"][0]
    assert errors["less"][1] < 0.5 * errors["full"][1]


def test_the_file_for_production_gives_total_energies(fitted: Fitted) -> None:
    """On the scale of the labels, in ASE.

    Those of a cell, and of an atom alone its reference energy.
    """
    calculator = PyACECalculator(str(fitted.yaml.with_suffix(".yace")))
    (label,) = read_frames(fitted.labels[10])
    atoms = Atoms(label.get_chemical_symbols(), label.positions, cell=label.cell, pbc=True)
    atoms.calc = calculator
    assert atoms.get_potential_energy() == pytest.approx(
        label.get_potential_energy(), abs=0.005 * len(atoms)
    )
    alone = Atoms("Cu", positions=[[10, 10, 10]], cell=[20, 20, 20], pbc=True)
    alone.calc = calculator
    assert alone.get_potential_energy() == pytest.approx(
        fitted.metrics.reference_energies_ev["Cu"], abs=1e-9
    )


def test_the_b_basis_keeps_its_scale(fitted: Fitted) -> None:
    """It is read within the campaign, where the reference energies are added.

    They are in it not twice.
    """
    (label,) = read_frames(fitted.labels[10])
    said = AceEvaluator(fitted.yaml).evaluate(label, graded=False).energy_ev
    references = fitted.metrics.reference_energies_ev["Cu"] * len(label)
    assert abs(references) > 0.1
    assert said + references == pytest.approx(label.get_potential_energy(), abs=0.005 * len(label))
