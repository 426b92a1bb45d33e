"""A user's potential is the first of a campaign: measured as a fit would be, and graded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit.jobs import Fitted, fit_once, job_of, train_parameters, training_set
from kit.judged import judged_value

from mlip_autopipec.contract.doctor import FilesQuestion, StartFiles
from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.work.doctor.user_files import judge
from mlip_autopipec.work.job import TaskFailed

training = pytest.importorskip("mlip_autopipec.work.steps.train")

pytestmark = pytest.mark.codes


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


def test_it_is_the_potential_of_the_bootstrap(fitted: Fitted, tmp_path: Path) -> None:
    """Byte for byte; with its own zeros, and its own active set."""
    labels = training_set(tmp_path / "labels")
    inputs = {"label": labels, "given_yaml": [fitted.yaml], "given_asi": [fitted.asi]}
    result = training.run(job_of(tmp_path, train_parameters(), inputs))
    metrics = judged_value(TrainMetrics, result.metrics)
    assert metrics.fits[0].start == "given"
    assert result.artefacts["potential_yaml"].read_bytes() == fitted.yaml.read_bytes()
    assert result.artefacts["potential_asi"].read_bytes() == fitted.asi.read_bytes()
    right = fitted.metrics.reference_energies_ev["Cu"]
    assert metrics.reference_energies_ev["Cu"] == pytest.approx(right, abs=0.01)
    assert metrics.test.force_mev_per_angstrom == pytest.approx(
        fitted.metrics.test.force_mev_per_angstrom
    )


def test_its_active_set_is_made_from_the_labels(fitted: Fitted, tmp_path: Path) -> None:
    """Where none is given."""
    labels = training_set(tmp_path / "labels")
    result = training.run(
        job_of(tmp_path, train_parameters(), {"label": labels, "given_yaml": [fitted.yaml]})
    )
    made = np.load(result.artefacts["potential_asi"])
    assert {name: made[name].shape for name in made} == {
        name: each.shape for name, each in np.load(fitted.asi).items()
    }
    assert result.metrics.probe_gamma > 1


def test_what_is_no_potential_of_these_elements_fails_in_words(
    fitted: Fitted, tmp_path: Path
) -> None:
    """Which are those of the check before the start."""
    labels = training_set(tmp_path / "labels", train=4, test=2)
    wrong = tmp_path / "0a1b-wrong.yaml"
    wrong.write_text("nothing: {}\n")
    for path, elements, message in (
        (wrong, ("Cu",), r"wrong\.yaml is no"),
        (fitted.yaml, ("Cu", "Au"), "is a potential of Cu, and the campaign of Cu, Au"),
    ):
        with pytest.raises(TaskFailed, match=message):
            training.run(
                job_of(
                    tmp_path,
                    train_parameters(elements=elements),
                    {"label": labels, "given_yaml": [path]},
                )
            )
        asked = FilesQuestion(
            elements=elements,
            distance_min_angstrom=1.5,
            start=StartFiles(potential=str(path), evaluator="pyace"),
        )
        found = judge(asked).start["potential"]
        assert ("speciesblock" in found) is (path == wrong)
        assert path.name in found


def test_an_active_set_of_another_potential_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    """γ by it would be a number like any other."""
    other = tmp_path / "other.asi"
    smaller: dict[str, Any] = {name: np.eye(3) for name in np.load(fitted.asi)}
    with other.open("wb") as stream:
        np.savez(stream, **smaller)
    labels = training_set(tmp_path / "labels", train=4, test=2)
    inputs = {"label": labels, "given_yaml": [fitted.yaml], "given_asi": [other]}
    with pytest.raises(TaskFailed, match="no active set of"):
        training.run(job_of(tmp_path, train_parameters(), inputs))
